"""Networks in integers: 8-bit activations, integer weights, 32-bit sums.  What engines without floats compute."""
