"""Print a component's entry of the reference as Markdown: its fields, columns, figures and models, from the code."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from variorum.kit.prompts.subjects import listed
from variorum.schemas.catalogue import type_name
from variorum.schemas.component import Component, Decider, Detector
from variorum.schemas.described import bounds, described_fields, descriptions, prose
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import component_class, component_names, cut, kinds
from variorum.schemas.uses import deciding_models, optional_models, required_models

SAID = {
    "Reads": ("read",),
    "Classes": ("classes",),
    "Makes": ("edit", "generate", "embed", "apply"),
    "Lists": ("listings",),
    "Measures": ("measure", "opinions"),
    "Scores": ("score",),
    "Decides": ("decide",),
    "Figures": ("figures",),
}
"""What an entry says of a component, from the docstrings of these methods."""


def entry(name: str) -> str:
    """The entry of the components with this name. Raises RecipeError if there are none."""
    parts = [part for part in kinds() if name in component_names(part)]
    if not parts and not name.endswith(".py"):
        raise RecipeError(f"no component {cut(name)!r}; `variorum components` lists all")
    return "\n".join(component_entry(part, name) for part in parts or _parts_of(name))


def _parts_of(file: str) -> list[str]:
    """The parts of a recipe that take the component in a Python file."""
    errors = []
    for part in kinds():
        try:
            component_class(part, file)
        except RecipeError as error:
            errors.append(error)
        else:
            return [part]
    raise errors[0]


def component_entry(part: str, name: str) -> str:
    """Return the entry of one component, as Markdown."""
    cls = component_class(part, name)
    kind = next(base.__name__.lower() for base in kinds()[part].classes if issubclass(cls, base))
    thing = cls.__module__.split(".")[2:-1]
    recipes = [f"`{recipe}`" for recipe in _used().get((part, name), ())]
    facts = " ".join([kind.capitalize(), *(f"of `{one}`" for one in thing[:1])])
    facts += f"; used by {listed(recipes)}" if recipes else ""
    texts = [prose(sys.modules[cls.__module__].__doc__), prose(cls.__doc__)]
    if texts[0].partition("\n")[0] in texts[1]:
        texts = texts[1:]
    rows = [
        (f"`{field}`", kind_of(info), default_of(info), meaning_of(cls, field, text))
        for field, info, text in described_fields(cls)
    ]
    said = [f"**{head}.** {text}" for head, hooks in SAID.items() if (text := _said(cls, hooks))]
    whole = [
        f"## {cls.component_name()}",
        f"*{facts}.*",
        *texts,
        table("field|type|default|what it does", rows),
    ]
    return "\n\n".join(part for part in [*whole, *said, *_columns(cls), *_needs(cls)] if part) + "\n"


def _said(cls: type, hooks: Sequence[str]) -> str:
    """The docstring of the first of these methods that a component defines itself."""
    for hook in hooks:
        method = getattr(cls, hook, None)
        if method is not None and not any(
            method is getattr(base, hook, None) for kind in kinds().values() for base in kind.classes
        ):
            return prose(method.__doc__)
    return ""


def _columns(cls: type) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for column, kind in (getattr(cls, "gives", None) or {}).items():
        groups.setdefault(kind, []).append(f"`{column}`")
    if groups:
        text = descriptions(cls)["gives"] if "gives" in descriptions_of_own(cls) else ""
        yield (
            "**Columns.** "
            + "; ".join(f"{kind}: {', '.join(names)}" for kind, names in groups.items())
            + f". {text}".rstrip()
        )
    if listed := getattr(cls, "adds", None):
        yield "**Adds to samples.** " + ", ".join(f"`{ending}`" for ending in listed)


def descriptions_of_own(cls: type) -> dict[str, str]:
    """The descriptions that differ from those of the base classes, which explain a class variable to authors."""
    bases = [base for kind in kinds().values() for base in kind.classes if issubclass(cls, base)]
    general = {name: text for base in bases for name, text in descriptions(base).items()}
    return {name: text for name, text in descriptions(cls).items() if general.get(name) != text}


def _needs(cls: type[Component]) -> Iterator[str]:
    try:
        one = cls()
    except (ValidationError, RecipeError):  # a field has no default
        return
    needs = one.needs() if isinstance(one, Detector | Decider) else ()
    for head, names in (
        ("Needs before it", needs),
        ("Models", required_models(one)),
        ("Models if there", optional_models(one)),
        ("Models that may not judge the edition", deciding_models(one)),
    ):
        if names:
            yield f"**{head}.** {', '.join(f'`{name}`' for name in names)}"


@cache
def _used() -> dict[tuple[str, str], list[str]]:
    """The shipped recipes that name a component, by part and name."""
    from variorum.stages.recipe_files import read_fields, shipped_recipes

    found: dict[tuple[str, str], list[str]] = {}

    def walk(value: Any, part: str, recipe: str) -> None:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                if isinstance(name := item.get("name"), str):
                    found.setdefault((part, name), []).append(recipe)
                for key, held in item.items():
                    walk(held, key if key in kinds() else "source", recipe)

    for recipe in shipped_recipes():
        walk({key: value for key, value in read_fields(recipe).items() if key in kinds()}, "", recipe)
    return {key: list(dict.fromkeys(recipes)) for key, recipes in found.items()}


def kind_of(field: Any) -> str:
    """Return a field's type and bounds."""
    return ", ".join(one for one in (type_name(field.annotation), bounds(field)) if one)


def default_of(field: Any) -> str:
    """Return a field's default as a recipe writes it; `required` without one."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if isinstance(value, BaseModel) and not isinstance(value, Component) else f"`{_value(value)}`"


def _value(value: Any) -> str:
    """A default as a recipe writes it."""
    if isinstance(value, Component):
        return value.component_name()
    if isinstance(value, BaseModel):
        fields = (f"{name}: {_value(one)}" for name, one in value if one != type(value).model_fields[name].default)
        return f"{{{', '.join(fields)}}}"
    if isinstance(value, tuple | list | frozenset):
        items = sorted(value, key=str) if isinstance(value, frozenset) else value
        return f"[{', '.join(map(_value, items))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_value(one)}' for key, one in value.items())}}}"
    if value is None or isinstance(value, bool) or value == "":
        return json.dumps(value)
    return str(value)


def meaning_of(cls: type[Component], field: str, text: str) -> str:
    """Return what a field does, with its marks."""
    marks = [mark for mark, names in (("late", getattr(cls, "late", ())), ("location", cls.location)) if field in names]
    text = text[:1].upper() + text[1:] if re.match("[a-z]{2}", text) else text
    return " ".join(
        [text if not text or text.endswith((".", ")", "`")) else f"{text}.", *(f"*{mark}*" for mark in marks)]
    ).strip()


def table(heads: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    if not rows:
        return ""
    names = heads.split("|")
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return "\n".join(lines + [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows])


def _cell(text: str) -> str:
    """A text for a cell of a table; what looks like HTML is shown as it is."""
    spans = re.split(r"(`[^`]*`)", " ".join(text.split()).replace("|", r"\|"))
    return "".join(span if span.startswith("`") else span.replace("<", "&lt;") for span in spans)
