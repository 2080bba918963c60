"""Which labels of a picture people are asked about: cells that models, neighbours or the dataset itself propose.

Who proposed a label stays hidden from those who judge it, and among the doubtful cells are some whose answer is known
and some that nobody doubts, or the panel would only ever see where models and labels disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SourceError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ASKED, GOLD, AGREED = 0, 1, 2
"""Why a cell is in the queue: it is in doubt, its answer is known, or everybody agrees on it."""


@dataclass(frozen=True, slots=True)
class Cells:
    """One label of one picture each: `picture [C]`, `label [C]`, and how many propose it, `support [C]`."""

    picture: Ints
    label: Ints
    support: Ints

    def __len__(self) -> int:
        return len(self.picture)

    def take(self, rows: Ints) -> Cells:
        """Some of them, in this order."""
        return Cells(self.picture[rows], self.label[rows], self.support[rows])


def candidate_cells(
    top: Ints,
    p: Floats,
    given: Ints,
    others: Sequence[Ints] = (),
    *,
    least: float = 0.1,
    cap: int = 8,
    partners: Mapping[int, Collection[int]] | None = None,
) -> Cells:
    """All models' first guesses, their further ones above `least`, the given label and what else is proposed.

    Few different models go far: six gave 97 % of the right labels on ImageNet (Beyer et al. 2020, arXiv 2006.07159).
    Cells come in order of picture and label.

    Args:
        top: `[M, N, k]` best classes of M models for N pictures, best first.
        p: `[M, N, k]` their probabilities.
        given: `[N]` the dataset's labels, -1 for none.
        others: further proposals `[N]` each, -1 for none: the neighbours' majority, a zero-shot guess.
        least: probability that a guess after the first must have.
        cap: cells a picture at most. The given label stays, then what more propose, what a model gives more
            probability, the lower label.
        partners: class to the classes that can't be told from it (`accuracy.COLLAPSED`); they are asked about, too.
    """
    if top.ndim != 3 or top.shape != p.shape or top.shape[1] != len(given) or cap < 1:
        raise SourceError(
            f"candidates: top {top.shape} and p {p.shape} must be models x {len(given)} pictures x guesses"
        )
    wanted = p > least
    wanted[:, :, :1] = True
    _, picture, _ = np.nonzero(wanted)
    rows = np.arange(len(given))
    parts = [(picture, top[wanted], p[wanted])]
    parts += [(rows[one >= 0], one[one >= 0], np.zeros((one >= 0).sum())) for one in (given, *others)]
    for label, kin in (partners or {}).items():
        where = np.unique(np.concatenate([pictures[labels == label] for pictures, labels, _ in parts]))
        parts += [(where, np.full(len(where), other), np.full(len(where), -1.0)) for other in kin]

    pictures, labels, chances = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    width = int(labels.max(initial=0)) + 1
    keys, which, support = np.unique(pictures * width + labels, return_inverse=True, return_counts=True)
    chance = np.full(len(keys), -1.0)
    np.maximum.at(chance, which, chances)
    cells = Cells(keys // width, keys % width, support)
    is_given = cells.label == given[cells.picture]
    order = np.lexsort((cells.label, -chance, -support, ~is_given, cells.picture))
    first = np.searchsorted(cells.picture[order], cells.picture[order])
    return cells.take(np.sort(order[np.arange(len(order)) - first < cap]))


def queue_order(cells: Cells, doubt: Floats, class_sizes: Ints) -> Ints:
    """Rows of the cells, those first whose answer tells most: doubt `[C]` in [0, 1], more for rare classes.

    Rarity counts by the square root, so that a class a hundred times smaller is asked about ten times as eagerly.
    Ties go by picture and label.
    """
    rarity = 1 / np.sqrt(np.maximum(class_sizes[cells.label], 1))
    return np.lexsort((cells.label, cells.picture, -np.asarray(doubt, np.float64) * rarity))


def with_controls(
    asked: Cells, gold: Cells, truth: Ints, agreed: Cells, rng: np.random.Generator, share: float = 0.1
) -> tuple[Cells, Ints]:
    """The queue that people see, shuffled, and why each cell is in it: `ASKED`, `GOLD` or `AGREED`, for us alone.

    Args:
        asked: cells in doubt.
        gold: cells whose answer is known, to tell how reliable people are; as many right as wrong ones are taken,
            as far as there are.
        truth: their answers, 0 or 1.
        agreed: cells on which models and label agree, drawn at random: the errors that they share show nowhere else.
        rng: draws and shuffles.
        share: of the queue that each of the two makes up at least, as far as there are enough.
    """
    if not 0 <= share < 0.5:
        raise SourceError(f"candidates: controls and agreed cells can't be {share:g} of the queue each")
    number = int(np.ceil(share * len(asked) / (1 - 2 * share)))
    right, wrong = (rng.permutation(np.flatnonzero(truth == answer)) for answer in (1, 0))
    half = min(len(right), max(number - number // 2, number - len(wrong)))
    chosen = np.concatenate([right[:half], wrong[: number - half]])
    parts = [asked, gold.take(chosen), agreed.take(rng.permutation(len(agreed))[:number])]
    shuffled = rng.permutation(sum(map(len, parts)))
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("picture", "label", "support"))
    kinds = np.repeat([ASKED, GOLD, AGREED], [len(part) for part in parts])
    return Cells(*columns).take(shuffled), kinds[shuffled]
