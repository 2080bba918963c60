"""Quantisation index modulation: a value is moved to a point of a lattice whose offset says a bit.

After Chen & Wornell, Quantization Index Modulation, IEEE Transactions on Information Theory 2001. Each value has a
keyed dither, so that nobody sees the lattice without the key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from variorum.arrays import Floats, Pixels
    from variorum.schemas.watermark import Bools

GAINS = np.arange(12, 33) / 20
"""0.6 to 1.6: by what contrast or brightness may have changed; a detector tries them all."""
PASSES = 3
"""Tries to put right what saturation at black and white has taken."""
OFF = 1 / 6
"""Of a step: how far a value may lie off before another pass."""


class Lattice(NamedTuple):
    """The lattices of N values.

    Attributes:
        step: between points that say the same bit.
        dither: of each value, `[N]`, as a share of the step in [0, 1).
        bit: which bit of the payload each value carries, `[N]`.
    """

    step: float
    dither: Floats
    bit: NDArray[np.int64]

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
        return np.asarray(sums[np.abs(sums).sum(1).argmax()])


def step_of(decibels: float, values: int, shape: tuple[int, ...]) -> float:
    """The step that gives a picture of this shape a PSNR: moving by up to half a step costs step²/12 on average."""
    error = 255**2 * 10 ** (-decibels / 10) - 1 / 12  # rounding to whole levels adds the rest
    return float(np.sqrt(12 * error * shape[0] * shape[1] / values))


def settled(
    values: Floats,
    wanted: Floats,
    step: float,
    measure: Callable[[Pixels], Floats],
    moved: Callable[[Floats], Pixels],
) -> Pixels:
    """A picture whose values are those wanted, or as near as black and white allow in three passes.

    Args:
        values: of the unmarked picture, `[N]`.
        wanted: those that it shall have.
        step: of the lattice.
        measure: the values that a picture has.
        moved: the picture with a change of its values, in sum over all passes.
    """
    change = wanted - values
    marked = moved(change)
    for _ in range(PASSES - 1):
        missing = wanted - measure(marked)
        if np.abs(missing).max() < step * OFF:
            break
        change += missing
        marked = moved(change)
    return marked
