"""Plots as data. An evaluation says what to draw; cards draw it with matplotlib, the page in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


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


Plot = IntervalPlot | ReliabilityPlot
