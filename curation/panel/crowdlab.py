"""Consensus of people and a model on single labels: CROWDLAB, by cleanlab.

With three votes a picture or fewer, the model's voice is worth more than the people's disagreement. For labels that
don't exclude each other, ask cell by cell and let the model vote: `dawid_skene` with `model_votes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SourceError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelConsensus:
    """What `crowdlab` found.

    Attributes:
        labels: consensus `[N]`, -1 where nobody voted.
        quality: how likely the consensus is right, `[N]` in [0, 1], NaN where nobody voted.
        rater_quality: `[J]` in [0, 1], NaN for a rater without votes.
        rater_weight: each rater's say `[J]`, NaN likewise.
        model_weight: the model's say, in the same units.
    """

    labels: Ints
    quality: Floats
    rater_quality: Floats
    rater_weight: Floats
    model_weight: float


def crowdlab(votes: Floats, probabilities: Floats) -> LabelConsensus:
    """Labels that weigh each rater and the model by how well they agree with the rest (Goh et al. 2022, 2210.06812).

    Args:
        votes: `[N, J]` class 0..K-1 that rater j gave picture n, NaN for no vote.
        probabilities: `[N, K]` of a model that hasn't seen the picture, trained on the majority's labels.

    Raises:
        SourceError: shapes that don't fit, a class that the model doesn't know, NaN probabilities of a picture with
            votes, or no picture with two votes: then nothing is known of the raters.
    """
    from cleanlab.multiannotator import get_label_quality_multiannotator

    votes, p = np.asarray(votes, np.float64), np.asarray(probabilities, np.float64)
    if votes.ndim != 2 or p.ndim != 2 or len(votes) != len(p):
        raise SourceError(f"crowdlab: votes {votes.shape} and probabilities {p.shape} need a row a picture")
    given = ~np.isnan(votes)
    classes = np.unique(votes[given])
    if not np.isin(classes, np.arange(p.shape[1])).all():
        raise SourceError(f"crowdlab: votes must be classes 0 to {p.shape[1] - 1}, not {classes.tolist()}")
    if given.sum(axis=1).max(initial=0) < 2:
        raise SourceError("crowdlab: no picture has two votes, so raters can't be weighed; ask a second person on some")
    rows, columns = given.any(axis=1), given.any(axis=0)
    if not np.isfinite(p[rows]).all():
        raise SourceError("crowdlab: the model gives no probabilities for some picture with votes")
    # a last tie would be broken by NumPy's global random state; this way it goes to the lower class
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
