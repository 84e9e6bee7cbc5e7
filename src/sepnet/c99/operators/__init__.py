"""The shelf of operators that generated programs have."""

from __future__ import annotations

from typing import Any

from sepnet.c99.operators.add import WrittenAdd
from sepnet.c99.operators.blend import WrittenBlend
from sepnet.c99.operators.concat import WrittenConcat
from sepnet.c99.operators.conv import WrittenConv
from sepnet.c99.operators.fixed import WrittenFixed
from sepnet.c99.operators.gather import WrittenGather
from sepnet.c99.operators.join import WrittenJoin
from sepnet.c99.operators.lookup import WrittenLookup
from sepnet.c99.operators.multiply import WrittenMultiply
from sepnet.c99.operators.pad import WrittenPad
from sepnet.c99.operators.pool import WrittenAverage, WrittenMax
from sepnet.c99.operators.rearrange import WrittenRearrange
from sepnet.c99.operators.response import WrittenResponse
from sepnet.c99.operators.slice import WrittenSlice
from sepnet.c99.operators.slope import WrittenSlope
from sepnet.c99.operators.softmax import WrittenLogSoftmax, WrittenSoftmax
from sepnet.c99.written import Written
from sepnet.integer.operator import Operator
from sepnet.integer.operators.add import Add
from sepnet.integer.operators.blend import Blend
from sepnet.integer.operators.concat import Concat
from sepnet.integer.operators.conv import Conv
from sepnet.integer.operators.fixed import Fixed
from sepnet.integer.operators.gather import Gather
from sepnet.integer.operators.join import Join
from sepnet.integer.operators.lookup import Lookup
from sepnet.integer.operators.multiply import Multiply
from sepnet.integer.operators.pad import Pad
from sepnet.integer.operators.pool import AveragePool, MaxPool
from sepnet.integer.operators.rearrange import Rearrange
from sepnet.integer.operators.response import ResponseNorm
from sepnet.integer.operators.slice import Slice
from sepnet.integer.operators.slope import Slope
from sepnet.integer.operators.softmax import LogSoftmax, Softmax

__all__ = ["WRITTEN"]

WRITTEN: dict[type[Operator], type[Written[Any]]] = {
    Conv: WrittenConv,
    MaxPool: WrittenMax,
    AveragePool: WrittenAverage,
    Add: WrittenAdd,
    Multiply: WrittenMultiply,
    ResponseNorm: WrittenResponse,
    Concat: WrittenConcat,
    Lookup: WrittenLookup,
    Slice: WrittenSlice,
    Pad: WrittenPad,
    Gather: WrittenGather,
    Rearrange: WrittenRearrange,
    Join: WrittenJoin,
    Fixed: WrittenFixed,
    Slope: WrittenSlope,
    Softmax: WrittenSoftmax,
    LogSoftmax: WrittenLogSoftmax,
    Blend: WrittenBlend,
}
