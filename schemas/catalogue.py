"""List the installed components with their fields, and the plugins that can't be used."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from variorum.schemas.component import Component
from variorum.schemas.errors import VariorumError
from variorum.schemas.lookup import component_class, component_names, component_origin, kinds


@dataclass(frozen=True, slots=True)
class FieldOf:
    """A field of a component.

    Attributes:
        name: in a recipe.
        type: as Python writes it.
        default: as Python writes it; `""` if the field is required.
        where: whether it only says where data lies, and so is in no digest.
    """

    name: str
    type: str
    default: str
    where: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A component that recipes can name.

    Attributes:
        name: in a recipe.
        part: of the recipe: `source`, `generate`, `curate`, `evaluate`, or another key of `kinds`.
        kind: `source`, `generator`, `detector`, `decider`, `evaluation`, …
        about: the first line of its documentation, or why it can't be used.
        origin: `variorum`, or the package with its version.
        fields: what a recipe can set.
    """

    name: str
    part: str
    kind: str
    about: str
    origin: str
    fields: tuple[FieldOf, ...]


def catalogue(parts: tuple[str, ...] = ()) -> Iterator[Entry]:
    """The components of these parts of a recipe, or of all, part by part in order of name."""
    for part in parts or kinds():
        kind = kinds()[part]
        for name in component_names(part):
            origin = component_origin(part, name)
            try:
                cls = component_class(part, name)
            except VariorumError as error:
                yield Entry(name, part, kind.noun, f"can't be used: {error}", origin, ())
                continue
            noun = next(base.__name__.lower() for base in kind.classes if issubclass(cls, base))
            about = (inspect.getdoc(cls) or "").partition("\n")[0]
            yield Entry(name, part, noun, about, origin, tuple(_fields(cls)))


def _fields(cls: type[Component]) -> Iterator[FieldOf]:
    for name, field in cls.model_fields.items():
        default: Any = None if field.is_required() else field.get_default(call_default_factory=True)
        text = "" if field.is_required() else repr(str(default) if isinstance(default, Path) else default)
        yield FieldOf(name, type_name(field.annotation), text, name in cls.location)


def type_name(kind: Any) -> str:
    """Write a type as Python does, without modules and constraints."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_name(parts[0])
    if origin is Literal:
        return " | ".join(map(repr, parts))
    if origin in (Union, UnionType):
        return " | ".join(map(type_name, parts))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(type_name, parts))}]"
    special = {NoneType: "None", Ellipsis: "..."}
    return special.get(kind) or str(getattr(kind, "__name__", kind))
