"""Finds pictures that belong to none of an edition's classes, by their distance from the classes' Gaussians.

A score alone gives no threshold. Each picture is scored by Gaussians fitted without it, and its rank among pictures
presumed to be in distribution is a p-value, so that the threshold is a false discovery rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from variorum.curation.embeddings.rows import blocks, finite_rows, thinned
from variorum.curation.gaussians.classes import (
    FIT_ON,
    fit_gaussians,
    nearest_class,
    presumed_clean,
    squared_distances,
)
from variorum.curation.gaussians.conformal import (
    benjamini_hochberg,
    chance_agreement,
    conformal_p_values,
    least_discoveries,
)
from variorum.curation.labels.classes import most_flagged
from variorum.curation.labels.folds import dealt_folds
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

FOLDS = 5
COMPONENTS = 64
"""Principal components for the relative distance, by default."""


class OutOfDistribution(Detector):
    """Mahalanobis distances to the classes, conformal p-values, and flags by Benjamini and Hochberg's procedure."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score p_value mahalanobis relative to_given_label", flags="flag presumed_clean"
    )
    revision: ClassVar[int] = 2

    method: Literal["relative", "mahalanobis"] = "relative"
    """Distance behind `score` and the p-values. `relative` is better if outliers are among the pictures that the
    Gaussians are fitted on, `mahalanobis` if the `reference` is clean."""
    components: int | None = Field(default=None, ge=2)
    """Principal components for the relative distance, 64 by default. The plain distance keeps all dimensions, because
    foreign pictures differ mostly in those that a truncation drops."""
    reference: str = ""
    """Variant whose pictures are in distribution by definition, such as `original`. By default pictures are presumed in
    distribution if their given label is that of the nearest class."""
    fdr: float = Field(default=0.05, gt=0, lt=1)
    """Expected share of in-distribution pictures among the flagged ones."""
    grouped: bool = True
    """Whether each group of `duplicates` stays in one fold; variants of one photograph always do."""

    @model_validator(mode="after")
    def _plain_distance_is_whole(self) -> OutOfDistribution:
        if self.method == "mahalanobis" and self.components is not None:
            raise ValueError(
                "components are for the relative distance; a plain Mahalanobis distance in fewer dimensions misses "
                "foreign pictures: remove components, or set method to relative"
            )
        return self

    def needs(self) -> tuple[str, ...]:
        """The embeddings and, if `grouped`, the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """`score`, `flag`, `p_value`, `mahalanobis`, `relative`, `to_given_label`, `presumed_clean`; all `[N]`.

        Raises:
            RecipeError: no picture is of the `reference` variant.
        """
        features = table["features.embedding"]
        y, _ = table.labels()
        trusted = None
        if self.reference:
            trusted = np.asarray(table["variant"] == self.reference, dtype=bool)
            if len(trusted) and not trusted.any():
                raise RecipeError(
                    f"curate.{self.component_name()}: no picture is of the reference variant {self.reference!r}"
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

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Counts, the most flagged classes, and the least number of pictures that can be flagged."""
        flag, clean = table["flag"], table["presumed_clean"]
        p = table["p_value"]
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
    """Squared Mahalanobis distances `[N]`; NaN for features that aren't finite, or if nothing could be fitted.

    Attributes:
        mahalanobis: to the nearest class.
        to_given_label: to the given label's class; NaN if unlabelled.
        relative: to the nearest class, minus that to one Gaussian of everything; NaN with fewer than two classes.
        nearest: the class with the nearest mean; -1 for none.
        clean: whether the row is in distribution, by definition or because its label is the nearest class's.
    """

    mahalanobis: Floats
    to_given_label: Floats
    relative: Floats
    nearest: Ints
    clean: Bools


def distances(
    features: Array,
    y: Ints,
    fold: Ints,
    *,
    trusted: Bools | None = None,
    components: int = COMPONENTS,
) -> Distances:
    """Distances of each row from Gaussians fitted on the other folds.

    After Lee et al. (NeurIPS 2018) without its input perturbation; the relative distance after Ren et al. (arXiv
    2106.09022). The classes are fitted on rows presumed in distribution, the Gaussian of everything on all. Folds are
    needed because with more features than samples an in-sample distance is meaningless.

    Args:
        features: `[N, d]`.
        y: `[N]` given labels in 0..K-1, -1 unlabelled; an edition without labels is one class.
        fold: `[N]` fold of each row.
        trusted: `[N]` rows in distribution by definition; None presumes rows whose label is the nearest class's.
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
        for part, block in blocks(features, asked):
            rows, squared = asked[part], squared_distances(block, classes)
            found.mahalanobis[rows] = squared.min(axis=1)
            given = np.where(y[rows] >= 0, squared[np.arange(len(rows)), y[rows]], np.nan)
            found.to_given_label[rows] = np.where(np.isfinite(given), given, np.nan)
        found.nearest[asked] = nearest_class(features, classes.means, asked)
        found.clean[asked] = found.nearest[asked] == label[asked] if trusted is None else trusted[asked]
        if (classes.counts > 0).sum() > 1:
            found.relative[asked] = relative_distances(features, label, known, clean, asked, k, components)
    return found


def relative_distances(
    features: Array,
    y: Ints,
    known: Ints,
    clean: Ints,
    asked: Ints,
    k: int,
    components: int,
) -> Floats:
    """Squared distance to the nearest class minus that to everything, in principal components, for rows `asked`.

    Args:
        features: `[N, d]`.
        y: `[N]` labels in 0..K-1; only those of `clean` are used.
        known: rows that fit the Gaussian of everything.
        clean: rows that fit the classes.
        asked: rows to score.
        k: number of classes.
        components: principal components to keep.
    """
    centre, axes = principal_axes(features[thinned(known, FIT_ON)].astype(np.float64), components)
    projected = np.zeros((len(features), axes.shape[1]))
    for rows in (known, asked):
        for part, block in blocks(features, rows):
            projected[rows[part]] = (block - centre) @ axes
    classes = fit_gaussians(projected, y, clean, k)
    everything = fit_gaussians(projected, np.zeros(len(y), dtype=np.int64), known, 1)
    scores = np.empty(len(asked))
    for part, block in blocks(projected, asked):
        scores[part] = squared_distances(block, classes).min(axis=1) - squared_distances(block, everything)[:, 0]
    return scores


def principal_axes(samples: Floats, components: int) -> tuple[Floats, Floats]:
    """Mean `[d]` of the samples and the directions `[d, q]` of their largest variance, `q <= components`."""
    from scipy.linalg import eigh

    centre = samples.mean(axis=0)
    centred = samples - centre
    n, d = centred.shape
    q = min(components, d, max(1, n - 1))
    if n > d:
        return centre, eigh(centred.T @ centred, subset_by_index=(d - q, d - 1))[1]
    return centre, np.linalg.svd(centred, full_matrices=False)[2][:q].T
