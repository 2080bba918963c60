"""Consensus of people's answers to "is this label right?": Dawid–Skene with two truths and three answers.

What is asked is a cell, one label of one picture; the truth of a cell is no or yes, an answer is no, maybe or yes.
Each rater's habits are learnt as a table of answers given the truth, so that a cautious rater's "maybe" counts for
what it is worth. A table of K classes x K classes would need about K votes a rater and class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SourceError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")

NO, MAYBE, YES = 0, 1, 2
ANSWERS = 3


@dataclass(frozen=True, slots=True)
class Consensus:
    """What `dawid_skene` found.

    Attributes:
        p: probability `[C]` that the label of a cell is right; the prior where nobody answered.
        confusion: `[R, 2, 3]`, how often a rater says no, maybe, yes when the truth is no (0) or yes (1).
        prior: share of cells whose label is right.
        log_likelihood: of all answers, in nats.
        steps: EM steps taken.
    """

    p: Floats
    confusion: Floats
    prior: float
    log_likelihood: float
    steps: int

    def informativeness(self) -> Floats:
        """Bits `[R]` that one answer of a rater tells of the truth (mutual information); 0 for one who guesses."""
        truth = np.array([1 - self.prior, self.prior])
        joint = truth[None, :, None] * self.confusion
        independent = truth[None, :, None] * joint.sum(axis=1, keepdims=True)
        ratio = np.divide(joint, independent, out=np.ones_like(joint), where=joint > 0)
        return np.asarray((joint * np.log2(ratio)).sum(axis=(1, 2)))


def dawid_skene(
    cells: Ints,
    raters: Ints,
    answers: Ints,
    *,
    gold: Floats | None = None,
    smoothing: float = 0.01,
    pooling: float = 0.0,
    tolerance: float = 1e-5,
    max_steps: int = 50,
) -> Consensus:
    """Expectation–maximisation over all answers at once (Dawid & Skene 1979).

    Time and memory are linear in the number of answers; cells and raters are numbered from 0.

    Args:
        cells: `[A]` which cell was judged.
        raters: `[A]` by whom.
        answers: `[A]` 0 no, 1 maybe, 2 yes.
        gold: `[C]` known truths 0 or 1, NaN where unknown; they stay as they are and anchor the raters.
            Its length says how many cells there are.
        smoothing: added to every count of a rater's table: .01 for large sets, up to 1 for small ones.
        pooling: answers' worth of the mean rater's table added to each rater's; about 10 where raters gave few.
        tolerance: stop when the log-likelihood changes by less than this a cell.
        max_steps: stop anyhow.

    Raises:
        SourceError: arrays of different lengths, numbers out of range, a gold truth other than 0, 1, NaN.
    """
    cells, raters, answers = (np.asarray(array, np.int64) for array in (cells, raters, answers))
    if not len(cells) == len(raters) == len(answers):
        raise SourceError(f"votes: {len(cells)} cells, {len(raters)} raters, {len(answers)} answers; one each a vote")
    if len(answers) and not ((answers >= 0) & (answers < ANSWERS)).all():
        raise SourceError(f"votes: answers must be 0 (no), 1 (maybe), 2 (yes), not {sorted(set(answers.tolist()))}")
    known = np.full(int(cells.max(initial=-1)) + 1, np.nan) if gold is None else np.asarray(gold, np.float64)
    if len(cells) and not (cells.min() >= 0 and cells.max() < len(known)):
        raise SourceError(f"votes: cells run from {cells.min()} to {cells.max()}, gold has {len(known)}; one a cell")
    if raters.min(initial=0) < 0:
        raise SourceError(f"votes: raters are numbered from 0, there is {raters.min()}")
    if not smoothing > 0:
        raise SourceError(f"votes: smoothing must be above 0, not {smoothing}; nobody never errs")
    anchored = ~np.isnan(known)
    if not np.isin(known[anchored], (0, 1)).all():
        raise SourceError("gold truths must be 0 or 1, NaN where unknown")

    number, habit = int(raters.max(initial=-1)) + 1, raters * ANSWERS + answers
    p = vote_share(cells, answers, len(known))
    before, steps = -np.inf, 0
    while True:
        p = np.where(anchored, known, p)
        prior = float(np.clip(p.mean(), 1e-9, 1 - 1e-9)) if len(p) else 0.5
        confusion = _confusion(p, cells, habit, number, smoothing, pooling)
        p, log_likelihood = _posterior(prior, confusion, cells, habit, known)
        steps += 1
        if abs(log_likelihood - before) <= tolerance * len(p) or steps == max_steps:
            return Consensus(p, confusion, prior, log_likelihood, steps)
        before = log_likelihood


def vote_share(cells: Ints, answers: Ints, number: int) -> Floats:
    """(yes + maybe / 2) / votes of each of `number` cells; the mean over cells where there is no vote, or 1/2."""
    votes = np.bincount(cells, minlength=number)
    share = np.bincount(cells, weights=answers / (ANSWERS - 1), minlength=number) / np.maximum(votes, 1)
    return np.where(votes > 0, share, share[votes > 0].mean() if votes.any() else 0.5)


def model_votes(p: Floats, edges: tuple[float, float] = (1 / 3, 2 / 3)) -> Ints:
    """A model's probabilities `[C]` as answers 0, 1, 2, so that it can sit on the panel as one more rater.

    Its table is then learnt like a person's, which calibrates it by the way.
    """
    return np.digitize(p, edges).astype(np.int64)


def label_sets(pictures: Sequence[T], labels: Ints, p: Floats, threshold: float = 0.8) -> dict[T, list[int]]:
    """The labels of each picture whose cells have `p >= threshold`, in rising order; an empty list where none has.

    `pictures` and `labels` say what each of the `[C]` cells is. .8 is the threshold behind the published reassessed
    ImageNet labels (Beyer et al. 2020, arXiv 2006.07159), which leave pictures with an empty list out of evaluation.
    """
    sets: dict[T, list[int]] = {picture: [] for picture in pictures}
    for picture, label, keep in zip(pictures, labels.tolist(), p >= threshold, strict=True):
        if keep:
            sets[picture].append(label)
    return {picture: sorted(found) for picture, found in sets.items()}


def _confusion(p: Floats, cells: Ints, habit: Ints, number: int, smoothing: float, pooling: float) -> Floats:
    """Tables `[R, 2, 3]` of answers given the truth."""
    of_cell = p[cells]
    yes = np.bincount(habit, weights=of_cell, minlength=number * ANSWERS)
    every = np.bincount(habit, minlength=number * ANSWERS)
    counts = np.stack([every - yes, yes], axis=1).reshape(number, ANSWERS, 2).transpose(0, 2, 1)
    counts = np.maximum(counts, 0) + smoothing
    if pooling and number:
        mean = counts.sum(axis=0)
        counts = counts + pooling * mean / mean.sum(axis=1, keepdims=True)
    return np.asarray(counts / counts.sum(axis=2, keepdims=True))


def _posterior(prior: float, confusion: Floats, cells: Ints, habit: Ints, known: Floats) -> tuple[Floats, float]:
    """Probabilities `[C]` of yes, and the log-likelihood of all answers."""
    logs = np.log(confusion)
    no = np.log1p(-prior) + np.bincount(cells, weights=logs[:, 0].reshape(-1)[habit], minlength=len(known))
    yes = np.log(prior) + np.bincount(cells, weights=logs[:, 1].reshape(-1)[habit], minlength=len(known))
    either = np.logaddexp(no, yes)
    p = np.exp(yes - either)
    evidence = np.where(np.isnan(known), either, np.where(known == 1, yes, no))
    return np.where(np.isnan(known), p, known), float(evidence.sum())
