"""How long does it take, and how much memory, to say where a network's parameters are?  sepnet, torchinfo and fvcore.

    python benchmarks/inspect_speed.py [--rounds 5]

Each measurement is a new process that imports torch, builds the network and counts it, as each tool's documentation
shows: sepnet on the meta device, torchinfo and fvcore on a network with its weights, and both also on the meta device,
where they take it.  The tools alternate; medians over the rounds; one thread.  Seconds: `call_s` of the count alone,
`build_and_call_s` with the building of the network, `process_s` of the whole process.  Memory: `peak_bytes`, the
greatest resident set of the process (ru_maxrss), and `above_import_bytes`, what it is above that after the imports.
`call_cpu_s`, `build_and_call_cpu_s` and `cpu_s` are the same three in processor time, which a busy machine changes
less; `load` is what else ran, the load average before and after.  A tool that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import save

NETWORKS = ("vgg16", "resnet152", "mobilenet_v2")
PRELUDE = """
import json, resource, sys, time
import torch
from sepnet.networks import build, outline
torch.set_num_threads(1)
name, shape = sys.argv[1], (1, 3, 224, 224)
def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{imports}
def clocks():
    return time.perf_counter(), time.process_time()
imported, start = peak(), clocks()
{build}
built = clocks()
{call}
end = clocks()
print(json.dumps({{"call_s": end[0] - built[0], "build_and_call_s": end[0] - start[0],
    "call_cpu_s": end[1] - built[1], "build_and_call_cpu_s": end[1] - start[1], "cpu_s": end[1],
    "peak_bytes": peak(), "above_import_bytes": peak() - imported, "params": params, "macs": macs}}))
"""
SEPNET = "report = inspect(model, shape[1:]); params, macs = report.params, report.macs"
TORCHINFO = "report = summary(model, input_size=shape, verbose=0{more}); params, macs = report.total_params, report.total_mult_adds"
FVCORE = """
analysis = FlopCountAnalysis(model, torch.zeros(shape, device={device!r})).unsupported_ops_warnings(False)
macs = int(analysis.uncalled_modules_warnings(False).total())
params = int(parameter_count(model)[""])
"""
META = "model = outline(name).eval()"
WITH_WEIGHTS = "model = build(name).eval()"
TOOLS: dict[str, tuple[str, str, str, str]] = {
    "sepnet": ("sepnet", "from sepnet.steps.inspect import inspect", META, SEPNET),
    "sepnet, network with weights": ("sepnet", "from sepnet.steps.inspect import inspect", WITH_WEIGHTS, SEPNET),
    "torchinfo": ("torchinfo", "from torchinfo import summary", WITH_WEIGHTS, TORCHINFO.format(more="")),
    "torchinfo, meta": ("torchinfo", "from torchinfo import summary", META, TORCHINFO.format(more=", device='meta'")),
    "fvcore": ("fvcore", "from fvcore.nn import FlopCountAnalysis, parameter_count", WITH_WEIGHTS, FVCORE.format(device="cpu")),
    "fvcore, meta": ("fvcore", "from fvcore.nn import FlopCountAnalysis, parameter_count", META, FVCORE.format(device="meta")),
}  # fmt: skip


def once(tool: str, network: str) -> dict[str, Any]:
    """One process; a failure is kept as its last line."""
    _, imports, build, call = TOOLS[tool]
    code = PRELUDE.format(imports=imports, build=build, call=call)
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", code, network], capture_output=True, text=True, env=environment
    )
    process = time.perf_counter() - started
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["?"])[-1][:300]}
    return {**json.loads(done.stdout.splitlines()[-1]), "process_s": process}


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number; counts are the same every time."""
    failed = [run for run in runs if "failed" in run]
    if failed:
        return failed[0]
    found = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {key: round(value, 4) if key.endswith("_s") else int(value) for key, value in found.items()}


def ratios(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How many times sepnet's numbers the others' are."""
    ours = rows["sepnet"]
    numbers = [key for key in ours if key.endswith(("_s", "_bytes"))]
    return {
        tool: {key: round(row[key] / max(1e-9, ours[key]), 2) for key in numbers}
        for tool, row in rows.items()
        if tool != "sepnet" and "failed" not in row
    }


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds, load = parser.parse_args().rounds, [round(os.getloadavg()[0], 1)]
    left_out = {
        tool: f"{package} is not installed"
        for tool, (package, *_) in TOOLS.items()
        if importlib.util.find_spec(package) is None
    }
    tools = [tool for tool in TOOLS if tool not in left_out]
    versions = {name: _version(name) for name in ("torchinfo", "fvcore") if importlib.util.find_spec(name)}
    result: dict[str, Any] = {"rounds": rounds, "versions": versions, "left_out": left_out, "networks": {}}
    for network in NETWORKS:
        runs: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
        for number in range(rounds + 1):
            for tool in tools:
                if any("failed" in run for run in runs[tool]):
                    continue
                run = once(tool, network)
                if number or "failed" in run:  # the first round fills the file cache
                    runs[tool].append(run)
        rows = {tool: medians(found) for tool, found in runs.items()}
        result["networks"][network] = {"tools": rows, "times sepnet's": ratios(rows)}
        for tool, row in rows.items():
            print(network, tool, row, flush=True)
    result["load"] = [*load, round(os.getloadavg()[0], 1)]
    save("inspect_speed", f"python {Path(__file__).parent.name}/{Path(__file__).name} --rounds {rounds}", result)


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


if __name__ == "__main__":
    main()
