"""Find the names that give the class of a picture away: its own, its synonyms, its kinds and what it is a kind of.

They are WordNet's (Fellbaum, 1998), for ImageNet's classes and everything above them. Of another class only its own
name is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from variorum.generators.content_dilution.words import words
from variorum.kit.labels.wordnet import tree, walk

FEW = 12
"""Kinds of one thing up to which each gives the others away: *tiger cat* for *tabby*."""


@lru_cache(maxsize=4096)
def kin(labels: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Names that give one of these classes away.

    Args:
        labels: id and name of each class. A name may be several, divided by commas.
    """
    known = tree()
    found = {part.strip() for _, name in labels for part in name.replace("_", " ").split(",")}
    for identity, name in labels:
        own = {identity} if identity in known else {one for part in name.split(",") for one in _by_name(part)}
        every = walk(own, lambda one: known[one].above) | walk(own, lambda one: known[one].below)
        for one in own:
            for above in known[one].above:
                kinds = walk([above], lambda place: known[place].below)
                every |= kinds if len(kinds) <= FEW + 1 else set()
        found |= {name for one in every for name in known[one].names}
    return tuple(sorted(found - {""}))


def _by_name(name: str) -> list[str]:
    return _names().get(words(name), [])


@lru_cache(maxsize=1)
def _names() -> Mapping[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for identity, synset in tree().items():
        for name in synset.names:
            found.setdefault(words(name), []).append(identity)
    return found
