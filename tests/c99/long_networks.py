"""Layers whose sums pass what 32 bits hold, and inputs that drive them there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from small_networks import Builder

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.integer.bounds import sum_bounds
from sepnet.integer.extremes import following, layers_to_follow
from sepnet.integer.lower import lower
from sepnet.integer.model import IntegerModel

Bytes = npt.NDArray[np.uint8]


def ends(model: IntegerModel) -> Bytes:
    """Noise, all 0, all 255, and what follows the signs of weights."""
    shape = model.values[model.input].shape
    noise = np.random.default_rng(0).integers(0, 256, (1, *shape)).astype(np.uint8)
    fixed = [np.full((1, *shape), q, np.uint8) for q in (0, 255)]
    return np.concatenate([noise, *fixed, *(following(model, layer) for layer in layers_to_follow(model, 8))])


def layer(weight: npt.NDArray[np.int8], shape: tuple[int, int, int], zero: int = 0, **attributes: Any) -> IntegerModel:
    """One convolution whose 16-bit outputs reach their limits where its sums do; pads are `zero`."""
    net = Builder()
    output = net.node("Conv", "input", _weight(net, weight), **attributes)
    reach = max(float(np.abs(end).max()) for end in sum_bounds(weight)) / 64 / 4
    return lower(net.model(output, shape), {"input": (-zero, 255.0 - zero), "output": (-reach, reach)})


def pool(sides: tuple[int, int]) -> IntegerModel:
    """The mean over a map of one channel, and a layer that copies it."""
    net = Builder()
    mean = net.node("GlobalAveragePool", "input")
    model = net.model(net.node("Conv", mean, _weight(net, np.full((1, 1, 1, 1), 64, np.int8))), (1, *sides))
    return lower(model, {"input": (0, 255), mean: (0, 255), "output": (0, 255)})


def _weight(net: Builder, weight: npt.NDArray[np.int8]) -> str:
    signs = np.all(np.abs(weight) == 1)
    codes, values = ((weight + 1) // 2, "sign") if signs else (weight, "integer")
    scale = Half.of(np.float32(1 / 64))
    net.tensors.append(CodedTensor("w0.weight", codes.astype(np.int64), values, ("linear",), scale))
    return "w0.weight"


def weights(shape: tuple[int, ...], share: float = 1.0) -> npt.NDArray[np.int8]:
    """Filters of one sign, of the other, and of both, of large magnitudes; all but a `share` of them are zero."""
    random = np.random.default_rng(0)
    codes = random.integers(126, 128, shape) * (random.random(shape) < share)
    codes[1::3] *= -1
    codes[2::3] *= random.choice([-1, 1], shape[1:])
    return codes.astype(np.int8)


LONG: dict[str, Callable[[], IntegerModel]] = {
    "dense": lambda: layer(weights((3, 3, 160, 160)), (3, 160, 160)),
    "dense windows": lambda: layer(weights((3, 3, 151, 149)), (3, 152, 153), 77, pads=[1, 1, 1, 1], strides=[2, 1]),
    "dense groups": lambda: layer(weights((6, 2, 184, 184)), (4, 185, 184), group=2),
    "sparse": lambda: layer(weights((3, 6, 160, 154), 0.46), (6, 160, 154)),
    "sparse windows": lambda: layer(weights((3, 6, 160, 154), 0.46), (6, 160, 156), 9, pads=[1, 1, 1, 1]),
    "many filters": lambda: layer(weights((19, 3, 150, 150)), (3, 151, 151), 3, pads=[1, 0, 0, 0]),
}
"""Convolutions over the bound, by the kernel that they take without vectors."""
WIDE_SIGNS: dict[str, Callable[[], IntegerModel]] = {
    "wide signs": lambda: layer(np.sign(weights((3, 4, 3, 100))), (4, 3, 100)),
    "long signs": lambda: layer(np.sign(weights((3, 1, 1, 255))), (1, 1, 255)),
}
"""Kernels of signs of so many columns that 16 bits do not hold the sum of four channels of them, or just so."""
POOLS = {"200 x 200": (200, 200), "300 x 300": (300, 300), "2902 x 2902": (2902, 2902)}
"""Maps of more numbers than int16 and uint16 hold, and of more than 2^31 / 255."""
