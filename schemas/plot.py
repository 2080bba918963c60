"""Plots as data. An evaluation says what to draw; `reports/plots.py` draws it for cards and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A value with the ends of its interval; all three are in the plot's unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class IntervalPlot:
    """A dot with its interval for each row and each series: accuracy drops by variant, for several models.

    Attributes:
        title: a few words.
        unit: of the values, for the axis: `accuracy drop in percentage points`.
        rows: labels from top to bottom.
        series: by name, one point per row; None where there is nothing to show.
    """

    title: str
    unit: str
    rows: tuple[str, ...]
    series: Mapping[str, tuple[Point | None, ...]]


class Bin(NamedTuple):
    """Predictions of similar confidence: mean confidence and accuracy in [0, 1], and their number."""

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True, slots=True)
class ReliabilityPlot:
    """Accuracy against confidence (Guo et al., ICML 2017, arXiv 1706.04599).

    Attributes:
        title: a few words.
        series: by name, the bins that aren't empty, by rising confidence.
    """

    title: str
    series: Mapping[str, tuple[Bin, ...]]


class CurvePoint(NamedTuple):
    """A place on the horizontal axis, a value there, and the ends of the value's interval."""

    x: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CurvePlot:
    """Values against another quantity: what is left of a watermark, against what removing it costs in quality.

    Attributes:
        title: a few words.
        across: what the horizontal axis has, with its unit.
        unit: of the values, for the vertical axis.
        series: by name, points in the order in which a line joins them.
        full: end of the vertical axis, which then begins at 0; None for an axis that fits the values.
    """

    title: str
    across: str
    unit: str
    series: Mapping[str, tuple[CurvePoint, ...]]
    full: float | None = None


@dataclass(frozen=True, slots=True)
class RadarPlot:
    """A polygon for each series over axes around a centre: how robust watermarks are to several attacks.

    Attributes:
        title: a few words.
        unit: of the values; the centre is 0.
        full: value of the outer ring.
        axes: labels clockwise from the top.
        series: by name, one value per axis; None where there is nothing to show.
    """

    title: str
    unit: str
    full: float
    axes: tuple[str, ...]
    series: Mapping[str, tuple[float | None, ...]]


Plot = IntervalPlot | ReliabilityPlot | CurvePlot | RadarPlot
KINDS = (IntervalPlot, ReliabilityPlot, CurvePlot, RadarPlot)


def point(interval: Mapping[str, Any] | None) -> Point | None:
    """A figure with its interval, for a plot; None for none, and for one of too few photographs."""
    if not interval or too_few(interval):
        return None
    return Point(interval["value"], interval["low"], interval["high"])


FEWEST = 30
"""Photographs below which a figure isn't shown: only their number, and that they are too few."""


def too_few(interval: Mapping[str, Any]) -> bool:
    """Return whether a figure says that it is of fewer `photographs` than `FEWEST`."""
    return bool(interval.get("photographs", FEWEST) < FEWEST)
