"""The operators of integer models, a kind a file: what it is on real numbers, in integers, and what it computes."""
