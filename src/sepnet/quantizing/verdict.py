"""What is to be said, or refused, about the outputs of a network that was packed."""

from __future__ import annotations

from collections.abc import Sequence

from sepnet.core.errors import RuinedError
from sepnet.core.output_row import LEAST_SNR
from sepnet.core.pack_options import PackOptions
from sepnet.core.pack_report import Measured
from sepnet.core.progress import Progress
from sepnet.quantizing.judging import Judge, Low
from sepnet.quantizing.layer_effects import effects
from sepnet.quantizing.spoiled import LEAST
from sepnet.runtimes.session import Session

__all__ = ["MOST_CHANGED", "advice", "refuse_measured", "refuse_ruined"]

MOST_CHANGED = 0.05
"""Share of a classifier's answers that may change."""
SECONDS = 10.0
"""To find the layer that does most of it."""


def refuse_measured(measured: Measured, options: PackOptions) -> None:
    """Raise `RuinedError` where examples show that outputs are ruined.

    Of a classifier the answers count, of which a single one that changed tells nothing; of other networks every output of floats.
    """
    if options.allow_bad:
        return
    agreement = measured.agreement
    if agreement is not None:
        if agreement.changed - 1 / agreement.images > MOST_CHANGED:
            raise RuinedError(
                f"{agreement.changed:.1%} of the answers of {agreement.images:,} {measured.noun} changed; expected {MOST_CHANGED:.0%} or fewer; {_tries(options, 'LAYER')}"
            )
        return
    known = [(row.snr_db, row.name) for row in measured.rows if row.snr_db is not None]
    if known and min(known)[0] < LEAST_SNR:
        raise RuinedError(_ruined(min(known)[1], min(known)[0], _tries(options, "LAYER")))


def _ruined(name: str, snr_db: float, tries: str) -> str:
    return f"output {name} is ruined: {snr_db:.1f} dB signal to noise beside the float network; expected {LEAST_SNR:g} or more; {tries}"


def refuse_ruined(
    judge: Judge, found: Session, names: Sequence[str], *, options: PackOptions, progress: Progress
) -> None:
    """Raise `RuinedError` where an output of `found` is ruined, with the layer that does most of it, one of `names`."""
    lows = [] if options.allow_bad else judge.ruined(found, LEAST_SNR)
    if lows:
        low = min(lows, key=lambda each: each.snr_db)
        worst = _worst(judge, low, names, progress)
        raise RuinedError(_ruined(low.name, low.snr_db, _tries(options, worst or "LAYER")))


def advice(judge: Judge, found: Session, names: Sequence[str], progress: Progress) -> str:
    """A sentence about the worst output, if one is bad, and the layer of `names` that does most of it."""
    lows = judge.low(found, LEAST)
    if not lows:
        return ""
    low = min(lows, key=lambda each: each.snr_db)
    worst = _worst(judge, low, names, progress)
    return f"output {low.name} is at {low.snr_db:.1f} dB only" + (f"; --keep {worst} would help most" if worst else "")


def _worst(judge: Judge, low: Low, names: Sequence[str], progress: Progress) -> str:
    found = effects(judge.rounded, {name: [name] for name in names}, low.trial, progress=progress, seconds=SECONDS)
    alone = {name: rows[low.at].snr_db for name, rows in found.items()}
    known = {name: snr for name, snr in alone.items() if snr is not None}
    return min(known, key=lambda name: known[name]) if known else ""


def _tries(options: PackOptions, layer: str) -> str:
    tries = ["--bits 8"] if options.bits not in (None, 8) else []
    tries += [] if options.calibrated else ["--calibrate DATA"]
    return f"try {', '.join([*tries, f'--keep {layer}'])}, or --allow-bad to write it as it is"
