"""Compute how far raters agree beyond chance, and the interval of a share from few answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints


def answer_counts(items: Ints, answers: Ints, number: int, kinds: int) -> Ints:
    """Number of answers of each of `kinds` to each of `number` items `[N, C]`, from votes in long form."""
    return np.bincount(items * kinds + answers, minlength=number * kinds).reshape(number, kinds).astype(np.int64)


def krippendorff_alpha(counts: Ints) -> float:
    """Krippendorff's α for nominal answers: 1 for full agreement, 0 for chance; answers may be missing.

    Items with fewer than two answers don't count. NaN if there are no others, or if all their answers are the same
    (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    Args:
        counts: `[N, C]` answers of each kind to each item.
    """
    pairable = _pairable(counts)
    votes = pairable.sum(axis=1)
    total = votes.sum()
    expected = total**2 - (pairable.sum(axis=0) ** 2).sum()
    if not expected:
        return float("nan")
    agreeing = ((pairable * (pairable - 1)).sum(axis=1) / (votes - 1)).sum()
    return float(1 - (total - 1) * (total - agreeing) / expected)


def gwet_ac1(counts: Ints) -> float:
    """Gwet's AC1 for nominal answers: 1 for full agreement, 0 for chance.

    Its chance term depends on how hard the items are to tell apart, so it stays meaningful when nearly all answers are
    the same, where α and κ fall to 0 (Gwet 2008, "Computing inter-rater reliability and its variance in the presence of
    high agreement"). NaN if no item has two answers.

    Args:
        counts: `[N, C]` answers of each kind to each item, with C >= 2 possible kinds.
    """
    if np.ndim(counts) == 2 and np.shape(counts)[1] < 2:
        raise SourceError("agreement needs at least two possible kinds of answer")
    pairable = _pairable(counts)
    if not len(pairable):
        return float("nan")
    votes = pairable.sum(axis=1)
    observed = ((pairable * (pairable - 1)).sum(axis=1) / (votes * (votes - 1))).mean()
    answered = np.asarray(counts, np.float64)
    answered = answered[answered.sum(axis=1) > 0]
    share = (answered / answered.sum(axis=1, keepdims=True)).mean(axis=0)
    chance = (share * (1 - share)).sum() / (len(share) - 1)
    return float((observed - chance) / (1 - chance))


def cohen_kappa(table: Ints) -> float:
    """Cohen's κ of two raters: 1 for full agreement, 0 for chance (Cohen 1960).

    NaN without answers, or if both always say the same one thing.

    Args:
        table: `[C, C]` items by the first rater's and the second rater's kind of answer.
    """
    counts = np.asarray(table, np.float64)
    total = counts.sum()
    if not total:
        return float("nan")
    chance = (counts.sum(axis=0) * counts.sum(axis=1)).sum() / total**2
    return float("nan") if chance == 1 else float((np.trace(counts) / total - chance) / (1 - chance))


def _pairable(counts: Ints) -> Floats:
    found = np.asarray(counts, np.float64)
    if found.ndim != 2 or (found < 0).any():
        raise SourceError("agreement needs counts of answers, items x kinds, all at least 0")
    return np.asarray(found[found.sum(axis=1) >= 2])
