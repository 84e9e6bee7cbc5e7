"""Training: batches, the fitting loop, checkpoints.  Needs torch."""
