"""Which words set a slice of photographs apart from all of them.

MILAN (Hernandez et al., ICLR 2022, arXiv 2201.11114) describes a unit by the text with the largest pointwise mutual
information with it. Here words are given, and each is tested: a table with many words always has one that stands out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools

SUPPORT = 5
"""Photographs with a word that a slice has, at least."""
SMALLEST = 10
"""Photographs of a slice that is described, at least."""


class Attribute(NamedTuple):
    """A word, or several that are said of the same photographs.

    Attributes:
        words: the word, or several, divided by commas.
        inside: photographs of the slice with the word.
        size: photographs of the slice.
        outside: photographs with the word, whether in the slice or not.
        total: all photographs.
        score: log p(word | slice) - weight · log p(word), half a photograph added to each count.
        p: how often as many or more would be in a random slice of this size.
        q: the same, corrected for all words of all slices.
    """

    words: str
    inside: int
    size: int
    outside: int
    total: int
    score: float
    p: float
    q: float = 1.0


Slice = tuple["Bools", Mapping[str, "Bools"]]
"""Which of the photographs belong to it, `[n]`, and of which each word is said, `[n]`."""


def distinctive(slices: Sequence[Slice], weight: float) -> list[list[Attribute]]:
    """The words of each slice that at least `SUPPORT` of its photographs have, best score first.

    p is hypergeometric; q is that of Benjamini and Hochberg (1995) over all words that could have had the support,
    whether they have it or not. Words that are said of all photographs say nothing and are left out, and slices of
    fewer than `SMALLEST` have no words.

    Args:
        slices: the slices.
        weight: of how common a word is; 0 puts the most frequent word first, 1 the most typical one.
    """
    from scipy.stats import false_discovery_control

    tested = [list(_tested(*one, weight)) for one in slices]
    p = [one.p for part in tested for one in part]
    q = iter(false_discovery_control(p).tolist() if p else ())
    found = [[one._replace(q=next(q)) for one in part] for part in tested]
    return [
        sorted((one for one in part if one.inside >= SUPPORT), key=lambda one: (-one.score, one.words))
        for part in found
    ]


def _tested(members: Bools, words: Mapping[str, Bools], weight: float) -> Iterator[Attribute]:
    """The words of one slice that are tested, those that are said of the same photographs as one."""
    from scipy.stats import hypergeom

    size, total = int(members.sum()), len(members)
    if size < SMALLEST:
        return
    alike: dict[bytes, list[str]] = {}
    for word in sorted(words):
        alike.setdefault(np.packbits(words[word]).tobytes(), []).append(word)
    names = [same for same in alike.values() if SUPPORT <= words[same[0]].sum() < total]
    if not names:
        return
    said = np.stack([words[same[0]] for same in names])
    inside, outside = (said & members).sum(axis=1), said.sum(axis=1)
    scores = np.log((inside + 0.5) / (size + 1)) - weight * np.log((outside + 0.5) / (total + 1))
    chances = hypergeom.sf(inside - 1, total, outside, size)
    for same, *counts, score, p in zip(names, inside, outside, scores, chances, strict=True):
        yield Attribute(", ".join(same), int(counts[0]), size, int(counts[1]), total, float(score), float(p))
