"""Choose the copy that stays when the picture that it is a copy of is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.curation.rules.rule import COPIES

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints
    from variorum.schemas.table import Table


@dataclass(frozen=True, slots=True)
class Copies:
    """The findings of `duplicates` on N pictures.

    Attributes:
        keeper: `[N]` row of the picture that stays instead; the row itself if it stays or has no such picture.
        place: `[N]` distinct ranks, best first: by detail, size, id.
    """

    keeper: Ints
    place: Ints

    @classmethod
    def read(cls, table: Table, ties: Ints) -> Copies:
        """From the columns of `duplicates`. `ties` `[N]` are distinct and settle equal ranks."""
        import pyarrow.compute as pc

        found = pc.index_in(table.column(f"{COPIES}.keeper"), table.column("id").combine_chunks()).fill_null(-1)
        keeper = np.where(found.to_numpy() >= 0, found.to_numpy(), np.arange(len(table)))
        detail, height, width = (table[f"{COPIES}.{name}"] for name in ("detail", "height", "width"))
        order = np.lexsort((ties, -height * width, -detail))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return cls(keeper, place)

    def substitutes(self, dropped: Bools, as_copy: Bools, stays: Bools) -> Bools:
        """Rows `[N]` that must stay: the best copy of each dropped picture that no other copy replaces yet.

        Args:
            dropped: rows that are dropped.
            as_copy: rows that are dropped by a rule that drops copies.
            stays: rows that no such rule may drop; another rule may.
        """
        found, rows = np.zeros(len(dropped), bool), np.arange(len(dropped))
        replaced = np.zeros(len(dropped), bool)
        replaced[self.keeper[stays & ~dropped]] = True
        orphans = np.flatnonzero(as_copy & (self.keeper != rows) & dropped[self.keeper] & ~replaced[self.keeper])
        orphans = orphans[np.argsort(self.place[orphans])]
        found[orphans[np.unique(self.keeper[orphans], return_index=True)[1]]] = True
        return found
