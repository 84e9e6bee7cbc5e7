"""A float network and some examples: what its layers see, how much each layer's errors matter, and what codes lose.  No labels."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.examples import Examples
from sepnet.core.layer_bits import KEPT
from sepnet.core.pack_options import PackOptions
from sepnet.core.pack_report import Measured
from sepnet.core.progress import Progress, Tick
from sepnet.graphs.wire import with_weights
from sepnet.packing.onnx_source import OnnxSource
from sepnet.quantizing.calibrated import CalibratedLayer, QuantizedLayer, disturbed, in_bits, quantize_all
from sepnet.quantizing.layers import Layer, find_layers
from sepnet.quantizing.linear import code_kept, code_other, code_weight
from sepnet.quantizing.loss import Answers, Loss
from sepnet.quantizing.moments import layer_moments
from sepnet.quantizing.task import decisions, loss_of
from sepnet.runtimes.probe import Probe

__all__ = ["Calibration", "tensors_of"]

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
NUMBERS_A_BATCH = 1_000_000
FEW_EXAMPLES = 64
"""If there are fewer, all are both quantized by and measured on."""
LEAST_DISTURBED, MOST_DISTURBED, DISTURBED_RUNS = 64, 512, 10_240
"""Examples that sensitivity is measured on, and about how many that makes for all layers together."""
FEWEST_DISTURBED, MOST_MACS = 16, 5e11
"""Fewer where the layers of all runs together would take more multiply-accumulates than that, but so many."""
LEAST_SENSITIVITY = 1e-3
"""Of the largest one, each for the whole signal of its layer."""
REST_SHARE, REST_BITS = 0.05, 14
TOO_MUCH, ENOUGH = 100.0, 3.0
"""Budgets that noise in one layer may cost at most, and that it shall cost if it cost more."""


class Calibration:
    """Codes of a network's layers by what the layers do with examples.

    Args:
        source: the float network.
        examples: half to quantize by, half to measure on; few are used for both.
        images: of each half; fewer where there are not as many.
        seed: of what is drawn.
        options: what may be lost, and what the network is for.
        chosen: bits of the tensors that are not searched for, see `core.layer_bits`.
        progress: callback.

    Attributes:
        layers: what `bits` are chosen for: first the layers whose inputs could be watched, then the other weights.
        fixed: codes of what is `chosen`, and of the biases of such layers.
        loss: on the examples to measure on.

    Raises:
        DataError: too few examples.
        NetworkError: it does not run on them, or is not what `options.task` says.
    """

    def __init__(
        self,
        source: OnnxSource,
        examples: Examples,
        *,
        images: int,
        seed: int,
        options: PackOptions,
        chosen: Mapping[str, int] | None = None,
        progress: Progress,
    ) -> None:
        self._source, self._examples, self._progress, self._seed = source, examples, progress, seed
        self._seen, self._unseen = examples.halves(images, seed)
        if len(examples) < FEW_EXAMPLES:  # half of them would be luck
            self._seen = self._unseen = np.union1d(self._seen, self._unseen)
        self._decisions = decisions(source.graph.data)
        wanted = self._answers({}, self._unseen, "run float network")
        self.loss = loss_of(wanted, source.graph.data, self._decisions, classes=len(examples.classes), options=options)
        shapes = {name: array.shape for name, array in source.state.items()}
        layers = self._calibrate(find_layers(source.graph.data, source.weights, shapes))
        self.layers, self.fixed = self._fix(layers, chosen or {})
        own = {name for layer in self.layers for name in (layer.layer.weight, layer.layer.bias)}
        others = {name: array for name, array in source.state.items() if name not in own}
        self._rest = {name: code_other(name, array, name in source.biases) for name, array in others.items()}
        self._rest |= {tensor.name: tensor for tensor in self.fixed}
        self._sensitivities: list[float] | None = None

    def _fix(
        self, layers: Sequence[CalibratedLayer], chosen: Mapping[str, int]
    ) -> tuple[list[CalibratedLayer], list[CodedTensor]]:
        """The layers left to be searched, and the codes of what is chosen; biases that are kept stay out of their layers."""
        kept = {name for name, bits in chosen.items() if bits == KEPT}
        layers = [dataclasses.replace(each, bias=None) if each.layer.bias in kept else each for each in layers]
        fixed = [code_kept(name, self._source.state[name]) for name in sorted(kept)]
        for layer in (layer for layer in layers if layer.layer.weight in chosen.keys() - kept):
            bits = chosen[layer.layer.weight]
            if layer.layer.input:
                fixed += in_bits(layer, bits).tensors
            else:
                fixed.append(code_weight(layer.layer.weight, layer.weight, bits))
        return [layer for layer in layers if layer.layer.weight not in chosen], fixed

    def in_bits(self, bits: int) -> list[CodedTensor]:
        """Every weight with `bits` bits."""
        watched = [layer for layer in self.layers if layer.layer.input]
        done = self.quantize(lambda _, layer: in_bits(layer, bits), watched)
        return [
            *tensors_of(done),
            *(code_weight(layer.layer.weight, layer.weight, bits) for layer in self.layers if not layer.layer.input),
        ]

    def quantize(
        self,
        quantize: Callable[[int, CalibratedLayer], QuantizedLayer],
        layers: Sequence[CalibratedLayer] | None = None,
    ) -> list[QuantizedLayer]:
        """`quantize` of every layer and its number."""
        given = self.layers if layers is None else layers
        return quantize_all(given, quantize, lambda done: self._progress(Tick("quantize", done, len(given))))

    @functools.cached_property
    def rest(self) -> list[CodedTensor]:
        """The biases of no layer that is searched, in `REST_BITS`, if their 8 bits alone cost a share of what may be lost."""
        own = {layer.layer.weight for layer in self.layers} | {tensor.name for tensor in self.fixed}
        biases = [name for name in self._rest if name in self._source.biases and name not in own]
        if not biases or self.loss.of(self._coded_answers([])) <= REST_SHARE * self.loss.most:
            return []
        return [code_other(name, self._source.state[name], True, REST_BITS) for name in biases]

    def lost(self, coded: Sequence[CodedTensor]) -> float:
        """See `Loss.of`, on the examples to measure on, of the network as it would be packed."""
        return self.loss.of(self._coded_answers(coded))

    def measure(self, coded: Sequence[CodedTensor]) -> Measured:
        """Beside the float network, on the examples to measure on."""
        found = self._coded_answers(coded)
        both = len(np.intersect1d(self._seen, self._unseen)) > 0
        return Measured(
            len(self._unseen), self._examples.noun, self.loss.rows(found), self.loss.agreement(found), quantized_by=both
        )

    def limits(self, coded: Sequence[CodedTensor]) -> str:
        """The weight whose codes alone cost most."""
        names = {layer.layer.weight for layer in self.layers}
        rows = self._few()
        loss = self.loss.beside(self._answers({}, rows, ""))
        alone = {t.name: loss.sum(self._answers(_restored([t]), rows, "")) for t in coded if t.name in names}
        return max(alone, key=lambda name: alone[name])

    @property
    def sensitivities(self) -> list[float]:
        """Loss for each unit of D, layer by layer, by adding noise to one at a time."""
        if self._sensitivities is None:
            self._sensitivities = self._measure_sensitivities()
        return self._sensitivities

    def _calibrate(self, found: Sequence[Layer]) -> list[CalibratedLayer]:
        values = [name for name in dict.fromkeys(layer.input for layer in found) if name not in self._ports]
        probe = Probe(self._model({}), values)

        def inputs() -> Iterator[tuple[list[Floats], int]]:
            done = 0
            for feed, at in self._batches(self._seen, "look at layers"):
                given = {**feed, **probe.answers(feed)}
                yield [np.asarray(given[layer.input], np.float32) for layer in found], at - done
                done = at

        moments = layer_moments(found, inputs(), examples=len(self._seen), seed=self._seed)
        made: list[CalibratedLayer] = []
        for layer, each in zip(found, moments, strict=True):
            self._progress(Tick("weigh errors", len(made), len(found)))
            if all(np.isfinite(square).all() for square in each.covariances):
                made.append(CalibratedLayer.of(layer, self._source.state, each))
        watched = {layer.layer.weight for layer in made}
        others = [name for name in self._source.state if name in self._source.weights and name not in watched]
        return [*made, *(CalibratedLayer.unwatched(name, self._source.state[name]) for name in others)]

    def _measure_sensitivities(self) -> list[float]:
        rows, total = self._few(), len(self.layers)
        loss = self.loss.beside(self._answers({}, rows, ""))
        found, signals = [], []
        for at, layer in enumerate(self.layers):
            self._progress(Tick("measure layers", at, total))
            tries = [self._try(layer, self._seed + seed, loss, rows) for seed in range(2 if total <= 32 else 1)]
            found.append(float(np.mean(tries)))
            signals.append(max(float(layer.products(layer.rows, layer.rows).sum()), 1e-30))
        least = LEAST_SENSITIVITY * max(each * signal for each, signal in zip(found, signals, strict=True))
        if least <= 0:
            return [1.0] * total
        return [max(each, least / signal) for each, signal in zip(found, signals, strict=True)]

    def _try(self, layer: CalibratedLayer, seed: int, loss: Loss, rows: Rows) -> float:
        size = 1.0
        for _ in range(3):
            tensors, error = disturbed(layer, seed, size)
            lost = loss.sum(self._answers(tensors, rows, "")) if error > 0 else 0.0
            if lost <= TOO_MUCH * loss.most:
                break
            size *= math.sqrt(ENOUGH * loss.most / min(lost, 1e3 * TOO_MUCH * loss.most))
        return lost / error if error > 0 and math.isfinite(lost) else 0.0

    def _few(self) -> Rows:
        """Of the examples to quantize by, those that sensitivity is measured on."""
        total = len(self.layers)
        enough = min(MOST_DISTURBED, max(LEAST_DISTURBED, DISTURBED_RUNS // total))
        macs = total * sum(layer.macs for layer in self.layers)
        enough = min(enough, max(FEWEST_DISTURBED, int(MOST_MACS / max(1.0, macs))))
        batch = self._examples.batch or 1
        return self._seen[: -(-enough // batch) * batch]

    @property
    def _ports(self) -> set[str]:
        return {port.name for port in self._source.inputs}

    def _coded_answers(self, coded: Sequence[CodedTensor]) -> Answers:
        own = {tensor.name for tensor in coded}
        rest = [tensor for name, tensor in self._rest.items() if name not in own]
        return self._answers(_restored([*rest, *coded]), self._unseen, "compare")

    def _answers(self, changed: Mapping[str, Floats], rows: Rows, task: str) -> Answers:
        probe = Probe(self._model(changed), tuple(self._decisions))
        found: dict[str, list[npt.NDArray[Any]]] = {}
        for feed, _ in self._batches(rows, task):
            for name, array in probe.answers(feed).items():
                found.setdefault(name, []).append(array)
        return found

    def _model(self, changed: Mapping[str, Floats]) -> bytes:
        graph = self._source.graph
        state = {name: array for name, array in self._source.state.items() if name in graph.used}
        used = {name: array for name, array in changed.items() if name in graph.used}
        return with_weights(graph.data, {**state, **used})

    def _batches(self, rows: Rows, task: str) -> Iterator[tuple[dict[str, npt.NDArray[Any]], int]]:
        for feed, done in self._examples.batches(rows, NUMBERS_A_BATCH):
            yield feed, done
            if task:
                self._progress(Tick(task, done, len(rows)))


def tensors_of(done: Sequence[QuantizedLayer]) -> list[CodedTensor]:
    """The tensors of all layers."""
    return [tensor for layer in done for tensor in layer.tensors]


def _restored(coded: Sequence[CodedTensor]) -> dict[str, Floats]:
    return {tensor.name: np.asarray(tensor.restore(), np.float32) for tensor in coded}
