"""Weights files: read without running code, loaded strictly, written whole."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sepnet.core.errors import OutputError, WeightsError
from sepnet.training.weights import check_finite, load_into, read_weights, write_weights

Make = Callable[..., nn.Module]


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return list(sorted(found)) == list(sorted(wanted)) and all(torch.equal(found[k], wanted[k]) for k in wanted)


@pytest.mark.parametrize("suffix", [".safetensors", ".weights", ""])
def test_safetensors_there_and_back(tmp_path: Path, trained: nn.Module, network: Make, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    write_weights(path, trained.state_dict())
    model = network()
    load_into(model, path)
    assert same(model.state_dict(), trained.state_dict()) and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".tar"])
@pytest.mark.parametrize("wrap", ["", "state_dict", "model"])
def test_pt_files_wrapped_or_not(tmp_path: Path, trained: nn.Module, network: Make, suffix: str, wrap: str) -> None:
    state: Any = collections.OrderedDict(trained.state_dict())
    for key in reversed(wrap.split()):
        state = {key: state, "epoch": 3}
    torch.save(state, tmp_path / f"w{suffix}")
    model = network()
    load_into(model, tmp_path / f"w{suffix}")
    assert same(model.state_dict(), trained.state_dict())


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, trained: nn.Module) -> None:
    for at, value in enumerate((trained, {"state_dict": trained.state_dict(), "x": _Bomb(tmp_path / "executed")})):
        torch.save(value, tmp_path / f"{at}.pt")
        with pytest.raises(WeightsError, match=r"expected safetensors, or .pt holding only tensors") as caught:
            read_weights(tmp_path / f"{at}.pt")
        assert "it holds a pickled module or other object (" in str(caught.value)
        assert str(caught.value).endswith("; save model.state_dict()") and "\x1b" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "value", [{}, [1, 2], {"a": 3}, {"a": torch.ones(2), "b": "words"}, torch.ones(3), 7, {"state_dict": {}}], ids=str
)
def test_what_is_no_state_dict(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_truncated_and_damaged_files(tmp_path: Path, trained: nn.Module, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(trained.state_dict(), path)
    else:
        write_weights(path, trained.state_dict())
    whole = path.read_bytes()
    for data in (b"", b"\0" * 8, b"\xff" * 64, whole[:7], whole[:100], whole[: len(whole) // 2], whole[:-1], b"hello"):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"w.(safetensors|pt)"):
            read_weights(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("none.safetensors", "none.pt", "folder"):
        with pytest.raises(WeightsError, match=name):
            read_weights(tmp_path / name)


def test_another_networks_weights_are_named(tmp_path: Path, trained: nn.Module, network: Make) -> None:
    state = trained.state_dict()
    cases: list[tuple[dict[str, torch.Tensor], str]] = [
        ({k: v for k, v in state.items() if k != "fc2.bias"}, "lacks fc2.bias"),
        ({**state, "fc9.bias": torch.ones(1)}, "has fc9.bias which the network does not"),
        ({"a": torch.ones(1)}, "lacks bn.bias, .* and 7 more and has a which"),
        ({**state, "fc2.bias": torch.ones(5)}, r"fc2.bias has shape \[5\], expected \[4\]"),
        ({**state, "fc2.bias": torch.full((4,), torch.nan)}, "fc2.bias holds 4 NaN or Inf of 4 numbers"),
        ({**state, "bn.running_var": state["bn.running_var"] / 0}, "bn.running_var holds 8 NaN or Inf"),
    ]
    for found, words in cases:
        save_file(found, tmp_path / "w.safetensors")
        model = network()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(WeightsError, match=words):
            load_into(model, tmp_path / "w.safetensors")
        assert same(model.state_dict(), before)


def test_check_finite_counts() -> None:
    check_finite({"a": torch.ones(3), "b": torch.tensor([1, 2])}, "here")
    with pytest.raises(WeightsError, match="here: b holds 1 NaN or Inf of 2 numbers"):
        check_finite({"a": torch.ones(3), "b": torch.tensor([1.0, -torch.inf])}, "here")


def test_weights_that_were_never_loaded() -> None:
    with pytest.raises(WeightsError, match="here: b is on the meta device, which holds no numbers"):
        check_finite({"a": torch.ones(3), "b": torch.ones(2, device="meta")}, "here")


def test_tied_and_strided_tensors_are_written_under_each_name(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
            self.second.weight = self.first.weight
            self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)

    model, other = Tied(), Tied()
    write_weights(tmp_path / "w", model.state_dict())
    assert set(load_file(tmp_path / "w")) == {"first.weight", "first.bias", "second.weight", "turned"}
    load_into(other, tmp_path / "w")
    assert other.second.weight is other.first.weight and same(other.state_dict(), model.state_dict())


def test_nothing_half_written(tmp_path: Path, trained: nn.Module) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_weights(tmp_path / "none" / "w", trained.state_dict())
    assert list(tmp_path.iterdir()) == []
