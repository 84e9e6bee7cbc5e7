"""Speed and size of the adaptive coder: one 2048 x 2048 layer on one core, and what its C source comes to.

    python benchmarks/coder_speed.py

Million weights a second of processor time of all threads, the best of three, encoding and decoding: of the compiled coder (`ab1`, `mx1`),
of static ANS by constriction (`dense_ans`, `relative_index_ans`: these include their search for a layout and a table), and of
the coder's Python twin on a part of the layer.  The codecs are called as the package calls them, payload in, payload out, so
the ways of `ab1` and `mx1` to make codes signed are tried where there is a choice; these layers leave none.  All rows are of
one run, with runs of one codec after another.  A layer of 2**22 weights is one part, so no second thread has anything to do.

Size: lines of the reader's and writer's C source, the state that a caller provides, and bytes of code at -Os as `size` counts
them (text), with and without the writer.  Needs a C compiler for that.  A load average over 0.5 at the start is noted: caches
and turbo are then shared with other programs, and a rerun on an idle machine is the one to cite.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import save

from sepnet.codecs import CODECS
from sepnet.codecs.adaptive import codec, native, twin
from sepnet.core.codec import IntArray

SIDE = 2048
TWIN_ROWS = 16
REPEATS = 3
COMPARED = ("ab1", "mx1", "dense_ans", "relative_index_ans")
FOLDER = Path(codec.__file__).parent
TARGETS = {"kept_10_percent": {"encode": 40, "decode": 40}, "dense_5_bit": {"encode": 10, "decode": 12}}
"""Million weights a second that ab1 has to reach."""


def layers() -> dict[str, IntArray]:
    """The two layers: 10 % of Laplace(0, 4) kept, and normal(0, 4.5) in 5 bits; both rounded."""
    rng = np.random.default_rng(0)
    shape = (SIDE, SIDE)
    sparse = np.rint(rng.laplace(0, 4, shape)) * (rng.random(shape) < 0.1)
    dense = np.clip(np.rint(rng.normal(0, 4.5, shape)), -15, 15)
    return {"kept_10_percent": sparse.astype(np.int64), "dense_5_bit": dense.astype(np.int64)}


def fastest(work: Callable[[], Any]) -> tuple[float, Any]:
    """Least processor seconds of a few runs, and what the last one gave."""
    best, found = math.inf, None
    for _ in range(REPEATS):
        start = time.process_time()
        found = work()
        best = min(best, time.process_time() - start)
    return best, found


def row(codes: IntArray, encode: Callable[[], bytes], decode: Callable[[bytes], Any]) -> dict[str, float | int]:
    """Speeds both ways, and bytes; checks that the codes come back."""
    writing, data = fastest(encode)
    reading, again = fastest(lambda: decode(data))
    if not np.array_equal(again, codes):
        raise SystemExit("the codes did not come back")
    millions = codes.size / 1e6
    return {
        "weights": codes.size,
        "bytes": len(data),
        "encode_millions_a_second": round(millions / writing, 3),
        "decode_millions_a_second": round(millions / reading, 3),
    }


def rows(codes: IntArray) -> dict[str, Any]:
    """Every codec on one layer, the twin on its first rows."""
    found = {}
    for name in COMPARED:
        each = CODECS[name]
        found[name] = row(
            codes, lambda each=each: each.encode(codes), lambda data, each=each: each.decode(data, codes.shape)
        )
    part = codes[:TWIN_ROWS]
    for name, mixes in (("ab1", False), ("mx1", True)):
        signed = part.astype(np.int32)
        found[f"{name} Python twin"] = row(
            part,
            lambda mixes=mixes, signed=signed: twin.write_codes(signed, 1, mixes),
            lambda data, mixes=mixes: twin.read_codes(data, *part.shape, kernel=1, mixes=mixes)[0],
        )
    return found


def source() -> dict[str, int]:
    """Lines of C, bytes of state, and bytes of code at -Os."""
    text = (FOLDER / "adaptive.h").read_text()
    stated = re.search(r"SEPNET_CODER_BYTES = (\d+)", text)
    lines = {name: len((FOLDER / name).read_text().splitlines()) for name in ("adaptive.c", "adaptive.h")}
    found = {f"lines_{name}": count for name, count in lines.items()}
    found["state_bytes_at_most"] = int(stated[1]) if stated else native.CODER_BYTES
    with tempfile.TemporaryDirectory() as folder:
        for name, flags in (("reader", ()), ("reader_and_writer", ("-DSEPNET_WRITER",))):
            target = Path(folder) / f"{name}.o"
            compiler = os.environ.get("CC", "cc")
            subprocess.run(
                [compiler, "-Os", "-std=c11", *flags, "-c", str(FOLDER / "adaptive.c"), "-o", str(target)], check=True
            )
            sizes = subprocess.run(["size", str(target)], check=True, capture_output=True, text=True).stdout
            found[f"code_bytes_{name}"] = int(sizes.splitlines()[1].split()[0])
    return found


def main() -> None:
    """Measure, print and save."""
    if native.library() is None:
        raise SystemExit("the compiled coder does not load; install sepnet where there is a C compiler")
    result: dict[str, Any] = {"load_average_1_minute": round(os.getloadavg()[0], 2)}
    for name, codes in layers().items():
        result[name] = rows(codes)
        for key, line in result[name].items():
            speeds = f"{line['encode_millions_a_second']:8.3f} {line['decode_millions_a_second']:8.3f}"
            print(f"{name:16} {key:20} {speeds} million weights/s  {line['bytes']:>9,} bytes")
    result["targets_millions_a_second"] = TARGETS
    result["source"] = source()
    busy = result["load_average_1_minute"] > 0.5
    result["note"] = "measured while trainings ran on the same machine" if busy else "measured on an idle machine"
    print(result["source"], "load average", result["load_average_1_minute"])
    save("coder_speed", "python benchmarks/coder_speed.py", result)


if __name__ == "__main__":
    main()
