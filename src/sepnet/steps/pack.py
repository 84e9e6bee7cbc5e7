"""pack: a trained network in an `.onnx` file to a packed model, without training and without torch."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sepnet.codecs import choices
from sepnet.core.calibrate import Calibrate, examples_of
from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.dataset import Dataset
from sepnet.core.errors import FormatError, NetworkError
from sepnet.core.header import InputSpec
from sepnet.core.layer_bits import KEPT, chosen_bits
from sepnet.core.output_row import OutputRow
from sepnet.core.pack_options import EFFECT_SECONDS, PATIENCE, PackOptions
from sepnet.core.pack_report import KeptRow, PackReport, PackRow, relative_error
from sepnet.core.packed_model import PackedModel
from sepnet.core.ports import fixed_batch
from sepnet.core.progress import Progress, Tick, silent
from sepnet.graphs.ports import ports_of
from sepnet.networks.onnx_proto import onnx_files
from sepnet.packing.listening import integers_of, listens
from sepnet.packing.onnx_source import OnnxSource, read_onnx
from sepnet.packing.pack import PackInput, check_shapes, pack
from sepnet.packing.restore import coded_tensors, onnx_model
from sepnet.quantizing.auto import within_bytes, within_loss
from sepnet.quantizing.calibration import Calibration
from sepnet.quantizing.judging import Judge
from sepnet.quantizing.layer_effects import Rounded, effects
from sepnet.quantizing.layers import find_layers
from sepnet.quantizing.linear import code_kept, code_other, code_weight
from sepnet.quantizing.spoiled import LEAST, find_spoiled
from sepnet.quantizing.verdict import advice, refuse_measured, refuse_ruined
from sepnet.runtimes.session import Session
from sepnet.runtimes.side_by_side import SideBySide, Trial, compared, first_trial, random_trials

__all__ = ["pack_onnx"]

Floats = npt.NDArray[np.float32]
DEFAULTS = PackOptions()
WIDE = "kept in 16 bits"
QUICK = ("dense_ans", "dense")
"""Codecs to try files with; the last one may take any."""


def pack_onnx(
    path: str | os.PathLike[str],
    options: PackOptions = DEFAULTS,
    calibrate: Calibrate | None = None,
    progress: Progress = silent,
) -> PackReport:
    """Quantize every layer's weights, its biases to 8 bits, and pack.

    What is no weight and no bias of a layer is kept in binary16; batch normalization is folded where it can be.

    Args:
        path: an `.onnx` file of a float network.
        options: with `bits` 2 to 8 weights have one step a filter; with "auto" steps as coarse as the budget allows, and the
            codes that an entropy coder writes in few bits.  Layers of `keep` and `layer_bits` have what these say.
        calibrate: examples by which errors are weighed; None looks at the weights alone.
        progress: callback.

    Raises:
        NetworkError, WeightsError: the file cannot be packed.  MissingExtraError: onnx is not installed.
        DataError: the examples do not fit.  UsageError: "auto" without `calibrate`, or layers
            that there are not.  SepnetError: the budget cannot be met.
        RuinedError: outputs are ruined, and not `options.allow_bad`.
    """
    dataclasses.replace(options, calibrated=calibrate is not None).check(Path(path))
    source = read_onnx(path)
    try:
        weights = ((name, array.shape) for name, array in source.state.items() if name in source.weights)
        check_shapes(weights, options.limits)
    except FormatError as error:
        raise NetworkError(f"{path} cannot be packed: {error}") from error
    chosen = chosen_bits(
        options.keep, options.layer_bits, weights=source.weights, others=source.graph.used - source.weights
    )
    job = _Job(path, source, options, chosen)
    report = _by_weights(job, progress) if calibrate is None else _by_examples(job, calibrate, progress)
    return _with_effects(job, report, progress)


@dataclasses.dataclass(frozen=True)
class _Job:
    """The file, what was read from it, what was asked for, and the bits of tensors that were chosen by name."""

    path: str | os.PathLike[str]
    source: OnnxSource
    options: PackOptions
    chosen: Mapping[str, int]

    @functools.cached_property
    def given(self) -> Session:
        """The float network."""
        return Session(self.path, exact=True)

    @functools.cached_property
    def trials(self) -> tuple[list[Trial], str]:
        """Random inputs with all that the graph looks for; or why there are none."""
        asked = {name: values[0] for name, values in integers_of(self.source.graph.data).items()}
        cases = [asked, {}] if asked else [asked]
        tried = [first_trial(self.given, self.source.inputs, integers) for integers in cases]
        reasons = [each for each in tried if isinstance(each, str)]
        return [each for each in tried if not isinstance(each, str)], reasons[0] if reasons else ""


def _by_weights(job: _Job, progress: Progress) -> PackReport:
    """Codes by the weights alone."""
    bits = int(job.options.bits or 8)
    coded = _by_weights_alone(job.source, bits, progress, chosen=job.chosen)

    def write(coded: Sequence[CodedTensor]) -> PackedModel:
        return _pack(job, coded, {"bits": bits}, codecs=choices(job.options.best))

    return _judged(job, coded, write, progress)


def _by_examples(job: _Job, calibrate: Calibrate, progress: Progress) -> PackReport:
    """Codes by what the layers do with examples."""
    options, data = job.options, calibrate.data
    bits = None if options.bits == "auto" else options.bits or 8
    about: dict[str, str | int | float] = {"bits": bits or "auto", "calibrate": data.name}
    about |= {"images": calibrate.images, "seed": calibrate.seed}
    work = Calibration(
        job.source,
        examples_of(data, job.source.inputs),
        images=calibrate.images,
        seed=calibrate.seed,
        options=options,
        chosen=job.chosen,
        progress=progress,
    )
    pixels = data if isinstance(data, Dataset) else None

    def packed_as(coded: Sequence[CodedTensor], codecs: Sequence[str] = QUICK) -> PackedModel:
        return _pack(job, [*coded, *work.fixed], about, pixels, codecs)

    if bits is not None or not work.layers:
        coded = work.in_bits(bits or 8)
    elif options.target_bytes is not None:
        about["target_bytes"] = options.target_bytes
        coded = within_bytes(work, lambda tried: packed_as(tried).bytes, options.target_bytes)
    else:
        about |= {"min_snr": work.loss.min_snr} if work.loss.min_snr else {}
        about |= {"max_divergence": work.loss.max_divergence} if work.loss.max_divergence else {}
        coded = within_loss(work, lambda tried: packed_as(tried).bytes)
    progress(Tick("pack", 0, 1))
    packed = packed_as(coded, choices(options.best))
    if packed.bytes > (options.target_bytes or packed.bytes):  # names of more codecs can outweigh what these save
        packed = packed_as(coded)
    measured = work.measure(coded)
    refuse_measured(measured, options)
    return dataclasses.replace(_done(job, packed, job.trials), measured=measured)


def _judged(
    job: _Job, coded: Sequence[CodedTensor], write: Callable[[Sequence[CodedTensor]], PackedModel], progress: Progress
) -> PackReport:
    """Pack; what 8 bits spoil is kept in 16, and what is ruined is refused."""
    source, trials = job.source, job.trials
    report = _done(job, write(coded), trials)
    loud = listens(source.graph.data, {name: array.shape for name, array in source.state.items()})
    if not trials[0] or not (loud or any((row.snr_db or LEAST) < LEAST for row in report.outputs)):
        return report
    judge = _judge(job, report, trials[0], loud)
    if not judge.low(judge.rounded.session(judge.rounded.coded), LEAST):
        return report
    names = [name for name, tensor in judge.rounded.coded.items() if tensor.values == "integer"]
    free = [name for name in names if name not in job.chosen]
    if job.options.bits in (None, 8) and (kept := find_spoiled(judge, free, progress)):
        better = {each.name: code_kept(each.name, source.state[each.name]) for each in kept}
        report = _done(job, write([*(each for each in coded if each.name not in better), *better.values()]), trials)
        report = dataclasses.replace(report, spoiled=tuple(kept))
        judge = _judge(job, report, trials[0], loud)
    found = judge.rounded.session(judge.rounded.coded)
    refuse_ruined(judge, found, names, options=job.options, progress=progress)
    return dataclasses.replace(report, advice=advice(judge, found, names, progress))


def _judge(job: _Job, report: PackReport, trials: Sequence[Trial], loud: bool) -> Judge:
    rounded = Rounded(job.source, list(coded_tensors(report.packed)))
    return Judge(rounded, job.given, job.source.inputs, trials, listens=loud)


def _by_weights_alone(
    source: OnnxSource, bits: int, progress: Progress, *, chosen: Mapping[str, int]
) -> list[CodedTensor]:
    """Weights with `bits` bits, and what is `chosen` with its own."""
    names = [name for name in source.state if name in source.weights or name in chosen]
    coded = []
    for at, name in enumerate(names):
        progress(Tick("quantize", at, len(names)))
        array, own = source.state[name], chosen.get(name, bits)
        as_it_came = source.coded.get(name) if own == 8 else None
        coded.append(code_kept(name, array) if own == KEPT else as_it_came or code_weight(name, array, own))
    return coded


def _pack(
    job: _Job,
    coded: Sequence[CodedTensor],
    made: dict[str, str | int | float],
    data: Dataset | None = None,
    codecs: Sequence[str] | None = None,
) -> PackedModel:
    source = job.source
    known = {tensor.name: tensor for tensor in coded}

    def code(name: str, numbers: Floats) -> CodedTensor:
        return known[name] if name in known else code_other(name, numbers, name in source.biases)

    rest = [code(name, array) for name, array in source.state.items() if name not in known]
    wanted = InputSpec(source.input_shape) if source.input_shape else None
    classes: tuple[str, ...] = ()
    if data is not None:
        wanted = InputSpec(data.input_shape, data.mean, data.std)
        classes = () if data.classes == tuple(map(str, range(len(data.classes)))) else data.classes
    about = PackInput(Path(job.path).name, source.params, wanted, classes, {"sepnet": version("sepnet"), **made})
    return pack(about, source.graph, source.state, [*coded, *rest], code=code, codecs=codecs)


def _with_effects(job: _Job, report: PackReport, progress: Progress) -> PackReport:
    """The report with what each layer's rounding does alone, if that was asked for or is quick."""
    asked, source = job.options.effects, job.source
    if asked is False or not job.trials[0]:
        return report
    shapes = {name: array.shape for name, array in source.state.items()}
    own = {layer.weight: layer.bias for layer in find_layers(source.graph.data, source.weights, shapes)}
    rounded = Rounded(source, list(coded_tensors(report.packed)))
    layers = {
        name: {name, own.get(name, "")} & rounded.coded.keys() for name in rounded.coded if name in source.weights
    }
    trial = next(random_trials(job.given, source.inputs, job.trials[0][0], ("normal noise",)), job.trials[0][0])
    patience = None if asked else PATIENCE
    found = effects(rounded, layers, trial, progress=progress, seconds=EFFECT_SECONDS, patience=patience)
    alone = {name: {row.name: row.snr_db for row in rows if row.largest is not None} for name, rows in found.items()}
    rows = [dataclasses.replace(row, alone=alone.get(row.name, {})) for row in report.rows]
    return dataclasses.replace(report, rows=tuple(rows))


def _done(job: _Job, packed: PackedModel, trials: tuple[Sequence[Trial], str]) -> PackReport:
    limits = job.options.limits
    again = PackedModel.from_bytes(packed.to_bytes(limits=limits), limits)
    rows = []
    for entry, payload, tensor in zip(again.header.tensors, again.payloads, coded_tensors(again), strict=True):
        given = job.source.state[entry.name]
        stored = len(payload) + 4
        rows.append(
            PackRow(
                entry.name,
                entry.shape,
                " + ".join(entry.schemes),
                4 * given.size,
                stored,
                8 * stored / max(1, given.size),
                relative_error(given, tensor.restore()),
            )
        )
    before = sum(os.path.getsize(file) for file in onnx_files(job.path))
    found = Session(onnx_model(again), exact=True)
    done = compared(trials[0][0], found) if trials[0] else SideBySide(0, (), trials[1])
    wide = [job.source.state[row.name] for row in rows if row.name in job.source.weights and row.scheme == "keep"]
    first = done.rows[0] if done.rows else OutputRow("")
    return PackReport(
        packed,
        tuple(rows),
        before,
        done.examples,
        first.difference,
        first.largest,
        outputs=done.rows,
        reason=done.reason,
        passes=job.source.passes,
        quantized=len(job.source.weights) - len(wide),
        kept=(*job.source.kept, *([KeptRow(WIDE, len(wide), sum(row.size for row in wide))] if wide else [])),
        fixed=fixed_batch(*ports_of(again.graph)),
    )
