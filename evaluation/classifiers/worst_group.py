"""Make the row of a report about a classifier's worst group: the least accuracy of several groups of photographs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.predicted.offered import NO_ORIGINALS, Asked
from variorum.schemas.component import ClassInfo
from variorum.schemas.rows import Answers

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints

DRAWS = 100
"""Of groups at random, for the least rate of groups that don't differ."""


def worst_group(
    asked: Asked, keys: Sequence[str], least: int, most: int, classes: Sequence[ClassInfo], seed: int
) -> Answers:
    """A model's accuracy on the originals by group.

    Groups are those of the first of these keys that the metadata has, or of the key that groups most photographs; where
    no key groups them, they are the classes. `floor` is the least rate that such groups show on average if all are
    equally hard.

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
        return Answers("worst", asked.model, why_not=NO_ORIGINALS)
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
        why = f"fewer than two groups or classes have {least} photographs"
        return Answers("worst", asked.model, why_not=why)
    kept = group >= 0
    right, group = asked.right[rows[kept]], group[kept]
    return asked.share(
        "worst",
        rows[kept],
        right,
        group,
        names,
        axes={"group": tuple(names)},
        floor=_equal(right, group, seed),
        note=f"{len(names)} groups by {by}" if by != "class" else f"{len(names)} classes",
    )


def _groups(values: Array, units: Ints, least: int) -> tuple[list[str], Ints]:
    """Names of the values that enough photographs have, and the number of each row's, -1 for none; `""` is none."""
    names, which = np.unique(values.astype(str), return_inverse=True)
    which = which.reshape(-1)
    pairs = np.unique(np.stack([which, units]), axis=1)
    enough = (np.bincount(pairs[0], minlength=len(names)) >= least) & (names != "")
    number = np.where(enough, np.cumsum(enough) - 1, -1)
    return names[enough].tolist(), number[which]


def _equal(right: Array, group: Ints, seed: int) -> float:
    """Mean of the least rate when answers are put into groups of these sizes at random."""
    rng, sizes = np.random.default_rng(seed), np.bincount(group)
    ends = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    least = [(np.add.reduceat(rng.permutation(right).astype(np.int64), ends) / sizes).min() for _ in range(DRAWS)]
    return float(np.mean(least))
