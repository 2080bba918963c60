"""Recipes from Python values: a name, a file, a mapping, a `Recipe`, or only its fields.

Settings change fields as `--set` does on the command line, and lead to the same recipe and the same digests.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from variorum.machine.strict_yaml import DEEPEST, LONGEST, Refused, check_text
from variorum.schemas.component import Component
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.recipe import Recipe
from variorum.schemas.secrets import remember
from variorum.stages.recipe_files import Setting, changed, place_files, read_fields

HELD = "text, numbers, true and false, None, paths, lists, mappings and components"
"""What a recipe can hold."""


def recipe_of(given: object, settings: Mapping[str, Any] | None = None, limit: int | None = None) -> Recipe:
    """A recipe from whatever names or holds one.

    Args:
        given: the name of a recipe that comes with the project, the path of a YAML file, a mapping as YAML gives it, a
            `Recipe`, or None if the settings are the recipe's fields.
        settings: new values by dotted path, in which an entry of a list goes by its name or position:
            `{"generate.attribute_edit.frame": 320}`. None removes an entry of a list.
        limit: maximum number of source samples to read.

    Raises:
        RecipeError: no such recipe, a value that no recipe can hold, or anything that `Recipe.parse` finds.
    """
    settings, limit = dict(settings or {}), _plain("limit", limit)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise RecipeError(f"limit: must be a whole number of at least 1, not {cut(repr(limit))}")
    if isinstance(given, Recipe) and not settings and limit is None:
        return given
    data, name = _fields(given)
    if given is None:
        if not settings:
            raise RecipeError("a recipe is missing: give a name, a YAML file, a mapping, or fields such as dataset=...")
        data = {key: _plain(key, settings.pop(key)) for key in [key for key in settings if "." not in key]}
        place_files(data, Path())
        name = str(data.get("dataset", name))
    return changed(data, [_setting(path, value) for path, value in settings.items()], limit, name)


def _fields(given: object) -> tuple[dict[str, Any], str]:
    """The fields of a recipe, and its name for errors."""
    if isinstance(given, Recipe):
        return given.dump(), given.dataset
    if isinstance(given, str | os.PathLike):
        name = os.fspath(given)
        if not isinstance(name, str):
            raise RecipeError(f"recipe {cut(ascii(name))}: give its path as text")
        if not name:
            raise RecipeError("a recipe has an empty name; give a name, a YAML file, a mapping or a Recipe")
        return read_fields(os.path.expanduser(name)), name
    if isinstance(given, Mapping):
        data = _plain("recipe", given)
        place_files(data, Path())
        return data, str(data.get("dataset", "recipe"))
    if given is not None:
        kind = type(given).__name__
        raise RecipeError(f"a recipe can't be made of {kind}; give a name, a YAML file, a mapping or a Recipe")
    return {}, "recipe"


def _setting(path: str, value: Any) -> Setting:
    found = _plain(path, value)
    remember(found)
    return Setting(path, found, f"{cut(path)}={cut(repr(found))}", found is None)


def _plain(where: str, value: Any, depth: int = 0) -> Any:
    """A value as YAML would give it, and a copy, because settings change it.

    Raises:
        RecipeError: YAML has no such value.
    """
    if depth > DEEPEST:
        raise RecipeError(f"{cut(where)}: nested more than {DEEPEST} levels deep; write it flatter")
    if isinstance(value, Component):
        return value.config()
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise RecipeError(f"{cut(where)}: {cut(repr(odd[0]))} is no field's name; a name is text")
        return {key: _plain(f"{where}.{key}", item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{where}.{place}", item, depth + 1) for place, item in enumerate(value)]
    if isinstance(value, Enum):
        return _plain(where, value.value, depth + 1)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if hasattr(value, "dtype") and getattr(value, "shape", None) == ():
        value = value.item()  # NumPy's numbers
    if isinstance(value, str):
        try:
            check_text(value)
        except Refused as error:
            raise RecipeError(f"{cut(where)}: {error}") from None
        return str(value)
    if isinstance(value, bool | float | None) or (isinstance(value, int) and value.bit_length() <= LONGEST):
        return value
    raise RecipeError(f"{cut(where)}: a recipe can't hold {type(value).__name__}; it holds {HELD}")
