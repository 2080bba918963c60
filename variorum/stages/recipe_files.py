"""Recipes from YAML files, with overrides from the command line.

A run that departs from its file (`--set`, `--limit`) is an experiment: it gets a `-dev` version, which may still
change, unless an override sets `version`. Changes to curation need none, as every curation has a numbered ledger.
`variorum.stages.recipe_values` does the same with Python values.
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import re
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variorum.machine.strict_yaml import NotYaml, Refused, check_text, read_yaml
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut, names_file, or_file
from variorum.schemas.more import without
from variorum.schemas.recipe import NAME, Recipe

AFTERWARDS = ("curate", "evaluate", "card")
"""Parts of a recipe that work on the sealed edition; changing them doesn't change it."""
LARGEST = 1 << 20
"""Bytes of a recipe's file."""
LONGEST_PATH = 20
"""Parts of an override's dotted path."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A change to a recipe.

    Attributes:
        path: dotted, `generate.attribute_edit.frame`.
        value: the new value.
        said: what errors about it begin with.
        removes: whether an entry of a list goes.
    """

    path: str
    value: Any
    said: str
    removes: bool


def load_recipe(name: str, overrides: Sequence[str] = (), limit: int | None = None) -> Recipe:
    """The recipe in a YAML file, or one that comes with the project by name (`imagenet_e`).

    Args:
        name: a path, or the name of a shipped recipe.
        overrides: `key=value` each. Keys are dotted paths in which an entry of a list goes by its name or position
            (`generate.attribute_edit.frame=320`); values are YAML. Setting `source.name` drops the old source's
            fields. Setting an entry of a list to null removes it, and in `curate` all steps that need it
            (`curate.probabilities=null`).
        limit: maximum number of source samples to read.

    Raises:
        RecipeError: no such recipe, not YAML, a bad override, or anything that `Recipe.parse` finds.
    """
    return changed(read_fields(name), [_setting(override) for override in overrides], limit, name)


def changed(data: dict[str, Any], settings: Sequence[Setting], limit: int | None, name: str) -> Recipe:
    """The recipe with these fields after the settings, which change `data` too.

    Args:
        data: the fields as YAML gives them: dicts, lists, texts, numbers.
        settings: the changes.
        limit: maximum number of source samples to read.
        name: what errors begin with.

    Raises:
        RecipeError: a bad setting, or anything that `Recipe.parse` finds.
    """
    left_out = [place for setting in settings if (place := _left_out(data, setting))]
    for setting in sorted(settings, key=lambda one: not one.path.endswith(".name")):
        if not _left_out(data, setting):
            _apply(data, setting)
    if limit is not None:
        data["limit"] = limit
    departs = limit is not None or any(one.path.partition(".")[0] not in AFTERWARDS for one in settings)
    version = data.get("version")
    if departs and isinstance(version, str) and not any(one.path == "version" for one in settings):
        data["version"] = version if version.endswith("-dev") else f"{version}-dev"
    try:
        return leave_out(Recipe.parse(data), left_out)
    except RecipeError as error:
        raise RecipeError(f"{cut(name)}: {error}") from None


def leave_out(recipe: Recipe, places: Collection[tuple[str, int]]) -> Recipe:
    """The recipe without the entries at these (list, position) pairs, and without the steps that need them."""
    lists = {
        key: [part for place, part in enumerate(getattr(recipe, key)) if (key, place) not in places]
        for key in ("generate", "curate", "evaluate")
    }
    gone = {recipe.curate[place].component_name() for key, place in places if key == "curate"}
    judgements = []
    for step in lists["curate"]:
        if left := without(step, gone):
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
    """Write a commented recipe to start from and return its path.

    Args:
        name: of the dataset, for a file in the current folder; or the path of the file.

    Raises:
        RecipeError: the file exists, its folder doesn't, or its name isn't valid for a dataset.
    """
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not NAME.fullmatch(path.stem):
        raise RecipeError(
            f"{cut(path.stem)!r} can't be a dataset's name: use up to 96 lower-case letters, digits and underscores"
        )
    text = (importlib.resources.files("variorum.recipes") / "_new.yaml").read_text().replace("DATASET", path.stem)
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(f"{path} exists already; choose another name or edit the file") from None
    except OSError as error:
        raise RecipeError(f"{cut(str(path))} can't be written: {error.strerror}") from None
    return path


def read_fields(name: str) -> dict[str, Any]:
    """The fields of a recipe in a YAML file, or of one that comes with the project. Raises RecipeError."""
    path, shown = Path(name), cut(name)
    if name in shipped_recipes():
        text = (importlib.resources.files("variorum.recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    elif names_file(name):
        text = read_text(path, f"recipe {shown}", f"recipes that come with Variorum: {_listed()}")
    else:
        close = difflib.get_close_matches(shown, shipped_recipes(), 1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise RecipeError(
            f"no recipe {shown!r}{hint} Recipes that come with Variorum: {_listed()}; or give a YAML file"
            f"{or_file(name)}"
        )
    try:
        data = read_yaml(text)
    except Refused as error:
        raise RecipeError(f"recipe {shown}: {error}") from None
    except NotYaml as error:
        raise RecipeError(f"recipe {shown}: not YAML: {error}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"recipe {shown}: must be a mapping with dataset, version, source, generate")
    if "suite" in data and "dataset" not in data:
        raise RecipeError(f"recipe {shown}: is a suite; use it with: variorum report --suite {shown}")
    place_files(data, path.parent)
    _place_template(data.get("card"), path.parent)
    return data


def read_text(path: Path, what: str, others: str) -> str:
    """The text of a recipe's or a suite's file. A pipe isn't opened, because reading it could wait forever.

    Args:
        path: of the file.
        what: what errors begin with.
        others: what they end with if the file can't be read.

    Raises:
        RecipeError: it can't be read, is too large, or isn't text.
    """
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise RecipeError(f"{what}: is a pipe or a device; save it in a file and give that")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise RecipeError(f"{what}: has more than {LARGEST} bytes, so it is none; give another file")
        return data.decode()
    except UnicodeDecodeError as error:
        raise RecipeError(f"{what}: isn't UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except (OSError, ValueError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or error
        raise RecipeError(f"{what}: {why}; {others}") from None


def place_files(value: Any, folder: Path) -> None:
    """Make the paths of components' Python files absolute; in a recipe they are relative to the recipe's folder."""
    if isinstance(value, dict):
        name = value.get("name")
        if isinstance(name, str) and name.endswith(".py"):
            value["name"] = str((folder / os.path.expanduser(name)).absolute())
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        place_files(item, folder)


def _place_template(card: Any, folder: Path) -> None:
    """Make the path of a recipe's own card template absolute; it must lie beside the recipe."""
    name = card.get("template") if isinstance(card, dict) else None
    if isinstance(name, str) and name.endswith(".md.j2"):
        path = (folder / name).absolute()
        if path.parent != folder.absolute():
            raise RecipeError(f"card.template: {cut(name)!r} must lie beside the recipe: ./{path.name}")
        card["template"] = str(path)


def _setting(override: str) -> Setting:
    """An override of the command line, `key=value`."""
    path, equals, text = override.partition("=")
    said = f"--set {cut(override)}"
    if not equals or not path:
        raise RecipeError(f"{said}: must be key=value, such as source.path=photos")
    try:
        value = read_yaml(text)
    except Refused as error:
        raise RecipeError(f"{said}: {error}") from None
    except NotYaml:
        value = _text_of(text, said)
    return Setting(path, value, said, text in ("null", "~"))


def _left_out(data: dict[str, Any], setting: Setting) -> tuple[str, int] | None:
    """The list and the position of an entry that the setting removes; None for other settings."""
    key, _, part = setting.path.partition(".")
    entries = data.get(key)
    if not setting.removes or not isinstance(entries, list) or not part or "." in part:
        return None
    return key, _position(entries, part, setting, setting.path)


def _apply(data: dict[str, Any], setting: Setting) -> None:
    *parents, last = setting.path.split(".")
    if len(parents) > LONGEST_PATH:
        raise RecipeError(f"{setting.said}: no such field; a path has at most {LONGEST_PATH} dots")
    place: Any = data
    for depth, part in enumerate(parents):
        place = _step(place, part, setting, ".".join(parents[: depth + 1]))
    if isinstance(place, list):
        raise RecipeError(f"{setting.said}: {'.'.join(parents)} is a list; name one of its components and a field")
    if last == "name" and parents and place.get("name") != setting.value:
        place.clear()
    place[last] = setting.value


def _text_of(text: str, said: str) -> str:
    """The value of an override that isn't YAML: the text itself, such as a title with a colon in it."""
    try:
        check_text(text)
    except Refused as error:
        raise RecipeError(f"{said}: {error}") from None
    return text


def _step(place: Any, part: str, setting: Setting, path: str) -> Any:
    found = place.setdefault(part, {}) if isinstance(place, dict) else place[_position(place, part, setting, path)]
    if not isinstance(found, dict | list):
        raise RecipeError(f"{setting.said}: {path} is {cut(repr(found))} and has no fields")
    return found


def _position(entries: list[Any], part: str, setting: Setting, path: str) -> int:
    """Index of a list's entry, given by name or position."""
    names = [_short(entry.get("name") if isinstance(entry, dict) else entry) for entry in entries]
    position = int(part) if re.fullmatch("[0-9]{1,9}", part) else names.index(part) if part in names else -1
    if not 0 <= position < len(entries):
        raise RecipeError(f"{setting.said}: no {cut(path)}; there are: {', '.join(names) or 'none'}")
    return position


def _short(name: Any) -> str:
    """A component's name; for a Python file, the file's name without its ending."""
    return Path(name).stem if isinstance(name, str) and name.endswith(".py") else str(name)


def _listed() -> str:
    return ", ".join(shipped_recipes()) or "none"
