"""The rules that stand in for torch's shape functions give torch's own answers, and hand over what they cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sepnet.counting.shapes import RULES, quick

UNARY = [
    "relu",
    "sigmoid",
    "tanh",
    "silu",
    "gelu",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "elu",
    "leaky_relu",
    "relu6",
]
IN_PLACE = ["relu", "hardtanh", "elu", "leaky_relu", "silu", "hardswish", "hardsigmoid"]


class Compare(TorchDispatchMode):
    """Asks both, and notes which rules answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in flat((args, list(kwargs.values()))) if isinstance(t, torch.Tensor)]
        mine = quick(func, args, kwargs, tensors)
        theirs = func(*args, **kwargs)
        if mine is not None:
            self.answered.add(str(func).removeprefix("aten."))
            for a, b in zip(flat([mine]), flat([theirs]), strict=True):
                if (b.numel() and "batch_norm" not in str(func)) or b is flat([theirs])[0]:
                    found, wanted = (a.shape, a.dtype, a.stride()), (b.shape, b.dtype, b.stride())
                    assert found == wanted, (func, found, wanted)
        return theirs


def flat(value: Any) -> list[Any]:
    return [p for part in value for p in flat(part)] if isinstance(value, (list, tuple)) else [value]


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def convolutions() -> Iterator[Callable[[], Any]]:
    for size in (5, 8, 13):
        for stride in (1, 2, 3):
            for padding in (0, 1):
                for dilation in (1, 2):
                    x = empty(2, 4, size, size + 3)
                    shared: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
                    yield lambda x=x, shared=shared: F.conv2d(x, empty(6, 2, 3, 2), empty(6), groups=2, **shared)
                    yield lambda x=x, shared=shared: F.conv_transpose2d(x, empty(4, 3, 3, 3), groups=2, **shared)
                    yield lambda x=x, shared=shared: F.conv1d(x[:, :, 0].contiguous(), empty(6, 4, 2), **shared)
    yield lambda: F.conv3d(empty(1, 2, 5, 6, 7), empty(3, 2, 2, 1, 3), stride=(1, 2, 1))
    yield lambda: F.conv_transpose2d(empty(1, 2, 3, 3), empty(2, 3, 2, 2), stride=2, output_padding=1)
    yield lambda: F.conv2d(empty(2, 4, 4), empty(3, 2, 3, 3))  # without a batch


def pools() -> Iterator[Callable[[], Any]]:
    for size in range(4, 12):
        for kernel, stride, padding in ((2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 3, 1), (2, 3, 0), (2, 1, 1)):
            for ceil in (False, True):
                x = empty(1, 2, size, 2 * size)
                yield lambda x=x, a=(kernel, stride, padding), c=ceil: F.max_pool2d(x, *a, ceil_mode=c)
                yield lambda x=x, a=(kernel, stride, padding), c=ceil: F.avg_pool2d(x, *a, ceil_mode=c)
                yield lambda x=x, a=(kernel, stride, padding), c=ceil: F.avg_pool3d(x[:, :, None], (1, a[0], a[0]), ceil_mode=c)  # fmt: skip
    yield lambda: F.max_pool2d(empty(1, 2, 9, 9), 3, dilation=2)
    yield lambda: F.max_pool2d(empty(2, 9, 9), 3)


def others() -> Iterator[Callable[[], Any]]:
    x, s, v = empty(1, 4, 6, 6), empty(2, 3, 4), empty(4)
    for name in UNARY:
        function = getattr(F, name)
        for tensor in (x, s, empty(0), empty(3), x.transpose(1, 2), empty(2, 3, dtype=torch.float64)):
            yield lambda f=function, t=tensor: f(t)
        if name in IN_PLACE:
            yield lambda f=function: f(x, inplace=True)
    for function in (torch.exp, torch.neg, torch.sqrt, torch.rsqrt, torch.abs, torch.sigmoid_, torch.tanh_):
        yield lambda f=function: f(x)
    yield lambda: F.softmax(s, -1)
    yield lambda: F.log_softmax(s, 1)
    yield lambda: torch.pow(x, 0.75)
    yield lambda: F.prelu(x, v)
    for other in (x, empty(4, 1, 1), empty(6), empty(2, 4, 6, 6), 3, 2.5, empty(2, 1, 1, 1), x.transpose(2, 3)):
        for sign in (torch.add, torch.sub, torch.mul, torch.div):
            yield lambda f=sign, o=other: f(x, o)
    for other in (x, empty(6), 2.0):
        for word in ("add_", "sub_", "mul_", "div_"):
            yield lambda w=word, o=other: getattr(empty(1, 4, 6, 6), w)(o)
    yield lambda: F.batch_norm(x, v, v, v, v)
    yield lambda: F.batch_norm(x, v, v)
    yield lambda: F.layer_norm(s, (4,), v, v)
    yield lambda: F.layer_norm(s, (3, 4))
    yield lambda: F.adaptive_avg_pool2d(x, (2, 3))
    for dims, keep in (((2, 3), False), ((-1,), True), ((0, 1), True)):
        yield lambda d=dims, k=keep: x.mean(d, keepdim=k)
        yield lambda d=dims, k=keep: x.sum(d, keepdim=k)
    yield lambda: torch.cat([x, empty(1, 7, 6, 6)], 1)
    yield lambda: torch.cat([x, x], -1)
    yield lambda: F.linear(s, empty(5, 4), empty(5))
    yield lambda: F.linear(s, empty(5, 4))
    yield lambda: torch.bmm(s, empty(2, 4, 7))
    yield lambda: F.pad(x, (1, 2, 0, 3))
    yield lambda: F.local_response_norm(x, 5)


@pytest.mark.parametrize("calls", [convolutions, pools, others])
def test_the_rules_agree_with_torch(calls: Callable[[], Iterator[Callable[[], Any]]]) -> None:
    with torch.no_grad():
        for call in calls():
            errors: list[type[Exception] | None] = []
            for mode in (None, Compare()):
                try:
                    with mode or torch.no_grad():
                        call()
                    errors.append(None)
                except AssertionError:
                    raise
                except Exception as problem:
                    errors.append(type(problem))
            assert errors[0] == errors[1]


def test_every_rule_was_asked() -> None:
    compare = Compare()
    with torch.no_grad(), compare:
        for calls in (convolutions, pools, others):
            for call in calls():
                try:
                    call()
                except AssertionError:
                    raise
                except Exception:
                    continue
    assert set(RULES) - compare.answered <= {"_safe_softmax.default"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.conv2d(empty(1, 3, 4, 4), empty(2, 4, 3, 3)),
        lambda: F.conv2d(empty(1, 3, 2, 2), empty(2, 3, 3, 3)),
        lambda: torch.cat([empty(1, 2), empty(2, 3)], 1),
        lambda: empty(3).add_(empty(2, 3)),
        lambda: empty(3) + empty(4),
        lambda: torch.mm(empty(2, 3), empty(2, 3)),
        lambda: F.max_pool2d(empty(1, 1, 4, 4), 2, padding=2),
        lambda: F.batch_norm(empty(1, 3, 4, 4), empty(2), empty(2)),
    ],
)
def test_what_does_not_fit_is_left_to_torch(call: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError), torch.no_grad(), Compare():
        call()
