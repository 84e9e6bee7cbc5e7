"""The history nouns: the networks of the talk, counted, and where the talk's figures differ."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Difference", "HistoryRow"]


@dataclass(frozen=True)
class Difference:
    """A figure of the talk that is not ours.

    Attributes:
        what: which figure.
        talk, ours: the two, with units.
        reason: why they differ.
    """

    what: str
    talk: str
    ours: str
    reason: str


@dataclass(frozen=True)
class HistoryRow:
    """One network of the talk.

    Attributes:
        title: as people call it.
        network: its name in the catalogue; "" for a network that is only published.
        year: of its first publication.
        params: learnable numbers, counted; None for a network that is only published.
        conv, fc: of those, in convolutions and in fully connected layers, biases included; the rest is in norms.
        top1, top5: published accuracy on the validation images of ILSVRC-2012, fractions; None where the source gives none.
        source: paper and table of the accuracy.
        published: the published size, in its own words.
        differences: where the talk says something else.
    """

    title: str
    network: str
    year: int
    params: int | None
    conv: int | None
    fc: int | None
    top1: float | None
    top5: float | None
    source: str
    published: str = ""
    differences: tuple[Difference, ...] = ()

    @property
    def bytes(self) -> int | None:
        """Size at float32, 4 bytes a parameter; None for a network that is only published."""
        return None if self.params is None else 4 * self.params
