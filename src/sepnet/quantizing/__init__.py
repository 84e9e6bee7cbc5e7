"""Quantizing trained weights without training: by the weights alone, or by what the layers do with some images."""
