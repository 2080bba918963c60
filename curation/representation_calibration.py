"""Labels that another class's Gaussian explains better, with rare classes borrowing from frequent ones like them.

After RCAL (Zhang et al., ICCV 2023, arXiv 2211.10955). Class priors are left out, so a rare class isn't suspected for
being rare; and how much a class borrows follows from how uncertain its own mean is, not from a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.gaussians.classes import (
    ClassGaussians,
    blocks,
    class_means,
    finite_rows,
    fit_gaussians,
    nearest,
    presumed_clean,
    thinned,
)
from curation.labels.classes import most_flagged, rare_classes
from curation.labels.folds import dealt_folds
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.errors import RecipeError
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

FOLDS = 5
REGRESSION_ON = 20_000
"""Samples that the logistic regression, there for comparison only, is fitted and tried on, at most."""


class RepresentationCalibration(CurationStep):
    """Linear discriminant margins on shared class statistics, out of fold, beside two simpler classifiers."""

    neighbours: int = Field(default=3, ge=0)
    """Larger classes, the nearest ones, that a class may borrow from; 0 shares nothing."""
    baselines: bool = True
    """Whether the nearest mean and a class-weighted logistic regression are tried too: before anything is claimed for
    a calibration, the simple has to be known."""

    grouped: bool = True
    """Whether the groups of the step `duplicates` stay in one fold, as variants of one photograph always do."""

    revision: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = True
    scored_by: ClassVar[frozenset[str]] = frozenset({"neighbours", "baselines", "grouped"})

    def needs(self) -> tuple[str, ...]:
        """Embeddings, and the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """`score` (nats by which another class wins), `flag`, `proposed`, `sharing`, and the baselines' proposals.

        Raises:
            RecipeError: no picture has a label.
        """
        features = matrix(table, "features.embedding")
        y, classes = given_labels(table)
        if len(y) and not len(classes):
            raise RecipeError(f"curate.{self.component_name()}: no picture has a label; take the step out")
        rng = ctx.rng(self.component_name(), "", "folds")
        fold = dealt_folds(table, y, FOLDS, rng, copies=self.grouped)
        found = calibrated(features, y, fold, neighbours=self.neighbours)
        columns = {
            "score": found.score,
            "flag": found.score > 0,
            "proposed": as_classes(found.proposed, classes),
            "sharing": np.append(found.sharing, np.nan)[y],
        }
        if self.baselines:
            columns["nearest_mean"] = as_classes(nearest_mean(features, y, fold), classes)
            columns["class_weighted"] = as_classes(weighted_regression(features, y, fold), classes)
        return columns

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """Flags, sharing by class, and balanced accuracies against the given labels."""
        step, label = self.component_name(), vector(table, "label")
        flag, sharing = vector(table, f"{step}.flag"), vector(table, f"{step}.sharing")
        judged = np.isfinite(vector(table, f"{step}.score"))
        if not judged.any():
            return {"judged": 0}
        accuracies = {
            name: balanced_accuracy(label, vector(table, f"{step}.{column}"))
            for name, column in (
                ("calibrated", "proposed"),
                ("nearest_mean", "nearest_mean"),
                ("class_weighted_regression", "class_weighted"),
            )
            if f"{step}.{column}" in table.column_names
        }
        return {
            "judged": int(judged.sum()),
            "flagged": int(flag.sum()),
            "estimated_noise_rate": round(float(flag[judged].mean()), 4),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
            "sharing_by_class": sharing_by_class(table, sharing),
            "balanced_accuracy_against_given_labels": {
                name: None if value is None else round(value, 4) for name, value in accuracies.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What the calibrated discriminant says, out of fold.

    Attributes:
        score: `[N]` log density under the best other class less that under the given label's; NaN is not judged.
        proposed: `[N]` class of the highest density, in 0..K-1; -1 is not judged.
        sharing: `[K]` share of each class's mean that is borrowed, the mean over the folds; NaN for a class that is
            never fitted.
    """

    score: NDArray[np.float64]
    proposed: NDArray[np.int64]
    sharing: NDArray[np.float64]


def calibrated(
    features: NDArray[Any], y: NDArray[np.int64], fold: NDArray[np.int64], *, neighbours: int = 3
) -> Calibrated:
    """`score_i = max_{k != y_i} log N(z_i; m_k, S) - log N(z_i; m_{y_i}, S)`, fitted on the other folds.

    The means `m` are of those whose label the features bear out, shared by `shared_means`; `S` is their common
    Ledoit-Wolf covariance. A sample isn't judged when it has no label, features that aren't finite, no other sample
    of its class in the other folds, or no other class to belong to.

    Args:
        features: `[N, d]`.
        y: `[N]` given labels in 0..K-1, -1 unlabelled.
        fold: `[N]` fold of each row.
        neighbours: larger classes that a class may borrow from.
    """
    n, k = len(y), int(y.max(initial=-1)) + 1
    score, proposed = np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
    sharing: list[NDArray[np.float64]] = []
    labelled = finite_rows(features) & (y >= 0)
    for one in np.unique(fold):
        known, asked = (np.flatnonzero(labelled & mask) for mask in (fold != one, fold == one))
        if not len(known):
            continue
        gaussians = fit_gaussians(features, y, presumed_clean(features, y, known, k), k)
        means, gamma = shared_means(gaussians.means, gaussians.counts, gaussians.trace, neighbours)
        sharing.append(gamma)
        asked = asked[gaussians.counts[y[asked]] > 0]
        if (gaussians.counts > 0).sum() < 2 or not len(asked):
            continue
        weights, offsets = discriminant(means, gaussians)
        for where, block in blocks(features, asked):
            rows = asked[where]
            density = block @ weights.T + offsets
            proposed[rows] = np.argmax(density, axis=1)
            own = density[np.arange(len(rows)), y[rows]]
            density[np.arange(len(rows)), y[rows]] = -np.inf
            score[rows] = density.max(axis=1) - own
    fitted = np.stack([np.full(k, np.nan), *sharing])
    counted = np.isfinite(fitted).sum(axis=0)
    mean = np.divide(np.nansum(fitted, axis=0), counted, out=np.full(k, np.nan), where=counted > 0)
    return Calibrated(score, proposed, mean)


def optimal_sharing(variance: NDArray[np.float64] | float, gap: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Share of a foreign mean that makes the mixture's expected squared error least.

    `E ||g m' + (1 - g) m^ - m||^2 = g^2 ||m' - m||^2 + (1 - g)^2 tr(S) / n` is least at
    `g = (tr(S) / n) / (tr(S) / n + ||m' - m||^2)`, a shrinkage after James and Stein.

    Args:
        variance: `tr(S) / n`, the expected squared error of the class's own mean.
        gap: `||m' - m||^2`, squared distance of the foreign mean from the true one.
    """
    total = np.asarray(variance + gap, dtype=np.float64)
    return np.divide(variance, total, out=np.zeros_like(total), where=total > 0)


def shared_means(
    means: NDArray[np.float64], counts: NDArray[np.int64], trace: float, neighbours: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each class's mean, moved towards those of the nearest larger classes as far as its own is uncertain.

    The gap to the foreign mean is estimated by `||m' - m^||^2 - tr(S) / n`, at least 0. The largest class, and any of
    its size, keeps its own.

    Args:
        means: `[K, d]`, NaN for a class without samples.
        counts: `[K]` samples behind each.
        trace: of the common covariance.
        neighbours: how many larger classes a class borrows from, weighted by their sizes.

    Returns:
        Means `[K, d]` and the share `[K]` that is borrowed; both NaN for a class without samples.
    """
    shared, sharing = means.copy(), np.where(counts > 0, 0.0, np.nan)
    for k in np.flatnonzero(counts):
        larger = np.flatnonzero(counts > counts[k])
        if not neighbours or not len(larger):
            continue
        order = np.argsort(((means[larger] - means[k]) ** 2).sum(axis=1), kind="stable")
        near = larger[order[:neighbours]]
        foreign = np.average(means[near], axis=0, weights=counts[near])
        variance = trace / counts[k]
        gap = max(float(((foreign - means[k]) ** 2).sum()) - variance, 0.0)
        sharing[k] = optimal_sharing(variance, gap)
        shared[k] = sharing[k] * foreign + (1 - sharing[k]) * means[k]
    return shared, sharing


def discriminant(
    means: NDArray[np.float64], gaussians: ClassGaussians
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights `[K, d]` and offsets `[K]` of the log densities, up to what all classes share; no class priors.

    Args:
        means: `[K, d]`, NaN for a class without samples, whose offset is minus infinity.
        gaussians: whose covariance it is.
    """
    from scipy.linalg import cho_solve

    there = np.isfinite(means).all(axis=1)
    weights, offsets = np.zeros_like(means), np.full(len(means), -np.inf)
    weights[there] = cho_solve((gaussians.factor, True), means[there].T).T
    offsets[there] = -0.5 * (weights[there] * means[there]).sum(axis=1)
    return weights, offsets


def nearest_mean(features: NDArray[Any], y: NDArray[np.int64], fold: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class of the nearest plain mean of the other folds, `[N]`; -1 for a row that isn't finite or has no label."""
    k = int(y.max(initial=-1)) + 1
    proposed = np.full(len(y), -1, dtype=np.int64)
    labelled = finite_rows(features) & (y >= 0)
    for one in np.unique(fold):
        known, asked = (np.flatnonzero(labelled & mask) for mask in (fold != one, fold == one))
        if len(known) and len(asked):
            proposed[asked] = nearest(features, class_means(features, y, known, k)[0], asked)
    return proposed


def weighted_regression(features: NDArray[Any], y: NDArray[np.int64], fold: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class that a class-weighted logistic regression on the other folds gives, `[N]`; -1 for a row not tried.

    Features are centred and given unit mean square together, so that the penalty means the same for every encoder.
    """
    from sklearn.linear_model import LogisticRegression

    proposed = np.full(len(y), -1, dtype=np.int64)
    rows = thinned(np.flatnonzero(finite_rows(features) & (y >= 0)), REGRESSION_ON)
    samples = features[rows].astype(np.float64)
    samples -= samples.mean(axis=0) if len(rows) else 0
    samples /= np.sqrt((samples**2).mean()) if samples.any() else 1
    for one in np.unique(fold[rows]):
        known, asked = fold[rows] != one, fold[rows] == one
        if len(np.unique(y[rows][known])) < 2:
            continue
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000, tol=1e-3)
        with rare_classes():
            proposed[rows[asked]] = model.fit(samples[known], y[rows][known]).predict(samples[asked])
    return proposed


def sharing_by_class(table: pa.Table, sharing: NDArray[np.float64]) -> dict[str, float]:
    """The share that each class borrows, by class id; the ten classes that borrow most, largest first."""
    y, _ = given_labels(table)
    _, first = np.unique(np.where(y >= 0, y, np.iinfo(np.int64).max), return_index=True)
    first = first[np.isfinite(sharing[first])]
    order = first[np.argsort(-sharing[first], kind="stable")][:10]
    return {table.column("labels")[int(row)].as_py()[0]: round(float(sharing[row]), 4) for row in order}


def as_classes(proposed: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices in 0..K-1 as indices in the edition's class list; -1 stays."""
    return np.append(classes, -1)[proposed]


def balanced_accuracy(label: NDArray[np.int64], proposed: NDArray[np.int64]) -> float | None:
    """Mean over the classes of the share of a class's samples that are given its label; None when none was tried."""
    tried = (label >= 0) & (proposed >= 0)
    recalls = [float((proposed[tried & (label == k)] == k).mean()) for k in np.unique(label[tried])]
    return float(np.mean(recalls)) if recalls else None
