"""Describe the photographs on which models are wrong, and those of which no edit was accepted, by distinctive words.

After MILAN (Hernandez et al., ICLR 2022, arXiv 2201.11114), with words that are given instead of a captioner: what the
photographs show by their labels, and what their data says of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from variorum.evaluation.slices.attributes import SMALLEST, distinctive
from variorum.kit.labels.wordnet import kinds_of
from variorum.kit.predicted.answers import predictions, said
from variorum.kit.predicted.pairing import ORIGINAL, UNSCORED, photographs
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Evaluation, Row, Use
from variorum.schemas.sample import Sample, is_baseline
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints

SURE = 0.05
"""Share of false words among those that are shown, on average, at most."""
MOST = 5
"""Words of a slice that are shown."""
TEXT = re.compile(r"[^\W\d_]{3,}")


class SliceDescription(Evaluation):
    """Distinctive attributes of slices: wrong answers by classifier and variant, and variants that weren't accepted.

    A photograph counts once in each slice, however many pictures of it there are; it is in one of wrong answers if most
    of them are wrong. Words are the labels' names and what WordNet says they are kinds of, words of captions, texts of
    the metadata, and what the last operation was asked for.
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
        """One row per picture and classifier, as `accuracy_drop`'s, with the `photograph` and the `words`, a JSON list.

        Raises:
            RecipeError: a picture's class is no output of a classifier that says what its outputs are.
        """
        names = {one.id: one.name for one in ctx.classes}
        facts = {one.id: (one.photograph, json.dumps(words_of(one, names), ensure_ascii=False)) for one in samples}
        for row in predictions(samples, self.classifiers, ctx):
            photograph, words = facts[str(row["id"])]
            yield {**row, "photograph": photograph, "words": words}

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """`slices`, those with distinctive attributes first; `small` counts slices of fewer than ten photographs.

        A slice has `n` photographs `of` so many, and up to five `attributes` whose `q` is below 0.05, the best score
        first; each `says` how often it is there, such as `9 of 12 against 15 of 200`.
        """
        parts = list(self._parts(table)) if len(table) else []
        large = [one for one in parts if one.members.sum() >= SMALLEST]
        slices: list[dict[str, Json]] = []
        for part, words in zip(large, distinctive([one[2:] for one in large], self.weight), strict=True):
            size, total = int(part.members.sum()), len(part.members)
            shown: list[Json] = [
                {
                    "words": one.words,
                    "says": f"{one.inside} of {size} against {one.outside} of {total}",
                    "score": round(one.score, 3),
                    "q": float(f"{one.q:.2g}"),
                }
                for one in words
                if one.q < SURE
            ]
            slices.append(
                {"slice": part.name, "variant": part.variant, "n": size, "of": total, "attributes": shown[:MOST]}
            )
        slices.sort(key=lambda one: not one["attributes"])
        return {"weight": self.weight, "small": len(parts) - len(large), "slices": list(slices)}

    def _parts(self, table: Table) -> Iterator[Part]:
        """Every slice, large or small."""
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
                    yield Part(f"wrong by {name}", one, members, _words(words, rows, owners.of_row, units))
        rows = np.flatnonzero(first & (variant == ORIGINAL))
        units = np.unique(owners.of_row[rows])
        for one in sorted({one for one in variant if not is_baseline(one)} if len(rows) else ()):
            there = np.isin(units, owners.of_row[first & (variant == one)])
            yield Part("no accepted picture", one, ~there, _words(words, rows, owners.of_row, units))


class Part(NamedTuple):
    """A slice: which photographs with pictures of a variant belong to it, and of which each word is said."""

    name: str
    variant: str
    members: Bools
    words: Mapping[str, Bools]


def words_of(sample: Sample, names: Mapping[str, str]) -> list[str]:
    """What is said of a picture. `names` are those of the classes."""
    labels = {names.get(one, one) for one in sample.labels}
    found = labels | {f"a kind of {kind}" for one in sample.labels for kind in kinds_of(one)}
    found |= {f"{key}: {text}" for key in sample.metadata if (text := said(sample.metadata, key))}
    caption = sample.annotations.caption()
    found |= {f"caption: {word}" for word in TEXT.findall(caption.casefold())}
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
