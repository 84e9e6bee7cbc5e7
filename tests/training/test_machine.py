"""Options left to the machine: machines are made up, one of each kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.epoch_log import EpochLog, setups
from sepnet.core.errors import NetworkError
from sepnet.core.observer import Callbacks
from sepnet.core.recipe import Recipe, Stage, load_recipe, recipe_names
from sepnet.core.train_options import TrainOptions
from sepnet.core.train_setup import TrainSetup
from sepnet.steps.compress import compress
from sepnet.steps.inspect import inspect
from sepnet.steps.train import train
from sepnet.training import device as devices
from sepnet.training import machine
from sepnet.training.checkpoint import Checkpoint
from sepnet.training.fit import Fit
from sepnet.training.machine import find_setup, lack_of_bfloat16, processor_flags, refusal_of_channels_last

Make = Callable[..., nn.Module]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
WITH, WITHOUT = {"avx2": True, "avx512_bf16": True}, {"avx2": True, "avx512_bf16": False, "avx512_f": True}


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A made-up processor: what it says of itself, and how long bfloat16 takes over float32."""

    def make(flags: dict[str, Any] | None, time: float = 0.6) -> None:
        monkeypatch.setattr(machine, "processor_flags", lambda: flags)
        monkeypatch.setattr(machine, "bfloat16_time", lambda: time)

    return make


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A made-up GPU of NVIDIA, or of AMD."""

    def make(capability: tuple[int, int], supported: bool = True, hip: str | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
        monkeypatch.setattr(torch.version, "hip", hip)

    return make


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_a_processor_that_has_it(processor: Callable[..., None], flag: str) -> None:
    processor({"neon": True, flag: True})
    assert lack_of_bfloat16(CPU) == ""


def test_processors_without_it(processor: Callable[..., None]) -> None:
    processor(WITHOUT)
    assert lack_of_bfloat16(CPU) == "this processor has no bfloat16 instructions"
    processor(None)
    assert "not known" in lack_of_bfloat16(CPU)
    processor(WITH, 11.0)
    assert "slower" in lack_of_bfloat16(CPU)


def test_gpus(gpu: Callable[..., None]) -> None:
    gpu((9, 0))
    assert lack_of_bfloat16(CUDA) == lack_of_bfloat16(torch.device("cuda:1")) == ""
    gpu((7, 5))  # torch says it is supported, and emulates it
    assert lack_of_bfloat16(CUDA) == "this GPU has no bfloat16 arithmetic"
    gpu((8, 0), supported=False)
    assert lack_of_bfloat16(CUDA)
    gpu((7, 0), hip="6.2")
    assert lack_of_bfloat16(CUDA) == ""
    assert lack_of_bfloat16(torch.device("mps"))


def test_where_torch_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    path = tmp_path / "cpuinfo"
    assert processor_flags(path) is None
    path.write_text("")
    assert processor_flags(path) is None
    path.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\nbugs\t:\n\nprocessor\t: 1\n")
    assert processor_flags(path) == dict.fromkeys(["fpu", "avx2", "avx512_bf16", "amx_bf16"], True)
    path.write_text("Features\t: fp asimd bf16\nCPU part\t: 0xd4f\n")
    assert processor_flags(path) == dict.fromkeys(["fp", "asimd", "bf16"], True)


def test_this_machine_answers() -> None:
    flags = processor_flags()
    assert flags is None or all(isinstance(name, str) for name in flags)
    assert machine.bfloat16_time() > 0
    assert isinstance(lack_of_bfloat16(CPU), str)


@pytest.mark.parametrize("flags", [WITH, WITHOUT], ids=["with", "without"])
def test_auto_and_what_is_asked_for(
    processor: Callable[..., None], data: Dataset, network: Make, flags: dict[str, Any]
) -> None:
    processor(flags)
    have, threads = flags is WITH, torch.get_num_threads()

    def found(**options: Any) -> TrainSetup:
        return find_setup(TrainOptions(**options), CPU, network(), data.input_shape)

    left = found()
    assert left.precision == ("bfloat16" if have else "float32") and left.channels_last and not left.compiled
    assert left.threads == threads and left.device == "cpu"
    assert ("this processor has it" if have else "this processor has no bfloat16 instructions") in str(left)
    asked = found(precision="float32", channels_last=False)
    assert (asked.precision, asked.why, asked.channels_last) == ("float32", "as asked", False)
    asked = found(precision="bfloat16", compiled=True)
    assert asked.precision == "bfloat16" and asked.compiled
    assert ("ten times as long" in str(asked)) is not have


def test_a_gpu_has_channels_last_with_bfloat16_only(gpu: Callable[..., None], data: Dataset, network: Make) -> None:
    for capability, precision in (((9, 0), "bfloat16"), ((7, 5), "float32")):
        gpu(capability)
        setup = find_setup(TrainOptions(), CUDA, network(), data.input_shape)
        assert (setup.precision, setup.channels_last) == (precision, precision == "bfloat16")


class Viewing(nn.Module):
    """A network that many have written: `view` needs the channels first, or one channel."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(nn.Conv2d(*pair, 3, padding=1) for pair in itertools.pairwise([1, *widths])))
        self.fc = nn.Linear(64 * widths[-1], 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.convs(x))
        return self.fc(x.view(len(x), -1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("widths", [(4,), (4, 4)])
def test_a_network_that_does_not_take_channels_last(data: Dataset, network: Make, widths: tuple[int, ...]) -> None:
    assert refusal_of_channels_last(network(dropout=0.5), data.input_shape) == ""
    assert "view size" in refusal_of_channels_last(Viewing(*widths), data.input_shape)
    done = train(Viewing(*widths), data, TrainOptions(), epochs=1)
    assert not done.epochs[0].setup.channels_last  # type: ignore[union-attr]
    with pytest.raises(NetworkError, match=r"^channels_last = true: .*view size.*; expected false or auto$"):
        train(Viewing(*widths), data, TrainOptions(channels_last=True), epochs=1)


@pytest.mark.parametrize("widths", [(4,), (4, 4)])
def test_such_a_network_teaches(data: Dataset, network: Make, widths: tuple[int, ...]) -> None:
    fit = Fit(network(), data, TrainOptions(distill=0.5), epochs=1, stage="s", teacher=Viewing(*widths))
    assert fit.setup.channels_last
    fit.run()


def test_looking_at_a_network_changes_nothing(data: Dataset, network: Make) -> None:
    model = network(dropout=0.5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    refusal_of_channels_last(model, data.input_shape)
    machine.bfloat16_time.__wrapped__()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_run_goes_on_on_another_machine(
    processor: Callable[..., None], data: Dataset, network: Make, tmp_path: Path
) -> None:
    """Begun where bfloat16 is fast, it goes on in float32, and both are told."""

    class StopError(Exception):
        pass

    def stop(log: EpochLog) -> None:
        if log.epoch == 3:
            raise StopError

    recipe = Recipe("t", stage=(Stage("a", epochs=4),), train={"lr": 0.05, "batch": 16})
    report = inspect(network(), data.input_shape, "net")
    output, run = tmp_path / "net", {"recipe": recipe.digest(), "options": repr(TrainOptions())}
    ways: dict[str, Callable[..., Any]] = {
        "train": lambda **given: train(network(), data, TrainOptions(lr=0.05, batch=16), epochs=4, **given),
        "compress": lambda **given: compress(network(), recipe, data, report, **given),
    }
    for name, way in ways.items():
        processor(WITH)
        with pytest.raises(StopError):
            way(checkpoint=Checkpoint(output, run), observer=Callbacks(epoch=stop))
        processor(WITHOUT)
        said: list[TrainSetup] = []
        done = way(checkpoint=Checkpoint(output, run, resume=True), observer=Callbacks(setup=said.append))
        assert [(count, found.precision) for count, found in setups(done.epochs)] == [
            (2, "bfloat16"),
            (2, "float32"),
        ], name
        assert [setup.precision for setup in said] == ["float32"] and done.score.top1 > 0.6
        output.with_name("net.checkpoint").unlink()


def test_a_compiler_that_is_missing(data: Dataset, network: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class BackendCompilerFailed(RuntimeError):
        pass

    def broken(_: torch.Tensor) -> torch.Tensor:
        raise BackendCompilerFailed("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", lambda model: broken)
    with pytest.raises(NetworkError, match=r"^compiled = true: .*C\+\+ compiler found; expected"):
        train(network(), data, TrainOptions(compiled=True), epochs=1)


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(devices, "processors", lambda: 1)
    try:
        devices.use_threads(3)
        assert torch.get_num_threads() == 3
        devices.use_threads(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_leave_it_to_the_machine(name: str) -> None:
    recipe = load_recipe(name)
    for stage in recipe.stage:
        options = recipe.options(stage)
        left = {options.precision, options.channels_last, options.compiled}
        assert left == {"auto"}, stage.name


def test_options_from_text() -> None:
    for key in ("channels_last", "compiled"):
        for value in (True, False, "auto"):
            assert getattr(msgspec.convert({key: value}, TrainOptions), key) == value
