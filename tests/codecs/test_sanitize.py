"""The C coder under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import sepnet.codecs.adaptive.codec as adaptive
from sepnet.codecs.adaptive import twin

SOURCE = Path(adaptive.__file__).parent
DRIVER = Path(__file__).with_name("sanitize.c")
FLAGS = ("-O1", "-g", "-std=c11", "-Wall", "-Wextra", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def records() -> bytes:
    """Payloads of small and large codes, of matrices and kernels, as sanitize.c reads them."""
    random, made = np.random.default_rng(0), b""
    for rows, columns, kernel in ((1, 1, 1), (6, 40, 1), (4, 54, 9), (3, 50, 25), (5, 64, 64)):
        for spread, kept in ((0.5, 1.0), (3.0, 0.1), (300_000.0, 0.7)):
            codes = np.rint(random.laplace(0, spread, (rows, columns))) * (random.random((rows, columns)) < kept)
            codes = np.clip(codes, -(2**22), 2**22).astype(np.int32)
            for mixes in (False, True):
                data = twin.write_codes(codes, kernel, mixes)
                made += struct.pack("=5I", mixes, kernel, rows, columns, len(data)) + data
    for rows, kernels, share in ((1, 1, 0.5), (8, 5, 0.1), (20, 7, 0.5)):
        data = twin.KernelMemory().write((random.random((rows, kernels, 9)) < share).astype(np.uint8))
        made += struct.pack("=5I", 0, 0, rows, kernels, len(data)) + data
    return made


def build(folder: Path, *more: str) -> Path:
    """The driver with sanitizers; the test is skipped where they cannot be had."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    probe = subprocess.run([compiler, *FLAGS, "-o", folder / "empty", folder / "empty.c"], capture_output=True)
    if probe.returncode or subprocess.run([folder / "empty"], capture_output=True).returncode:
        pytest.skip("the C compiler has no sanitizers")
    made = folder / "sanitize"
    subprocess.run([compiler, *FLAGS, *more, f"-I{SOURCE}", "-o", made, SOURCE / "adaptive.c", DRIVER], check=True)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("-DSEPNET_WRITER",), ("-DSEPNET_FAST", "-DSEPNET_WRITER")], ids=len)
def test_no_bytes_lead_the_coder_astray(more: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "records").write_bytes(records())
    done = subprocess.run([build(tmp_path, *more), tmp_path / "records", "4"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    assert int(done.stdout) > 100
    print(f"{done.stdout.strip()} payloads")
