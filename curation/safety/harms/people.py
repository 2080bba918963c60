"""People's votes on categories of unsafe pictures, and answers that are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.kit.raters.valid_votes import Cells, Counted, cells_of, counted_votes, label_cells, read_gold

if TYPE_CHECKING:
    from variorum.schemas.safety import Category
    from variorum.schemas.table import Table

VOTES, GOLD = "curate.safety.votes", "curate.safety.gold"
"""Fields that name the files, for errors."""


class People(NamedTuple):
    """The answers of people.

    Attributes:
        counted: the votes that count; None without a file.
        unsafe: cells of kind `unsafe`, with known answers; None without any.
        safe: cells of kind `safe`; None without a file of votes.
        unknown: votes on categories that aren't asked about.
    """

    counted: Counted | None = None
    unsafe: Cells | None = None
    safe: Cells | None = None
    unknown: int = 0


def read_people(votes: Path | None, gold: Path | None, categories: Sequence[Category], table: Table) -> People:
    """People's votes and known answers on an edition's pictures. Raises SourceError for a file that can't be read."""
    index = {one.id: place for place, one in enumerate(categories)}
    known = read_gold(gold, table, index, GOLD, "unsafe") if gold else {}
    if votes is None:
        return People(unsafe=_no_votes(known) if known else None)
    counted = counted_votes(votes, table, VOTES)
    unsafe, unknown = label_cells(counted.of("unsafe"), index, known)
    safe = counted.of("safe")
    return People(counted, unsafe, cells_of(safe.votes, safe.row, np.zeros_like(safe.row)), unknown)


def _no_votes(gold: Mapping[tuple[int, int], float]) -> Cells:
    """Cells of known answers alone."""
    from variorum.people.votes.tables import of_votes

    nothing = np.zeros(0, np.int64)
    return cells_of(of_votes([]), nothing, nothing, gold)
