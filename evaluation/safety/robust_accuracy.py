"""Compute labelers' robust accuracy by attack and strength, from the rows that `safety_robustness` measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.safety.truths import UNSAFE
from variorum.kit.predicted.drops import Results
from variorum.kit.resampling.separation import Draws
from variorum.schemas.canonical import Json
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

CLEAN, WORST = "", "any of these"
"""In place of an attack: the picture as it is; a picture withstands only what it withstands of all attacks."""


class Rows:
    """The table as arrays `[N]`."""

    def __init__(self, table: Table) -> None:
        def texts(name: str) -> Array:
            return table[name].astype(str)

        self.labeler, self.judge, self.attack = texts("labeler"), texts("judge"), texts("attack")
        self.group, self.picture = texts("group"), np.unique(texts("id"), return_inverse=True)[1].astype(np.int64)
        names, photograph = np.unique(texts("photograph"), return_inverse=True)
        self.photograph: Ints = photograph.astype(np.int64)
        self.photographs = len(names)
        self.epsilon: Ints = np.asarray(table["epsilon"], np.int64)
        self.unsafe: Bools = np.asarray(table["truth"], np.float64) == UNSAFE
        self.right: Bools = np.asarray(table["right"], bool)
        self.gradients, self.needed, self.limit = (
            np.asarray(table[name], np.float64) for name in ("gradients", "needed", "limit")
        )


def of_labeler(rows: Rows, labeler: str, attacks: Sequence[str], results: Results) -> dict[str, Json]:
    """Figures of one attacked labeler in percent, which `results` completes.

    `clean` is the accuracy without an attack. `withstood` has, by attack and ε, the share of the pictures that were
    right without one and still are: of all, of `safe` and of `unsafe` ones, and by group where there are several; and
    what the attack took. `transfer` has the same share for other labelers that were right, on the pictures that were
    made to fool this one.
    """
    own = (rows.labeler == labeler) & (rows.judge == labeler)
    clean = own & (rows.attack == CLEAN)
    if not clean.any():
        return {}
    found: dict[str, Json] = {
        "pictures": int(clean.sum()),
        "unsafe": int((clean & rows.unsafe).sum()),
        "clean": _share(rows, clean, rows.right, results),
        "attacked": len(np.unique(rows.picture[own & (rows.attack != CLEAN)])),
    }
    epsilons = [int(one) for one in np.unique(rows.epsilon[own & (rows.attack != CLEAN)])]
    withstood: dict[str, Json] = {}
    for attack in attacks:
        mine = own & (rows.attack == attack)
        if mine.any():
            withstood[attack] = {
                str(epsilon): {**_parts(rows, at, rows.right, results), **_cost(rows, at)}
                for epsilon in epsilons
                if (at := mine & (rows.epsilon == epsilon)).any()
            }
    if epsilons:
        worst: dict[str, Json] = {}
        for epsilon in epsilons:
            at = own & (rows.attack != CLEAN) & (rows.epsilon <= epsilon)
            fallen = np.bincount(rows.picture[at], ~rows.right[at], rows.picture.max() + 1) > 0
            first = np.zeros(len(at), bool)
            first[np.flatnonzero(at)[np.unique(rows.picture[at], return_index=True)[1]]] = True
            worst[str(epsilon)] = _parts(rows, first, ~fallen[rows.picture], results)
        withstood[WORST] = worst
    needed = rows.needed[own & np.isfinite(rows.needed)]
    if len(needed):
        middle = np.quantile(needed, (0.25, 0.5, 0.75))
        found["needed"] = {"low": _two(middle[0]), "median": _two(middle[1]), "high": _two(middle[2])}
    return {**found, "withstood": withstood, "transfer": _transfer(rows, labeler, attacks, epsilons, results)}


def _transfer(
    rows: Rows, labeler: str, attacks: Sequence[str], epsilons: Sequence[int], results: Results
) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for judge in dict.fromkeys(rows.judge[(rows.labeler == labeler) & (rows.judge != labeler)].tolist()):
        mine = (rows.labeler == labeler) & (rows.judge == judge)
        found[str(judge)] = {
            attack: {
                str(epsilon): {"n": int(at.sum()), "all": _share(rows, at, rows.right, results)}
                for epsilon in epsilons
                if (at := mine & (rows.attack == attack) & (rows.epsilon == epsilon)).any()
            }
            for attack in attacks
        }
    return found


def _parts(rows: Rows, at: Bools, right: Bools, results: Results) -> dict[str, Json]:
    groups = np.unique(rows.group[at]).tolist()
    parts = {"safe": at & ~rows.unsafe, "unsafe": at & rows.unsafe}
    by_group: dict[str, Json] = {
        str(name): _share(rows, at & (rows.group == name), right, results) for name in groups if len(groups) > 1
    }
    return {
        "n": int(at.sum()),
        "all": _share(rows, at, right, results),
        **{name: _share(rows, some, right, results) if some.any() else None for name, some in parts.items()},
        "groups": by_group,
    }


def _cost(rows: Rows, at: Bools) -> dict[str, Json]:
    """Mean number of gradients a picture, and the largest change in grey levels."""
    return {"gradients": _two(rows.gradients[at].mean()), "limit": int(rows.limit[at].max())}


def _share(rows: Rows, at: Bools, right: Bools, results: Results) -> dict[str, Json]:
    def by_photograph(which: Bools) -> Floats:
        return np.bincount(rows.photograph[which], minlength=rows.photographs).astype(np.float64)[:, None]

    return results.of(by_photograph(at & right), by_photograph(at))


def results_of(rows: Rows, bootstrap: int, confidence: float, seed: int) -> Results:
    """Figures whose intervals are of the same resamples of photographs."""
    return Results(Draws(rows.photographs, bootstrap, confidence, seed).resamples)


def _two(value: float) -> float:
    return round(float(value), 2)
