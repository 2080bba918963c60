"""Does somebody answer without a look at the picture? A Bayes factor on answers to questions whose truth is known.

The answers of somebody who looks depend on the truth, also of somebody who often says "unclear" or rarely says yes; the
answers of somebody who clicks at random have the same shares whatever the truth. The Bayes factor says how much better
the second explains a rater's answers than the first, and a rater is suspect while it is above `BOUND`. It is taken
anew from all gold answers, so a bad start is forgiven and a change for the worse is found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

Shares = tuple[float, float, float]
"""A Dirichlet distribution of the shares of no, unclear and yes, by its pseudo-counts: answers seen beforehand."""

HABITS: Mapping[str, Shares] = {
    "yes or no by a coin": (20, 0.3, 20),
    "always yes": (0.2, 0.2, 8),
    "always no": (8, 0.2, 0.2),
    "any of the three answers": (20, 20, 20),
    "always unclear": (0.5, 8, 0.5),
}
"""Raters whose answers don't depend on the truth."""
HONEST: Mapping[str, tuple[Shares, Shares]] = {
    "decided": ((17, 0.3, 2), (2, 0.3, 17)),
    "cautious with yes": ((17, 1.4, 0.8), (5, 3.4, 10)),
    "cautious": ((14, 5, 1), (1, 5, 14)),
}
"""Raters who look: their answers where the truth is no, and where it is yes. The second is near the pooled rater of
ReaL (Beyer et al. 2020, arXiv 2006.07159), who says yes to half of what is right and to 4 % of what is wrong."""
REVERSED = "the wrong way round"
"""Somebody who looks and takes yes for no, such as by the wrong key: an honest rater's tables, swapped."""
BOUND = 2.0
"""Bayes factor above which a rater is suspect, chosen by simulation; docs/people/run_a_panel.md shows what it finds."""
SURE = 20.0
"""Times that answers are likelier from somebody who takes yes for no, before a rater is said to be below chance."""
REVERSED_SHARE = (0.5, 4.5)
"""The Beta distribution of the share of raters who do."""
LEAST = 20
"""Gold answers that it needs. With fewer, an unlucky honest rater looks like a coin too often."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a rater's test.

    Attributes:
        suspect: whether the Bayes factor is above the bound, after enough answers.
        habit: what explains the answers best if the rater is suspect: a key of `HABITS`, or `REVERSED`.
        bayes_factor: of answers without a look against answers with one; 1 without answers.
        answers: their number.
    """

    suspect: bool
    habit: str
    bayes_factor: float
    answers: int


def evidence_of_clicking(counts: Ints) -> tuple[Floats, Ints]:
    """The log of the Bayes factor, in nats, and the number of the likeliest habit.

    Let n(y, a) be the answers a where the truth is y, and n(a) their sum over y. Shares that come from a Dirichlet
    distribution with pseudo-counts α, A in all, give N answers in a given order the probability

        D(n | α) = Γ(A) / Γ(A + N) · Π_a Γ(α_a + n_a) / Γ(α_a).

    Somebody who doesn't look has D(n(·) | habit), somebody who does D(n(no, ·) | honest no) · D(n(yes, ·) | honest
    yes), and somebody who takes yes for no the same with the two tables swapped. The Bayes factor is the mean over
    `HABITS` and the swapped tables, over the mean over `HONEST`.

    Args:
        counts: `[..., 2, 3]` answers no, unclear, yes where the truth is no (0) and yes (1).

    Returns:
        `[...]` each; the number counts through `HABITS`, and `len(HABITS)` is `REVERSED`.

    Raises:
        SourceError: another shape, or negative counts.
    """
    counts = np.asarray(counts)
    if counts.shape[-2:] != (2, 3) or (counts < 0).any():
        raise SourceError(f"raters: counts have the shape {counts.shape}; they are [..., 2, 3] and not negative")
    honest, tables = np.array(list(HONEST.values())), counts[..., None, :, :]
    looking = _log_probability(tables, honest).sum(axis=-1)
    swapped = _log_probability(tables, honest[:, ::-1]).sum(axis=-1)
    habits = _log_probability(counts.sum(axis=-2)[..., None, :], np.array(list(HABITS.values())))
    unlike = np.concatenate([habits, swapped], axis=-1)
    factor = _log_mean(unlike) - _log_mean(looking)
    return factor, np.minimum(unlike.argmax(axis=-1), len(HABITS))


def clicking(counts: Ints, least: int = LEAST, bound: float = BOUND) -> Verdict:
    """The verdict on one rater.

    Args:
        counts: `[2, 3]`, as `evidence_of_clicking` takes them.
        least: gold answers that it needs.
        bound: Bayes factor above which a rater is suspect.
    """
    factor, habit = evidence_of_clicking(counts)
    answers = int(np.asarray(counts).sum())
    name = [*HABITS, REVERSED][int(habit)]
    return Verdict(
        bool(answers >= least and factor > math.log(bound)), name, math.exp(min(float(factor), 700)), answers
    )


def below_chance(counts: Floats) -> Bools:
    """Return which raters `[R]` answer the wrong way round, by their answers `[R, 2, 3]`: 20 times as likely as not."""
    looking, swapped, habits = _evidence(counts)
    return np.asarray(swapped - np.logaddexp(looking, habits) > math.log(SURE))


def mirrored(known: Floats, judged: Floats) -> float:
    """The probability that the truth of every judged cell is the opposite of what it is taken for.

    Turning all truths and all raters round explains the answers on these cells as well. Known truths can't be turned,
    and raters who answer the wrong way round are rarer than others: their share is drawn from a Beta distribution
    with a mean of a tenth, because those of a panel may have the same reason.

    Args:
        known: `[R, 2, 3]` each rater's answers no, unclear, yes on cells of known truth.
        judged: `[R, 2, 3]` their expected answers on the others, as the consensus takes them.
    """
    from scipy.special import betaincinv

    share = betaincinv(*REVERSED_SHARE, (np.arange(256) + 0.5) / 256)[:, None]
    logs = []
    for of in (known + judged, known + judged[:, ::-1]):
        looking, swapped, habits = _evidence(of)
        mixed = np.logaddexp(np.log1p(-share) + looking, np.log(share) + swapped)
        logs.append(_log_mean(np.logaddexp(np.log(0.9) + mixed, np.log(0.1) + habits).sum(axis=-1)))
    return float(np.exp(logs[1] - np.logaddexp(*logs)))


def _evidence(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """The logs `[...]` of the probability of answers `[..., 2, 3]` by honest, by reversed and by careless raters."""
    honest, tables = np.array(list(HONEST.values())), counts[..., None, :, :]
    looking = _log_probability(tables, honest).sum(axis=-1)
    swapped = _log_probability(tables, honest[:, ::-1]).sum(axis=-1)
    habits = _log_probability(counts.sum(axis=-2)[..., None, :], np.array(list(HABITS.values())))
    return _log_mean(looking), _log_mean(swapped), _log_mean(habits)


def _log_probability(counts: Ints | Floats, shares: Floats) -> Floats:
    """The log of D(counts | shares) over the last axis."""
    from scipy.special import gammaln

    total, seen = counts.sum(axis=-1), shares.sum(axis=-1)
    of_answers = (gammaln(shares + counts) - gammaln(shares)).sum(axis=-1)
    return np.asarray(gammaln(seen) - gammaln(seen + total) + of_answers)


def _log_mean(logs: Floats) -> Floats:
    return np.asarray(np.logaddexp.reduce(logs, axis=-1) - np.log(logs.shape[-1]))


def agreement_with_others(cells: Ints, raters: Ints, answers: Ints, number: int) -> Floats:
    """The share of others' answers to the same cells that are the same, for each rater `[R]`; NaN without any.

    Args:
        cells: `[A]` cell of each answer.
        raters: `[A]` its rater.
        answers: `[A]` 0, 1 or 2. A rater answers a cell once.
        number: of raters, R.
    """
    cells, answers = np.asarray(cells, np.int64), np.asarray(answers, np.int64)
    total = np.bincount(cells, minlength=1)
    counts = np.bincount(cells * 3 + answers, minlength=3 * len(total))
    same = np.bincount(raters, weights=counts[cells * 3 + answers] - 1, minlength=number)
    others = np.bincount(raters, weights=total[cells] - 1, minlength=number)
    return np.asarray(np.divide(same, others, out=np.full(number, np.nan), where=others > 0))
