"""Recipes from YAML files, with overrides from the command line.

A run that departs from its file (`--set`, `--limit`) is an experiment: its version becomes a `-dev` one, which may
move, unless the override names a version itself. Curation has numbered ledgers instead.
"""

from __future__ import annotations

import difflib
import importlib.resources
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from variorum.schemas.component import Decider
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import NAME, Recipe

AFTERWARDS = ("curate", "evaluate", "card")
"""Parts of a recipe that come after the edition is sealed: changing them makes no other edition."""


def load_recipe(name: str, overrides: Sequence[str] = (), limit: int | None = None) -> Recipe:
    """The recipe in a YAML file, or one that comes with the project by name (`imagenet_e`).

    Args:
        name: a path, or the name of a shipped recipe.
        overrides: `key=value` each; keys are dotted paths in which a component of a list goes by its name or
            position (`generate.attribute_edit.frame=320`), values are YAML. Setting `source.name` drops the
            fields of the source that was there; setting a component of a list to null leaves it out, of `curate`
            with all that needs it (`curate.probabilities=null`).
        limit: read only so many source samples.

    Raises:
        RecipeError: no such recipe, no YAML, a bad override, or anything that `Recipe.parse` finds.
    """
    data = _read(name)
    left_out = [place for override in overrides if (place := _left_out(data, override))]
    settings = [override for override in overrides if not _left_out(data, override)]
    for override in sorted(settings, key=lambda item: not item.partition("=")[0].endswith(".name")):
        _apply(data, override)
    if limit is not None:
        data["limit"] = limit
    departs = limit is not None or any(item.partition(".")[0] not in AFTERWARDS for item in overrides)
    if departs and not any(item.startswith("version=") for item in overrides):
        version = str(data.get("version", ""))
        data["version"] = version if version.endswith("-dev") else f"{version}-dev"
    try:
        return leave_out(Recipe.parse(data), left_out)
    except RecipeError as error:
        raise RecipeError(f"{name}: {error}") from None


def leave_out(recipe: Recipe, places: Collection[tuple[str, int]]) -> Recipe:
    """The recipe without the components at some places of its lists, and without the steps that need those."""
    lists = {
        key: [part for place, part in enumerate(getattr(recipe, key)) if (key, place) not in places]
        for key in ("generate", "curate", "evaluate")
    }
    gone = {recipe.curate[place].component_name() for key, place in places if key == "curate"}
    judgements = []
    for step in lists["curate"]:
        left = step.without(gone) if isinstance(step, Decider) else None if set(step.needs()) & gone else step
        if left:
            judgements.append(left)
        else:
            gone.add(step.component_name())
    return recipe.model_copy(update={key: tuple(parts) for key, parts in {**lists, "curate": judgements}.items()})


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the project."""
    folder = importlib.resources.files("variorum.recipes")
    names = (item.name for item in folder.iterdir() if item.name.endswith(".yaml"))
    return sorted(name.removesuffix(".yaml") for name in names if not name.startswith("_"))


def new_recipe(name: str) -> Path:
    """Write a commented recipe to start from, in the current folder or where `name` says; returns its path.

    Raises:
        RecipeError: the file exists, its folder doesn't, or the name can't be a dataset's.
    """
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not NAME.fullmatch(path.stem):
        raise RecipeError(f"{path.stem!r} can't be a dataset's name: use lower-case letters, digits and underscores")
    text = (importlib.resources.files("variorum.recipes") / "_new.yaml").read_text().replace("DATASET", path.stem)
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(f"{path} exists already; choose another name, or edit it") from None
    except OSError as error:
        raise RecipeError(f"{path} can't be written: {error.strerror}") from None
    return path


def _read(name: str) -> dict[str, Any]:
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.exists():
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            why = "no such file" if isinstance(error, FileNotFoundError) else str(error)
            raise RecipeError(f"recipe {name}: {why}; recipes that come with Variorum: {_listed()}") from None
    elif name in shipped_recipes():
        text = (importlib.resources.files("variorum.recipes") / f"{name}.yaml").read_text()
    else:
        close = difflib.get_close_matches(name, shipped_recipes(), 1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise RecipeError(f"no recipe {name!r}{hint} Recipes that come with Variorum: {_listed()}; or give a YAML file")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {name}: not YAML: {error}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"recipe {name}: must be a mapping with dataset, version, source, generate")
    _place_files(data, path.parent)
    return data


def _place_files(value: Any, folder: Path) -> None:
    """Make the paths of components' Python files absolute; the recipe gives them relative to its own folder."""
    if isinstance(value, dict):
        name = value.get("name")
        if isinstance(name, str) and name.endswith(".py"):
            value["name"] = str((folder / Path(name).expanduser()).absolute())
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _place_files(item, folder)


def _left_out(data: dict[str, Any], override: str) -> tuple[str, int] | None:
    """The list and the place in it of a component that an override sets to null."""
    path, _, text = override.partition("=")
    key, _, part = path.partition(".")
    entries = data.get(key)
    if text not in ("null", "~") or not isinstance(entries, list) or not part or "." in part:
        return None
    return key, _position(entries, part, override, path)


def _apply(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {override}: must be key=value, such as source.path=photos")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    *parents, last = path.split(".")
    place: Any = data
    for depth, part in enumerate(parents):
        place = _step(place, part, override, ".".join(parents[: depth + 1]))
    if isinstance(place, list):
        raise RecipeError(f"--set {override}: {'.'.join(parents)} is a list; name one of its components and a field")
    if last == "name" and parents and place.get("name") != value:
        place.clear()
    place[last] = value


def _step(place: Any, part: str, override: str, path: str) -> Any:
    found = place.setdefault(part, {}) if isinstance(place, dict) else place[_position(place, part, override, path)]
    if not isinstance(found, dict | list):
        raise RecipeError(f"--set {override}: {path} is {found!r} and has no fields")
    return found


def _position(entries: list[Any], part: str, override: str, path: str) -> int:
    """Where a list's component is, by its name or position."""
    names = [_short(entry.get("name") if isinstance(entry, dict) else entry) for entry in entries]
    position = int(part) if part.isdigit() else names.index(part) if part in names else -1
    if not 0 <= position < len(entries):
        raise RecipeError(f"--set {override}: no {path}; there are: {', '.join(names) or 'none'}")
    return position


def _short(name: Any) -> str:
    """A component's name; of a Python file its stem."""
    return Path(name).stem if isinstance(name, str) and name.endswith(".py") else str(name)


def _listed() -> str:
    return ", ".join(shipped_recipes()) or "none"
