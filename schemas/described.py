"""Reads the descriptions of fields: texts below them in the code, sections `Attributes:`, pydantic's descriptions."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from pydantic import BaseModel
from pydantic.fields import FieldInfo

SECTIONS = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}
"""Bounds of pydantic's fields and how they are printed."""


def prose(text: str | None) -> str:
    """A docstring without its sections, in paragraphs of one line each; indented blocks stay as they are."""
    kept = []
    for block in inspect.cleandoc(text or "").split("\n\n"):
        if SECTIONS.match(block.partition("\n")[0]):
            continue
        loose = block.startswith(("    ", "- ", "| ")) or "\n    " in block or "\n- " in block
        kept.append(block if loose else " ".join(block.split()))
    return "\n\n".join(kept)


def descriptions(cls: type) -> dict[str, str]:
    """What each field of a class means, by name, those of its base classes included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("variorum"):
            found |= _below(base) | _attributes(base.__doc__ or "")
    for name, field in getattr(cls, "model_fields", {}).items():
        if field.description:
            found[name] = field.description
    return {name: " ".join(text.split()) for name, text in found.items()}


def described_fields(cls: type[BaseModel], above: str = "") -> Iterator[tuple[str, FieldInfo, str]]:
    """The fields of a model with their descriptions; those of a settings object that a field holds follow it."""
    texts = descriptions(cls)
    for name, field in cls.model_fields.items():
        yield f"{above}{name}", field, texts.get(name, "")
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and not hasattr(kind, "component_name"):
            yield from described_fields(kind, f"{above}{name}.")


def bounds(field: FieldInfo) -> str:
    """The bounds of a field's value: `≥ 0, < 10`."""
    given = [(name, getattr(one, name, None)) for one in field.metadata for name in SIGNS]
    return ", ".join(f"{SIGNS[name]} {value}" for name, value in given if value is not None)


@cache
def _below(cls: type) -> dict[str, str]:
    """The texts that stand below fields and class variables in a class's code."""
    tree = ast.parse(inspect.getsource(sys.modules[cls.__module__]))
    bodies = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__]
    return {
        one.target.id: text.value.value
        for body in bodies
        for one, text in pairwise(body)
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def _attributes(text: str) -> dict[str, str]:
    """The entries of a docstring's section `Attributes:`."""
    _, _, section = inspect.cleandoc(text).partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.split("\n"):
        if line and not line.startswith("    "):
            break
        if entry := re.match(r"    (\w+(?:, \w+)*): (.*)", line):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
