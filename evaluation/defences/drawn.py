"""Draw the pictures that costly measures look at."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.predicted.pairing import ORIGINAL
from variorum.schemas.canonical import derive_seed
from variorum.schemas.component import Context
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools


def originals(table: Table, ctx: Context, name: str, most: int) -> Bools:
    """At most so many originals, as many of each class, of the table that `chosen` gets: truth values `[N]`.

    Without originals all pictures take part. Those without a label come last. Each evaluation, by its name, draws anew.
    """
    rows = np.flatnonzero(table["variant"] == ORIGINAL)
    rows = rows if len(rows) else np.arange(len(table))
    ids, label, turn, order = table["id"], table["label"].tolist(), Counter[int](), list[tuple[bool, int, int, int]]()
    for row in sorted(rows.tolist(), key=lambda row: derive_seed(ctx.seed, name, str(ids[row]))):
        order.append((label[row] < 0, turn[label[row]], len(order), row))
        turn[label[row]] += 1
    return np.asarray(np.isin(np.arange(len(table)), [row for *_, row in sorted(order)[:most]]))
