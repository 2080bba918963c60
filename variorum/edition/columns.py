"""Define the columns of a unit's table, and check tables that somebody else may have written.

What a table says of itself is checked before it is read, and its columns before they are used. Whatever is wrong with
it becomes one CorruptShard.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, get_args

from variorum.edition.store import Store
from variorum.machine.retrying import may_pass, passing
from variorum.schemas.errors import VariorumError, cut
from variorum.schemas.fields import CONFIG
from variorum.schemas.manifest import ShardInfo
from variorum.schemas.sample import LABEL_STATES, MADE_OF, SPLITS, Status

EDITION_COLUMNS = (
    "id",
    "sha256",
    "parent",
    "source",
    "variant",
    "status",
    "reason",
    "detail",
    "label",
    "labels",
    "origin",
    "licence",
    "start",
    "ops",
)
"""Columns of every unit's table."""
NEW = (
    "split",
    "config",
    "photograph",
    "width",
    "height",
    "digital_source_type",
    "credentials",
    "objects",
    "captions",
    "states",
    "annotated",
)
"""Columns since format 4. A picture lies in the unit's shard of its config and split, at byte `start`."""
JUDGED = ("action", "by", "why", "value", "given")
"""Columns of a released unit with verdicts, null for pictures without one."""
MEANINGS: Mapping[str, str] = {
    "id": "32 hexadecimal digits; the same recipe gives the same id",
    "sha256": "of the picture as stored; empty if there is none",
    "parent": "id of the picture that it was made from",
    "source": "id of the source's picture",
    "variant": "name to group by: `original`, `size_0.05`",
    "status": "`accepted`, `quarantined` (failed a check), `ineligible`, `failed`, `withheld` or `dropped`",
    "reason": "one word for every other status than `accepted`",
    "detail": "a sentence about the reason",
    "label": "index of the first label in the class list; -1 without one",
    "labels": "ids of the classes",
    "origin": "where the picture comes from, for people",
    "licence": "SPDX id, or the terms in a few words",
    "start": "byte in the shard at which the sample begins",
    "ops": "every step of its making, as JSON",
    "split": "`train`, `validation` or `test`",
    "config": "its configuration, if the recipe has `configs`",
    "photograph": "what the picture and all that is made of it have in common; splits are drawn by it",
    "width": "of the upright picture, in pixels",
    "height": "of the upright picture, in pixels",
    "digital_source_type": "a term of IPTC's vocabulary: `digitalCapture`, `compositeSynthetic` and so on",
    "credentials": "whether the source's file had content credentials (C2PA)",
    "objects": "number of objects",
    "captions": "number of captions",
    "states": "number of labels with a state",
    "annotated": "digest of the annotations",
    LABEL_STATES: "of a withheld picture: its labels with a state, `sexual:wrong`",
    MADE_OF: "ids of the other pictures whose pixels or words are in it",
    "action": "of a release: what the ledger decided",
    "by": "of a release: the decider",
    "why": "of a release: its reason",
    "value": "of a release: the number behind the verdict",
    "given": "of a release: the labels before a relabel",
}
"""What the columns of a unit's table hold."""
LISTS = ("labels", "given", MADE_OF, LABEL_STATES)
"""Columns with several texts in a row."""
MAY_LACK = ("detail",)
"""Columns of `EDITION_COLUMNS` that may be null."""
STATUSES = (*get_args(Status), "dropped")
WITHHELD = ("width", "height", "objects", "captions", "states", "annotated", "credentials", "config", MADE_OF)
"""Columns that say more of a picture than may be known of a withheld one; null there."""
LARGE, SWOLLEN = 1 << 30, 1000
"""A table that takes more memory than both this many bytes and this many times its file is a bomb."""
MANY = 1_000_000
"""A table with ids has less than a row for each byte of its file, or less than this many rows."""


@cache
def column_kinds() -> Mapping[str, Any]:
    """Arrow types of the columns of a unit's table, except gates."""
    import pyarrow as pa

    whole = pa.int64()
    kinds: dict[str, Any] = dict.fromkeys((*EDITION_COLUMNS, *NEW, *JUDGED), pa.string())
    kinds |= {"label": whole, "start": whole, "credentials": pa.bool_(), "value": pa.float64()}
    kinds |= dict.fromkeys(("width", "height", "objects", "captions", "states"), pa.int32())
    return kinds | dict.fromkeys(LISTS, pa.list_(pa.string()))


@contextmanager
def reading(store: Store, info: ShardInfo) -> Iterator[None]:
    """Turn whatever reading a table raises into the store's error for a damaged object.

    Raises:
        TemporaryError: a disk, memory or descriptors failed, which says nothing of the table.
    """
    import pyarrow as pa

    try:
        yield
    except VariorumError:
        raise
    except (pa.ArrowException, OSError, MemoryError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        if may_pass(error):
            raise passing(store.object(info, ".parquet"), error) from error
        raise store.damaged(info, ".parquet", cut(" ".join(str(error).split()))) from None


def check_claims(contents: Any, info: ShardInfo) -> None:
    """Raise ValueError if a table says that it has other rows than it should, or would fill the memory."""
    groups = [contents.row_group(place) for place in range(contents.num_row_groups)]
    for rows in (contents.num_rows, sum(group.num_rows for group in groups)):
        if rows != info.samples:
            raise ValueError(f"it has {rows} rows, and {info.samples} belong there")
    size = sum(abs(group.total_byte_size) for group in groups)
    if size > max(LARGE, SWOLLEN * info.size):
        raise ValueError(f"its {info.size} bytes would take {size} in memory")
    if info.samples > max(MANY, info.size) and "id" in contents.schema.names:
        raise ValueError(f"{info.samples} pictures can't be named in {info.size} bytes")


def check_names_once(names: Sequence[str]) -> None:
    """Raise ValueError if two columns of a table have the same name."""
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise ValueError(f"two columns {cut(repr(twice[0]))}")


def check_columns(table: Any) -> None:
    """Raise ValueError if a column with the name of one of an edition is of another type, or lacks values."""
    for name in table.column_names:
        kind, column = column_kinds().get(name), table.column(name)
        if kind is None:
            continue
        if column.type != kind:
            raise ValueError(f"column {name!r} is of type {cut(str(column.type))}, not {kind}")
        if name in EDITION_COLUMNS and name not in MAY_LACK and column.null_count:
            raise ValueError(f"column {name!r} lacks values")
        if name in LISTS and any(chunk.flatten().null_count for chunk in column.chunks):
            raise ValueError(f"column {name!r} lacks values")


def check_values(table: Any, classes: int) -> None:
    """Raise ValueError if a unit's table has a status, a place or a class that no unit has."""
    import pyarrow.compute as pc

    known = set(table.column_names)
    for name, fits in (
        ("status", lambda value: value in STATUSES),
        ("split", lambda value: value in (None, "", *SPLITS)),
        ("config", lambda value: not value or re.fullmatch(CONFIG, value)),
    ):
        found = table.column(name).unique().to_pylist() if name in known else ()
        if odd := [value for value in found if not fits(value)]:
            raise ValueError(f"column {name!r} has {cut(ascii(odd[0]))}")
    for name, most in (("label", classes - 1), ("start", 2**53)):
        if name in known and len(table):
            low, high = pc.min_max(table.column(name)).as_py().values()
            if low < -1 or high > most:
                raise ValueError(f"column {name!r} has {low if low < -1 else high}")
    _check_withheld(table)


def _check_withheld(table: Any) -> None:
    """Raise ValueError if a withheld picture has no hash or no reason, or has a place or anything else of a picture."""
    import pyarrow.compute as pc

    if "status" not in table.column_names:
        return
    rows = table.filter(pc.equal(table.column("status"), "withheld"))
    tests: dict[str, Callable[[Any], object]] = {
        "sha256": lambda value: re.fullmatch("[0-9a-f]{64}", value),
        "reason": bool,
        "start": lambda value: value == -1,
        "ops": lambda value: value == "[]",
        **dict.fromkeys(WITHHELD, lambda value: value is None),
    }
    for name, fits in tests.items() if len(rows) else ():
        found = rows.column(name).to_pylist() if name in rows.column_names else ()
        if odd := [value for value in found if not fits(value)]:
            raise ValueError(f"column {name!r} of a withheld picture has {cut(ascii(odd[0]))}")
