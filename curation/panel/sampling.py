"""Which pictures people are asked to look at: strata, and a random order within each that any table agrees on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STATES = ("unflagged", "flagged")
TIERS = ("head", "mid", "tail")


@dataclass(frozen=True, slots=True)
class Population:
    """The pictures that an audit speaks of.

    Attributes:
        rows: `[n]` where they are in the table.
        stratum: `[n]` of each.
        names: of the H strata, `unflagged/tail`.
        pictures: `[H]` in each.
        drawn: `[H]` to be reviewed.
        order: `[n]` place of each in its stratum's random order; the first `drawn` are reviewed.
    """

    rows: Ints
    stratum: Ints
    names: list[str]
    pictures: Ints
    drawn: Ints
    order: Ints

    def chosen(self, wrong: Floats | None = None) -> Bools:
        """The pictures drawn, `[n]`; with answers, also the strata that are wholly answered.

        Other answers were given for a reason, a suspicion mostly, and would make the edition look worse than it is.
        """
        drawn = self.drawn
        if wrong is not None:
            missing = np.bincount(self.stratum[np.isnan(wrong)], minlength=len(drawn))
            drawn = np.where(missing == 0, self.pictures, drawn)
        return np.asarray(self.order < drawn[self.stratum])


def class_tiers(y: Ints) -> Ints:
    """0 head, 1 mid, 2 tail for each picture `[n]`, by the size of its class among the classes.

    A class is of the tail if its mid-rank by size is in the lowest third, so that classes of one size are never torn
    apart and a balanced edition is all mid.
    """
    if not len(y):
        return np.zeros(0, np.int64)
    classes, which, sizes = np.unique(y, return_inverse=True, return_counts=True)
    smaller = np.searchsorted(np.sort(sizes), sizes, side="left")
    not_larger = np.searchsorted(np.sort(sizes), sizes, side="right")
    rank = (smaller + not_larger) / 2 / len(classes)
    return np.where(rank < 1 / 3, 2, np.where(rank > 2 / 3, 0, 1))[which].astype(np.int64)


def split(flagged: Bools, tiers: Ints, values: NDArray[Any] | None) -> tuple[Ints, list[str]]:
    """Stratum of each picture, and the strata's names in order."""
    kinds, code = np.unique(values, return_inverse=True) if values is not None else (np.array([""]), 0)
    whole = (flagged.astype(np.int64) * len(TIERS) + tiers) * len(kinds) + code
    found, stratum = np.unique(whole, return_inverse=True)
    names = []
    for one in found.tolist():
        rest, kind = divmod(one, len(kinds))
        state, tier = divmod(rest, len(TIERS))
        names.append("/".join([STATES[state], TIERS[tier], *([str(kinds[kind])] if values is not None else [])]))
    return stratum.astype(np.int64), names


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
