"""Convolutions and fully connected layers."""

from __future__ import annotations

from sepnet.c99.constants import Constants
from sepnet.c99.schedule import reach_of
from sepnet.c99.storage import UNPACKED, WIDE_SIGNS, lanes_run, merge_groups, store
from sepnet.c99.written import Detail, Part, Place, Signs, Written, rule_text, sides_text
from sepnet.integer.model import IntegerModel
from sepnet.integer.operators.conv import Conv

__all__ = ["WrittenConv"]


class WrittenConv(Written[Conv]):
    """Kernels for each form in which weights are stored; that of lanes is one for sums of 32 and of 64 bits."""

    def __init__(self, operator: Conv, model: IntegerModel, lanes: bool = False) -> None:
        super().__init__(operator, model, lanes)
        self._stored = store(operator, lanes)

    @staticmethod
    def merged(operator: Conv) -> Conv:
        return merge_groups(operator)

    @property
    def kernel(self) -> str:
        long = self.operator.requantize.long_sum and self._stored.kind != "lanes"
        return f"conv_{self._stored.kind}{'_long' if long else ''}"

    @property
    def data(self) -> bytes:
        return self._stored.data

    @property
    def part(self) -> Part:
        return Part(self.operator.layer, self.operator.weight.shape, self._stored.how, len(self._stored.data))

    @property
    def signs(self) -> Signs | None:
        block = self._stored.format % WIDE_SIGNS
        return Signs(self.operator.weight.shape, block) if self._stored.kind == "signs" else None

    @property
    def sides(self) -> tuple[int, ...]:
        conv = self.operator
        return (*conv.weight.shape[2:], conv.strides[1], conv.pads[1], *conv.dilations)

    @property
    def scratch(self) -> tuple[int, int]:
        operator, stored, model = self.operator, self._stored, self.model
        width = model.values[operator.target].shape[2]
        filters, channels, high, wide = operator.weight.shape
        if stored.kind == "signs":
            return (self._scratch_of_signs(width),) * 2
        if stored.kind == "lanes":
            fours = operator.weight[0].size // lanes_run(operator) * -(-lanes_run(operator) // 4)
            tables = 64 + -(-fours // 16) * 64 + 2 * fours * UNPACKED
            rows = (model.values[operator.target].shape[1] - 1) * operator.strides[0] + reach_of(operator).reach + 1
            copy = rows * self._padded * model.values[operator.source].shape[0] + 4
            both = int(tables + (0 if self._direct else copy))
            return both, both
        if stored.kind == "depthwise":
            return 4 * filters, 4 * filters
        if stored.kind == "dense":
            copy, sums = -(-high * wide * channels // 4) * 4, 0
        else:
            each = 8 if operator.requantize.long_sum else 4
            copy, sums = -(-high * self._padded * channels // 4) * 4, each * width
        return (0 if self._direct else copy) + sums, copy + sums

    def _scratch_of_signs(self, width: int) -> int:
        operator, form = self.operator, self._stored.format
        half, stride = (width + 7) // 8 * 4, operator.strides[1]
        columns = (half + ((width_of(operator) - 1) * operator.dilations[1] + stride - 1) // stride) * stride
        words = -(-operator.weight.shape[1] // 4)
        each = len(operator.weight) // operator.groups
        kept = each if form & WIDE_SIGNS else 1
        words += half + columns + each * half + 16 * (form % WIDE_SIGNS) * columns + 2 * half * (1 + kept)
        return int(4 * words)

    @property
    def _direct(self) -> bool:
        """Whether windows lie in the source as the kernel wants them, if the source keeps all its rows."""
        conv = self.operator
        channels, high, wide = conv.weight.shape[1:]
        if any(conv.pads):
            return False
        if self._stored.kind == "lanes":
            return lanes_run(conv) % 4 == 0
        if self._stored.kind == "sparse":
            return True
        return conv.weight[0].size == channels or (
            conv.groups == 1 and (channels, high, wide) == self.model.values[conv.source].shape
        )

    @property
    def _padded(self) -> int:
        """Columns that a row of windows spans."""
        conv = self.operator
        reach = (width_of(conv) - 1) * conv.dilations[1] + 1
        return int((self.model.values[conv.target].shape[2] - 1) * conv.strides[1] + reach)

    def detail(self, place: Place, constants: Constants) -> Detail:
        conv, stored = self.operator, self._stored
        whole = place.plan.rows[conv.source] == self.model.values[conv.source].shape[1]
        fields = (
            rule_text(conv.requantize, constants),
            constants.add(stored.data, 1),
            place.plan.scratch[place.at],
            conv.groups,
            self._padded,
            sides_text(self.sides, conv),
            int(self._direct and whole),
            stored.format,
        )
        return Detail("struct conv", f"{{{', '.join(map(str, fields))}}}")


def width_of(conv: Conv) -> int:
    """Columns of the kernel."""
    return int(conv.weight.shape[3])
