"""How long does the command line take as a whole process?

    python benchmarks/startup.py

Each command runs eleven times after one that does not count; median, least and greatest wall seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import save
from PIL import Image

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Time three commands."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.png"
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(image)
        packed = str(ROOT / "zoo" / "lenet5-mnist.sepnet")
        script = str(Path(sys.executable).parent / "sepnet")
        result = {}
        for label, command in {
            "sepnet --help": [script, "--help"],
            "sepnet info lenet5-mnist.sepnet": [script, "info", packed],
            "sepnet run lenet5-mnist.sepnet image.png": [script, "run", packed, str(image)],
        }.items():
            times = []
            for _ in range(12):
                started = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                times.append(time.perf_counter() - started)
            result[label] = {
                "median_s": statistics.median(times[1:]),
                "least_s": min(times[1:]),
                "greatest_s": max(times[1:]),
            }
            print(label, {key: round(value, 3) for key, value in result[label].items()})
    save("startup", "python benchmarks/startup.py", result)


if __name__ == "__main__":
    main()
