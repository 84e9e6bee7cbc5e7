"""The talk's arithmetic of pattern binarization, "6.99 M -> 4.43 M", beside the other ways to count."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from fractions import Fraction

from sepnet.core.errors import UsageError
from sepnet.core.estimate import Accounting, TalkAccounting
from sepnet.core.network import LayerReport, NetworkReport

__all__ = ["talk_accounting"]

_BIT = Fraction(1, 32)
_INCEPTION = "*inception*"


def talk_accounting(report: NetworkReport, layers: Sequence[str] | None = None) -> TalkAccounting:
    """Count a network whose kernels became patterns as the talk does, and as others may.

    The unit is a float32 number: a bit counts 1/32.  The talk counts weights only (no biases), and 9 bits and one
    float32 a 3x3 kernel; that alone reproduces its GoogLeNet, 6,990,272 -> 4,425,424.

    Args:
        report: what `inspect` says of the network.
        layers: names or globs of the layers that become patterns; None takes the 3x3 layers of the inception modules
            where the network has some, else every convolution with k > 1 but the first, which the author leaves as
            it is, of the smallest kernel (3x3 if there is one).

    Raises:
        UsageError: `layers` match nothing with a kernel k > 1.

    >>> from sepnet.core.network import LayerReport
    >>> net = NetworkReport("net", (8, 9, 9), (LayerReport("conv", "conv kxk", (16, 8, 3, 3), 1168, 93312),))
    >>> [row.numbers for row in talk_accounting(net, ["conv"]).rows]
    [1152, 164, 52, 68]
    """
    spatial = [layer for layer in report.layers if _spatial(layer)]
    chosen = _chosen(spatial, layers)
    shapes = sorted({layer.weight_shape[2:] for layer in chosen}, key=lambda shape: (shape != (3, 3), shape))
    first = [layer for layer in chosen if layers is not None or layer.weight_shape[2:] == shapes[0]]
    word = _word(first)
    weights = sum(_weights(layer) for layer in report.layers if layer.kind != "norm")
    kernels, filters = sum(map(_kernels, first)), sum(layer.weight_shape[0] for layer in first)
    moved = sum(map(_weights, first))
    talk = _packed(weights, first) + kernels
    rows = [
        Accounting("weights, float32", weights, "all weights, without biases and norms"),
        Accounting(
            f"talk: {word} kernels at {_bits(first)} + one float32 each",
            math.ceil(talk),
            f"{weights:,} - {moved:,} + {moved:,}/32 + {kernels:,}",
            talk=True,
        ),
    ]

    def add(label: str, group: Sequence[LayerReport], scales: int = 0) -> None:
        size = sum(map(_weights, group))
        formula = f"{report.params:,} - {size:,} + {size:,}/32" + (f" + {scales:,}" if scales else "")
        rows.append(Accounting(label, math.ceil(_packed(report.params, group) + scales), formula))

    add(f"{word} at 1 bit, no scale, with biases", first)
    add(f"{word} at 1 bit + one float32 a filter, with biases", first, filters)
    if len(chosen) > len(first):
        add(f"{_word(chosen)} at 1 bit, no scale, with biases", chosen)
    if len(spatial) > len(chosen):
        add("every k > 1 layer at 1 bit, no scale, with biases", spatial)
    names = tuple(layer.name for layer in first)
    return TalkAccounting(report.name, weights, report.params, names, tuple(rows), _explain(rows, first, weights))


def _chosen(spatial: Sequence[LayerReport], layers: Sequence[str] | None) -> list[LayerReport]:
    if layers is None:
        found = [layer for layer in spatial if fnmatch.fnmatchcase(layer.name, _INCEPTION)]
        found = found or [layer for layer in spatial[1:] if layer.kind == "conv kxk"]
        wanted = "a convolution with k > 1 after the first"
    else:
        found = [layer for layer in spatial if any(fnmatch.fnmatchcase(layer.name, glob) for glob in layers)]
        wanted = f"a convolution with k > 1 called {' or '.join(layers)}"
    if not found:
        names = ", ".join(layer.name for layer in spatial) or "none"
        raise UsageError(f"no pattern to binarize: expected {wanted}; the layers with k > 1 are: {names}")
    return found


def _explain(rows: Sequence[Accounting], first: Sequence[LayerReport], weights: int) -> tuple[str, ...]:
    bits, many = _bits(first), f"{len(first)} {_word(first)} layers hold"
    kernels, moved = sum(map(_kernels, first)), sum(map(_weights, first))
    after = next(row.numbers for row in rows if row.talk)
    times = 32 * moved / (moved + 32 * kernels)
    return (
        f"The talk's way: the {many if len(first) > 1 else f'one {_word(first)} layer holds'} {moved:,} weights in "
        f"{kernels:,} kernels; each kernel becomes {bits} and one float32, so that {weights:,} numbers become {after:,}.",
        f"That makes these kernels {times:.2f}x smaller, not 32x as one bit a weight suggests, because the float32 is "
        "stored too.",
        "A scale for each filter instead of each kernel, or folded into batch normalization, takes most of that away: "
        "the rows with biases show it.  They count all params and differ in which kernels become patterns.",
        "These are numbers in memory, not bytes of a file; `--what-if` estimates the file.",
    )


def _spatial(layer: LayerReport) -> bool:
    return layer.kind in ("conv kxk", "depthwise") and len(layer.weight_shape) > 2 and layer.params > 0


def _weights(layer: LayerReport) -> int:
    size = math.prod(layer.weight_shape) if layer.weight_shape else 0
    return size if size <= layer.params else 0


def _kernels(layer: LayerReport) -> int:
    return math.prod(layer.weight_shape[:2])


def _packed(numbers: int, group: Sequence[LayerReport]) -> Fraction:
    """Float32 numbers when the weights of `group` take one bit each."""
    moved = sum(map(_weights, group))
    return numbers - moved + moved * _BIT


def _bits(group: Sequence[LayerReport]) -> str:
    """Bits of one kernel, in words."""
    sizes = {math.prod(layer.weight_shape[2:]) for layer in group}
    return f"{sizes.pop()} bits" if len(sizes) == 1 else "a bit a weight"


def _word(group: Sequence[LayerReport]) -> str:
    """ "3x3", or "3x3 and 5x5"."""
    return " and ".join("x".join(map(str, shape)) for shape in sorted({layer.weight_shape[2:] for layer in group}))
