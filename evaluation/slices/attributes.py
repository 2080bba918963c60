"""Which words set a slice of photographs apart from all of them.

MILAN (Hernandez et al., ICLR 2022, arXiv 2201.11114) describes a unit by the text with the largest pointwise mutual
information with it. Here words are given, and each is tested: of many words one always stands out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools

SUPPORT = 5
"""Photographs with a word that a slice has, at least."""
SMALLEST = 10
"""Photographs of a slice that is described, at least."""


class Attribute(NamedTuple):
    """Words that are said of the same photographs, divided by commas.

    `inside` counts those in the slice, `outside` all of them; `p` is how often a random slice has as many, `q` the same
    corrected for all words of all slices.
    """

    words: str
    inside: int
    outside: int
    score: float
    p: float
    q: float = 1.0


def distinctive(slices: Sequence[tuple[Bools, Mapping[str, Bools]]], weight: float) -> list[list[Attribute]]:
    """The words of each slice that at least `SUPPORT` of its photographs have, best score first.

    The score is log p(word | slice) - weight · log p(word), with half a photograph added to each count. p is
    hypergeometric, and q that of Benjamini and Hochberg (1995) over all words that could have had the support. Words
    that are said of all photographs are left out, and slices of fewer than `SMALLEST` have none.

    Args:
        slices: which of the photographs belong to it, `[n]`, and of which each word is said, `[n]`.
        weight: 0 puts the most frequent word first, 1 the most typical one.
    """
    from scipy.stats import false_discovery_control

    tested = [_tested(*one, weight) for one in slices]
    p = [one.p for part in tested for one in part]
    q = iter(false_discovery_control(p).tolist() if p else ())
    found = [[one._replace(q=next(q)) for one in part] for part in tested]
    return [sorted((one for one in part if one.inside >= SUPPORT), key=lambda one: -one.score) for part in found]


def _tested(members: Bools, words: Mapping[str, Bools], weight: float) -> list[Attribute]:
    from scipy.stats import hypergeom

    size, total = int(members.sum()), len(members)
    alike: dict[bytes, list[str]] = {}
    for word in sorted(words):
        if SUPPORT <= words[word].sum() < total:
            alike.setdefault(words[word].tobytes(), []).append(word)
    if size < SMALLEST or not alike:
        return []
    said = np.stack([words[same[0]] for same in alike.values()])
    inside, outside = (said & members).sum(axis=1), said.sum(axis=1)
    scores = np.log((inside + 0.5) / (size + 1)) - weight * np.log((outside + 0.5) / (total + 1))
    chances = hypergeom.sf(inside - 1, total, outside, size)
    columns = (values.tolist() for values in (inside, outside, scores, chances))
    return [Attribute(", ".join(same), *counted) for same, *counted in zip(alike.values(), *columns, strict=True)]
