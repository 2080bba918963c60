"""Make a report's rows about a classifier's groups of photographs: the least accuracy of several, and their spread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.predicted.offered import NO_ORIGINALS, Asked
from variorum.schemas.component import ClassInfo
from variorum.schemas.rows import Answers

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints

DRAWS = 100
"""Of groups at random, for the least rate of groups that don't differ."""


def worst_group(
    asked: Asked, keys: Sequence[str], least: int, most: int, classes: Sequence[ClassInfo], seed: int
) -> tuple[Answers, Answers]:
    """A model's accuracy on the originals by group: the `worst`, and the `spread`, the best one's less the worst one's.

    Groups are those of the first of these keys that the metadata has, or of the key that groups most photographs; where
    no key groups them, they are the classes. `floor` is the least rate, or the spread, that such groups show on average
    if all are equally hard.

    Args:
        asked: the model's answers.
        keys: of the metadata, to be tried first.
        least: photographs that a group must have.
        most: groups that a key may have.
        classes: of the edition, for their names.
        seed: of the groups at random.
    """
    rows = np.flatnonzero(asked.original & asked.scored)
    if not len(rows):
        return _neither(asked, NO_ORIGINALS)
    texts, place = np.unique(asked.table["metadata"][rows], return_inverse=True)
    known = [json.loads(text) for text in texts]
    there = sorted({key for one in known for key in one})
    units = asked.photographs.of_row[rows]
    found: list[tuple[str, list[str], Ints]] = []
    for key in [*(key for key in keys if key in there), *(key for key in there if key not in keys)]:
        values = np.array([one.get(key, "") for one in known], object)[place.reshape(-1)]
        names, group = _groups(values, units, least)
        if 2 <= len(names) <= most:
            found.append((key, names, group))
            if key in keys:
                break
    if not found:
        names, group = _groups(asked.table["class"][rows], units, least)
        called = {one.id: one.name for one in classes}
        found.append(("class", [called.get(name, name) for name in names], group))
    by, names, group = max(found, key=lambda one: (one[0] in keys, int((one[2] >= 0).sum())))
    if len(names) < 2:
        return _neither(asked, f"fewer than two groups or classes have {least} photographs")
    kept = group >= 0
    right, group = asked.right[rows[kept]], group[kept]
    floors = _equal(right, group, seed)
    worst = asked.share(
        "worst",
        rows[kept],
        right,
        group,
        names,
        axes={"group": tuple(names)},
        floor=floors[0],
        note=f"{len(names)} groups by {by}" if by != "class" else f"{len(names)} classes",
    )

    told: Any = worst

    def spread(counts: Floats) -> float:
        top, bottom = counts @ told.top, counts @ told.bottom
        return float(np.ptp(top[bottom > 0] / bottom[bottom > 0])) if bottom.any() else float("nan")

    apart = Answers("spread", asked.model, worst.photographs, whole=spread, floor=floors[1], note=worst.note)
    return worst, apart


def _neither(asked: Asked, why: str) -> tuple[Answers, Answers]:
    return Answers("worst", asked.model, why_not=why), Answers("spread", asked.model, why_not=why)


def _groups(values: Array, units: Ints, least: int) -> tuple[list[str], Ints]:
    """Names of the values that enough photographs have, and the number of each row's, -1 for none; `""` is none."""
    names, which = np.unique(values.astype(str), return_inverse=True)
    which = which.reshape(-1)
    pairs = np.unique(np.stack([which, units]), axis=1)
    enough = (np.bincount(pairs[0], minlength=len(names)) >= least) & (names != "")
    number = np.where(enough, np.cumsum(enough) - 1, -1)
    return names[enough].tolist(), number[which]


def _equal(right: Array, group: Ints, seed: int) -> tuple[float, float]:
    """Mean of the least rate and of the spread when answers are put into groups of these sizes at random."""
    rng, sizes = np.random.default_rng(seed), np.bincount(group)
    ends = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    drawn = [np.add.reduceat(rng.permutation(right).astype(np.int64), ends) / sizes for _ in range(DRAWS)]
    return float(np.mean([one.min() for one in drawn])), float(np.mean([np.ptp(one) for one in drawn]))
