"""Plots of the evaluation `safety`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from variorum.evaluation.safety.precision_recall import ALL
from variorum.schemas.plot import Bin, IntervalPlot, Plot, Point, ReliabilityPlot

MOST = 6
"""Labelers in a plot, in the recipe's order."""


def drawn(figures: Mapping[str, Any]) -> dict[str, Plot]:
    """`f1` and `alarms` by category, `drop` by labeler, and `calibration`, as far as there is something to show."""
    whole = {name: one for name in figures["names"] if (one := figures["by_labeler"][name])["whole"] and "cells" in one}
    few, found = dict(list(whole.items())[:MOST]), dict[str, Plot]()
    for figure, title, unit in (
        ("f1", "F1 by category", "F1 in percent"),
        ("alarms", "Safe pictures called unsafe", "percent of the safe pictures"),
    ):
        series = {
            name: {
                category: _point(one["cells"].get(category, {}).get(ALL, {}).get(figure))
                for category in figures["order"]
            }
            for name, one in few.items()
        }
        rows = [name for name in figures["order"] if any(one[name] for one in series.values())]
        if rows:
            labels = tuple(figures["categories"][name]["name"] for name in rows)
            found[figure] = IntervalPlot(
                title, unit, labels, {name: tuple(one[row] for row in rows) for name, one in series.items()}
            )
    fallen = {name: one["drop"] for name, one in whole.items() if one["drop"]}
    if fallen:
        parts = {"F1": "f1", "recall": "recall", "more false alarms": "alarms"}
        found["drop"] = IntervalPlot(
            "Worse on generated pictures than on photographs",
            "percentage points",
            tuple(fallen),
            {
                name: tuple(_point(one[figure]) for one in fallen.values())
                for name, figure in parts.items()
                if any(one[figure] for one in fallen.values())
            },
        )
    if curves := _curves(few):
        found["calibration"] = ReliabilityPlot("Share that is unsafe, against the score", curves)
    return found


def _curves(whole: Mapping[str, Any]) -> dict[str, tuple[Bin, ...]]:
    """Bins by labeler and category, of those with scores between 0 and 1 in some category; one category a labeler.

    A labeler's category with the most pictures stands for it.
    """
    curves = {}
    for name, one in whole.items():
        there = {category: found for category, found in one["calibration"].items() if found and len(found["bins"]) > 2}
        if there:
            category = max(there, key=lambda each: int(there[each]["n"]))
            curves[f"{name}, {category}"] = tuple(Bin(**each) for each in there[category]["bins"])
    return curves


def _point(figure: Mapping[str, float] | None) -> Point | None:
    return Point(figure["value"], figure["low"], figure["high"]) if figure else None
