"""What is given to calibrate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sepnet.core.dataset import Dataset
from sepnet.core.errors import DataError
from sepnet.core.examples import ArrayExamples, Arrays, Examples, ImageExamples
from sepnet.core.header import InputSpec
from sepnet.core.pack_options import IMAGES
from sepnet.core.ports import Port, described

__all__ = ["Calibrate", "examples_of"]


@dataclass(frozen=True)
class Calibrate:
    """Examples to quantize by: `images` to look at, as many again to measure on; `seed` of which ones.

    `data` is a data set, whose training images they are, or arrays by the names of the network's inputs.
    """

    data: Dataset | Arrays
    images: int = IMAGES
    seed: int = 0


def examples_of(data: Dataset | Arrays, inputs: Sequence[Port], wanted: InputSpec | None = None) -> Examples:
    """What `data` holds, as examples for a network.

    Args:
        data: a data set is for a network of one input of floats.
        inputs: of the network.
        wanted: how it wants its pixels.

    Raises `DataError` for what does not fit the inputs.
    """
    if isinstance(data, Arrays):
        return ArrayExamples(data, inputs)
    if [port.of_floats for port in inputs] != [True]:
        raise DataError(
            f"the network takes {described(inputs)}, and {data.name} holds images; expected a file .npz with an array for each input"
        )
    return ImageExamples(data, inputs[0], wanted)
