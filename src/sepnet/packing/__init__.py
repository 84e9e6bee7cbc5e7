"""Packing: a trained network to a packed model, and a packed model back to numbers."""
