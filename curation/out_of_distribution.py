"""Pictures that belong to none of an edition's classes, by their distance from the classes' Gaussians.

A score in itself says nothing of where to cut. Each picture is scored by Gaussians that haven't seen it, and its rank
among pictures whose label the features bear out is a p-value, so that the cut is a rate of false discoveries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curation.gaussians.classes import (
    FIT_ON,
    blocks,
    finite_rows,
    fit_gaussians,
    nearest,
    presumed_clean,
    squared_distances,
    thinned,
)
from curation.gaussians.conformal import (
    benjamini_hochberg,
    chance_agreement,
    conformal_p_values,
    least_discoveries,
)
from curation.labels.classes import most_flagged
from curation.labels.folds import dealt_folds
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.errors import RecipeError
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

FOLDS = 5
COMPONENTS = 64


class OutOfDistribution(CurationStep):
    """Mahalanobis distances to the classes, conformal p-values, and flags by Benjamini and Hochberg's procedure."""

    method: Literal["relative", "mahalanobis"] = "relative"
    """What `score` and the p-values are made of. Relative is the better where outliers lie among the pictures that
    the Gaussians are fitted on, plain where the `reference` is clean."""
    components: int | None = Field(default=None, ge=2)
    """Principal components in which the relative distance is taken, by default 64. The plain distance keeps every
    dimension, as what is foreign lies mostly in what a truncation throws away."""
    reference: str = ""
    """Variant whose pictures are in distribution by definition (`original`); by default those are presumed to be
    whose given label is that of the nearest class."""
    fdr: float = Field(default=0.05, gt=0, lt=1)
    """Expected share of in-distribution pictures among the flagged ones."""

    grouped: bool = True
    """Whether the groups of the step `duplicates` stay in one fold, as variants of one photograph always do."""

    revision: ClassVar[int] = 2
    scored_by: ClassVar[frozenset[str]] = frozenset({"method", "components", "reference", "fdr", "grouped"})

    @model_validator(mode="after")
    def _plain_distance_is_whole(self) -> OutOfDistribution:
        if self.method == "mahalanobis" and self.components is not None:
            raise ValueError(
                "components are for the relative distance; a plain Mahalanobis distance in some dimensions only loses "
                "what is foreign: leave components out, or set method to relative"
            )
        return self

    def needs(self) -> tuple[str, ...]:
        """Embeddings, and the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """`score`, `flag`, `p_value`, `mahalanobis`, `relative`, `to_given_label`, `presumed_clean`; all by row."""
        features = matrix(table, "features.embedding")
        y, _ = given_labels(table)
        trusted = None
        if self.reference:
            trusted = np.asarray(vector(table, "variant") == self.reference, dtype=bool)
            if len(trusted) and not trusted.any():
                raise RecipeError(
                    f"curate.{self.component_name()}: no picture of the variant {self.reference!r} to refer to"
                )
        rng = ctx.rng(self.component_name(), "", "folds")
        fold = dealt_folds(table, y, FOLDS, rng, copies=self.grouped)
        found = distances(features, y, fold, trusted=trusted, components=self.components or COMPONENTS)
        relative = self.method == "relative" and bool(np.isfinite(found.relative).any())
        chosen = found.relative if relative else found.mahalanobis
        tested = np.isfinite(chosen)
        if trusted is None:
            strays = (y >= 0) & ~found.clean
            p = conformal_p_values(chosen, found.clean, strays, chance_agreement(y, found.nearest, strays))
        else:
            p = conformal_p_values(chosen, trusted)
            tested &= ~trusted
        return {
            "score": chosen,
            "flag": benjamini_hochberg(p, tested, self.fdr),
            "p_value": p,
            "mahalanobis": found.mahalanobis,
            "relative": found.relative,
            "to_given_label": found.to_given_label,
            "presumed_clean": found.clean,
        }

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """How many are flagged, in which classes most, and how few could be at all."""
        step = self.component_name()
        flag, clean = vector(table, f"{step}.flag"), vector(table, f"{step}.presumed_clean")
        p = vector(table, f"{step}.p_value")
        return {
            "pictures": len(flag),
            "flagged": int(flag.sum()),
            "most_flagged_classes": most_flagged(table, flag, judged=np.isfinite(p)),
            "presumed_in_distribution": int(clean.sum()),
            "least_that_can_be_flagged": least_discoveries(int(np.isfinite(p).sum()), int(clean.sum()), self.fdr),
            "false_discovery_rate": self.fdr,
        }


@dataclass(frozen=True, slots=True)
class Distances:
    """Squared Mahalanobis distances by row, `[N]`; NaN where features aren't finite or there was nothing to fit.

    Attributes:
        mahalanobis: to the nearest class.
        to_given_label: to the given label's class; NaN when unlabelled.
        relative: to the nearest class, less that to one Gaussian of everything; NaN with fewer than two classes.
        nearest: the class with the nearest mean, -1 where there is none.
        clean: whether the row is in distribution by definition, or its label is the nearest class's.
    """

    mahalanobis: NDArray[np.float64]
    to_given_label: NDArray[np.float64]
    relative: NDArray[np.float64]
    nearest: NDArray[np.int64]
    clean: NDArray[np.bool_]


def distances(
    features: NDArray[Any],
    y: NDArray[np.int64],
    fold: NDArray[np.int64],
    *,
    trusted: NDArray[np.bool_] | None = None,
    components: int = COMPONENTS,
) -> Distances:
    """Distances of each row from Gaussians fitted on the other folds.

    After Lee et al. (NeurIPS 2018) without its input perturbation; the relative ones after Ren et al. (arXiv
    2106.09022). The classes are fitted on the rows that are presumed in distribution, the Gaussian of everything on
    all. With more features than samples an in-sample distance says nothing, hence the folds.

    Args:
        features: `[N, d]`.
        y: `[N]` given labels in 0..K-1, -1 unlabelled; an edition without any label is one class.
        fold: `[N]` fold of each row.
        trusted: `[N]` rows in distribution by definition; None presumes it of those whose label is the nearest
            class's.
        components: principal components for the relative distance.
    """
    n = len(features)
    unknown = [np.full(n, np.nan) for _ in range(3)]
    found = Distances(unknown[0], unknown[1], unknown[2], np.full(n, -1), np.zeros(n, dtype=bool))
    labelled = bool((y >= 0).any() if trusted is None else (y[trusted] >= 0).any())
    label = y if labelled else np.zeros(n, dtype=np.int64)
    k = int(label.max(initial=0)) + 1
    finite = finite_rows(features)
    for one in np.unique(fold):
        known = np.flatnonzero(finite & (fold != one))
        asked = np.flatnonzero(finite & (fold == one))
        usable = known[label[known] >= 0]
        if trusted is not None:
            usable = usable[trusted[usable]]
        clean = presumed_clean(features, label, usable, k) if trusted is None else usable
        if not len(clean) or not len(asked):
            continue
        classes = fit_gaussians(features, label, clean, k)
        for where, block in blocks(features, asked):
            rows, squared = asked[where], squared_distances(block, classes)
            found.mahalanobis[rows] = squared.min(axis=1)
            given = np.where(y[rows] >= 0, squared[np.arange(len(rows)), y[rows]], np.nan)
            found.to_given_label[rows] = np.where(np.isfinite(given), given, np.nan)
        found.nearest[asked] = nearest(features, classes.means, asked)
        found.clean[asked] = found.nearest[asked] == label[asked] if trusted is None else trusted[asked]
        if (classes.counts > 0).sum() > 1:
            found.relative[asked] = relative_distances(features, label, known, clean, asked, k, components)
    return found


def relative_distances(
    features: NDArray[Any],
    y: NDArray[np.int64],
    known: NDArray[np.int64],
    clean: NDArray[np.int64],
    asked: NDArray[np.int64],
    k: int,
    components: int,
) -> NDArray[np.float64]:
    """Squared distance to the nearest class less that to everything, for the rows `asked`, in principal components.

    Args:
        features: `[N, d]`.
        y: `[N]` labels in 0..K-1; those of `clean` count.
        known: rows that everything is fitted on.
        clean: rows that the classes are fitted on.
        asked: rows to score.
        k: number of classes.
        components: principal components to keep.
    """
    centre, axes = principal_axes(features[thinned(known, FIT_ON)].astype(np.float64), components)
    projected = np.zeros((len(features), axes.shape[1]))
    for rows in (known, asked):
        for where, block in blocks(features, rows):
            projected[rows[where]] = (block - centre) @ axes
    classes = fit_gaussians(projected, y, clean, k)
    everything = fit_gaussians(projected, np.zeros(len(y), dtype=np.int64), known, 1)
    scores = np.empty(len(asked))
    for where, block in blocks(projected, asked):
        scores[where] = squared_distances(block, classes).min(axis=1) - squared_distances(block, everything)[:, 0]
    return scores


def principal_axes(samples: NDArray[np.float64], components: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean `[d]` of the samples and the directions `[d, q]` of their largest variance, `q <= components`."""
    from scipy.linalg import eigh

    centre = samples.mean(axis=0)
    centred = samples - centre
    n, d = centred.shape
    q = min(components, d, max(1, n - 1))
    if n > d:
        return centre, eigh(centred.T @ centred, subset_by_index=(d - q, d - 1))[1]
    return centre, np.linalg.svd(centred, full_matrices=False)[2][:q].T
