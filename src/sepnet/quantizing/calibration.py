"""A float network and some images: what its layers see, how much each layer's errors matter, and codes by that.  No labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.dataset import Dataset
from sepnet.core.errors import DataError, NetworkError, SepnetError
from sepnet.core.layer_bits import KEPT
from sepnet.core.pack_report import Agreement
from sepnet.core.progress import Progress, Tick
from sepnet.graphs.wire import with_weights
from sepnet.packing.onnx_source import OnnxSource
from sepnet.quantizing.agreement import agreement
from sepnet.quantizing.calibrated import CalibratedLayer, QuantizedLayer, cheapest, disturbed, in_bits, quantize_all
from sepnet.quantizing.layers import Layer, find_layers
from sepnet.quantizing.linear import code_kept
from sepnet.quantizing.moments import layer_moments
from sepnet.quantizing.search import approach
from sepnet.runtimes.probe import Probe

__all__ = ["Calibration", "tensors_of"]

Floats = npt.NDArray[np.float32]
NUMBERS_A_BATCH = 1_000_000
LEAST_DISTURBED, MOST_DISTURBED, DISTURBED_RUNS = 64, 512, 10_240
"""Images that sensitivity is measured on, and about how many that makes for all layers together."""
LEAST_SENSITIVITY = 1e-3
"""Of the largest one."""


class Calibration:
    """Codes of a network's layers by what the layers do with training images.

    Args:
        source: the float network.
        data: training images are drawn from its train split: half to quantize by, half to measure on.
        images: of each half; fewer where there are not as many.
        seed: of what is drawn.
        chosen: bits of the tensors that are not searched for, see `core.layer_bits`.
        progress: callback.

    Attributes:
        layers: those whose codes are to be found.
        fixed: codes of what is `chosen` and belongs to a layer, in its bits.
        known: names of the weights of `layers` and of the tensors that are fixed.

    Raises:
        DataError: images of another shape than the network takes.
        NetworkError: it gives no (n, classes), or has no layer that can be calibrated.
    """

    def __init__(
        self,
        source: OnnxSource,
        data: Dataset,
        *,
        images: int,
        seed: int,
        chosen: Mapping[str, int] | None = None,
        progress: Progress,
    ) -> None:
        if source.input_shape and tuple(source.input_shape) != data.input_shape:
            raise DataError(
                f"the network takes images of shape {list(source.input_shape)}; those of {data.name} are {list(data.input_shape)}"
            )
        self._source, self._data, self._progress, self._seed = source, data, progress, seed
        whole = np.random.default_rng(seed).permutation(len(data.train))[: 2 * images]
        self._seen, self._unseen = (np.sort(half) for half in np.array_split(whole, 2))
        if not len(self._unseen) or len(self._unseen) < source.batch:
            raise DataError(f"{data.name} has {len(data.train)} training images; too few to calibrate on")
        shapes = {name: array.shape for name, array in source.state.items()}
        found = find_layers(source.graph.data, source.weights, shapes)
        if not found:
            raise NetworkError("the network has no convolution or fully connected layer that can be calibrated")
        self._wanted = self._outputs({}, self._unseen, "run float network")
        self._fix(self._calibrate(found), chosen or {})
        self._sensitivities: list[float] | None = None

    def _fix(self, layers: Sequence[CalibratedLayer], chosen: Mapping[str, int]) -> None:
        """Code what is chosen at once, the others being floats; biases that are kept stay out of the layers."""
        kept = {name for name, bits in chosen.items() if bits == KEPT}
        layers = [dataclasses.replace(each, bias=None) if each.layer.bias in kept else each for each in layers]
        self.layers = [layer for layer in layers if layer.layer.weight not in chosen]
        self.fixed = [code_kept(name, self._source.state[name]) for name in sorted(kept)]
        for layer in layers:
            bits = chosen.get(layer.layer.weight, KEPT)
            self.fixed += in_bits(layer, bits).tensors if bits != KEPT else []
        self.known = {layer.layer.weight for layer in self.layers} | {tensor.name for tensor in self.fixed}

    def in_bits(self, bits: int) -> list[QuantizedLayer]:
        """Every layer with `bits` bits a weight."""
        return self._quantize(lambda _, layer: in_bits(layer, bits))

    def within_divergence(self, most: float) -> list[QuantizedLayer]:
        """The smallest codes whose divergence from the float network is at most `most` nats.  `SepnetError` if none is."""
        count = sum(layer.weight.size for layer in self.layers)
        found = approach(
            lambda slope: self._at(slope, lambda done: self.measure(tensors_of(done)).divergence),
            most,
            2 * np.log(2) * most / count,
            1.3,
        )
        if found is None:
            raise SepnetError(f"found no codes within a divergence of {most:g} nats; expected a larger budget")
        return found[2]

    def within_bytes(self, size: Callable[[list[QuantizedLayer]], int], most: int) -> list[QuantizedLayer]:
        """The best codes of which `size`, bytes of a file, is at most `most`.  `SepnetError` if no file is as small."""
        count = sum(layer.weight.size for layer in self.layers)
        first = 2 * np.log(2) * 0.01 / count
        found = approach(lambda slope: self._at(slope, size), most, first, -0.35, near=0.99)
        if found is None:
            raise SepnetError(f"found no codes that fit {most:,} bytes; expected a larger target")
        return found[2]

    def measure(self, coded: Sequence[CodedTensor]) -> Agreement:
        """With the float network, on the images that were not quantized by; what is fixed is as it is."""
        state = {tensor.name: np.asarray(tensor.restore(), np.float32) for tensor in (*self.fixed, *coded)}
        return agreement(self._wanted, self._outputs(state, self._unseen, "compare"))

    def _at(self, slope: float, number: Callable[[list[QuantizedLayer]], float]) -> tuple[float, list[QuantizedLayer]]:
        weights = self._measure_sensitivities()
        done = self._quantize(lambda at, layer: cheapest(layer, slope / weights[at]))
        return number(done), done

    def _quantize(self, quantize: Callable[[int, CalibratedLayer], QuantizedLayer]) -> list[QuantizedLayer]:
        total = len(self.layers)
        return quantize_all(self.layers, quantize, lambda done: self._progress(Tick("quantize", done, total)))

    def _calibrate(self, found: Sequence[Layer]) -> list[CalibratedLayer]:
        graph_input = self._source.graph_input
        values = [name for name in dict.fromkeys(layer.input for layer in found) if name != graph_input]
        probe = Probe(self._model({}), values)

        def run(batch: Floats) -> list[Floats]:
            given = dict(zip(values, probe.run(batch)[1:], strict=True)) | {graph_input: batch}
            return [given[layer.input] for layer in found]

        moments = layer_moments(
            found, run, self._batches(self._seen, "look at layers"), images=len(self._seen), seed=self._seed
        )
        made: list[CalibratedLayer] = []
        for layer, each in zip(found, moments, strict=True):
            self._progress(Tick("weigh errors", len(made), len(found)))
            made.append(CalibratedLayer.of(layer, self._source.state, each))
        return made

    def _measure_sensitivities(self) -> list[float]:
        """Nats of divergence for each unit of D, layer by layer, by adding noise to one at a time."""
        if self._sensitivities is not None:
            return self._sensitivities
        total = len(self.layers)
        enough = min(MOST_DISTURBED, max(LEAST_DISTURBED, DISTURBED_RUNS // total))
        images = self._seen[: max(enough, self._source.batch)]
        wanted = self._outputs({}, images, "")
        found = []
        for at, layer in enumerate(self.layers):
            self._progress(Tick("measure layers", at, total))
            tries = []
            for seed in range(2 if total <= 32 else 1):
                tensors, error = disturbed(layer, self._seed + seed)
                got = agreement(wanted, self._outputs(tensors, images, "")).divergence
                tries.append(got / error if error > 0 else 0.0)
            found.append(float(np.mean(tries)))
        least = LEAST_SENSITIVITY * max(found)
        self._sensitivities = [max(each, least) if least > 0 else 1.0 for each in found]
        return self._sensitivities

    def _outputs(self, changed: Mapping[str, Floats], rows: npt.NDArray[np.int64], task: str) -> Floats:
        probe = Probe(self._model(changed))
        outputs = np.concatenate([probe.run(batch)[0] for batch in self._batches(rows, task)])
        if outputs.ndim != 2 or outputs.shape[1] < 2 or not np.isfinite(outputs).all():
            raise NetworkError(
                f"the network gives outputs of shape {list(outputs.shape[1:])} for an image, {int((~np.isfinite(outputs)).sum())} NaN or Inf; "
                "to calibrate it, it has to be a classifier with finite outputs, one a class"
            )
        return outputs

    def _model(self, changed: Mapping[str, Floats]) -> bytes:
        graph = self._source.graph
        state = {name: array for name, array in self._source.state.items() if name in graph.used}
        return with_weights(graph.data, {**state, **changed})

    def _batches(self, rows: npt.NDArray[np.int64], task: str) -> Iterator[Floats]:
        fixed = self._source.batch
        size = fixed or max(1, min(64, NUMBERS_A_BATCH // max(1, int(np.prod(self._data.input_shape)))))
        last = len(rows) - len(rows) % fixed if fixed else len(rows)
        for start in range(0, last, size):
            yield self._data.batch(self._data.train.images[rows[start : start + size]])
            if task:
                self._progress(Tick(task, min(last, start + size), last))


def tensors_of(done: Sequence[QuantizedLayer]) -> list[CodedTensor]:
    """The tensors of all layers."""
    return [tensor for layer in done for tensor in layer.tensors]
