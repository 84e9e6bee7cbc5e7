"""Train two networks on scikit-learn's handwritten digits, compress them, and run what came out.

`make demo` runs this.  It types the commands that a user would type, and leaves the packed files and their reports in demo/.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from sepnet.cli import terminal
from sepnet.core.stage_row import StageRow
from sepnet.datasets import load

OUT = Path("demo")
JOBS = {
    "lenet5": ("lenet5-digits", 12, ["lr=0.02", "weight_decay=1e-4"]),
    "mixed_cnn": ("mixed-digits-pattern", 20, ["optimizer=adamw", "lr=0.005"]),
}


def sepnet(*arguments: str) -> Any:
    """Show a command, run it, and return what it prints as JSON."""
    terminal.note("\n$ sepnet " + " ".join(arguments))
    done = subprocess.run([sys.executable, "-P", "-m", "sepnet", *arguments, "--json"], stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def main() -> None:
    """Run both jobs, classify three images with what came out, and end with one table each."""
    started = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    tables = []
    for net, (recipe, epochs, settings) in JOBS.items():
        weights, packed = str(OUT / f"{net}.safetensors"), OUT / f"{recipe}.sepnet"
        options = [part for setting in [*settings, "batch=64", "shift=1"] for part in ("--set", setting)]
        sepnet("train", net, "--data", "digits", "--epochs", str(epochs), *options, "-o", weights, "--restart")
        report = str(packed.with_suffix(".html"))
        given = ["--weights", weights, "--data", "digits", "--recipe", recipe]
        places = ["-o", str(packed), "--stages", str(OUT), "--report", report]
        result = sepnet("compress", net, *given, *places, "--restart")
        tables.append((packed, report, [StageRow(**row) for row in result["stages"]]))
    test = load("digits").test
    images = []
    for at in range(3):
        images.append(str(OUT / f"digit-{test.labels[at]}.png"))
        Image.fromarray(test.images[at, 0]).save(images[-1])
    for prediction in sepnet("run", str(tables[0][0]), *images, "--topk", "1"):
        best = prediction["guesses"][0]
        terminal.note(f"{prediction['image']}: class {best['label']}, {best['probability']:.1%}")
    for packed, report, rows in tables:
        terminal.print_rows(
            rows, f"\n{packed}: {packed.stat().st_size:,} bytes, opens without PyTorch; report {report}"
        )
    terminal.note(f"\n{time.perf_counter() - started:.0f} seconds; look inside: .venv/bin/sepnet info {tables[0][0]}")


if __name__ == "__main__":
    main()
