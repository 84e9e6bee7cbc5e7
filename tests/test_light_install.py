"""Without torch, onnx and scikit-learn: packed files open, run and unpack, and the rest says what to install."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import sepnet
from sepnet.datasets import load

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "onnx", "onnxscript", "sklearn")
BLOCK = f"""
import sys
from importlib.machinery import PathFinder

class Finder:
    find_distributions = PathFinder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in {HEAVY!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
"""
DATA_MODULE = """
import numpy as np
from sepnet import Dataset, Split

def noise(images=20):
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 255, (images, 1, 28, 28)).astype(np.uint8), np.arange(images) % 10)
    return Dataset("noise", tuple("0123456789"), split, split, (0.5,), (0.5,))
"""
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a packed network, an image, a user's data set, and what this environment says of the network."""
    place = tmp_path_factory.mktemp("light")
    (place / "mine.py").write_text(DATA_MODULE)
    Image.fromarray(np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)).save(place / "image.png")
    shutil.copy(ROOT / "zoo" / "lenet5-mnist.sepnet", place / "net.sepnet")
    packed = sepnet.read(place / "net.sepnet")
    with contextlib.chdir(place):
        data = load("mine:noise")
    batch = data.batch(data.test.images)
    np.save(place / "batch.npy", batch)
    np.save(place / "outputs.npy", packed.run(batch))
    (place / "score.json").write_text(json.dumps({"top1": packed.evaluate(data).top1}))
    return place


def run_python(python: str, code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "SEPNET_DATA")}
    return subprocess.run(
        [python, "-c", code, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )


@pytest.fixture
def blocked(folder: Path) -> Python:
    """Python in which the heavy packages cannot be imported."""
    return lambda code, *arguments: run_python(sys.executable, BLOCK + code, *arguments, cwd=folder)


@pytest.fixture(scope="module")
def light(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Python of a new environment in which sepnet was installed from its wheel, without extras."""
    place = tmp_path_factory.mktemp("environment")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    made = subprocess.run([*pip, "wheel", "--no-deps", "-w", str(place), str(ROOT)], capture_output=True, text=True)
    if made.returncode and "hatchling" in made.stderr:
        pytest.skip("the build backend cannot be fetched here")
    assert made.returncode == 0, made.stderr
    (wheel,) = place.glob("sepnet-*.whl")
    venv.create(place / "venv", with_pip=True)
    python = next(path for path in (place / "venv/bin/python", place / "venv/Scripts/python.exe") if path.exists())
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", str(wheel)]
    installed = subprocess.run(command, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    return lambda code, *arguments: run_python(str(python), code, *arguments, cwd=folder)


def sepnet_command(python: Python, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python("from sepnet.cli import main; main()", *arguments)


def check_library(python: Python) -> None:
    done = python(
        """
import sys
import numpy as np
import sepnet
model = sepnet.read("net.sepnet")
found, wanted = model.run(np.load("batch.npy")), np.load("outputs.npy")
assert np.allclose(found, wanted, atol=1e-5), abs(found - wanted).max()
assert model.info().bytes == model.bytes and "fc1.weight" in model.state_dict()
model.unpack("library.safetensors")
assert model.evaluate("mine:noise").n == 20
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "onnx", "onnxscript", "sklearn"})
assert not heavy, heavy
assert "lenet300-mnist" in __import__("sepnet.core.recipe").core.recipe.recipe_names()
print("fine")
"""
    )
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def check_commands(python: Python, folder: Path) -> None:
    def as_json(*arguments: str) -> Any:
        done = sepnet_command(python, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert as_json("info", "net.sepnet")["bytes"] == (folder / "net.sepnet").stat().st_size
    assert (
        as_json("evaluate", "net.sepnet", "--data", "mine:noise")["top1"]
        == json.loads((folder / "score.json").read_text())["top1"]
    )
    (prediction,) = as_json("run", "net.sepnet", "image.png", "--topk", "3")
    assert prediction["image"] == "image.png" and len(prediction["guesses"]) == 3
    for options in ((), ("--form", "int8", "--calibrate", "mine:noise")):
        exported = as_json("export", "net.sepnet", "--to", "onnx", "-o", "net.onnx", *options)
        assert exported["bytes"] == (folder / "net.onnx").stat().st_size
        assert exported["check"]["difference"] <= (0.1 * exported["check"]["largest"] if options else 0)
    as_json("unpack", "net.sepnet", "-o", "command.safetensors")
    assert set(load_file(folder / "command.safetensors")) >= {"conv1.weight", "fc2.bias"}
    assert as_json("pack", "command.safetensors", "-o", "weights.sepnet")["bytes"] > 0
    for command in ("--help", "train --help", "info net.sepnet", "run net.sepnet image.png"):
        assert sepnet_command(python, *command.split()).returncode == 0


def check_hints(python: Python) -> None:
    files = ["--data", "mine:noise", "-o", "new.sepnet"]
    for arguments in (
        ["inspect", "lenet5"],
        ["train", "lenet5", *files],
        ["compress", "lenet5", "--weights", "w.safetensors", "--recipe", "lenet5-digits", *files],
        ["evaluate", "lenet5", "--weights", "library.safetensors", "--data", "mine:noise"],
    ):
        done = sepnet_command(python, *arguments)
        assert done.returncode == 2 and "pip install 'sepnet[torch]'" in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr and not done.stdout
    done = sepnet_command(python, "evaluate", "net.sepnet", "--data", "digits")
    assert done.returncode == 2 and "pip install 'sepnet[digits]'" in done.stderr
    done = sepnet_command(python, "pack", "net.onnx", "-o", "new.sepnet")
    assert done.returncode == 2 and "pip install 'sepnet[onnx]'" in done.stderr, done.stderr
    done = python("import sepnet.networks; sepnet.networks.build('lenet5')")
    assert "MissingExtraError" in done.stderr and "sepnet[torch]" in done.stderr


def test_reading_and_running_without_the_heavy_packages(blocked: Python) -> None:
    check_library(blocked)


def test_commands_without_the_heavy_packages(blocked: Python, folder: Path) -> None:
    check_commands(blocked, folder)


def test_hints_without_the_heavy_packages(blocked: Python) -> None:
    check_hints(blocked)


def test_reading_imports_nothing_heavy_where_it_is_installed(folder: Path) -> None:
    check_library(lambda code, *arguments: run_python(sys.executable, code, *arguments, cwd=folder))


@pytest.mark.slow
def test_a_new_environment_from_the_wheel(light: Python, folder: Path) -> None:
    listed = light("import importlib.util as u; print([n for n in ('torch', 'onnx', 'sklearn') if u.find_spec(n)])")
    assert listed.stdout == "[]\n"
    check_library(light)
    check_commands(light, folder)
    check_hints(light)
    done = light("import sepnet; print(sepnet.load_recipe('lenet300-mnist').digest(), sepnet.__file__)")
    assert "site-packages" in done.stdout, done.stderr


@pytest.mark.slow
def test_the_wheel_holds_the_recipes_and_nothing_else(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    made = subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)], capture_output=True, text=True)
    if made.returncode and "hatchling" in made.stderr:
        pytest.skip("the build backend cannot be fetched here")
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("sepnet-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"sepnet/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.toml")}
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert recipes and recipes <= names and modules <= names and "sepnet/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {"sepnet", wheel.name.rpartition("-py3")[0] + ".dist-info"}
