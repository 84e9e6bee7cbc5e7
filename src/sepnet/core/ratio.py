"""A ratio of sizes in words."""

from __future__ import annotations

__all__ = ["compared"]


def compared(ratio: float, times: str = "x") -> str:
    """What stands before the name of the original, by `ratio` = original bytes / bytes; `times` is the sign after a number.

    >>> compared(12.345), compared(0.4), compared(0.999), compared(0.0)
    ('12.3x smaller than', '2.5x larger than', 'about as large as', 'larger than')
    """
    if 0.95 < ratio < 1.05:
        return "about as large as"
    if ratio > 1:
        return f"{ratio:.1f}{times} smaller than"
    return f"{1 / ratio:.1f}{times} larger than" if ratio else "larger than"
