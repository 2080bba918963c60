"""Retrieve an edition's originals and edits from each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.content_dilution.figures import (
    Costs,
    Pictures,
    Relevance,
    joined,
    part,
    summary,
    worst_of_each,
)
from variorum.kit.corrupt.kinds import KINDS
from variorum.kit.predicted.corrupted import family_of
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.pairing import ORIGINAL, roots
from variorum.schemas.canonical import Json
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints

DISTRACTORS = "distractors"
"""Name of the reference whose pictures are in every gallery."""


@dataclass(frozen=True, slots=True)
class Edition:
    """An edition's pictures and the distractors, as far as their embeddings can be compared; `[N]` each.

    Attributes:
        pictures: their embeddings, photographs and labels. Photographs with an original have the lowest numbers.
        original: whether each is an original.
        extra: whether it is a distractor.
        variant: its variant.
        kind: the kind of edit that it was made by, or its variant.
        id: its id.
        names: ids of the photographs, by their numbers, `[P]`.
    """

    pictures: Pictures
    original: Bools
    extra: Bools
    variant: Array
    kind: Array
    id: Array
    names: Sequence[str]

    def photographs(self) -> int:
        """Number of photographs with an original."""
        return len(np.unique(self.pictures.photograph[self.original]))

    def gallery(self) -> dict[str, Json]:
        """Size of the gallery of originals."""
        originals, distractors = int(self.original.sum()), int(self.extra.sum())
        return {"size": originals + distractors, "originals": originals, "distractors": distractors}

    def usable(self) -> bool:
        """Return whether there are originals, and edits to ask with."""
        return bool(self.original.any() and (~self.original & ~self.extra).any())


def edition_of(table: Table, *, with_labels: bool) -> Edition:
    """The pictures with a finite embedding that isn't 0, from rows of `RetrievalRobustness.measure`."""
    if not len(table):
        none = np.zeros(0, bool)
        pictures = Pictures(np.zeros((0, 1), np.float32), np.zeros(0, np.int64), np.zeros((0, 0), bool))
        texts = np.zeros(0, object)
        return Edition(pictures, none, none, texts, texts, texts, ())
    every = table["embedding"]
    lengths = np.sqrt(np.einsum("nd,nd->n", every, every, dtype=np.float64))
    rows = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    units = (every[rows] / lengths[rows, None]).astype(np.float32)
    extra = table["set"][rows] == DISTRACTORS if "set" in table else np.zeros(len(rows), bool)
    variant = table["variant"][rows]
    original = np.asarray((variant == ORIGINAL) & ~extra)
    labels = labels_of(table["labels"][rows]) if with_labels else np.zeros((len(rows), 0), bool)
    photograph, names = _photographs(table, rows, original, extra)
    pictures = Pictures(units, photograph, labels)
    return Edition(pictures, original, extra, variant, table["kind"][rows], table["id"][rows], names)


def robustness(edition: Edition, relevance: Relevance, results: Results) -> dict[str, Json]:
    """All figures that depend on ranks: of originals, of all edits, by variant, kind and family, and the adversary's.

    Args:
        edition: has originals and edits.
        relevance: what is relevant to a query.
        results: gets the drop rates; over the photographs with an original.
    """
    pictures = edition.pictures
    originals, gallery = pictures.at(edition.original), pictures.at(edition.original | edition.extra)
    asking = np.flatnonzero(~edition.original & ~edition.extra)
    clean = originals.retrieved(gallery, relevance)
    found = pictures.at(asking).retrieved(gallery, relevance)
    own, variant = pictures.photograph[asking], edition.variant[asking]

    every = int(pictures.photograph.max()) + 1
    reciprocal, counts = np.zeros(edition.photographs()), np.zeros(every, bool)
    reciprocal[originals.photograph], counts[originals.photograph] = clean.reciprocal, clean.answerable
    costs = Costs(reciprocal, counts, results)

    asked = {name: np.flatnonzero(variant == name) for name in dict.fromkeys(variant.tolist())}
    queried = {name: (own[rows], part(found, rows)) for name, rows in asked.items()}
    searched = {}
    for name, rows in asked.items():
        changed = edition.extra.copy()
        changed[asking[rows]] = True
        searched[name] = originals.photograph, originals.retrieved(pictures.at(changed), relevance)

    def group(names: Sequence[str]) -> dict[str, Json]:
        corpus = [searched[name] for name in names]
        return {
            **summary(joined([queried[name][1] for name in names])),
            "variants": len(names),
            "drop_rate": costs.of([queried[name] for name in names]),
            "corpus": {**summary(joined([one for _, one in corpus])), "drop_rate": costs.of(corpus)},
        }

    kind_of = {name: str(edition.kind[asking[rows[0]]]) for name, rows in asked.items()}
    families = {name: family_of(kind) for name, kind in kind_of.items() if kind in KINDS}
    worst = worst_of_each(found, own)
    return {
        "clean": summary(clean),
        "queries": summary(found),
        "variants": {name: {"kind": kind_of[name], **summary(one)} for name, (_, one) in queried.items()},
        "kinds": {kind: group(names) for kind, names in _members(kind_of).items()},
        "families": {
            family: {"kinds": len({kind_of[name] for name in names}), **group(names)}
            for family, names in _members(families).items()
        },
        "adversarial": {**summary(part(found, worst)), "drop_rate": costs.of([(own[worst], part(found, worst))])},
    }


def _photographs(table: Table, rows: Ints, original: Bools, extra: Bools) -> tuple[Ints, list[str]]:
    """The number of each row's photograph, those with an original first, -1 for distractors; and the ids by number."""
    ids, parents = table["id"], table["parent"]
    root = roots(dict(zip(ids.tolist(), parents.tolist(), strict=True)))
    names = np.array([root[one] for one in ids[rows].tolist()], object)
    whole = set(names[original].tolist())
    order = sorted(set(names[~extra].tolist()), key=lambda name: (name not in whole, name))
    number = {name: place for place, name in enumerate(order)}
    return np.array([-1 if other else number[name] for name, other in zip(names, extra, strict=True)], np.int64), order


def labels_of(texts: Array) -> Bools:
    """By class, whether a picture has it, `[N, C]`, from lists of classes as JSON."""
    own = [json.loads(text) for text in texts]
    names = {name: place for place, name in enumerate(sorted({name for one in own for name in one}))}
    has = np.zeros((len(own), len(names)), bool)
    for row, one in enumerate(own):
        has[row, [names[name] for name in one]] = True
    return has


def _members(group_of: Mapping[str, str]) -> dict[str, list[str]]:
    """The variants of each group, in order."""
    found: dict[str, list[str]] = {}
    for name, group in group_of.items():
        found.setdefault(group, []).append(name)
    return found
