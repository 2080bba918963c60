"""An edition's table with all of its columns, and with those of its detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import Any

import numpy as np

from variorum.api.arguments import whole_number
from variorum.arrays import scalar_columns, taken
from variorum.edition.columns import EDITION_COLUMNS, JUDGED, NEW, column_kinds, reading
from variorum.edition.editions import base_of
from variorum.edition.ledgers import read_ledger
from variorum.edition.store import Store
from variorum.edition.tables import KEYS, joined, read_keyed, read_unit
from variorum.edition.units import with_splits
from variorum.edition.verdicts import read_verdicts, settle
from variorum.machine.progress import QUIET
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Ledger, Manifest, ShardInfo
from variorum.schemas.secrets import shown
from variorum.stages.release import SILENT

AT_ONCE = 4
"""Tables that are read at a time: decoding them takes more time than reading."""
MOST = 20
"""Names of columns that an error lists."""


def edition_table(
    manifest: Manifest, store: Store, columns: Sequence[str] | None = None, ledger: bool | int = False
) -> Any:
    """All rows of an edition as a `pyarrow.Table`, unit by unit.

    Args:
        manifest: the edition.
        store: its store.
        columns: names, in order; all by default. Those of verdicts that an edition is asked for by name are its newest
            ledger's.
        ledger: add the measurements and scores of a ledger's detectors, and its verdicts where the rows have none: True
            for the release's own ledger, or an edition's newest; a number for another one.

    Raises:
        StoreError: no such column or ledger.
        CorruptShard: a table is damaged.
    """
    import pyarrow as pa

    judged = manifest.ledger is None and (ledger is not False if columns is None else bool({*columns} & {*JUDGED}))
    wanted = None if columns is None else {*columns, "status"}  # which every table has
    if wanted is not None:
        wanted |= {"id"} if judged or ledger is not False else set()
        wanted |= {"labels"} if judged else set()
        wanted |= {"source"} if manifest.format == 3 else set()  # what that has in place of `photograph`
    # the files are hashed in parallel first, which a store does once for each
    store.sound([(info, ".parquet") for info in manifest.rows], QUIET)

    def read(info: ShardInfo) -> Any:
        pick = (lambda _: True) if wanted is None else wanted.__contains__
        return read_unit(store, info, pick, classes=len(manifest.classes))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        table = pa.concat_tables(pool.map(read, manifest.rows), promote_options="default")
    table = with_splits(table) if manifest.format == 3 else table
    own = [*EDITION_COLUMNS, *NEW, *(JUDGED if manifest.ledger or judged else ())]
    gates = sorted(name for name in table.column_names if name.startswith("gate."))
    for name in own:
        if name not in table.column_names and (wanted is None or name in wanted):
            table = table.append_column(name, pa.nulls(len(table), column_kinds()[name]))
    found = {name: table.column(name) for name in [*own, *gates] if name in table.column_names}
    said = None if ledger is False else ledger_of(manifest, store, ledger)
    if judged:
        found |= _judged(said or ledger_of(manifest, store), store, table)
    if said:
        found |= ledger_columns(said, store, table.column("id"), wanted)
    names = list(found) if columns is None else list(columns)
    if missing := [name for name in names if name not in found]:
        raise no_column(
            missing[0], [*{*own, *JUDGED}, *gates, *(ledger_names(said, store) if said else ())], ledger=bool(said)
        )
    return pa.table({name: found[name] for name in names})


def no_column(name: str, known: Sequence[str], *, ledger: bool) -> StoreError:
    """The error for a column that doesn't exist, with the names that are most like it."""
    near = get_close_matches(name, known, MOST, cutoff=0.0)
    hint = f" (did you mean {near[0]}?)" if get_close_matches(name, known, 1) else ""
    more = "" if ledger else "; columns of detectors need ledger=True"
    rest = f" and {len(known) - len(near)} more" if len(known) > len(near) else ""
    return StoreError(f"no column {cut(repr(name))}{hint}; there are: {', '.join(near)}{rest}{more}")


def ledger_of(manifest: Manifest, store: Store, number: bool | int = True) -> Ledger:
    """The ledger of a release, an edition's newest, or the one of this number. Raises StoreError if there is none."""
    if number is True and manifest.ledger:
        return manifest.ledger
    wanted = None if number is True else whole_number("ledger", number, 1, None, StoreError)
    return read_ledger(origin_of(manifest, store), store, wanted)[1]


def origin_of(manifest: Manifest, store: Store) -> Manifest:
    """The edition that a release was made from; an edition itself.

    Raises:
        StoreError: it is gone, or another edition has its version now.
    """
    if manifest.ledger is None:
        return manifest
    found = base_of(manifest, store)
    if found is None:
        raise StoreError(
            f"the edition that {manifest.dataset}@{manifest.version} was made from isn't in {shown(store.url)} any more"
        )
    return found


def _judged(ledger: Ledger, store: Store, table: Any) -> Mapping[str, Any]:
    """What a ledger decided, in the columns that a release's rows have; null for pictures without a verdict."""
    import pyarrow as pa
    import pyarrow.compute as pc

    said = settle(read_verdicts(ledger.verdicts, store))
    said = said.filter(pc.invert(pc.is_in(said["action"], value_set=pa.array(SILENT))))
    place = pc.index_in(table.column("id"), value_set=said["id"])
    names = {"action": "action", "by": "by", "why": "reason", "value": "value"}
    rows = taken(said.select(list(names.values())), pc.fill_null(place, -1).to_numpy().astype(np.int64))
    found = {name: rows[other] for name, other in names.items()}
    given = table.column("labels")
    return {**found, "given": pc.if_else(place.is_valid(), given, pa.scalar(None, given.type))}


def ledger_names(ledger: Ledger, store: Store) -> list[str]:
    """Names of the columns of a ledger's detectors that are neither vectors nor raw bytes, in order."""
    import pyarrow.parquet as pq

    found: dict[str, None] = {}
    for infos in _parts(ledger).values():
        with reading(store, infos[0]):
            found |= dict.fromkeys(_scalars(pq.read_schema(store.path(infos[0], ".parquet"))))
    return list(found)


def ledger_columns(ledger: Ledger, store: Store, ids: Any, wanted: set[str] | None) -> Mapping[str, Any]:
    """The detectors' columns, by name, for the pictures with these ids; null for pictures that they didn't see.

    Vectors and raw bytes are left out.
    """
    import pyarrow.compute as pc

    def pick(schema: Any) -> list[str]:
        return [name for name in _scalars(schema) if wanted is None or name in wanted]

    found: dict[str, Any] = {}
    for (step, _), infos in _parts(ledger).items():
        table = joined(f"curate.{step}", [read_keyed(store, info, pick) for info in infos])
        if table.num_columns > len(KEYS):
            place = pc.index_in(ids, value_set=table.column("id").combine_chunks())
            found |= {name: table.column(name).take(place) for name in table.column_names if name not in KEYS}
    return found


def _parts(ledger: Ledger) -> dict[tuple[str, str], list[ShardInfo]]:
    """The tables of each detector: measurements, and scores, whose columns differ."""
    measured = {(step, "measured"): infos for step, infos in ledger.measured.items() if infos}
    return measured | {(step, "scored"): [info] for step, info in ledger.scored.items()}


def _scalars(schema: Any) -> list[str]:
    return [name for name in scalar_columns(schema) if name not in KEYS]
