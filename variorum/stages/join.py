"""Joining: the parts of a unit become its shards and its table. Members are copied; no picture is decoded.

So the work of a unit can be shared and resumed in parts, and yet each configuration has few, large shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from variorum.edition.shards import read_shard
from variorum.edition.store import MANY, Store
from variorum.edition.tables import joined_rows, read_unit
from variorum.edition.units import row_groups
from variorum.machine.progress import Advance
from variorum.machine.retrying import changed
from variorum.machine.together import AT_ONCE, each
from variorum.schemas.canonical import Json
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import Receipt
from variorum.stages.build import Shards
from variorum.stages.job import Job, reopened
from variorum.stages.plan import ALIKE, Unit


class Join:
    """The units of a recipe of which some are made in parts."""

    name = "join"
    doing = "joining parts"
    uses_models = False

    def __init__(self, job: Job) -> None:
        self.job = job

    def parts(self) -> Sequence[Unit]:
        """The plan's units."""
        return self.job.plan.units

    def kept(self, parts: Sequence[Unit]) -> list[Receipt | None]:
        """The units' receipts."""
        there = self.job.store.receipts(part.key for part in parts)
        return [there.get(part.key) for part in parts]

    def check(self) -> None:
        """Does nothing, because no model is needed."""

    def make(self, part: Unit, advance: Advance) -> Receipt:
        """Join a unit's parts, store its receipt, and remove them.

        Raises:
            SourceChanged: this process plans other units.
            CorruptShard: a part is missing or damaged; the next run makes it again.
        """
        store = self.job.store
        if part.key not in self.job.plan.keys:
            reopened.cache_clear()  # a worker that lives on looks at the data again
            raise changed(f"source {self.job.recipe.source.component_name()}", "this process plans other units")
        keys = [one.key for one in self.job.plan.parts_of(part)]
        found = each(store.receipt, keys, at_once=1 if store.local else AT_ONCE)
        done = self.join(part, [receipt for receipt in found if receipt])
        advance(part.samples)
        return done

    def join(self, unit: Unit, receipts: Sequence[Receipt]) -> Receipt:
        """`make` with the receipts of the unit's parts, in order."""
        try:
            done = self._done(unit) or self._joined(unit, receipts)
        except (CorruptShard, FileNotFoundError):
            if not (found := self._done(unit)):  # another process has joined them meanwhile, and removed them
                raise
            done = found
        self.job.store.drop_parts(receipts)
        return done

    def _done(self, unit: Unit) -> Receipt | None:
        done = self.job.store.receipt(unit.key)
        return done if done and self.job.store.whole(done.files()) else None

    def _joined(self, unit: Unit, receipts: Sequence[Receipt]) -> Receipt:
        """Write a unit's shards and table from its parts, and store its receipt."""
        store, classes = self.job.store, len(self.job.plan.classes)
        there = {receipt.unit for receipt in receipts}
        if lost := [part for part in self.job.plan.parts_of(unit) or [unit] if part.key not in there]:
            raise CorruptShard(f"{lost[0]}: they aren't made yet, or were removed; run the recipe again")
        tables, failures = list[Any](), list[int]()
        with Shards(store) as shards:
            for receipt in receipts:
                before = sum(map(len, tables))
                tables.append(read_unit(store, receipt.rows, classes=classes))
                failures += _copy(receipt, tables[-1], before, shards, store)
            kept, places, endings = shards.kept()
        order = [*(row["place"] for row in places), *failures]
        starts = [*(row["start"] for row in places), *(-1 for _ in failures)]
        rows = store.keep_bytes(joined_rows(tables, order, starts), ".parquet", samples=len(order))
        return store.put_receipt(
            Receipt(
                unit=unit.key,
                start=unit.start,
                stop=unit.stop,
                shards=kept,
                members=endings,
                rows=rows,
                made=_made(receipts),
            )
        )


def drop(units: Sequence[Unit], store: Store) -> None:
    """Remove what killed processes left of the parts of units that have receipts."""
    keys = {unit.key for unit in units}
    begins = {key[:ALIKE] for key in keys}
    there = store.recorded("units", many=len(keys) > MANY)
    left = store.receipts(key for key in there - keys if key[:ALIKE] in begins)
    # a record under a wrong name, or with shards, is none of a part, and may be what another edition relies on
    store.drop_parts([one for key, one in left.items() if one.unit == key and not one.shards])


def _copy(receipt: Receipt, table: Any, before: int, shards: Shards, store: Store) -> list[int]:
    """Copy a part's samples into the shards of their groups; returns the places of its rows without a sample.

    Args:
        receipt: of the part.
        table: its rows.
        before: number of rows in the parts before it; places count from the first of them.
        shards: of the unit.
        store: has the part.
    """
    failures = []
    samples = read_shard(store.path(receipt.part, ".part")) if receipt.part else iter(())
    there = zip(row_groups(table).to_pylist(), table["id"].to_pylist(), strict=True)
    for place, (group, identity) in enumerate(there, before):
        if not group:
            failures.append(place)
            continue
        key, members = next(samples, ("", {}))
        if key != identity:
            raise CorruptShard(f"part {receipt.unit[:12]}: its table has {identity} where its samples have {key!r}")
        shards.write(group, key, members, {"place": place})
    if next(samples, None):
        raise CorruptShard(f"part {receipt.unit[:12]}: it has more samples than its table has rows")
    return failures


def _made(receipts: Sequence[Receipt]) -> dict[str, Json]:
    """What the receipts of parts note: the sum of their seconds, the most memory, and the last one's versions."""
    found: dict[str, Json] = {name: value for receipt in receipts for name, value in receipt.made.items()}
    for combined, names in ((sum, ("seconds", "cpu_seconds")), (max, ("peak_memory", "gpu_peak_memory"))):
        for name in names:
            if name in found:
                found[name] = combined(receipt.made.get(name, 0) for receipt in receipts)
    return found
