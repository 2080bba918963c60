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
    """Which pictures of an edition are drawn, `[N]`: at most so many originals, as many of each class.

    Where there are no originals, all pictures take part. Those without a label come last.

    Args:
        table: a row per picture, as `chosen` gets it.
        ctx: has the seed.
        name: of the evaluation; each draws its own.
        most: how many.
    """
    original = table["variant"] == ORIGINAL
    rows = np.flatnonzero(original if original.any() else ~original)
    ids, label = table["id"], table["label"].astype(np.int64)
    turn, order = Counter[int](), []
    for row in sorted(rows.tolist(), key=lambda row: derive_seed(ctx.seed, name, str(ids[row]))):
        own = int(label[row])
        order.append((own < 0, turn[own], len(order), row))
        turn[own] += 1
    found = np.zeros(len(table), bool)
    found[[row for *_, row in sorted(order)[:most]]] = True
    return found
