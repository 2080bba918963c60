"""Choose the pictures on which models differ most, to show below a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from variorum.reports.profile.document import Picture, Said
from variorum.schemas.rows import Answers, Shown

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

PICTURES = 12
OF_A_PHOTOGRAPH = 2
OF_A_CLASS = 3


def differing(edition: str, answers: Mapping[str, Answers], columns: Collection[str]) -> tuple[Picture, ...]:
    """Choose the twelve pictures with the widest gap of the label's probability between any two models.

    At most two show one photograph and at most three one class, where it is known; of equal gaps, ids decide.

    Args:
        edition: key of the pictures' edition.
        answers: by name of the model.
        columns: that the row is about.
    """
    shown = {name: one.pictures for name, one in answers.items() if one.pictures}
    if len(shown) < 2:
        return ()
    keys, places = _together(answers, shown, set(columns))
    gap = _gaps(shown, places)
    chosen: list[Picture] = []
    photographs: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for place in sorted(np.flatnonzero(gap > 0).tolist(), key=lambda place: (-gap[place], keys[place])):
        said = {name: row for name, rows in places.items() if (row := int(rows[place])) >= 0}
        name, row = next(iter(said.items()))
        photograph = answers[name].photographs[shown[name].photograph[row]]
        label = next((one for who, row in said.items() if (one := _label(shown[who], row))), "")
        if photographs[photograph] >= OF_A_PHOTOGRAPH or (label and labels[label] >= OF_A_CLASS):
            continue
        photographs[photograph] += 1
        labels[label] += 1
        sample, column = keys[place]
        answered = tuple(_said(who, shown[who], row) for who, row in said.items())
        chosen.append(
            Picture(edition=edition, id=sample, photograph=photograph, column=column, label=label, said=answered)
        )
        if len(chosen) == PICTURES:
            break
    return tuple(chosen)


def _together(
    answers: Mapping[str, Answers], shown: Mapping[str, Shown], columns: Collection[str]
) -> tuple[list[tuple[str, str]], dict[str, Ints]]:
    """All pictures as `(id, column)`, and by model the row of each in its answers, `[m]`; −1 for none."""
    index: dict[tuple[str, str], int] = {}
    at: dict[str, list[int]] = {}
    for name, one in shown.items():
        names = answers[name].columns
        pictures = zip(one.ids, one.column.tolist(), strict=True)
        at[name] = [
            index.setdefault((sample, names[column]), len(index)) if names[column] in columns else -1
            for sample, column in pictures
        ]
    rows = {name: np.full(len(index), -1, np.int64) for name in shown}
    for name, places in at.items():
        place = np.array(places, np.int64)
        rows[name][place[place >= 0]] = np.flatnonzero(place >= 0)
    return list(index), rows


def _gaps(shown: Mapping[str, Shown], places: Mapping[str, Ints]) -> Floats:
    """The widest gap of the label's probability between two models, `[m]`; 0 where fewer than two have one."""
    size = len(next(iter(places.values())))
    p = np.full((len(shown), size), np.nan)
    for which, (name, one) in enumerate(shown.items()):
        there = places[name] >= 0
        p[which, there] = np.asarray(one.p_label)[places[name][there]]
    known = np.isfinite(p)
    gap = np.where(known, p, -np.inf).max(axis=0) - np.where(known, p, np.inf).min(axis=0)
    return np.asarray(np.where(known.sum(axis=0) > 1, gap, 0.0), np.float64)


def _label(shown: Shown, row: int) -> str:
    """The label's name: as it is told, or what the model said if that is right."""
    return (shown.label[row] if len(shown.label) else "") or (shown.said[row] if shown.right[row] else "")


def _said(model: str, shown: Shown, row: int) -> Said:
    p = float(shown.p_label[row])
    return Said(
        model=model,
        answer=shown.said[row],
        p_label=round(p, 4) if np.isfinite(p) else None,
        right=bool(shown.right[row]),
    )
