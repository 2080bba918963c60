"""Tables of verdicts: what deciders said, and what it comes to for each picture.

They are columns from end to end, so that a million verdicts are no million Python objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from variorum.arrays import Floats, Ints, taken
from variorum.edition.columns import check_columns, reading
from variorum.edition.lenders import made_of_those
from variorum.edition.store import Store
from variorum.edition.tables import keep_file, read_part
from variorum.schemas.errors import RecipeError, cut
from variorum.schemas.manifest import ShardInfo
from variorum.schemas.verdict import Action, Verdict, Verdicts

VERDICT = ("id", "sha256", "action", "by", "reason", "labels", "value", "worth")
"""Columns of a table of verdicts."""
SINCE = {"worth"}
"""Columns that the tables of older versions lack."""
GROUP = 1 << 20
"""Verdicts that are written at a time, in a row group."""
STRENGTH: Mapping[Action, int] = {
    "withhold": 8,
    "drop": 7,
    "unasked": 6,
    "review": 5,
    "relabel": 4,
    "weight": 3,
    "audit": 2,
    "keep": 1,
    "note": 0,
}
"""The stronger action wins if deciders differ. Nothing undoes `withhold`. Review beats relabel, but not drop: damaged
pictures need no review."""
MADE_OF_WITHHELD = "made_of_withheld"
"""Reason why a picture is withheld that is made of a withheld one."""
OUT: tuple[Action, ...] = ("withhold", "drop")
"""Actions that leave a picture out of a release."""


def verdict_table(given: Iterable[Verdict | Verdicts], pictures: Any) -> Any:
    """Verdicts as a table with the columns `VERDICT`, in the order in which they were given.

    Raises:
        RecipeError: a verdict on a picture that isn't in the edition.
    """
    import pyarrow as pa

    parts, single = list[Any](), list[Verdict]()
    for one in given:
        if isinstance(one, Verdict):
            single.append(one)
            continue
        parts += _of_singles(single, pictures)
        single = []
        parts.append(_of_many(one, pictures))
    parts += _of_singles(single, pictures)
    return pa.concat_tables([_schema().empty_table(), *parts])


def _of_singles(single: list[Verdict], pictures: Any) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not single:
        return []
    table = pa.table({name: [getattr(one, name) for one in single] for name in VERDICT}, schema=_schema())
    rows = rows_of(pictures["id"], table["id"]).fill_null(-1).to_numpy()
    known = taken(_columns(pictures, ["sha256"]), rows)
    same = pc.fill_null(pc.equal(known["sha256"], table["sha256"]), False).to_numpy(zero_copy_only=False)
    if not same.all():
        odd = single[int(np.argmin(same))]
        raise RecipeError(f"curate.{odd.by}: gave a verdict on {odd.id}, which isn't a picture of the edition")
    return [table]


def _of_many(one: Verdicts, pictures: Any) -> Any:
    import pyarrow as pa

    number, rows = len(pictures), one.rows
    if len(rows) and (rows.min() < 0 or rows.max() >= number):
        raise RecipeError(f"curate.{one.by}: gave a verdict on row {rows.max()} of an edition of {number} pictures")
    labels = pa.array(one.labels or [], pa.string())
    ends = np.arange(len(rows) + 1, dtype=np.int32) if one.labels is not None else np.zeros(len(rows) + 1, np.int32)
    keys = taken(_columns(pictures, ["id", "sha256"]), rows)
    columns = {
        "id": keys["id"],
        "sha256": keys["sha256"],
        **{name: pa.repeat(pa.scalar(getattr(one, name)), len(rows)) for name in ("action", "by", "reason")},
        "labels": pa.ListArray.from_arrays(pa.array(ends), labels),
        "value": pa.array(one.value),
        "worth": pa.array(one.worth),
    }
    return pa.table(columns, schema=_schema())


def _columns(pictures: Any, names: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.table({name: pictures[name] for name in names})


def rows_of(ids: Any, wanted: Any) -> Any:
    """The row in `ids` of each wanted one, null for none; the memory grows with the wanted ones only.

    Args:
        ids: Arrow column `[N]` of distinct texts.
        wanted: Arrow column `[M]`.

    Returns:
        Arrow array `[M]` of int64.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = wanted.dictionary_encode().combine_chunks()
    found = pc.index_in(ids, value_set=coded.dictionary)
    rows = np.full(len(coded.dictionary), -1, np.int64)
    rows[found.drop_null().to_numpy()] = np.flatnonzero(found.is_valid().to_numpy())
    rows = rows[coded.indices.to_numpy()]
    return pa.array(rows, mask=rows < 0)


def verdicts_of(said: Any) -> Iterator[Verdict]:
    """The rows of a table of verdicts, one by one."""
    for batch in said.to_batches(max_chunksize=1 << 16):
        for row in batch.to_pylist():
            yield Verdict(**{**row, "labels": tuple(row["labels"])})


def settle(said: Any) -> Any:
    """One verdict per picture: the strongest action, the first of equal ones; a table, in the order of first mention.

    Deciders that propose different labels send the picture to review. Weights multiply. What asking is worth is what
    the last decider that asks says.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(said):
        return said
    group = said["id"].dictionary_encode().combine_chunks().indices.to_numpy().astype(np.int64)
    strength = _strengths(said["action"])
    order = np.lexsort((-strength, group))
    winner = order[np.unique(group[order], return_index=True)[1]]
    won = strength[winner]
    relabels, weighs = (strength == STRENGTH[action] for action in ("relabel", "weight"))
    labels = said.select(["labels"])
    proposals = np.flatnonzero(relabels & (won[group] == STRENGTH["relabel"]))
    one, first = (
        pc.fill_null(pc.binary_join(taken(labels, rows)["labels"], "\x1f"), "")
        for rows in (proposals, winner[group[proposals]])
    )
    other = pc.not_equal(one, first).to_numpy()
    differ = np.zeros(len(winner), bool)
    differ[group[proposals[other]]] = True
    value, worth = said["value"].to_numpy(), said["worth"].to_numpy()
    values = np.where(won == STRENGTH["weight"], _product(value, group, weighs, len(winner)), value[winner])
    most = np.full(len(winner), np.nan)
    asks = np.flatnonzero((strength == STRENGTH["review"]) & ~np.isnan(worth))
    most[group[asks]] = worth[asks]  # the last one counts
    asked = np.isin(won, (STRENGTH["review"], STRENGTH["unasked"]))
    found, differs = taken(said, winner), pa.array(differ)
    new = {
        "action": pc.if_else(differs, "review", found["action"]),
        "reason": pc.if_else(differs, "labels_differ", found["reason"]),
        "labels": pc.if_else(differs, pa.scalar([], pa.list_(pa.string())), found["labels"]),
        "value": pa.array(values),
        "worth": pa.array(np.where(asked, most, np.nan)),
    }
    return pa.table({name: new.get(name, found[name]) for name in found.column_names}, schema=found.schema)


def with_what_follows(said: Any, pictures: Any) -> Any:
    """The verdicts, and a `withhold` for every picture that has the bytes of a withheld one or is made of it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = said.filter(pc.equal(said["action"], "withhold"))
    if not len(first):
        return said
    said = _with_same_content(said, pictures)
    for by in pc.unique(first["by"]).to_pylist():
        mine = said.filter(pc.and_(pc.equal(said["action"], "withhold"), pc.equal(said["by"], by)))
        gone = pc.is_in(pictures["id"], value_set=mine["id"]).to_numpy()
        rows = np.flatnonzero(made_of_those(pictures, gone) & ~gone)
        missing = np.full(len(rows), np.nan)
        follow = Verdicts(rows, "withhold", by, MADE_OF_WITHHELD, None, missing, missing)
        said = pa.concat_tables([said, _of_many(follow, pictures)])
    return said


def _with_same_content(said: Any, pictures: Any) -> Any:
    """Without what is made of others: a caption that is another picture's may belong to pixels that may be shown."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = said.filter(pc.and_(pc.equal(said["action"], "withhold"), pc.not_equal(said["reason"], MADE_OF_WITHHELD)))
    alike = pc.is_in(pictures["sha256"], value_set=first["sha256"])
    judged = pc.is_in(pictures["id"], value_set=first["id"])
    others = {name: pictures[name].filter(pc.and_not(alike, judged)) for name in ("id", "sha256")}
    which = first.take(pc.index_in(others["sha256"], value_set=first["sha256"]))
    named = {name: others.get(name, which[name]) for name in VERDICT}
    return pa.concat_tables([said, pa.table(named, schema=said.schema)])


def _strengths(actions: Any) -> Ints:
    coded = actions.dictionary_encode().combine_chunks()
    strengths = np.array([STRENGTH[name] for name in coded.dictionary.to_pylist()], np.int64)
    return np.asarray(strengths[coded.indices.to_numpy()])


def _product(values: Floats, group: Ints, counted: Any, groups: int) -> Floats:
    found = np.ones(groups)
    np.multiply.at(found, group[counted], values[counted])
    return found


def keep_verdicts(said: Any, store: Store) -> ShardInfo:
    """Store a table of verdicts, sorted by id and, within an id, in the order in which they were given."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    said = said.select(VERDICT)
    order = pc.sort_indices(said["id"]).to_numpy().astype(np.int64)

    def write(file: Any) -> None:
        with pq.ParquetWriter(file, said.schema, compression="zstd") as writer:
            for start in range(0, len(said), GROUP):
                writer.write_table(taken(said, order[start : start + GROUP]), GROUP)

    return keep_file(store, len(said), write)


def read_verdicts(info: ShardInfo, store: Store) -> Any:
    """The table of `keep_verdicts`. Raises CorruptShard for any other table."""
    import pyarrow as pa

    said = read_part(store, info, lambda schema: schema.names)
    with reading(store, info):
        for name in SINCE - set(said.schema.names):
            said = said.append_column(name, pa.array(np.full(len(said), np.nan)))
        if not said.schema.equals(_schema()):
            raise ValueError("its columns aren't those of verdicts")
        if lacking := [name for name in VERDICT if said.column(name).null_count]:
            raise ValueError(f"column {lacking[0]!r} lacks values")
        check_columns(said)
        if odd := set(said.column("action").unique().to_pylist()) - set(get_args(Action)):
            raise ValueError(f"no action {cut(ascii(min(odd)))}")
    return said


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"labels": pa.list_(pa.string()), "value": pa.float64(), "worth": pa.float64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in VERDICT])
