"""Which tensors few bits spoil: those that cost an output most of its accuracy, found by rounding one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sepnet.core.output_row import OutputRow
from sepnet.core.pack_report import Spoiled
from sepnet.core.progress import Progress, silent
from sepnet.quantizing.judging import Judge, Low
from sepnet.quantizing.layer_effects import effects

__all__ = ["LEAST", "find_spoiled"]

LEAST, GOOD = 20.0, 25.0
"""Signal to noise of an output, in dB, below which its tensors are looked at, and that it shall have then."""
MOST_NUMBERS = 2 / 3
"""Share of the numbers of a network that is kept in 16 bits at most."""
ROUNDS = 12
LITTLE = 20
"""A tensor that makes so many times less noise than is good is left."""


def find_spoiled(judge: Judge, names: Sequence[str], progress: Progress = silent) -> list[Spoiled]:
    """Tensors to keep in 16 bits so that no output is bad; none where none is, or where that does not help.

    An output's noise is about the sum of what its tensors make each.  Those are kept that make most of it, until the rest is
    `GOOD` or `MOST_NUMBERS` are kept.

    Args:
        judge: looks at the outputs.
        names: of the tensors that may be kept.
        progress: callback.
    """
    rounded = judge.rounded
    sizes = {name: rounded.coded[name].codes.size for name in names}
    most = MOST_NUMBERS * sum(array.size for array in rounded.floats.values())
    kept: dict[str, Spoiled] = {}
    known: dict[int, dict[str, tuple[OutputRow, ...]]] = {}
    for _ in range(ROUNDS):
        lows = judge.low(rounded.session([name for name in rounded.coded if name not in kept]), GOOD if kept else LEAST)
        if not lows:
            break
        low = min(lows, key=lambda each: each.snr_db)
        if id(low.trial) not in known:
            left = {name: [name] for name in sizes if name not in kept}
            known[id(low.trial)] = effects(rounded, left, low.trial, progress=progress)
        found = {name: rows for name, rows in known[id(low.trial)].items() if name not in kept}
        chosen = _chosen(low, found, sizes, most - sum(sizes[name] for name in kept))
        if not chosen:
            break
        kept |= {name: Spoiled(name, low.name, float(found[name][low.at].snr_db or 0.0)) for name in chosen}
    return list(kept.values())


def _chosen(low: Low, found: Mapping[str, Sequence[OutputRow]], sizes: Mapping[str, int], spare: float) -> list[str]:
    noise = {}
    for name, rows in found.items():
        snr = rows[low.at].snr_db
        noise[name] = 0.0 if snr is None else 10 ** (-snr / 10)
    goal, left = 10 ** (-GOOD / 10), sum(noise.values())
    chosen: list[str] = []
    for name in sorted(noise, key=lambda each: noise[each], reverse=True):
        if (chosen and left <= goal) or noise[name] <= goal / LITTLE:
            break
        if sizes[name] <= spare:
            chosen.append(name)
            spare -= sizes[name]
            left -= noise[name]
    for name in sorted(chosen[1:], key=lambda each: noise[each] / sizes[each]):
        if left + noise[name] <= goal:
            chosen.remove(name)
            left += noise[name]
    return chosen
