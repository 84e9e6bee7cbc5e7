"""The training setup noun: how a machine computes the steps of training, where the options leave that to it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrainSetup"]


@dataclass(frozen=True)
class TrainSetup:
    """What became of `precision`, `channels_last` and `compiled` of the training options on one machine.

    Attributes:
        device: as torch names it: cpu, cuda, mps.
        precision: float32 or bfloat16.
        why: why that precision; a few words.
        channels_last: whether images and weights have their channels last in memory.
        compiled: whether torch.compile made the step.
        threads: of the processor, for one step.
    """

    device: str
    precision: str
    why: str
    channels_last: bool
    compiled: bool
    threads: int

    def __str__(self) -> str:
        """One line.

        >>> print(TrainSetup("cpu", "float32", "this processor has no bfloat16 instructions", True, False, 2))
        precision: float32 (this processor has no bfloat16 instructions), channels last, 2 threads on cpu
        """
        form = [", channels last"] * self.channels_last + [", compiled"] * self.compiled
        threads = f", {self.threads} thread{'s' * (self.threads > 1)} on {self.device}"
        return f"precision: {self.precision} ({self.why}){''.join(form)}{threads}"
