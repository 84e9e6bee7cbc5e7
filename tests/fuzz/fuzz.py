"""Fuzz the readers: `python tests/fuzz/fuzz.py [SECONDS [TARGET ...]]`, needs atheris.  A finding ends with exit code 1.

Each target runs in a child with a limit on memory and on the time of one input; SECONDS, 600 if not given, are shared among all.  What
crashes a target is left as `crash-*` (or `timeout-*`, `oom-*`) in runs/fuzz.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

MEMORY = 768 << 20
"""Bytes that a target may allocate on top of what its imports take."""
SLOWEST_SECONDS = 20
HERE = Path(__file__).parent
WEIGHTS = {"packed": 4, "safetensors": 2, "onnx": 3}


def names() -> list[str]:
    """All targets."""
    sys.path.insert(0, str(HERE))
    from targets import TARGETS

    return list(TARGETS)


def fuzz(name: str, seconds: int) -> tuple[int, str]:
    """How many inputs ran, and the end of the output if one was a finding, else ""."""
    found = HERE.parents[1] / "runs" / "fuzz"
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        done = subprocess.run(
            [sys.executable, __file__, "--child", name, corpus, str(found), str(seconds)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds * 3 + 120,
        )
    counts = re.findall(r"number_of_executed_units: (\d+)", done.stderr)
    return int(counts[-1]) if counts else 0, done.stderr[-3000:] if done.returncode or not counts else ""


def _child(name: str, corpus: str, found: str, seconds: str) -> None:
    import atheris

    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=["sepnet"]):
        import targets
    for at, seed in enumerate(targets.seeds(name)):
        (Path(corpus) / f"seed-{at}").write_bytes(seed)
    target = targets.TARGETS[name]
    target(b"")
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    options = [f"-max_total_time={seconds}", f"-timeout={SLOWEST_SECONDS}", "-rss_limit_mb=0", "-seed=1"]
    options += ["-print_final_stats=1", "-verbosity=1", "-max_len=65536", f"-artifact_prefix={found}/"]
    atheris.Setup([sys.argv[0], *options, corpus], target)
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    """Run all targets, or those named; 1 if one found something."""
    if arguments[:1] == ["--child"]:
        _child(*arguments[1:])
        return 0
    wanted = arguments[1:] or names()
    share = int(arguments[0] if arguments else 600) / sum(WEIGHTS.get(name, 1) for name in wanted)
    failed = total = 0
    for name in wanted:
        count, finding = fuzz(name, max(1, round(share * WEIGHTS.get(name, 1))))
        total += count
        failed += bool(finding)
        print(f"{name:32} {count:>10,} inputs{'  FOUND:' if finding else ''}\n{finding}".rstrip(), flush=True)
    print(f"{'all':32} {total:>10,} inputs, {failed} targets with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
