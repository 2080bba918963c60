"""Figures of many queries: how good retrieval is, how much it varies, and how much a change of the pictures costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from variorum.evaluation.content_dilution.ranks import Answers, answers
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.resamples import percent
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints, Singles

Relevance: TypeAlias = Literal["parent", "label"]
WORST = 0.1
"""Share of the queries whose mean shows the tail."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures that can be retrieved or ask.

    Attributes:
        units: embeddings of unit length `[N, d]`.
        photograph: which photograph each shows, `[N]`; -1 for a distractor.
        labels: by class, whether a picture has it, `[N, C]`.
    """

    units: Singles
    photograph: Ints
    labels: Bools

    def at(self, rows: Ints | Bools) -> Pictures:
        """Some of them."""
        return Pictures(self.units[rows], self.photograph[rows], self.labels[rows])

    def retrieved(self, gallery: Pictures, relevance: Relevance) -> Answers:
        """Retrieve each of these from a gallery.

        Relevant is a picture of the same photograph, or by `label` one of another photograph with a common class; then
        pictures of the query's own photograph are hidden, because it would find itself.
        """

        def relevant(rows: slice) -> tuple[Bools, Bools]:
            same = self.photograph[rows, None] == gallery.photograph
            if relevance == "parent":
                return same, np.zeros_like(same)
            shared = self.labels[rows].astype(np.float32) @ gallery.labels.T.astype(np.float32)
            return np.asarray(shared > 0), same

        return answers(self.units, gallery.units, relevant)


def summary(found: Answers, rows: Bools | slice = slice(None)) -> dict[str, Json]:
    """Means of the answerable queries in percent, the variance of their reciprocal ranks, and the tail's mean.

    `no_relevant` counts the queries that nothing could answer; they are in no mean.
    """
    answerable = found.answerable[rows]
    figures: dict[str, Json] = {"n": int(answerable.sum()), "no_relevant": int((~answerable).sum())}
    if not answerable.any():
        return figures
    means = {"recall_1": found.first, "recall_5": found.fifth, "mrr": found.reciprocal, "map": found.precision}
    reciprocal = np.sort(found.reciprocal[rows][answerable])
    return {
        **figures,
        **{name: percent(values[rows][answerable].mean()) for name, values in means.items()},
        "variance": round(float(reciprocal.var()), 4),
        "worst": percent(reciprocal[: int(np.ceil(WORST * len(reciprocal)))].mean()),
    }


@dataclass(frozen=True, slots=True)
class Costs:
    """Cost of a change of the queries or of the gallery, against the originals among themselves.

    Attributes:
        clean: reciprocal rank of each photograph's original, `[S]`.
        counts: by photograph, whether it has an original that finds anything relevant; the S with an original come
            first.
        results: gets the figures with intervals.
    """

    clean: Floats
    counts: Bools
    results: Results

    def of(self, columns: Sequence[tuple[Ints, Answers]]) -> dict[str, Json] | None:
        """The drop rate: (MRR of originals - MRR) / MRR of originals, in percent, over the same photographs.

        Args:
            columns: by variant, the photograph of each query and what it found; the result is the mean over variants.
        """
        before, lost = [], []
        for photograph, found in columns:
            rows = found.answerable & self.counts[photograph]
            clean = self.clean[photograph[rows]]
            size = len(self.clean)
            base = np.bincount(photograph[rows], clean, size)
            if base.sum() > 0:
                before.append(base)
                lost.append(np.bincount(photograph[rows], clean - found.reciprocal[rows], size))
        return self.results.of(np.stack(lost, axis=1), np.stack(before, axis=1), True) if before else None


def part(found: Answers, rows: Ints | Bools) -> Answers:
    """The answers of some queries."""
    return Answers(*(getattr(found, one.name)[rows] for one in fields(found)))


def joined(found: Sequence[Answers]) -> Answers:
    """The answers of all these queries."""
    return Answers(*(np.concatenate([getattr(one, each.name) for one in found]) for each in fields(Answers)))


def worst_of_each(found: Answers, photograph: Ints) -> Ints:
    """For each photograph, its answerable query with the lowest reciprocal rank; the first of several."""
    rows = np.flatnonzero(found.answerable)
    order = rows[np.lexsort((rows, found.reciprocal[rows], photograph[rows]))]
    return np.sort(order[np.unique(photograph[order], return_index=True)[1]]).astype(np.int64)
