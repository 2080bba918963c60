"""Which classes' labels turn into which, estimated without any true label, from neighbours that share their class.

If a sample and its two nearest neighbours have the same true class, their three labels are independent draws from that
class's row of the transition matrix, and the frequencies of label triples tell the matrix. This is the model of HOC
(Zhu, Song, Liu, "Clusterability as an Alternative to Anchor Points When Learning with Noisy Labels", ICML 2021). HOC
matches first- to third-order frequencies by gradient descent; here the likelihood of the triples is maximised by
expectation-maximisation, which is closer to the truth on digits and takes milliseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecipeError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

MOST_CLASSES = 50
"""There can be K³ different triples, and a step costs K times as much."""
CERTAIN = 0.94
"""Where the search begins: the chance that a label is the true class."""
ENOUGH, MOST_STEPS = 1e-4, 500
"""The search ends when no chance moves by more, or after so many steps."""


def estimate_transition(y: Ints, pairs: NDArray[np.integer[Any]], classes: int) -> tuple[Floats, Floats]:
    """Transition matrix and class shares that make the labels of samples and their two nearest neighbours likeliest.

    Args:
        y: labels `[N]` in 0..K-1, each of which occurs.
        pairs: `[N, 2]`, the two nearest other samples of each.
        classes: K.

    Returns:
        `T [K, K]`, T[i, j] the chance that a sample of class i is labelled j, and `shares [K]` of the true classes.

    Raises:
        RecipeError: more than `MOST_CLASSES` classes.
    """
    if classes > MOST_CLASSES:
        raise RecipeError(
            f"the transition matrix of {classes} classes can't be estimated: there are K³ triples of labels, and the "
            f"limit is {MOST_CLASSES} classes; use the method vote or simifeat_v, or curate groups of classes apart"
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


def trust(transition: Floats, shares: Floats, y: Ints) -> Floats:
    """Chance that a label is right, by label: P(true = i | label = i) = T[i, i] P(true = i) / P(label = i), `[K]`."""
    labelled = np.bincount(y, minlength=len(shares)) / max(1, len(y))
    right = transition.diagonal() * shares
    return np.clip(np.divide(right, labelled, out=np.ones_like(right), where=labelled > 0), 0, 1)
