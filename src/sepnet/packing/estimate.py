"""The size of a packed file before there is one: a recipe's schemes and codecs, applied to a sample of the weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sepnet.codecs import smallest
from sepnet.codecs.symbol_table import MAX_SYMBOLS
from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import WeightsError
from sepnet.core.estimate import FileEstimate
from sepnet.core.header import InputSpec
from sepnet.core.network import KINDS, LayerReport, NetworkReport
from sepnet.core.packed_model import PackedModel
from sepnet.core.plan import Plan, PlannedWeight, make_plan
from sepnet.core.recipe import Recipe
from sepnet.core.scheme import Scheme, Site
from sepnet.packing.graph import ExportedGraph, Norm
from sepnet.packing.pack import PackInput, pack
from sepnet.schemes import SCHEMES

__all__ = ["GIVEN_WEIGHTS", "TYPICAL_WEIGHTS", "Sample", "estimate", "take_sample"]

Array = npt.NDArray[Any]

TYPICAL_WEIGHTS = 200_000
GIVEN_WEIGHTS = 1_000_000
"""Weights of one kind of layers that are really coded, at most: made-up ones and given ones."""
_LEAST_WEIGHTS = 8192

_LOWER_BITS, _TABLE_BITS = 6, 4
_PLAIN = ("dense", "bitmap", "relative_index")
_ENTROPY = ("dense_ans", "relative_index_ans")

_SIGN_BITS = 0.885
"""Of a sign in trained 3 x 3 kernels, as `kernels_ab1` writes them; 0.881 to 0.890 for four ResNets trained on CIFAR-10."""
_FROM_CONTEXT = 0.95
"""Of the bytes of independent codes, what those of trained layers take, whose neighbours tell of each other: 0.94 to 0.97."""
_GRAPH_BYTES, _GRAPH_BYTES_A_LAYER = 12, 24
"""Deflated graph: a + b x layers that are no norms; within 13 % for twelve networks of the catalogue, a third of AlexNet's."""


@dataclass(frozen=True)
class Sample:
    """Some filters of every layer.

    Attributes:
        report: the network.
        sites: its parameters, with the shapes that the sample has.
        state: numbers of a state dict, in those shapes.
        times: by state-dict key, how many numbers stand behind one of the sample; 1 where it is not said.
        norms: batch normalizations, each folded into the layer before it where the two fit.
        coded: how many weights the sample holds.
        given: whether they were given, or made up as trained weights typically are.
    """

    report: NetworkReport
    sites: tuple[Site, ...]
    state: Mapping[str, Array]
    times: Mapping[str, float]
    norms: tuple[Norm, ...]
    coded: int
    given: bool


def take_sample(report: NetworkReport, weights: Mapping[str, Array] | None = None) -> Sample:
    """Pick filters of every layer, evenly spaced and the one of the largest magnitude; all where there are few.

    Args:
        report: what `inspect` says of the network.
        weights: its state dict; None makes numbers up that are distributed as trained weights typically are,
            p(w) = 1 / (4 cosh^2(w / 2)), the logistic distribution, each layer with the largest magnitude that so
            many of them have, ln(4 n - 1).  Its tails lie between Gauss's and Laplace's (kurtosis 4.2); see
            docs/what-if.md for how near it comes.

    Raises:
        WeightsError: a layer of the report is not in `weights`, or has another shape there.
    """
    maker = _SampleMaker(report, weights)
    for layer in report.layers:
        maker.add(layer)
    return Sample(
        report,
        tuple(maker.sites),
        maker.state,
        maker.times,
        tuple(maker.norms),
        maker.coded,
        weights is not None,
    )


def estimate(sample: Sample, recipe: Recipe) -> FileEstimate:
    """The file that `sepnet compress` would write with `recipe` and no fine-tuning.

    Every tensor of the sample goes through its schemes and the smallest codec; sizes are then scaled up by layer.
    Raises `RecipeError` when the recipe does not fit the network.
    """
    plan = make_plan(recipe, sample.sites, SCHEMES)
    coded = [_cheaply(tensor, sample.times) for tensor in _code(plan, sample.state)]
    floats = {tensor.name: tensor for tensor in coded if tensor.codec == "dense" and tensor.values == "float16"}
    report = sample.report
    about = PackInput(report.name, report.params, InputSpec(report.input_shape), made={"recipe": "0" * 20})
    graph = ExportedGraph(b"", frozenset(sample.state), sample.norms)
    packed = pack(about, graph, sample.state, coded, code=_Anew(plan))
    layer_of = {site.name: site.layer for site in sample.sites}
    owner = {norm.name: norm.weight.rpartition(".")[0] for norm in sample.norms if norm.weight}
    sizes: dict[str, float] = {}
    for entry in packed.header.tensors:
        layer = layer_of.get(entry.name, entry.name.rpartition(".")[0])
        times = sample.times.get(entry.name, 1.0)
        side, codes = entry.bytes
        if entry.values == "sign" and entry.shape[2:] == (3, 3) and (times > 1 or not sample.given):
            codes = math.ceil(entry.elements / 8 * _SIGN_BITS)
        elif entry.values == "integer" and not sample.given:
            codes = math.ceil(codes * _FROM_CONTEXT)
        stored = _float_bytes(floats[entry.name], times) if entry.name in floats else codes * times
        size = stored + side * (times if entry.scale in ("filter", "kernel") else 1.0) + 4
        layer = owner.get(layer, layer)
        sizes[layer] = sizes.get(layer, 0.0) + size
    layers = sum(layer.kind != "norm" for layer in report.layers)
    return FileEstimate(
        {layer: round(size) for layer, size in sizes.items()},
        _front_bytes(packed),
        _GRAPH_BYTES + _GRAPH_BYTES_A_LAYER * layers,
    )


def _cheaply(tensor: CodedTensor, times: Mapping[str, float]) -> CodedTensor:
    """A tensor of which only some filters are there gets one codec, within 1 % of the smallest of all.

    Floats, whose codes depend on how many there are, are counted by `_float_bytes`.
    """
    if tensor.codec != "auto" or times.get(tensor.name, 1.0) <= 1.0 or tensor.codes.ndim < 2:
        return tensor
    zeros = 1 - np.count_nonzero(tensor.codes) / tensor.codes.size
    codec = "relative_index_ans" if zeros > 0.5 else "dense_ans"
    return dataclasses.replace(tensor, codec="dense" if tensor.values in ("float16", "sign") else codec)


def _float_bytes(tensor: CodedTensor, times: float) -> float:
    """Bytes of binary16 codes of which there are `times` as many.

    Entropy coding takes few enough distinct codes; whether so many are left is estimated from how often their upper
    ten bits occur.  The lower six are nearly uniform, so that they cost six bits each.
    """
    upper = tensor.codes >> _LOWER_BITS
    counts = np.unique(upper[tensor.codes != 0], return_counts=True)[1]
    distinct = float(np.sum(2**_LOWER_BITS * -np.expm1(-counts * times / 2**_LOWER_BITS)))
    plain = len(smallest(tensor.codes, _PLAIN)[1]) * times
    if distinct > MAX_SYMBOLS:
        return plain
    coarse = len(smallest(upper, _ENTROPY)[1]) + int(counts.sum()) * _LOWER_BITS / 8
    return min(plain, coarse * times + distinct * _TABLE_BITS / 8)


def _front_bytes(packed: PackedModel) -> int:
    return packed.bytes - packed.graph_bytes - sum(len(payload) + 4 for payload in packed.payloads)


class _SampleMaker:
    """Goes through the layers in their order."""

    def __init__(self, report: NetworkReport, weights: Mapping[str, Array] | None) -> None:
        self.weights = weights
        self.random = np.random.default_rng(0)
        self.sites: list[Site] = []
        self.state: dict[str, Array] = {}
        self.times: dict[str, float] = {}
        self.norms: list[Norm] = []
        self.coded = 0
        self._limit = TYPICAL_WEIGHTS if weights is None else GIVEN_WEIGHTS
        self._in_kind = {kind: sum(_weights_in(x) for x in report.layers if x.kind == kind) for kind in KINDS}
        self._before: LayerReport | None = None
        self._rows: npt.NDArray[np.intp] = np.zeros(0, np.intp)

    def add(self, layer: LayerReport) -> None:
        """One layer; a tied one, which owns nothing, is left out."""
        if layer.params == 0:
            return
        prefix = f"{layer.name}." if layer.name else ""
        if layer.kind == "norm":
            self._add_norm(layer, prefix)
            self._before = None
            return
        size = _weights_in(layer)
        if size:
            self._add_weight(layer, prefix, size)
        rest = layer.params - size
        if rest:
            self._add_rest(layer, prefix, rest)
        self._before = layer if size else None

    def _add_weight(self, layer: LayerReport, prefix: str, size: int) -> None:
        filters, each = layer.weight_shape[0], size // layer.weight_shape[0]
        share = min(1.0, self._limit / max(1, self._in_kind[layer.kind]))
        picked = min(filters, max(1, math.ceil(max(_LEAST_WEIGHTS, share * size) / each)))
        self._rows = np.unique(np.linspace(0, filters - 1, picked).round().astype(np.intp))
        shape = (len(self._rows), *layer.weight_shape[1:])
        if self.weights is None:
            numbers = self.random.logistic(size=shape)
            numbers.flat[0] = math.log(4 * size - 1)  # half of all layers of so many have a larger one
        else:
            numbers = self._given(layer, self.weights, f"{prefix}weight")
            if picked < filters:
                largest = int(np.abs(numbers.reshape(filters, -1)).max(axis=1).argmax())
                self._rows = np.unique(np.append(self._rows, largest))
            numbers = numbers[self._rows]
        self._put(layer, "weight", np.ascontiguousarray(numbers, np.float32), size)
        self.coded += numbers.size

    def _add_rest(self, layer: LayerReport, prefix: str, rest: int) -> None:
        """The bias; for a layer of a kind that is not known, all it has."""
        name = f"{prefix}bias"
        if self.weights is not None and name in self.weights and self.weights[name].size == rest:
            numbers = np.asarray(self.weights[name], np.float32)
        else:
            numbers = self.random.standard_normal(rest, np.float32)
        filters = layer.weight_shape[0] if layer.weight_shape else 0
        self._put(layer, "bias", numbers[self._rows] if rest == filters else numbers, rest)

    def _add_norm(self, layer: LayerReport, prefix: str) -> None:
        """A batch normalization, folded where it follows a layer of as many filters; another norm is kept as it is."""
        before, channels = self._before, math.prod(layer.weight_shape)
        batch = layer.params == 2 * channels and (self.weights is None or f"{prefix}running_var" in self.weights)
        folds = batch and before is not None and before.weight_shape[0] == channels
        for part in ("weight", "bias", "running_mean", "running_var") if batch else ("weight", "bias"):
            numbers = self._norm_numbers(prefix + part, 1.0 if part in ("weight", "running_var") else 0.0, channels)
            numbers = numbers[self._rows] if folds else numbers
            if part.startswith("running"):
                self.state[prefix + part] = numbers
            elif part == "weight" or layer.params > channels:
                self._put(layer, part, numbers, channels)
        if batch:
            own = f"{before.name}.bias" if before is not None and before.name else "bias"
            weight = f"{before.name}.weight".lstrip(".") if before is not None and folds else ""
            self.norms.append(Norm(layer.name, 1e-5, weight, own if folds and own in self.state else ""))

    def _norm_numbers(self, name: str, centre: float, channels: int) -> Array:
        if self.weights is not None and name in self.weights:
            return np.asarray(self.weights[name], np.float32).reshape(-1)
        return self.random.normal(centre, 0.1 * (centre + 0.1), channels).astype(np.float32)

    def _put(self, layer: LayerReport, part: str, numbers: Array, size: int) -> None:
        site = Site(layer.name, part, layer.kind, numbers.shape)
        self.sites.append(site)
        self.state[site.name] = numbers
        self.times[site.name] = size / max(1, numbers.size)

    def _given(self, layer: LayerReport, weights: Mapping[str, Array], name: str) -> Array:
        """The weight, or what the layer has of its shape by another name, as attention does."""
        found = weights.get(name)
        if found is None:
            own = (array for key, array in weights.items() if key.rpartition(".")[0] == layer.name)
            found = next((array for array in own if array.shape == layer.weight_shape), None)
        if found is None or found.shape != layer.weight_shape:
            what = "nothing" if found is None else f"shape {list(found.shape)}"
            raise WeightsError(f"the weights hold {what} for {name}; expected shape {list(layer.weight_shape)}")
        return found


def _weights_in(layer: LayerReport) -> int:
    """Numbers in the weight, 0 when the layer has none of its own."""
    size = math.prod(layer.weight_shape) if layer.weight_shape else 0
    return size if size <= layer.params else 0


@torch.no_grad()
def _code(plan: Plan, state: Mapping[str, Array]) -> list[CodedTensor]:
    """Every parameter as its chain leaves it."""
    coded = []
    for weight in plan.weights:
        value = torch.from_numpy(np.array(state[weight.site.name]))
        names = tuple(scheme.name for scheme in weight.schemes)
        for scheme in weight.schemes[:-1]:
            value = scheme.attach(value, [value])(value)
        last = weight.schemes[-1]
        code = last.code(weight.site.name, value, last.attach(value, [value]), names)
        coded.append(dataclasses.replace(code, codec=weight.codec))
    return coded


class _Anew:
    """Codes for a bias or norm that folding changed, as `ParametrizedNetwork.code_anew` makes them."""

    def __init__(self, plan: Plan) -> None:
        self._planned: dict[str, PlannedWeight] = {weight.site.name: weight for weight in plan.weights}

    def __call__(self, name: str, numbers: npt.NDArray[np.float32]) -> CodedTensor:
        chain: tuple[Scheme, ...] = self._planned[name].schemes
        return chain[-1].code(name, torch.from_numpy(numbers), None, tuple(scheme.name for scheme in chain))
