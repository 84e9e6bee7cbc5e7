"""Networks that others trained and published, packed: bytes beside other ways to make them small, and how near their outputs stay.

    python benchmarks/wild.py DIR [NAME...]

DIR holds NAME.onnx and NAME.npz, examples by the names of the inputs.  For each: bytes of the file, of its gzip -9, of ONNX
Runtime's dynamic int8, of `sepnet pack --bits 8` and of `--bits auto --calibrate NAME.npz`; and for the last three the signal to
noise of the worst output against the original, in dB, 10 log10(variance / mean squared difference), on the examples; likewise of
`sepnet export --to c99 --calibrate NAME.npz` where the network has an integer form.  Needs the extra onnx.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from machine import save
from onnxruntime.quantization import QuantType, quantize_dynamic

import sepnet
from sepnet.core.errors import SepnetError
from sepnet.core.examples import ArrayExamples
from sepnet.core.output_row import output_row
from sepnet.datasets.arrays import load_arrays
from sepnet.runtimes.session import Session

EXAMPLES = 40
Outputs = dict[str, np.ndarray]


def worst(wanted: list[Outputs], found: list[Outputs]) -> float:
    """dB of the output that has the least; 99 where all are equal."""
    levels = [99.0]
    for name in wanted[0]:
        exact, other = (
            np.concatenate([np.atleast_1d(part[name]).ravel() for part in parts]) for parts in (wanted, found)
        )
        row = output_row(name, exact, other)
        if row.snr_db is not None:
            levels.append(row.snr_db)
        elif row.changed:
            levels.append(0.0)
    return round(min(levels), 1)


def examples_of(session: Session, data: Path) -> list[dict[str, np.ndarray]]:
    """Feeds of the first examples."""
    examples = ArrayExamples(load_arrays(data), session.inputs)
    return [feed for feed, _ in examples.batches(np.arange(min(EXAMPLES, len(examples))), 1_000_000)]


def dynamic(network: Path, folder: Path) -> Path:
    """ONNX Runtime's own dynamic quantization, int8 weights."""
    onnxruntime.set_default_logger_severity(4)
    made = folder / "dynamic.onnx"
    quantize_dynamic(network, made, weight_type=QuantType.QInt8)
    return made


def packed_by(network: Path, output: Path, *options: str) -> str:
    """Pack by the command line; what it says when it fails."""
    command = [sys.executable, "-P", "-m", "sepnet", "pack", str(network), "-o", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def row(network: Path, folder: Path) -> dict[str, Any]:
    """One network."""
    data, original = network.with_suffix(".npz"), Session(network, threads=1)
    feeds = examples_of(original, data)
    wanted = [original.run(feed) for feed in feeds]
    done: dict[str, Any] = {
        "network": network.stem,
        "bytes": network.stat().st_size,
        "gzip_bytes": len(gzip.compress(network.read_bytes(), 9, mtime=0)),
        "examples": min(EXAMPLES, len(ArrayExamples(load_arrays(data), original.inputs))),
    }
    try:
        made = dynamic(network, folder)
        session = Session(made, threads=1)
        done |= {
            "dynamic_bytes": made.stat().st_size,
            "dynamic_db": worst(wanted, [session.run(feed) for feed in feeds]),
        }
    except Exception as error:  # the quantizer raises almost anything
        done["dynamic_error"] = f"{type(error).__name__}: {str(error)[:160]}"
    for name, options in (("packed", ("--bits", "8")), ("auto", ("--bits", "auto", "--calibrate", str(data)))):
        output = folder / f"{name}.sepnet"
        problem = packed_by(network, output, *options)
        if problem:
            done[f"{name}_error"] = problem
            continue
        model = sepnet.read(output)
        found = [model.runtime("onnxruntime").answers(feed) for feed in feeds]
        done |= {f"{name}_bytes": model.bytes, f"{name}_db": worst(wanted, found)}
        if name == "packed":
            try:
                program = model.runtime("c99", calibrate=data)
                done["c99_db"] = worst(wanted, [program.answers(feed) for feed in feeds])
            except SepnetError as error:
                done["c99_error"] = str(error)
    return done


def main() -> None:
    """Measure, print and save."""
    folder, *names = sys.argv[1:] or sys.exit(__doc__)
    rows = []
    for network in sorted(Path(folder).glob("*.onnx")):
        if network.with_suffix(".npz").is_file() and (not names or network.stem in names):
            with tempfile.TemporaryDirectory() as temporary:
                rows.append(row(network, Path(temporary)))
            print(rows[-1], flush=True)
    if not names:
        save("wild", "python benchmarks/wild.py DIR", rows)


if __name__ == "__main__":
    main()
