"""The leaderboard as a page: one self-contained HTML file, readable without JavaScript, sortable with it.

The table by variant has the longer of the two lists, models or variants, as its rows, so that it fits the page.

Names, notes and revisions come from strangers' files. The template escapes them all, and the page's policy allows one
style and one script, by their hashes, and nothing from a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from variorum.reports.figures import fixed
from variorum.reports.one_file import one_file
from variorum.reports.results import Interval, VariantFigures
from variorum.reports.standing import Leaderboard, by_baseline, by_variant, ends, short_revision

WIDTH, HEIGHT, MARGIN = 120, 14, 4
"""Of a dot with its interval, in pixels."""
LEVELS = 6
"""Shades of the table by variant."""
STEP = 5
"""Percentage points of a shade."""
PLOT_WIDTH, PLOT_HEIGHT, LEFT = 560, 300, 74
PLOTTED = 100
"""Models in the plot."""
ACROSS, UP = "accuracy on the originals, %", "average drop, pp"


class Cell(NamedTuple):
    """A variant's figure for a model."""

    value: float | None
    level: str
    title: str


class Grid(NamedTuple):
    """The table by variant. `down` names the rows, `across` the columns."""

    title: str
    corner: str
    down: list[str]
    across: list[str]
    cells: list[list[Cell]]


def leaderboard_page(board: Leaderboard) -> str:
    """The page. The same leaderboard gives the same bytes."""
    from markupsafe import Markup

    return one_file(
        "leaderboard",
        board=board,
        title=f"Leaderboard: {board.edition.name}",
        drops=board.with_drops,
        many=len(board.entries) > 1,
        grid=_grid(board),
        baselines=by_baseline(board),
        notes=board.notes(),
        drop_scale=_scale(entry.figures.average_drop for entry in board.entries if entry.few is None),
        behind_scale=_scale(entry.behind for entry in board.entries if entry.few is None),
        plot=Markup(_plot(board)),  # noqa: S704 - numbers
        number=lambda value: fixed(value, 1),
        value=lambda value: Markup(f'data-value="{"" if value is None else value}"'),  # noqa: S704 - a number
        brackets=lambda item: ends(item).partition(" ")[2],
        dots=lambda item, scale: Markup(_dots(item, scale)),  # noqa: S704 - numbers
        short=short_revision,
    )


def _grid(board: Leaderboard) -> Grid | None:
    """The drop, or the accuracy where there are no originals, of each model on each edit; None without edits."""
    edits, models = board.edits(), [entry.model.name for entry in board.entries]
    if not edits:
        return None
    cells = [_cells(entry.figures.variants, edits, board.with_drops) for entry in board.entries]
    title = by_variant(board).title
    if len(edits) < len(models):
        return Grid(title, "Model", models, edits, cells)
    return Grid(title, "Variant", edits, models, [list(row) for row in zip(*cells, strict=True)])


def _cells(found: Mapping[str, VariantFigures], variants: Sequence[str], drops: bool) -> list[Cell]:
    cells = []
    for name in variants:
        one = found.get(name)
        value = None if one is None else one.shown(drops)
        if one is None or value is None:
            cells.append(Cell(None, "l0", "" if one is None else f"too few: {one.n} pictures"))
            continue
        loss = value if drops else (100 - value) / 2
        step = min(LEVELS, int(abs(loss) // STEP) + (abs(loss) >= 1))
        level = f"l{step}" if loss >= 0 else f"g{min(2, step)}"
        said = f"{ends(one.drop)} of {one.n} pictures" if one.drop else f"of {one.n} pictures"
        cells.append(Cell(value, level, said))
    return cells


def _scale(items: Iterable[Interval | None]) -> tuple[float, float]:
    """The range of a column's intervals, with 0."""
    known = [item for item in items if item is not None]
    low, high = min([0.0, *(item.low for item in known)]), max([0.0, *(item.high for item in known)])
    return (low, high) if high > low else (low - 1, high + 1)


def _dots(item: Interval | None, scale: tuple[float, float]) -> str:
    """A dot with its interval on a column's scale, as a picture beside the numbers that say the same."""
    if item is None:
        return ""
    low, high = scale

    def x(value: float) -> str:
        return f"{MARGIN + (value - low) / (high - low) * (WIDTH - 2 * MARGIN):.1f}"

    middle = HEIGHT // 2
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">'
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="0" y2="{HEIGHT}"/>'
        f'<line x1="{x(item.low)}" x2="{x(item.high)}" y1="{middle}" y2="{middle}"/>'
        f'<circle cx="{x(item.value)}" cy="{middle}" r="3.5"/></svg>'
    )


def _plot(board: Leaderboard) -> str:
    """A plot of each model's drop against its accuracy on the originals, with ranks as names; `""` for one model."""
    found = [
        (one.rank, one.original_accuracy, one.figures.average_drop)
        for one in board.entries[:PLOTTED]
        if one.few is None
    ]
    points = [(rank, across, drop) for rank, across, drop in found if across is not None and drop is not None]
    if len(points) < 2:
        return ""
    low, high = _tens([0.0, *(end for _, _, drop in points for end in (drop.low, drop.high))])
    left, right = _tens([across for _, across, _ in points])

    def x(value: float) -> float:
        return LEFT + (value - left) / (right - left) * (PLOT_WIDTH - LEFT - 24)

    def y(value: float) -> float:
        return PLOT_HEIGHT - 44 - (value - low) / (high - low) * (PLOT_HEIGHT - 64)

    bottom = y(low)
    parts = [f'<line class="zero" x1="{LEFT}" x2="{PLOT_WIDTH - 24}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>']
    parts += [
        f'<text x="{x(value):.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{value:.0f}</text>'
        for value in (left, (left + right) / 2, right)
    ]
    parts += [
        f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.0f}</text>'
        for value in dict.fromkeys((low, 0.0, high))
        if value == 0 or abs(y(value) - y(0)) > 14
    ]
    for rank, across, drop in points:
        middle = y(drop.value)
        parts.append(
            f'<line x1="{x(across):.1f}" x2="{x(across):.1f}" y1="{y(drop.low):.1f}" y2="{y(drop.high):.1f}"/>'
        )
        parts.append(f'<circle cx="{x(across):.1f}" cy="{middle:.1f}" r="4"/>')
        parts.append(f'<text class="rank" x="{x(across) + 8:.1f}" y="{middle + 4:.1f}">{rank}</text>')
    parts.append(f'<text x="{(LEFT + PLOT_WIDTH - 24) / 2}" y="{PLOT_HEIGHT - 6}" text-anchor="middle">{ACROSS}</text>')
    half = (PLOT_HEIGHT - 24) / 2
    parts.append(f'<text transform="translate(18 {half}) rotate(-90)" text-anchor="middle">{UP}</text>')
    said = f"{UP} against {ACROSS}, by rank; the table has the numbers"
    return f'<svg viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" role="img" aria-label="{said}">{"".join(parts)}</svg>'


def _tens(values: Sequence[float]) -> tuple[float, float]:
    """Multiples of 10 around percentages."""
    low, high = 10 * (min(values) // 10), -10 * (-max(values) // 10)
    return (low, high) if high > low else (low - 10, high + 10)
