"""Confident learning's default rule, prune by noise rate, in one pass over the probabilities and little memory.

The rule and its roundings are cleanlab's (`find_label_issues` with its defaults), and it finds the same samples, ties
included, with less work. cleanlab copies the matrix three times and sorts every class for every other class. Here
each row is read once for its largest entry, and only rows that the rule could flag are ranked.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.kit.labels.classes import by_class
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints, Reals


BLOCK = 1 << 18
"""Entries of the matrix that are read at a time: one megabyte of float32, so that they stay in the cache."""
STRIP = 256
"""Rows that are copied and transposed at a time, so that the copy and its transpose stay in the cache."""
NEARLY = 1e-6
"""Probabilities that differ by less count as equal (cleanlab's `FLOATING_POINT_COMPARISON`)."""
UNREACHABLE = 2
"""Threshold of a class without labelled samples."""


def check_probabilities(y: Ints, p: Reals, *, off_by: float = 1e-3) -> None:
    """Check that every row has a label in 0..K-1 and a probability distribution.

    Raises:
        RecipeError: naming the row and the value.
    """
    if p.ndim != 2 or len(p) != len(y):
        raise RecipeError(f"probabilities have shape {p.shape} for {len(y)} labels; they must be [N, K]")
    if bad := np.flatnonzero((y < 0) | (y >= p.shape[1])).tolist():
        raise RecipeError(f"row {bad[0]} has label {y[bad[0]]}, but there are probabilities of {p.shape[1]} classes")
    for start, block in blocks(p):
        total = block.sum(axis=1, dtype=p.dtype)
        wrong = ~(np.abs(total - 1) <= off_by)
        if wrong.any():
            row = int(wrong.argmax())
            raise RecipeError(f"row {start + row}: its probabilities sum to {total[row]:.6g}, not to 1; normalise them")
        if block.min() < -NEARLY:
            row = int((block < -NEARLY).any(axis=1).argmax())
            raise RecipeError(f"row {start + row} has probability {block[row].min():.6g}, below 0")


def confident_thresholds(y: Ints, p: Reals) -> Reals:
    """Mean probability `[K]` of class j over the samples labelled j; `UNREACHABLE` for a class without samples."""
    order, ends = by_class(y, p.shape[1])
    own = p[np.arange(len(y)), y][order]  # not p[order, y[order]]: a large p is read from disk row by row
    means = [own[a:b].mean() if b > a else UNREACHABLE for a, b in pairwise(ends)]
    return np.clip(means, 2 * NEARLY, None)


def prune_by_noise_rate(y: Ints, p: Reals) -> tuple[Bools, Ints]:
    """The samples that cleanlab's default rule flags, and the estimated counts behind them.

    Args:
        y: labels `[N]` in 0..K-1.
        p: out-of-sample probabilities `[N, K]`.

    Returns:
        `flags [N]`, and `joint [K, K]`: how many samples labelled i are estimated to be j. For i != j the rule takes
        that many samples labelled i with the largest p_j - p_i, and unflags those whose own label is the likeliest.
    """
    classes = p.shape[1]
    flags = np.zeros(len(y), dtype=bool)
    if not len(y):
        return flags, np.zeros((classes, classes), dtype=np.int64)
    guess, settled = _confident_guesses(y, p, confident_thresholds(y, p))
    seen = guess >= 0
    # column by column, as the last bit of a float sum, and so the rounding of a half, depends on the order
    columns = np.bincount(guess[seen] * classes + y[seen], minlength=classes**2).reshape(classes, classes)
    joint = scaled_joint(columns.T, np.bincount(y, minlength=classes))
    order, ends = by_class(y, classes)
    for given, wanted in enumerate(_leave_one(joint)):
        rows = order[ends[given] : ends[given + 1]]
        wanted[given] = 0
        if len(rows) > 1 and wanted.any():
            candidates = rows[~settled[rows]]
            others = np.flatnonzero(wanted)
            for some in np.array_split(others, min(len(others), len(candidates) * len(others) // BLOCK + 1)):
                _take_largest_margins(p, given, some, wanted[some], rows, candidates, flags)
    return flags & ~settled, joint


def margins(y: Ints, p: Reals, thresholds: Reals) -> tuple[Reals, Reals, Ints]:
    """Normalised margins, plain and adjusted by the class thresholds, and the likeliest class; each `[N]`.

    The margin is (p_y - max over j != y of p_j + 1) / 2, in [0, 1]. The adjusted margin is that of p_j - t_j + max t,
    scaled to sum to one (cleanlab's `adjust_pred_probs`), so a class that the model is never sure of isn't suspect.
    """
    plain, adjusted = np.ones(len(y), dtype=p.dtype), np.ones(len(y), dtype=p.dtype)
    likeliest = np.zeros(len(y), dtype=np.int64)
    if p.shape[1] < 2:
        return plain, adjusted, likeliest
    from cleanlab.rank import get_normalized_margin_for_each_label

    shift = (thresholds.max() - thresholds).astype(p.dtype)
    for start, block in blocks(p):
        rows = slice(start, start + len(block))
        likeliest[rows] = block.argmax(axis=1)
        plain[rows] = get_normalized_margin_for_each_label(y[rows], block)
        moved = block + shift
        moved /= moved.sum(axis=1, keepdims=True)
        adjusted[rows] = get_normalized_margin_for_each_label(y[rows], moved)
    return plain, adjusted, likeliest


def scaled_joint(joint: Ints, counts: Ints) -> Ints:
    """The confident joint scaled so that row i sums to `counts[i]`, in integers; each class has a right sample."""
    np.fill_diagonal(joint, joint.diagonal().clip(min=1))
    scaled = (joint.T / np.clip(joint.sum(axis=1), 1e-100, None) * counts).T
    scaled = scaled / np.clip(np.sum(scaled), 1e-100, None) * counts.sum()
    whole = scaled.round()
    gaps = np.round(scaled.sum(axis=1).round() - whole.sum(axis=1)).astype(int)
    for row in np.flatnonzero(gaps):
        step = -1 if gaps[row] < 0 else 1
        whole[row, np.argsort(scaled[row] - whole[row])[::-step][: abs(gaps[row])]] += step
    return np.asarray(whole, dtype=np.int64)


def blocks(p: Reals) -> Iterator[tuple[int, Reals]]:
    """The matrix in blocks of rows, each with the number of its first row."""
    rows = max(1, BLOCK // max(1, p.shape[1]))
    for start in range(0, len(p), rows):
        yield start, p[start : start + rows]


def _confident_guesses(y: Ints, p: Reals, thresholds: Reals) -> tuple[NDArray[np.int32], Bools]:
    """The confident class of each sample, -1 for none, and whether its own label is (nearly) the likeliest.

    With several confident classes it is the likeliest class. So the likeliest class is the answer whenever it is
    confident, and only the other rows must be compared with all thresholds.
    """
    limits = thresholds - NEARLY
    guess = np.empty(len(y), dtype=np.int32)
    settled = np.empty(len(y), dtype=bool)
    for start, block in blocks(p):
        rows, given = np.arange(len(block)), y[start : start + len(block)]
        top = block.argmax(axis=1)
        largest, own = block[rows, top], block[rows, given] + NEARLY
        settled[start : start + len(block)] = (top == given) | (own > largest) | ((own == largest) & (given < top))
        doubtful = np.flatnonzero(~(largest >= limits[top]))
        confident = block[doubtful] >= limits
        several = confident.sum(axis=1)
        only = np.where(several == 0, -1, confident.argmax(axis=1))
        top[doubtful] = np.where(several > 1, top[doubtful], only)
        guess[start : start + len(block)] = top
    return guess, settled


def _leave_one(joint: Ints) -> Ints:
    """The joint with at least one right sample per class; where one is missing, the other counts each give a share."""
    right = np.maximum(joint.diagonal(), 1)
    shares = (right - joint.diagonal()) / np.maximum(np.count_nonzero(joint, axis=1) - 1, 1)
    return np.asarray(np.maximum(joint - shares[:, None], 0), dtype=np.int64)


def _take_largest_margins(
    p: Reals, given: int, others: Ints, wanted: Ints, rows: Ints, candidates: Ints, flags: Bools
) -> None:
    """Flag, for each other class j, the `wanted[j]` samples among `rows` with the largest p_j - p_given.

    A row that isn't a candidate has no margin above `NEARLY` and is never flagged in the end. So ranking the candidates
    is enough if the last one taken lies above that and has no ties; otherwise all rows are ranked, as in cleanlab.
    """
    most = int(wanted.max())
    whole = np.ones(len(others), dtype=bool)
    if most <= len(candidates):
        margins = np.empty((len(others), len(candidates)), dtype=p.dtype)
        for start in range(0, len(candidates), STRIP):
            part = candidates[start : start + STRIP]
            margins[:, start : start + STRIP] = p[part][:, others].T - p[part, given]
        top = np.sort(np.partition(margins, len(candidates) - most, axis=1)[:, len(candidates) - most :], axis=1)
        last = np.take_along_axis(top, (most - wanted)[:, None], axis=1)
        alone = (margins >= last).sum(axis=1) == wanted
        whole = ~alone | (last[:, 0] <= 3 * NEARLY)
        flags[candidates[(margins[~whole] >= last[~whole]).any(axis=0)]] = True
    for j, number in zip(others[whole], wanted[whole], strict=True):
        margin = p[rows, j] - p[rows, given]
        flags[rows[np.argsort(-margin)[:number]]] = True
