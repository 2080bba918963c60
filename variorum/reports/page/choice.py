"""Choose the rows of a large edition that a page shows: an even sample that keeps pictures of a photograph together."""

from __future__ import annotations

import numpy as np

from variorum.arrays import Bools, Ints

SHARE = 0.75
"""Share of the rows that is for notable ones (`said` below); the others are for comparison."""


def choose(groups: Ints, families: Ints, said: Bools, most: int) -> Ints:
    """Rows for a page, in order.

    Notable rows come first, up to a share of the page. The rest is spread evenly over the groups: a
    small group is shown as a whole, and leaves its share to the others. Within a group, families come in an order that
    is the same for all groups, those with a chosen picture first, so that an edit and its original are shown together.

    Args:
        groups: `[N]` group of each row: its variant and class.
        families: `[N]` photograph of each row.
        said: `[N]` whether a row is notable: quarantined, dropped or judged.
        most: number of rows.

    Returns:
        `[M]` row indices, M ≤ `most`; the same ones every time.
    """
    rows = np.arange(len(groups))
    if len(rows) <= most:
        return rows
    _, families = np.unique(families, return_inverse=True)
    turn = np.random.default_rng(0).permutation(int(families.max()) + 1)
    asked = np.flatnonzero(said)
    room = most if said.all() else round(SHARE * most)
    first = asked[_evenly(groups[asked], turn[families[asked]], room)]
    turn = turn + len(turn)
    turn[families[first]] -= len(turn)  # these families come before all others
    left = np.setdiff1d(rows, first)
    # rows that are chosen already count, so a group of drops doesn't get its share twice
    filled = np.bincount(groups[first], minlength=int(groups.max()) + 1)
    rest = left[_evenly(groups[left], turn[families[left]], most - len(first), filled)]
    return np.sort(np.concatenate([first, rest]))


def _evenly(groups: Ints, turn: Ints, most: int, filled: Ints | None = None) -> Ints:
    """Places of up to `most` rows, taken from the groups by turns."""
    order = np.lexsort((turn, groups))
    sorted_groups = groups[order]
    starts = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    if filled is not None:
        place = place + filled[sorted_groups]
    return order[np.lexsort((turn[order], place))[:most]]
