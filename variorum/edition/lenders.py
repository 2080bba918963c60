"""Finds the pictures that are made of other pictures, by the column `made_of` of an edition's table.

A composite shows what its plate showed, and a caption says what a neighbour's caption said. So where a picture may not
be kept, those that are made of it may not be kept either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.schemas.sample import MADE_OF, Lender

if TYPE_CHECKING:
    from variorum.arrays import Bools

OF_ONE_FILE = re.compile("[0-9a-f]{64}")
"""A `photograph` that is a hash. Any other one names a group of photographs, such as a place."""
ITSELF = ("original", "plate")
"""Variants that show the photograph as it is, and so what others are made of."""
NAMING = ("id", "source", "photograph", "parent", "variant")


def keys_of(lenders: Iterable[Lender]) -> list[str]:
    """Return the keys in a row's `made_of`: the ids, photograph and origin by which each lender can be found."""
    found = (key for one in lenders for key in (one["id"], one["source"], one["photograph"], one["origin"]) if key)
    return list(dict.fromkeys(found))


def made_of_those(table: Any, gone: Bools, keys: Iterable[str] = ()) -> Bools:
    """Return which pictures `[N]` are made of one of those that are gone, or of one that a further key names.

    Args:
        table: an edition's, with a row for each picture.
        gone: `[N]`.
        keys: as `keys_of` gives them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = np.zeros(len(table), bool)
    if MADE_OF not in table.column_names:
        return found
    rows = pa.array(np.flatnonzero(gone))
    named = names_of({name: table.column(name).take(rows) for name in NAMING})
    wanted, start = pa.concat_arrays([pa.array(list(keys), pa.string()), named]), 0
    for chunk in table.column(MADE_OF).chunks:
        hit = pc.is_in(pc.list_flatten(chunk), value_set=wanted)
        found[start + pc.list_parent_indices(chunk).filter(hit).to_numpy()] = True
        start += len(chunk)
    return found


def names_of(table: Any, shown: Sequence[str] = ITSELF) -> Any:
    """By what these pictures are named in others that are made of them, an Arrow array of texts.

    Args:
        table: their columns `NAMING`.
        shown: variants with which the photograph is gone as a whole. With another edit of it, only the edit is.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = pc.or_(pc.is_in(table["variant"], value_set=pa.array(shown, pa.string())), pc.equal(table["parent"], ""))
    photographs = table["photograph"].filter(whole)
    one_file = pc.match_substring_regex(photographs, f"^{OF_ONE_FILE.pattern}$")
    parts = [table["id"], table["source"].filter(whole), photographs.filter(one_file)]
    chunks = [chunk for part in parts for chunk in part.chunks]
    return pc.unique(pa.concat_arrays([pa.array([], pa.string()), *chunks]))
