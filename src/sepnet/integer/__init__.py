"""Networks in integers: 8-bit activations, integer weights, exact sums.  What engines without floats compute."""
