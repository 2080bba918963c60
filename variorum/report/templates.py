"""The templates of cards in data_cards/, and how they are rendered.

Whatever comes from data stands in a card without markup: `inert` takes it out of every value that isn't `own`.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from variorum.report.figures import Shown, fixed, inert, interval, markdown, table_cell
from variorum.report.funnel import why
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.recipe import Recipe


def template_names() -> list[str]:
    """The templates of cards, and with a `_` before it those of evaluations and steps."""
    folder = importlib.resources.files("variorum.data_cards")
    return sorted(item.name.removesuffix(".md.j2") for item in folder.iterdir() if item.name.endswith(".md.j2"))


def check_template(recipe: Recipe) -> None:
    """Raise RecipeError if the recipe's card template is missing; called before any work."""
    names = [name for name in template_names() if not name.startswith("_")]
    if recipe.card.template not in names:
        raise RecipeError(f"card.template: no {recipe.card.template!r} in data_cards/; there are: {', '.join(names)}")


def own(text: str) -> str:
    """Markdown of this project or of the recipe's author; templates pass all other text through `inert`."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - Markdown; whatever of it comes from data has been escaped


@contextmanager
def showable(what: str) -> Iterator[None]:
    """Raise CorruptShard if figures that others wrote aren't such as a template shows."""
    import jinja2

    try:
        yield
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        why = cut(" ".join(str(error).split()))
        raise CorruptShard(f"{what} can't be shown ({why}); make them again, by the command that made them") from error


def render(template: str, tables: list[Shown] | None = None, /, **values: Any) -> str:
    """Render a template. Tables that it makes with `table(head, rows, title)` are added to `tables`.

    Raises:
        CorruptShard: it can't show these figures.
    """

    def table(head: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> str:
        shown = Shown(title, tuple(head), [tuple(map(str, row)) for row in rows])
        if tables is not None:
            tables.append(shown)
        return own(markdown(shown.head, shown.rows))

    with showable(f"figures of {template.lstrip('_')}"):
        return str(_environment().get_template(f"{template}.md.j2").render(**values, table=table))


@cache
def _environment() -> Any:
    import jinja2

    folder = importlib.resources.files("variorum.data_cards")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.do"],
        autoescape=False,  # noqa: S701 - Markdown; see `finalize`
        finalize=inert,
    )
    environment.filters |= {
        "cell": lambda value: own(table_cell(value)),
        "fixed": fixed,
        "interval": interval,
        "pin": short_pin,
        "why": why,
        "two_digits": lambda number: "–" if number is None else f"{number:.2f}",
        "percent": percent,
    }
    return environment


def short_pin(pin: str) -> str:
    """A pin shortened to `name@sha256:0123456789ab`; the manifest has the full one."""
    name, at, weights = pin.partition("+")[0].rpartition("@")
    kind, colon, number = weights.rpartition(":")
    return f"{name}@{kind}{colon}{number[:12]}" if at else weights


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage for a table; – for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}"
