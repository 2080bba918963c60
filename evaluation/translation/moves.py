"""Compute how a classifier's answers change when a photograph moves, with intervals over the photographs.

Consistency and robustness as in Shifman & Weiss, ECCV 2024 (arXiv 2404.07153): a photograph counts as changed at radius
r if its top-1 class changes for some shift of at most r pixels in both directions, among the shifts that there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.generators.translation.windows import BORDERS
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.pairing import UNSCORED
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

NOTICED = 0.1
"""A change of the label's probability that is counted."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Rows of a table: the photographs that have an original and all shifts of one border.

    Attributes:
        shifts: to the right and down, in pixels, `[K, 2]`.
        photograph: number of each, `[n]`.
        original: row of its original, `[n]`.
        moved: row of each of its shifts, `[n, K]`.
        left_out: number of photographs that lack the original or a shift.
    """

    shifts: Ints
    photograph: Ints
    original: Ints
    moved: Ints
    left_out: int


def moves(rows: Bools, photograph: Ints, border: Array, shift: Ints, original: Bools) -> dict[str, Moves]:
    """The moves among some rows of a table, by border.

    Args:
        rows: which ones, `[N]`; each photograph has at most one original and one row of each shift and border.
        photograph: number of each row's, `[N]`.
        border: of each row, `""` for a picture that wasn't moved, `[N]`.
        shift: to the right and down, `[N, 2]`.
        original: whether it is a photograph's original, `[N]`.
    """
    size = int(photograph.max(initial=-1)) + 1
    first, unmoved = np.full(size, -1), np.flatnonzero(rows & original)
    first[photograph[unmoved]] = unmoved
    found: dict[str, Moves] = {}
    for name in BORDERS:
        mine = np.flatnonzero(rows & (border == name))
        if not len(mine):
            continue
        shifts, which = np.unique(shift[mine], axis=0, return_inverse=True)
        moved = np.full((size, len(shifts)), -1)
        moved[photograph[mine], which.reshape(-1)] = mine
        there = (first >= 0) | (moved >= 0).any(axis=1)
        kept = np.flatnonzero((first >= 0) & (moved >= 0).all(axis=1))
        found[name] = Moves(shifts, kept, first[kept], moved[kept], int(there.sum()) - len(kept))
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """A classifier's answers, by row of the table, `[N]`.

    Attributes:
        top1: the likeliest output.
        label: output of the label, `UNSCORED` for none.
        right: whether the likeliest output is a label.
        p_label: probability of the label, NaN for none.
    """

    top1: Ints
    label: Ints
    right: Bools
    p_label: Floats


class Intervals:
    """Means over photographs, whose intervals `results` fills in."""

    def __init__(self, size: int, results: Results) -> None:
        self._size, self._results = size, results

    def mean(self, photograph: Ints, values: Array, **more: Json) -> dict[str, Json] | None:
        """The mean in percent of values `[n]` or `[n, K]` of these photographs `[n]`; None without any."""
        if not values.size:
            return None
        values = values.reshape(len(photograph), -1).astype(np.float64)
        top, bottom = (np.zeros((self._size, 1)) for _ in range(2))
        top[photograph, 0], bottom[photograph, 0] = values.sum(axis=1), values.shape[1]
        return self._results.told(top, bottom, **more)


def of_moves(answers: Told, found: Moves, means: Intervals) -> dict[str, Json]:
    """Figures of one classifier and one border in percent.

    `changed` is the share of photographs whose class changes for some shift, `radii` the same by radius, `single` the
    share of single moved pictures. `right_to_wrong` is the share of photographs that are right, and wrong for some
    shift. `p_change` is the mean change of the label's probability in percentage points, `p_noticed` the share of
    photographs where it is above `NOTICED` for some shift.
    """
    one, many = found.photograph, found.moved
    changed = answers.top1[many] != answers.top1[found.original][:, None]
    reach = np.abs(found.shifts).max(axis=1)
    radii: dict[str, Json] = {
        str(radius): means.mean(one, changed[:, reach <= radius].any(axis=1)) for radius in np.unique(reach).tolist()
    }
    labelled = answers.label[found.original] != UNSCORED
    some, its = one[labelled], many[labelled]
    right, wrong = answers.right[found.original[labelled]], ~answers.right[its]
    p_change = np.abs(answers.p_label[its] - answers.p_label[found.original[labelled]][:, None])
    return {
        "n": len(one),
        "left_out": found.left_out,
        "shifts": len(found.shifts),
        "changed": means.mean(one, changed.any(axis=1)),
        "single": means.mean(one, changed),
        "radii": radii,
        "labelled": len(some),
        "original_accuracy": means.mean(some, right),
        "accuracy": means.mean(some, ~wrong),
        "right_to_wrong": means.mean(some, right & wrong.any(axis=1)),
        "p_change": means.mean(some, p_change),
        "p_noticed": means.mean(some, (p_change > NOTICED).any(axis=1)),
    }


def agreement(crops: Ints, found: Moves, means: Intervals) -> dict[str, Json]:
    """Measure how often the chosen crop moves along with the photograph, in percent, for shifts by one pixel.

    Args:
        crops: left and top of the crop of each row, `[N, 2]`.
        found: of one border.
        means: gets the figures.
    """
    same = (crops[found.moved] + found.shifts == crops[found.original][:, None]).all(axis=2)
    reach = np.abs(found.shifts)
    kinds = {"straight": reach.sum(axis=1) == 1, "diagonal": (reach == 1).all(axis=1)}
    return {name: means.mean(found.photograph, same[:, which]) for name, which in kinds.items()}


def cosines(embeddings: Mapping[int, bytes] | Sequence[bytes], found: Moves) -> dict[str, Json]:
    """Mean and least cosine of the embeddings of moved pictures and their originals; float16 as bytes, by row."""
    total, least, number = 0.0, 1.0, 0
    for original, rows in zip(found.original.tolist(), found.moved.tolist(), strict=True):
        vectors = np.stack([np.frombuffer(embeddings[row], np.float16) for row in (original, *rows)]).astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        both = lengths[0] * lengths[1:]
        cosine = np.divide(vectors[1:] @ vectors[0], both, out=np.zeros(len(rows)), where=both > 0)
        total, least, number = total + float(cosine.sum()), min(least, float(cosine.min())), number + len(rows)
    return {"mean": round(total / number, 4), "least": round(least, 4)} if number else {"mean": None, "least": None}
