"""The fewest bits that lose no more than is allowed, or the codes that lose least in so many bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import SepnetError
from sepnet.quantizing.calibrated import CalibratedLayer, QuantizedLayer, cheapest, in_bits
from sepnet.quantizing.calibration import Calibration, tensors_of
from sepnet.quantizing.search import approach

__all__ = ["within_bytes", "within_loss"]

MOST_BITS = 8
MARGIN = 1.05
"""Of what files are estimated to take."""
Coded = list[CodedTensor]
Size = Callable[[Sequence[CodedTensor]], int]
"""From codes to the bytes of a file."""


def within_loss(work: Calibration, size: Size) -> Coded:
    """The smallest codes found that lose at most `work.loss.most`.

    One slope is sought at which all layers together lose that much; then fixed bits of all layers are tried as long as they take
    less and lose no more.

    Raises `SepnetError` if nothing loses as little, with what was reached and the layer that costs most.
    """
    most, tried = work.loss.most, _Tried(work)
    if not tried.weights:  # all were chosen by hand
        return []
    found = approach(tried.lost, most, 2 * math.log(2) * most / tried.weights, 1.3)
    best: Coded | None = None if found is None else found[2]
    takes = math.inf if best is None else size(best)
    for fixed in tried.in_fixed_bits(takes):
        fits = size(fixed)
        if fits >= takes:
            continue
        lost = tried.note(work.lost(fixed), fixed)
        if lost > most:
            break
        best, takes = fixed, fits
    if best is None:
        raise SepnetError(_missed(work, *tried.nearest))
    return best


def within_bytes(work: Calibration, size: Size, most: int) -> Coded:
    """The codes of at most `most` bytes that lose least: of one slope for all layers, or of fixed bits.

    Raises `SepnetError` if no file is as small.
    """
    tried = _Tried(work)
    if not tried.weights:
        return []
    first = 2 * math.log(2) * 2 * work.loss.most / tried.weights
    found = approach(lambda slope: tried.at(slope, size), most, first, -0.35, near=0.99)
    best: Coded | None = None if found is None else found[2]
    for fixed in tried.in_fixed_bits(most):
        if size(fixed) <= most:
            if best is None or work.lost(fixed) < work.lost(best):
                best = fixed
            break
    if best is None:
        raise SepnetError(f"found no codes that fit {most:,} bytes; expected a larger target")
    return best


class _Tried:
    """Codes of one slope for all layers, and which of all codes so far lost least."""

    def __init__(self, work: Calibration) -> None:
        self.work = work
        self.weights = sum(layer.weight.size for layer in work.layers)
        self.nearest: tuple[float, Coded] = (math.inf, [])
        self.fixed: dict[tuple[int, int], QuantizedLayer] = {}

    def lost(self, slope: float) -> tuple[float, Coded]:
        """What codes of that slope lose, and the codes."""
        return self.at(slope, lambda coded: self.note(self.work.lost(coded), list(coded)))

    def in_fixed_bits(self, takes: float) -> Iterator[Coded]:
        """Codes of as many bits for all layers, from `MOST_BITS` to 2; without those that take more than `takes` bytes for sure."""
        least = 0.0
        for bits in range(MOST_BITS, 1, -1):
            if least / 8 <= MARGIN * takes:
                done = self._all(bits)
                least = sum(each.bits for each in done)
                yield tensors_of(done)
            least -= self.weights  # a bit a weight less saves no more than that

    def _all(self, bits: int) -> list[QuantizedLayer]:
        return self.work.quantize(lambda at, layer: self._in_bits(at, layer, bits))

    def at(self, slope: float, number: Callable[[Sequence[CodedTensor]], float]) -> tuple[float, Coded]:
        """A number of the codes of that slope, and the codes."""
        worth = self.work.sensitivities
        done = self.work.quantize(lambda at, layer: self._cheapest(at, layer, slope / worth[at]))
        coded = [*tensors_of(done), *self.work.rest]
        return number(coded), coded

    def _cheapest(self, at: int, layer: CalibratedLayer, slope: float) -> QuantizedLayer:
        """Codes for that slope; or fixed bits of about as many, or of `MOST_BITS`, if they are better.

        They are if D + slope * bits is less, and D less than these codes would have with as many bits, a bit a weight more
        dividing it by four.
        """
        best = cheapest(layer, slope)
        size = max(1, layer.weight.size)
        near = math.ceil(best.bits / size)
        for bits in {min(max(each, 2), MOST_BITS) for each in (near, near + 1, MOST_BITS)}:
            fixed = self._in_bits(at, layer, bits)
            expected = best.error * 4 ** min((best.bits - fixed.bits) / size, 16)
            if fixed.error < expected and fixed.error + slope * fixed.bits < best.error + slope * best.bits:
                best = fixed
        return best

    def _in_bits(self, at: int, layer: CalibratedLayer, bits: int) -> QuantizedLayer:
        if (at, bits) not in self.fixed:
            self.fixed[at, bits] = in_bits(layer, bits)
        return self.fixed[at, bits]

    def note(self, lost: float, coded: Coded) -> float:
        """Remember what loses least."""
        if lost < self.nearest[0]:
            self.nearest = lost, coded
        return lost


def _missed(work: Calibration, lost: float, coded: Coded) -> str:
    if not coded:
        return "found no codes with which the network gives finite outputs"
    where = f"the codes of {work.limits(coded)} cost most"
    loss = work.loss
    if loss.min_snr is None:
        return f"found no codes within a divergence of {loss.most:g} nats: the best lose {lost:.4g}, and {where}; expected a larger budget"
    rows = work.measure(coded).rows
    worst = min((row for row in rows if row.snr_db is not None), key=lambda row: row.snr_db or 0.0, default=None)
    reached = "" if worst is None else f": the best have {worst.snr_db:.1f} dB in {worst.name}, and"
    return f"found no codes with {loss.min_snr:g} dB of signal to noise{reached} {where}; expected a smaller ratio"
