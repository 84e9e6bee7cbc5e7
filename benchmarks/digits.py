"""Rows that train in seconds, without a download: to try `training_queue.py`, and what the other tables do.

python benchmarks/digits.py lenet5-digits --epochs 4
"""

from __future__ import annotations

from rows import Row, main

ROWS = {
    "lenet5-digits": Row("lenet5", "train:2", "lenet5-digits", data="digits", train=("lr=0.05", "batch=64")),
}

if __name__ == "__main__":
    main(ROWS, __doc__)
