"""The card's plot of classes: how many accepted pictures each has, by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from variorum.reports.plots import OKABE_ITO, TEXT, WIDTH, dress, new, png, points, short, style
from variorum.schemas.manifest import Manifest

FILE = "classes.png"
MOST = 40
"""Classes that are drawn one by one; of more, the largest and the smallest."""
LARGE, SMALL = 25, 14
BAR, HEAD, FOOT = 19, 34, 48
"""Heights in pixels of a card: a class, the title with the legend, the axis."""
NAMED = 220
"""Pixels for the names of classes."""
LONGEST = 34
"""Characters of a name."""
Counts = Mapping[str, Mapping[str, int]]


def class_counts(manifest: Manifest, rows: Any) -> dict[str, dict[str, int]]:
    """By class (its name) and split, the number of accepted pictures, largest class first; classes without any last.

    A picture with several labels counts for each of them.
    """
    names = dict(manifest.classes)
    found: dict[str, Counter[str]] = {identity: Counter() for identity in names}
    columns = [rows.column(name).to_pylist() for name in ("status", "labels", "split") if name in rows.column_names]
    if len(columns) < 3:
        return {}
    for status, labels, split in zip(*columns, strict=True):
        if status == "accepted":
            for label in labels or ():
                if label in found:
                    found[label][split or "test"] += 1
    order = sorted(found, key=lambda one: -found[one].total())  # stable, so in the order of indices where alike
    return {names[identity]: dict(found[identity]) for identity in order}


def class_plot(counts: Counts) -> bytes | None:
    """The plot as PNG; None with fewer than two classes that have pictures."""
    counts = {name: of for name, of in counts.items() if of}
    if len(counts) < 2:
        return None
    totals = {name: sum(of.values()) for name, of in counts.items()}
    shown = list(counts)
    gap = len(shown) - LARGE - SMALL
    if len(shown) > MOST:
        shown = [*shown[:LARGE], "", *shown[-SMALL:]]
    splits = [name for name in ("train", "validation", "test") if any(name in of for of in counts.values())]
    with style():
        figure = new(WIDTH, HEAD + BAR * len(shown) + FOOT, layout=None)
        height = HEAD + BAR * len(shown) + FOOT
        axes = figure.add_axes((NAMED / WIDTH, FOOT / height, 1 - (NAMED + 70) / WIDTH, BAR * len(shown) / height))
        start = [0.0] * len(shown)
        for number, split in enumerate(splits):
            widths = [counts[name].get(split, 0) if name else 0 for name in shown]
            axes.barh(range(len(shown)), widths, left=start, color=OKABE_ITO[number], height=0.7, label=split)
            start = [a + b for a, b in zip(start, widths, strict=True)]
        for place, name in enumerate(shown):
            text = f" {totals[name]:,}" if name else f" {gap:,} classes between"
            axes.text(start[place], place, text, va="center_baseline", fontsize=points(TEXT - 1))
        axes.set_yticks(range(len(shown)), [short(name, LONGEST) for name in shown])
        axes.set_xlim(0, 1.02 * max([1, *start]))
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("accepted pictures")
        axes.set_title("Pictures by class", loc="left", fontsize=points(TEXT + 1))
        dress(axes)
        if len(splits) > 1:
            figure.legend(loc="upper right", ncols=3, frameon=False)
        return png(figure)


def class_text(counts: Counts) -> str:
    """Describe the plot of classes, as alternative text; `""` if there is none."""
    totals = [sum(of.values()) for of in counts.values() if of]
    if len(totals) < 2:
        return ""
    empty = len(counts) - len(totals)
    none = "" if not empty else "; 1 class has none" if empty == 1 else f"; {empty:,} classes have none"
    return f"Accepted pictures of each of {len(totals):,} classes, from {max(totals):,} to {min(totals):,}{none}"
