"""Which codecs write what."""

from __future__ import annotations

import pytest

from sepnet.codecs import CODECS, find
from sepnet.core.codec import CodecUnfitError, IntArray

GENERAL = [name for name in CODECS if not name.startswith("kernels") and name not in ("ab1", "mx1")]
"""Codecs that write any codes; those of kernels write few levels in whole kernels only, adaptive ones no large codes."""


def encode(name: str, codes: IntArray) -> bytes:
    """The payload; the test is skipped for a codec that these codes do not fit, if it may decline."""
    try:
        return find(name).encode(codes)
    except CodecUnfitError:
        if name in GENERAL:
            raise
    pytest.skip("the codec declines these codes")
