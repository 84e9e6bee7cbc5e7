"""How far the outputs of a compressed classifier are from those of the float one.  No labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sepnet.core.pack_report import Agreement

__all__ = ["agreement"]

Floats = npt.NDArray[np.float32]


def agreement(float_outputs: Floats, outputs: Floats) -> Agreement:
    """Compare two (n, classes) arrays: logits, or probabilities where a network ends in a softmax.

    divergence = mean over images of sum over classes of p ln(p / q), p from the float network.

    >>> agreement(np.float32([[0.0, 0.0]]), np.float32([[0.0, np.log(3)]])).divergence.__round__(4)
    0.1438
    """
    wanted, found = _log_odds(float_outputs), _log_odds(outputs)
    divergence = float((np.exp(wanted) * (wanted - found)).sum(axis=1).mean())
    changed = float(np.mean(wanted.argmax(axis=1) != found.argmax(axis=1)))
    return Agreement(len(wanted), max(0.0, divergence), changed)


def _log_odds(outputs: Floats) -> npt.NDArray[np.float64]:
    exact = np.asarray(outputs, np.float64)
    if exact.min(initial=0.0) >= 0 and np.allclose(exact.sum(axis=1), 1, atol=1e-3):
        return np.asarray(np.log(np.maximum(exact, 1e-12)))
    exact = exact - exact.max(axis=1, keepdims=True)
    return np.asarray(exact - np.log(np.exp(exact).sum(axis=1, keepdims=True)))
