"""Names, WordNet ids and indices of ImageNet's thousand classes.

The table (`imagenet_classes.csv`) has a unique, unambiguous name for every class; its origin and licences stand in
`imagenet_classes.licence.txt`. Class ids are wnids, and indices are ImageNet's.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from variorum.schemas.component import ClassInfo

WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True, slots=True)
class ImageNetClass:
    """One of the thousand: its index, WordNet id, unique English name, and WordNet's definition and hypernym."""

    index: int
    wnid: str
    name: str
    gloss: str
    hypernym: str


@lru_cache(maxsize=1)
def table() -> tuple[ImageNetClass, ...]:
    """The classes in index order."""
    with Path(__file__).with_name("imagenet_classes.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            ImageNetClass(int(row["index"]), row["wnid"], row["name"], row["gloss"], row["hypernym"])
            for row in csv.DictReader(file)
        )


@lru_cache(maxsize=1)
def class_infos() -> tuple[ClassInfo, ...]:
    """The classes as `Source.classes` returns them."""
    return tuple(ClassInfo(item.wnid, item.name) for item in table())


@lru_cache(maxsize=1)
def _indices() -> Mapping[str, int]:
    return {key: item.index for item in table() for key in (item.wnid, item.name.casefold())}


def index_of(label: str) -> int | None:
    """ImageNet's index of a wnid or of a name in the table (case is ignored); None for anything else."""
    return _indices().get(label.strip().casefold())


def is_wnid(text: str) -> bool:
    """Return whether this is the wnid of one of the thousand classes."""
    return WNID.fullmatch(text) is not None and text in _indices()


def name_of(wnid: str) -> str:
    """The unique name of a class. Raises KeyError for anything but a wnid of ImageNet-1k."""
    if not is_wnid(wnid):
        raise KeyError(f"{wnid!r} is no wnid of ImageNet-1k")
    return table()[_indices()[wnid]].name


@lru_cache(maxsize=1)
def clip_templates() -> tuple[dict[str, str], ...]:
    """CLIP's eighty templates, with `{name}`, as published (openai/CLIP, MIT; Radford et al., ICML 2021)."""
    with Path(__file__).with_name("clip_templates.csv").open(encoding="utf-8", newline="") as file:
        return tuple({name: row[name] for name in ("id", "group", "template")} for row in csv.DictReader(file))
