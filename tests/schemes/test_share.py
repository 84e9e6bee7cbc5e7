"""share: k-means, zeros that stay out, a gradient that is the sum over a value's weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.schemes.share import Codebook, Share, kmeans


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def book_of(weight: torch.Tensor, **options: Any) -> Codebook:
    state = Share(**options).attach(weight, [])
    assert isinstance(state, Codebook)
    return state


def squared(numbers: np.ndarray, centroids: np.ndarray, nearest: np.ndarray) -> float:
    return float(((numbers.astype(np.float64) - centroids[nearest]) ** 2).sum())


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 200), st.integers(0, 5), st.integers(0, 30))
def test_kmeans_gives_the_nearest_of_sorted_centroids(entries: int, size: int, seed: int, rounds: int) -> None:
    numbers = normal(size, seed=seed).numpy()
    centroids, nearest = kmeans(numbers, entries, rounds)
    assert 1 <= len(centroids) <= entries and (np.diff(centroids) > 0).all() and centroids.dtype == np.float32
    distance = np.abs(numbers[:, None].astype(np.float64) - centroids)
    assert np.allclose(distance[np.arange(size), nearest], distance.min(axis=1), rtol=0, atol=1e-12)


def test_kmeans_gets_better_with_every_round() -> None:
    numbers = normal(3000).numpy()
    errors = [squared(numbers, *kmeans(numbers, 16, rounds)) for rounds in (0, 1, 3, 10, 30, 100)]
    assert (
        all(after <= before * (1 + 1e-6) for before, after in itertools.pairwise(errors))
        and errors[-1] < 0.6 * errors[0]
    )


def test_kmeans_drops_empty_clusters_and_keeps_rare_large_weights() -> None:
    numbers = np.float32([0.0, 0.01, 0.02, 100.0])
    centroids, nearest = kmeans(numbers, 16, 10)
    assert centroids.tolist() == pytest.approx([0.01, 100.0]) and nearest.tolist() == [0, 0, 0, 1]


def test_kmeans_of_few_or_equal_numbers() -> None:
    assert kmeans(np.full(5, 0.25, np.float32), 8, 10)[0].tolist() == [0.25]
    assert kmeans(np.float32([2.0]), 256, 3)[0].tolist() == [2.0]
    centroids, nearest = kmeans(np.zeros(0, np.float32), 4, 3)
    assert centroids.tolist() == [0.0] and nearest.shape == (0,)
    exact = np.float32([1.0, -2.0, 5.0])
    centroids, nearest = kmeans(exact, 8, 50)
    assert centroids[nearest].tolist() == exact.tolist()


@pytest.mark.parametrize("bits", range(1, 9))
def test_at_most_two_to_the_bits_values(bits: int) -> None:
    weight = normal(40, 40)
    assert book_of(weight, bits=bits)(weight).unique().numel() <= 2**bits
    weight[:10] = 0.0
    value = book_of(weight, bits=bits)(weight)
    assert value.unique().numel() <= 2**bits and (value[:10] == 0).all() and (value[10:] != 0).any()


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_pruned_weights_are_code_zero_and_stay_zero_after_training(bits: int) -> None:
    weight = normal(8, 4, 3, 3)
    weight[weight.abs() < 0.6] = 0.0
    scheme = Share(bits=bits)
    state = book_of(weight, bits=bits)
    optimizer = torch.optim.SGD(state.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        (state(weight) - 1).square().sum().backward()
        optimizer.step()
    value = state(weight).detach()
    tensor = scheme.code("w", value, state, ("prune", "share"))
    assert torch.equal(value == 0, weight == 0)
    assert np.array_equal(tensor.codes == 0, (weight == 0).numpy())
    assert tensor.codebook is not None and tensor.codebook.numbers()[0] == 0 and tensor.bits <= bits
    assert (np.diff(tensor.codebook.numbers()[1:]) >= 0).all()


@pytest.mark.parametrize("pruned", [False, True])
def test_gradient_is_the_sum_over_the_weights_of_a_value(pruned: bool) -> None:
    weight = normal(7, 3, 3, 3)
    if pruned:
        weight[weight.abs() < 0.4] = 0.0
    state, upstream = book_of(weight, bits=3), normal(7, 3, 3, 3, seed=4)
    state(weight).backward(upstream)
    plain = state.values.detach().clone().requires_grad_(True)
    torch.cat([torch.zeros(1), plain])[state.codes].backward(upstream)
    assert plain.grad is not None and state.values.grad is not None
    assert torch.allclose(state.values.grad, plain.grad, rtol=1e-5, atol=1e-6)
    if pruned:
        assert not torch.allclose(upstream.sum(), state.values.grad.sum())


def test_gradcheck() -> None:
    weight = normal(5, 4)
    weight[0] = 0.0
    state = book_of(weight, bits=2).double()

    def loss(values: torch.Tensor) -> torch.Tensor:
        return (torch.func.functional_call(state, {"values": values}, (weight,)) ** 3).sum()  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(loss, state.values.detach().clone().requires_grad_(True))


def test_the_values_that_training_moved_are_the_ones_stored() -> None:
    weight = normal(20, 20)
    scheme, state = Share(bits=2), book_of(weight, bits=2)
    with torch.no_grad():
        state.values.copy_(torch.tensor([0.5, -0.25, 2.0, 1.0]))  # training may change their order
    tensor = scheme.code("w", state(weight).detach(), state, ("share",))
    assert tensor.codebook is not None and tensor.codebook.numbers().tolist() == [-0.25, 0.5, 1.0, 2.0]
    assert np.array_equal(tensor.restore(), state(weight).detach().numpy())


def test_a_loaded_state_counts_even_after_the_old_one_was_used() -> None:
    first, second = normal(6, 6), normal(6, 6, seed=1)
    first[:3], second[3:] = 0.0, 0.0
    old, new = book_of(first, bits=2), book_of(second, bits=2)
    old(first)
    old.load_state_dict(new.state_dict())
    assert torch.equal(old(first), new(second))


@pytest.mark.parametrize("options", [{"bits": 0}, {"bits": 9}, {"bits": 33}, {"rounds": -1}], ids=str)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Share(**options)
