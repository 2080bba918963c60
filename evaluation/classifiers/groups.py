"""Groups of pictures: what belongs to which household, how alike its answers are, weights of classes.

Pictures of one household aren't independent. So each group has an effective number of pictures: that of independent
pictures that would say as much (Donner, Biometrics 1989; Rao & Scott, Biometrics 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints


class Cells(NamedTuple):
    """Units of counting: the pictures of one household that are in one group.

    Attributes:
        household: number of each cell's household, `[C]`.
        group: number of its group, `[C]`.
        households: their number.
        names: of the groups, each with a cell.
    """

    household: Ints
    group: Ints
    households: int
    names: tuple[str, ...]

    def spread(self, values: Floats) -> Floats:
        """Values of cells `[C]` by group and household, `[G, H]`."""
        found = np.zeros((len(self.names), self.households))
        found[self.group, self.household] = values
        return found

    def by_group(self, values: Floats) -> Floats:
        """Sums of values of cells `[C]` by group, `[G]`."""
        return np.bincount(self.group, values, len(self.names)).astype(np.float64)


def cells_of(household: Ints, group: Ints, names: Sequence[str]) -> tuple[Cells, Ints]:
    """The cells of pictures with these households and groups `[N]`, and the cell of each picture, -1 for none.

    Args:
        household: 0 or above.
        group: number in `names`, -1 for none. Each group has a picture.
        names: of the groups.
    """
    there = group >= 0
    known, numbered = np.unique(household[there], return_inverse=True)
    codes, place = np.unique(numbered * max(1, len(names)) + group[there], return_inverse=True)
    cell = np.full(len(group), -1)
    cell[there] = place
    owner, member = np.divmod(codes, max(1, len(names)))
    return Cells(owner, member, len(known), tuple(names)), cell


def gathered(values: Floats, cell: Ints, cells: Cells) -> Floats:
    """Sums `[C]` of values `[N]` by their cell, leaving out those of none."""
    there = cell >= 0
    return np.bincount(cell[there], values[there], len(cells.group)).astype(np.float64)


class Answers(NamedTuple):
    """Sums over the pictures of each cell, `[C]` all.

    Attributes:
        right: of the weights of right answers.
        weight: of all weights.
        squares: of the squares of weights.
    """

    right: Floats
    weight: Floats
    squares: Floats


def answers_of(right: Floats, weight: Floats, cell: Ints, cells: Cells) -> Answers:
    """The sums of pictures that are right (1) or not (0) and have weights, `[N]` both; `cell` as of `cells_of`."""
    return Answers(*(gathered(part, cell, cells) for part in (right * weight, weight, weight**2)))


class Alike(NamedTuple):
    """Likeness of the answers in one household: correlations of two pictures, from 0 to 1.

    Attributes:
        overall: over all groups, which also holds between pictures of one household in two groups.
        by_group: `overall`, or that of the group alone if it is larger, `[G]`.
    """

    overall: float
    by_group: Floats


def alike(answers: Answers, cells: Cells) -> Alike:
    """The correlations of answers, by an analysis of variance of their deviations from the rate of their group.

    Args:
        answers: each of weight 1.
        cells: of one or more groups.
    """
    right, number, _ = answers
    size = cells.by_group(number)
    rate = cells.by_group(right) / size
    away, spread = right - rate[cells.group] * number, size * rate * (1 - rate)
    households = [np.bincount(cells.household, part, cells.households).astype(np.float64) for part in (away, number)]
    overall = _correlation(*households, spread=float(spread.sum()), groups=len(rate))
    own = [
        _correlation(away[mine], number[mine], spread=float(spread[one]), groups=1)
        for one in range(len(rate))
        for mine in [cells.group == one]
    ]
    return Alike(overall, np.maximum(own, overall))


def _correlation(away: Floats, number: Floats, *, spread: float, groups: int) -> float:
    """The intraclass correlation from the deviations of households `[H]`, their sizes, and the sum of squares."""
    households, pictures = len(number), number.sum()
    if households <= groups or pictures <= households:
        return 0.0
    squares = float((away**2 / number).sum())
    between, within = squares / (households - groups), max(0.0, spread - squares) / (pictures - households)
    usual = (pictures - (number**2).sum() / pictures) / (households - 1)
    total = between + (usual - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 0.0


def effective(answers: Answers, cells: Cells, correlation: Floats) -> Floats:
    """Effective numbers of pictures `[G]`: as many independent ones say as much as the weighted mean of a group.

    Args:
        answers: of all pictures.
        cells: likewise.
        correlation: of the answers of one household by group, `[G]`.
    """
    apart, together = cells.by_group(answers.squares), cells.by_group(answers.weight**2)
    return np.asarray(cells.by_group(answers.weight) ** 2 / ((1 - correlation) * apart + correlation * together))


def equal_shares(classes: Ints, group: Ints, groups: int) -> tuple[Floats, int]:
    """Weights `[N]` of pictures with which the shared classes have equal shares in each group, and their number.

    A class is shared if each group has a picture of it; pictures of other classes weigh nothing.

    Args:
        classes: number of each picture's class, `[N]`, -1 for none.
        group: number of its group, -1 for none.
        groups: their number.
    """
    there = (group >= 0) & (classes >= 0)
    width = int(classes.max(initial=-1)) + 1
    codes = group * width + classes
    counts = np.bincount(codes[there], minlength=groups * width)
    shared = np.asarray(counts.reshape(groups, width).all(axis=0))
    weighs = there.copy()
    weighs[there] = shared[classes[there]]
    weights = np.zeros(len(group))
    weights[weighs] = 1 / counts[codes[weighs]]
    return weights, int(shared.sum())
