"""The learning curve: loss and accuracy by epoch, stage after stage."""

from __future__ import annotations

import html
from collections.abc import Sequence

from sepnet.core.epoch_log import EpochLog

__all__ = ["learning_curve"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 700, 260, 46, 46, 22, 30
LOSS, TRAIN, VALIDATION = "#c2571a", "#2f6fde", "#2e8b57"


def learning_curve(epochs: Sequence[EpochLog]) -> str:
    """An SVG: loss on the left axis, from 0; accuracy on the right one, in percent; a line where a stage begins.

    >>> epochs = [EpochLog("a", 1, 0.1, 1.0, 0.5, 9.0), EpochLog("a", 2, 0.1, 0.5, 0.75, 9.0)]
    >>> learning_curve(epochs).count("<polyline")
    2
    """
    if len(epochs) < 2:
        return ""
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    most = max(epoch.train_loss for epoch in epochs) or 1.0
    accuracies = [value for epoch in epochs for value in (epoch.train_top1, epoch.top1) if value is not None]
    least = min(accuracies) // 0.1 / 10

    def x(at: float) -> float:
        return LEFT + across * at / (len(epochs) - 1)

    def line(values: Sequence[float | None], low: float, high: float, colour: str) -> str:
        points = [
            f"{x(at):.1f},{TOP + down * (1 - (value - low) / (high - low or 1)):.1f}"
            for at, value in enumerate(values)
            if value is not None
        ]
        return (
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(points)}"/>' if points else ""
        )

    parts = [line([epoch.train_loss for epoch in epochs], 0.0, most, LOSS)]
    parts.append(line([epoch.train_top1 for epoch in epochs], least, 1.0, TRAIN))
    parts.append(line([epoch.top1 for epoch in epochs], least, 1.0, VALIDATION))
    for at, epoch in enumerate(epochs):
        if at == 0 or epoch.stage != epochs[at - 1].stage:
            place = x(at - 0.5) if at else LEFT
            parts.append(f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{TOP + down}" stroke="#6b768066"/>')
            parts.append(f'<text x="{place + 4:.1f}" y="{TOP - 8}">{html.escape(epoch.stage)}</text>')
    for at in range(5):
        y = TOP + down * (1 - at / 4)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{LOSS}">{most * at / 4:.2f}</text>')
        accuracy = least + (1 - least) * at / 4
        parts.append(f'<text x="{WIDTH - RIGHT + 6}" y="{y + 4:.1f}" fill="{TRAIN}">{accuracy:.0%}</text>')
    validation = (
        f', <tspan fill="{VALIDATION}">top-1 on validation images</tspan>' if len(accuracies) > len(epochs) else ""
    )
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{len(epochs)} epochs: '
        f'<tspan fill="{LOSS}">training loss</tspan>, <tspan fill="{TRAIN}">training top-1</tspan>{validation}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Learning curve" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="#6b7680">{"".join(parts)}</svg>'
    )
