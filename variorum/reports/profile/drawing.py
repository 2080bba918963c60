"""Draw a report's figures as SVG: a model's value on its track, a difference, and the curve of a row.

Colours, sizes and fonts are the style's: a drawing has shapes, places and the number of the model alone. A model is
the shape `#s0` to `#s9` in the colour of the class `c0` to `c9`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from variorum.reports.profile.document import Curve, CurvePoint, Difference, Line, Value

SHAPES = (
    '<circle r="5"/>',
    '<path d="M0-6.2 6.2 0 0 6.2-6.2 0z"/>',
    '<path d="M-4.4-4.4h8.8v8.8h-8.8z"/>',
    '<path d="M-2.1-6.2h4.2v4.1h4.1v4.2h-4.1v4.1h-4.2v-4.1h-4.1v-4.2h4.1z"/>',
    '<path d="M-4.6-6.2 6.4 0-4.6 6.2z"/>',
    '<path d="M0-7 1.8-2.2 6.7-2.2 2.8.8 4.2 5.7 0 2.9-4.2 5.7-2.8.8-6.7-2.2-1.8-2.2z"/>',
    '<path d="M-2.7-7h5.4v14h-5.4z"/>',
    '<path d="M-5.9-3-3-5.9 0-2.9 3-5.9 5.9-3 2.9 0 5.9 3 3 5.9 0 2.9-3 5.9-5.9 3-2.9 0z"/>',
    '<path d="M4.6-6.2-6.4 0 4.6 6.2z"/>',
    '<path d="M-7-2.7h14v5.4h-14z"/>',
)
"""By the number of a model. None of them is a mark of a verdict but the second, which stands in a colour."""
ARROWS = '<path id="cl" d="M4-4-1 0 4 4"/><path id="cr" d="M-4-4 1 0-4 4"/>'
"""At the ends of an interval that goes on to the left or to the right."""
HALVES = (5, 10, 20, 30, 40, 60, 100)
"""Points that the half of the differences' axis may stand for."""
OUTSIDE = 0.02
"""Share of the intervals' ends that may lie outside of that axis; there an arrow says that they go on."""
WIDTH, LEFT, RIGHT, TOP, HEIGHT, BELOW = 430, 34, 12, 10, 176, 38
"""Of a curve over numbers, in pixels."""
NAMES, STEP = 132, 13
"""Width of the names of a curve over texts, and the height of a model's line."""
LETTERS = 18
"""Of a name there."""
PANELS = 2
"""Curves side by side, where there is one for each value of a second axis."""
AXES = {"at": "shift in pixels", "requested": "requested value"}
"""Words for the axes whose names don't say what they are."""
LABELS = 9
"""Numbers below an axis, at most."""


def shapes() -> str:
    """The definitions of the models' shapes, and of the arrow at the end of an interval that is cut."""
    named = "".join(shape.replace(" ", f' id="s{number}" ', 1) for number, shape in enumerate(SHAPES))
    return f'<svg class="away" aria-hidden="true"><defs>{named}{ARROWS}</defs></svg>'


def marker(number: int, *, hollow: bool = False) -> str:
    """A model's shape, as it stands before its name; hollow for a wrong answer."""
    kind = " hollow" if hollow else ""
    return f'<svg class="m c{number}{kind}" aria-hidden="true"><use href="#s{number}"/></svg>'


def track(value: Value, number: int, scale: float, chance: float | None) -> str:
    """A model's value and its interval on a track from 0 to `scale`; chance, or its floor, is dotted."""
    floor = chance if value.floor is None else value.floor
    parts = [] if floor is None else [_line("chance", _x(floor, scale), _x(floor, scale), "8%", "92%")]
    parts.append(_line("bar", _x(value.low, scale), _x(value.high, scale), "50%", "50%"))
    parts.append(f'<use href="#s{number}" x="{_x(value.value, scale)}" y="50%"/>')
    return _on("track", parts)


def ticks(values: Sequence[tuple[int, float]], scale: float, chance: float | None) -> str:
    """All models' values as ticks on one track."""
    parts = [] if chance is None else [_line("chance", _x(chance, scale), _x(chance, scale), "8%", "92%")]
    parts += [_line(f"tick c{number}", _x(one, scale), _x(one, scale), "14%", "86%") for number, one in values]
    return _on("track", parts)


def half(differences: Sequence[Difference]) -> int:
    """Points that the half of the differences' axis stands for: all values lie in it, and most ends of intervals."""
    values = [abs(one.value) for one in differences]
    ends = sorted(max(abs(one.low), abs(one.high)) for one in differences)
    most = max([*values, *(ends[: len(ends) - int(OUTSIDE * len(ends))])[-1:]], default=0)
    return next((one for one in HALVES if most <= one), HALVES[-1])


def odds(models: Sequence[tuple[int, float, bool]]) -> str:
    """The probability that each model gives to a picture's label, from 0 to 1; hollow where its answer is wrong."""
    shapes = "".join(
        f'<use class="c{number}{"" if right else " hollow"}" href="#s{number}" x="{5 + 90 * p:.0f}" y="8"/>'
        for number, p, right in models
    )
    return f'<svg class="odds" viewBox="0 0 100 16" aria-hidden="true"><path d="M5 3v10M5 8h90M95 3v10"/>{shapes}</svg>'


def difference(one: Difference, number: int, points: int) -> str:
    """A difference and its interval on a track with 0 in the middle."""
    low, value, high = (_x(end + points, 2 * points) for end in (one.low, one.value, one.high))
    parts = [_line("bar", low, high, "50%", "50%")]
    parts += ['<use class="cut" href="#cl" x="0" y="50%"/>'] if one.low < -points else []
    parts += ['<use class="cut" href="#cr" x="100%" y="50%"/>'] if one.high > points else []
    parts.append(f'<use href="#s{number}" x="{value}" y="50%"/>')
    return _on("d", parts)


def curves(curve: Curve, numbers: Mapping[str, int], scale: float, chance: float | None) -> Iterator[tuple[str, str]]:
    """Yield the drawings of a curve, each with its title: one for each value of the second axis, if there is one."""
    series = list(dict.fromkeys(line.series for line in curve.lines))
    width = WIDTH if len(series) == 1 else WIDTH // PANELS - 8
    draw = _over_texts if any(isinstance(at, str) for at in curve.at) else _over_numbers
    for name in series:
        lines = [(numbers[line.model], line) for line in curve.lines if line.series == name and line.model in numbers]
        yield name, draw(curve, lines, scale, chance, width)


def axis(by: str) -> str:
    """An axis as it is shown."""
    return AXES.get(by, by.replace("_", " "))


def place(at: float | str) -> str:
    """A place on an axis as it is shown: a number without needless digits, a text without underscores."""
    return at.replace("_", " ") if isinstance(at, str) else f"{at:g}".replace("-", "−")


def _over_numbers(
    curve: Curve, lines: Sequence[tuple[int, Line]], scale: float, chance: float | None, width: int
) -> str:
    """Values upwards, the places of the axis at equal distances, and a line that joins a model's points."""
    step = (width - LEFT - RIGHT) / len(curve.at)
    apart = min(7, 0.6 * step / max(1, len(lines)))

    def x(number: float) -> float:
        return LEFT + (number + 0.5) * step

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - min(1, max(0, value / scale)))

    parts = []
    for quarter in range(5):
        value = scale * quarter / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    if chance is not None:
        parts.append(
            f'<line class="chance" x1="{LEFT}" x2="{width - RIGHT}" y1="{y(chance):.1f}" y2="{y(chance):.1f}"/>'
        )
    every = -(-len(curve.at) // (LABELS if width == WIDTH else LABELS // 2))
    for number, at in enumerate(curve.at):
        if number % every == 0:
            parts.append(f'<text x="{x(number):.1f}" y="{TOP + HEIGHT + 17}" text-anchor="middle">{_text(at)}</text>')
    middle, by = (LEFT + width - RIGHT) / 2, _text(axis(curve.by))
    parts.append(f'<text x="{middle:.1f}" y="{TOP + HEIGHT + 34}" text-anchor="middle">{by}</text>')
    for rank, (model, line) in enumerate(lines):
        shift = (rank - (len(lines) - 1) / 2) * apart
        found = [(x(number) + shift, point) for number, point in enumerate(line.points) if point is not None]
        parts.append(f'<g class="c{model}"><polyline points="{_joined(found, y)}"/>')
        for across, point in found:
            parts.append(_line("bar", f"{across:.1f}", f"{across:.1f}", f"{y(point.low):.1f}", f"{y(point.high):.1f}"))
            parts.append(f'<use href="#s{model}" x="{across:.1f}" y="{y(point.value):.1f}"/>')
        parts.append("</g>")
    return _svg(width, TOP + HEIGHT + BELOW, parts)


def _over_texts(curve: Curve, lines: Sequence[tuple[int, Line]], scale: float, chance: float | None, width: int) -> str:
    """Names on the left, one below the other, and beside each the models' values, one line for each."""
    left = NAMES if width == WIDTH else NAMES // 2 + 30
    block = STEP * max(1, len(lines)) + 9
    bottom = TOP + block * len(curve.at)

    def x(value: float) -> float:
        return left + (width - left - RIGHT) * min(1, max(0, value / scale))

    parts = []
    for quarter in range(5):
        value = scale * quarter / 4
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{bottom}"/>')
        if width == WIDTH or quarter % 2 == 0:
            parts.append(f'<text x="{x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
    if chance is not None:
        parts.append(f'<line class="chance" x1="{x(chance):.1f}" x2="{x(chance):.1f}" y1="{TOP}" y2="{bottom}"/>')
    for number, at in enumerate(curve.at):
        top = TOP + number * block + 4
        letters = LETTERS if width == WIDTH else LETTERS // 2 + 3
        parts.append(
            f'<text x="{left - 10}" y="{top + (block - 9) / 2 + 4:.1f}" text-anchor="end">{_text(at, letters)}</text>'
        )
        for rank, (model, line) in enumerate(lines):
            point = line.points[number]
            if point is not None:
                y = f"{top + STEP * (rank + 0.5):.1f}"
                parts.append(f'<g class="c{model}">{_line("bar", f"{x(point.low):.1f}", f"{x(point.high):.1f}", y, y)}')
                parts.append(f'<use href="#s{model}" x="{x(point.value):.1f}" y="{y}"/></g>')
    return _svg(width, bottom + 22, parts)


def _joined(found: Sequence[tuple[float, CurvePoint]], y: Any) -> str:
    return " ".join(f"{across:.1f},{y(point.value):.1f}" for across, point in found)


def _svg(width: int, height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height:g}" aria-hidden="true">{"".join(parts)}</svg>'


def _on(kind: str, parts: Sequence[str]) -> str:
    return f'<span class="{kind}"><svg aria-hidden="true">{"".join(parts)}</svg></span>'


def _line(kind: str, left: str, right: str, top: str, bottom: str) -> str:
    return f'<line class="{kind}" x1="{left}" x2="{right}" y1="{top}" y2="{bottom}"/>'


def _x(value: float, scale: float) -> str:
    return f"{100 * min(1, max(0, value / scale)):.1f}%"


def _text(at: float | str, most: int = 60) -> str:
    from markupsafe import escape

    from variorum.reports.figures import seen

    text = seen(place(at))
    return str(escape(text if len(text) <= most else text[: most - 1] + "…"))
