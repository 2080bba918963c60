"""Consensus of people and a model on single labels: CROWDLAB, from cleanlab.

With up to three votes per picture, a model's vote helps more than knowing how the people disagree. If several labels
can be right, ask cell by cell and let the model vote: `dawid_skene` with `model_votes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints


@dataclass(frozen=True, slots=True)
class LabelConsensus:
    """The result of `crowdlab`.

    Attributes:
        labels: `[N]` consensus, -1 without votes.
        quality: `[N]` probability that the consensus is right, NaN without votes.
        rater_quality: `[J]` in [0, 1], NaN for a rater without votes.
        rater_weight: `[J]` weight of each rater, NaN for a rater without votes.
        model_weight: weight of the model, in the same units.
    """

    labels: Ints
    quality: Floats
    rater_quality: Floats
    rater_weight: Floats
    model_weight: float


def crowdlab(votes: Floats, probabilities: Floats) -> LabelConsensus:
    """Consensus labels that weigh raters and model by their agreement with the others (Goh et al. 2022, 2210.06812).

    Args:
        votes: `[N, J]` class 0..K-1 that rater j gave to picture n, NaN for no vote.
        probabilities: `[N, K]` out-of-sample, from a model trained on the majority's labels.

    Raises:
        SourceError: shapes don't match, a vote is no class of the model, a picture with votes has NaN probabilities, or
            no picture has two votes, so raters can't be weighed.
    """
    from cleanlab.multiannotator import get_label_quality_multiannotator

    votes, p = np.asarray(votes, np.float64), np.asarray(probabilities, np.float64)
    if votes.ndim != 2 or p.ndim != 2 or len(votes) != len(p):
        raise SourceError(f"crowdlab: votes {votes.shape} and probabilities {p.shape} need one row per picture")
    given = ~np.isnan(votes)
    classes = np.unique(votes[given])
    if not np.isin(classes, np.arange(p.shape[1])).all():
        raise SourceError(f"crowdlab: votes must be classes 0 to {p.shape[1] - 1}, not {classes.tolist()}")
    if given.sum(axis=1).max(initial=0) < 2:
        raise SourceError("crowdlab: no picture has two votes, so raters can't be weighed; ask a second person on some")
    rows, columns = given.any(axis=1), given.any(axis=0)
    if not np.isfinite(p[rows]).all():
        raise SourceError("crowdlab: some pictures with votes have no probabilities of the model")
    # ties go to the lower class; otherwise cleanlab breaks them by NumPy's global random state
    unequal = p[rows] + np.linspace(1e-9, 0, p.shape[1])
    found = get_label_quality_multiannotator(
        votes[np.ix_(rows, columns)],
        unequal / unequal.sum(axis=1, keepdims=True),
        return_detailed_quality=False,
        return_weights=True,
        verbose=False,
    )
    labels, quality = np.full(len(votes), -1, np.int64), np.full(len(votes), np.nan)
    labels[rows] = found["label_quality"]["consensus_label"]
    quality[rows] = found["label_quality"]["consensus_quality_score"]
    of_raters, weights = np.full((2, votes.shape[1]), np.nan)
    of_raters[columns] = found["annotator_stats"].sort_index()["annotator_quality"]
    weights[columns] = found["annotator_weight"]
    return LabelConsensus(labels, quality, of_raters, weights, float(found["model_weight"]))
