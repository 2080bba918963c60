"""Ranks pictures by how large their loss was over a whole training, and tells whether some labels are wrong at all.

Of single epochs the early ones tell wrong labels best and the last ones hardly, and which is best isn't known; their
mean needs no such choice. A mixture of two Gaussians always finds two kinds of pictures, in clean data too, so it is
believed only where two are better than one and stand apart. It is fitted to mean margins: losses are so skewed that
two components always fit them better, however clean the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.labels.classes import less_class_median, most_flagged
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.errors import RecipeError
from variorum.columns import given_labels, vector

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

FEWEST = 20
"""With fewer pictures there is no evidence of anything."""
APART = 2.0
"""Ashman's D of two modes that stand apart (Ashman, Bird & Zepf, AJ 108, 1994)."""


class SmallLoss(CurationStep):
    """A score by mean loss, and flags by a mixture of margins or by the margins of a class that doesn't exist."""

    revision: ClassVar[int] = 2
    scored_by: ClassVar[frozenset[str]] = frozenset({"method", "posterior", "percentile"})

    method: Literal["mixture", "fake_class"] = "mixture"
    """`fake_class` flags margins as low as those of a made-up class; needs `training_dynamics` with `fake_class`."""
    posterior: float = Field(default=0.5, gt=0, lt=1)
    """Least probability of the suspect component for a flag of `mixture`."""
    percentile: float = Field(default=99.0, gt=0, le=100)
    """Of the made-up class's margins, below which `fake_class` flags."""

    def needs(self) -> tuple[str, ...]:
        """The losses and margins."""
        return ("training_dynamics",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score` (the mean loss's rank, in (0, 1)), `posterior` (of a wrong label), `flag`.

        Where there is no evidence of noise, `posterior` is 0 and `mixture` flags nothing; nor does it in classes with
        fewer than five pictures, where `posterior` is NaN.

        Raises:
            RecipeError: `fake_class` without the margins of one.
        """
        if not table.num_rows:
            return {"score": np.zeros(0), "posterior": np.zeros(0), "flag": np.zeros(0, dtype=bool)}
        y, _ = given_labels(table)
        loss, margin = vector(table, "training_dynamics.mean_loss"), vector(table, "training_dynamics.aum")
        posterior, judged = np.where(np.isnan(loss), np.nan, 0.0), np.isfinite(margin)
        found = suspicion(margin[judged], y[judged], ctx.seed_for(self.component_name(), "", "mixture") % 2**32)
        if found is not None:
            posterior[judged] = found
        flag = posterior > self.posterior
        if self.method == "fake_class":
            if "training_dynamics.fake_margin" not in table.column_names:
                raise RecipeError(
                    f"curate.{self.component_name()}: training_dynamics kept no fake_margin; set its fake_class to true"
                )
            fake = vector(table, "training_dynamics.fake_margin")
            flag = below_fake(margin, fake[np.isfinite(fake)], self.percentile)
        return {"score": rank(loss), "posterior": posterior, "flag": flag}

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """Whether there is evidence of noise, the estimated rate, counts, and the classes that are flagged most."""
        name = self.component_name()
        judged = ~np.isnan(vector(table, f"{name}.score"))
        if not judged.any():
            return {"judged": 0}
        flag, posterior = vector(table, f"{name}.flag"), vector(table, f"{name}.posterior")[judged]
        return {
            "judged": int(judged.sum()),
            "evidence_of_noise": bool((posterior > 0).any()),
            "estimated_noise_rate": round(float(np.nanmean(posterior)), 4),
            "flagged": int(flag.sum()),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
        }


def rank(values: Floats) -> Floats:
    """Ranks `[N]` in (0, 1) of the values that aren't NaN; equal values share one."""
    from scipy.stats import rankdata

    ranks, judged = np.full(len(values), np.nan), ~np.isnan(values)
    ranks[judged] = (rankdata(values[judged]) - 0.5) / max(int(judged.sum()), 1)
    return ranks


def suspicion(margin: Floats, y: Ints, seed: int) -> Floats | None:
    """Probability `[N]` that a label is wrong, by its mean margin `[N]`; None without evidence that any is.

    Margins differ from class to class, so each class's median is subtracted first; NaN in classes too small for one. A
    mixture for every class finds two modes in clean ones, easy pictures and hard ones; over all classes together
    those blur into one.
    """
    centred = less_class_median(-np.asarray(margin, dtype=np.float64), y)
    judged = np.isfinite(centred)
    found = upper_mode(centred[judged], seed)
    if found is not None:
        centred[judged] = found
    return None if found is None else centred


def upper_mode(values: Floats, seed: int) -> Floats | None:
    """Posterior `[N]` of the upper of two Gaussians, where two modes are better than one and stand apart, else None.

    Two are better by the Bayesian information criterion, which larger samples satisfy with any skew or heavy tail,
    and apart by Ashman's `D = √2 |μ₁ − μ₂| / √(σ₁² + σ₂²)`, above 2. The posterior never falls as the value rises,
    though far out the wider of two Gaussians would claim everything.
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


def below_fake(margin: Floats, fake: Floats, percentile: float) -> NDArray[np.bool_]:
    """Which margins `[N]` are below a percentile of those of the made-up class (AUM: Pleiss et al., NeurIPS 2020)."""
    if not len(fake):
        return np.zeros(len(margin), dtype=bool)
    return np.asarray(margin < np.percentile(fake, percentile))
