"""Sample the pictures that people review: strata, and a random order in each that doesn't depend on the table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

STATES = ("unflagged", "flagged")
TIERS = ("head", "mid", "tail")
FATES = ("kept", "relabelled", "dropped")
"""What a release does with a picture. One that is only under review is kept with its label."""


class Stratum(NamedTuple):
    """Pictures with the same chance of being drawn."""

    state: str
    tier: str
    fate: str
    value: str = ""
    """Value of the other column, empty without one."""

    @property
    def name(self) -> str:
        """`unflagged/tail/kept`, followed by the other column's value."""
        return "/".join(filter(None, self))


@dataclass(frozen=True, slots=True)
class Population:
    """The n pictures that an audit covers.

    Attributes:
        rows: `[n]` rows in the table.
        stratum: `[n]` index of the stratum.
        strata: the H strata.
        pictures: `[H]` number of pictures.
        drawn: `[H]` number to be reviewed.
        order: `[n]` position in the stratum's random order; the first `drawn` are reviewed.
    """

    rows: Ints
    stratum: Ints
    strata: list[Stratum]
    pictures: Ints
    drawn: Ints
    order: Ints

    def where(self, *wanted: str) -> Bools:
        """Mask `[H]` of the strata whose state, tier or fate is wanted."""
        return np.array([bool({*stratum[:3]} & {*wanted}) for stratum in self.strata], bool)

    def chosen(self, wrong: Floats | None = None) -> Bools:
        """Mask `[n]` of the pictures drawn; with answers `wrong` `[n]`, also of strata that are completely answered.

        Other answers are usually on suspicious pictures and would make the edition look worse than it is.
        """
        drawn = self.drawn
        if wrong is not None:
            missing = np.bincount(self.stratum[np.isnan(wrong)], minlength=len(drawn))
            drawn = np.where(missing == 0, self.pictures, drawn)
        return np.asarray(self.order < drawn[self.stratum])


def split(flagged: Bools, tiers: Ints, fates: Ints, values: Array | None) -> tuple[Ints, list[Stratum]]:
    """Index of each picture's stratum `[n]`, and the strata.

    Args:
        flagged: `[n]` whether a detector flags it.
        tiers: `[n]` indices in `TIERS`.
        fates: `[n]` indices in `FATES`.
        values: `[n]` of another column to split by.
    """
    kinds, code = np.unique(values, return_inverse=True) if values is not None else (np.array([""]), 0)
    whole = ((flagged.astype(np.int64) * len(TIERS) + tiers) * len(FATES) + fates) * len(kinds) + code
    found, stratum = np.unique(whole, return_inverse=True)
    strata = []
    for one in found.tolist():
        rest, kind = divmod(one, len(kinds))
        rest, fate = divmod(rest, len(FATES))
        state, tier = divmod(rest, len(TIERS))
        strata.append(Stratum(STATES[state], TIERS[tier], FATES[fate], str(kinds[kind]) if values is not None else ""))
    return stratum.astype(np.int64), strata


def draw_order(ids: Iterable[str], strata: Ints, seed: int) -> Ints:
    """Position `[n]` of each picture in a random order of its stratum, from a hash of seed and id.

    With such permanent random numbers (Ohlsson 1995), samples before and after a change of the table overlap as much as
    possible, so answers stay usable.
    """
    digests = bytearray()
    for one in ids:
        digests += hashlib.sha256(f"{seed}/{one}".encode()).digest()[:16]
    keys = np.frombuffer(digests, ">u8").reshape(-1, 2)
    order = np.lexsort((keys[:, 1], keys[:, 0], strata))
    starts = np.searchsorted(strata[order], strata)
    place = np.empty(len(strata), np.int64)
    place[order] = np.arange(len(strata))
    return place - starts
