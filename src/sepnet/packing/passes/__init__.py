"""Passes from a network's graph to that of a packed file: a file each, applied in order by `sepnet.packing.passes.draft.apply`."""
