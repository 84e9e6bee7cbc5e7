"""Generated C equals the reference bit for bit, and takes the bytes that were promised."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from small_networks import NETWORKS, SHAPE, Builder, images, integer

from sepnet.c99.host import HostProgram
from sepnet.c99.memory import plan_memory
from sepnet.c99.program import Program, generate
from sepnet.core.dataset import normalize
from sepnet.core.errors import NetworkError
from sepnet.core.header import InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.integer.model import IntegerModel
from sepnet.integer.reference import quantize, run, run_floats
from sepnet.integer.trace import trace

ROOT = Path(__file__).parents[2]
CPUINFO = Path("/proc/cpuinfo")
CPU = CPUINFO.read_text().split() if CPUINFO.exists() else []
SANITIZED = "-O1 -fsanitize=address,undefined -fno-sanitize-recover"
needs_compiler = pytest.mark.skipif(not shutil.which("gcc") or not shutil.which("make"), reason="needs gcc and make")


def write(program: Program, folder: Path) -> None:
    """Its files."""
    for name, text in program.files.items():
        (folder / name).write_text(text)


def demo(
    model: IntegerModel,
    pixels: npt.NDArray[np.uint8],
    folder: Path,
    flags: str,
    lanes: bool = False,
    compiler: str = "gcc",
    emulator: Sequence[str] = (),
    about: InputSpec | None = None,
) -> list[list[int]]:
    """What the compiled demo prints for each image; without `about` pixels are numbers q."""
    write(generate(model, lanes, about), folder)
    subprocess.run(["make", "-s", "-C", str(folder), f"CC={compiler}", f"CFLAGS={flags}"], check=True)
    images = pixels.transpose(0, 2, 3, 1).tobytes()
    ran = subprocess.run([*emulator, folder / "demo"], input=images, capture_output=True, check=True)
    assert not ran.stderr
    return [[int(number) for number in line.split(b":")[1].split()] for line in ran.stdout.splitlines()]


def assert_equal(
    name: str, folder: Path, flags: str, lanes: bool = False, compiler: str = "gcc", emulator: Sequence[str] = ()
) -> None:
    model = integer(NETWORKS[name]())
    q = quantize(model.values[model.input], images(3) * 3)
    assert demo(model, q, folder, flags, lanes, compiler, emulator) == run(model, q).reshape(len(q), -1).tolist()


@needs_compiler
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_reference(name: str, tmp_path: Path) -> None:
    assert_equal(name, tmp_path, "-O1")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("flags", ["-O0", "-O3 -march=native", SANITIZED, SANITIZED + " -march=native"])
@pytest.mark.parametrize("lanes", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_reference_however_compiled(name: str, lanes: bool, flags: str, tmp_path: Path) -> None:
    assert_equal(name, tmp_path, flags, lanes)


def random_convolutions(seed: int) -> PackedModel:
    """Three of random shape; the last gives 16-bit numbers."""
    net, random = Builder(seed), np.random.default_rng(seed)
    x, channels = "input", 6
    for last in (False, False, True):
        groups = int(random.choice([each for each in (1, 2, 3, 4, 5, 8) if channels % each == 0]))
        filters = groups * int(random.integers(1, 45 // groups + 1))
        shape = (filters, channels // groups, *(int(side) for side in random.integers(1, 4, 2)))
        stride, dilation, pad = (int(each) for each in random.integers(1, 3, 3))
        form = str(random.choice(["sign", "integer", "sparse"]))
        x = net.conv(x, shape, form, pad=pad, group=groups, strides=[stride, 3 - stride], dilations=[1, dilation])
        x, channels = x if last else net.node("Relu", x), filters
    return net.model(x)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("flags", ["-O1 -march=native", SANITIZED])
@pytest.mark.parametrize("seed", range(6))
def test_random_convolutions_by_vectors(seed: int, flags: str, tmp_path: Path) -> None:
    model = integer(random_convolutions(seed))
    q = quantize(model.values[model.input], images(2))
    assert demo(model, q, tmp_path, flags, True) == run(model, q).reshape(len(q), -1).tolist()


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif("avx2" not in CPU, reason="needs a processor with AVX2")
@pytest.mark.parametrize("flags", ["-O2 -mavx2", SANITIZED + " -mavx2"])
@pytest.mark.parametrize("name", NETWORKS)
def test_avx2_equals_the_reference(name: str, flags: str, tmp_path: Path) -> None:
    assert_equal(name, tmp_path, flags, True)


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("aarch64-linux-gnu-gcc") or not shutil.which("qemu-aarch64"),
    reason="needs aarch64-linux-gnu-gcc and qemu-aarch64",
)
@pytest.mark.parametrize("march", ["armv8-a", "armv8.2-a+dotprod", "armv8.6-a"])
@pytest.mark.parametrize("name", NETWORKS)
def test_neon_equals_the_reference(name: str, march: str, tmp_path: Path) -> None:
    flags = f"-static -O2 -march={march}"
    assert_equal(name, tmp_path, flags, True, "aarch64-linux-gnu-gcc", ["qemu-aarch64", "-cpu", "max"])


@pytest.mark.parametrize("op", ["Hardmax", "LpNormalization"])
def test_an_operator_without_integer_form_is_named_with_its_layer(op: str) -> None:
    net = Builder()
    model = net.model(net.node(op, net.conv("input", (4, 6, 3, 3))))
    with pytest.raises(NetworkError, match=rf"{op} \(value 'output' after layer 'w0.weight'\)"):
        trace(model)


def test_arena_is_smaller_than_layer_by_layer() -> None:
    model = integer(NETWORKS["residual"]())
    scratch = [(0, 0)] * len(model.operators)
    together = plan_memory(model, scratch)
    assert max(together.segments) > 1
    live = max(model.values[each.target].bytes for each in model.operators)
    assert live <= together.bytes < 2 * live


@needs_compiler
def test_lenet5(tmp_path: Path) -> None:
    model = integer(PackedModel.read(ROOT / "zoo" / "lenet5-mnist.sepnet"))
    q = quantize(model.values[model.input], images(5, (1, 28, 28)) * 2)
    assert demo(model, q, tmp_path, "-O1") == run(model, q).reshape(len(q), -1).tolist()
    assert generate(model).weight_bytes < 7_500


@needs_compiler
def test_the_demo_takes_pixels(tmp_path: Path) -> None:
    model, random = integer(NETWORKS["residual"]()), np.random.default_rng(0)
    about = InputSpec(SHAPE, tuple(random.uniform(0.2, 0.6, SHAPE[0])), tuple(random.uniform(0.1, 0.5, SHAPE[0])))
    pixels = random.integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    q = quantize(model.values[model.input], normalize(pixels, about.mean, about.std))
    assert demo(model, pixels, tmp_path, "-O1", about=about) == run(model, q).reshape(len(q), -1).tolist()


@needs_compiler
def test_no_images_and_no_numbers() -> None:
    model = integer(NETWORKS["residual"]())
    program, broken = HostProgram(model), images(2)
    broken[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(program.first(broken), run_floats(model, broken)["output"])
    assert program.first(broken[:0]).shape == run_floats(model, broken[:0])["output"].shape == (0, 10)
