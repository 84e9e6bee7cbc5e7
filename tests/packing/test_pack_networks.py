"""Network to file to network: what the user's own class computes with the unpacked weights is what the file computes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hard_networks import FLOAT, NETWORKS, Ready, mixed_recipe, packed, traced
from torch import nn

from sepnet.core.header import state_names
from sepnet.core.packed_model import PackedModel
from sepnet.packing.restore import state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime

TOLERANCE = 1e-4  # of the largest output
BUFFERS = 2e-3  # buffers that the graph computes with are stored in binary16


@pytest.fixture(scope="module", params=["lenet300", "lenet5", "mixed_cnn", *NETWORKS])
def ready(request: pytest.FixtureRequest) -> Ready:
    """Each network."""
    return traced(request.param)


def outputs(model: nn.Module, batch: torch.Tensor) -> np.ndarray:
    """What torch computes."""
    with torch.no_grad():
        return model.eval()(batch).numpy()


def unpacked(file: PackedModel, model: nn.Module) -> nn.Module:
    """An instance of the user's class that has taken the unpacked weights, strictly."""
    fresh = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in (*fresh.parameters(), *fresh.buffers()):
            tensor.fill_(1)
        for name, tensor in fresh.named_buffers():
            if name not in fresh.state_dict():
                tensor.copy_(model.get_buffer(name))
    fresh.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state_dict(file).items()})
    return fresh


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_floats_give_the_same_outputs(ready: Ready) -> None:
    model, _, shape = ready
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    file = packed(ready, FLOAT, ("dense",))
    assert sorted(state_names(file.header)) == sorted(before)
    runtime, fresh = OnnxRuntime(file, threads=1), unpacked(file, model)
    for size in (1, 3):
        batch = torch.randn(size, *shape)
        expected = outputs(model, batch)
        assert_close(runtime.run(batch.numpy()), expected, BUFFERS if list(model.buffers()) else TOLERANCE)
        assert_close(outputs(fresh, batch), runtime.run(batch.numpy()))
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_codes_give_the_same_outputs(ready: Ready) -> None:
    model, _, shape = ready
    file = packed(ready, mixed_recipe(model, shape), ("dense", "bitmap_huffman", "relative_index_ans"))
    runtime, fresh = OnnxRuntime(file, threads=1), unpacked(file, model)
    for size in (1, 3):
        batch = torch.randn(size, *shape)
        assert_close(outputs(fresh, batch), runtime.run(batch.numpy()))
