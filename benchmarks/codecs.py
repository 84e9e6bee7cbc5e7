"""How many bytes does each codec take for the same integers?

    SEPNET_DATA=... python benchmarks/codecs.py

Reads the integer weights in `$SEPNET_DATA/codes/*.npz` (layer -> int16); bytes are of the codes alone, all side information
that the codec needs counted, summed over the layers.  Every layer is coded by itself, from a fresh state.  `ab1` and `mx1` are
compared with DeepCABAC's own code on the same integers.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from machine import save

from sepnet.codecs import CODECS, smallest
from sepnet.core.codec import CodecUnfitError

DEEPCABAC = {
    "lenet300_5bit": 20386,
    "lenet5_5bit": 38307,
    "squeezenet_dc": 506966,
    "resnet20_5bit": 111278,
    "resnet20_8bit": 215175,
    "resnet56_5bit": 321470,
    "resnet56_8bit": 651035,
}
"""Bytes of DeepCABAC's own code for the same integers, all layers; given with the data, not measured by this script."""
COMPARED = ("ab1", "mx1")


def ratios(sizes: dict[str, dict[str, int | None]]) -> dict[str, dict[str, float]]:
    """Of each compared codec, its bytes over DeepCABAC's, set by set, and the mean of these ratios."""
    found: dict[str, dict[str, float]] = {}
    for name in COMPARED:
        row = {key: (sizes[key][name] or 0) / given for key, given in DEEPCABAC.items() if sizes.get(key, {}).get(name)}
        found[name] = {key: round(ratio, 5) for key, ratio in row.items()}
        if len(row) == len(DEEPCABAC):
            found[name]["mean"] = round(sum(row.values()) / len(row), 5)
    return found


def main() -> None:
    """Measure every codec on every set."""
    result: dict[str, dict[str, int | None]] = {}
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
    compared = ratios(result)
    for name, row in compared.items():
        print(f"{name} / DeepCABAC:", "  ".join(f"{key} {ratio:.4f}" for key, ratio in row.items()))
    content = {"bytes": result, "deepcabac_bytes": DEEPCABAC, "ratio_to_deepcabac": compared}
    save("codecs", "SEPNET_DATA=... python benchmarks/codecs.py", content)


if __name__ == "__main__":
    main()
