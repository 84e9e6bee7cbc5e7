"""ONNX: plain, with int8 weights and activations, or self-unpacking."""
