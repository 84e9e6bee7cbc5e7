"""Counting a network: one run that is watched (torch), or a reading of its graph (ONNX)."""
