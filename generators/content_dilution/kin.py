"""Find the names that give the class of a picture away: its own, its synonyms, its kinds and what it is a kind of.

They are WordNet's (Fellbaum, 1998), for ImageNet's classes and everything above them. Of another class only its own
name is known.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from variorum.generators.content_dilution.words import words

FEW = 12
"""Kinds of one thing up to which each gives the others away: *tiger cat* for *tabby*."""


class Synset(NamedTuple):
    """Words of one meaning, and the ids of what stands directly above and below them."""

    names: tuple[str, ...]
    above: tuple[str, ...]
    below: list[str]


@lru_cache(maxsize=4096)
def kin(labels: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Names that give one of these classes away.

    Args:
        labels: id and name of each class. A name may be several, divided by commas.
    """
    tree = _tree()
    found = {part.strip() for _, name in labels for part in name.replace("_", " ").split(",")}
    for identity, name in labels:
        own = {identity} if identity in tree else {one for part in name.split(",") for one in _by_name(part)}
        every = _walk(own, lambda one: tree[one].above) | _walk(own, lambda one: tree[one].below)
        for one in own:
            for above in tree[one].above:
                kinds = _walk([above], lambda place: tree[place].below)
                every |= kinds if len(kinds) <= FEW + 1 else set()
        found |= {name for one in every for name in tree[one].names}
    return tuple(sorted(found - {""}))


def _walk(starts: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """Everything that is reached from somewhere, with the starts."""
    found, left = set[str](), list(starts)
    while left:
        if (one := left.pop()) not in found:
            found.add(one)
            left += following(one)
    return found


def _by_name(name: str) -> list[str]:
    return _names().get(words(name), [])


@lru_cache(maxsize=1)
def _names() -> Mapping[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for identity, synset in _tree().items():
        for name in synset.names:
            found.setdefault(words(name), []).append(identity)
    return found


@lru_cache(maxsize=1)
def _tree() -> Mapping[str, Synset]:
    with Path(__file__).with_name("kin.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {row["synset"]: Synset(tuple(row["names"].split("|")), tuple(row["hypernyms"].split()), []) for row in rows}
    for identity, synset in found.items():
        for above in synset.above:
            found[above].below.append(identity)
    return found
