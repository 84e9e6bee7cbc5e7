"""The command line, as the benchmarks that train call it, and the folders that they write into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RUNS = Path(os.environ.get("SEPNET_RUNS") or ROOT / "runs").absolute()
"""Checkpoints, logs and weights that are not committed."""
RECORDS = Path(os.environ.get("SEPNET_RECORDS") or ROOT / "benchmarks").absolute()
"""What is committed: `results/`, `resume/` and, if the variable is set, `zoo/`."""
ZOO = RECORDS / "zoo" if os.environ.get("SEPNET_RECORDS") else ROOT / "zoo"


def sepnet(*arguments: str) -> dict[str, Any]:
    """Run the command line and return what it prints as JSON."""
    print("$ sepnet", *arguments, flush=True)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sepnet", *arguments, "--json"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
