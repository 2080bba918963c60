"""What the other pictures say of each picture's class: out-of-sample probabilities of a linear head on the embeddings.

A head that has seen a picture's label, or that of its copy, repeats it and hides a wrong one; so every picture is
judged by a head fitted without its fold, and copies and variants of one photograph share a fold. The heads' logits are
calibrated with one temperature (Guo et al., ICML 2017, arXiv 1706.04599).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.features import normalised, standardised
from curation.labels.classes import rare_classes
from curation.labels.folds import dealt_folds
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.errors import RecipeError
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

BINS = 15
"""Of the calibration error."""
STRENGTHS = (1.0, 10.0, 100.0)
CHOSEN_ON = 20_000
"""The most pictures that a strength is chosen on."""
FLOOR = 1e-6
"""Probabilities count as no less in a log loss; a class of one picture has probability 0 by construction."""


class Probabilities(CurationStep):
    """The column `p` `[N, K]` of probabilities over the classes that occur, each picture's from heads without it."""

    revision: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = True
    scored_by: ClassVar[frozenset[str]] = frozenset({"grouped", "folds", "c", "fit_on"})

    grouped: bool = True
    """Whether the groups of the step `duplicates` stay in one fold, as variants of one photograph always do."""
    folds: int = Field(default=5, ge=2)
    """Heads; each is fitted on the other folds."""
    c: float | None = Field(default=None, gt=0)
    """Inverse strength of the L2 penalty, for standardised features over the square root of their number; null takes
    the one of `STRENGTHS` whose calibrated heads have the least log loss on pictures they haven't seen."""
    fit_on: int = Field(default=200_000, ge=1)
    """The most pictures that a head is fitted on; of more, the same share of every class is drawn."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings, and the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `p`, `self_confidence` (of the given label), `confidence` (the highest), `predicted`.

        `uncalibrated_self_confidence` and `uncalibrated_confidence` are those before calibration, `c` is the penalty's
        inverse strength. A picture without a label or a usable embedding gets NaN, and -1 for `predicted`.

        Raises:
            RecipeError: no picture has a label.
        """
        n = table.num_rows
        y, classes = given_labels(table)
        if n and not len(classes):
            raise RecipeError(f"curate.{self.component_name()}: no picture has a label; take the step out")
        p = np.full((n, max(len(classes), 1)), np.nan, dtype=np.float32)
        raw = p.copy()
        c = self.c or math.nan
        if n:
            x = normalised(matrix(table, "features.embedding"))
            rows = np.flatnonzero((y >= 0) & ~np.isnan(x[:, 0]))
            rows = rows[np.argsort(vector(table, "id")[rows], kind="stable")]
            rng = ctx.rng(self.component_name(), "", "folds")
            usable = np.full(n, -1)
            usable[rows] = y[rows]
            fold = dealt_folds(table, usable, self.folds, rng, copies=self.grouped)[rows]
            c = self.c or best_strength(x[rows], y[rows], len(classes), fold, rng)
            logits = out_of_fold_logits(x[rows], y[rows], len(classes), fold, c, self.fit_on, rng)
            raw[rows] = softmax(logits)
            p[rows] = softmax(logits / temperature(logits, y[rows]))
        judged = ~np.isnan(p[:, 0])
        own = np.arange(n), np.maximum(y, 0)
        predicted = np.full(n, -1, dtype=np.int64)
        predicted[judged] = classes[p[judged].argmax(axis=1)]
        return {
            "p": p,
            "self_confidence": p[own],
            "confidence": p.max(axis=1),
            "predicted": predicted,
            "uncalibrated_self_confidence": raw[own],
            "uncalibrated_confidence": raw.max(axis=1),
            "c": np.full(n, c),
        }

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """Accuracy, log loss and calibration error against the given labels, before and after calibration."""
        name = self.component_name()
        judged = ~np.isnan(vector(table, f"{name}.self_confidence"))
        if not judged.any():
            return {"judged": 0}
        right = (vector(table, f"{name}.predicted") == vector(table, "label"))[judged]
        figures: dict[str, Json] = {"judged": int(judged.sum()), "accuracy": round(float(right.mean()), 4)}
        figures["c"] = float(vector(table, f"{name}.c")[0])
        for when in ("uncalibrated_", ""):
            own = vector(table, f"{name}.{when}self_confidence")[judged]
            highest = vector(table, f"{name}.{when}confidence")[judged]
            figures[f"{when}log_loss"] = round(float(-np.log(np.maximum(own, FLOOR)).mean()), 4)
            figures[f"{when}calibration_error"] = round(calibration_error(highest, right), 4)
        return figures


def out_of_fold_logits(
    x: Floats, y: Ints, k: int, fold: Ints, c: float, fit_on: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Logits `[N, K]` of each sample by a logistic regression on the samples of the other folds.

    Args:
        x: finite features `[N, d]`; they are standardised by the samples that a head is fitted on.
        y: labels `[N]` in 0..k-1.
        k: number of classes. One that doesn't occur outside a fold has logit -inf there.
        fold: `[N]`. Where there is but one, nothing can be said and the logits are NaN.
        c: inverse strength of the L2 penalty, for features of about unit length.
        fit_on: the most samples to fit a head on.
        rng: draws them.
    """
    from sklearn.linear_model import LogisticRegression

    logits = np.full((len(y), k), np.nan)
    for held_out in np.unique(fold):
        test = np.flatnonzero(fold == held_out)
        train = np.flatnonzero(fold != held_out)
        if not len(train):
            continue
        train = train[same_share(y[train], fit_on, rng)]
        classes = np.unique(y[train])
        logits[test] = -np.inf
        if len(classes) == 1:
            logits[test, classes[0]] = 0
            continue
        fitted = np.zeros(len(y), dtype=bool)
        fitted[train] = True
        scaled = standardised(x, fitted) * np.float32(x.shape[1] ** -0.5)
        with rare_classes():
            head = LogisticRegression(C=c, max_iter=1000).fit(scaled[train], y[train])
        said = head.decision_function(scaled[test])
        if len(classes) == 2:
            said = np.column_stack([np.zeros(len(test)), said])
        logits[np.ix_(test, classes)] = said
    return logits


def best_strength(x: Floats, y: Ints, k: int, fold: Ints, rng: np.random.Generator) -> float:
    """The one of `STRENGTHS` with the least log loss out of fold, after calibration.

    Arguments as for `out_of_fold_logits`. Wrong labels count against a head that memorises, as no head has seen those
    that it is measured by.
    """
    some = same_share(y, CHOSEN_ON, rng)
    x, y, fold = x[some], y[some], fold[some]
    losses = []
    for c in STRENGTHS:
        logits = out_of_fold_logits(x, y, k, fold, c, CHOSEN_ON, rng)
        said = softmax(logits / temperature(logits, y))[np.arange(len(y)), y]
        losses.append(-np.log(np.maximum(said, FLOOR)).mean())
    return STRENGTHS[int(np.argmin(losses))]


def same_share(y: Ints, most: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which samples `[N]` to take so that about `most` are, the same share of every class but at least one."""
    if len(y) <= most:
        return np.ones(len(y), dtype=bool)
    order = np.lexsort((rng.permutation(len(y)), y))
    counts = np.bincount(y)
    place = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = np.zeros(len(y), dtype=bool)
    taken[order] = place < np.maximum(counts * most // len(y), 1)[y[order]]
    return taken


def temperature(logits: Floats, y: Ints) -> float:
    """The T in [1/20, 20] with the least mean log loss of `softmax(logits / T)`.

    Samples count whose own class has a finite logit `[N, K]`; 1.0 where there are none or only one class.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    own = logits[np.arange(len(y)), y]
    usable = np.isfinite(own)
    if logits.shape[1] == 1 or not usable.any():
        return 1.0
    z, given = logits[usable], (np.arange(int(usable.sum())), y[usable])
    found = minimize_scalar(
        lambda log_t: float(-log_softmax(z / np.exp(log_t), axis=1)[given].mean()),
        bounds=(-np.log(20), np.log(20)),
        method="bounded",
    )
    return float(np.exp(found.x))


def softmax(logits: Floats) -> Floats:
    """Probabilities `[N, K]`; a logit of -inf gives 0, a row of NaN stays NaN."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error: distance of confidence and accuracy in 15 bins of confidence, weighted by size."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(gap).sum() / len(right))
