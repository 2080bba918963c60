"""Out-of-sample class probabilities for every picture, from linear heads on the embeddings.

A head that has seen a picture's label, or that of a copy, repeats it and hides a wrong one. So every picture is judged
by a head fitted without its fold, and copies and variants of one photograph share a fold. One temperature calibrates
the logits (Guo et al., ICML 2017, arXiv 1706.04599). Heads are fitted on a sample of a large edition, and judge all
pictures of their fold, block by block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from variorum.kit.embeddings.rows import mean_and_deviation, normalised, rescaled, usable_rows
from variorum.kit.labels.classes import FEWEST, LARGE, blank, id_ranks, rare_classes, same_share
from variorum.kit.labels.folds import dealt_folds
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints, Reals, Singles


BINS = 15
"""Number of bins of the calibration error."""
STRENGTHS = (1.0, 10.0, 100.0)
"""Values of `c` to choose from."""
CHOSEN_ON = 20_000
"""At most this many pictures are used to choose `c`."""
JUDGED = 1 << 16
"""Pictures that are judged at a time."""
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
    """A head is fitted on about this many pictures; of more, the same share of every class is drawn, and in editions
    with more than 200,000 pictures at least 50 of each class."""

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
        k = max(len(classes), 1)
        like, c = np.empty((0, k), dtype=np.float32), self.c or math.nan
        found: dict[str, Any] = {
            "p": blank(like, n, ctx.store),
            "self_confidence": blank(like[:, 0], n),
            "confidence": blank(like[:, 0], n),
            "predicted": np.full(n, -1, dtype=np.int64),
            "uncalibrated_self_confidence": blank(like[:, 0], n),
            "uncalibrated_confidence": blank(like[:, 0], n),
        }
        if n:
            embedding = table["features.embedding"]
            rows = np.flatnonzero((y >= 0) & usable_rows(embedding))
            rows = rows[np.argsort(id_ranks(table)[rows])]
            given = y[rows]
            rng = ctx.rng(self.component_name(), "", "folds")
            usable = np.full(n, -1)
            usable[rows] = given
            fold = dealt_folds(table, usable, self.folds, rng, copies=self.grouped)[rows]
            if not self.c:
                some = same_share(given, CHOSEN_ON, rng)
                c = best_strength(normalised(embedding, rows[some]), given[some], k, fold[some], rng)

            def read(places: Ints) -> Singles:
                return normalised(embedding, rows[places])

            heads = fitted_heads(read, given, fold, c, self.fit_on, rng)
            warmth = temperature(*sampled_logits(heads, read, given, fold, k, rng))
            # a large edition is read in the order of its table, a small one in that of its ids
            order = np.argsort(rows) if len(rows) > LARGE else np.arange(len(rows))
            for places, logits in out_of_fold(heads, read, order, fold, k):
                here, own = rows[places], (np.arange(len(places)), given[places])
                raw, p = softmax(logits).astype(np.float32), softmax(logits / warmth).astype(np.float32)
                judged = ~np.isnan(p[:, 0])
                found["p"][here] = p
                found["self_confidence"][here], found["confidence"][here] = p[own], p.max(axis=1)
                found["uncalibrated_self_confidence"][here] = raw[own]
                found["uncalibrated_confidence"][here] = raw.max(axis=1)
                found["predicted"][here[judged]] = classes[p[judged].argmax(axis=1)]
        return {**found, "c": np.full(n, c)}

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


class Head(NamedTuple):
    """A logistic regression on standardised features.

    Attributes:
        classes: those that it knows.
        mean: `[d]` of the features that it was fitted on.
        deviation: `[d]` of the same.
        model: None if it knows one class only.
    """

    classes: Ints
    mean: Singles
    deviation: Singles
    model: Any

    def logits(self, x: Singles, k: int) -> Floats:
        """Logits `[n, K]` for features `[n, d]`; -inf for a class that it doesn't know."""
        logits = np.full((len(x), k), -np.inf)
        if self.model is None:
            logits[:, self.classes] = 0
            return logits
        said = self.model.decision_function(scaled(x, self.mean, self.deviation))
        if len(self.classes) == 2:
            said = np.column_stack([np.zeros(len(x)), said])
        logits[:, self.classes] = said
        return logits


def scaled(x: Singles, mean: Singles, deviation: Singles) -> Singles:
    """Standardised features of about unit length."""
    return rescaled(x, lambda block: (block - mean) / deviation * np.float32(x.shape[1] ** -0.5))


def fitted_heads(
    read: Callable[[Ints], Singles], y: Ints, fold: Ints, c: float, fit_on: int, rng: np.random.Generator
) -> dict[int, Head]:
    """For each fold a head that is fitted on the samples of the other folds; none if there is a single fold.

    Args:
        read: gives the finite features of some samples.
        y: labels `[N]`.
        fold: `[N]`.
        c: inverse strength of the L2 penalty, for features of about unit length.
        fit_on: a head is fitted on about this many samples.
        rng: draws them.
    """
    from sklearn.linear_model import LogisticRegression

    heads, least = {}, FEWEST if len(y) > LARGE else 1
    for held_out in np.unique(fold).tolist():
        train = np.flatnonzero(fold != held_out)
        if not len(train):
            continue
        train = train[same_share(y[train], fit_on, rng, least)]
        classes, x = np.unique(y[train]), read(train)
        mean, deviation = mean_and_deviation(x)
        model = None
        if len(classes) > 1:
            with rare_classes():
                model = LogisticRegression(C=c, max_iter=1000).fit(scaled(x, mean, deviation), y[train])
        heads[held_out] = Head(classes, mean, deviation, model)
    return heads


def out_of_fold(
    heads: Mapping[int, Head], read: Callable[[Ints], Singles], order: Ints, fold: Ints, k: int
) -> Iterator[tuple[Ints, Floats]]:
    """Samples of one fold at a time, in the given order, with their logits `[n, K]`; none for a fold without a head."""
    for held_out, head in heads.items():
        asked = order[fold[order] == held_out]
        for start in range(0, len(asked), JUDGED):
            places = asked[start : start + JUDGED]
            yield places, head.logits(read(places), k)


def sampled_logits(
    heads: Mapping[int, Head],
    read: Callable[[Ints], Singles],
    y: Ints,
    fold: Ints,
    k: int,
    rng: np.random.Generator,
) -> tuple[Floats, Ints]:
    """Out-of-fold logits `[n, K]` of all samples, or of some of many, and their labels `[n]`; NaN without a head."""
    some = np.flatnonzero(same_share(y, LARGE, rng))
    logits = np.full((len(some), k), np.nan)
    for places, found in out_of_fold(heads, read, some, fold, k):
        logits[np.searchsorted(some, places)] = found
    return logits, y[some]


def best_strength(x: Reals, y: Ints, k: int, fold: Ints, rng: np.random.Generator) -> float:
    """The value in `STRENGTHS` with the least log loss out of fold, after calibration.

    Wrong labels count against a head that memorises, as no head has seen the labels that it is measured by.

    Args:
        x: finite features `[N, d]` of at most about `CHOSEN_ON` samples.
        y: labels `[N]` in 0..K-1.
        k: number of classes.
        fold: `[N]`.
        rng: as for `fitted_heads`.
    """
    if not len(y):
        return STRENGTHS[0]
    losses = []
    for c in STRENGTHS:
        heads = fitted_heads(x.__getitem__, y, fold, c, len(y), rng)
        logits, _ = sampled_logits(heads, x.__getitem__, y, fold, k, rng)
        said = softmax(logits / temperature(logits, y))[np.arange(len(y)), y]
        losses.append(-np.log(np.maximum(said, FLOOR)).mean())
    return STRENGTHS[int(np.argmin(losses))]


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
    z, given = logits[usable], y[usable]
    loss = np.empty(len(z))

    def mean_loss(log_t: float) -> float:
        for start in range(0, len(z), JUDGED):
            part = slice(start, start + JUDGED)
            said = log_softmax(z[part] / np.exp(log_t), axis=1)
            loss[part] = -said[np.arange(len(said)), given[part]]
        return float(loss.mean())

    found = minimize_scalar(mean_loss, bounds=(-np.log(20), np.log(20)), method="bounded")
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
