"""How many images a second does `folder:PATH?crop=224` give, with 0, 1, 2, ... worker threads?

    python benchmarks/folder_stream.py [WORKERS ...]        0 1 2 unless said otherwise

Streams a folder of 200 generated JPEGs of 500 x 375 pixels (the median size in ImageNet; smooth noise, quality 90, about
76 kB each) through the two transforms: evaluation (shorter side to 256, centre 224) and training (a random part resized
to 224), batches of 20. The numbers of workers take turns, three rounds after one that does not count; figures are
medians. `consumer_ms` is what the program does with each batch meanwhile: nothing, or (as a network on an accelerator
would let it) waiting that long. `cpu_ms_an_image` is processor time of all threads together, which other programs on the
machine disturb less than the rate; `load_average` tells how many there were.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import save
from PIL import Image

from sepnet.core.dataset import StreamedImages
from sepnet.datasets import load

IMAGES, BATCH, ROUNDS = 200, 20, 3


def generate(root: Path) -> int:
    """Write the images, half of them in each of two classes; mean bytes of a file."""
    random, total = np.random.default_rng(0), 0
    for at in range(IMAGES):
        coarse = Image.fromarray(random.integers(0, 256, (47, 63, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        grain = random.normal(0, 6, (375, 500, 3))
        file = root / "ab"[at % 2] / f"{at}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(file, quality=90)
        total += file.stat().st_size
    return total // IMAGES


def measure(images: StreamedImages, draw: tuple[int, int] | None, wait_ms: float) -> tuple[float, float]:
    """(images a second, processor milliseconds an image) of one pass over all images."""
    rows = np.arange(len(images))
    started, used = time.perf_counter(), time.process_time()
    for _ in images.stream([rows[at : at + BATCH] for at in range(0, len(rows), BATCH)], draw):
        time.sleep(wait_ms / 1000)
    return len(rows) / (time.perf_counter() - started), 1000 * (time.process_time() - used) / len(rows)


def main() -> None:
    """Measure and write results/folder_stream.json."""
    workers = [int(text) for text in sys.argv[1:]] or [0, 1, 2]
    before = os.getloadavg()[0]
    result = []
    with tempfile.TemporaryDirectory() as folder:
        mean_bytes = generate(Path(folder))
        streams = {n: load(f"folder:{folder}?whole=True&crop=224&workers={n}").test.images for n in workers}
        for transform, draw, wait_ms in (("evaluation", None, 0), ("training", (0, 0), 0), ("training", (0, 0), 100)):
            found: dict[int, list[tuple[float, float]]] = {n: [] for n in workers}
            for _ in range(ROUNDS + 1):
                for n, images in streams.items():
                    assert isinstance(images, StreamedImages)
                    found[n].append(measure(images, draw, wait_ms))
            for n in workers:
                rate, cpu_ms = (statistics.median(side) for side in zip(*found[n][1:], strict=True))
                row = {"transform": transform, "consumer_ms": wait_ms, "workers": n}
                result.append({**row, "images_per_second": round(rate, 1), "cpu_ms_an_image": round(cpu_ms, 2)})
                print(
                    f"{transform:10}  consumer {wait_ms:3} ms  {n} workers  {rate:7.1f} images/s, {cpu_ms:.2f} ms",
                    flush=True,
                )
    loads = {"load_average": {"before": round(before, 1), "after": round(os.getloadavg()[0], 1)}}
    save(
        "folder_stream",
        "python benchmarks/folder_stream.py",
        {"mean_bytes_of_a_file": mean_bytes, **loads, "rows": result},
    )


if __name__ == "__main__":
    main()
