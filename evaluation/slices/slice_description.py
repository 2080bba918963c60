"""Describe the photographs on which models are wrong, and those that lack a variant, by distinctive words.

MILAN (Hernandez et al., ICLR 2022, arXiv 2201.11114) describes a unit by the text with the largest pointwise mutual
information with it. Here words are given, and each is tested: of many words one always stands out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from variorum.kit.labels.wordnet import kinds_of
from variorum.kit.predicted.answers import predictions, said
from variorum.kit.predicted.pairing import ORIGINAL, UNSCORED, photographs
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Evaluation, Row, Use
from variorum.schemas.sample import Sample, is_baseline
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints

SMALLEST, SUPPORT = 10, 5
"""Photographs of a slice that is described, and those of them with a word, at least."""
SURE, MOST = 0.05, 5
"""Share of false words among those that are shown, on average; and words of a slice that are shown; at most."""
TEXT = re.compile(r"[^\W\d_]{3,}")


class SliceDescription(Evaluation):
    """Distinctive attributes of slices: wrong answers by classifier and variant, and photographs without a variant.

    A photograph counts once in a slice; it is in one of wrong answers if most are wrong. Words are the labels' names
    and what WordNet says they are kinds of, words of captions, texts of the metadata, and what edits were asked for.
    """

    late: ClassVar[frozenset[str]] = frozenset({"weight"})

    classifiers: tuple[str, ...] = Field(default=("classifier_small", "classifier"), min_length=1)
    """Aliases of classifiers, or names of models that a user brings; none may have filtered the edition."""
    weight: float = Field(default=1.0, ge=0, le=1)
    """λ: 1 puts the words first that are most typical of a slice, 0 those that are most frequent in it."""

    def uses(self) -> list[Use]:
        """Return the classifiers."""
        return [Use(alias, "classifier") for alias in self.classifiers]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier, as `accuracy_drop`'s, with the `photograph` and the `words`, as JSON."""
        names = {one.id: one.name for one in ctx.classes}
        facts = {one.id: (one.photograph, json.dumps(words_of(one, names), ensure_ascii=False)) for one in samples}
        for row in predictions(samples, self.classifiers, ctx):
            photograph, words = facts[str(row["id"])]
            yield {**row, "photograph": photograph, "words": words}

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """`slices`, those with distinctive attributes first; `small` counts slices of fewer than ten photographs.

        A slice has `n` photographs, and up to five `attributes` whose `q` is below 0.05, the best score first; each
        `says` how often it is there, such as `9 of 12 against 15 of 200`.
        """
        parts = list(self._parts(table)) if len(table) else []
        large, slices = [one for one in parts if one[2].sum() >= SMALLEST], list[dict[str, Json]]()
        for (name, variant, members, _), words in zip(
            large, distinctive([one[2:] for one in large], self.weight), strict=True
        ):
            size, total = int(members.sum()), len(members)
            says = [f"{one.inside} of {size} against {one.outside} of {total}" for one in words]
            shown: list[Json] = [
                {"words": one.words, "says": said, "q": float(f"{one.q:.2g}")}
                for one, said in zip(words, says, strict=True)
                if one.q < SURE
            ]
            slices.append({"slice": name, "variant": variant, "n": size, "attributes": shown[:MOST]})
        slices.sort(key=lambda one: not one["attributes"])
        return {"small": len(parts) - len(large), "slices": list(slices)}

    def _parts(self, table: Table) -> Iterator[tuple[str, str, Bools, Mapping[str, Bools]]]:
        """Every slice: its name and variant, which photographs belong to it, and of which each word is said, `[n]`."""
        owners, variant, classifier = photographs(table), table["variant"].astype(str), table["classifier"].astype(str)
        words = [json.loads(text) for text in table["words"]]
        wrong, scored = ~table["correct"].astype(bool), table["label"] != UNSCORED
        first = classifier == classifier[0]
        for name in dict.fromkeys(self.classifiers):
            for one in sorted(set(variant)):
                rows = np.flatnonzero((classifier == name) & (variant == one) & scored)
                if len(rows):
                    units, place, number = np.unique(owners.of_row[rows], return_inverse=True, return_counts=True)
                    members = np.bincount(place.reshape(-1), wrong[rows]) > number / 2
                    yield f"wrong by {name}", one, members, _words(words, rows, owners.of_row, units)
        rows = np.flatnonzero(first & (variant == ORIGINAL))
        units = np.unique(owners.of_row[rows])
        for one in sorted({one for one in variant if not is_baseline(one)} if len(rows) else ()):
            there = np.isin(units, owners.of_row[first & (variant == one)])
            yield "no picture", one, ~there, _words(words, rows, owners.of_row, units)


class Attribute(NamedTuple):
    """Words of the same photographs, how many of the slice and of all they are; p, and q, corrected for all words."""

    words: str
    inside: int
    outside: int
    score: float
    p: float
    q: float = 1.0


def words_of(sample: Sample, names: Mapping[str, str]) -> list[str]:
    """What is said of a picture. `names` are those of the classes."""
    labels = {names.get(one, one) for one in sample.labels}
    found = labels | {f"a kind of {kind}" for one in sample.labels for kind in kinds_of(one)}
    found |= {f"{key}: {text}" for key in sample.metadata if (text := said(sample.metadata, key))}
    found |= {f"caption: {word}" for word in TEXT.findall(sample.annotations.caption().casefold())}
    asked = sample.ops[-1]["requested"] if sample.ops else {}
    found |= {f"asked for {key}: {text}" for key in asked if (text := said(asked, key))}
    return sorted(found)


def _words(words: Sequence[Sequence[str]], rows: Ints, owner: Ints, units: Ints) -> dict[str, Bools]:
    """Of which photographs `units [n]` each word is said, `[n]`: of any of their pictures in these rows."""
    found: dict[str, Bools] = {}
    for row, unit in zip(rows.tolist(), np.searchsorted(units, owner[rows]).tolist(), strict=True):
        for word in words[row]:
            found.setdefault(word, np.zeros(len(units), bool))[unit] = True
    return found


def distinctive(slices: Sequence[tuple[Bools, Mapping[str, Bools]]], weight: float) -> list[list[Attribute]]:
    """The words of each slice that at least `SUPPORT` of its photographs have, best score first.

    The score is log p(word | slice) - weight · log p(word), with half a photograph added to each count. p is
    hypergeometric, and q that of Benjamini and Hochberg (1995) over all words that could have had the support. Words
    that are said of all photographs are left out, and slices of fewer than `SMALLEST` have none. A slice says which
    photographs belong to it, and of which each word is said, `[n]`.
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
