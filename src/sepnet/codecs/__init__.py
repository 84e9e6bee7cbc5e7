"""Codecs: integers to bytes, losslessly.  One line a variant.

A codec is a layout (dense, bitmap, relative_index, kernels) times a coder (bit packing if no other is named, huffman,
ans), or adaptive.  `find` takes a name to a codec, `smallest` tries what is worth trying.
"""

from __future__ import annotations

from collections.abc import Iterable

from sepnet.codecs.layered import Layered
from sepnet.core.codec import Codec, CodecUnfitError, IntArray
from sepnet.core.errors import UsageError
from sepnet.core.registry import Shelf

__all__ = ["CODECS", "choices", "find", "smallest"]

CODECS: Shelf[Codec] = Shelf(
    "codec",
    {
        "dense": "sepnet.codecs.dense:DENSE",
        "bitmap": "sepnet.codecs.bitmap:BITMAP",
        "relative_index": "sepnet.codecs.relative_index:RELATIVE_INDEX",
        "dense_huffman": "sepnet.codecs.dense:DENSE_HUFFMAN",
        "bitmap_huffman": "sepnet.codecs.bitmap:BITMAP_HUFFMAN",
        "relative_index_huffman": "sepnet.codecs.relative_index:RELATIVE_INDEX_HUFFMAN",
        "dense_ans": "sepnet.codecs.dense:DENSE_ANS",
        "bitmap_ans": "sepnet.codecs.bitmap:BITMAP_ANS",
        "relative_index_ans": "sepnet.codecs.relative_index:RELATIVE_INDEX_ANS",
        "kernels_huffman": "sepnet.codecs.kernels:KERNELS_HUFFMAN",
        "kernels_ans": "sepnet.codecs.kernels:KERNELS_ANS",
        "ab1": "sepnet.codecs.adaptive.codec:AB1",
        "mx1": "sepnet.codecs.adaptive.codec:MX1",
        "kernels_ab1": "sepnet.codecs.adaptive.kernels:KERNELS_AB1",
        "kernels_ab1+": "sepnet.codecs.adaptive.kernels:KERNELS_AB1_NEXT",
    },
)


def choices(best: bool = False) -> tuple[str, ...]:
    """Names to choose from: with `best` all that code an array by itself, else those that read at twice the speed too.

    >>> set(choices(best=True)) - set(choices())
    {'mx1'}
    """
    return tuple(name for name in CODECS if not name.endswith("+") and (best or name != "mx1"))


def find(name: str) -> Codec:
    """The codec called `name`, which may end in an option: "relative_index:3" has gaps of 3 bits.

    Raises `UnknownNameError` for a name that is not on the shelf, `UsageError` for an option that the codec does not
    take.

    >>> find("dense_huffman").name, find("relative_index:3").name
    ('dense_huffman', 'relative_index:3')
    """
    base, colon, option = name.partition(":")
    codec = CODECS[base]
    if not colon:
        return codec
    if not isinstance(codec, Layered):
        raise UsageError(f"codec {base!r} takes no option, found {option!r}")
    return codec.with_option(option)


def smallest(codes: IntArray, names: Iterable[str] | None = None) -> tuple[str, bytes]:
    """The name and bytes of the codec that writes `codes` smallest; the first of equals.

    Tries `names` (default: `choices()`), leaving out those that raise `CodecUnfitError`; if all do, the last one's
    error is raised.  `UsageError` when there is nothing to try.

    >>> import numpy as np
    >>> name, data = smallest(np.arange(400) % 4 // 3 * 7)
    >>> name, len(data), bool((find(name).decode(data, (400,))[3::4] == 7).all())
    ('relative_index_huffman', 8, True)
    """
    best: tuple[str, bytes] | None = None
    unfit: CodecUnfitError | None = None
    for name in choices() if names is None else names:
        try:
            data = find(name).encode(codes)
        except CodecUnfitError as error:
            unfit = error
            continue
        if best is None or len(data) < len(best[1]):
            best = name, data
    if best is None:
        raise unfit or UsageError("no codec to try; choices: " + ", ".join(CODECS))
    return best
