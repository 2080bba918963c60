"""Draws an evaluation's plots: as PNG for cards, and as SVG for the page in the browser.

Cards have PNG, because every viewer of a README shows it, where SVG is blocked by some. Letters in an SVG are outlines,
so it looks alike everywhere, and no name of a model can be markup in it. The same plot always gives the same bytes on
a machine: no date is in it, and no configuration of matplotlib has an effect.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

from variorum.reports.figures import seen
from variorum.schemas.plot import Bin, CurvePlot, CurvePoint, IntervalPlot, Plot, Point, RadarPlot, ReliabilityPlot

WIDTH = 800
"""Width of a plot in pixels of a card, whose column of text is 700 to 1000 pixels wide."""
NARROW = 400
"""The same on a page, where plots stand side by side, and on a phone one below the other."""
DENSITY = 2
"""Pixels of the file per pixel of the card, for sharp screens."""
PER_INCH = 96
"""Pixels of a card per inch of matplotlib."""
TEXT, TITLE = 13.0, 15.0
"""Heights of letters in pixels of a card."""
INK, PALE, BAND, GRID = "#1c1e22", "#8a8a8a", "#f3f3f3", "#d9d9d9"
OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#808080")
"""Colours that people with any colour vision tell apart (Okabe & Ito, Color Universal Design, 2008). Grey stands for
their yellow, which is hard to see on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One per series, so that series don't differ by colour alone."""
MOST_ROWS, MOST_SERIES, MOST_AXES = 40, 8, 24
MOST_MARKED = 12
"""Points of a curve that all have a marker and an interval; of a longer one, some have a marker."""
RINGS = (0.25, 0.5, 0.75, 1.0)
"""Of a radar."""
LONG = 15
"""With this many rows or more, the axis has its numbers above too."""
LABEL, NAME = 30, 40
"""Characters of a row's label and of a series' name; longer ones lose their middle."""


def draw(plot: Plot) -> bytes:
    """A plot as PNG."""
    with style():
        return png(_figure(plot, WIDTH))


def svg(plot: Plot) -> str:
    """A narrow plot as SVG, without the title, which the page has, and without any text of the data."""
    out = io.BytesIO()
    with style():
        _figure(plot, NARROW).savefig(out, format="svg", transparent=True, metadata={"Date": None})
    drawn = out.getvalue().decode()
    return re.sub("<!--.*?-->\n?|<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)


def told(plot: Plot) -> str:
    """Describe a plot in a sentence, as alternative text."""
    names = [*plot.series]
    more = f" and {len(names) - MOST_SERIES} more" if len(names) > MOST_SERIES else ""
    shown = "; ".join(names[:MOST_SERIES]) + more
    if isinstance(plot, ReliabilityPlot):
        return f"{plot.title}: one curve each for {shown}; the diagonal is perfect calibration"
    if isinstance(plot, CurvePlot):
        sure = all(one.low == one.high for some in plot.series.values() for one in some)
        intervals = "" if sure else ", with intervals"
        return f"{plot.title}: {plot.unit} against {plot.across}{intervals}, one line each for {shown}"
    if isinstance(plot, RadarPlot):
        axes = "; ".join(plot.axes[:MOST_AXES])
        return f"{plot.title}: {plot.unit} from 0 at the centre to {plot.full:g}, for {shown}; axes: {axes}"
    rows = f"{plot.rows[0]} to {plot.rows[-1]}" if len(plot.rows) > 1 else "".join(plot.rows)
    return f"{plot.title}: {plot.unit}, with intervals, for {shown}; rows: {rows}"


# ── the kinds ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _figure(plot: Plot, width: int) -> Any:
    match plot:
        case IntervalPlot():
            return _intervals(plot, width)
        case CurvePlot():
            return _curves(plot, width)
        case RadarPlot():
            return _radar(plot, width)
        case _:
            return _reliability(plot, width)


def _intervals(plot: IntervalPlot, width: int) -> Any:
    names, rows = [*plot.series][:MOST_SERIES], plot.rows[:MOST_ROWS]
    step = 13 if len(names) <= 4 else 8
    row = max(28, step * len(names) + 12)
    above = (34 if width == WIDTH else 10) + (24 * _lines(names, width) if len(names) > 1 else 0)
    below = row * max(1, len(rows)) + (80 if len(rows) > LONG else 56)
    figure = new(width, above + below)
    head, body = figure.subfigures(2, 1, height_ratios=(above, below))
    axes = body.subplots()
    for place in range(0, len(rows), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=BAND, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linewidth=1.2, zorder=1)
    for number, name in enumerate(names):
        shift = (number - (len(names) - 1) / 2) * step / row
        found = [(place + shift, point) for place, point in enumerate(plot.series[name][: len(rows)]) if point]
        _points(axes, found, number, short(name, NAME))
    left = len(plot.rows) - len(rows), len(plot.series) - len(names)
    cut = [f"{count} more {what}" for count, what in zip(left, ("rows", "series"), strict=True) if count]
    axes.set_yticks(range(len(rows)), [_fit(label, LABEL, width) for label in rows])
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axes.set_xlabel(_unit(plot.unit, 70, " and ".join(cut), width))
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labeltop=len(rows) > LONG)
    dress(axes)
    if width == WIDTH:
        head.text(0.008, 1 - 6 / above, short(plot.title, 80), va="top", fontsize=points(TITLE))
    if len(names) > 1:
        head.legend(*axes.get_legend_handles_labels(), loc="lower left", ncols=_columns(names, width), frameon=False)
    return figure


def _points(axes: Any, found: Sequence[tuple[float, Point]], number: int, name: str) -> None:
    values = [point.value for _, point in found]
    ends = [
        [max(0.0, point.value - point.low) for _, point in found],
        [max(0.0, point.high - point.value) for _, point in found],
    ]
    axes.errorbar(
        values,
        [place for place, _ in found],
        xerr=ends if found else None,
        fmt=MARKERS[number],
        color=OKABE_ITO[number],
        ecolor=OKABE_ITO[number],
        markeredgecolor=INK,
        markeredgewidth=0.6,
        markersize=6.5,
        elinewidth=1.8,
        capsize=3,
        label=name,
        zorder=3,
    )


def _reliability(plot: ReliabilityPlot, width: int) -> Any:
    names = [*plot.series][:MOST_SERIES]
    figure, axes = _with_legend(names, width, 530, 400)
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1.2, linestyle="--", zorder=1, label="perfect calibration")
    most = max((one.n for bins in plot.series.values() for one in bins), default=1)
    for number, name in enumerate(names):
        _curve(axes, plot.series[name], number, short(name, LABEL), most)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.grid(color=GRID, linewidth=0.8)
    dress(axes)
    more = {"title": "A larger mark stands\nfor more pictures", "alignment": "left", "title_fontsize": points(TEXT)}
    return _named(figure, plot, names, width, **more)


def _curve(axes: Any, bins: Sequence[Bin], number: int, name: str, most: int) -> None:
    at = [one.confidence for one in bins], [one.accuracy for one in bins]
    colour, marker = OKABE_ITO[number], MARKERS[number]
    line = "-" if number % 2 == 0 else (0, (5, 1.5))
    axes.plot(*at, color=colour, linewidth=1.2, linestyle=line, alpha=0.75, zorder=2)
    sizes = [12 + 110 * one.n / most for one in bins]
    axes.scatter(*at, s=sizes, color=colour, marker=marker, edgecolors=INK, linewidths=0.6, zorder=3)
    axes.plot([], [], color=colour, linestyle=line, marker=marker, markeredgecolor=INK, markeredgewidth=0.6, label=name)


def _curves(plot: CurvePlot, width: int) -> Any:
    names = [*plot.series][:MOST_SERIES]
    figure, axes = _with_legend(names, width, 470, 330)
    for number, name in enumerate(names):
        _line(axes, plot.series[name], number, short(name, LABEL))
    axes.set_xlabel(_fit(plot.across, 70, width))
    axes.set_ylabel(_fit(plot.unit, 60, width))
    axes.grid(color=GRID, linewidth=0.8)
    axes.margins(0.04)
    if plot.full is not None:
        axes.set_ylim(-0.03 * plot.full, 1.03 * plot.full)
    dress(axes)
    return _named(figure, plot, names, width)


def _line(axes: Any, some: Sequence[CurvePoint], number: int, name: str) -> None:
    colour, marker = OKABE_ITO[number], MARKERS[number]
    line = "-" if number % 2 == 0 else (0, (5, 1.5))
    x, values = [one.x for one in some], [one.value for one in some]
    ends = [[max(0.0, one.value - one.low) for one in some], [max(0.0, one.high - one.value) for one in some]]
    many = len(some) > MOST_MARKED
    if not many and some:
        axes.errorbar(x, values, yerr=ends, fmt="none", ecolor=colour, elinewidth=1.2, capsize=3, alpha=0.8, zorder=2)
    axes.plot(
        x,
        values,
        color=colour,
        linewidth=1.6,
        linestyle=line,
        marker=marker,
        markevery=max(1, len(some) // 8) if many else 1,
        markeredgecolor=INK,
        markeredgewidth=0.6,
        markersize=6.5,
        label=name,
        zorder=3,
    )


def _radar(plot: RadarPlot, width: int) -> Any:
    """Drawn with plain axes, as the labels around a polar one run into each other."""
    names, labels = [*plot.series][:MOST_SERIES], plot.axes[:MOST_AXES]
    figure, axes = _with_legend(names, width, 560, 350)
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-1.75, 1.75)
    axes.set_ylim(-1.25, 1.25)
    spokes = [
        (math.sin(2 * math.pi * k / len(labels)), math.cos(2 * math.pi * k / len(labels))) for k in range(len(labels))
    ]
    for ring in RINGS:
        axes.plot(*_around([ring] * len(labels), spokes), color=PALE if ring == 1 else GRID, linewidth=1, zorder=1)
        axes.text(0.02, ring, f"{ring * plot.full:g}", color=PALE, fontsize=points(11), va="bottom", zorder=4)
    for (x, y), label in zip(spokes, labels, strict=True):
        axes.plot([0, x], [0, y], color=GRID, linewidth=0.8, zorder=1)
        side = "center" if abs(x) < 0.05 else "left" if x > 0 else "right"
        axes.text(1.06 * x, (1.09 if width == WIDTH else 1.22) * y, _fit(label, 24, width), ha=side, va="center")
    for number, name in enumerate(names):
        given = plot.series[name][: len(labels)]
        shares = [None if one is None else min(1.0, max(0.0, one / plot.full)) for one in given]
        corners = _around(shares, spokes)
        colour, line = OKABE_ITO[number], "-" if number % 2 == 0 else (0, (5, 1.5))
        if None not in shares:
            axes.fill(*corners, color=colour, alpha=0.06, linewidth=0, zorder=2)
        axes.plot(
            *corners,
            color=colour,
            linestyle=line,
            marker=MARKERS[number],
            markeredgecolor=INK,
            markeredgewidth=0.6,
            markersize=6.5,
            linewidth=1.8,
            label=short(name, LABEL),
            zorder=3,
        )
    left = len(plot.axes) - len(labels)
    figure.supxlabel(_unit(plot.unit, 80, f"{left} more axes" if left else "", width), fontsize=points(TEXT))
    return _named(figure, plot, names, width)


def _around(shares: Sequence[float | None], spokes: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Places of a closed line; it has a gap where a share is missing."""
    ends = [*zip(shares, spokes, strict=True)]
    ends += ends[:1]
    x = [math.nan if share is None else share * spoke[0] for share, spoke in ends]
    y = [math.nan if share is None else share * spoke[1] for share, spoke in ends]
    return x, y


def _with_legend(names: Sequence[str], width: int, height: int, narrow: int) -> tuple[Any, Any]:
    """A figure and its axes; its height is given without the legend if it is a narrow one, which has that above."""
    figure = new(width, height if width == WIDTH else narrow + 20 * _lines(names, width))
    return figure, figure.add_subplot()


def _named(figure: Any, plot: Plot, names: Sequence[str], width: int, **more: Any) -> Any:
    """The figure with its title and legend, a narrow one with a legend only."""
    place = {"loc": "outside upper left", "ncols": _columns(names, width)}
    if width == WIDTH:
        figure.suptitle(short(plot.title, 80), x=0.01, ha="left", fontsize=points(TITLE))
        place = {"loc": "outside right upper"}
    if names or more:
        figure.legend(frameon=False, **place, **more)
    return figure


def _columns(names: Sequence[str], width: int) -> int:
    """Columns of a legend whose names fit side by side."""
    longest = max((len(short(name, NAME)) for name in names), default=0)
    return max(1, min(len(names), 4, int(width / (50 + 8 * longest))))


def _lines(names: Sequence[str], width: int) -> int:
    return -(-len(names) // _columns(names, width))


def _unit(unit: str, most: int, left_out: str, width: int) -> str:
    """A unit in at most this many characters, and what isn't shown, in a narrow plot in a line of its own."""
    gap = " " if width == WIDTH else "\n"
    return _fit(unit, most, width) + (f"{gap}({left_out} not shown)" if left_out else "")


def _fit(text: str, most: int, width: int) -> str:
    """Text in one line of at most this many characters, in a narrow plot fewer."""
    return short(text, most if width == WIDTH else 2 * most // 3)


# ── for all plots of cards ───────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def style() -> Iterator[None]:
    """The defaults of matplotlib with the fonts of cards, whatever this machine's configuration says."""
    import matplotlib

    own = {
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "font.size": points(TEXT),
        "axes.axisbelow": True,
        "axes.titlesize": points(TITLE),
        "text.color": INK,
        "text.parse_math": False,
        "svg.hashsalt": "plot",
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    kept = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
    with matplotlib.rc_context({**kept, **own}):
        yield


def new(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Any:
    """An empty figure on white paper; sides in pixels of a card."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / PER_INCH, height / PER_INCH), facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Any) -> bytes:
    """The figure's bytes, without a date or a version in them."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DENSITY * PER_INCH, metadata={"Software": None})
    return out.getvalue()


def points(pixels: float) -> float:
    """A height in pixels of a card, in points."""
    return 72 * pixels / PER_INCH


def dress(axes: Any) -> None:
    """Remove the frame except the line below."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def short(text: str, most: int) -> str:
    """Text for a plot in one line of so many characters; what is too long loses its middle, what has no glyph is �."""
    known = _glyphs()
    text = "".join(sign if ord(sign) in known else "\ufffd" for sign in seen(text[: 10 * most]))
    end = most // 2 - 1
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[-end:]}"


@cache
def _glyphs() -> frozenset[int]:
    """The characters that the font of the plots has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap())
