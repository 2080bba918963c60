"""What stands above and below ImageNet's classes in WordNet (Fellbaum, 1998). `wordnet.licence.txt` has the terms."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from variorum.models.imagenet_classes import index_of, table


class Synset(NamedTuple):
    """Words of one meaning, and the ids of what stands directly above and below them."""

    names: tuple[str, ...]
    above: tuple[str, ...]
    below: list[str]


def walk(starts: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """Everything that is reached from somewhere, with the starts."""
    found, left = set[str](), list(starts)
    while left:
        if (one := left.pop()) not in found:
            found.add(one)
            left += following(one)
    return found


def kinds_of(label: str) -> tuple[str, ...]:
    """Names of what a class of ImageNet, by wnid or name, is a kind of; empty for other classes."""
    index, known = index_of(label), tree()
    own = {table()[index].wnid} & known.keys() if index is not None else set()
    return tuple(sorted({known[one].names[0] for one in walk(own, lambda one: known[one].above) - own}))


@lru_cache(maxsize=1)
def tree() -> Mapping[str, Synset]:
    """All synsets by id."""
    with Path(__file__).with_name("wordnet.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {row["synset"]: Synset(tuple(row["names"].split("|")), tuple(row["hypernyms"].split()), []) for row in rows}
    for identity, synset in found.items():
        for above in synset.above:
            found[above].below.append(identity)
    return found
