"""Models as raters: their probabilities for the labels that people judged, as answers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.raters.dawid_skene import model_votes
from variorum.kit.raters.valid_votes import Cells
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints
    from variorum.schemas.table import Table


def model_answers(columns: Sequence[str], cells: Cells, table: Table, classes: Sequence[str]) -> Ints:
    """Answers `[M, C]` of models to people's questions, -1 where a model doesn't say.

    Args:
        columns: texts with a JSON list of [class id, support, probability of each model] for each picture, or vectors
            with a probability for every class that occurs in the edition.
        cells: the C questions.
        table: has the columns.
        classes: ids in the edition's order.

    Raises:
        RecipeError: a column is neither.
    """
    found = [np.zeros((0, len(cells)), np.int64)]
    _, occurring = table.labels()
    for name in columns:
        values = table[name]
        if values.ndim == 2:
            place = np.full(len(classes), -1)
            place[occurring] = np.arange(len(occurring))
            column = place[cells.subject]
            p = np.where(column >= 0, values[cells.row, np.maximum(column, 0)], np.nan)[None]
        elif values.dtype == object:
            p = probabilities_of_cells(values, cells, classes, name)
        else:
            raise RecipeError(f"curate.consensus.models: {name} holds {values.dtype}, not probabilities of labels")
        p = p.astype(np.float64)
        found.append(np.where(np.isnan(p), -1, model_votes(np.nan_to_num(p))))
    return np.concatenate(found)


def probabilities_of_cells(texts: Any, cells: Cells, classes: Sequence[str], name: str) -> Floats:
    """Probabilities `[M, C]` of models, from texts `[N]` of JSON lists, NaN where there is none."""
    rows: list[list[float]] = []
    width, kept = 0, dict[int, dict[str, list[Any]]]()
    for row, label in zip(cells.row.tolist(), cells.subject.tolist(), strict=True):
        try:
            if row not in kept:
                kept = {row: {one[0]: list(one[2:]) for one in json.loads(texts[row] or "[]")}}
            said = kept[row].get(classes[label], [])
            said = said[0] if len(said) == 1 and isinstance(said[0], list) else said
            rows.append([math.nan if p is None else float(p) for p in said])
        except (ValueError, TypeError, LookupError):
            raise RecipeError(
                f"curate.consensus.models: {name} isn't a JSON list of [class id, support, probability of each model]"
            ) from None
        width = max(width, len(rows[-1]))
    return np.array([[*row, *[math.nan] * (width - len(row))] for row in rows]).reshape(-1, width).T


def single_columns(table: Table, cells: Cells) -> tuple[Floats, Ints]:
    """`probabilities.p` `[N, K]`, and the column in it of each cell's class `[C]`; -1 if no picture has the class."""
    _, occurring = table.labels()
    place = np.full(max(int(cells.subject.max(initial=-1)), int(occurring.max(initial=-1))) + 1, -1)
    place[occurring] = np.arange(len(occurring))
    return table["probabilities.p"].astype(np.float64), place[cells.subject]
