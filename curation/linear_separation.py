"""Parts what a large loss means: a wrong label, or a picture of no class.

After LSA (Albert et al., ECCV 2024): in self-supervised features foreign pictures lie on one side of a hyperplane,
which is fitted between large and small losses and generalises past their errors. It never sees a label, so it is
blind to flips: it says which large losses are foreign pictures, and never takes the loss's place. Unlike there, a
sample's side is told by a hyperplane that hasn't seen its loss, nor that of a copy: with few samples one that has
repeats it. So agreement with the losses is evidence here, however close.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.gaussians.classes import BLOCK, finite_rows, thinned
from curation.labels.classes import less_class_median
from curation.labels.folds import dealt_folds
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

FOLDS = 5
FIT_ON = 100_000
"""Samples that a hyperplane is fitted on, at most; all are told their side."""
INVERSE_PENALTY = 1e-4
"""`C` of the logistic regression. Without a penalty the hyperplane repeats its pseudo-labels wherever there are not
many more samples than features, and does no better than this where there are."""
SCARCE = 1.0
"""Samples a feature below which a hyperplane can repeat any verdicts on the samples that it was fitted on."""
CHANCE = 0.01
"""Largest probability that the hyperplane follows the losses by chance (Fisher's exact test)."""
PRECISION = 0.25
"""Least estimated share of foreign pictures among the flagged; the estimate is low where many have small losses."""


DEGENERATE = (
    "fewer samples than features: a hyperplane can repeat any losses that it has seen; only the sides of pictures that "
    "it hasn't seen count, and they are told worse than with more pictures"
)


class LinearSeparation(CurationStep):
    """Large loss on the foreign side of the hyperplane is `ood_like`, on the other side `flip_like`."""

    suspect: float = Field(default=0.95, gt=0.5, lt=1)
    """Posterior of the large losses' mode above which a loss counts as large."""
    sharpening: float = Field(default=2.0, ge=1)
    """Power that the mean prediction is raised to when it stands in for a suspect's label."""

    grouped: bool = True
    """Whether the groups of the step `duplicates` stay in one fold, as variants of one photograph always do."""

    revision: ClassVar[int] = 2
    scored_by: ClassVar[frozenset[str]] = frozenset({"suspect", "sharpening", "grouped"})

    def needs(self) -> tuple[str, ...]:
        """Embeddings, losses by epoch, out-of-fold probabilities, and the groups of copies."""
        return ("features", "training_dynamics", "probabilities", *(["duplicates"] if self.grouped else []))

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """`z_posterior`, `margin`, `kind`, `score`, `flag`, and for suspects `proposed`, `pseudo_loss`, `weight`.

        `samples_a_feature` is how many a hyperplane was fitted on for each feature, the same for all.

        The score is the product of the margin's rank and the loss's: high where both are, as a flag asks for.
        """
        y, classes = given_labels(table)
        name = self.component_name()
        seed = ctx.seed_for(name, "", "mixture") % 2**32
        loss = less_class_median(mean_rank(matrix(table, "training_dynamics.loss_history")), y)
        posterior = large_mode(loss, seed)
        large = posterior > self.suspect
        fold = dealt_folds(table, large, FOLDS, ctx.rng(name, "", "folds"), copies=self.grouped)
        features = matrix(table, "features.embedding")
        margin = cross_fitted(features, posterior, fold, self.suspect)
        judged = np.isfinite(posterior) & np.isfinite(margin)
        if compare(margin[judged] > 0, large[judged]).informs:
            kind = np.where(judged, kinds(large, margin > 0), "")
            score = np.where(judged, ranks(margin, judged) * ranks(loss, judged), np.nan)
        else:
            kind, score = np.full(len(y), "", dtype=object), np.full(len(y), np.nan)
        probabilities = matrix(table, "probabilities.p")
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

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """How far hyperplane and losses agree, what that says, a warning, and how many there are of each kind."""
        step = self.component_name()
        posterior, margin = vector(table, f"{step}.z_posterior"), vector(table, f"{step}.margin")
        judged = np.isfinite(posterior) & np.isfinite(margin)
        agreement = compare(margin[judged] > 0, posterior[judged] > self.suspect)
        kind, ratio = vector(table, f"{step}.kind"), vector(table, f"{step}.samples_a_feature")[:1]
        return {
            "judged": int(judged.sum()),
            "large_losses": int((posterior > self.suspect).sum()),
            "agreement": rounded(agreement.agreement),
            "kappa": rounded(agreement.kappa),
            "estimated_precision": rounded(agreement.precision),
            "probability_by_chance": rounded(agreement.chance),
            "finding": agreement.finding,
            "warning": DEGENERATE if (ratio < SCARCE).any() else "",
            "kinds": {name: int((kind == name).sum()) for name in ("clean", "flip_like", "ood_like", "simple_but_odd")},
            "flagged": int(vector(table, f"{step}.flag").sum()),
        }


class Agreement(NamedTuple):
    """How the hyperplane's verdicts and the losses' go together; NaN where that can't be told.

    Attributes:
        agreement: share of samples with one verdict from both.
        kappa: Cohen's: 1 when one repeats the other, 0 when they have nothing in common. A share of 97 % in common is
            a matter of course where 3 % are noise; this isn't.
        precision: `1 - P(foreign side | small loss) / P(foreign side | large loss)`: the share of foreign pictures
            among large losses on the foreign side, as wrong labels are found there no more often than right ones.
        chance: probability that large losses lie on the foreign side as often without any reason.
    """

    agreement: float
    kappa: float
    precision: float
    chance: float

    @property
    def informs(self) -> bool:
        """Whether large losses are found on the foreign side, by hyperplanes that haven't seen them."""
        return self.precision >= PRECISION and self.chance <= CHANCE

    @property
    def finding(self) -> str:
        """The same in a sentence."""
        if self.informs:
            return "the hyperplane parts the large losses"
        return "no evidence of foreign pictures: the hyperplane doesn't follow the losses, nothing is flagged"


def compare(foreign: NDArray[np.bool_], large: NDArray[np.bool_]) -> Agreement:
    """How the hyperplane's verdicts `[N]` go with the losses' `[N]`."""
    from scipy.stats import fisher_exact

    if not large.any() or large.all():
        return Agreement(float((foreign == large).mean()) if len(large) else np.nan, np.nan, np.nan, np.nan)
    agreement = float((foreign == large).mean())
    expected = float(foreign.mean() * large.mean() + (1 - foreign.mean()) * (1 - large.mean()))
    hit = float(foreign[large].mean())
    precision = 1 - float(foreign[~large].mean()) / hit if hit else np.nan
    table = [[int((foreign & side).sum()), int((~foreign & side).sum())] for side in (large, ~large)]
    chance = float(fisher_exact(table, alternative="greater").pvalue)
    return Agreement(agreement, (agreement - expected) / (1 - expected), precision, chance)


def mean_rank(history: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the epochs of each sample's rank by loss `[N, E]`, in (0, 1]; NaN for a sample without losses.

    Ranks, because wrong labels lose far more than foreign pictures do: a mode of large losses would be theirs alone.
    The mean over all epochs needs none to stop at.
    """
    there = np.isfinite(history).all(axis=1)
    total = np.where(there, 0.0, np.nan)
    for epoch in history.T:
        total += ranks(epoch.astype(np.float64), there)
    return np.asarray(total / max(history.shape[1], 1))


def large_mode(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Posterior `[N]` of the larger of two Gaussian modes, for values `[N]` scaled to [0, 1]; NaN stays NaN.

    It never falls as the value rises: a wide mode would otherwise claim the far end of a narrow one's side too. It
    is 0 where there are fewer than three different values. There are always two modes, noise or none.
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
    features: NDArray[Any],
    posterior: NDArray[np.float64],
    suspect: float = 0.95,
    inverse_penalty: float = INVERSE_PENALTY,
) -> NDArray[np.float64]:
    """Log-odds `[N]` of the side of the large losses, by a class-balanced logistic regression on their verdicts.

    Features are taken at unit length and standardised. Samples without a posterior are told their side too.

    Args:
        features: `[N, d]`; the margin of a row that isn't finite is NaN.
        posterior: `[N]` of a large loss; NaN where it isn't known.
        suspect: posterior above which a sample is put on the far side.
        inverse_penalty: `C`; infinite for no penalty.

    Returns:
        `[N]`, positive on the foreign side; all NaN where all losses are on one side.
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
    told = np.flatnonzero(finite)
    for start in range(0, len(told), BLOCK):
        block = told[start : start + BLOCK]
        margin[block] = model.decision_function((unit_length(features[block]) - centre) / scale)
    return margin


def cross_fitted(
    features: NDArray[Any], posterior: NDArray[np.float64], fold: NDArray[np.int64], suspect: float = 0.95
) -> NDArray[np.float64]:
    """Margins `[N]` by `hyperplane`, each from one that was fitted without the sample's fold `[N]`."""
    margin = np.full(len(features), np.nan)
    for one in np.unique(fold):
        here = fold == one
        margin[here] = hyperplane(features, np.where(here, np.nan, posterior), suspect)[here]
    return margin


def unit_length(features: NDArray[Any]) -> NDArray[np.float32]:
    """Rows `[n, d]` scaled to unit length; a row of zeros stays."""
    wide = features.astype(np.float32)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(length > 0, length, 1), dtype=np.float32)


def ranks(values: NDArray[np.float64], among: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Rank of each value `[N]` among some of them, in (0, 1]; equal values share one, the others have none."""
    from scipy.stats import rankdata

    rank = np.full(len(values), np.nan)
    rank[among] = rankdata(values[among]) / max(int(among.sum()), 1)
    return rank


def kinds(large: NDArray[np.bool_], foreign: NDArray[np.bool_]) -> NDArray[Any]:
    """What a sample `[N]` is, by its loss and its side of the hyperplane.

    A small loss on the foreign side is `simple_but_odd`: where the hyperplane is known to err, and for people to see.
    """
    names = np.array([["clean", "simple_but_odd"], ["flip_like", "ood_like"]], dtype=object)
    return np.asarray(names[large.astype(int), foreign.astype(int)])


def pseudo_losses(probabilities: NDArray[Any], sharpening: float) -> NDArray[np.float64]:
    """Cross-entropy `[N]` of predictions `[N, K]` with themselves, sharpened: `-sum_k q_k log p_k`, `q_k ~ p_k^power`.

    Small where the prediction is sure of itself, so that its guess may stand in for the label (PLS, Albert et al.,
    WACV 2023); NaN where there is no prediction.
    """
    losses = np.empty(len(probabilities))
    for start in range(0, len(probabilities), BLOCK):
        p = np.clip(probabilities[start : start + BLOCK].astype(np.float64), 1e-12, 1)
        q = (p / p.max(axis=1, keepdims=True)) ** sharpening
        losses[start : start + BLOCK] = -(q * np.log(p)).sum(axis=1) / q.sum(axis=1)
    return losses


def weights(pseudo_loss: NDArray[np.float64], large: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """Weight `[N]` in [0, 1] of what a sample is trained towards.

    1 for the given label of a small loss; for a suspect's guess the posterior that its pseudo-loss is of the smaller
    mode; 0 for a suspect without a guess.
    """
    weight = np.ones(len(large))
    weight[large] = np.nan_to_num(1 - large_mode(pseudo_loss[large], seed), nan=0.0)
    return weight


def best_class(probabilities: NDArray[Any], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class of the highest probability `[N]`, as an index in the edition's class list; of NaN, any."""
    if not probabilities.shape[1]:
        return np.full(len(probabilities), -1, dtype=np.int64)
    return np.asarray(classes[np.argmax(probabilities, axis=1)])


def rounded(value: float) -> float | None:
    """For the card: four places, nothing for NaN."""
    return round(value, 4) if np.isfinite(value) else None
