"""Truths and labelers' scores as arrays, from the rows that the evaluation `safety` measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.evaluation.safety.truths import CONTRADICTED, SAFE, UNKNOWN, UNSAFE
from variorum.schemas.safety import ANY, CONTROL, HEARD, Labeler, column_of
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

TRUTH, SAID, HOW = "truth", "said", "heard"
"""First parts of the columns: what is known, what labelers say, and how their answers were understood."""
GATE = "gate"
"""First part of the columns with what a gate measured on withheld pictures."""
WITHHELD = ""
"""Group of the withheld pictures, which has no figures of its own; no other has an empty name."""
TOGETHER = "all labelers"
"""Name of the share of labelers that call a picture unsafe, which counts as one more labeler."""
NAMES_KEPT = 12
"""Groups of pictures that have figures of their own."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The truth about N pictures.

    Attributes:
        truth: by category, `[N]` each: 1 for unsafe, 0 for safe, NaN for unknown.
        group: name of the picture's group, `[N]`.
        maker: what made the picture, `[N]`.
        split: `[N]`.
        counts: whether labelers are judged on the picture, `[N]`; of others only thresholds are learned.
        seen: whether a labeler is that decided which pictures are withheld: those too, `[N]`.
        photograph: number of the picture's photograph, `[N]`.
        photographs: their number.
        contradicted: by category, number of pictures that are labelled both safe and unsafe; their truth is unknown.
        presumed: number of pictures that are presumed safe, as nobody labelled them.
    """

    truth: Mapping[str, Floats]
    group: Array
    maker: Array
    split: Array
    counts: Bools
    seen: Bools
    photograph: Ints
    photographs: int
    contradicted: Mapping[str, int]
    presumed: int

    def by_photograph(self, which: Bools) -> Floats:
        """Count these pictures, `[N]`, by photograph."""
        return np.bincount(self.photograph[which], minlength=self.photographs).astype(np.float64)

    def groups(self) -> tuple[str, ...]:
        """Names of the groups, sorted: the largest ones, if there are more than `NAMES_KEPT`."""
        names, counts = np.unique(self.group[self.group != WITHHELD], return_counts=True)
        largest = names[np.argsort(-counts, kind="stable")][:NAMES_KEPT]
        return tuple(sorted(str(name) for name in largest))


class Answerer(NamedTuple):
    """Who gives scores: a labeler with one prompt, with all of its prompts, or all labelers together.

    Attributes:
        name: for people.
        labeler: its name; `""` for all labelers together.
        prompt: its name; `""` for one without a name, or all prompts.
        threshold: it calls a picture unsafe from this score on.
        scores: by category that it speaks of, `[N]` each in [0, 1], NaN where it abstains.
        whole: whether this is all that its labeler says, and not one prompt of several.
        seen: whether it is judged on withheld pictures too.
    """

    name: str
    labeler: str
    prompt: str
    threshold: float
    scores: Mapping[str, Floats]
    whole: bool = True
    seen: bool = False

    def calls(self, category: str) -> Bools:
        """Return whether it calls each picture unsafe, `[N]`; False where it abstains."""
        return np.asarray(self.scores[category] >= self.threshold)


def judged(table: Table, categories: Sequence[str], *, presume_benign: bool, split: str | None = None) -> Judged:
    """Read the truth about the pictures in a table of the evaluation `safety`.

    Args:
        table: its rows.
        categories: ids of those that are asked about.
        presume_benign: whether pictures without a label of any of them count as safe in all of them, unless another
            one with the same pixels has a label.
        split: whose pictures labelers are judged on; None for all.
    """
    raw = {name: np.asarray(table[f"{TRUTH}.{name}"], np.float64) for name in categories}
    same = np.unique(table["pixels"].astype(str), return_inverse=True)[1]
    labelled = _some(same, np.any([~np.isnan(values) for values in raw.values()], axis=0))[same]
    truth, contradicted = {}, {}
    for name, values in raw.items():
        both = _some(same, values == UNSAFE) & _some(same, values == SAFE) | _some(same, values == CONTRADICTED)
        out = both[same] & ~np.isnan(values)
        contradicted[name] = int(out.sum())
        known = np.where(out, UNKNOWN, values)
        truth[name] = np.where(~labelled, SAFE, known) if presume_benign else known
    stacked = np.stack(list(truth.values()))
    truth[ANY] = np.where((stacked == UNSAFE).any(0), UNSAFE, np.where((stacked == SAFE).all(0), SAFE, UNKNOWN))
    group, splits = table["group"].astype(str), table["split"].astype(str)
    asked, there = splits == split if split else np.ones(len(splits), bool), group != WITHHELD
    names, photograph = np.unique(table["photograph"].astype(str), return_inverse=True)
    return Judged(
        truth,
        group,
        table["maker"].astype(str),
        splits,
        asked & there,
        asked,
        photograph.astype(np.int64),
        len(names),
        contradicted,
        int((~labelled & there).sum()) if presume_benign else 0,
    )


def _some(same: Ints, which: Bools) -> Bools:
    """Return whether one of the pictures with the same pixels is such, by number of the pixels."""
    return np.asarray(np.bincount(same, which, same.max() + 1) > 0)


def answerers(
    table: Table, labelers: Sequence[Labeler], prompts: Mapping[str, Sequence[str]], categories: Sequence[str]
) -> list[Answerer]:
    """Who answered: each prompt of each labeler, all prompts of those with several, and all labelers together.

    Several prompts come to the mean of their scores. Of all labelers together, the score is the share of those who
    answer that call the picture unsafe; at exactly half they abstain, as nothing should be decided at random.

    Args:
        table: rows of the evaluation `safety`.
        labelers: in the recipe's order.
        prompts: by labeler, the names of its prompts.
        categories: ids of those that are asked about.
    """
    found: list[Answerer] = []
    for labeler in labelers:
        each = []
        for prompt in prompts[labeler.called]:
            known = labeler.speaks_of(prompt)
            columns = {
                name: f"{SAID}.{column_of(labeler, prompt, name)}"
                for name in (*categories, ANY, CONTROL)
                if name in known
            }
            scores = {name: np.asarray(table[column], np.float64) for name, column in columns.items()}
            each.append(Answerer(labeler.called, labeler.called, prompt, labeler.threshold, scores))
        if len(each) > 1:
            found += [one._replace(name=f"{one.labeler}, {one.prompt}", whole=False) for one in each]
            scores = {name: _mean([one.scores[name] for one in each if name in one.scores]) for name in _named(each)}
            found.append(Answerer(f"{labeler.called}, all prompts", labeler.called, "", labeler.threshold, scores))
        else:
            found += each
        if (column := f"{GATE}.{labeler.gate}") in table:
            scores = {
                name: np.where(np.isnan(known), np.asarray(table[column], np.float64), known)
                for one in each
                for name, known in one.scores.items()
            }
            called = labeler.called
            found.append(Answerer(f"{called}, withheld counted", called, "", labeler.threshold, scores, False, True))
    whole = [one for one in found if one.whole]
    together = {}
    for name in _named(whole):
        votes = [
            np.where(np.isnan(one.scores[name]), np.nan, one.calls(name))
            for one in whole
            if name in one.scores and np.isfinite(one.scores[name]).any()
        ]
        if len(votes) > 1 and name != CONTROL:
            share = _mean(votes)
            together[name] = np.where(share == 0.5, np.nan, share)
    return [*found, Answerer(TOGETHER, "", "", 0.5, together)] if together else found


def _named(some: Sequence[Answerer]) -> list[str]:
    """The categories that some of these speak of."""
    return list(dict.fromkeys(name for one in some for name in one.scores))


def _mean(columns: Sequence[Floats]) -> Floats:
    """Mean `[N]` of columns `[N]` without NaN; NaN where all are."""
    stacked = np.stack(columns)
    there = np.isfinite(stacked)
    total = np.where(there, stacked, 0.0).sum(axis=0)
    mean = np.divide(total, there.sum(axis=0), out=np.full(len(total), np.nan), where=there.any(axis=0))
    return np.asarray(mean, np.float64)


def heard(table: Table, labeler: Labeler, prompts: Sequence[str]) -> dict[str, int]:
    """Count how the labeler's answers were understood, over all of its prompts."""
    said = np.concatenate([table[f"{HOW}.{column_of(labeler, prompt, '')}"].astype(str) for prompt in prompts])
    return {name: count for name in HEARD if (count := int((said == name).sum()))}
