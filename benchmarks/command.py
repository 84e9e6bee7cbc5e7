"""The command line, as the benchmarks that train call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def sepnet(*arguments: str) -> dict[str, Any]:
    """Run the command line and return what it prints as JSON."""
    print("$ sepnet", *arguments, flush=True)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sepnet", *arguments, "--json"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
