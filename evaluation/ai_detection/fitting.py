"""Detectors of generated pictures that are fitted on a part of an edition: linear heads and a small network."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.embeddings.rows import standardised
from variorum.kit.fitting.network import Detector, train
from variorum.kit.sets.accuracy_score import PENALTY, directions

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Pixels

TREES, DEPTH = 80, 6
FARTHEST = 5.0
"""Deviations from the mean beyond which a trivial feature counts no more."""


def probe(features: Array, generated: Bools, fitted: Bools) -> Floats:
    """Scores `[N]` of a logistic regression on embeddings `[N, d]` of length 1, standardised by the fitted rows."""
    x = directions(features)
    return regression(x, generated, fitted, penalty=PENALTY / x.shape[1])


def spectral(features: Array, generated: Bools, fitted: Bools) -> Floats:
    """Scores `[N]` of a logistic regression on log power by frequency `[N, d]`."""
    return regression(features, generated, fitted, penalty=1.0)


def network(pictures: Sequence[Pixels], generated: Bools, fitted: Bools, seed: int, steps: int) -> Floats:
    """Scores `[N]` of a small convolutional network, trained for `steps` on the fitted pictures, all of one size."""
    real = [pictures[n] for n in np.flatnonzero(fitted & ~generated).tolist()]
    made = [pictures[n] for n in np.flatnonzero(fitted & generated).tolist()]
    number = min(len(real), len(made))
    found = Detector(train(made[:number], real[:number], seed=seed, steps=steps).arrays)
    return np.array([found.answer(picture) for picture in pictures])


def trivial(features: Array, generated: Bools, fitted: Bools, seed: int) -> Floats:
    """Scores `[N]` of trivial features `[N, d]`: the mean of a logistic regression and of trees.

    Each is centred and scaled over the pictures that it wasn't fitted on, so that folds can be compared.
    """
    from sklearn.ensemble import RandomForestClassifier

    x, left = np.clip(standardised(features, fitted), -FARTHEST, FARTHEST), ~fitted
    trees = RandomForestClassifier(TREES, max_depth=DEPTH, random_state=seed % 2**32).fit(x[fitted], generated[fitted])
    both = np.stack([regression(x, generated, fitted, penalty=0.05), trees.predict_proba(x)[:, 1]])
    spread = both[:, left].std(axis=1, keepdims=True)
    return np.asarray(((both - both[:, left].mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)).mean(axis=0))


def regression(x: Array, generated: Bools, fitted: Bools, penalty: float) -> Floats:
    """Scores `[N]` of a logistic regression on numbers `[N, d]`, standardised by the fitted rows."""
    from sklearn.linear_model import LogisticRegression

    x = standardised(x, fitted)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        head = LogisticRegression(C=penalty, max_iter=2000).fit(x[fitted], generated[fitted])
    return np.asarray(head.decision_function(x), np.float64)
