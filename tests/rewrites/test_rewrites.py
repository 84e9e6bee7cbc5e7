"""What each rewrite does besides its contract: exact cases, better choices, and whom it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sepnet.core.errors import NetworkError, RecipeError
from sepnet.core.rewrite import make_rewrite
from sepnet.rewrites import REWRITES
from sepnet.rewrites.depthwise_separable import DepthwiseSeparable
from sepnet.rewrites.global_pool import GlobalPool
from sepnet.rewrites.group import Group
from sepnet.rewrites.low_rank import LowRank
from sepnet.rewrites.pattern_residual import PatternResidual


def test_what_is_exact() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(6, 10, 3, padding=1), torch.randn(2, 6, 5, 5)
    for rewrite in (LowRank(rank=10), LowRank(energy=1.0), DepthwiseSeparable(multiplier=9), PatternResidual()):
        made = rewrite.rewrite(conv)
        assert made.error < 1e-12
        torch.testing.assert_close(made.module(x), conv(x), atol=1e-5, rtol=1e-4)
    grouped = nn.Conv2d(8, 8, 3, groups=4)
    with torch.no_grad():
        whole = nn.Conv2d(8, 8, 3, bias=False)
        whole.weight.zero_()
        for at in range(4):
            whole.weight[2 * at : 2 * at + 2, 2 * at : 2 * at + 2] = grouped.weight[2 * at : 2 * at + 2]
    assert Group(groups=4).rewrite(whole).error == 0


def test_permuted_groups_find_hidden_ones() -> None:
    torch.manual_seed(0)
    order = torch.randperm(16)
    conv = nn.Conv2d(16, 8, 3, bias=False)
    with torch.no_grad():
        owner = torch.arange(16) // 4
        for at in range(4):
            conv.weight[2 * at : 2 * at + 2, order[owner != at]] = 0
    plain, permuted = (Group(groups=4, permute=permute).rewrite(conv) for permute in (False, True))
    assert permuted.error == 0 and plain.error > 0.3
    x = torch.randn(1, 16, 6, 6)
    torch.testing.assert_close(permuted.module(x), conv(x))
    noise = nn.Conv2d(16, 8, 3)
    assert Group(groups=4, permute=True).rewrite(noise).error < Group(groups=4).rewrite(noise).error


def test_energy_takes_the_least_rank() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 12, 3)
    made = LowRank(energy=0.8).rewrite(conv)
    rank = made.module.kxk.out_channels
    assert made.error <= 0.2 < LowRank(rank=rank - 1).rewrite(conv).error


def test_more_is_nearer() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 12, 3)
    ranks = [LowRank(rank=rank).rewrite(conv).error for rank in range(1, 13)]
    kernels = [DepthwiseSeparable(multiplier=m).rewrite(conv).error for m in range(1, 10)]
    assert ranks == sorted(ranks, reverse=True) and kernels == sorted(kernels, reverse=True)


def test_global_pool_learns_from_images() -> None:
    """A stack that is a line of the means is found exactly; one that is none, better than without images."""
    torch.manual_seed(0)
    maps = torch.rand(600, 4, 9)
    line = nn.Linear(36, 3)
    with torch.no_grad():
        line.weight.copy_(torch.randn(3, 4).repeat_interleave(9, dim=1) / 9)
    made = GlobalPool(positions=9).rewrite(line, maps.flatten(1))
    assert made.error < 1e-9
    torch.testing.assert_close(made.module(maps), line(maps.flatten(1)), atol=1e-5, rtol=1e-4)
    stack = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 3)).train()
    blind, seeing = (GlobalPool(positions=9).rewrite(stack, x).module.eval() for x in (None, maps))
    stack.eval()
    with torch.no_grad():
        wanted = stack(maps)
        errors = [(wanted - module(maps)).square().sum() for module in (blind, seeing)]
    assert errors[1] < 0.8 * errors[0] and sum(p.numel() for p in seeing.parameters()) == 15
    with pytest.raises(NetworkError, match=r"gets \[7, 9\]; expected 4 channels of 9 positions"):
        GlobalPool(positions=9).rewrite(stack, torch.zeros(2, 7, 9))


def test_global_pool_with_fewer_images_than_channels() -> None:
    torch.manual_seed(0)
    made = GlobalPool(positions=4).rewrite(nn.Linear(64 * 4, 3), torch.randn(5, 256))
    assert all(torch.isfinite(p).all() for p in made.module.parameters())
    made = GlobalPool(positions=4).rewrite(nn.Linear(8, 3), torch.zeros(5, 8))
    assert made.error == 0 and all(torch.isfinite(p).all() for p in made.module.parameters())


CONV = nn.Conv2d(6, 12, 3, padding=1)


class MyConv(nn.Conv2d):
    """Its forward may be anything."""


@pytest.mark.parametrize(
    ("table", "module", "words"),
    [
        ({"rewrite": "group", "groups": 4}, CONV, "groups = 4 does not divide its 6 channels and 12 filters"),
        ({"rewrite": "group", "groups": 2}, nn.Conv2d(8, 8, 3, groups=4), "it has 4 groups"),
        ({"rewrite": "group", "groups": 2}, nn.Linear(4, 4), "found a Linear; expected a torch.nn.Conv2d"),
        ({"rewrite": "group", "groups": 2}, MyConv(4, 4, 3), "found a MyConv"),
        ({"rewrite": "depthwise_separable"}, nn.Conv2d(6, 6, 3, groups=6), "depthwise already"),
        ({"rewrite": "depthwise_separable"}, nn.Conv2d(6, 6, 1), "kernel is 1x1"),
        ({"rewrite": "depthwise_separable", "multiplier": 10}, CONV, "multiplier = 10; expected 1 to 9"),
        ({"rewrite": "low_rank", "rank": 13}, CONV, "rank = 13; expected 1 to 12"),
        ({"rewrite": "low_rank", "rank": 2}, nn.Conv2d(6, 12, 3, groups=2), "it has 2 groups; expected 1"),
        ({"rewrite": "pattern_residual"}, nn.Conv2d(6, 12, 3), "no pixel of the input in the middle"),
        ({"rewrite": "pattern_residual"}, nn.Conv2d(6, 12, 3, padding="valid"), "no pixel of the input in the middle"),
        ({"rewrite": "pattern_residual"}, nn.Conv2d(6, 12, 2, padding=1), "expected an odd kernel"),
        ({"rewrite": "pattern_residual", "groups": 5}, CONV, "groups = 5 does not divide"),
        ({"rewrite": "global_pool", "positions": 7}, nn.Linear(36, 2), "positions = 7 does not divide its 36 inputs"),
        ({"rewrite": "global_pool", "positions": 9}, CONV, "found a Conv2d; expected a Linear"),
        ({"rewrite": "global_pool", "positions": 9}, nn.Sequential(nn.Linear(9, 2), nn.Tanh()), "found a Tanh"),
        ({"rewrite": "global_pool", "positions": 9}, nn.Sequential(nn.ReLU()), "found a Sequential"),
    ],
)
def test_who_is_refused(table: dict[str, Any], module: nn.Module, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        make_rewrite({**table, "layers": ["*"]}, REWRITES, "test").rewrite.rewrite(module)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"layers": ["*"]}, "needs the key rewrite = NAME; choices: channels, depthwise_separable"),
        ({"rewrite": "lowrank", "layers": ["*"]}, "unknown rewrite 'lowrank'; did you mean 'low_rank'"),
        ({"rewrite": "low_rank", "rank": 4}, "the key 'layers' is missing"),
        ({"rewrite": "low_rank", "rank": 4, "layers": []}, "names no layers"),
        ({"rewrite": "low_rank", "rank": 4, "layers": "conv"}, "layers"),
        (
            {"rewrite": "low_rank", "rank": 4, "layers": ["*"], "kinds": ["conv"]},
            "unknown kind 'conv'; choices: conv kxk",
        ),
        ({"rewrite": "low_rank", "layers": ["*"]}, "exactly one of rank and energy"),
        ({"rewrite": "low_rank", "layers": ["*"], "rank": 0}, "rank = 0"),
        ({"rewrite": "low_rank", "layers": ["*"], "energy": 1.5}, "energy = 1.5"),
        ({"rewrite": "low_rank", "layers": ["*"], "ranks": 2}, "ranks"),
        ({"rewrite": "group", "layers": ["*"]}, "groups"),
        ({"rewrite": "group", "layers": ["*"], "groups": 1}, "groups = 1; expected 2 or more"),
        ({"rewrite": "group", "layers": ["*"], "groups": "two"}, "groups"),
        ({"rewrite": "depthwise_separable", "layers": ["*"], "multiplier": 0}, "multiplier = 0"),
        ({"rewrite": "pattern_residual", "layers": ["*"], "groups": 0}, "groups = 0"),
        ({"rewrite": "global_pool", "layers": ["*"], "positions": 0}, "positions = 0"),
    ],
)
def test_tables_that_cannot_be(table: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=r"^here: ") as caught:
        make_rewrite(table, REWRITES, "here")
    assert words in str(caught.value)
