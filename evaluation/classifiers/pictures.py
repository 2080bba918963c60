"""Read what figures need of an edition's pictures: the variant of each, and its original photograph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.predicted.pairing import ORIGINAL, lenders_of, roots
from variorum.reports.rows import edition_rows, variants
from variorum.schemas.sample import MADE_OF

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints
    from variorum.edition.store import Store
    from variorum.schemas.manifest import Manifest


@dataclass(frozen=True, eq=False)
class Pictures:
    """The accepted pictures of an edition, in its order.

    Attributes:
        ids: of the pictures, `[N]`.
        variants: names of the variants, originals left out, in the order of making.
        variant: `[N]`, index into `variants`; -1 for originals.
        source: `[N]`, number of the original that each goes back to, from 0, in the order of their ids.
        sources: number of originals, those included that aren't in the edition.
        labelled: `[N]`, whether it has a label.
        classes: ids of the classes that occur.
        lender: `[N]`, number of the picture that lent each its plate or texture, -1 for none; empty if none did.
    """

    ids: tuple[str, ...]
    variants: tuple[str, ...]
    variant: Ints
    source: Ints
    sources: int
    labelled: Bools
    classes: frozenset[str] = frozenset()
    lender: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.ids)


def pictures_of(manifest: Manifest, store: Store) -> Pictures:
    """The accepted pictures of an edition, from its tables; no picture is read.

    Raises:
        CorruptShard: a table is damaged.
    """
    import pyarrow.compute as pc

    rows = edition_rows(manifest, store, ("id", "parent", "variant", "labels", MADE_OF))
    rows = rows.filter(pc.equal(rows["status"], "accepted"))
    ids, parents, names = (rows[name].to_pylist() for name in ("id", "parent", "variant"))
    labelled = pc.greater(pc.list_value_length(rows["labels"]), 0).to_numpy(zero_copy_only=False)
    found = arranged(ids, parents, names, labelled, variants(manifest))
    return replace(
        found,
        classes=frozenset(pc.unique(pc.list_flatten(rows["labels"])).to_pylist()),
        lender=lenders_of(pc.list_element(_lent(rows[MADE_OF]), 0)) if MADE_OF in rows.column_names else found.lender,
    )


def _lent(made_of: Any) -> Any:
    """The column with a list of one empty text for each picture that nobody lent anything."""
    import pyarrow as pa
    import pyarrow.compute as pc

    some = pc.fill_null(pc.greater(pc.list_value_length(made_of), 0), False)
    return pc.if_else(some, made_of, pa.scalar([""], pa.list_(pa.string())))


def arranged(
    ids: list[str], parents: list[str], names: list[str], labelled: Bools, order: list[str] | None = None
) -> Pictures:
    """`Pictures` from columns.

    Args:
        ids: of the pictures.
        parents: the id of the picture that each was made from, `""` for none.
        names: the variant of each.
        labelled: whether each has a label.
        order: of the variants; others follow by name.
    """
    known = [name for name in order or () if name != ORIGINAL]
    there = set(names) - {ORIGINAL}
    listed = [name for name in known if name in there] + sorted(there - set(known))
    root = roots(dict(zip(ids, parents, strict=True)))
    number = {name: place for place, name in enumerate(sorted(set(root.values())))}
    place = {ORIGINAL: -1, **{name: place for place, name in enumerate(listed)}}
    return Pictures(
        tuple(ids),
        tuple(listed),
        np.array([place[name] for name in names], np.int64),
        np.array([number[root[one]] for one in ids], np.int64),
        len(number),
        np.asarray(labelled, bool),
    )
