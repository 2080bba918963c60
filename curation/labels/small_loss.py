"""Ranks pictures by their mean loss over a whole training, and tests whether any labels are wrong.

Wrong labels stand out best in early epochs and hardly in the last ones. Which epoch is best isn't known, so all are
averaged. A mixture of two Gaussians finds two kinds of pictures in clean data too, so it counts only if two components
fit better than one and are well separated. It is fitted to mean margins, because losses are so skewed that two
components always fit them better, however clean the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from variorum.kit.labels.classes import less_class_median, most_flagged
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints, Reals


FEWEST = 20
"""With fewer pictures nothing is tested."""
APART = 2.0
"""Ashman's D above which two modes are well separated (Ashman, Bird & Zepf, AJ 108, 1994)."""


class SmallLoss(Detector):
    """A score by mean loss, and flags by a mixture of margins or by comparison with a made-up class."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(numbers="score posterior", flags="flag")
    revision: ClassVar[int] = 2

    method: Literal["mixture", "fake_class"] = "mixture"
    """`fake_class` flags margins as low as those of a made-up class; needs `training_dynamics` with `fake_class`."""
    posterior: float = Field(default=0.5, gt=0, lt=1)
    """`mixture` flags a higher posterior of the suspect component."""
    percentile: float = Field(default=99.0, gt=0, le=100)
    """`fake_class` flags margins below this percentile of the made-up class's margins."""

    def needs(self) -> tuple[str, ...]:
        """`training_dynamics`, for losses and margins."""
        return ("training_dynamics",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score` (rank of the mean loss, in (0, 1)), `posterior` (of a wrong label), `flag`.

        Without evidence of noise `posterior` is 0 and `mixture` flags nothing. In classes with fewer than five
        pictures `posterior` is NaN and `mixture` flags nothing either.

        Raises:
            RecipeError: `training_dynamics` stored no margins of a made-up class, which `fake_class` needs.
        """
        if not len(table):
            return {"score": np.zeros(0), "posterior": np.zeros(0), "flag": np.zeros(0, dtype=bool)}
        y, _ = table.labels()
        loss, margin = table["training_dynamics.mean_loss"], table["training_dynamics.aum"]
        posterior, judged = np.where(np.isnan(loss), np.nan, 0.0), np.isfinite(margin)
        found = suspicion(margin[judged], y[judged], ctx.seed_for(self.component_name(), "", "mixture") % 2**32)
        if found is not None:
            posterior[judged] = found
        flag = posterior > self.posterior
        if self.method == "fake_class":
            if "training_dynamics.fake_margin" not in table:
                raise RecipeError(
                    f"curate.{self.component_name()}: training_dynamics stored no fake_margin; "
                    "set its fake_class to true"
                )
            fake = table["training_dynamics.fake_margin"]
            flag = below_fake(margin, fake[np.isfinite(fake)], self.percentile)
        return {"score": rank(loss), "posterior": posterior, "flag": flag}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Return whether there is evidence of noise, the estimated rate, counts, and the most flagged classes."""
        judged = ~np.isnan(table["score"])
        if not judged.any():
            return {"judged": 0}
        flag, posterior = table["flag"], table["posterior"][judged]
        return {
            "judged": int(judged.sum()),
            "evidence_of_noise": bool((posterior > 0).any()),
            "estimated_noise_rate": round(float(np.nanmean(posterior)), 4),
            "flagged": int(flag.sum()),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
        }


def rank(values: Reals) -> Reals:
    """Ranks `[N]` in (0, 1); ties share a rank, NaN stays NaN."""
    from scipy.stats import rankdata

    ranks, judged = np.full(len(values), np.nan), ~np.isnan(values)
    ranks[judged] = (rankdata(values[judged]) - 0.5) / max(int(judged.sum()), 1)
    return ranks


def suspicion(margin: Reals, y: Ints, seed: int) -> Reals | None:
    """Probability `[N]` that a label is wrong, by its mean margin `[N]`; None without evidence that any is.

    Margins differ between classes, so each class's median is subtracted first; NaN in classes too small for a median.
    One mixture per class would find two modes in clean classes, easy and hard pictures; over all classes these merge.
    """
    centred = less_class_median(-np.asarray(margin, dtype=np.float64), y)
    judged = np.isfinite(centred)
    found = upper_mode(centred[judged], seed)
    if found is not None:
        centred[judged] = found
    return None if found is None else centred


def upper_mode(values: Reals, seed: int) -> Reals | None:
    """Posterior `[N]` of the upper of two Gaussians; None unless two fit better than one and are well separated.

    Two must fit better by the Bayesian information criterion, which large samples satisfy with any skew or heavy tail,
    and be separated by Ashman's `D = √2 |μ₁ − μ₂| / √(σ₁² + σ₂²)` above 2. The posterior is made non-decreasing in the
    value, as the wider of two Gaussians would otherwise claim both ends.
    """
    from sklearn.mixture import GaussianMixture

    if len(values) < FEWEST or np.ptp(values) <= 0:
        return None
    x = ((values - values.min()) / np.ptp(values))[:, None]
    one, two = (GaussianMixture(n, reg_covar=1e-5, max_iter=500, random_state=seed).fit(x) for n in (1, 2))
    mean, variance = two.means_[:, 0], two.covariances_[:, 0, 0]
    apart = np.sqrt(2) * abs(mean[0] - mean[1]) / np.sqrt(variance.sum())
    if two.bic(x) >= one.bic(x) or apart <= APART:
        return None
    order = np.argsort(values, kind="stable")
    upper = np.where(x[order, 0] > mean.min(), two.predict_proba(x[order])[:, mean.argmax()], 0.0)
    posterior = np.empty(len(values))
    posterior[order] = np.maximum.accumulate(upper)
    return posterior


def below_fake(margin: Reals, fake: Reals, percentile: float) -> Bools:
    """Mask `[N]` of margins below a percentile of the made-up class's margins (AUM: Pleiss et al., NeurIPS 2020)."""
    if not len(fake):
        return np.zeros(len(margin), dtype=bool)
    return np.asarray(margin < np.percentile(fake, percentile))
