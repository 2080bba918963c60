"""Choose the labels of a picture that people are asked about: proposed by models, neighbours or the dataset itself.

The detector `candidates` proposes cells with these functions, and `variorum.people.panel` makes questions of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints


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
        top: `[M, N, k]` best classes of M models for N pictures, best first, -1 for none.
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
    wanted &= top >= 0
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
