"""Which labels of a picture people are asked about: cells proposed by models, neighbours or the dataset itself.

Reviewers don't see who proposed a label. Some cells with a known answer and some that nobody doubts are mixed in, since
otherwise the panel would only see disagreements between models and labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

ASKED, GOLD, AGREED = 0, 1, 2
"""Why a cell is in the queue: it is in doubt, its answer is known, or models and label agree on it."""


@dataclass(frozen=True, slots=True)
class Cells:
    """C cells, each one label of one picture: `picture [C]`, `label [C]`, and the number of proposals `support [C]`."""

    picture: Ints
    label: Ints
    support: Ints

    def __len__(self) -> int:
        return len(self.picture)

    def take(self, rows: Ints) -> Cells:
        """The cells in these rows, in this order."""
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
    """Cells for all models' top guesses, their further guesses above `least`, the given labels and other proposals.

    A few different models suffice: six gave 97 % of the right labels on ImageNet (Beyer et al. 2020, arXiv 2006.07159).
    Cells are sorted by picture and label.

    Args:
        top: `[M, N, k]` best classes of M models for N pictures, best first.
        p: `[M, N, k]` their probabilities.
        given: `[N]` the dataset's labels, -1 for none.
        others: further proposals, `[N]` each, -1 for none: the neighbours' majority, a zero-shot guess.
        least: a guess after the first needs a probability above this.
        cap: most cells per picture. The given label comes first, then cells with more proposals, a higher probability,
            a lower label.
        partners: class to the classes that people can't tell from it (`accuracy.COLLAPSED`), which are added.
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
    """Rows of the cells by descending doubt `[C]` (in [0, 1]) / √(class size). Ties go by picture and label.

    A class a hundred times smaller thus gets ten times the priority.
    """
    rarity = 1 / np.sqrt(np.maximum(class_sizes[cells.label], 1))
    return np.lexsort((cells.label, cells.picture, -np.asarray(doubt, np.float64) * rarity))


def with_controls(
    asked: Cells, gold: Cells, truth: Ints, agreed: Cells, rng: np.random.Generator, share: float = 0.1
) -> tuple[Cells, Ints]:
    """The shuffled queue for people, and why each cell is in it (`ASKED`, `GOLD`, `AGREED`), which they must not see.

    Args:
        asked: cells in doubt.
        gold: cells with a known answer, to measure reliability. Right and wrong ones are taken in equal numbers if
            possible.
        truth: answers of the gold cells, 0 or 1.
        agreed: cells on which models and label agree, drawn at random; errors that both share show up only here.
        rng: draws and shuffles.
        share: least share of the queue for each of the two, if there are enough cells.
    """
    if not 0 <= share < 0.5:
        raise SourceError(f"candidates: the share of gold and of agreed cells must be in [0, 0.5), not {share:g}")
    number = int(np.ceil(share * len(asked) / (1 - 2 * share)))
    right, wrong = (rng.permutation(np.flatnonzero(truth == answer)) for answer in (1, 0))
    half = min(len(right), max(number - number // 2, number - len(wrong)))
    chosen = np.concatenate([right[:half], wrong[: number - half]])
    parts = [asked, gold.take(chosen), agreed.take(rng.permutation(len(agreed))[:number])]
    shuffled = rng.permutation(sum(map(len, parts)))
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("picture", "label", "support"))
    kinds = np.repeat([ASKED, GOLD, AGREED], [len(part) for part in parts])
    return Cells(*columns).take(shuffled), kinds[shuffled]
