"""How many bytes does each codec take for the same integers?

    SEPNET_DATA=... python benchmarks/codecs.py

Reads the integer weights in `$SEPNET_DATA/codes/*.npz` (layer -> int16); bytes are of the codes alone, all side information
that the codec needs counted, summed over the layers.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from machine import save

from sepnet.codecs import CODECS, smallest
from sepnet.core.codec import CodecUnfitError


def main() -> None:
    """Measure every codec on every set."""
    result = {}
    for path in sorted((Path(os.environ["SEPNET_DATA"]) / "codes").glob("*.npz")):
        layers = [array.astype(np.int64) for array in np.load(path).values()]
        sizes: dict[str, int | None] = {}
        for name in CODECS:
            try:
                sizes[name] = sum(len(CODECS[name].encode(codes)) for codes in layers)
            except CodecUnfitError:
                sizes[name] = None
        sizes["smallest per tensor"] = sum(len(smallest(codes)[1]) for codes in layers)
        result[path.stem] = sizes
        print(f"{path.stem:16}", "  ".join(f"{name} {size:,}" if size else f"{name} -" for name, size in sizes.items()))
    save("codecs", "python benchmarks/codecs.py", result)


if __name__ == "__main__":
    main()
