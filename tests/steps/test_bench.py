"""bench: rows for every entrant and batch size, each from a process of its own; what cannot be measured is one line."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import numpy as np
import pytest

from sepnet.c99.compilers import find_compiler
from sepnet.core.errors import FormatError, SepnetError, UsageError
from sepnet.core.header import Header
from sepnet.core.packed_model import PackedModel
from sepnet.datasets import load
from sepnet.packing.restore import onnx_model
from sepnet.pages.bench_chart import bench_chart
from sepnet.runtimes.energy import processor_joules
from sepnet.runtimes.worker import Worker
from sepnet.steps.bench import bench

LENET5 = PackedModel.read(Path(__file__).parents[2] / "zoo" / "lenet5-mnist.sepnet")
QUICK = {"batches": (2, 1), "seconds": 0.02}


def test_rows_of_every_entrant(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(onnx_model(LENET5))
    report = bench(LENET5, ("onnxruntime", "torch"), ("float", str(other)), **QUICK)  # type: ignore[arg-type]
    found = [(row.entrant.form, row.entrant.runtime, row.batch) for row in report.rows]
    entrants = [("packed", "onnxruntime"), ("packed", "torch"), ("float", "onnxruntime"), ("other.onnx", "onnxruntime")]
    assert found == [(*entrant, batch) for entrant in entrants for batch in (1, 2)]
    for row in report.rows:
        assert 0 < row.fast_ms <= row.ms <= row.slow_ms and row.runs >= 12 and row.load_ms > 0
        assert row.difference < 1e-5
        assert row.peak_bytes is None or row.peak_bytes > 1e6
    assert report.rows[0].entrant.bytes == LENET5.bytes < 0.01 * report.rows[-1].entrant.bytes
    assert report.ratio(report.rows[0]) == report.ratio(report.rows[1]) == 1.0
    assert report.gains.keys() == {"onnxruntime", "torch"}
    drawing = ElementTree.fromstring(bench_chart(report))
    assert len(drawing.findall("{http://www.w3.org/2000/svg}rect")) == 8


@pytest.mark.skipif(not find_compiler(), reason="needs a C compiler")
def test_a_compiled_network_takes_little_memory() -> None:
    (row,) = bench(LENET5, ("c99",), (), batches=(1,), seconds=0.02).rows
    assert row.difference < 0.1 and row.load_ms > 20  # it counts the compiler
    assert row.peak_bytes is None or row.peak_bytes < 10e6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells how many threads a process has")
def test_every_process_has_the_threads_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, list[int]] = {}

    class Counted(Worker):
        def __exit__(self, *_: object) -> None:
            status = Path(f"/proc/{self._child.pid}/status").read_text().split()
            found.setdefault(self.name, []).append(int(status[status.index("Threads:") + 1]))
            super().__exit__()

    monkeypatch.setattr("sepnet.steps.bench.Worker", Counted)
    for threads in (1, 3):
        report = bench(LENET5, against=("float",), batches=(1,), seconds=0.01, threads=threads)
        assert report.threads == threads
    assert found.keys() == {"packed.sepnet by onnxruntime", "float.onnx by onnxruntime"}
    assert all(three - one == 2 for one, three in found.values()), found


def test_forms_in_other_runtimes() -> None:
    pytest.importorskip("openvino")
    rows = bench(LENET5, ("onnxruntime",), ("int8@openvino",), batches=(1,), seconds=0.02).rows
    assert [(row.entrant.form, row.entrant.runtime) for row in rows][1:] == [("int8", "openvino")]
    assert rows[1].difference < 0.1


def test_images_of_a_data_set() -> None:
    assert bench(LENET5, against=(), data=load("digits"), **QUICK).inputs == "test images of digits"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"runtimes": ("fast",)}, UsageError, "unknown runtime 'fast'"),
        ({"against": ("double",)}, UsageError, "found 'double' to measure against; expected float, int8"),
        ({"against": ("missing.onnx",)}, UsageError, "missing.onnx"),
        ({"against": ("int8@torch",)}, UsageError, "int8 is run by onnxruntime"),
        ({"runtimes": ()}, UsageError, "found no runtime"),
        ({"threads": 0}, UsageError, "found 0 threads"),
        ({"batches": ()}, UsageError, "expected one size or more"),
        ({"batches": (0,)}, UsageError, "each of 1 or more"),
        ({"seconds": float("nan")}, UsageError, "nan seconds"),
    ],
)
def test_what_cannot_be_measured(options: dict[str, object], error: type[SepnetError], message: str) -> None:
    with pytest.raises(error, match=message):
        bench(LENET5, **options)  # type: ignore[arg-type]


def test_files_that_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="weights alone"):
        bench(PackedModel.of(Header("nothing", 0, ()), b"", ()))
    free = PackedModel.of(msgspec.structs.replace(LENET5.header, input=None), LENET5.graph, LENET5.payloads)
    with pytest.raises(FormatError, match="does not say which images"):
        bench(free)
    assert bench(free, against=(), data=load("digits"), **QUICK).inputs == "test images of digits"  # type: ignore[arg-type]
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(SepnetError, match=r"broken.onnx by onnxruntime: ONNX Runtime refuses"):
        bench(LENET5, against=(str(tmp_path / "broken.onnx"),), **QUICK)  # type: ignore[arg-type]


def test_a_worker_that_dies_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((1, 1, 28, 28), np.float32))
    LENET5.write(tmp_path / "net.sepnet")
    with Worker(tmp_path / "net.sepnet", "onnxruntime", tmp_path / "images.npy", 1) as worker:
        assert worker.outputs(1).shape == (1, 10)
        worker._child.kill()
        with pytest.raises(SepnetError, match="its process ended with status -9"):
            worker.times(1, 1)


def test_a_worker_imports_nothing_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, wanted = tmp_path / "here", tmp_path / "wanted"
    for folder in (here, wanted):
        folder.mkdir()
    for name in ("numpy", "onnxruntime", "sepnet", "json", "zlib"):
        (here / f"{name}.py").write_text(f"open({str(here / 'RAN')!r}, 'w')")
    (wanted / "sitecustomize.py").write_text(f"open({str(wanted / 'RAN')!r}, 'w')")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(wanted))
    assert len(bench(LENET5, against=(), **QUICK).rows) == 2  # type: ignore[arg-type]
    assert not (here / "RAN").exists()
    assert (wanted / "RAN").exists()  # what the user put on the path is still found there


def test_energy_is_the_sum_of_the_packages(tmp_path: Path) -> None:
    for zone, count in (("intel-rapl:0", "2500000\n"), ("intel-rapl:1", "500000\n"), ("intel-rapl:0:0", "9\n")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(count)
    assert processor_joules(tmp_path) == 3.0
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("?")
    assert processor_joules(tmp_path) is None
