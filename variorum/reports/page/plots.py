"""Gathers the plots of a page: the funnel of an edition, which the browser draws, and its evaluations', drawn here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from variorum.edition.store import Store
from variorum.reports.answers import evaluated
from variorum.reports.card_plots import plots_of
from variorum.reports.figures import seen
from variorum.reports.funnel import funnel
from variorum.reports.plots import MOST_ROWS, svg, told
from variorum.reports.results import Interval
from variorum.reports.rows import variants
from variorum.reports.standing import Leaderboard, read_leaderboard
from variorum.schemas.canonical import Json
from variorum.schemas.component import Evaluation
from variorum.schemas.errors import VariorumError
from variorum.schemas.lookup import stored_class
from variorum.schemas.manifest import Manifest
from variorum.schemas.plot import FEWEST, CurvePlot, IntervalPlot, Plot, Point, RadarPlot
from variorum.stages.evaluate import read_figures

log = logging.getLogger(__name__)

REASONS = 60
"""Of the funnel."""
LINES = 1_000
"""Of a table of numbers."""
SERIES = 6
"""Models of which each variant is shown."""
UNIT = "accuracy drop in percentage points"


def plots(manifest: Manifest, rows: Any, store: Store) -> list[Json]:
    """The funnel from the edition's `edition_rows`, the plots of its evaluations, and those of its leaderboard."""
    board = read_leaderboard(manifest, store)
    more = leaderboard_plots(board) if board else ()
    return [funnel_plot(manifest, rows), *evaluation_plots(manifest, store), *more]


def funnel_plot(manifest: Manifest, rows: Any) -> Json:
    """The funnel from the edition's `edition_rows`."""
    found = funnel(manifest, rows)
    return {
        "kind": "funnel",
        "title": "From source to release" if manifest.ledger else "From source to edition",
        "stages": [[name, number] for name, number in found.stages],
        "reasons": [[*map(seen, cause), number] for *cause, number in found.reasons[:REASONS]],
    }


def evaluation_plots(manifest: Manifest, store: Store) -> Iterator[Json]:
    """The plots of the evaluations whose figures lie beside the manifest; those that can't be drawn are left out."""
    for name in evaluated(manifest, store):
        if (kept := read_figures(name, manifest, store)) is None:
            continue
        try:
            kind = stored_class("evaluate", name)
            assert issubclass(kind, Evaluation)
            # its fields aren't known here, and plots are made of figures
            found = plots_of(kind.model_construct(), kept["figures"], variants(manifest))
        except VariorumError as error:
            log.warning("%s isn't drawn: %s", name, error)
            continue
        yield from filter(None, map(as_json, found.values()))


def as_json(plot: Plot) -> dict[str, Json] | None:
    """A plot for the page, drawn, with a table of its numbers; None for one without numbers."""
    head, rows = _table(plot)
    if not rows:
        return None
    cells: list[Json] = [[seen(one) if isinstance(one, str) else one for one in row] for row in rows[:LINES]]
    title, about, names = seen(plot.title), seen(told(plot)), [*map(seen, head)]
    return {"kind": "evaluation", "title": title, "about": about, "svg": svg(plot), "head": [*names], "rows": cells}


def _table(plot: Plot) -> tuple[list[str], list[list[Any]]]:
    """Names of the columns, and the rows."""
    match plot:
        case IntervalPlot(unit=unit, rows=places, series=points):
            found = [[name, row, *one] for name in points for row, one in zip(places, points[name], strict=True) if one]
            return ["series", "row", unit, "from", "to"], found
        case RadarPlot(unit=unit, axes=places, series=values):
            pairs = [(name, *pair) for name in values for pair in zip(places, values[name], strict=True)]
            return ["series", "axis", unit], [[*row] for row in pairs if row[-1] is not None]
        case CurvePlot():
            head = ["series", plot.across, plot.unit, "from", "to"]
        case _:
            head = ["series", "confidence", "accuracy", "pictures"]
    return head, [[name, *one] for name, some in plot.series.items() for one in some]


def leaderboard_plots(board: Leaderboard) -> Iterator[Json]:
    """Models by their average drop, and the drops by variant of the best ones."""
    shown = [entry for entry in board.entries[:MOST_ROWS] if entry.few is None]
    ranked = [(f"{entry.rank}. {entry.model.name}", entry.figures) for entry in shown]
    average = tuple(_point(figures.average_drop) for _, figures in ranked)
    rows = tuple(board.edits())
    drops = {
        name: tuple(
            _point(one.drop) if (one := figures.variants.get(variant)) and one.n >= FEWEST else None for variant in rows
        )
        for name, figures in ranked[:SERIES]
    }
    title = f"Leaderboard: drop averaged over the edits, {len(ranked)} of {len(board.entries)} models"
    by_model = IntervalPlot(title, UNIT, tuple(name for name, _ in ranked), {"average drop": average})
    by_variant = IntervalPlot("Leaderboard: drop by variant", UNIT, rows, drops)
    yield from filter(None, map(as_json, (by_model, by_variant)))


def _point(found: Interval | None) -> Point | None:
    return None if found is None else Point(found.value, found.low, found.high)
