"""Turns columns into verdicts by a query in SQL, which DuckDB answers without holding the columns in memory.

`policy` needs each column that its rules name as an array. A query is answered from a table that DuckDB keeps, and
what doesn't fit its share of the memory lies on the disk meanwhile. It can also count, rank and compare within a class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from pydantic import Field

from variorum.curation.rules.guard import another_label, decided_figures, guard, verdicts_of
from variorum.curation.rules.query import PICTURES, WHERE, named_columns, opened
from variorum.edition.columns import EDITION_COLUMNS, NEW, column_kinds
from variorum.edition.tables import HIDDEN
from variorum.edition.verdicts import rows_of
from variorum.kit.labels.classes import class_ids
from variorum.kit.labels.columns import kind_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import FLAGS, NUMBERS, TEXTS, Context, Decider
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.verdict import Action, Verdicts

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints
    from variorum.schemas.table import Table

OWN = tuple(name for name in (*EDITION_COLUMNS, *NEW) if name not in HIDDEN)
"""Columns of the edition's own."""
RESULT = {
    "id": "VARCHAR",
    "action": "VARCHAR",
    "reason": "VARCHAR",
    "label": "BIGINT",
    "value": "DOUBLE",
    "worth": "DOUBLE",
    "guarded": "BOOLEAN",
}
"""What a query gives, by column, and its type in SQL. The first three must be there."""
NUMERIC = r"DOUBLE|FLOAT|U?[A-Z]*INT(EGER)?|DECIMAL.*"
MUST = ("id", "action", "reason")
ACTIONS = tuple(name for name in get_args(Action) if name not in ("audit", "unasked"))
REASONS = 1000
"""Most reasons of one query: each is a word on the card."""
ROWS = 1 << 17
"""Verdicts that are read at a time."""


class Sql(Decider):
    """Verdicts by a query over the table `pictures`, which has a row for each picture."""

    query: str = Field(min_length=1)
    """One SELECT that gives `id`, `action` and `reason`, and if it likes `label`, `value`, `worth` and `guarded`. A row
    without an action is no verdict."""
    min_class_size: int = Field(default=30, ge=1)
    """In a smaller class a guarded `drop` or `relabel` becomes a `review` whose reason ends in `_rare`."""
    max_share_per_class: float = Field(default=0.2, gt=0, le=1)
    """Largest share of a class that guarded verdicts drop or relabel, highest values first. The rest becomes a `review`
    whose reason ends in `_capped`."""

    def needs(self) -> tuple[str, ...]:
        """The detectors whose columns the query names."""
        steps = (name.partition(".") for name in named_columns(self.query))
        return tuple(dict.fromkeys(step for step, dot, _ in steps if dot and step != "gate"))

    def check_columns(self, known: Mapping[str, Mapping[str, str]]) -> None:
        """Return whether the query works on columns of these kinds, and gives what a verdict is made of."""
        import pyarrow as pa

        kinds = {NUMBERS: pa.float64(), TEXTS: pa.string(), FLAGS: pa.bool_()}
        own, types = column_kinds(), dict[str, Any]()
        for name in self._reads():
            found = (
                pa.float64() if name.startswith("gate.") else kinds.get(kind_of(name, known, WHERE) or "", pa.null())
            )
            types[name] = own[name] if name in OWN else found
        with opened() as base:
            base.register(PICTURES, _nested(pa.schema(list(types.items())).empty_table()))
            _chosen(base.sql(self.query))

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdicts]:
        """Verdicts by action and reason in alphabetical order, then highest value first, then by id.

        Raises:
            RecipeError: the query fails; an unknown action, an odd reason, a weight outside [0, 1], a picture that the
                edition doesn't have, or twice the same verdict.
        """
        if not len(table):  # nothing was measured, so columns are missing
            return
        found = self._answer(table)
        rows = found["row"].to_numpy()
        actions, reasons = (_codes(found[name]) for name in ("action", "reason"))
        _check(found, rows, actions, reasons)
        held, label = self._guarded(found, rows, actions, table), table.column("label").to_numpy()
        classes = class_ids(table) if found["label"].null_count < len(found) else {}
        value, worth = (found[name].to_numpy() + 0.0 for name in ("value", "worth"))  # no -0
        index = found["label"].fill_null(-1).to_numpy()
        changes = np.flatnonzero(np.diff(actions.of * len(reasons.names) + reasons.of)) + 1
        for some in np.split(np.arange(len(rows)), changes) if len(rows) else ():
            action, reason = actions.names[actions.of[some[0]]], reasons.names[reasons.of[some[0]]]
            labels = np.full(len(some), "", dtype=object)
            if action in ("relabel", "review"):
                labels = another_label(index[some], label[rows[some]], classes)
            said = cast(Action, action), reason
            yield from verdicts_of(table, said, rows[some], held[some], labels, (value[some], worth[some]))

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count the pictures that the query decides, by action and reason, and those that it leaves alone."""
        return decided_figures(table)

    def _reads(self) -> list[str]:
        """The columns that the query may read. A single name that isn't the edition's is one of the query's own."""
        names = (name for name in named_columns(self.query) if "." in name or name in OWN)
        return list(dict.fromkeys(("id", *names)))

    def _answer(self, table: Table) -> Any:
        """Run the query, with `row` in place of `id`."""
        import pyarrow as pa

        with opened() as base:
            for number, block in enumerate(table.blocks(self._reads())):
                base.register("block", _nested(block))
                made = f"INSERT INTO {PICTURES}" if number else f"CREATE TABLE {PICTURES} AS"
                base.execute(f"{made} FROM block").fetchall()
                base.unregister("block")
            reader = _chosen(base.sql(self.query)).to_arrow_reader(ROWS)
            found = pa.concat_tables([_coded(reader.schema.empty_table()), *map(_coded, reader)]).unify_dictionaries()
        if found["id"].null_count:
            raise RecipeError(f"{WHERE}: gave a verdict whose id is NULL")
        rows = rows_of(table.column("id"), found["id"])
        if rows.null_count:
            odd = found["id"].filter(rows.is_null())[0].as_py()
            raise RecipeError(f"{WHERE}: gave a verdict on {cut(str(odd))}, which isn't a picture of the edition")
        return found.drop_columns("id").append_column("row", rows)

    def _guarded(self, found: Any, rows: Ints, actions: Codes, table: Table) -> Array:
        """Why each verdict is held back `[M]`, empty where it isn't."""
        import pyarrow.compute as pc

        acting = np.array([name in ("drop", "relabel") for name in actions.names], bool)[actions.of]
        acting &= found["guarded"].to_numpy()
        held = np.full(len(rows), "", dtype=object)
        if not acting.any():
            return held
        mine, values = rows[acting], found["value"].to_numpy()[acting]
        acts, most, ties = np.zeros(len(table), bool), np.full(len(table), np.nan), np.zeros(len(table), np.int64)
        acts[mine] = True
        order = np.argsort(np.nan_to_num(values, nan=-np.inf), kind="stable")
        most[mine[order]] = values[order]  # the higher value of a picture with two verdicts
        some = np.flatnonzero(acts)
        ties[some[pc.sort_indices(table.column("id").take(some)).to_numpy()]] = np.arange(len(some))
        label = table.column("label").to_numpy()
        held[acting] = guard(label, acts, most, ties, self.min_class_size, self.max_share_per_class)[mine]
        return held


@dataclass(frozen=True, slots=True)
class Codes:
    """A column of few different texts.

    Attributes:
        of: `[M]` index in `names`.
        names: the texts.
    """

    of: Ints
    names: list[str]


def _nested(block: Any) -> Any:
    """A table as the query sees it: a detector's columns are fields of one column, and a missing number is NULL."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found, fields = dict[str, Any](), dict[str, dict[str, Any]]()
    for name in block.column_names:
        column, (step, dot, inner) = block[name].combine_chunks(), name.partition(".")
        if pa.types.is_floating(column.type):
            column = column.cast(pa.float64())
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), pc.add(column, 0.0))  # no -0
        if dot:
            fields.setdefault(step, {})[inner] = column
        else:
            found[name] = column
    nested = {step: pa.StructArray.from_arrays(list(some.values()), list(some)) for step, some in fields.items()}
    return pa.table({**found, **nested})


def _chosen(given: Any) -> Any:
    """Read a query's result, as the columns `RESULT` and in order. Raises RecipeError for other columns or types."""
    kinds = dict(zip(given.columns, map(str, given.types), strict=True))
    allowed = f"it gives {', '.join(MUST)} and, if it likes, {', '.join(name for name in RESULT if name not in MUST)}"
    if lacking := [name for name in MUST if name not in kinds]:
        raise RecipeError(f"{WHERE}: gives no column {lacking[0]!r}; {allowed}")
    if odd := [name for name in kinds if name not in RESULT]:
        raise RecipeError(f"{WHERE}: gives a column {cut(repr(odd[0]))}; {allowed}")
    for name, kind in kinds.items():
        wanted = {"VARCHAR": "VARCHAR", "BOOLEAN": "BOOLEAN"}.get(RESULT[name], NUMERIC)
        if not re.fullmatch(rf'{wanted}|"?NULL"?', kind):  # NULL: what an unknown column holds shows only later
            raise RecipeError(f"{WHERE}: {name} is of type {cut(kind)}, not {RESULT[name]}")
    value = {
        name: f'CAST("{name}" AS {kind})' if name in kinds else f"CAST(NULL AS {kind})" for name, kind in RESULT.items()
    }
    value |= {name: f"CASE WHEN NOT isnan({value[name]}) THEN {value[name]} END" for name in ("value", "worth")}
    value["guarded"] = f"coalesce({value['guarded']}, true)"
    columns = ", ".join(f'{how} AS "{name}"' for name, how in value.items())
    return given.filter('"action" IS NOT NULL').project(columns).order("action, reason, value DESC NULLS LAST, id")


def _coded(batch: Any) -> Any:
    """Verdicts as a table in which equal actions and reasons are one text, and a missing number is NaN."""
    import pyarrow as pa

    columns = {name: batch.column(place) for place, name in enumerate(batch.schema.names)}
    columns |= {name: columns[name].dictionary_encode() for name in ("action", "reason")}
    return pa.table({**columns, **{name: columns[name].fill_null(np.nan) for name in ("value", "worth")}})


def _codes(column: Any) -> Codes:
    coded = column.combine_chunks()
    return Codes(coded.indices.fill_null(-1).to_numpy().astype(np.int64), coded.dictionary.to_pylist())


def _check(found: Any, rows: Ints, actions: Codes, reasons: Codes) -> None:
    """Raise RecipeError for verdicts that nobody can act on."""
    if odd := [name for name in actions.names if name not in ACTIONS]:
        raise RecipeError(f"{WHERE}: no action {cut(repr(odd[0]))}; there are: {', '.join(sorted(ACTIONS))}")
    wrong = [name for name in reasons.names if not re.fullmatch("[a-z0-9_]+", name)]
    if wrong or (reasons.of < 0).any():
        said = cut(repr(wrong[0])) if wrong else "NULL"
        raise RecipeError(f"{WHERE}: {said} is no reason; write a word or two such as 'wrong_label'")
    if len(reasons.names) > REASONS:
        raise RecipeError(f"{WHERE}: gives {len(reasons.names)} different reasons; a card has room for {REASONS}")
    weighs = np.array([name == "weight" for name in actions.names], bool)[actions.of]
    weights = found["value"].to_numpy()[weighs]
    if (outside := weights[~((weights >= 0) & (weights <= 1))]).size:
        raise RecipeError(f"{WHERE}: gives the weight {outside[0]:.6g}, outside [0, 1]; leave such rows out")
    key = (rows * len(actions.names) + actions.of) * len(reasons.names) + reasons.of
    if len(np.unique(key)) < len(key):
        raise RecipeError(f"{WHERE}: gives a picture twice with the same action and reason; use GROUP BY or WHERE")
