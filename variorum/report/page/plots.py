"""Plots of a page as JSON: the funnel of an edition, and the plots of its evaluations."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from variorum.edition.editions import beside
from variorum.edition.store import Store
from variorum.report.card_plots import plots_of
from variorum.report.figures import seen
from variorum.report.funnel import funnel
from variorum.report.results import Interval
from variorum.report.rows import variants
from variorum.report.standing import Leaderboard, read_leaderboard
from variorum.schemas.canonical import Json
from variorum.schemas.component import Evaluation
from variorum.schemas.errors import VariorumError
from variorum.schemas.lookup import component_class
from variorum.schemas.manifest import Manifest
from variorum.schemas.plot import KINDS, CurvePlot, IntervalPlot, Plot, Point, RadarPlot
from variorum.stages.evaluate import read_figures

log = logging.getLogger(__name__)

ROWS = 60
"""Of a plot: reasons of the funnel, rows of intervals."""
AXES = 24
"""Of a radar."""
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
        "reasons": [[*map(seen, cause), number] for *cause, number in found.reasons[:ROWS]],
    }


def evaluation_plots(manifest: Manifest, store: Store) -> Iterator[Json]:
    """The plots of the evaluations whose figures lie beside the manifest; those that can't be drawn are left out."""
    order = variants(manifest)
    for name in evaluated(manifest, store):
        kept = read_figures(name, manifest, store)
        if kept is None:
            continue
        try:
            drawn = _drawn(name, kept["figures"], order)
        except VariorumError as error:
            log.warning("%s isn't drawn: %s", name, error)
            continue
        yield from drawn


def evaluated(manifest: Manifest, store: Store) -> list[str]:
    """Names of the evaluations with figures beside the manifest."""
    found = store.listed(beside(manifest, "evaluation-*.json"))
    names = (path.rpartition("/evaluation-")[2].removesuffix(".json") for path in found)
    return sorted(name for name in names if name.isidentifier())


def as_json(plot: Plot) -> dict[str, Json] | None:
    """A plot for the page; None for one without values.

    Raises:
        TypeError, ValueError, AttributeError: its values aren't numbers.
    """
    if not isinstance(plot, KINDS):
        raise TypeError(f"{type(plot).__name__} isn't a plot")
    title = seen(plot.title)
    if isinstance(plot, IntervalPlot):
        rows: list[Json] = [seen(row) for row in plot.rows[:ROWS]]
        points = {name: [point and _finite(point) for point in some[:ROWS]] for name, some in plot.series.items()}
        if not any(map(any, points.values())):
            return None
        series: dict[str, Json] = {seen(name): list(some) for name, some in points.items()}
        return {"kind": "intervals", "title": title, "unit": seen(plot.unit), "rows": rows, "series": series}
    if isinstance(plot, RadarPlot):
        axes: list[Json] = [seen(axis) for axis in plot.axes[:AXES]]
        shares = {
            name: [None if one is None else (_finite([one]) or [None])[0] for one in some[:AXES]]
            for name, some in plot.series.items()
        }
        if not any(one is not None for some in shares.values() for one in some):
            return None
        polygons: dict[str, Json] = {seen(name): list(some) for name, some in shares.items()}
        radar: dict[str, Json] = {"kind": "radar", "title": title, "unit": seen(plot.unit), "full": float(plot.full)}
        return {**radar, "axes": axes, "series": polygons}
    bins: dict[str, Json] = {
        seen(name): [found for one in some if (found := _finite(one)) is not None] for name, some in plot.series.items()
    }
    if not any(bins.values()):
        return None
    if isinstance(plot, CurvePlot):
        across, unit = seen(plot.across), seen(plot.unit)
        full = None if plot.full is None else float(plot.full)
        return {"kind": "curves", "title": title, "across": across, "unit": unit, "full": full, "series": bins}
    return {"kind": "reliability", "title": title, "series": bins}


def leaderboard_plots(board: Leaderboard) -> Iterator[Json]:
    """Models by their average drop, and the drops by variant of the best ones."""
    ranked = [(f"{entry.rank}. {entry.model.name}", entry.figures) for entry in board.entries[:ROWS]]
    average = tuple(_point(figures.average_drop) for _, figures in ranked)
    rows = tuple(board.variants())
    drops = {
        name: tuple(_point(one.drop) if (one := figures.variants.get(variant)) else None for variant in rows)
        for name, figures in ranked[:SERIES]
    }
    title = f"Leaderboard: drop averaged over the edits, {len(ranked)} of {len(board.entries)} models"
    for plot in (
        IntervalPlot(title, UNIT, tuple(name for name, _ in ranked), {"average drop": average}),
        IntervalPlot("Leaderboard: drop by variant", UNIT, rows, drops),
    ):
        if (found := as_json(plot)) is not None:
            yield found


def _point(found: Interval | None) -> Point | None:
    return None if found is None else Point(found.value, found.low, found.high)


def _drawn(name: str, figures: Mapping[str, Any], order: Sequence[str]) -> list[dict[str, Json]]:
    kind = component_class("evaluate", name)
    assert issubclass(kind, Evaluation)
    evaluation = kind.model_construct()  # its fields aren't known here, and plots are made of figures
    return [one for plot in plots_of(evaluation, figures, order).values() if (one := as_json(plot)) is not None]


def _finite(numbers: Any) -> list[Json] | None:
    found = [float(number) for number in numbers]
    return [round(number, 6) for number in found] if all(map(math.isfinite, found)) else None
