"""What may be asked of packing without training, and what goes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal

from sepnet.core.container import is_container
from sepnet.core.errors import UsageError
from sepnet.core.limits import Limits

__all__ = ["EFFECT_SECONDS", "IMAGES", "MAX_DIVERGENCE", "MIN_SNR", "PATIENCE", "PackOptions", "Task"]

Task = Literal["classify"]
"""What a network may be said to be for."""

MAX_DIVERGENCE = 0.005
"""Mean Kullback-Leibler divergence from the float network, in nats, that "auto" may lose unless told otherwise."""

MIN_SNR = 30.0
"""Signal to noise of each output against the float network, in dB, that "auto" keeps unless told otherwise."""

IMAGES = 1024
"""Images to calibrate on, and as many again to measure on, unless told otherwise."""

PATIENCE = 2.0
"""Seconds that measuring the effects of layers may take where nobody asked for it."""

EFFECT_SECONDS = 120.0
"""After so many no other layer is begun."""

KINDS: dict[str, Literal["network", "weights", "packed"]] = {
    ".onnx": "network",
    ".safetensors": "weights",
    ".sepnet": "packed",
}


@dataclass(frozen=True)
class PackOptions:
    """What was asked for.

    Attributes:
        bits: 2 to 8, "auto", or None: 8 for a network, floats kept exactly for weights alone.
        calibrated: whether there are examples to quantize by.
        max_divergence, min_snr, target_bytes: the budget of "auto" in nats, dB or bytes; at most one is given.
        task: what the network is for; None leaves it to the graph and the examples.
        keep: names of layers and tensors that stay in 16 bits.
        layer_bits: 2 to 8 by the names of layers that have other bits than `bits`.
        allow_bad: whether a network whose outputs are ruined is packed all the same.
        effects: whether to measure what each layer's rounding does to the outputs; None: if that takes `PATIENCE` seconds at
            most.
        best: whether to try the codecs that read at half the speed, too.
        limits: those of whoever will read the file.

    >>> PackOptions("auto").check(Path("net.onnx"))
    Traceback (most recent call last):
    ...
    sepnet.core.errors.UsageError: bits auto needs examples to measure on; expected --calibrate DATA (calibrate= in Python)
    """

    bits: int | Literal["auto"] | None = None
    _: KW_ONLY
    calibrated: bool = False
    max_divergence: float | None = None
    min_snr: float | None = None
    task: Task | None = None
    target_bytes: int | None = None
    keep: tuple[str, ...] = ()
    layer_bits: Mapping[str, int] = field(default_factory=dict)
    allow_bad: bool = False
    effects: bool | None = None
    best: bool = False
    limits: Limits = Limits()

    def check(self, path: Path) -> Literal["network", "weights", "packed"]:
        """What `path` holds, by its ending; a packed file in a container is one whatever it is called.  Raises `UsageError` for what does not go together."""
        kind = "packed" if is_container(path) else KINDS.get(path.suffix.lower())
        if kind is None:
            raise UsageError(
                f"{str(path)!r}: expected a network (.onnx), weights (.safetensors) or a packed file (.sepnet)"
            )
        if kind == "packed" and (self.bits is not None or self.calibrated):
            raise UsageError(f"{path} is packed already, in the bits that it has; expected neither bits nor images")
        if self.bits not in (None, "auto", *range(2, 9)):
            raise UsageError(f"bits {self.bits!r}: expected 2 to 8, or auto")
        for name, bits in self.layer_bits.items():
            if bits not in range(2, 9):
                raise UsageError(f"bits {bits!r} of {name}: expected 2 to 8")
        if kind != "network" and (self.keep or self.layer_bits):
            raise UsageError(f"{path}: found layers to keep or their bits; expected them with a network (.onnx)")
        budget = [each for each in (self.max_divergence, self.min_snr, self.target_bytes) if each is not None]
        if kind == "weights" and (self.calibrated or self.bits == "auto"):
            raise UsageError(
                f"{path} has no graph that could be calibrated; expected 2 to 8 bits, or none given, and no images"
            )
        if self.bits != "auto" and budget:
            raise UsageError("a budget of divergence, signal to noise or bytes goes with bits auto")
        if self.bits == "auto" and not self.calibrated:
            raise UsageError("bits auto needs examples to measure on; expected --calibrate DATA (calibrate= in Python)")
        if self.task not in (None, "classify"):
            raise UsageError(f"task {self.task!r}: expected classify, or none")
        if self.task and not self.calibrated:
            raise UsageError("a task goes with examples to calibrate by, on which it is measured")
        if len(budget) > 1:
            raise UsageError(
                "found more than one of a largest divergence, a smallest signal to noise and a target in bytes; expected one of them"
            )
        if self.min_snr is not None and not 0 < self.min_snr <= 100:
            raise UsageError(f"smallest signal to noise {self.min_snr}: expected above 0 and at most 100 dB")
        if self.max_divergence is not None and not 0 < self.max_divergence <= 10:
            raise UsageError(f"largest divergence {self.max_divergence}: expected above 0 and at most 10 nats")
        if self.target_bytes is not None and self.target_bytes < 1:
            raise UsageError(f"target of {self.target_bytes} bytes: expected 1 or more")
        return kind
