"""Separates the two causes of a large loss: a wrong label, and a foreign picture that belongs to no class.

After LSA (Albert et al., ECCV 2024): in self-supervised features, a hyperplane fitted between large and small losses
has the foreign pictures on one side, beyond the errors of the losses. It never sees a label, so it is blind to wrong
labels: it tells which large losses are foreign pictures, but can't replace the loss. Unlike LSA, a sample's side comes
from a hyperplane fitted without its loss or that of a copy, because with few samples a hyperplane repeats the losses
that it has seen. So agreement with the losses is evidence here, however close.

It is evidence only that a hyperplane separates large losses. If these are mostly wrong labels of some classes, it
separates those classes, and the flag is wrong. So no recipe here acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from variorum.kit.embeddings.rows import BLOCK, finite_rows, thinned
from variorum.kit.labels.classes import less_class_median
from variorum.kit.labels.folds import dealt_folds
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Singles

FOLDS = 5
FIT_ON = 100_000
"""At most this many samples fit a hyperplane; all samples get a margin."""
INVERSE_PENALTY = 1e-4
"""`C` of the logistic regression. Without a penalty the hyperplane repeats its pseudo-labels unless there are many
more samples than features, and even then it is no better."""
SCARCE = 1.0
"""With fewer samples per feature, a hyperplane can repeat any pseudo-labels of the samples that it was fitted on."""
CHANCE = 0.01
"""Largest accepted probability that the hyperplane follows the losses by chance (Fisher's exact test)."""
PRECISION = 0.25
"""Least accepted share of foreign pictures among the flagged; the estimate is too low if many have small losses."""


DEGENERATE = (
    "fewer samples than features: a hyperplane can repeat any losses that it has seen; only the sides of pictures that "
    "it hasn't seen count, and they are told worse than with more pictures"
)


class LinearSeparation(Detector):
    """A large loss on the foreign side of the hyperplane is `ood_like`, on the other side `flip_like`."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="z_posterior margin score proposed pseudo_loss weight samples_a_feature", texts="kind", flags="flag"
    )
    revision: ClassVar[int] = 2

    suspect: float = Field(default=0.95, gt=0.5, lt=1)
    """Posterior of the mode of large losses above which a loss counts as large."""
    sharpening: float = Field(default=2.0, ge=1)
    """Power that a suspect's prediction is raised to when it replaces the label."""
    grouped: bool = True
    """Whether each group of `duplicates` stays in one fold; variants of one photograph always do."""

    def needs(self) -> tuple[str, ...]:
        """Embeddings, losses by epoch, out-of-fold probabilities and, if `grouped`, the groups of copies."""
        return ("features", "training_dynamics", "probabilities", *(["duplicates"] if self.grouped else []))

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """`z_posterior`, `margin`, `kind`, `score`, `flag`, and for suspects `proposed`, `pseudo_loss`, `weight`.

        `score` is the product of the ranks of margin and loss: high where both are, as for a flag.
        `samples_a_feature` is the number of samples that fit a hyperplane over the number of features, the same for
        all pictures.
        """
        y, classes = table.labels()
        name = self.component_name()
        seed = ctx.seed_for(name, "", "mixture") % 2**32
        loss = less_class_median(mean_rank(table["training_dynamics.loss_history"]), y)
        posterior = large_mode(loss, seed)
        large = posterior > self.suspect
        fold = dealt_folds(table, large, FOLDS, ctx.rng(name, "", "folds"), copies=self.grouped)
        features = table["features.embedding"]
        margin = cross_fitted(features, posterior, fold, self.suspect)
        judged = np.isfinite(posterior) & np.isfinite(margin)
        if compare(margin[judged] > 0, large[judged]).informs:
            kind = np.where(judged, kinds(large, margin > 0), "")
            score = np.where(judged, ranks(margin, judged) * ranks(loss, judged), np.nan)
        else:
            kind, score = np.full(len(y), "", dtype=object), np.full(len(y), np.nan)
        probabilities = table["probabilities.p"]
        pseudo_loss = pseudo_losses(probabilities, self.sharpening)
        pseudo_loss[~large] = np.nan
        guessed = np.isfinite(pseudo_loss) & (kind != "ood_like")
        return {
            "z_posterior": posterior,
            "margin": margin,
            "kind": [str(value) for value in kind],
            "score": score,
            "flag": kind == "ood_like",
            "proposed": np.where(guessed, best_class(probabilities, classes), -1),
            "pseudo_loss": pseudo_loss,
            "weight": weights(pseudo_loss, large, seed),
            "samples_a_feature": np.full(len(y), judged.sum() * (1 - 1 / FOLDS) / max(features.shape[1], 1)),
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Agreement of hyperplane and losses, the finding, a warning, and the number of pictures of each kind."""
        posterior, margin = table["z_posterior"], table["margin"]
        judged = np.isfinite(posterior) & np.isfinite(margin)
        comparison = compare(margin[judged] > 0, posterior[judged] > self.suspect)
        kind, ratio = table["kind"], table["samples_a_feature"][:1]
        return {
            "judged": int(judged.sum()),
            "large_losses": int((posterior > self.suspect).sum()),
            "agreement": rounded(comparison.agreement),
            "kappa": rounded(comparison.kappa),
            "estimated_precision": rounded(comparison.precision),
            "probability_by_chance": rounded(comparison.chance),
            "finding": comparison.finding,
            "warning": DEGENERATE if (ratio < SCARCE).any() else "",
            "kinds": {name: int((kind == name).sum()) for name in ("clean", "flip_like", "ood_like", "simple_but_odd")},
            "flagged": int(table["flag"].sum()),
        }


class Comparison(NamedTuple):
    """Agreement of the sides of the hyperplane with the losses; NaN where undefined.

    Attributes:
        agreement: share of samples on which both agree.
        kappa: Cohen's kappa: 1 for full agreement, 0 for agreement by chance. With 3 % noise, 97 % agreement is
            nothing special; kappa accounts for that.
        precision: `1 - P(foreign side | small loss) / P(foreign side | large loss)`: the estimated share of foreign
            pictures among large losses on the foreign side, as wrong labels lie there no more often than right ones.
        chance: probability that large losses lie on the foreign side this often by chance.
    """

    agreement: float
    kappa: float
    precision: float
    chance: float

    @property
    def informs(self) -> bool:
        """Return whether large losses lie on the foreign side of hyperplanes that haven't seen them."""
        return self.precision >= PRECISION and self.chance <= CHANCE

    @property
    def finding(self) -> str:
        """The conclusion for the card."""
        if self.informs:
            return "the hyperplane parts the large losses"
        return "the hyperplane doesn't follow the losses: it can't say which of them are foreign pictures"


def compare(foreign: Bools, large: Bools) -> Comparison:
    """Compare `foreign [N]`, the sides of the hyperplane, with `large [N]`, the losses."""
    from scipy.stats import fisher_exact

    if not large.any() or large.all():
        return Comparison(float((foreign == large).mean()) if len(large) else np.nan, np.nan, np.nan, np.nan)
    agreement = float((foreign == large).mean())
    expected = float(foreign.mean() * large.mean() + (1 - foreign.mean()) * (1 - large.mean()))
    hit = float(foreign[large].mean())
    precision = 1 - float(foreign[~large].mean()) / hit if hit else np.nan
    table = [[int((foreign & side).sum()), int((~foreign & side).sum())] for side in (large, ~large)]
    chance = float(fisher_exact(table, alternative="greater").pvalue)
    return Comparison(agreement, (agreement - expected) / (1 - expected), precision, chance)


def mean_rank(history: Array) -> Floats:
    """Mean over the epochs of each sample's rank by loss `[N, E]`, in (0, 1]; NaN for a sample without losses.

    Ranks, because wrong labels have far larger losses than foreign pictures and would be the only ones in the mode of
    large losses. The mean over all epochs avoids choosing one.
    """
    present = finite_rows(history)
    total = np.where(present, 0.0, np.nan)
    for epoch in history.T:
        total += ranks(np.asarray(epoch, dtype=np.float64), present)
    return np.asarray(total / max(history.shape[1], 1))


def large_mode(values: Floats, seed: int) -> Floats:
    """Posterior `[N]` of the larger of two Gaussian modes, for values `[N]` scaled to [0, 1]; NaN stays NaN.

    It never falls as the value rises; otherwise a wide mode would also claim the values beyond a narrow one. It is 0
    for fewer than three distinct values. Two modes are always fitted, even without noise.
    """
    from sklearn.mixture import GaussianMixture

    posterior = np.full(len(values), np.nan)
    rows = np.flatnonzero(np.isfinite(values))
    posterior[rows] = 0.0
    if len(np.unique(values[rows])) < 3:
        return posterior
    low, high = values[rows].min(), values[rows].max()
    scaled = (values[rows] - low) / (high - low)
    mixture = GaussianMixture(2, max_iter=500, tol=1e-3, reg_covar=5e-4, random_state=seed).fit(scaled[:, None])
    centres = mixture.means_.ravel()
    raw = mixture.predict_proba(np.maximum(scaled, centres.min())[:, None])[:, int(np.argmax(centres))]
    order = np.argsort(scaled, kind="stable")
    posterior[rows[order]] = np.maximum.accumulate(raw[order])
    return posterior


def hyperplane(
    features: Array,
    posterior: Floats,
    suspect: float = 0.95,
    inverse_penalty: float = INVERSE_PENALTY,
) -> Floats:
    """Log-odds `[N]` of the side of the large losses, by a class-balanced logistic regression.

    Features are scaled to unit length and standardised. Samples without a posterior get a margin too.

    Args:
        features: `[N, d]`; the margin of a row that isn't finite is NaN.
        posterior: `[N]`, probability of a large loss; NaN where unknown.
        suspect: posterior above which a sample has a large loss.
        inverse_penalty: `C`; infinite means no penalty.

    Returns:
        `[N]`, positive on the foreign side; all NaN if no loss is large or all are.
    """
    from sklearn.linear_model import LogisticRegression

    finite = finite_rows(features)
    rows = thinned(np.flatnonzero(finite & np.isfinite(posterior)), FIT_ON)
    large = posterior[rows] > suspect
    margin = np.full(len(features), np.nan)
    if not large.any() or large.all():
        return margin
    samples = unit_length(features[rows])
    centre, scale = samples.mean(axis=0), samples.std(axis=0)
    scale[scale == 0] = 1
    samples -= centre
    samples /= scale
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=1000).fit(samples, large)
    asked = np.flatnonzero(finite)
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        margin[block] = model.decision_function((unit_length(features[block]) - centre) / scale)
    return margin


def cross_fitted(features: Array, posterior: Floats, fold: Ints, suspect: float = 0.95) -> Floats:
    """Margins `[N]`, each from a `hyperplane` that was fitted without the sample's fold."""
    margin = np.full(len(features), np.nan)
    for one in np.unique(fold):
        here = fold == one
        margin[here] = hyperplane(features, np.where(here, np.nan, posterior), suspect)[here]
    return margin


def unit_length(features: Array) -> Singles:
    """Rows `[n, d]` scaled to unit length; a row of zeros stays zero."""
    wide = features.astype(np.float32)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(length > 0, length, 1), dtype=np.float32)


def ranks(values: Floats, among: Bools) -> Floats:
    """Rank in (0, 1] of each value `[N]` within the subset `among`; ties share a rank, values outside get NaN."""
    from scipy.stats import rankdata

    rank = np.full(len(values), np.nan)
    rank[among] = rankdata(values[among]) / max(int(among.sum()), 1)
    return rank


def kinds(large: Bools, foreign: Bools) -> Array:
    """Kind `[N]` of each sample by its loss and its side of the hyperplane.

    A small loss on the foreign side is `simple_but_odd`: the hyperplane is known to err there, so people should look.
    """
    names = np.array([["clean", "simple_but_odd"], ["flip_like", "ood_like"]], dtype=object)
    return np.asarray(names[large.astype(int), foreign.astype(int)])


def pseudo_losses(probabilities: Array, sharpening: float) -> Floats:
    """Cross-entropy `[N]` of predictions `[N, K]` with their sharpened selves: `-sum_k q_k log p_k`, `q_k ~ p_k^power`.

    Small for a confident prediction, whose guess may replace the label (PLS, Albert et al., WACV 2023); NaN without a
    prediction.
    """
    losses = np.empty(len(probabilities))
    for start in range(0, len(probabilities), BLOCK):
        p = np.clip(probabilities[start : start + BLOCK].astype(np.float64), 1e-12, 1)
        q = (p / p.max(axis=1, keepdims=True)) ** sharpening
        losses[start : start + BLOCK] = -(q * np.log(p)).sum(axis=1) / q.sum(axis=1)
    return losses


def weights(pseudo_loss: Floats, large: Bools, seed: int) -> Floats:
    """Weight `[N]` in [0, 1] of a sample's training target.

    1 for the given label of a small loss; for a suspect's guess the posterior that its pseudo-loss is in the smaller
    mode; 0 for a suspect without a guess.
    """
    weight = np.ones(len(large))
    weight[large] = np.nan_to_num(1 - large_mode(pseudo_loss[large], seed), nan=0.0)
    return weight


def best_class(probabilities: Array, classes: Ints) -> Ints:
    """Most probable class `[N]`, as an index in the edition's class list; arbitrary for NaN."""
    if not probabilities.shape[1]:
        return np.full(len(probabilities), -1, dtype=np.int64)
    return np.asarray(classes[np.argmax(probabilities, axis=1)])


def rounded(value: float) -> float | None:
    """Four decimal places for the card; None for NaN."""
    return round(value, 4) if np.isfinite(value) else None
