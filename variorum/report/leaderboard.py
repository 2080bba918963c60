"""The leaderboard as a page: one self-contained HTML file, readable without JavaScript, sortable with it.

Names, notes and revisions come from strangers' files. The template escapes them all, and the page's policy allows one
style and one script, by their hashes, and nothing from a network.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from variorum.report.figures import fixed
from variorum.report.results import Interval
from variorum.report.standing import Leaderboard, by_variant, ends, short_revision

WIDTH, HEIGHT, MARGIN = 120, 14, 4
"""Of a dot with its interval, in pixels."""
LEVELS = 6
"""Shades of the table by variant."""
STEP = 5
"""Percentage points of a shade."""


class Cell(NamedTuple):
    """A variant's figure for a model."""

    value: float | None
    level: str
    title: str


def leaderboard_page(board: Leaderboard) -> str:
    """The page. The same leaderboard gives the same bytes."""
    from markupsafe import Markup

    style, script = _asset("leaderboard.css"), _asset("leaderboard.js")
    drops = any(entry.figures.original_accuracy is not None for entry in board.entries)
    variants = board.variants()
    return str(
        _template().render(
            board=board,
            title=f"Leaderboard: {board.edition.name}",
            style=Markup(style),  # noqa: S704 - files of this project
            script=Markup(script),  # noqa: S704
            style_hash=_hash(style),
            script_hash=_hash(script),
            drops=drops,
            many=len(board.entries) > 1,
            variants=variants,
            parts=by_variant(board),
            heat=[(entry.model.name, _cells(entry.figures.variants, variants, drops)) for entry in board.entries],
            notes=board.notes(),
            drop_scale=_scale(entry.figures.average_drop for entry in board.entries),
            behind_scale=_scale(entry.behind for entry in board.entries),
            number=lambda value: fixed(value, 1),
            value=lambda value: Markup(f'data-value="{"" if value is None else value}"'),  # noqa: S704 - a number
            ends=ends,
            dots=lambda item, scale: Markup(_dots(item, scale)),  # noqa: S704 - numbers
            short=short_revision,
        )
    )


def _cells(found: Any, variants: Sequence[str], drops: bool) -> list[Cell]:
    cells = []
    for name in variants:
        one = found.get(name)
        value = None if one is None else (one.drop.value if one.drop else None) if drops else one.accuracy
        if value is None:
            cells.append(Cell(None, "l0", ""))
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


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _asset(name: str) -> str:
    return (importlib.resources.files("variorum.report") / "assets" / name).read_text()


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("leaderboard.html.j2"))
