"""Read licence and class names from the header of a repository's README, which is anybody's text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from variorum.reports.licence_facts import facts_of

TERMS = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,+()/:_-]{0,99}")
"""A licence or a title that needs no escaping anywhere."""


def licence_of(about: Mapping[str, Any]) -> str:
    """The licence in a README's header, as an SPDX id or in the author's words; `unknown` without one."""
    named = about.get("license")
    if named in ("other", None):
        named = about.get("license_name") or named
    words = [word for word in (named if isinstance(named, list) else [named]) if isinstance(word, str)]
    if words and all(TERMS.fullmatch(word) for word in words):
        return " AND ".join(found.spdx if (found := facts_of(word)) and found.spdx else word for word in words)
    return "unknown"


def class_names(about: Mapping[str, Any]) -> list[str]:
    """The names of the classes that a README's header gives to the column `cls`, in order; none if it doesn't."""
    for info in _list(about.get("dataset_info")):
        for column in _list(info.get("features") if isinstance(info, Mapping) else None):
            kind = column.get("dtype") if isinstance(column, Mapping) and column.get("name") == "cls" else None
            found = kind.get("class_label") if isinstance(kind, Mapping) else None
            names = found.get("names") if isinstance(found, Mapping) else None
            values = list(_in_order(names)) if isinstance(names, Mapping) else _list(names)
            if values and all(isinstance(one, str) and one.strip() and len(one) <= 200 for one in values):
                return values if len(set(values)) == len(values) else []
    return []


def _in_order(names: Mapping[str, Any]) -> Iterator[Any]:
    if all(str(number) in names for number in range(len(names))):
        yield from (names[str(number)] for number in range(len(names)))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value] if isinstance(value, Mapping) else []
