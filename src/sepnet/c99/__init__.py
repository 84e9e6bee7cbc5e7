"""Integer models as C99: one network, no dependencies, weights packed."""
