"""Out-of-sample class probabilities for every picture, from linear heads on the embeddings.

A head that has seen a picture's label, or that of a copy, repeats it and hides a wrong one. So every picture is judged
by a head fitted without its fold, and copies and variants of one photograph share a fold. One temperature calibrates
the logits (Guo et al., ICML 2017, arXiv 1706.04599).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.kit.embeddings.rows import normalised, standardised
from variorum.kit.labels.classes import id_ranks, rare_classes
from variorum.kit.labels.folds import dealt_folds
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints, Reals


BINS = 15
"""Number of bins of the calibration error."""
STRENGTHS = (1.0, 10.0, 100.0)
"""Values of `c` to choose from."""
CHOSEN_ON = 20_000
"""At most this many pictures are used to choose `c`."""
FLOOR = 1e-6
"""Lower bound of probabilities in a log loss; for a class of one picture they are 0 by construction."""


class Probabilities(Detector):
    """The column `p` `[N, K]`: probabilities over the classes that occur, from heads fitted without the picture."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="self_confidence confidence predicted uncalibrated_self_confidence uncalibrated_confidence c",
        others="p",
    )
    revision: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = True

    grouped: bool = True
    """Whether each group of `duplicates` stays in one fold; variants of one photograph always do."""
    folds: int = Field(default=5, ge=2)
    """Number of folds and of heads; each head is fitted on the other folds."""
    c: float | None = Field(default=None, gt=0)
    """Inverse strength of the L2 penalty, for standardised features divided by the square root of their number. By
    default the value in `STRENGTHS` whose calibrated heads have the least log loss on pictures they haven't seen."""
    fit_on: int = Field(default=200_000, ge=1)
    """A head is fitted on at most this many pictures; of more, the same share of every class is drawn."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings and, if `grouped`, the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `p`, `self_confidence` (p of the given label), `confidence` (the highest p), `predicted`.

        `uncalibrated_self_confidence` and `uncalibrated_confidence` are the same before calibration, `c` is the
        inverse strength of the penalty. A picture without a label or a usable embedding gets NaN, and -1 for
        `predicted`.

        Raises:
            RecipeError: no picture has a label.
        """
        n = len(table)
        y, classes = table.labels()
        if n and not len(classes):
            raise RecipeError(f"curate.{self.component_name()}: no picture has a label; remove it from the recipe")
        p = np.full((n, max(len(classes), 1)), np.nan, dtype=np.float32)
        raw = p.copy()
        c = self.c or math.nan
        if n:
            x = normalised(table["features.embedding"])
            rows = np.flatnonzero((y >= 0) & ~np.isnan(x[:, 0]))
            rows = rows[np.argsort(id_ranks(table)[rows])]
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

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Accuracy, log loss and calibration error against the given labels, before and after calibration."""
        judged = ~np.isnan(table["self_confidence"])
        if not judged.any():
            return {"judged": 0}
        right = (table["predicted"] == table["label"])[judged]
        figures: dict[str, Json] = {"judged": int(judged.sum()), "accuracy": round(float(right.mean()), 4)}
        figures["c"] = float(table["c"][0])
        for when in ("uncalibrated_", ""):
            own = table[f"{when}self_confidence"][judged]
            highest = table[f"{when}confidence"][judged]
            figures[f"{when}log_loss"] = round(float(-np.log(np.maximum(own, FLOOR)).mean()), 4)
            figures[f"{when}calibration_error"] = round(calibration_error(highest, right), 4)
        return figures


def out_of_fold_logits(
    x: Reals, y: Ints, k: int, fold: Ints, c: float, fit_on: int, rng: np.random.Generator
) -> Floats:
    """Logits `[N, K]` from logistic regressions on the samples of the other folds.

    Args:
        x: finite features `[N, d]`; they are standardised over the samples that a head is fitted on.
        y: labels `[N]` in 0..k-1.
        k: number of classes. A class that only occurs in one fold has logit -inf there.
        fold: `[N]`. With a single fold the logits are NaN.
        c: inverse strength of the L2 penalty, for features of about unit length.
        fit_on: a head is fitted on at most this many samples.
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


def best_strength(x: Reals, y: Ints, k: int, fold: Ints, rng: np.random.Generator) -> float:
    """The value in `STRENGTHS` with the least log loss out of fold, after calibration.

    Wrong labels count against a head that memorises, as no head has seen the labels that it is measured by. Arguments
    as for `out_of_fold_logits`.
    """
    if not len(y):
        return STRENGTHS[0]
    some = same_share(y, CHOSEN_ON, rng)
    x, y, fold = x[some], y[some], fold[some]
    losses = []
    for c in STRENGTHS:
        logits = out_of_fold_logits(x, y, k, fold, c, CHOSEN_ON, rng)
        said = softmax(logits / temperature(logits, y))[np.arange(len(y)), y]
        losses.append(-np.log(np.maximum(said, FLOOR)).mean())
    return STRENGTHS[int(np.argmin(losses))]


def same_share(y: Ints, most: int, rng: np.random.Generator) -> Bools:
    """Mask `[N]` of about `most` samples: the same share of every class, but at least one."""
    if len(y) <= most:
        return np.ones(len(y), dtype=bool)
    order = np.lexsort((rng.permutation(len(y)), y))
    counts = np.bincount(y)
    place = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = np.zeros(len(y), dtype=bool)
    taken[order] = place < np.maximum(counts * most // len(y), 1)[y[order]]
    return taken


def temperature(logits: Reals, y: Ints) -> float:
    """The T in [1/20, 20] with the least mean log loss of `softmax(logits / T)`, for logits `[N, K]`.

    Only samples with a finite logit for their own class count; T is 1.0 without such samples or with one class.
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


def softmax(logits: Reals) -> Reals:
    """Probabilities `[N, K]`; a logit of -inf becomes 0, a row of NaN stays NaN."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def calibration_error(confidence: Reals, right: Bools) -> float:
    """Expected calibration error: gap between confidence and accuracy in 15 bins of confidence, weighted by size."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(gap).sum() / len(right))
