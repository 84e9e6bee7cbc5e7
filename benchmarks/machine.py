"""Where and when a result was measured, and how results are written."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from command import RECORDS

RESULTS = RECORDS / "results"
PACKAGES = ("sepnet", "torch", "numpy", "onnxruntime", "openvino", "ai-edge-litert", "constriction")


def machine() -> dict[str, Any]:
    """Date, processor, cores, Python and the versions that matter."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "instructions": _instructions(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": found,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _instructions() -> list[str]:
    """Of those that matter for integers and bfloat16, the ones that this processor has."""
    wanted = (
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx_vnni",
        "amx_int8",
        "avx512_bf16",
        "amx_bf16",
        "asimddp",
        "i8mm",
        "bf16",
    )
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    found = next((line for line in lines if line.lower().startswith(("flags", "features"))), "").split()
    return [name for name in wanted if name in found]


def save(name: str, command: str, result: Any) -> None:
    """Write results/NAME.json."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = {"command": command, "machine": machine(), "result": result}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
