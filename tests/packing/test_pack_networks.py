"""Network to file to network: what the user's own class computes with the unpacked weights is what the file computes."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from hard_networks import FLOAT, NETWORKS, Ready, packed, traced
from torch import nn

from sepnet.core.header import state_names
from sepnet.core.packed_model import PackedModel
from sepnet.core.recipe import Recipe, Rest, Rule
from sepnet.core.scheme import make_scheme
from sepnet.packing.restore import state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import sites

TOLERANCE = 1e-4  # of the largest output
BUFFERS = 2e-3  # buffers that the graph computes with are stored in binary16
CHAINS = (
    [{"scheme": "prune", "sparsity": 0.6}, {"scheme": "linear", "bits": 4}],
    [{"scheme": "pattern", "scale": "kernel"}],
    [{"scheme": "linear", "bits": 6, "per": "filter"}],
    [{"scheme": "share", "bits": 3}],
    [{"scheme": "pattern", "scale": "filter", "train": "straight-through"}],
    [{"scheme": "prune", "sparsity": 0.5}, {"scheme": "share", "bits": 2}],
    [{"scheme": "pattern", "scale": "layer"}],
    [{"scheme": "prune", "sparsity": 0.7}],
    [{"scheme": "keep", "dtype": "float32"}],
)


@pytest.fixture(scope="module", params=["lenet300", "lenet5", "mixed_cnn", *NETWORKS])
def ready(request: pytest.FixtureRequest) -> Ready:
    """Each network."""
    return traced(request.param)


def mixed_recipe(model: nn.Module, shape: tuple[int, ...]) -> Recipe:
    """Another chain for every weight, as far as it can have it; 8 bits for biases and norms."""
    chains = itertools.cycle(CHAINS)
    rules = []
    for site in sites(model, inspect(model, shape)):
        if len(site.shape) >= 2 and site.kind != "norm" and not site.tied:
            for chain in itertools.islice(chains, len(CHAINS)):
                if not any(make_scheme(table, SCHEMES, "").refuse(site) for table in chain):
                    rules.append(Rule(tuple(chain), layers=(site.layer,)))
                    break
    untied = all(not site.tied for site in sites(model, inspect(model, shape)))
    biases = ({"scheme": "linear", "bits": 8},) if untied else ({"scheme": "keep"},)
    return Recipe("mixed", rule=tuple(rules), rest=Rest(biases=biases))


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
