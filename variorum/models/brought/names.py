"""The names of brought models: `WAY:REST`, such as `timm:resnet50.a1_in1k`."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from variorum.models.brought.found import Found
from variorum.models.brought.model import BroughtModel
from variorum.models.loaders import split
from variorum.models.weights import untouched
from variorum.schemas.errors import ModelUnavailable, RecipeError, UnknownName
from variorum.schemas.lookup import cut

PREFIXES: Mapping[str, str] = {
    "timm": "timm:resnet50.a1_in1k, timm:hf-hub:owner/name, timm:local-dir:FOLDER",
    "torchvision": "torchvision:resnet50, torchvision:resnet50.IMAGENET1K_V2, torchvision:resnet18@FILE",
    "hf": "hf:owner/name, hf:owner/name@COMMIT, hf:FOLDER",
    "onnx": "onnx:FILE.onnx",
    "module": "module:FILE.py:NAME",
}
"""By prefix, the forms of a name; each prefix has a module of its name in this package."""


ARCHITECTURE = re.compile(r"[a-z]\w*\d\w*", re.ASCII)
"""Names that may be architectures: aliases have no digits."""


def meant(name: str) -> str:
    """What somebody may have meant by a name without its prefix, for messages; `""` if nothing is close."""
    file, _, attribute = name.partition(":")
    if file.endswith(".onnx"):
        return f"; did you mean onnx:{file}?"
    if file.endswith(".py"):
        return f"; did you mean module:{file}:{attribute or 'NAME'}?"
    if file.endswith((".pt", ".pth", ".safetensors", ".ckpt")):
        return f"; weights need their network: torchvision:resnet18@{file}, or module:FILE.py:NAME, which loads them"
    if ARCHITECTURE.fullmatch(name):
        from torchvision.models import list_models

        if name in list_models():
            return f"; did you mean torchvision:{name}?"
    return ""


def is_brought(name: str) -> bool:
    """Return whether a name is one of a brought model: it has a colon, as no alias has, and no defence."""
    return ":" in name and not split(name)[1]


def look_up(name: str, *, fetch: bool = True) -> Found:
    """Resolve a name on this machine; nothing is loaded, except of `module:`, whose file is imported.

    Args:
        name: of the model.
        fetch: download a model of the Hub or of torchvision that isn't here.

    Raises:
        RecipeError: there can't be such a model.
        ModelUnavailable: it isn't here, or can't be had or read.
    """
    way, colon, rest = name.partition(":")
    if not name.isprintable() or len(name) > 2000:
        raise RecipeError(f"no model can be named {cut(repr(name))}")
    if not colon or way not in PREFIXES or not rest:
        raise UnknownName(_unknown(name, way, bool(colon)))
    return _way(way).find(name, rest, fetch=fetch)  # type: ignore[no-any-return]


def find(name: str) -> BroughtModel:
    """The model of a name, loaded on the best device; a model of the Hub or of torchvision is downloaded first.

    Raises:
        RecipeError: there can't be such a model.
        ModelUnavailable: it isn't here, or can't be had or read.
        TemporaryError: its files changed while they were loaded.
    """
    return load(look_up(name))


def load(found: Found) -> BroughtModel:
    """The model that was looked up. Raises ModelUnavailable if its files are no longer what they were then."""
    if found.path is None:
        return found.load()
    with untouched(found.path):
        now = look_up(found.name)
        if now.revision != found.revision:
            raise ModelUnavailable(
                f"model {found.name!r}: {found.path} has changed since this run took its pin; put it "
                "back, or start again"
            )
        return now.load()


def _way(prefix: str) -> ModuleType | Any:
    return importlib.import_module(f"variorum.models.brought.{prefix}")


def _unknown(name: str, way: str, colon: bool) -> str:
    near = difflib.get_close_matches(way.lower(), PREFIXES, 1)
    if colon and way in PREFIXES:
        return f"model {name!r}: something is missing after {way}:, as in {PREFIXES[way]}"
    hint = f"; did you mean {near[0]}:, as in {PREFIXES[near[0]].partition(',')[0]}?" if near else meant(name)
    what = f"unknown prefix {cut(way)!r}" if colon else f"{cut(name)!r} has no prefix"
    return f"{what}; there are: {', '.join(f'{one}:' for one in PREFIXES)}{hint}"
