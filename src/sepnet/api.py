"""The Python door: the same verbs as the command line."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from sepnet.core import packed_model
from sepnet.core.dataset import Dataset
from sepnet.core.errors import UsageError
from sepnet.core.examples import Arrays
from sepnet.core.limits import Limits
from sepnet.core.network import NetworkReport
from sepnet.core.pack_options import IMAGES, PackOptions, Task
from sepnet.core.ports import Port
from sepnet.core.progress import Progress, silent
from sepnet.core.recipe import Recipe, load_recipe
from sepnet.core.registry import require_torch
from sepnet.core.runtime import Runtime
from sepnet.core.score import Score
from sepnet.core.seed import check_seed
from sepnet.runtimes import REFERENCE

if TYPE_CHECKING:
    from torch import nn

    from sepnet.core.exporter import ExportReport
    from sepnet.core.pack_report import PackReport
    from sepnet.core.rewrite import RewriteRow
    from sepnet.core.stage_row import StageRow
    from sepnet.steps.info import FileReport

__all__ = ["PackedModel", "compress", "inspect", "pack", "read", "rewrite"]

Given = Dataset | Arrays | str | PathLike[str] | Mapping[str, npt.ArrayLike] | npt.NDArray[Any]
"""Examples to calibrate by, see `PackedModel.runtime`."""


@dataclass(frozen=True, repr=False)
class PackedModel(packed_model.PackedModel):
    """A packed network that can be written, run, scored and unpacked.  Needs no torch.

    Attributes:
        header: names, shapes, schemes, codecs; `bytes` and `ratio` say how small it is.
        rows: the table of the stages, right after `compress`; empty for a file that was read.
        rewrites: likewise the table of the rewrites.

    >>> import numpy as np, sepnet
    >>> model = sepnet.read("zoo/lenet300-mnist.sepnet")
    >>> model.run(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    rows: tuple[StageRow, ...] = ()
    rewrites: tuple[RewriteRow, ...] = ()

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Name, shape and type of what the network takes.

        >>> import sepnet
        >>> print(*sepnet.read("zoo/lenet5-mnist.sepnet").inputs)
        input (float32, n x 1 x 28 x 28)
        """
        from sepnet.graphs.ports import ports_of

        return ports_of(self.graph)[0]

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Name, shape and type of what the network gives."""
        from sepnet.graphs.ports import ports_of

        return ports_of(self.graph)[1]

    def run(self, given: npt.ArrayLike | Mapping[str, npt.ArrayLike], runtime: str = REFERENCE) -> Any:
        """What the network gives: an array, or of several outputs a dict of name and array, in the order of `outputs`.

        Where the network is fixed to one example, several are run one after the other.

        Args:
            given: an array for a network of one input, images (n, channels, height, width) normalized as `header.input`
                says; or a dict of name and array, see `inputs`.
            runtime: one of docs/runtimes.md; only "onnxruntime" runs networks of several inputs or outputs.

        Raises:
            UsageError: other names than the inputs', or types: integers are not turned into floats, pixels have to be
                normalized first.
            DataError: shapes that do not fit the network.
        """
        if not isinstance(given, Mapping) and [port.of_floats for port in self.inputs] == [True]:
            given = self._floats(given)
        return self._runtime(runtime).run(given)

    def runtime(self, name: str, calibrate: Given | None = None, data_dir: Path | None = None) -> Runtime:
        """The network made ready for a runtime; its `run` takes what that of the model takes.

        Args:
            name: one of docs/runtimes.md.
            calibrate: what those in integers need: examples by which they make their scales.  A data set, whose training
                images they are; or numbers as the network takes them: a file `.npz` with an array for each input, by its
                name (`.npy` for the one input), a dict of such arrays, or an array.
            data_dir: where named data sets are; default `$SEPNET_DATA`.

        >>> import numpy as np, sepnet
        >>> engine = sepnet.read("zoo/lenet5-mnist.sepnet").runtime("integer", calibrate="digits")
        >>> engine.run(np.zeros((2, 1, 28, 28), np.float32)).shape
        (2, 10)
        """
        from sepnet.runtimes.calibrate import ready

        return ready(self, name, None if calibrate is None else _examples(calibrate, data_dir))

    def _floats(self, batch: object) -> npt.NDArray[np.floating]:
        try:
            numbers = np.asarray(batch)
        except (TypeError, ValueError) as error:
            raise UsageError(f"found {type(batch).__name__}, no array: {error}; expected floats (n, ...)") from error
        if numbers.dtype.kind == "f":
            return numbers
        wanted = self.header.input
        way = f"(pixels / 255 - {list(wanted.mean)}) / {list(wanted.std)} per channel" if wanted else "as in training"
        raise UsageError(
            f"found a batch of {numbers.dtype}; expected floats, normalized: {way}, which is `data.batch(images)` of its data set"
        )

    def evaluate(self, data: Dataset | str, data_dir: Path | None = None, runtime: str = REFERENCE) -> Score:
        """Score on the test split of a data set (or of the one so named)."""
        from sepnet.steps.evaluate import evaluate

        return evaluate(self, _dataset(data, data_dir), runtime)

    def info(self) -> FileReport:
        """What is inside, byte for byte."""
        from sepnet.steps.info import info

        return info(self)

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """numpy arrays that a strict `load_state_dict` of the original class takes (as tensors), same outputs.

        Weights that were packed alone are of the type they had; bfloat16, which numpy lacks, is float32.
        """
        from sepnet.packing.dtypes import as_stored, stored_types
        from sepnet.packing.restore import state_dict

        types = stored_types(self)
        state = state_dict(self).items()
        return {name: as_stored(name, array, types[name]) if name in types else array for name, array in state}

    def unpack(self, path: str | PathLike[str]) -> None:
        """Write the state dict as safetensors."""
        from sepnet.steps.unpack import unpack

        unpack(self, Path(path))

    def export(
        self,
        path: str | PathLike[str],
        to: str,
        *,
        calibrate: Given | None = None,
        test: Dataset | str | None = None,
        images: int = 256,
        seed: int = 0,
        data_dir: Path | None = None,
        **options: Any,
    ) -> ExportReport:
        """Write it in another format and check that; see docs/export.md.

        Args:
            path: what is written.
            to: "onnx", "safetensors" or "c99" (a folder).
            calibrate: examples by which activations are quantized, as for `runtime`: `images` of them, and as many again to
                compare methods on; `seed` of which ones.
            test: a data set on whose test split both files are scored.
            options: of the format: `form` and `method` of "onnx", `method` of "c99".
        """
        from sepnet.core.calibrate import Calibrate
        from sepnet.core.exporter import Material, make_exporter
        from sepnet.exporters import EXPORTERS
        from sepnet.steps.export import export

        by = None if calibrate is None else Calibrate(_examples(calibrate, data_dir), images, seed)
        material = Material(by, None if test is None else _dataset(test, data_dir))
        return export(self, make_exporter(to, options, EXPORTERS), Path(path), material)

    @functools.cache  # noqa: B019 (a model lives as long as its session)
    def _runtime(self, name: str) -> Runtime:
        return self.runtime(name)

    __hash__ = object.__hash__


def read(path: str | PathLike[str], limits: Limits = Limits()) -> PackedModel:
    """Read a packed file.  Raises `FormatError` when it is damaged, hostile, or of a newer version."""
    return PackedModel.read(path, limits)


def inspect(model: nn.Module, input_shape: tuple[int, ...], name: str = "") -> NetworkReport:
    """Where the parameters are: a row a layer, totals by kind.  `model` stays untouched.

    >>> import sepnet
    >>> from sepnet.networks import build
    >>> report = sepnet.inspect(build("lenet5"), (1, 28, 28))
    >>> report.params, report.macs
    (431080, 2293000)
    """
    require_torch("sepnet.inspect")
    from sepnet.steps.inspect import inspect as step

    return step(model, input_shape, name or type(model).__name__)


def compress(
    model: nn.Module,
    recipe: str | Path | Recipe,
    data: Dataset | str,
    *,
    epochs: int | None = None,
    best: bool = False,
    seed: int = 0,
    data_dir: Path | None = None,
    limits: Limits = Limits(),
    progress: Progress = silent,
    on_row: Callable[[StageRow], None] = lambda _: None,
) -> PackedModel:
    """Compress a trained network as a recipe says; returns the packed model, whose `rows` tell how it went.

    Args:
        model: any module that `torch.onnx.export` takes; it is not changed.
        recipe: name of a recipe that comes with sepnet, a path, or a `Recipe`.
        data: what to fine-tune and score on: a `Dataset`, or a name as on the command line.
        epochs: epochs in all; None keeps the recipe's own.
        best: whether to try the codecs that read at half the speed, too.
        seed: 0 to 2**53 - 1; the same seed gives the same file.
        data_dir: where named data sets are; default `$SEPNET_DATA`.
        limits: for networks above the default ones; give them to `write` and `read`, too.
        progress, on_row: callbacks.
    """
    require_torch("sepnet.compress")
    from sepnet.core.observer import Callbacks
    from sepnet.steps.compress import compress as step
    from sepnet.steps.inspect import inspect as inspect_step

    check_seed(seed)
    loaded = _dataset(data, data_dir)
    report = inspect_step(model, loaded.input_shape, type(model).__name__)
    plan = load_recipe(recipe)
    watching = Callbacks(tick=progress, row=on_row, warning=lambda text: warnings.warn(text, stacklevel=2))
    done = step(model, plan, loaded, report, epochs=epochs, seed=seed, observer=watching, best=best, limits=limits)
    return _with_verbs(done.packed, done.rows, done.rewrites)


def pack(
    path: str | PathLike[str],
    bits: int | Literal["auto"] | None = None,
    calibrate: Given | None = None,
    *,
    images: int = IMAGES,
    max_divergence: float | None = None,
    min_snr: float | None = None,
    target_bytes: int | None = None,
    task: Task | None = None,
    keep: Sequence[str] = (),
    layer_bits: Mapping[str, int] | None = None,
    allow_bad: bool = False,
    best: bool = False,
    seed: int = 0,
    data_dir: Path | None = None,
    limits: Limits = Limits(),
    progress: Progress = silent,
) -> PackedModel:
    """Pack a trained network (`.onnx`), or weights alone (`.safetensors`), without training.  Needs no torch.

    A packed file (`.sepnet`) is coded anew: the same codes with the codecs of today.

    Args:
        path: the file.
        bits: 2 to 8 bits a weight (8 if None; floats of weights alone are then kept exactly), or "auto".
        calibrate: examples to quantize by, as for `PackedModel.runtime`; labels are not looked at.
        images: so many of them, and as many again to measure on.
        max_divergence, min_snr, target_bytes: what "auto" may lose in nats, what it keeps in dB, or what it may take; see docs/pack.md.
        task: "classify" says that the outputs are scores of classes where neither the graph nor labels show it.
        keep: names of layers that stay in 16 bits; `layer_bits`: 2 to 8 by the names of layers that have other bits than
            `bits`.  A name is that of a tensor, or of the layer, without `.weight`.
        allow_bad: whether a network is packed whose outputs are ruined: below 15 dB beside the float network's, or with more
            than 5 % of a classifier's answers changed.
        best: whether to try the codecs that read at half the speed, too.
        seed: which images.
        data_dir: where named data sets are; default `$SEPNET_DATA`.
        limits: for files above the default ones; give them to `write` and `read`, too.
        progress: callback.

    Raises:
        UsageError: options that do not go together.  NetworkError, WeightsError: the file cannot be packed.
        SepnetError: the budget cannot be met.  RuinedError: the outputs are ruined.
    """
    check_seed(seed)
    options = PackOptions(
        bits,
        calibrated=calibrate is not None,
        max_divergence=max_divergence,
        min_snr=min_snr,
        target_bytes=target_bytes,
        task=task,
        keep=(keep,) if isinstance(keep, str) else tuple(keep),
        layer_bits=dict(layer_bits or {}),
        allow_bad=allow_bad,
        effects=False,
        best=best,
        limits=limits,
    )
    return _with_verbs(
        pack_report(path, options, calibrate, images=images, seed=seed, data_dir=data_dir, progress=progress).packed
    )


def pack_report(
    path: str | PathLike[str],
    options: PackOptions,
    calibrate: Given | None,
    *,
    images: int,
    seed: int,
    data_dir: Path | None,
    progress: Progress,
) -> PackReport:
    """What `pack` makes, with what came of it: for the command line."""
    from sepnet.core.calibrate import Calibrate
    from sepnet.steps.pack import pack_onnx
    from sepnet.steps.pack_again import pack_again
    from sepnet.steps.pack_weights import pack_weights

    kind = options.check(Path(path))
    if kind == "packed":
        return pack_again(path, options, progress)
    if kind == "weights":
        return pack_weights(path, options, progress)
    by = None if calibrate is None else Calibrate(_examples(calibrate, data_dir), images, seed)
    return pack_onnx(path, options, by, progress)


def _with_verbs(
    packed: packed_model.PackedModel, rows: tuple[StageRow, ...] = (), rewrites: tuple[RewriteRow, ...] = ()
) -> PackedModel:
    fields = {field.name: getattr(packed, field.name) for field in dataclasses.fields(packed)}
    return PackedModel(**fields, rows=rows, rewrites=rewrites)


def rewrite(
    model: nn.Module,
    recipe: str | Path | Recipe,
    data: Dataset | str | None = None,
    data_dir: Path | None = None,
    *,
    input_shape: tuple[int, ...] | None = None,
    on_row: Callable[[RewriteRow], None] = lambda _: None,
) -> nn.Module:
    """A copy of a network with its layers rewritten as a recipe says, not trained and not compressed.

    What `compress` with that recipe unpacks loads into it: the class that a state dict of the packed file fits.

    Args:
        model: the trained network; it is not changed.
        recipe: as for `compress`; only its `rewrite` tables count.
        data: images for the rewrites that can use some; its train split is looked at.
        data_dir: where named data sets are; default `$SEPNET_DATA`.
        input_shape: of one example, for rewrites that run the network (`channels`), where there is no data.
        on_row: gets what was done to each layer: params, error, channels and macs.

    Raises:
        RecipeError: no such rewrite, option or layer, or a layer that cannot be rewritten, and why.

    >>> import sepnet
    >>> from sepnet.networks import build
    >>> table = {"rewrite": "low_rank", "layers": ["conv2"], "rank": 10}
    >>> small = sepnet.rewrite(build("lenet5"), sepnet.Recipe("low rank", rewrite=(table,)))
    >>> small.conv2.kxk.weight.shape, small.conv2.pointwise.weight.shape
    (torch.Size([10, 20, 5, 5]), torch.Size([50, 10, 1, 1]))
    """
    require_torch("sepnet.rewrite")
    from sepnet.steps.rewrite import rewrite as step

    made, rows = step(model, load_recipe(recipe), None if data is None else _dataset(data, data_dir), input_shape)
    for row in rows:
        on_row(row)
    return made


def _dataset(data: Dataset | str, data_dir: Path | None) -> Dataset:
    if isinstance(data, Dataset):
        return data
    from sepnet.datasets import load

    return load(data, data_dir)


def _examples(given: Given, data_dir: Path | None) -> Dataset | Arrays:
    from sepnet.datasets.arrays import arrays_of, is_array_file, load_arrays

    if isinstance(given, Dataset | Arrays):
        return given
    if not isinstance(given, str | PathLike):
        return arrays_of(given)
    return load_arrays(given) if is_array_file(given) else _dataset(str(given), data_dir)
