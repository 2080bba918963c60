"""Which pictures people are asked to look at: strata, and a random order within each that any table agrees on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STATES = ("unflagged", "flagged")
TIERS = ("head", "mid", "tail")
FATES = ("kept", "relabelled", "dropped")
"""What a release makes of a picture; one that people are asked about is kept with its label."""


class Stratum(NamedTuple):
    """Pictures that are drawn from with one chance."""

    state: str
    tier: str
    fate: str
    value: str = ""
    """Of the other column, empty where there is none."""

    @property
    def name(self) -> str:
        """`unflagged/tail/kept`, with the other column's value behind it."""
        return "/".join(filter(None, self))


@dataclass(frozen=True, slots=True)
class Population:
    """The pictures that an audit speaks of.

    Attributes:
        rows: `[n]` where they are in the table.
        stratum: `[n]` of each.
        strata: the H strata.
        pictures: `[H]` in each.
        drawn: `[H]` to be reviewed.
        order: `[n]` place of each in its stratum's random order; the first `drawn` are reviewed.
    """

    rows: Ints
    stratum: Ints
    strata: list[Stratum]
    pictures: Ints
    drawn: Ints
    order: Ints

    def where(self, *wanted: str) -> Bools:
        """The strata `[H]` whose state, tier or fate is among those wanted."""
        return np.array([bool({*stratum[:3]} & {*wanted}) for stratum in self.strata], bool)

    def chosen(self, wrong: Floats | None = None) -> Bools:
        """The pictures drawn, `[n]`; with answers, also the strata that are wholly answered.

        Other answers were given for a reason, a suspicion mostly, and would make the edition look worse than it is.
        """
        drawn = self.drawn
        if wrong is not None:
            missing = np.bincount(self.stratum[np.isnan(wrong)], minlength=len(drawn))
            drawn = np.where(missing == 0, self.pictures, drawn)
        return np.asarray(self.order < drawn[self.stratum])


def split(flagged: Bools, tiers: Ints, fates: Ints, values: NDArray[Any] | None) -> tuple[Ints, list[Stratum]]:
    """Stratum of each picture `[n]`, and the strata in order.

    Args:
        flagged: `[n]` whether a detector suspects it.
        tiers: `[n]` places in `TIERS`.
        fates: `[n]` places in `FATES`.
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


def draw_order(ids: Sequence[str], strata: Ints, seed: int) -> Ints:
    """Place of each picture in a random order of its stratum, from a hash of seed and id: the same in any table.

    With such permanent random numbers (Ohlsson 1995), samples of a table before and after a change overlap as far as
    they can, so that answers stay in use.
    """
    digests = b"".join(hashlib.sha256(f"{seed}/{one}".encode()).digest()[:16] for one in ids)
    keys = np.frombuffer(digests, ">u8").reshape(-1, 2)
    order = np.lexsort((keys[:, 1], keys[:, 0], strata))
    starts = np.searchsorted(strata[order], strata)
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(ids))
    return place - starts
