"""Tells faults of single pictures from a property of the dataset, by how many pictures a check finds.

A check with a fixed threshold finds a few faults in most datasets, and nearly every picture of a dataset of night
scenes or of enlarged pictures. There, only a picture that is much worse than the others found is a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

LEAST = 10
"""Up to this many pictures are always faults of their own: they are soon looked at, and too few for a spread."""
SPREADS = 3.5
"""Robust standard deviations from the median at which a value stands out (Iglewicz and Hoaglin, 1993)."""
TWICE = float(np.log(2))
"""A picture that stands out is also twice as bad as the median, however alike the others are."""
NORMAL = 1.4826
"""Turns the median absolute deviation of normal values into their standard deviation."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a check on an edition's pictures.

    Attributes:
        excess: how far each picture exceeds the threshold, `[N]`, above 0 beyond it.
        flag: whether this is a fault of the picture, `[N]`.
        common: whether more pictures lie beyond the threshold than faults can explain.
        blind: whether no measured value could stand out among those pictures.
    """

    excess: Floats
    flag: Bools
    common: bool
    blind: bool = False

    @property
    def beyond(self) -> int:
        """Number of pictures beyond the threshold."""
        return int((self.excess > 0).sum())


def absolute(excess: Floats, share: float) -> Found:
    """Every picture beyond the threshold is a fault, however many there are; arguments as for `relative`."""
    beyond = excess > 0
    return Found(excess, beyond, too_many(beyond, share))


def relative(excess: Floats, badness: Floats, share: float, worst: float = np.inf, among: Bools | None = None) -> Found:
    """Up to a share of the edition, every picture beyond the threshold is a fault; above it, those that stand out.

    Standing out is judged among the pictures beyond the threshold. If too many stand out, they are a property of the
    dataset too, and it is judged among them again. So no more than the share, or `LEAST` pictures, are faults.

    Args:
        excess: `[N]`, above 0 beyond the check's threshold.
        badness: `[N]`, high where bad, on a logarithmic scale: ln 2 more means twice as bad.
        share: largest share of the edition that faults can explain, in [0, 1].
        worst: largest badness that can be measured.
        among: `[N]`, further pictures to count and compare with: those of which another check says the same.
    """
    flag = excess > 0
    group = flag if among is None else flag | among
    common, limit = too_many(flag, share), -np.inf
    while too_many(group, share):
        limit = limit_of(badness[group])
        group = flag = flag & (badness > limit)
    return Found(excess, flag, common, blind=bool(limit >= worst))


def too_many(found: Bools, share: float) -> bool:
    """Return whether these are more than the share of all, and more than `LEAST`."""
    return int(found.sum()) > max(share * len(found), LEAST)


def limit_of(badness: Floats) -> float:
    """The badness above which a picture stands out among these: `SPREADS` spreads and `TWICE` above the median."""
    middle = np.median(badness)
    spread = NORMAL * np.median(np.abs(badness - middle))
    return float(middle + max(SPREADS * spread, TWICE))


def said(found: Found, word: str, more: str) -> str:
    """Sentences for people about a check that finds a property of the dataset.

    Args:
        found: what it found, with `common`.
        word: what the pictures are, such as `dark`.
        more: what one that stands out is, such as `much darker`.
    """
    flagged = int(found.flag.sum())
    if flagged == 1:
        rest = f"only one that is {more} than the others is flagged"
    elif flagged:
        rest = f"only {flagged:,} that are {more} than the others are flagged"
    elif found.blind:
        rest = f"none is flagged, because a picture that is {more} could not be told from the others"
    else:
        rest = f"none is {more} than the others, so none is flagged"
    return f"{counted(found, word)} This is a property of the dataset and not a fault of each picture: {rest}."


def counted(found: Found, word: str) -> str:
    """Say in a sentence how many pictures lie beyond the threshold."""
    return f"{found.beyond:,} of {len(found.excess):,} pictures are {word}."
