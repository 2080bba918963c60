"""Columns with the answers of evaluated models: right or wrong, the answered class, the true class's probability."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from variorum.reports.answers import ModelAnswers
from variorum.reports.page.table import distinct, flags, numbers, texts
from variorum.schemas.canonical import Json
from variorum.schemas.sample import is_baseline

MOST = 12
"""Models that are shown."""
DIGITS = 3
"""Of a probability."""


def model_columns(
    models: Sequence[ModelAnswers], variants: Sequence[str], named: Callable[[str], str]
) -> tuple[list[dict[str, Json]], list[Json], list[str]]:
    """The columns of a page about models.

    Args:
        models: their answers to the pictures of the page.
        variants: of these pictures.
        named: gives the name of a class that is shown for its id.

    Returns:
        The columns; for each model its name with the names of its columns, in `right`, `says` and `p`; and notes. A
        column `baseline` says which pictures are no edits that a model should recognise, such as plates.
    """
    columns, facts = list[dict[str, Json]](), list[Json]()
    shown = [model for model in models if model.scored.any()]
    for name, model in zip(distinct([model.name for model in shown[:MOST]]), shown, strict=False):
        right, says, p = f"answer of {name}", f"{name} says", f"p(label) of {name}"
        columns.append(_judged(right, model))
        fact: dict[str, Json] = {"name": name, "right": right}
        if model.says is not None and model.p_label is not None:
            columns.append(texts(says, map(named, model.says)))
            columns.append(numbers(p, np.round(model.p_label.astype(float), DIGITS).tolist()))
            fact |= {"says": says, "p": p}
        facts.append(fact)
    controls = [name != "original" and is_baseline(name) for name in variants]
    if facts and any(controls):
        columns.append(flags("baseline", controls))
    notes = [f"{len(shown) - MOST} more evaluated models aren't shown."] if len(shown) > MOST else []
    return columns, facts, notes


def _judged(name: str, model: ModelAnswers) -> dict[str, Json]:
    """A column of `right` and `wrong`, in this order whichever comes first."""
    codes: list[Json] = [*np.where(model.scored, np.where(model.right, 0, 1), -1).tolist()]
    return {"name": name, "kind": "text", "values": ["right", "wrong"], "codes": codes}
