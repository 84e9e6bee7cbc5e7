"""compress: a trained network and a recipe to a packed model, stage by stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from sepnet.codecs import choices, find
from sepnet.core.choices import settle
from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.dataset import Dataset
from sepnet.core.epoch_log import EpochLog, epoch_logs
from sepnet.core.errors import RecipeError, SepnetError, UsageError
from sepnet.core.header import InputSpec
from sepnet.core.limits import Limits
from sepnet.core.network import NetworkReport
from sepnet.core.observer import UNWATCHED, Observer
from sepnet.core.packed_model import PackedModel
from sepnet.core.plan import make_plan
from sepnet.core.progress import Tick
from sepnet.core.recipe import Recipe, Stage, with_epochs
from sepnet.core.rewrite import RewriteRow
from sepnet.core.score import Score
from sepnet.core.stage_row import StageRow
from sepnet.packing.export import export_graph
from sepnet.packing.graph import ExportedGraph
from sepnet.packing.hidden_units import arrange
from sepnet.packing.pack import PackInput, pack
from sepnet.packing.restore import read_back
from sepnet.runtimes import REFERENCE, RUNTIMES
from sepnet.runtimes.measure import milliseconds_an_image, score_runtime
from sepnet.schemes import SCHEMES
from sepnet.steps.faithful import check_graph, check_network
from sepnet.training.checkpoint import Checkpoint
from sepnet.training.fit import Fit, check_classes
from sepnet.training.fit import score as torch_score
from sepnet.training.parametrized import ParametrizedNetwork, sites
from sepnet.training.rewriting import RewrittenNetwork, copied, rewrite_network
from sepnet.training.trial import Trial
from sepnet.training.weights import check_finite

__all__ = ["Compressed", "compress"]

PLAIN_CODECS = ("dense", "bitmap", "relative_index")
"""Codecs without entropy coding; what the files of the stages before the last are written with."""


@dataclass(frozen=True)
class Compressed:
    """What `compress` leaves: the packed model, its score read back from the bytes, and the way there."""

    packed: PackedModel
    score: Score
    rows: tuple[StageRow, ...]
    stages: dict[str, PackedModel]
    rewrites: tuple[RewriteRow, ...] = ()
    epochs: tuple[EpochLog, ...] = ()


def compress(
    model: nn.Module,
    recipe: Recipe,
    data: Dataset,
    report: NetworkReport,
    *,
    epochs: int | None = None,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    observer: Observer = UNWATCHED,
    keep: Callable[[PackedModel], PackedModel] = lambda packed: packed,
    device: str = "cpu",
    teacher: nn.Module | None = None,
    best: bool = False,
    limits: Limits = Limits(),
) -> Compressed:
    """Compress a copy of `model` as `recipe` says, fine-tuning on the train split of `data`.

    Args:
        model: the trained network; it is not changed.
        recipe: rules and stages.
        data: train split to fine-tune on, test split to score on.
        report: what `inspect` says of the network.
        epochs: epochs in all, shared among the stages in the recipe's proportions; None keeps the recipe's own.
        seed: of everything random.
        checkpoint: where to save after every epoch, and perhaps a state to go on from.
        observer: is told what happens.
        keep: writes the packed model, read back from its bytes, where the user wants it; what it returns is scored.
        teacher: the network whose outputs `distill` matches; None is `model` itself.
        best: whether the packed file may take the codecs that read at half the speed, too.
        limits: those of whoever will read the files; one above them ends the work before it begins.
        device: where to fine-tune ("cpu", "cuda"); exporting, packing and scoring are done on the processor.

    Raises:
        RecipeError: the recipe does not fit the network.
        NetworkError: it cannot be exported, its graph computes something else, or two runs of it on one batch do; training diverges.
        WeightsError: NaN or Inf in the weights.  FormatError: no reader would take the packed file.
    """
    torch.manual_seed(seed)
    check_finite(model.state_dict(), "the network's weights")
    model = copied(model)
    check_classes(model, data)
    check_network(model, data, observer.warning)
    recipe = with_epochs(recipe, epochs)
    _check_codecs(recipe)
    digest = recipe.digest()
    start = rewrite_network(model, recipe, data, report)
    recipe, tried = settle(recipe, Trial(start.model, start.layers, data, recipe, progress=observer.tick))
    for choice in tried:
        observer.choice(choice)
    work = _Work(start, recipe, data, seed=seed, device=device, digest=digest, limits=limits, observer=observer)
    work.best = best
    if teacher is not None:
        check_classes(teacher, data)
        work.teacher = teacher.eval()
    observer.tick(Tick("export", 0, 1))
    work.graph = export_graph(start.model, data.input_shape)
    check_graph(start.model, work.pack(("dense",)), data, observer.warning)
    first = work
    if start.rows:
        first = _Work(
            start.unwritten(), Recipe("as it came"), data, seed=seed, device=device, digest=digest, limits=limits
        )
        first.graph = export_graph(start.before, data.input_shape)
    observer.tick(Tick("export", 1, 1))
    if checkpoint is not None and checkpoint.state is not None:
        with checkpoint.loading():
            work.resume(checkpoint.state)
    work.add_row(first.float_row())
    if start.rows and not work.stage_known("rewritten"):
        work.add_row(work.stage_row("rewritten"))
    for index, stage in enumerate(recipe.stage):
        if index < work.stage:
            continue
        work.run_stage(index, stage, checkpoint)
        if stage.epochs or stage.start:
            work.add_row(work.stage_row(stage.name))
    return work.finish(keep)


def _check_codecs(recipe: Recipe) -> None:
    """Raise `RecipeError` now, not after hours of training, when a rule names a codec that there is not."""
    for index, rule in enumerate(recipe.rule):
        try:
            if rule.codec != "auto":
                find(rule.codec)
        except UsageError as error:
            raise RecipeError(f"recipe {recipe.name}: rule {index + 1}: {error}") from error


class _Work:
    """One run of `compress`: the network under its plan, and the rows so far."""

    graph: ExportedGraph
    best = False

    def __init__(
        self,
        start: RewrittenNetwork,
        recipe: Recipe,
        data: Dataset,
        *,
        seed: int,
        device: str,
        digest: str,
        limits: Limits,
        observer: Observer = UNWATCHED,
    ) -> None:
        self.recipe, self.data, self.report, self.seed, self.device = recipe, data, start.report, seed, device
        self.digest, self.rewrites, self.limits, self.observer = digest, start.rows, limits, observer
        self.before, self.teacher = start.before, start.before
        self.network = ParametrizedNetwork(start.model, make_plan(recipe, sites(start.model, start.layers), SCHEMES))
        self.rows: list[StageRow] = []
        self.epochs: list[EpochLog] = []
        self.stages: dict[str, PackedModel] = {}
        self.stage = 0
        self._saved_fit: dict[str, Any] | None = None

    def resume(self, state: dict[str, Any]) -> None:
        """Take the network, the stage and the rows from a checkpoint."""
        self.stage = int(state["stage"])
        for stage in self.recipe.stage[: self.stage + 1]:
            self.network.start(stage.start)
        self.network.load(state["model"])
        self.rows = [StageRow(*row) for row in state["rows"]]
        self.epochs = epoch_logs(state["epochs"])
        self._saved_fit = state["fit"]

    def run_stage(self, index: int, stage: Stage, checkpoint: Checkpoint | None) -> None:
        """Start the stage's schemes and fine-tune."""
        self.network.start(stage.start)
        self.stage = index
        if not stage.epochs:
            self.network.advance(stage.start, 1.0)
            return
        fit = Fit(
            self.network.model,
            self.data,
            self.recipe.options(stage),
            epochs=stage.epochs,
            seed=self.seed * 1000 + index,
            stage=stage.name,
            advance=lambda time: self.network.advance(stage.start, time),
            teacher=self.teacher,
            settled=self.network.settled(stage.start),
            device=self.device,
            penalty=self.network.penalty,
        )
        if self._saved_fit is not None and checkpoint is not None:
            with checkpoint.loading():
                fit.load(self._saved_fit)
            self._saved_fit = None

        def after_epoch(log: EpochLog) -> None:
            self.epochs.append(log)
            if checkpoint is not None:
                rows, epochs = ([dataclasses.astuple(each) for each in table] for table in (self.rows, self.epochs))
                state = self.network.model.state_dict()
                checkpoint.save(stage=index, model=state, fit=fit.state(), rows=rows, epochs=epochs)

        fit.run(self.observer, after_epoch)

    def add_row(self, row: StageRow) -> None:
        """Append a row, unless a resumed run has it already; show it either way."""
        known = next((old for old in self.rows if old.stage == row.stage), None)
        if known is None:
            self.rows.append(row)
        self.observer.row(known or row)

    def stage_known(self, name: str) -> bool:
        """Whether a resumed run has the row already."""
        return any(row.stage == name for row in self.rows)

    def float_row(self) -> StageRow:
        """The network as it came."""
        state = self.before.state_dict()
        size = len(save({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}))
        kept = sum(int(torch.count_nonzero(parameter)) for parameter in self.before.parameters())
        top1 = torch_score(self.before, self.data, self.data.test).top1
        return StageRow(
            "float",
            kept / max(1, self.report.params),
            size,
            self.report.bytes / size,
            top1,
            self._ms(read_back(self.pack(("dense",)), self.limits)),
        )

    def stage_row(self, name: str) -> StageRow:
        """The network as it stands, in a packed file without entropy coding."""
        packed = self.pack(PLAIN_CODECS)
        row = self._row(name, packed, torch_score(self.network.model, self.data, self.data.test).top1)
        self.stages[name] = packed
        self.observer.stage(name, packed)  # not before it has run
        return row

    def finish(self, keep: Callable[[PackedModel], PackedModel]) -> Compressed:
        """Apply what is left of the plan, pack with the smallest codecs, write, read back, score."""
        self.network.start_rest()
        self.network.advance([scheme for scheme in SCHEMES], 1.0)
        self.observer.tick(Tick("pack", 0, 1))
        check_finite(self.network.model.state_dict(), "after compressing")
        packed = self.pack(None)
        if packed.bytes >= self.report.bytes:
            raise SepnetError(
                f"the packed file would take {packed.bytes} bytes, the float parameters take {self.report.bytes}: recipe {self.recipe.name!r} does not compress this network"
            )
        again = keep(read_back(packed, self.limits))
        self.observer.tick(Tick("pack", 1, 1))
        runtime = RUNTIMES[REFERENCE](again)
        score = score_runtime(runtime, self.data, again.header.input, self.observer.tick)
        row = self._row("packed", again, score.top1)
        self.rows.append(row)
        self.observer.row(row)
        return Compressed(packed, score, tuple(self.rows), self.stages, self.rewrites, tuple(self.epochs))

    def pack(self, codecs: Sequence[str] | None) -> PackedModel:
        """A packed model of the network as it stands."""
        data = self.data
        about = PackInput(
            self.report.name,
            self.report.params,
            InputSpec(data.input_shape, data.mean, data.std),
            () if data.classes == tuple(map(str, range(len(data.classes)))) else data.classes,
            {
                "sepnet": version("sepnet"),
                "recipe": self.recipe.name,
                "digest": self.digest,
                "seed": self.seed,
            },
        )
        graph, coded = self._arranged("packed" if codecs is None else "")
        return pack(
            about, graph, self.network.state(), coded, code=self.network.code_anew, codecs=codecs or choices(self.best)
        )

    def _arranged(self, stage: str) -> tuple[ExportedGraph, list[CodedTensor]]:
        return arrange(self.graph, self.network.coded(), self.recipe.units if stage == "packed" else "kept")

    def _row(self, stage: str, packed: PackedModel, top1: float) -> StageRow:
        kept = sum(tensor.kept for tensor in self._arranged(stage)[1])
        return StageRow(stage, kept / max(1, self.report.params), packed.bytes, packed.ratio, top1, self._ms(packed))

    def _ms(self, packed: PackedModel) -> float:
        return milliseconds_an_image(RUNTIMES[REFERENCE](packed, threads=1), self.data)
