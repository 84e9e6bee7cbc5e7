"""what-if: what each method would save, by kind of layer and for the whole network, before anyone trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from sepnet.core.estimate import NETWORK, TYPICAL, FileEstimate, WhatIf, WhatIfRow
from sepnet.core.network import KINDS, LayerReport, NetworkReport
from sepnet.core.recipe import Chain, Recipe, Rule
from sepnet.packing.estimate import Sample, estimate, take_sample

__all__ = ["KEPT", "what_if"]

KEPT = {"first conv": 0.84, "conv": 0.35, "fc": 0.09, "last fc": 0.25}
"""Fraction of the weights that pruning keeps: AlexNet in Han et al. 2015 (arXiv 1506.02626), table 4, where the
convolutions after the first keep 35 to 38 %."""

_CONVS = ("conv kxk", "conv 1x1", "depthwise")
_WEIGHTED = (*_CONVS, "fc")
_LOW_RANK = 4


def what_if(report: NetworkReport, weights: Mapping[str, npt.NDArray[Any]] | None = None) -> WhatIf:
    """Estimate the file that each method would leave, without training anything.

    - *float16*: every weight kept in binary16; the other rows keep in it what their method does not touch.
    - *prune*: to the rates of `KEPT`, remaining weights in binary16; *prune + linear*: remaining weights of
      convolutions in 8 bits, of fully connected layers in 5 (the widths of Deep Compression, Han et al. 2016).
    - *linear 8, 5, 4 bits*: uniform quantization, one step a layer.
    - *pattern*: kernels k > 1 become signs with a scale for the network, a layer, a filter or a kernel.
    - *groups x2, x4, x8*: as many times more groups; *depthwise separable*: k x k in each channel, then 1 x 1;
      *pointwise*: 1 x 1 in place of k x k; *low rank*: two layers with a quarter of the rank between them;
      *no fc*: global average pool and one 1 x 1 convolution to the classes.

    Patterns and changes of structure leave the first convolution alone, as the talk's author does.  Sizes of the first
    four come from the schemes and codecs that `compress` uses, applied to the weights (of large layers to some of their
    filters); a change of structure keeps the layer's bytes a parameter.

    Args:
        report: what `inspect` says.
        weights: state dict of the network as numpy arrays; None estimates with weights distributed as trained ones
            typically are, see `sepnet.packing.estimate.take_sample`.  Weights that are only initialized are not:
            give them, if it is their file that is asked for.

    Raises:
        WeightsError: `weights` are of another network.

    >>> from sepnet.core.network import LayerReport
    >>> net = NetworkReport("net", (64,), (LayerReport("fc", "fc", (100, 64), 6500, 6400),))
    >>> row = what_if(net).row("linear 4 bits")
    >>> row.params, row.layers, 2500 < row.bytes < 3800
    (6500, ('fc',), True)
    """
    sample = take_sample(report, weights)
    base = estimate(sample, Recipe("float16"))
    network = _Network(report, base)
    rows = [network.row("float16", NETWORK, network.layers, file=base)]
    for coding in _codings(network):
        rows += network.coded_rows(coding, sample)
    for method, rewrite in _STRUCTURES.items():
        rows += network.rewritten_rows(method, rewrite)
    rows += network.without_fc()
    order = [NETWORK, *KINDS]
    rows.sort(key=lambda row: order.index(row.scope))
    measured_on = "its weights" if sample.given else TYPICAL
    total = sum(math.prod(layer.weight_shape) for layer in network.layers)
    return WhatIf(report.name, report.params, report.macs, measured_on, min(sample.coded, total), total, tuple(rows))


@dataclass(frozen=True)
class _Coding:
    """A method that codes weights: the chain of schemes and the kept fraction of each layer that it suits."""

    method: str
    chains: Mapping[str, Chain]
    kept: Mapping[str, float]


def _codings(network: _Network) -> list[_Coding]:
    kept = {layer.name: network.kept(layer) for layer in network.layers}
    whole = dict.fromkeys(kept, 1.0)
    pruned: dict[str, dict[str, Any]] = {
        name: {"scheme": "prune", "sparsity": round(1 - rate, 6)} for name, rate in kept.items()
    }
    bits = {layer.name: 5 if layer.kind == "fc" else 8 for layer in network.layers}
    codings = [_Coding("prune", {name: (step,) for name, step in pruned.items()}, kept)]
    for width in (8, 5, 4):
        chain: Chain = ({"scheme": "linear", "bits": width},)
        codings.append(_Coding(f"linear {width} bits", dict.fromkeys(kept, chain), whole))
    both = {name: (step, {"scheme": "linear", "bits": bits[name]}) for name, step in pruned.items()}
    codings.append(_Coding("prune + linear", both, kept))
    for scale in ("global", "layer", "filter", "kernel"):
        signs: Chain = ({"scheme": "pattern", "scale": scale},)
        patterns = {
            layer.name: signs for layer in network.rewritable if len(layer.weight_shape) > 2 and _kernel(layer) > 1
        }
        codings.append(_Coding(f"pattern, {scale} scale", patterns, whole))
    return codings


class _Network:
    """The layers that methods work on, and the rows that come of them."""

    def __init__(self, report: NetworkReport, base: FileEstimate) -> None:
        self.report, self.base = report, base
        self.layers = tuple(
            layer
            for layer in report.layers
            if layer.kind in _WEIGHTED and len(layer.weight_shape) > 1 and layer.params >= math.prod(layer.weight_shape)
        )
        self.first_conv = next((layer.name for layer in self.layers if layer.kind in _CONVS), None)
        self.last_fc = next((layer.name for layer in reversed(self.layers) if layer.kind == "fc"), None)
        self.rewritable = tuple(layer for layer in self.layers if layer.name != self.first_conv)

    def kept(self, layer: LayerReport) -> float:
        """Fraction of a layer's weights that pruning keeps."""
        if layer.kind == "fc":
            return KEPT["last fc" if layer.name == self.last_fc else "fc"]
        return KEPT["first conv" if layer.name == self.first_conv else "conv"]

    def coded_rows(self, coding: _Coding, sample: Sample) -> list[WhatIfRow]:
        """A row for the network and one for each kind that is not all of it."""
        touched = tuple(layer for layer in self.layers if layer.name in coding.chains)
        if not touched:
            return []
        after = estimate(sample, Recipe(coding.method, rule=_rules(coding, touched)))
        rows = []
        for scope, layers in _scopes(touched):
            names = {layer.name for layer in layers}
            mixed = {name: (after if name in names else self.base).tensors[name] for name in self.base.tensors}
            file = FileEstimate(mixed, after.header, after.graph)
            zeros = sum(round((1 - coding.kept[layer.name]) * math.prod(layer.weight_shape)) for layer in layers)
            rows.append(self.row(coding.method, scope, layers, file=file, params=-zeros, rules=_rules(coding, layers)))
        return rows

    def rewritten_rows(self, method: str, rewrite: Rewrite) -> list[WhatIfRow]:
        """The same for a change of structure, of the layers that it makes smaller."""
        sizes = {layer.name: rewrite(layer) for layer in self.rewritable}
        touched = tuple(x for x in self.rewritable if 0 < sizes[x.name] < math.prod(x.weight_shape))
        return [
            self._rewritten(method, scope, layers, {layer.name: sizes[layer.name] for layer in layers})
            for scope, layers in (_scopes(touched) if touched else [])
        ]

    def without_fc(self) -> list[WhatIfRow]:
        """Every fully connected layer replaced by one from the channels of the last convolution to the classes."""
        fcs = tuple(layer for layer in self.layers if layer.kind == "fc")
        at = self.report.layers.index(fcs[0]) if fcs else 0
        convs = [layer for layer in self.report.layers[:at] if layer.kind in _CONVS]
        if not convs:
            return []
        channels, classes = convs[-1].weight_shape[0], fcs[-1].weight_shape[0]
        positions = fcs[0].weight_shape[1] / channels
        if math.isqrt(int(positions)) ** 2 != positions or channels * classes >= _weights(fcs):
            return []  # inputs that are no square of pixels a channel come from elsewhere, or nothing would be saved
        share = channels * classes / _weights(fcs)
        return [self._rewritten("no fc", NETWORK, fcs, {x.name: share * _weights((x,)) for x in fcs}, biases=classes)]

    def _rewritten(
        self, method: str, scope: str, layers: tuple[LayerReport, ...], sizes: Mapping[str, float], *, biases: int = -1
    ) -> WhatIfRow:
        """A row where layers have `sizes` weights; their biases stay, or are `biases` in all."""
        tensors = dict(self.base.tensors)
        params = macs = 0.0
        for layer in layers:
            before = math.prod(layer.weight_shape)
            tensors[layer.name] = round(tensors[layer.name] * sizes[layer.name] / before)
            params += sizes[layer.name] - before
            macs += layer.macs * (sizes[layer.name] / before - 1)
        if biases >= 0:
            params += biases - sum(layer.params - math.prod(layer.weight_shape) for layer in layers)
            macs = sum(sizes.values()) - sum(layer.macs for layer in layers)
        file = FileEstimate(tensors, self.base.header, self.base.graph)
        return self.row(method, scope, layers, file=file, params=round(params), macs=round(macs))

    def row(
        self,
        method: str,
        scope: str,
        layers: tuple[LayerReport, ...],
        *,
        file: FileEstimate,
        params: int = 0,
        macs: int = 0,
        rules: tuple[Rule, ...] = (),
    ) -> WhatIfRow:
        """A row; `params` and `macs` are changes."""
        return WhatIfRow(
            method,
            scope,
            tuple(layer.name for layer in layers),
            self.report.params + params,
            self.report.macs + macs,
            4 * _weights(layers),
            sum(file.tensors[layer.name] for layer in layers),
            file.bytes,
            self.report.bytes / file.bytes,
            rules,
        )


def _scopes(layers: tuple[LayerReport, ...]) -> list[tuple[str, tuple[LayerReport, ...]]]:
    """The network and, if there are several, each kind."""
    kinds = [kind for kind in KINDS if any(layer.kind == kind for layer in layers)]
    parts = [(kind, tuple(layer for layer in layers if layer.kind == kind)) for kind in kinds]
    return [(NETWORK, layers), *(parts if len(kinds) > 1 else [])]


def _rules(coding: _Coding, layers: tuple[LayerReport, ...]) -> tuple[Rule, ...]:
    """One rule for each chain, with the layers that have it."""
    chains: list[Chain] = []
    for layer in layers:
        if coding.chains[layer.name] not in chains:
            chains.append(coding.chains[layer.name])
    return tuple(
        Rule(chain, tuple(layer.name for layer in layers if coding.chains[layer.name] == chain)) for chain in chains
    )


def _weights(layers: tuple[LayerReport, ...]) -> int:
    return sum(math.prod(layer.weight_shape) for layer in layers)


def _kernel(layer: LayerReport) -> int:
    """Weights of one kernel."""
    return math.prod(layer.weight_shape[2:])


Rewrite = Callable[[LayerReport], int]
"""A layer to the number of weights it has after a change of structure; 0 where that does not work."""


def _grouped(times: int) -> Rewrite:
    def rewrite(layer: LayerReport) -> int:
        whole = layer.weight_shape[0] % times == 0 and layer.weight_shape[1] % times == 0
        return math.prod(layer.weight_shape) // times if whole and layer.kind in ("conv kxk", "conv 1x1") else 0

    return rewrite


def _depthwise_separable(layer: LayerReport) -> int:
    filters, channels = layer.weight_shape[:2]
    return channels * _kernel(layer) + channels * filters if layer.kind == "conv kxk" else 0


def _pointwise(layer: LayerReport) -> int:
    return math.prod(layer.weight_shape[:2]) if layer.kind == "conv kxk" else 0


def _low_rank(layer: LayerReport) -> int:
    filters, inputs = layer.weight_shape[0], math.prod(layer.weight_shape[1:])
    rank = max(1, min(filters, inputs) // _LOW_RANK)
    return rank * (filters + inputs) if layer.kind != "depthwise" else 0


_STRUCTURES: dict[str, Rewrite] = {
    "groups x2": _grouped(2),
    "groups x4": _grouped(4),
    "groups x8": _grouped(8),
    "depthwise separable": _depthwise_separable,
    "pointwise": _pointwise,
    "low rank": _low_rank,
}
