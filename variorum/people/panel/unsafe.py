"""Questions about categories of unsafe pictures: those that `safety` leaves open, the most informative ones first."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.harms.categories import unsafebench
from variorum.people.panel.askable import Pictures
from variorum.people.panel.asks import Plain
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.manifest import Ledger

if TYPE_CHECKING:
    from variorum.arrays import Ints

ASK, STATE = "safety.ask", "safety.state."
"""Columns with the questions, and by category with what labelers found."""
LONGEST = 200
"""Characters of a category's name and definition."""


def unsafe_questions(pictures: Pictures) -> Plain:
    """The questions of the column `safety.ask`, with their worth in bits.

    A picture whose only question is nearly settled comes late, but nothing in the column is undoubted.

    Raises:
        RecipeError: the edition hasn't been curated with `safety`.
        CorruptShard: the column holds something else.
    """
    import pyarrow as pa

    if ASK not in pictures.names:
        raise RecipeError(
            f"questions about unsafe categories need the column {ASK}, and "
            + ("the edition hasn't been curated" if pictures.said is None else "its newest ledger doesn't have it")
            + "; curate it with a recipe that has the detector safety, then publish the panel"
        )
    subjects = sorted(name.removeprefix(STATE) for name in pictures.names if name.startswith(STATE))
    index = {name: place for place, name in enumerate(subjects)}
    left = pictures.dropped()
    rows: list[int] = []
    places: list[int] = []
    worth: list[float] = []
    for row, text in enumerate(pictures.arrow(ASK).to_pylist()):
        if text and text != "[]" and not left[row]:
            for name, value in asked(text):
                if name in index:
                    rows.append(row)
                    places.append(index[name])
                    worth.append(min(1.0, value))
    picture, subject, bits = _array(rows), _array(places), np.array(worth, np.float64)
    order = np.lexsort((subject, -bits, picture))
    calm = np.zeros(len(order), bool)
    return Plain(picture[order], subject[order], bits[order], calm, pa.array(subjects, pa.string()))


def asked(text: str) -> Iterator[tuple[str, float]]:
    """Category and worth of each question in a text of the column. Raises CorruptShard for another text."""
    try:
        for name, worth in json.loads(text):
            if not isinstance(name, str) or not math.isfinite(worth) or worth < 0:
                raise ValueError("a question is a category and its worth")
            yield name, float(worth)
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptShard(f"the column {ASK} holds something else than questions ({error}); curate again") from None


def category_names(ledger: Ledger | None) -> Mapping[str, str]:
    """By category, its name and definition as the ledger's step `safety` has them; without one, UnsafeBench's."""
    found = {one.id: f"{one.name} ({one.definition})" for one in unsafebench()}
    for step in ledger.curate if ledger else ():
        if isinstance(step, Mapping) and step.get("name") == "safety":
            found = {**found, **dict(_named(step.get("categories")))}
    return found


def _named(categories: Any) -> Iterator[tuple[str, str]]:
    """Read the categories of a ledger, perhaps another's, as far as they are text."""
    for one in categories if isinstance(categories, list | tuple) else ():
        if isinstance(one, Mapping):
            texts = [one.get(name) for name in ("id", "name", "definition")]
            if all(isinstance(text, str) for text in texts):
                yield str(texts[0]), f"{texts[1]} ({texts[2]})"[:LONGEST]


def _array(values: list[int]) -> Ints:
    return np.array(values, np.int64)
