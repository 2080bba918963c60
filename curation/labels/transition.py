"""Estimates the label transition matrix from neighbours, without any true label.

If a sample and its two nearest neighbours have the same true class, their three labels are independent draws from that
class's row of the transition matrix, so the frequencies of label triples determine it. This is the model of HOC (Zhu,
Song, Liu, "Clusterability as an Alternative to Anchor Points When Learning with Noisy Labels", ICML 2021). HOC matches
first- to third-order frequencies by gradient descent; here expectation-maximisation maximises the likelihood of the
triples, which is closer to the truth on digits and takes milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Ints, Reals


MOST_CLASSES = 50
"""There are up to K³ different triples, and one iteration costs K times as much."""
CERTAIN = 0.94
"""Initial probability that a label is the true class."""
ENOUGH, MOST_STEPS = 1e-4, 500
"""The search ends when no probability changes by more than this, or after this many iterations."""


def estimate_transition(y: Ints, pairs: NDArray[np.integer[Any]], classes: int) -> tuple[Reals, Reals]:
    """Maximum-likelihood transition matrix and class shares, from the labels of samples and their two nearest.

    Args:
        y: labels `[N]` in 0..K-1; every class occurs.
        pairs: `[N, 2]`, the two nearest other samples of each.
        classes: K.

    Returns:
        `T [K, K]`, where T[i, j] is the probability that a sample of class i is labelled j, and the shares `[K]` of the
        true classes.

    Raises:
        RecipeError: more than `MOST_CLASSES` classes.
    """
    if classes > MOST_CLASSES:
        raise RecipeError(
            f"the transition matrix of {classes} classes can't be estimated: the limit is {MOST_CLASSES}, as there are "
            "K³ triples of labels; use the method vote or simifeat_v, or curate groups of classes separately"
        )
    codes = (y * classes + y[pairs[:, 0]]) * classes + y[pairs[:, 1]]
    different, counts = np.unique(codes, return_counts=True)
    triple = (different // classes**2, different // classes % classes, different % classes)
    transition = np.full((classes, classes), (1 - CERTAIN) / max(1, classes - 1))
    np.fill_diagonal(transition, CERTAIN if classes > 1 else 1)
    shares = np.full(classes, 1 / max(1, classes))
    for _ in range(MOST_STEPS):
        of_class = shares[:, None] * np.prod([transition[:, label] for label in triple], axis=0)
        of_class *= counts / len(y) / np.maximum(of_class.sum(axis=0), np.finfo(float).tiny)
        shares = of_class.sum(axis=1)
        drawn = np.stack([sum(np.bincount(label, row, classes) for label in triple) for row in of_class])
        before, transition = transition, drawn / np.maximum(3 * shares[:, None], np.finfo(float).tiny)
        if np.abs(transition - before).max() < ENOUGH:
            break
    return transition, shares


def trust(transition: Reals, shares: Reals, y: Ints) -> Reals:
    """Probability `[K]` that a label is right: P(true = i | label = i) = T[i, i] P(true = i) / P(label = i)."""
    labelled = np.bincount(y, minlength=len(shares)) / max(1, len(y))
    right = transition.diagonal() * shares
    return np.clip(np.divide(right, labelled, out=np.ones_like(right), where=labelled > 0), 0, 1)
