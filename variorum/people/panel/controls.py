"""Controls: questions with a known answer, and questions that nobody doubts.

The first tell how careful people are, the second what everybody overlooks. A reviewer can't tell them from others.

Known answers come from a file. Where it has too few, some are presumed: yes for a given label that every source holds
most likely, no for a class that no source proposes. They are marked, since nobody has confirmed them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.raters.known_answers import TRUTHS, read_known
from variorum.people.panel.askable import Pictures
from variorum.people.panel.asks import AGREED, ASKED, GOLD, NO, YES, Asks
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut
from variorum.schemas.secrets import shown

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints
    from variorum.people.panel.proposals import LabelCells

ROUNDS = 30
"""Draws of a class that no source proposes, before a picture goes without."""


@dataclass(frozen=True, slots=True)
class Known:
    """Known answers, one row each.

    Attributes:
        table: an Arrow table with the columns kind, id, origin, sha256, subject, truth; `id`, `origin` and `sha256` are
            `""` where the file doesn't say them.
        path: of the file, for errors.
    """

    table: Any
    path: str

    def of(self, kind: str, pictures: Pictures, subjects: Any) -> tuple[Ints, Ints, Ints]:
        """The answers of one kind: picture, place of the subject in an Arrow array, and truth; each cell once.

        Answers on pictures that aren't in the edition, or have changed since, don't count.

        Raises:
            SourceError: an unknown subject, or two answers to the same question.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        mine = self.table.filter(pc.equal(self.table["kind"], kind)).combine_chunks()
        place = pictures.places(mine["id"].combine_chunks())
        if pc.any(pc.not_equal(mine["origin"], "")).as_py():
            by_origin = _by_origin(pictures)
            origin = pc.fill_null(pc.index_in(mine["origin"], value_set=pa.array(list(by_origin), pa.string())), -1)
            found = np.append(np.array(list(by_origin.values()), np.int64), -1)
            place = np.where(place < 0, found[origin.to_numpy()], place)
        same = pc.or_(
            pc.equal(mine["sha256"], ""), pc.equal(mine["sha256"], pictures.sha256.take(np.maximum(place, 0)))
        ).to_numpy()
        rows = np.flatnonzero((place >= 0) & same & ~pictures.dropped()[place])
        subject = pc.fill_null(pc.index_in(mine["subject"].take(rows), value_set=subjects), -1).to_numpy()
        if (subject < 0).any():
            odd = mine["subject"][int(rows[np.argmin(subject)])].as_py()
            raise SourceError(f"gold {self.path}: {cut(repr(odd))} is no subject of a question of kind {kind}")
        truth = np.array([YES if TRUTHS[one] else NO for one in mine["truth"].take(rows).to_pylist()], np.int64)
        keys = place[rows] * max(1, len(subjects)) + subject
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        if (truth != truth[first][which]).any():
            odd = rows[int(np.argmax(truth != truth[first][which]))]
            raise SourceError(
                f"gold {self.path}: the question {mine['subject'][int(odd)].as_py()!r} about "
                f"{mine['id'][int(odd)].as_py() or mine['origin'][int(odd)].as_py()} is answered with yes and with no"
            )
        return place[rows][first], subject[first].astype(np.int64), truth[first]


def _by_origin(pictures: Pictures) -> dict[str, int]:
    """The picture of each origin; of several, the one that nobody has edited."""
    variant = pictures.column("variant")
    found: dict[str, int] = {}
    for place, origin in enumerate(pictures.arrow("origin").to_pylist()):
        if origin not in found or (variant[place] == "original" and variant[found[origin]] != "original"):
            found[origin] = place
    return found


def read_gold(path: Path) -> Known:
    """Known answers in a file; see `kit.raters.known_answers`. Raises SourceError."""
    return Known(read_known(path), shown(str(path)))


@dataclass(frozen=True, slots=True)
class Need:
    """The number of controls that go with questions.

    Attributes:
        gold: least share of known answers among all questions.
        agreed: least share of undoubted ones.
        slack: questions by which whole tasks may exceed what is needed.
    """

    gold: float
    agreed: float
    slack: int = 0

    def number(self, asked: int) -> tuple[int, int]:
        """Known answers and undoubted questions for a number of questions in doubt."""
        whole = asked / max(1e-9, 1 - self.gold - self.agreed)
        return math.ceil(self.gold * whole - 1e-9), math.ceil(self.agreed * whole - 1e-9)

    def lacking(self, parts: Sequence[Asks]) -> tuple[int, int]:
        """Count the known answers and undoubted questions that are missing; negative for too many."""
        asked, agreed, gold = counted(parts)
        if agreed > self.agreed * (asked + agreed + gold):  # more than needed, which count as others do
            known = math.ceil(self.gold * (asked + agreed + self.slack) / max(1e-9, 1 - self.gold) - 1e-9)
            return known - gold, math.ceil(self.agreed * (asked + agreed + gold) - 1e-9) - agreed
        wanted = self.number(asked + self.slack)
        undoubted = math.ceil(self.agreed * (asked + max(gold, wanted[0])) / max(1e-9, 1 - self.agreed) - 1e-9)
        return wanted[0] - gold, undoubted - agreed

    def enough(self, parts: Sequence[Asks], more: Asks) -> int:
        """Count the tasks in `more` that, one after another, give enough known answers; all if they don't."""
        asked, agreed, gold = counted(parts)
        number = int(more.task.max(initial=-1)) + 1
        others, known = (
            np.cumsum(np.bincount(more.task[part], minlength=number)) for part in (more.why == AGREED, more.why == GOLD)
        )
        known, others = known + gold, others + agreed
        others = np.maximum(others, self.agreed / max(1e-9, 1 - self.agreed) * (asked + known))
        met = known >= self.gold * (asked + known + others + self.slack) - 1e-9
        return int(np.argmax(met)) + 1 if met.any() else number


def counted(parts: Sequence[Asks]) -> tuple[int, int, int]:
    """Questions in doubt, undoubted ones and known answers."""
    asked, agreed, gold = (sum(int((one.why == why).sum()) for one in parts) for why in (ASKED, AGREED, GOLD))
    return asked, agreed, gold


def balanced(truth: Ints, number: int, rng: np.random.Generator, last: Bools) -> Ints:
    """Choose known answers to ask, `number` at most: yes and no in equal numbers as far as there are enough.

    Args:
        truth: `[G]` `YES` or `NO`.
        number: at most.
        rng: draws.
        last: `[G]` answers that are taken after all others if they are no.
    """
    right, wrong = (rng.permutation(np.flatnonzero(truth == answer)) for answer in (YES, NO))
    wrong = wrong[np.argsort(last[wrong], kind="stable")]
    half = min(len(right), max(number - number // 2, number - len(wrong)))
    return np.sort(np.concatenate([right[:half], wrong[: number - half]]))


def unproposed(
    picture: Ints, cells: LabelCells, classes: int, like: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """For each request, a class that no source proposes for its picture, and that isn't hard to tell from one.

    Half of the draws are from the classes that pictures with the same label are confused with, so that the answer
    isn't obvious, the others from all classes.

    Args:
        picture: `[R]` a picture may be there several times, and gets as many different classes.
        cells: all cells of all pictures, uncapped.
        classes: number of classes.
        like: `[N]` first label of each picture, -1 for none.
        rng: draws.

    Returns:
        Picture and class of the requests that could be met.
    """
    k = max(1, classes)
    taken = np.sort(cells.picture * k + cells.label)
    kin = np.unique(like[cells.picture] * k + cells.label)
    kin = kin[kin >= 0]
    found = np.zeros(0, np.int64)
    left = np.asarray(picture, np.int64)
    for _ in range(ROUNDS if classes > 1 else 0):
        if not len(left):
            break
        low, high = (np.searchsorted(kin, (like[left] + end) * k) for end in (0, 1))
        label = rng.integers(0, k, len(left))
        near = (rng.random(len(left)) < 0.5) & (high > low) & (like[left] >= 0)
        drawn = low + np.floor(rng.random(len(left)) * (high - low)).astype(np.int64)
        label[near] = kin[drawn[near]] % k
        keys = left * k + label
        new = np.zeros(len(left), bool)
        new[np.unique(keys, return_index=True)[1]] = True
        new &= ~_among(keys, taken) & ~_among(keys, found)
        found = np.sort(np.concatenate([found, keys[new]]))
        left = left[~new]
    return found // k, found % k


def _among(keys: Ints, ordered: Ints) -> Bools:
    """Return which keys are in a sorted array."""
    if not len(ordered):
        return np.zeros(len(keys), bool)
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return np.asarray(ordered[place] == keys)
