"""The pictures in cards: plots of the evaluations, their files beside the manifest, and the texts in their place."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from variorum.edition.editions import folder_of
from variorum.edition.store import Store
from variorum.reports.contact_sheet import shown_variants
from variorum.reports.figures import table_cell
from variorum.reports.plots import draw, told
from variorum.reports.rows import variants
from variorum.schemas.component import Evaluation
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest
from variorum.schemas.plot import (
    KINDS,
    Bin,
    CurvePlot,
    CurvePoint,
    IntervalPlot,
    Plot,
    Point,
    RadarPlot,
    ReliabilityPlot,
)

NAME = re.compile(r"[A-Za-z0-9_]+")
"""Of a plot, as it becomes part of a file's name."""
MOST_NAMED = 6
"""Variants that the contact sheet's text names."""
POINTS: dict[type, type[Point | CurvePoint | Bin]] = {IntervalPlot: Point, CurvePlot: CurvePoint, ReliabilityPlot: Bin}
"""What the series of a plot hold; a radar's are plain numbers."""
LARGEST = 1e15
"""Numbers beyond this, and NaN, can't be drawn."""


def plots_of(evaluation: Evaluation, figures: Mapping[str, Any], order: Sequence[str] = ()) -> dict[str, Plot]:
    """An evaluation's plots by name.

    Args:
        evaluation: has the plots.
        figures: its figures.
        order: the edition's variants; rows that are variants come in this order, the others after them.

    Raises:
        CorruptShard: it can't make plots of these figures.
        RecipeError: it returns something else than plots, a plot of other parts than its class names, or a name that
            can't be part of a file's name.
    """
    name = evaluation.component_name()
    try:
        found: object = evaluation.plots(figures)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = ([one for one in frames if Path(one.filename).stem == name] or frames)[-1]
        why = f"{type(error).__name__}: {cut(str(error))}, {Path(place.filename).name}, line {place.lineno}"
        ways = "make them again, by the command that made them, or correct plots"
        raise CorruptShard(f"figures of {name} can't be plotted ({why}); {ways}") from error
    if not isinstance(found, Mapping) or not all(isinstance(one, KINDS) for one in found.values()):
        kinds = " or ".join(kind.__name__ for kind in KINDS)
        raise RecipeError(f"evaluate.{name}: plots must return a mapping from name to {kinds}")
    for plot in found:
        if not (isinstance(plot, str) and NAME.fullmatch(plot)):
            raise RecipeError(f"evaluate.{name}: plots gave the name {cut(repr(plot))}; use letters, digits and _")
    for key, plot in found.items():
        if problem := _misshapen(plot):
            raise RecipeError(f"evaluate.{name}: {type(plot).__name__} {key!r} of plots: {problem}")
        if problem := _problem(plot):
            raise CorruptShard(
                f"figures of {name} can't be plotted ({cut(problem)}); make them again, by the command that made them"
            )
    return {name: _ordered(plot, order) for name, plot in found.items()}


def _misshapen(plot: Plot) -> str:
    """What in a plot isn't of the kind that its class names; `""` if all is."""
    places: object = plot.rows if isinstance(plot, IntervalPlot) else plot.axes if isinstance(plot, RadarPlot) else ()
    series: object = plot.series
    if not isinstance(places, tuple | list):
        return f"{'rows' if isinstance(plot, IntervalPlot) else 'axes'} must be a tuple of labels, not {_kind(places)}"
    if not isinstance(series, Mapping):
        return f"series must be a mapping from names to tuples of points, not {_kind(series)}"
    wanted = POINTS.get(type(plot))
    for points in series.values():
        if not isinstance(points, tuple | list):
            return f"series must have a tuple for each name, not {_kind(points)}"
        for one in points:
            if wanted and not isinstance(one, wanted) and not (one is None and wanted is Point):
                point = f"{wanted.__name__}({', '.join(wanted._fields)})"
                return f"each point in series must be a {point}, not {_kind(one)}"
    return ""


def _kind(value: object) -> str:
    return f"{type(value).__name__} {cut(repr(value))}"


def _problem(plot: Plot) -> str:
    """Why a plot can't be drawn; `""` if it can. Figures on disk may have been written by anybody."""
    texts: list[object] = [plot.title, *plot.series]
    rows: list[tuple[str, tuple[Any, ...]]] = list(plot.series.items())
    numbers: list[Any] = []
    if isinstance(plot, IntervalPlot | RadarPlot):
        places = plot.rows if isinstance(plot, IntervalPlot) else plot.axes
        texts += [plot.unit, *places]
        if any(len(points) != len(places) for _, points in rows):
            return "a series doesn't have one point for each row"
    if isinstance(plot, CurvePlot):
        texts += [plot.across, plot.unit]
    if isinstance(plot, RadarPlot | CurvePlot) and plot.full is not None:
        numbers.append(plot.full)
    if isinstance(plot, RadarPlot):
        rows = [(name, tuple((one,) for one in points if one is not None)) for name, points in rows]
    if not all(isinstance(text, str) for text in texts):
        return "a title or name is no text"
    numbers += [number for _, points in rows for point in points if point is not None for number in point]
    odd = [
        one for one in numbers if isinstance(one, bool) or not isinstance(one, int | float) or not abs(one) < LARGEST
    ]
    if isinstance(plot, RadarPlot | CurvePlot) and not odd and plot.full is not None and plot.full <= 0:
        return "its largest value isn't above 0"
    return f"{odd[0]!r} is no number that can be drawn" if odd else ""


def _ordered(plot: Plot, order: Sequence[str]) -> Plot:
    if not isinstance(plot, IntervalPlot):
        return plot
    place = {variant: number for number, variant in enumerate(order)}
    rows = sorted(range(len(plot.rows)), key=lambda row: place.get(plot.rows[row], len(place)))
    series = {name: tuple(found[row] for row in rows) for name, found in plot.series.items()}
    return replace(plot, rows=tuple(plot.rows[row] for row in rows), series=series)


def file_of(evaluation: str, plot: str) -> str:
    """Name of a plot's file beside the manifest."""
    return f"{evaluation}-{plot}.png"


def shown(evaluation: str, plots: Mapping[str, Plot]) -> dict[str, str]:
    """By name, the Markdown that shows a plot."""
    return {name: f"![{table_cell(told(plot))}]({file_of(evaluation, name)})" for name, plot in plots.items()}


def sheet_text(manifest: Manifest) -> str:
    """Describe the contact sheet, as alternative text."""
    names, edition = shown_variants(variants(manifest)), f"{manifest.dataset}@{manifest.version}"
    edition += ", blurred" if manifest.warning else ""
    if len(names) < 2:
        return f"Contact sheet: some of the {manifest.pictures():,} pictures of {edition}"
    said = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    return f"Contact sheet of {edition}: the same pictures side by side in each variant: {said}"


def evaluation_plots(
    evaluations: Sequence[Evaluation], kept: Mapping[str, Mapping[str, Any]], order: Sequence[str]
) -> dict[str, dict[str, Plot]]:
    """By evaluation that has been run, its plots by name. Raises CorruptShard if they can't be made of its figures."""
    run = {one.component_name(): one for one in evaluations}
    return {name: plots_of(run[name], found["figures"], order) for name, found in kept.items()}


def write_plots(
    evaluations: Sequence[Evaluation],
    kept: Mapping[str, Mapping[str, Any]],
    manifest: Manifest,
    store: Store,
    write: Callable[[str, bytes], None],
) -> None:
    """Draw the plots beside the manifest, and remove older ones that the same evaluations no longer have.

    Args:
        evaluations: all of the recipe.
        kept: by name, the records of those that have been run.
        manifest: the edition.
        store: its store.
        write: writes a file beside the manifest.
    """
    plots, names = (
        evaluation_plots(evaluations, kept, variants(manifest)),
        [one.component_name() for one in evaluations],
    )
    wanted = {file_of(name, plot): one for name, found in plots.items() for plot, one in found.items()}
    for file, plot in wanted.items():
        write(file, draw(plot))
    folder = folder_of(manifest, store)
    with store.explained():
        for path in store.fs.ls(folder, detail=False):
            file = str(path).rstrip("/").rpartition("/")[2]
            mine = next((file.removeprefix(f"{name}-") for name in names if file.startswith(f"{name}-")), "")
            drawn = mine.endswith(".png") and NAME.fullmatch(mine.removesuffix(".png"))
            if drawn and file not in wanted and store.fs.isfile(f"{folder}/{file}"):
                with suppress(FileNotFoundError):  # another process writes the same card
                    store.fs.rm_file(f"{folder}/{file}")
