"""The pictures that a panel can ask about, and what a ledger says of them.

They are sorted by id, so that neither the order of shards nor that of a table decides what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.edition.store import Store
from variorum.edition.verdicts import OUT, read_verdicts, settle
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.table import Table
from variorum.stages.score import curated_table, picture_table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Verdicted:
    """The ledger's verdicts on N pictures.

    Attributes:
        dropped: `[N]` whether a release leaves the picture out.
        asked: `[N]` whether people are asked about its label.
        drawn: `[N]` whether `audit` has drawn the picture for its random check.
        worth: `[N]` of asking, in [0, 1]; NaN if unknown.
        picture: `[M]` pictures with a new or proposed label.
        label: `[M]` index of that label, -1 if the edition doesn't have it.
        reasons: by picture and reason, the verdicts that aren't settled: columns `picture` and `reason`.
    """

    dropped: Bools
    asked: Bools
    drawn: Bools
    worth: Floats
    picture: Ints
    label: Ints
    reasons: Any


@dataclass(frozen=True, slots=True)
class Pictures:
    """The accepted pictures of an edition, sorted by id.

    Attributes:
        ids: Arrow array `[N]`.
        sha256: Arrow array `[N]`, of their encoded images.
        named: ids and names of the K classes, in index order.
        table: the edition's columns and, with a ledger, those of its detectors, in the table's own order.
        order: `[N]` rows of the table by id.
        said: the ledger's verdicts; None without a ledger.
        names: the columns there are.
    """

    ids: Any
    sha256: Any
    named: tuple[tuple[str, str], ...]
    table: Table
    order: Ints
    said: Verdicted | None
    names: frozenset[str] = field(default=frozenset())

    def __len__(self) -> int:
        return len(self.order)

    @classmethod
    def read(cls, manifest: Manifest, ledger: Ledger | None, store: Store) -> Pictures:
        """Those of a sealed edition with a ledger of it."""
        if ledger is None:
            return cls.of(Table(picture_table(manifest, store)), manifest.classes)
        table = curated_table(manifest, ledger, sorted({*ledger.measured, *ledger.scored}), store)
        return cls.of(table, manifest.classes, read_verdicts(ledger.verdicts, store))

    @classmethod
    def of(cls, table: Table, classes: Sequence[tuple[str, str]], verdicts: Any = None) -> Pictures:
        """Those of a table, in whatever order, with an Arrow table of verdicts or None."""
        import pyarrow.compute as pc

        order = pc.sort_indices(table.column("id")).to_numpy().astype(np.int64)
        ids, sha256 = (table.column(name).take(order).combine_chunks() for name in ("id", "sha256"))
        said = None if verdicts is None else verdicted(verdicts, ids, [identity for identity, _ in classes])
        return cls(ids, sha256, tuple(classes), table, order, said, frozenset(table.arrow.column_names))

    @property
    def classes(self) -> tuple[str, ...]:
        """Ids of the classes."""
        return tuple(identity for identity, _ in self.named)

    def column(self, name: str) -> Array:
        """A column `[N]` or `[N, d]`, in the order of the ids. Raises RecipeError if there is none."""
        return np.asarray(self.table[name][self.order])

    def arrow(self, name: str) -> Any:
        """The same as Arrow holds it."""
        return self.table.column(name).take(self.order).combine_chunks()

    def places(self, ids: Any) -> Ints:
        """Place of each id in an Arrow array, -1 for an unknown one."""
        import pyarrow.compute as pc

        return np.asarray(pc.fill_null(pc.index_in(ids, value_set=self.ids), -1).to_numpy(zero_copy_only=False)).astype(
            np.int64
        )

    def labels_of(self, ids: Any) -> Ints:
        """Index of each class id in an Arrow array of texts, -1 for an unknown one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(ids, value_set=pa.array(self.classes, pa.string()))
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False)).astype(np.int64)

    def given(self) -> tuple[Ints, Ints]:
        """The given labels of all pictures: picture and index of the class, a picture's labels in their own order."""
        return exploded(self.arrow("labels"), self)

    def dropped(self) -> Bools:
        """`[N]` pictures that a release leaves out, which nobody is asked about."""
        return np.zeros(len(self), bool) if self.said is None else self.said.dropped


def exploded(lists: Any, pictures: Pictures) -> tuple[Ints, Ints]:
    """Picture and class index of every text in an Arrow column `[N]` of lists; unknown classes are left out."""
    import pyarrow.compute as pc

    picture = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    label = pictures.labels_of(pc.list_flatten(lists))
    return picture[label >= 0], label[label >= 0]


def verdicted(said: Any, ids: Any, classes: Sequence[str]) -> Verdicted:
    """Read a table of verdicts on the pictures with these sorted ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    settled = settle(said)

    def where(verdicts: Any, *actions: str) -> tuple[Any, Ints]:
        mine = verdicts.filter(pc.is_in(verdicts["action"], value_set=pa.array(actions, pa.string())))
        place = pc.index_in(mine["id"], value_set=ids)
        known = pc.is_valid(place)
        return mine.filter(known), place.filter(known).to_numpy().astype(np.int64)

    dropped, asked, drawn = (np.zeros(len(ids), bool) for _ in range(3))
    dropped[where(settled, *OUT)[1]] = True
    reviews, place = where(settled, "review")
    asked[place] = True
    audits, places = where(said, "audit")
    drawn[places[pc.equal(audits["reason"], "drawn").to_numpy(zero_copy_only=False)]] = True
    worth = np.full(len(ids), np.nan)
    worth[place] = np.clip(reviews["worth"].to_numpy(), 0, 1)
    proposing, place = where(said, "review", "relabel")
    lists = proposing["labels"].combine_chunks()
    label = pc.index_in(pc.list_flatten(lists), value_set=pa.array(classes, pa.string()))
    known = pc.is_valid(label).to_numpy(zero_copy_only=False)
    picture = place[pc.list_parent_indices(lists).to_numpy()][known]
    reasons = pa.table({"picture": place, "reason": proposing["reason"]})
    return Verdicted(dropped, asked, drawn, worth, picture, label.drop_null().to_numpy().astype(np.int64), reasons)
