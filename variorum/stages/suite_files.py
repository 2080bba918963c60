"""Suites from YAML files: those that come with the project, by name, and a user's own, by path.

A user's suite is checked as a whole before any work: its fields, its recipes with their settings, the evaluations and
figures of its rows. Those that come with the project are checked by its tests, so that reading one imports nothing.
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from variorum.machine.strict_yaml import NotYaml, read_yaml
from variorum.schemas.errors import RecipeError, UnknownName
from variorum.schemas.lookup import component_class, cut, names_file, or_file
from variorum.schemas.recipe import Recipe
from variorum.schemas.rows import Figure
from variorum.schemas.suite import RowSpec, Suite, SuiteEdition
from variorum.stages.recipe_files import read_fields, read_text
from variorum.stages.recipe_values import recipe_of

FOLLOWS = ("source", "evaluate", "dataset", "version", "limit")
"""Fields of a recipe that a suite can't set: the photographs, the rows and the plan decide them."""


def suite_names() -> list[str]:
    """Names of the suites that come with the project."""
    names = (item.name for item in _folder().iterdir() if item.name.endswith(".yaml"))
    return sorted(name.removesuffix(".yaml") for name in names)


def load_suite(name_or_path: str, *, run: bool = True) -> Suite:
    """A suite that comes with the project, or one in a YAML file.

    The recipes that a suite's file names by path lie relative to it. Checking them runs the Python that they name; with
    `run` false, a suite that has any isn't checked.

    Raises:
        RecipeError: there is no such suite, a field is wrong, a row names an edition, an evaluation or a figure that
            isn't there, or a recipe doesn't have what is set.
    """
    name, path = os.path.expanduser(name_or_path), Path(os.path.expanduser(name_or_path))
    said, shipped = f"suite {cut(name)}", name in suite_names()
    if shipped:
        text, folder = (_folder() / f"{name}.yaml").read_text(encoding="utf-8"), Path()
    elif names_file(name):
        text, folder = read_text(path, said, f"suites that come with Variorum: {_listed()}"), path.parent
    else:
        close = difflib.get_close_matches(cut(name), suite_names(), 1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise UnknownName(
            f"no suite {cut(name)!r}{hint} Suites that come with Variorum: {_listed()}; or give a file{or_file(name)}"
        )
    try:
        data = read_yaml(text)
    except NotYaml as error:
        raise RecipeError(f"{said}: {error}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"{said}: must be a mapping with suite, version, editions, rows")
    if "dataset" in data and "suite" not in data:
        raise RecipeError(f"{said}: is a recipe; run it with: variorum run {cut(name)}, and name its edition")
    suite = Suite.parse(_placed(data, folder), cut(name))
    if not shipped and (run or not code_of(suite)):
        check_suite(suite, said)
    return suite


def code_of(suite: Suite) -> list[str]:
    """The Python files and `module:` models that a suite and its recipes name. Nothing is imported."""
    found = (one for edition in suite.editions.values() for one in _texts([read_fields(edition.recipe), edition.set]))
    return list(dict.fromkeys(one for one in found if one.endswith(".py") or "module:" in one))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def check_suite(suite: Suite, said: str) -> None:
    """Check a suite beyond its fields. Raises RecipeError, which begins with what is `said`, for the first problem."""
    for wrong in _wrong(suite):
        raise RecipeError(f"{said}: {wrong}")


def edition_recipe(edition: SuiteEdition, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a suite's edition with what the suite sets, all photographs, and no evaluations.

    Raises:
        RecipeError: there is no such recipe, or a setting doesn't fit it.
    """
    fields = read_fields(edition.recipe)
    settings = {**edition.set, "limit": None, "evaluate": [], "version": fields.get("version"), **(changes or {})}
    return recipe_of(fields, settings)


def generators_of(edition: SuiteEdition) -> list[str]:
    """Names of the generators that make a suite's edition. None of them is imported."""
    named = [str(one.get("name")) for one in read_fields(edition.recipe).get("generate") or ()]
    left_out = {path.partition(".")[2] for path, value in edition.set.items() if value is None}
    return [one for one in named if one not in left_out]


def rows_of(suite: Suite) -> Iterator[RowSpec]:
    """Every row of a suite, and after each its under-rows. Each has the section that it is in."""
    section = ""
    for row in suite.rows:
        section = row.section or section
        for one in (row, *row.under):
            yield one.model_copy(update={"section": section})


def figure_of(of: str) -> Figure:
    """The figure that a row names, `accuracy_drop.edits`. Raises RecipeError if no evaluation offers it."""
    name, _, figure = of.partition(".")
    offers: Mapping[str, Figure] = getattr(component_class("evaluate", name), "offers", {})
    if figure not in offers:
        raise RecipeError(f"{name} offers no {figure!r}; it offers: {', '.join(offers) or 'no rows'}")
    return offers[figure]


def _wrong(suite: Suite) -> Iterator[str]:
    """What is wrong with a suite, beyond its fields."""
    ids: set[str] = set()
    for row in rows_of(suite):
        where = f"rows.{row.id}"
        if row.id in ids:
            yield f"{where}: there are two rows of this id; rename one"
        ids.add(row.id)
        if row.edition not in suite.editions:
            yield f"{where}.edition: there is no edition {row.edition!r}; there are: {', '.join(suite.editions)}"
        try:
            figure_of(row.of)
        except RecipeError as error:
            yield f"{where}.of: {error}"
    for key, edition in suite.editions.items():
        where = f"editions.{key}"
        if odd := [path for path in edition.set if path.partition(".")[0] in FOLLOWS]:
            yield f"{where}.set: {odd[0]} can't be set here; it follows from the photographs and the rows"
        if key not in {row.edition for row in rows_of(suite)}:
            yield f"{where}: no row is about it; remove it, or add a row"
        try:
            edition_recipe(edition)
        except RecipeError as error:
            yield f"{where}: {error}"


def _placed(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fields of a suite, in which the paths of recipes start from the suite's folder."""
    editions = data.get("editions")
    for edition in editions.values() if isinstance(editions, dict) else ():
        recipe = edition.get("recipe") if isinstance(edition, dict) else None
        if isinstance(recipe, str) and names_file(recipe):
            edition["recipe"] = str(folder / os.path.expanduser(recipe))
    return data


def _folder() -> Any:
    return importlib.resources.files("variorum.recipes") / "suites"


def _listed() -> str:
    return ", ".join(suite_names()) or "none"
