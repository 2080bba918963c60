"""Finds labels that another class's Gaussian explains better; rare classes borrow from similar frequent ones.

After RCAL (Zhang et al., ICCV 2023, arXiv 2211.10955). There are no class priors, so a class isn't suspect for being
rare. How much a class borrows follows from the uncertainty of its own mean, not from a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.kit.embeddings.classes import (
    ClassGaussians,
    class_means,
    fit_gaussians,
    nearest_class,
    presumed_clean,
)
from variorum.kit.embeddings.rows import blocks, finite_rows, thinned
from variorum.kit.labels.classes import flag_figures, rare_classes
from variorum.kit.labels.folds import dealt_folds
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints

FOLDS = 5
REGRESSION_ON = 20_000
"""At most this many samples fit and test the logistic regression, which serves only as a baseline."""


class RepresentationCalibration(Detector):
    """Out-of-fold margins of a linear discriminant with shared class statistics, and two simpler baselines."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score proposed sharing nearest_mean class_weighted", flags="flag"
    )
    """`score` is NaN and `flag` false for unlabelled pictures, the only picture of a class, features that aren't
    finite, or a single class. `proposed` is the class with the highest density. `sharing` is γ of the given label's
    class, averaged over the folds. `nearest_mean` and `class_weighted` are the classes that the baselines predict."""
    revision: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = True

    neighbours: int = Field(default=3, ge=0)
    """Number of nearest larger classes that a class borrows from; 0 shares nothing."""
    baselines: bool = True
    """Whether to evaluate the nearest mean and a class-weighted logistic regression too, to show what the calibration
    adds."""
    grouped: bool = True
    """Whether each group of `duplicates` stays in one fold; variants of one photograph always do."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings and, if `grouped`, the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """`score` (nats by which another class wins), `flag`, `proposed`, `sharing`, and the baselines' proposals.

        Raises:
            RecipeError: no picture has a label.
        """
        features = table["features.embedding"]
        y, classes = table.labels()
        if len(y) and not len(classes):
            raise RecipeError(f"curate.{self.component_name()}: no picture has a label; remove it from the recipe")
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

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Counts, sharing by class, and balanced accuracies against the given labels."""
        label, sharing = table["label"], table["sharing"]
        judged = np.isfinite(table["score"])
        if not judged.any():
            return {"judged": 0}
        accuracies = {
            name: balanced_accuracy(label, table[column])
            for name, column in (
                ("calibrated", "proposed"),
                ("nearest_mean", "nearest_mean"),
                ("class_weighted_regression", "class_weighted"),
            )
            if column in table
        }
        return {
            **flag_figures(table, judged),
            "sharing_by_class": sharing_by_class(table, sharing),
            "balanced_accuracy_against_given_labels": {
                name: None if value is None else round(value, 4) for name, value in accuracies.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Out-of-fold results of the calibrated discriminant.

    Attributes:
        score: `[N]` log density under the best other class minus that under the given label's; NaN if not judged.
        proposed: `[N]` class of the highest density, in 0..K-1; -1 if not judged.
        sharing: `[K]` borrowed share of each class's mean, averaged over the folds; NaN for a class that is never
            fitted.
    """

    score: Floats
    proposed: Ints
    sharing: Floats


def calibrated(features: Array, y: Ints, fold: Ints, *, neighbours: int = 3) -> Calibrated:
    """`score_i = max_{k != y_i} log N(z_i; m_k, S) - log N(z_i; m_{y_i}, S)`, fitted on the other folds.

    The means `m` of presumed clean samples are shared by `shared_means`; `S` is their common Ledoit-Wolf covariance. A
    sample isn't judged without a label or finite features, without another sample of its class in the other folds, or
    if there is only one class.

    Args:
        features: `[N, d]`.
        y: `[N]` given labels in 0..K-1, -1 unlabelled.
        fold: `[N]` fold of each row.
        neighbours: larger classes that a class may borrow from.
    """
    n, k = len(y), int(y.max(initial=-1)) + 1
    score, proposed = np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
    sharing: list[Floats] = []
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
        for part, block in blocks(features, asked):
            rows = asked[part]
            density = block @ weights.T + offsets
            proposed[rows] = np.argmax(density, axis=1)
            own = density[np.arange(len(rows)), y[rows]]
            density[np.arange(len(rows)), y[rows]] = -np.inf
            score[rows] = density.max(axis=1) - own
    fitted = np.stack([np.full(k, np.nan), *sharing])
    counted = np.isfinite(fitted).sum(axis=0)
    mean = np.divide(np.nansum(fitted, axis=0), counted, out=np.full(k, np.nan), where=counted > 0)
    return Calibrated(score, proposed, mean)


def optimal_sharing(variance: Floats | float, gap: Floats | float) -> Floats:
    """Share of another class's mean that minimises the expected squared error of the mixture.

    `E ||g m' + (1 - g) m^ - m||^2 = g^2 ||m' - m||^2 + (1 - g)^2 tr(S) / n` is minimal at
    `g = (tr(S) / n) / (tr(S) / n + ||m' - m||^2)`, a shrinkage after James and Stein.

    Args:
        variance: `tr(S) / n`, the expected squared error of the class's own mean.
        gap: `||m' - m||^2`, squared distance between the other mean and the true one.
    """
    total = np.asarray(variance + gap, dtype=np.float64)
    return np.divide(variance, total, out=np.zeros_like(total), where=total > 0)


def shared_means(means: Floats, counts: Ints, trace: float, neighbours: int) -> tuple[Floats, Floats]:
    """Class means, moved towards those of the nearest larger classes in proportion to their own uncertainty.

    The gap to the borrowed mean is estimated by `||m' - m^||^2 - tr(S) / n`, at least 0. The largest class, and any of
    equal size, keeps its own mean.

    Args:
        means: `[K, d]`, NaN for a class without samples.
        counts: `[K]` samples behind each mean.
        trace: trace of the common covariance.
        neighbours: number of larger classes that a class borrows from, weighted by their sizes.

    Returns:
        Means `[K, d]` and the borrowed share `[K]`; both NaN for a class without samples.
    """
    shared, sharing = means.copy(), np.where(counts > 0, 0.0, np.nan)
    for k in np.flatnonzero(counts):
        larger = np.flatnonzero(counts > counts[k])
        if not neighbours or not len(larger):
            continue
        order = np.argsort(((means[larger] - means[k]) ** 2).sum(axis=1), kind="stable")
        near = larger[order[:neighbours]]
        borrowed = np.average(means[near], axis=0, weights=counts[near])
        variance = trace / counts[k]
        gap = max(float(((borrowed - means[k]) ** 2).sum()) - variance, 0.0)
        sharing[k] = optimal_sharing(variance, gap)
        shared[k] = sharing[k] * borrowed + (1 - sharing[k]) * means[k]
    return shared, sharing


def discriminant(means: Floats, gaussians: ClassGaussians) -> tuple[Floats, Floats]:
    """Weights `[K, d]` and offsets `[K]` of the log densities, up to a term common to all classes; no class priors.

    Args:
        means: `[K, d]`; a class without samples has NaN and gets an offset of -inf.
        gaussians: the covariance.
    """
    from scipy.linalg import cho_solve

    present = np.isfinite(means).all(axis=1)
    weights, offsets = np.zeros_like(means), np.full(len(means), -np.inf)
    weights[present] = cho_solve((gaussians.factor, True), means[present].T).T
    offsets[present] = -0.5 * (weights[present] * means[present]).sum(axis=1)
    return weights, offsets


def nearest_mean(features: Array, y: Ints, fold: Ints) -> Ints:
    """Class `[N]` with the nearest plain mean in the other folds; -1 for a row that isn't finite or has no label."""
    k = int(y.max(initial=-1)) + 1
    proposed = np.full(len(y), -1, dtype=np.int64)
    labelled = finite_rows(features) & (y >= 0)
    for one in np.unique(fold):
        known, asked = (np.flatnonzero(labelled & mask) for mask in (fold != one, fold == one))
        if len(known) and len(asked):
            proposed[asked] = nearest_class(features, class_means(features, y, known, k)[0], asked)
    return proposed


def weighted_regression(features: Array, y: Ints, fold: Ints) -> Ints:
    """Class `[N]` predicted by a class-weighted logistic regression on the other folds; -1 for rows not tested.

    Features are centred and scaled to unit mean square, so that the penalty means the same for every encoder.
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


def sharing_by_class(table: Table, sharing: Floats) -> dict[str, float]:
    """Borrowed share by class id, of the ten classes that borrow most, largest first."""
    y, _ = table.labels()
    _, first = np.unique(np.where(y >= 0, y, np.iinfo(np.int64).max), return_index=True)
    first = first[np.isfinite(sharing[first])]
    order = first[np.argsort(-sharing[first], kind="stable")][:10]
    return {table.column("labels")[int(row)].as_py()[0]: round(float(sharing[row]), 4) for row in order}


def as_classes(proposed: Ints, classes: Ints) -> Ints:
    """Indices in 0..K-1 as indices in the edition's class list; -1 stays."""
    return np.append(classes, -1)[proposed]


def balanced_accuracy(label: Ints, proposed: Ints) -> float | None:
    """Mean recall over the classes; None without a tested sample."""
    tested = (label >= 0) & (proposed >= 0)
    recalls = [float((proposed[tested & (label == k)] == k).mean()) for k in np.unique(label[tested])]
    return float(np.mean(recalls)) if recalls else None
