"""Quantisation index modulation: a value is moved to a point of a lattice whose offset says a bit.

After Chen & Wornell, Quantization Index Modulation, IEEE Transactions on Information Theory 2001. Each value has a
keyed dither, so that nobody sees the lattice without the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from variorum.arrays import Floats
    from variorum.schemas.watermark import Bools

GAINS = np.arange(12, 33) / 20
"""0.6 to 1.6: by what contrast or brightness may have changed; a detector tries them all."""


class Lattice(NamedTuple):
    """The lattices of N values.

    Attributes:
        step: between points that say the same bit.
        dither: of each value, `[N]`, as a share of the step in [0, 1).
        bit: which bit of the payload each value carries, `[N]`.
        steady: how many times as much a reading counts at gain 1. Where values are large and alike, as in a picture of
            one colour, another gain would turn all bits around as convincingly.
    """

    step: float
    dither: Floats
    bit: NDArray[np.int64]
    steady: float = 1.0

    def nearest(self, values: Floats, payload: Bools) -> Floats:
        """The points next to the values that say the payload's bits."""
        offset = (self.dither + payload[self.bit] / 2) * self.step
        return np.rint((values - offset) / self.step) * self.step + offset

    def sums(self, values: Floats, bits: int, weights: Floats | None = None) -> Floats:
        """Sum up how much the values speak for 1, `[bits]`, by cosines; at the gain at which they say most.

        Args:
            values: `[N]`.
            bits: of the payload.
            weights: how much each value counts, `[N]`; all alike by default.
        """
        order = np.argsort(self.bit, kind="stable")
        starts = np.searchsorted(self.bit[order], np.arange(bits))
        phases = np.outer(1 / (GAINS * self.step), values[order]) - self.dither[order]
        said = np.cos(2 * np.pi * phases)
        if weights is not None:
            said *= weights[order]
        sums = -np.add.reduceat(said, starts, axis=1)
        said_in_all = np.abs(sums).sum(1) * np.where(GAINS == 1, self.steady, 1)
        return np.asarray(sums[said_in_all.argmax()])


def error_of(decibels: float) -> float:
    """The squared change of a pixel, on average, that gives this PSNR; rounding to whole levels adds the rest."""
    return float(255**2 * 10 ** (-decibels / 10) - 1 / 12)


def step_of(decibels: float, values: int, shape: tuple[int, ...]) -> float:
    """The step that gives a picture of this shape a PSNR: moving by up to half a step costs step²/12 on average."""
    return float(np.sqrt(12 * error_of(decibels) * shape[0] * shape[1] / values))
