"""Finds and renders the templates of cards: those in data_cards/, and those that lie beside a component or a recipe.

Whatever comes from data stands in a card without markup: `inert` takes it out of every value that isn't `own`.
"""

from __future__ import annotations

import importlib.resources
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from variorum.reports.figures import Shown, fixed, inert, interval, markdown, paired_originals, table_cell, wanted
from variorum.reports.funnel import why
from variorum.schemas.component import Component
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.plot import FEWEST, too_few
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import BASELINES

ENDING = ".md.j2"
CARDS = Path(str(importlib.resources.files("variorum"))) / "data_cards"


@cache
def _own() -> Mapping[str, str]:
    """By name, the paths of the templates in data_cards/.

    `imagenet_e` is `imagenet_e/card.md.j2`; any other name is that of a file, at the top or in the folder of a thing.
    """
    files = sorted(file.relative_to(CARDS) for file in (*CARDS.glob(f"*{ENDING}"), *CARDS.glob(f"*/*{ENDING}")))
    names = {file: file.name.removesuffix(ENDING) for file in files if file.parent.name != "parts"}
    return {file.parent.name if name == "card" else name: file.as_posix() for file, name in names.items()}


def templates(components: Iterable[Component] = ()) -> Mapping[str, str | Path]:
    """Find templates by name: those of cards, and with a `_` before the name those of evaluations and steps.

    Files `_<name>.md.j2` beside the code of these components come before those in data_cards/.
    """
    found: dict[str, str | Path] = {name: name for name in _own()}
    for component in components:
        name = f"_{component.component_name()}"
        with suppress(TypeError, OSError):  # a class that somebody typed in has no file
            if (file := Path(inspect.getfile(type(component))).with_name(f"{name}{ENDING}")).is_file():
                found[name] = file
    return found


def check_file(file: Path) -> None:
    """Raise RecipeError if a file is no template."""
    import jinja2

    if not file.is_file():
        raise RecipeError(f"template {file}: no such file")
    try:
        _environment().parse(file.read_text(encoding="utf-8"))
    except jinja2.TemplateSyntaxError as error:
        raise RecipeError(f"template {file}, line {error.lineno}: {error.message}") from None
    except (OSError, ValueError) as error:
        raise RecipeError(f"template {file}: can't be read: {error}") from None


def card_template(recipe: Recipe) -> str | Path:
    """The template of the recipe's card, as `render` takes it."""
    name = recipe.card.template
    return Path(name).expanduser() if name.endswith(ENDING) else name


def templates_of(recipe: Recipe) -> Mapping[str, str | Path]:
    """`templates` for the steps and evaluations of a recipe."""
    return templates((*recipe.curate, *recipe.evaluate))


def check_template(recipe: Recipe) -> None:
    """Raise RecipeError if the recipe's card template is missing, or one of its own is none; called before any work."""
    chosen, names = card_template(recipe), sorted(name for name in templates() if not name.startswith("_"))
    if not isinstance(chosen, Path) and chosen not in names:
        raise RecipeError(f"card.template: no {chosen!r} in data_cards/; there are: {', '.join(names)}")
    for file in (chosen, *templates_of(recipe).values()):
        if isinstance(file, Path):
            check_file(file)


def own(text: str) -> str:
    """Markdown of this project or of the recipe's author; templates pass all other text through `inert`."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - Markdown; whatever of it comes from data has been escaped


@contextmanager
def showable(what: str, way: str = "make them again, by the command that made them") -> Iterator[None]:
    """Raise CorruptShard if figures that others wrote aren't such as a template shows; `way` is the way out."""
    import jinja2

    try:
        yield
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        why = cut(" ".join(str(error).split()))
        raise CorruptShard(f"{what} can't be shown ({why}); {way}") from error


def render(template: str | Path, tables: list[Shown] | None = None, /, **values: Any) -> str:
    """Render a template. Tables that it makes with `table(head, rows, title)` are added to `tables`.

    Args:
        template: one of `templates`; or a path in data_cards/ without its ending.
        tables: receives the tables.
        values: what it can show.

    Raises:
        CorruptShard: it can't show these figures.
    """

    def table(head: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> str:
        shown = Shown(title, tuple(head), [tuple(map(str, row)) for row in rows])
        if tables is not None:
            tables.append(shown)
        return own(markdown(shown.head, shown.rows))

    if isinstance(template, Path):
        with showable(f"the template {template}", "correct it, or make its figures again"):
            found = _environment().from_string(template.read_text(encoding="utf-8"))
            return str(found.render(**values, table=table))
    with showable(f"figures of {template.lstrip('_')}"):
        found = _environment().get_template(_own().get(template, f"{template}{ENDING}"))
        return str(found.render(**values, table=table))


@cache
def _environment() -> Any:
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(CARDS),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.do"],
        autoescape=False,  # Markdown; see `finalize`
        finalize=inert,
    )
    environment.filters |= {
        "cell": lambda value: own(table_cell(value)),
        "fixed": fixed,
        "interval": interval,
        "pin": short_pin,
        "why": why,
        "paired": lambda of, names: paired_originals({name: of[name].get("original_accuracy") for name in names}),
        "family": family_of,
        "too_few": too_few,
        "wanted": wanted,
        "two_digits": lambda number: "–" if number is None else f"{number:.2f}",
        "percent": percent,
    }
    environment.globals |= {"fewest": FEWEST, "baselines": list(BASELINES)}
    return environment


def short_pin(pin: str) -> str:
    """A pin shortened to `name@sha256:0123456789ab`; the manifest has the full one."""
    name, at, weights = pin.partition("+")[0].rpartition("@")
    kind, colon, number = weights.rpartition(":")
    return f"{name}@{kind}{colon}{number[:12]}" if at else weights


def family_of(pin: str) -> str:
    """The family of architectures in the name of a model, from its pin: `efficientnet` of `efficientnet-lite1@…`."""
    name = re.split(r"[/:]", pin.partition("+")[0].partition("@")[0])[-1].lower().removeprefix("tf_")
    found = re.match(r"[a-z]+", name)
    return found[0] if found else name


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage for a table; – for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}"
