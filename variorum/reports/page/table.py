"""Columns of a page's table: distinct texts with codes, numbers, flags."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from variorum.reports.figures import seen
from variorum.schemas.canonical import Json

LONGEST = 300
"""Characters of a text in a column; records have all of it."""


def texts(name: str, values: Iterable[str | None]) -> dict[str, Json]:
    """A column of texts, with invisible characters made visible; None and `""` mean no text."""
    codes, index = list[Json](), dict[str, int]()
    known = dict[str | None, int]({None: -1, "": -1})
    for value in values:
        code = known.get(value)
        if code is None:
            shown = seen(value)
            shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
            code = known[value] = index.setdefault(shown, len(index)) if shown else -1
        codes.append(code)
    return {"name": name, "kind": "text", "values": list(index), "codes": codes}


def numbers(name: str, values: Iterable[float | None]) -> dict[str, Json]:
    """A column of numbers with six digits; None for what isn't finite."""
    return {"name": name, "kind": "number", "values": [_number(value) for value in values]}


def flags(name: str, values: Iterable[bool | None]) -> dict[str, Json]:
    """A column of 0, 1 and None."""
    return {"name": name, "kind": "flag", "values": [None if value is None else int(value) for value in values]}


def column(name: str, values: Any) -> dict[str, Json] | None:
    """An Arrow column as a page's column; None for a kind that it can't show."""
    import pyarrow.types as kinds

    kind = values.type
    if kinds.is_boolean(kind):
        return flags(name, values.to_pylist())
    if kinds.is_integer(kind) or kinds.is_floating(kind):
        return numbers(name, values.to_pylist())
    if kinds.is_string(kind) or kinds.is_large_string(kind):
        return texts(name, values.to_pylist())
    return None


def uninformative(one: dict[str, Json]) -> bool:
    """Return whether a column has no value at all, or, as a text, the same one for each row."""
    codes: Any = one.get("codes")
    if codes is None:
        values: Any = one["values"]
        return all(value is None for value in values)
    return len(set(codes)) < 2


def distinct(names: Sequence[str]) -> list[str]:
    """The names with invisible characters made visible, all different."""
    found = dict[str, None]()
    for name in map(seen, names):
        new, number = name, 2
        while new in found:
            new, number = f"{name} ({number})", number + 1
        found[new] = None
    return list(found)


def _number(value: float | None) -> Json:
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
