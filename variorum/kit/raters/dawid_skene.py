"""Consensus of people's answers to "is this label right?": Dawid–Skene with two truths and three answers.

A question is about a cell, which is one label of one picture. Its truth is no or yes; an answer is no, maybe or yes.
Each rater's table of answers given the truth is learnt, so a cautious rater's "maybe" gets its proper weight. A table
of K classes x K classes would need about K votes per rater and class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

T = TypeVar("T")

NO, MAYBE, YES = 0, 1, 2
ANSWERS = 3


@dataclass(frozen=True, slots=True)
class Consensus:
    """The result of `dawid_skene`.

    Attributes:
        p: `[C]` probability that the label of a cell is right; the prior without answers.
        confusion: `[R, 2, 3]` shares of a rater's answers no, maybe, yes when the truth is no (0) or yes (1).
        prior: share of cells whose label is right.
        log_likelihood: of all answers, in nats.
        steps: EM steps taken.
        priors: `[L]` the same for each label; None without labels.
    """

    p: Floats
    confusion: Floats
    prior: float
    log_likelihood: float
    steps: int
    priors: Floats | None = None

    def informativeness(self) -> Floats:
        """Mutual information `[R]` of a rater's answer and the truth, in bits; 0 for a rater who guesses."""
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
    labels: Ints | None = None,
    share: float | None = None,
    times: Floats | None = None,
    weights: Floats | None = None,
    shrinkage: float = 10.0,
    smoothing: float = 0.01,
    pooling: float = 0.0,
    tolerance: float = 1e-5,
    max_steps: int = 50,
    from_gold: bool = False,
) -> Consensus:
    """Expectation–maximisation over all answers at once (Dawid & Skene 1979).

    Time and memory are linear in the number of answers. Cells and raters are numbered from 0.

    Args:
        cells: `[A]` the cell that was judged.
        raters: `[A]` the rater.
        answers: `[A]` 0 no, 1 maybe, 2 yes.
        gold: `[C]` known truths 0 or 1, NaN if unknown. Known truths are kept fixed. Its length is the number of cells.
        labels: `[C]` number of each cell's label, if each label is to have its own share of right cells.
        share: of right cells, if it isn't to be learnt; between 0 and 1, and only without `labels`.
        times: `[C]` how often each cell is there with these answers; once by default. Cells with equal answers can
            be one, so time and memory depend on the number of different ones only.
        weights: `[R]` exponent of each rater's answers in a cell's probability, above 0; 1 by default. Raters who
            share what they look at, and so their mistakes, get less.
        shrinkage: weight of the share over all cells in that of a label, in cells: a Beta prior, which keeps labels
            with few cells near the others.
        smoothing: added to every count of a rater's table: .01 for large sets, up to 1 for small ones.
        pooling: weight of the mean rater's table added to each rater's, in answers; about 10 if raters gave few.
        tolerance: stop when the log-likelihood changes by less than this per cell.
        max_steps: most EM steps.
        from_gold: start from the raters' answers on known truths, not from the share of their votes, which a majority
            of wrong answers would mislead for good.

    Raises:
        SourceError: arrays of different lengths, numbers out of range, a gold truth other than 0, 1 or NaN, or
            `share`, `times` or `weights` that can't be.
    """
    cells, raters, answers = (np.asarray(array, np.int64) for array in (cells, raters, answers))
    if not len(cells) == len(raters) == len(answers):
        raise SourceError(
            f"votes: {len(cells)} cells, {len(raters)} raters, {len(answers)} answers; the numbers must be equal"
        )
    if len(answers) and not ((answers >= 0) & (answers < ANSWERS)).all():
        raise SourceError(f"votes: answers must be 0 (no), 1 (maybe), 2 (yes), not {sorted(set(answers.tolist()))}")
    known = np.full(int(cells.max(initial=-1)) + 1, np.nan) if gold is None else np.asarray(gold, np.float64)
    if len(cells) and not (cells.min() >= 0 and cells.max() < len(known)):
        raise SourceError(f"votes: cells run from {cells.min()} to {cells.max()}, but gold has {len(known)} values")
    if raters.min(initial=0) < 0:
        raise SourceError(f"votes: raters must be numbered from 0, not {raters.min()}")
    if not smoothing > 0:
        raise SourceError(f"votes: smoothing must be above 0, not {smoothing}")
    if share is not None and (labels is not None or not 0 < share < 1):
        raise SourceError(f"votes: share must be between 0 and 1, and without labels, not {share}")
    if times is not None and not (len(times) == len(known) and (times > 0).all()):
        raise SourceError(f"votes: times must be {len(known)} numbers above 0, one for each cell")
    if weights is not None and not (len(weights) > raters.max(initial=-1) and (weights > 0).all()):
        raise SourceError("votes: weights must be numbers above 0, one for each rater")
    anchored = ~np.isnan(known)
    if not np.isin(known[anchored], (0, 1)).all():
        raise SourceError("votes: gold truths must be 0, 1, or NaN if unknown")

    number, habit = int(raters.max(initial=-1)) + 1, raters * ANSWERS + answers
    p = vote_share(cells, answers, len(known), None if weights is None else weights[raters])
    if from_gold:
        on = anchored[cells]
        tables = _confusion(np.where(anchored, known, 0), cells[on], habit[on], number, 1.0, pooling, None)
        p, _ = _posterior(0.5, tables, cells, habit, known, times, weights)
    total = len(p) if times is None else float(times.sum())
    before, steps = -np.inf, 0
    while True:
        p = np.where(anchored, known, p)
        prior = 0.5
        if len(p):
            mean = p.mean() if times is None else (p * times).sum() / total
            prior = float(np.clip(mean, 1e-9, 1 - 1e-9))
        prior = prior if share is None else share
        priors = None if labels is None else _by_label(p, labels, prior, shrinkage, times)
        confusion = _confusion(p, cells, habit, number, smoothing, pooling, times)
        of_cell = prior if labels is None or priors is None else priors[labels]
        p, log_likelihood = _posterior(of_cell, confusion, cells, habit, known, times, weights)
        steps += 1
        if abs(log_likelihood - before) <= tolerance * total or steps == max_steps:
            return Consensus(p, confusion, prior, log_likelihood, steps, priors)
        before = log_likelihood


def vote_share(cells: Ints, answers: Ints, number: int, weights: Floats | None = None) -> Floats:
    """(yes + maybe / 2) / votes of each of `number` cells. Cells without votes get the mean over cells, or 1/2.

    Args:
        cells: `[A]` cell of each answer.
        answers: `[A]` 0, 1 or 2.
        number: of cells.
        weights: `[A]` of the answers, above 0; 1 by default.
    """
    votes = np.bincount(cells, weights=weights, minlength=number)
    yes = answers / (ANSWERS - 1) if weights is None else weights * answers / (ANSWERS - 1)
    least = 1 if weights is None else 1e-300
    share = np.bincount(cells, weights=yes, minlength=number) / np.maximum(votes, least)
    return np.where(votes > 0, share, share[votes > 0].mean() if votes.any() else 0.5)


def model_votes(p: Floats, edges: tuple[float, float] = (1 / 3, 2 / 3)) -> Ints:
    """A model's probabilities `[C]` as answers 0, 1, 2, which makes the model one more rater.

    Its table is learnt like a person's, which also calibrates it.
    """
    return np.digitize(p, edges).astype(np.int64)


def expected_counts(p: Floats, cells: Ints, raters: Ints, answers: Ints, number: int) -> Floats:
    """Each rater's expected answers `[R, 2, 3]` no, maybe, yes where the truth is no (0) and yes (1).

    Args:
        p: `[C]` probability that a cell's label is right.
        cells: `[A]` cell of each answer.
        raters: `[A]` its rater.
        answers: `[A]` 0, 1 or 2.
        number: of raters, R.
    """
    return _counts(p[cells], raters * ANSWERS + answers, number, None)


def _counts(yes: Floats, habit: Ints, number: int, times: Floats | None) -> Floats:
    right = np.bincount(habit, weights=yes, minlength=number * ANSWERS)
    every = np.bincount(habit, weights=times, minlength=number * ANSWERS)
    counts = np.stack([every - right, right], axis=1).reshape(number, ANSWERS, 2).transpose(0, 2, 1)
    return np.maximum(counts, 0)


def _confusion(
    p: Floats, cells: Ints, habit: Ints, number: int, smoothing: float, pooling: float, times: Floats | None
) -> Floats:
    """Tables `[R, 2, 3]` of answers given the truth."""
    of_cell, often = (p, None) if times is None else (p * times, times[cells])
    counts = _counts(of_cell[cells], habit, number, often) + smoothing
    if pooling and number:
        mean = counts.sum(axis=0)
        counts = counts + pooling * mean / mean.sum(axis=1, keepdims=True)
    return np.asarray(counts / counts.sum(axis=2, keepdims=True))


def _by_label(p: Floats, labels: Ints, prior: float, shrinkage: float, times: Floats | None) -> Floats:
    """Share of right cells of each label `[L]`, drawn to the share over all."""
    right = np.bincount(labels, weights=p if times is None else p * times)
    cells = np.bincount(labels, weights=times)
    shares = (right + shrinkage * prior) / np.maximum(cells + shrinkage, 1e-9)
    return np.asarray(np.clip(shares, 1e-9, 1 - 1e-9))


def _posterior(
    prior: float | Floats,
    confusion: Floats,
    cells: Ints,
    habit: Ints,
    known: Floats,
    times: Floats | None,
    weights: Floats | None,
) -> tuple[Floats, float]:
    """Probabilities `[C]` of yes, and the log-likelihood of all answers."""
    logs = np.log(confusion)
    if weights is not None:
        logs = logs * weights[: len(logs), None, None]
    no = np.log1p(-prior) + np.bincount(cells, weights=logs[:, 0].reshape(-1)[habit], minlength=len(known))
    yes = np.log(prior) + np.bincount(cells, weights=logs[:, 1].reshape(-1)[habit], minlength=len(known))
    either = np.logaddexp(no, yes)
    p = np.exp(yes - either)
    evidence = np.where(np.isnan(known), either, np.where(known == 1, yes, no))
    whole = evidence.sum() if times is None else (evidence * times).sum()
    return np.where(np.isnan(known), p, known), float(whole)
