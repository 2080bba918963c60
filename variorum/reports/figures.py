"""Figures as tables: rows of text, for Markdown in the card and for Rich on the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from variorum.schemas.plot import FEWEST, too_few
from variorum.schemas.sample import is_baseline

Row = tuple[str, ...]
LINK = re.compile(r"\](?=\s*[(\[:])")
"""A bracket that would end the text of a link or a picture; the one after an interval doesn't."""
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control characters, marks that reverse or hide text, and halves of surrogate pairs."""
OPEN = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""An underscore that could begin or end emphasis; one inside of a word can't."""
SIGNS = {sign: f"&#{ord(sign)};" for sign in "|`*~$\\{}"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""Signs with a meaning in Markdown, HTML, formulas or templates of pages, and what stands for them."""
TOO_FEW = "too few"
MOST = 12
"""Items of a list that are shown; the edition's files have all."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A table with title, column heads and rows of text. Without a title, only the card shows it."""

    title: str
    head: tuple[str, ...]
    rows: list[Row]


def paired_originals(accuracies: Mapping[str, float | None]) -> float | None:
    """Accuracy in percent on the originals that edits are compared with, averaged over the variants as the edits' is.

    It minus the edits' average accuracy is their average drop. None without edits that have originals.

    Args:
        accuracies: by variant, the accuracy on the originals of its pictures; those of baselines don't count.
    """
    known = [value for name, value in accuracies.items() if not is_baseline(name) and value is not None]
    return round(sum(known) / len(known), 2) if known else None


def flat_figures(figures: Mapping[str, Any], *, most: int = 100) -> list[Row]:
    """(name, value) of each figure; nested figures are named by their path, `classifier.accuracy`.

    Of a group with more than `most` figures, only the size is given.
    """
    return list(_flat(figures, (), most))


def _flat(value: Any, path: tuple[str, ...], most: int) -> Iterator[Row]:
    name = ".".join(path)
    if isinstance(value, Mapping):
        short = all(not isinstance(item, Mapping | list | tuple) for item in value.values())
        if path and short and 0 < len(value) <= 6:
            yield name, ", ".join(f"{key} {figure(item)}" for key, item in value.items())
            return
        if path and len(value) > most:
            yield name, f"{len(value)} entries"
            return
        for key, item in value.items():
            yield from _flat(item, (*path, str(key)), most)
    elif isinstance(value, list | tuple):
        if all(not isinstance(item, Mapping | list | tuple) for item in value):
            more = f" and {len(value) - MOST} more" if len(value) > MOST else ""
            yield name, ", ".join(figure(item) for item in value[:MOST]) + more
        else:
            yield name, f"{len(value)} entries"
    else:
        yield name, figure(value)


def figure(value: Any) -> str:
    """A value for a table: floats with four digits, – for None."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table with the first column aligned left, the others right."""
    body = [[table_cell(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(line) + " |" for line in [head, *body]]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]])


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with `digits` decimals, never -0; – for None."""
    return "–" if value is None else f"{value:z.{digits}f}"


def interval(item: Mapping[str, Any] | None, digits: int = 1) -> str:
    """`value [low, high]`; of few photographs `too few (12)` or a count; `""` for None, – for an unknown value."""
    if item is None:
        return ""
    if item.get("count"):
        return str(item["count"])
    if too_few(item):
        return f"{TOO_FEW} ({item['photographs']})"
    if item["value"] is None:
        return "–"
    value, low, high = (fixed(item[name], digits) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def wanted(item: Mapping[str, Any] | None) -> str:
    """About how many photographs a figure takes whose interval ends 10 points from it, `FEWEST` or more; – for none."""
    if item is None or not item.get("photographs"):
        return "–"
    reach = max(item["value"] - item["low"], item["high"] - item["value"])
    return str(max(FEWEST, ceil(item["photographs"] * (reach / 10) ** 2)))


def seen(text: object) -> str:
    """Text from data in one line, with � for what can't be seen and could mislead."""
    return UNSEEN.sub("\ufffd", " ".join(str(text).split()))


def table_cell(value: object) -> str:
    """Text from data for a cell of a Markdown table, without markup and line breaks."""
    text = "".join(SIGNS.get(sign, sign) for sign in seen(value))
    return LINK.sub("&#93;", OPEN.sub("&#95;", text))


def inert(value: object) -> object:
    """A value for Markdown, outside of tables too: text without tags, links and line breaks; all else as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = UNSEEN.sub("\ufffd", re.sub(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]", " ", value))
    return LINK.sub("&#93;", text.replace("<", "&lt;"))
