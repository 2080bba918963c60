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

from curation.dynamics.figures import most_flagged
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.errors import RecipeError
from variorum.columns import given_labels, vector

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

OWN_FIT = 200
"""A class with as many pictures gets a mixture of its own; the others share one, less their medians."""
FEWEST = 20
"""With fewer pictures there is no evidence of anything."""
APART = 2.0
"""Ashman's D of two modes that stand apart (Ashman, Bird & Zepf, AJ 108, 1994)."""


class SmallLoss(CurationStep):
    """A score by mean loss, and flags by a mixture of margins or by the margins of a class that doesn't exist."""

    scored_by: ClassVar[frozenset[str]] = frozenset({"method", "posterior", "percentile"})

    method: Literal["mixture", "fake_class"] = "mixture"
    """`fake_class` flags margins as low as those of pictures in a made-up class; needs `training_dynamics.fake_class`."""
    posterior: float = Field(default=0.5, gt=0, lt=1)
    """Least probability of the suspect component for a flag of `mixture`."""
    percentile: float = Field(default=99.0, gt=0, le=100)
    """Of the made-up class's margins, below which `fake_class` flags."""

    def needs(self) -> tuple[str, ...]:
        """The losses and margins."""
        return ("training_dynamics",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score` (the mean loss's rank, in (0, 1)), `posterior` (of a wrong label), `evidence`, `flag`.

        Where there is no evidence of noise, `posterior` is 0 and nothing is flagged.

        Raises:
            RecipeError: `fake_class` without the margins of one.
        """
        n = table.num_rows
        if not n:
            return {
                "score": np.zeros(0),
                "posterior": np.zeros(0),
                "evidence": np.zeros(0, bool),
                "flag": np.zeros(0, bool),
            }
        y, _ = given_labels(table)
        score = vector(table, "training_dynamics.mean_loss")
        margin = vector(table, "training_dynamics.aum")
        judged = np.isfinite(margin)
        posterior, evidence = np.full(n, np.nan), np.zeros(n, dtype=bool)
        posterior[~np.isnan(score)] = 0.0
        seed = ctx.seed_for(self.component_name(), "", "mixture") % 2**32
        posterior[judged], evidence[judged] = suspicion(margin[judged], y[judged], seed)
        flag = evidence & (posterior > self.posterior)
        if self.method == "fake_class":
            if "training_dynamics.fake_margin" not in table.column_names:
                raise RecipeError(
                    f"curate.{self.component_name()}: training_dynamics kept no fake_margin; set its fake_class to true"
                )
            fake = vector(table, "training_dynamics.fake_margin")
            flag = below_fake(margin, fake[np.isfinite(fake)], self.percentile)
        return {"score": score, "posterior": posterior, "evidence": evidence, "flag": flag}

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """Whether there is evidence of noise, the estimated rate, counts, and the classes that are flagged most."""
        name = self.component_name()
        judged = ~np.isnan(vector(table, f"{name}.score"))
        if not judged.any():
            return {"judged": 0}
        flag, evidence = vector(table, f"{name}.flag"), vector(table, f"{name}.evidence")
        return {
            "judged": int(judged.sum()),
            "evidence_of_noise": bool(evidence.any()),
            "estimated_noise_rate": round(float(vector(table, f"{name}.posterior")[judged].mean()), 4),
            "flagged": int(flag.sum()),
            "most_flagged_classes": most_flagged(table, flag, judged),
        }


def suspicion(margin: Floats, y: Ints, seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Probability `[N]` that a label is wrong, by its mean margin `[N]`, and whether there is evidence that any is.

    Margins differ from class to class, so a class with at least 200 labels is judged by itself, and of the others
    the class's median is subtracted first.
    """
    posterior, evidence = np.zeros(len(margin)), np.zeros(len(margin), dtype=bool)
    counts = np.bincount(y, minlength=1)
    values = -np.asarray(margin, dtype=np.float64)
    small = counts[y] < OWN_FIT
    for k in np.flatnonzero(counts):
        if counts[k] < OWN_FIT:
            values[y == k] -= np.median(values[y == k])
    for rows in (np.flatnonzero(small), *(np.flatnonzero(y == k) for k in np.flatnonzero(counts >= OWN_FIT))):
        found = upper_mode(values[rows], seed)
        if found is not None:
            posterior[rows], evidence[rows] = found, True
    return posterior, evidence


def upper_mode(values: Floats, seed: int) -> Floats | None:
    """Posterior `[N]` of the upper of two Gaussians, where two modes are better than one and stand apart, else None.

    Two are better by the Bayesian information criterion, which larger samples satisfy with any skew or heavy tail,
    and apart by Ashman's `D = √2 |μ₁ − μ₂| / √(σ₁² + σ₂²)`, above 2. A value below the lower mode's mean is never of
    the upper one, though a wide Gaussian would claim it.
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
    return np.where(x[:, 0] > mean.min(), two.predict_proba(x)[:, mean.argmax()], 0.0)


def below_fake(margin: Floats, fake: Floats, percentile: float) -> NDArray[np.bool_]:
    """Which margins `[N]` are below a percentile of those of the made-up class (AUM: Pleiss et al., NeurIPS 2020)."""
    if not len(fake):
        return np.zeros(len(margin), dtype=bool)
    return np.asarray(margin < np.percentile(fake, percentile))
