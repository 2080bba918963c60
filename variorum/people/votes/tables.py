"""A table of votes: its columns, and the way from rows of the database and from votes into it and back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from variorum.schemas.vote import Vote

COLUMNS = (
    "vote", "kind", "id", "sha256", "subject", "reviewer", "answer", "round", "category", "severity", "reason",
    "comment", "box", "seconds", "at", "replaces", "question", "task", "number", "truth",
)  # fmt: skip
"""Columns of a table of votes, in order: the fields of a `Vote`, then those that the panel adds.

`truth` is the answer that the panel was published with, yes or no; `""` where none is known, or it is only presumed.
"""
OF_VOTE = COLUMNS[:16]


def schema() -> Any:
    """The types of the columns. Only `box`, `task` and `number` may be null; `seconds` is NaN where it is unknown."""
    import pyarrow as pa

    special = {
        "round": pa.int8(),
        "box": pa.list_(pa.float64()),
        "seconds": pa.float64(),
        "at": pa.float64(),
        "task": pa.int32(),
        "number": pa.int64(),
    }
    nullable = ("box", "task", "number")
    return pa.schema([pa.field(name, special.get(name, pa.string()), name in nullable) for name in COLUMNS])


def of_rows(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows of the database as a table."""
    import pyarrow as pa

    columns = {name: [row.get(name, "") for row in rows] for name in COLUMNS}
    columns["box"] = [json.loads(box) if box else None for box in columns["box"]]
    columns["seconds"] = [math.nan if one is None else one for one in columns["seconds"]]
    return pa.table(columns, schema=schema())


def of_votes(given: Sequence[Vote]) -> Any:
    """Votes as a table; `task` and `number` are null, and `question` is `""` where the picture's sha256 is unknown."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [getattr(vote, name) for vote in given] for name in OF_VOTE}
    columns["question"] = [vote.question if vote.sha256 else "" for vote in given]
    columns |= {name: [None] * len(given) for name in ("task", "number")}
    columns["truth"] = [""] * len(given)
    return pa.table(columns, schema=schema())


def with_place(table: Any, where: Sequence[tuple[Any, ...]]) -> Any:
    """A table of votes with the `task`, the `number` and the `truth` of each."""
    import pyarrow as pa

    for which, name in enumerate(("task", "number", "truth")[: len(where[0]) if where else 0]):
        place = table.schema.get_field_index(name)
        kept = table.schema.field(place)
        table = table.set_column(place, kept, pa.array([one[which] for one in where], kept.type))
    return table


def to_votes(table: Any, rows: int = 1 << 12) -> Iterator[list[Vote]]:
    """The votes of a table, in pieces of `rows`."""
    for batch in table.select(OF_VOTE).to_batches(max_chunksize=rows):
        yield [Vote(**{**row, "box": None if row["box"] is None else tuple(row["box"])}) for row in batch.to_pylist()]
