"""The constant tables of a generated program: the pool of weights, and one initializer for each operator and value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.c99.memory import MemoryPlan
from sepnet.c99.schedule import reach_of
from sepnet.c99.storage import UNPACKED, WIDE_SIGNS, Stored, lanes_run, store
from sepnet.core.errors import NetworkError
from sepnet.integer.model import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Gather,
    IntegerModel,
    Lookup,
    MaxPool,
    Multiply,
    Operator,
    Pad,
    Requantize,
    ResponseNorm,
    Slice,
)

__all__ = ["Detail", "Pool", "detail_of", "kernel_of", "scratch_of"]

Detail = tuple[str, str, str]
"""C type of an operator's details, its initializer, and what it is as a value; "" where there is none."""


class Pool:
    """Numbers of 1, 2 and 4 bytes, each kind in one array; what is there already is used again."""

    def __init__(self) -> None:
        self._parts: dict[int, list[int]] = {1: [], 2: [], 4: []}
        self._known: dict[tuple[int, bytes], int] = {}

    def add(self, numbers: npt.NDArray[Any] | bytes, size: int) -> str:
        """Puts numbers into the array of that size; gives the C expression of their address."""
        array = np.frombuffer(numbers, np.uint8) if isinstance(numbers, bytes) else numbers
        key = size, np.asarray(array, np.int64).tobytes()
        at = self._known.setdefault(key, len(self._parts[size]))
        if at == len(self._parts[size]):
            self._parts[size] += [int(each) for each in array.ravel()]
        return f"model_{_NAMES[size]} + {at}"

    def arrays(self) -> list[tuple[str, str, list[int]]]:
        """(C type, name, numbers) of each array, whole words of 32 bits, so that nothing has to lie between them."""
        return [
            (_TYPES[size], f"model_{_NAMES[size]}", part + [0] * (-len(part) % (4 // size)))
            for size, part in sorted(self._parts.items(), reverse=True)
            if part
        ]

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(-(-len(part) * size // 4) * 4 for size, part in self._parts.items())


_NAMES = {1: "bytes", 2: "shorts", 4: "longs"}
_TYPES = {1: "uint8_t", 2: "int16_t", 4: "int32_t"}


def kernel_of(operator: Operator, stored: Stored | None) -> str:
    """The file of the kernel that makes an operator's rows; that of lanes is one for sums of 32 and of 64 bits."""
    if isinstance(operator, Conv):
        stored = stored or store(operator)
        long = operator.requantize.long_sum and stored.kind != "lanes"
        return f"conv_{stored.kind}{'_long' if long else ''}"
    if isinstance(operator, AveragePool) and _count_bytes(operator) == 4:
        return "pool_average_long"
    return _KERNELS[type(operator)]


def _count_bytes(pool: AveragePool) -> int:
    return 2 if max(pool.counts) < 1 << 16 else 4


_KERNELS: dict[type, str] = {
    MaxPool: "pool_max",
    AveragePool: "pool_average",
    Add: "add",
    Multiply: "multiply",
    ResponseNorm: "response",
    Concat: "concat",
    Lookup: "lookup",
    Slice: "slice",
    Pad: "pad",
    Gather: "gather",
}


def _direct(conv: Conv, stored: Stored, model: IntegerModel) -> bool:
    """Whether windows lie in the source as the kernel wants them, if the source keeps all its rows."""
    channels, high, wide = conv.weight.shape[1:]
    if any(conv.pads):
        return False
    if stored.kind == "lanes":
        return lanes_run(conv) % 4 == 0
    if stored.kind == "sparse":
        return True
    return conv.weight[0].size == channels or (
        conv.groups == 1 and (channels, high, wide) == model.values[conv.source].shape
    )


def _padded(conv: Conv, model: IntegerModel) -> int:
    """Columns that a row of windows spans."""
    reach = (conv.weight.shape[3] - 1) * conv.dilations[1] + 1
    return int((model.values[conv.target].shape[2] - 1) * conv.strides[1] + reach)


def scratch_of(operator: Operator, stored: Stored | None, model: IntegerModel) -> tuple[int, int]:
    """Bytes of working memory while a row is made, when the source keeps all its rows and when it does not."""
    if not isinstance(operator, Conv) or stored is None:
        return 0, 0
    width = model.values[operator.target].shape[2]
    filters, channels, high, wide = operator.weight.shape
    if stored.kind == "signs":
        half = (width + 7) // 8 * 4
        stride = operator.strides[1]
        columns = (half + ((wide - 1) * operator.dilations[1] + stride - 1) // stride) * stride
        words = -(-channels // 4)
        each = filters // operator.groups
        kept = each if stored.format & WIDE_SIGNS else 1
        words += half + columns + each * half + 16 * (stored.format % WIDE_SIGNS) * columns + 2 * half * (1 + kept)
        return 4 * words, 4 * words
    if stored.kind == "lanes":
        fours = operator.weight[0].size // lanes_run(operator) * -(-lanes_run(operator) // 4)
        tables = 64 + -(-fours // 16) * 64 + 2 * fours * UNPACKED
        rows = (model.values[operator.target].shape[1] - 1) * operator.strides[0] + reach_of(operator).reach + 1
        copy = rows * _padded(operator, model) * model.values[operator.source].shape[0] + 4
        return (tables + (0 if _direct(operator, stored, model) else copy),) * 2
    if stored.kind == "depthwise":
        return 4 * filters, 4 * filters
    if stored.kind == "dense":
        copy, sums = -(-high * wide * channels // 4) * 4, 0
    else:
        each = 8 if operator.requantize.long_sum else 4
        copy, sums = -(-high * _padded(operator, model) * channels // 4) * 4, each * width
    return (0 if _direct(operator, stored, model) else copy) + sums, copy + sums


def detail_of(
    at: int,
    operator: Operator,
    stored: Stored | None,
    model: IntegerModel,
    *,
    plan: MemoryPlan,
    pool: Pool,
    numbers: dict[str, int],
) -> Detail:
    """The details of operator number `at`; `numbers` are those of the maps."""
    if isinstance(operator, Conv):
        return (
            "struct conv",
            _conv(
                operator,
                stored or store(operator),
                model,
                rows=plan.rows[operator.source],
                scratch=plan.scratch[at],
                pool=pool,
            ),
            "",
        )
    if isinstance(operator, MaxPool):
        rule = "{0, 0, 0, 0, 0, 0, 0, 0}"
        return "struct pool", f"{{{rule}, 0, {_window(operator)}}}", ""
    if isinstance(operator, AveragePool):
        size = _count_bytes(operator)
        counts = pool.add(np.array(operator.counts, np.uint32).astype(np.int16 if size == 2 else np.int32), size)
        return (
            "struct pool",
            f"{{{_rule(operator.requantize, pool)}, (const uint16_t *)({counts}), {_window(operator)}}}",
            "",
        )
    if isinstance(operator, Add | Multiply):
        return "struct rule", _rule(operator.requantize, pool), ""
    if isinstance(operator, ResponseNorm):
        table = pool.add(operator.table, 2)
        return (
            "struct response",
            f"{{{_rule(operator.requantize, pool)}, {table}, {operator.shift}, {operator.size // 2}}}",
            "",
        )
    if isinstance(operator, Slice):
        starts, steps = operator.starts, operator.steps
        return (
            "struct slice",
            f"{{{starts[0]}, {starts[2]}, {_small(steps[2], operator)}, {_small(steps[0], operator)}}}",
            "",
        )
    if isinstance(operator, Pad):
        return "struct pad", f"{{{operator.before[0]}, {operator.before[2]}}}", ""
    if isinstance(operator, Lookup):
        return "", "", pool.add(operator.table, 1)
    listed: Sequence[int] = (
        operator.order if isinstance(operator, Gather) else [*(numbers[name] for name in operator.sources), 65535]
    )
    return "", "", pool.add(np.array(listed, np.uint16).astype(np.int16), 2)


def _small(number: int, operator: Operator) -> int:
    if not 0 <= number <= 255:
        raise NetworkError(
            f"the operator that makes {operator.target!r} has a side or step of {number}; expected 255 at most"
        )
    return number


def _window(pool: MaxPool | AveragePool) -> str:
    return f"{pool.kernel[0]}, {pool.kernel[1]}, {_small(pool.strides[1], pool)}, {_small(pool.pads[1], pool)}"


def _rule(rule: Requantize, pool: Pool) -> str:
    size = 2 if int(np.abs(rule.offsets).max(initial=0)) < 1 << 15 else 4
    multipliers, offsets = pool.add(rule.multipliers, 2), pool.add(rule.offsets, size)
    long = int(rule.long) + int(rule.long_sum)
    return f"{{{multipliers}, {offsets}, {size}, {rule.offset_shift}, {rule.shift}, {long}, {rule.low}, {rule.high}}}"


def _conv(conv: Conv, stored: Stored, model: IntegerModel, *, rows: int, scratch: int, pool: Pool) -> str:
    sides = (*conv.weight.shape[2:], conv.strides[1], conv.pads[1], *conv.dilations)
    small = ", ".join(str(_small(side, conv)) for side in sides[:3])
    down, right = (_small(side, conv) for side in conv.dilations)
    fields = (
        _rule(conv.requantize, pool),
        pool.add(stored.data, 1),
        scratch,
        conv.groups,
        _padded(conv, model),
        small,
        _small(conv.pads[1], conv),
        down,
        right,
        int(_direct(conv, stored, model) and rows == model.values[conv.source].shape[1]),
        stored.format,
    )
    return f"{{{', '.join(map(str, fields))}}}"
