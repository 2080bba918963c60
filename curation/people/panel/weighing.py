"""A probability and a state for each cell from people's answers, by one of three methods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from variorum.curation.people.panel.crowdlab import crowdlab
from variorum.curation.people.panel.raters import SURE, below_chance, mirrored
from variorum.kit.raters.agreement import answer_counts
from variorum.kit.raters.dawid_skene import ANSWERS, NO, YES, Consensus, dawid_skene, expected_counts, vote_share
from variorum.kit.raters.valid_votes import Cells
from variorum.schemas.annotations import State
from variorum.schemas.vote import TOGETHER

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

Method = Literal["dawid_skene", "crowdlab", "majority"]

UNCHECKED, WRONG, UNCLEAR, CORRECT = range(4)
NAMES: tuple[State, ...] = ("unchecked", "wrong", "unclear", "correct")
"""Names of the states, by number."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """The way from answers to probabilities and states; the fields are those of `curation.consensus`."""

    method: Method = "dawid_skene"
    threshold: float = 0.8
    smoothing: float = 0.01
    pooling: float = 3.0
    by_label: bool = False
    shrinkage: float = 10.0
    least: int = 2


class Learnt(NamedTuple):
    """What Dawid–Skene learns of a panel: the consensus, and how far its raters can be trusted.

    Attributes:
        found: has the tables of all R raters, people and then models.
        below: `[R]` whether a rater answers the wrong way round.
        mirror: probability that the opposite of every unknown truth is true; `found.p` allows for it.
    """

    found: Consensus
    below: Bools
    mirror: float


def consensus(cells: Cells, models: Ints, how: Weighing, *, by_label: bool, gold: bool = True) -> Learnt:
    """Dawid–Skene over people and models.

    Known answers are where it starts, because a majority of wrong answers would mislead it for good. What raters below
    chance say counts the other way round only if known answers show it, and else not at all.

    Args:
        cells: with people's answers.
        models: `[M, C]` the answers of each model, -1 for none.
        how: has smoothing, pooling and shrinkage.
        by_label: whether each label has its own prior.
        gold: whether gold cells are kept fixed; without, they show how well the others are judged.
    """
    model, cell = np.nonzero(models >= 0)
    known = cells.known() if gold else np.where(np.isnan(cells.gold), cells.known(), np.nan)
    labels = np.unique(cells.subject, return_inverse=True)[1].reshape(-1) if by_label else None
    votes = (
        np.concatenate([cells.cell, cell]),
        np.concatenate([cells.rater, model + len(cells.people)]),
        np.concatenate([cells.answer, models[model, cell]]),
    )
    truth = cells.gold if gold else np.full(len(cells), np.nan)
    sure, unknown = ~np.isnan(truth)[votes[0]], np.isnan(known)[votes[0]]  # discussions are about what is hard
    from_gold = len({*truth[votes[0]][sure].tolist()}) == 2

    def learn(chosen: Bools) -> Consensus:
        return dawid_skene(
            *(part[chosen] for part in votes),
            gold=known,
            labels=labels,
            shrinkage=how.shrinkage,
            smoothing=how.smoothing,
            pooling=how.pooling,
            from_gold=from_gold,
        )

    found = learn(np.ones(len(sure), bool))
    number = len(cells.people) + len(models)
    cell, rater, answer = votes
    shown, judged = (expected_counts(found.p, cell[on], rater[on], answer[on], number) for on in (sure, unknown))
    mirror, below, proven = mirrored(shown, judged), below_chance(shown + judged), below_chance(shown)
    if (unproven := below & ~proven).any():
        found = replace(found, p=learn(~unproven[rater]).p)
        below = below if SURE * mirror < 1 else proven  # it may be the others who are
    p = np.where(np.isnan(known), found.p + min(mirror, 0.5) * (1 - 2 * found.p), known)  # never turned round
    return Learnt(replace(found, p=p), below, mirror)


def probabilities(
    cells: Cells, models: Ints, how: Weighing, p: Floats | None = None, place: Ints | None = None
) -> Floats:
    """Probability `[C]` that the answer is yes. What is known or decided is 0 or 1, and 1/2 if left unclear on purpose.

    Args:
        cells: with people's answers.
        models: `[M, C]` the answers of each model, -1 for none; only for Dawid–Skene.
        how: the method and its numbers.
        p: `[N, K]` a model's probabilities for the pictures, for CROWDLAB.
        place: `[C]` column in `p` of each cell's class, -1 for none.

    Raises:
        SourceError: CROWDLAB finds no picture with two people's labels.
    """
    if not len(cells):
        return np.zeros(0)
    if how.method == "dawid_skene":
        found = consensus(cells, models, how, by_label=how.by_label).found.p
    else:
        found = vote_share(cells.cell, cells.answer, len(cells))
        if how.method == "crowdlab" and p is not None and place is not None:
            found = single_labels(cells, found, p, place)
    known = cells.known()
    return np.where(cells.open(), 0.5, np.where(np.isnan(known), found, known))


def single_labels(cells: Cells, share: Floats, p: Floats, place: Ints) -> Floats:
    """CROWDLAB's probabilities `[C]`, for pictures that show one class each.

    A person's label of a picture is the one class that they said yes to; more than one yes, or none, is no label. The
    consensus of a picture gets its quality, and its other cells share the rest as the model does. Pictures without a
    label of anybody keep their `share`.

    Args:
        cells: with people's answers.
        share: `[C]` of each cell's answers that say yes.
        p: `[N, K]` the model's probabilities.
        place: `[C]` column in `p` of each cell's class, -1 for none.
    """
    yes = np.flatnonzero((cells.answer == ANSWERS - 1) & (place[cells.cell] >= 0))
    pictures = np.unique(cells.row)
    pictures = pictures[np.isfinite(p[pictures]).all(axis=1)]
    at = np.searchsorted(pictures, cells.row[cells.cell[yes]])
    at = np.where(at < len(pictures), at, 0)
    inside = pictures[at] == cells.row[cells.cell[yes]] if len(pictures) else np.zeros(len(yes), bool)
    yes, at = yes[inside], at[inside]
    times = np.zeros((len(pictures), max(len(cells.people), 1)), np.int64)
    np.add.at(times, (at, cells.rater[yes]), 1)
    votes = np.full(times.shape, np.nan)
    votes[at, cells.rater[yes]] = place[cells.cell[yes]]
    votes[times != 1] = np.nan
    found = crowdlab(votes, p[pictures])
    labels, quality = np.full(len(p), -1), np.full(len(p), np.nan)
    labels[pictures], quality[pictures] = found.labels, found.quality
    mine, sure = labels[cells.row], quality[cells.row]
    own = p[cells.row, np.maximum(place, 0)]
    rest = 1 - p[cells.row, np.maximum(mine, 0)]
    others = (1 - sure) * np.where(place >= 0, own, 0) / np.maximum(rest, 1e-12)
    return np.where(mine < 0, share, np.where(place == mine, sure, np.clip(others, 0, 1 - sure)))


def states(cells: Cells, p: Floats, how: Weighing) -> Ints:
    """The state `[C]` of each cell: `CORRECT`, `UNCLEAR`, `WRONG`, or `UNCHECKED` with fewer answers than `how.least`.

    It is correct if p is at least the threshold and not all blind answers are unclear; else unclear if at least half of
    them are, or if it was decided so; else wrong if p is at most one minus the threshold; else unclear. What is known
    or decided is as it is. With majority, more than half of the answers must be yes, or no.

    p alone doesn't tell an unclear label from a wrong one: the truth has two values in the model, and people say
    "unclear" more often of wrong labels.
    """
    yes, no, number, known = cells.said(2), cells.said(0), cells.number(), cells.known()
    if how.method == "majority":
        found = np.where(2 * yes > number, CORRECT, np.where(2 * no > number, WRONG, UNCLEAR))
        found = np.where(np.isnan(known), found, np.where(known == 1, CORRECT, WRONG))
    else:
        slack = 1e-9  # 1 - .8 is less than .2
        found = np.where(p <= 1 - how.threshold + slack, WRONG, UNCLEAR)
        unclear, judged = cells.said(1), np.isnan(known) & (number > 0)
        found = np.where(judged & (2 * unclear >= number), UNCLEAR, found)
        found = np.where((p >= how.threshold - slack) & ~(judged & (unclear == number)), CORRECT, found)
    found = np.where(cells.open(), UNCLEAR, found)
    settled = (number >= how.least) | ~np.isnan(cells.gold) | (cells.decided >= 0)
    return np.where(settled, found, UNCHECKED).astype(np.int64)


def majors(cells: Cells, p: Floats, state: Ints) -> Floats:
    """Probability `[C]` that a label is wrong and the mistake major, 0 for labels that aren't wrong.

    Who calls a mistake major, minor or borderline is weighed as who answers a question: Dawid–Skene learns how reliably
    each person tells major mistakes. Nobody's word makes none; a discussion decides.

    Args:
        cells: with people's answers.
        p: `[C]` probabilities of the labels.
        state: `[C]` their states.
    """
    cell, severity = cells.votes["cell"].to_numpy(), np.array(cells.votes["severity"].to_pylist(), object)
    said = (severity != "") & (state[cell] == WRONG)
    together, major = cells.votes["round"].to_numpy() == TOGETHER, severity == "major"
    decided = np.full(len(cells), np.nan)
    decided[cell[said & together]] = major[said & together]
    alone = said & ~together
    index = {name: number for number, name in enumerate(cells.people)}
    rater = np.array([index[name] for name in cells.votes["reviewer"].filter(alone).to_pylist()], np.int64)
    judged, number = np.unique(cell[alone], return_inverse=True)
    answers = np.where(major[alone], YES, NO)
    found = dawid_skene(number.reshape(-1), rater, answers, gold=decided[judged], smoothing=1.0)
    chance = np.where(np.isnan(decided), 0.0, decided)
    chance[judged] = found.p
    return np.asarray(np.where(state == WRONG, chance * (1 - p), 0.0))


def unanimous(cells: Cells, state: Ints) -> Bools:
    """Cells `[C]` that at least two people answered and all alike, or that were decided together.

    A wrong label is so only if all said no, or decided it: everybody's "unclear" isn't everybody's word against it.

    Args:
        cells: with people's answers.
        state: `[C]` their states.
    """
    counts = answer_counts(cells.cell, cells.answer, len(cells), ANSWERS)
    number = counts.sum(axis=1)
    alike = (number >= 2) & (counts.max(axis=1, initial=0) == number)
    against = (counts[:, 0] == number) | (state != WRONG)
    return np.asarray((alike & against) | (cells.decided >= 0))
