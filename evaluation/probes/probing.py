"""Three probes of frozen embeddings `[n, d]` of length 1: a linear classifier, retrieval, and classes never seen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.embeddings.episodes import nearest_mean, unit

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Singles

COSTS = (0.1, 1.0, 10.0)
"""Penalties C of the linear probe, chosen among by cross-validation."""
INNER = 3
"""Folds of that cross-validation, and the fewest pictures of a class to learn from."""
AT_ONCE = 256
"""Pictures whose neighbours are sorted at a time."""


def prepared(embeddings: Array, power: bool) -> Singles:
    """Rows `[n, d]` of length 1; with `power`, of the signed square roots of their values."""
    x = np.asarray(embeddings, np.float32)
    return unit(np.sign(x) * np.sqrt(np.abs(x)) if power else x)


def linear(x: Singles, y: Ints, asked: Singles) -> Ints:
    """Classes that one-against-rest linear SVMs give to `asked [m, d]`, fitted on `x [n, d]` and classes `y [n]`.

    C is chosen among `COSTS` by threefold cross-validation; each class has three rows or more.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.svm import LinearSVC

    search = GridSearchCV(LinearSVC(random_state=0), {"C": COSTS}, cv=StratifiedKFold(INNER))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(search.fit(x, y).predict(asked), np.int64)


def retrieval(
    asked: Singles, gallery: Singles, y: tuple[Ints, Ints], groups: tuple[Ints, Ints]
) -> tuple[Floats, Floats]:
    """Average precision, and whether the nearest picture has the class, `[m]` both, by cosine.

    They are NaN for a picture without another of its class in the gallery.

    Args:
        asked: `[m, d]`.
        gallery: `[n, d]`.
        y: classes of both.
        groups: photographs of both; the gallery's pictures of the asked one's own photograph don't count.
    """
    precision, first = (np.full(len(asked), np.nan) for _ in range(2))
    ranks = np.arange(1, len(gallery) + 1)
    for start in range(0, len(asked), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        own = groups[0][part, None] == groups[1]
        similar = np.where(own, -np.inf, asked[part] @ gallery.T)
        order = np.argsort(-similar, axis=1, kind="stable")
        hit = np.take_along_axis((y[0][part, None] == y[1]) & ~own, order, axis=1)
        number = hit.sum(axis=1)
        found = number > 0
        sums = (hit * np.cumsum(hit, axis=1) / ranks).sum(axis=1)
        precision[part][found] = (sums / np.maximum(number, 1))[found]
        first[part][found] = hit[found, 0]
    return precision, first


def unlike(x: Singles, y: Ints, known: Sequence[int], asked: Singles) -> Floats:
    """The score of the nearest mean of the known classes, `[m]`: the lower, the less `asked [m, d]` are like any."""
    return np.asarray(_scores(_means(x, y, known)[None], asked)[0].max(axis=1), np.float64)


def never_seen(
    train: tuple[Singles, Ints],
    test: tuple[Singles, Ints],
    classes: tuple[Sequence[int], Sequence[int]],
    shots: int,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Floats, Floats] | None:
    """How often pictures of classes that weren't learnt go to the nearest mean that is theirs, `[m]` both.

    First among the means of the novel classes, then among those of all. None if a class has fewer pictures than shots.

    Args:
        train: embeddings and classes of the pictures to learn from: all of a known class, `shots` of a novel one.
        test: embeddings `[m, d]` and classes of pictures of novel classes.
        classes: the known and the novel ones.
        shots: pictures of a novel class.
        draws: of these pictures; the result is the mean over them.
        rng: draws.
    """
    (x, y), (asked, truth), (known, novel) = train, test, classes
    own = [np.flatnonzero(y == one) for one in novel]
    if min(map(len, own)) < shots:
        return None
    rows = np.stack([[rng.choice(one, shots, replace=False) for one in own] for _ in range(draws)])
    best = unlike(x, y, known, asked)
    among, every = (np.zeros(len(asked)) for _ in range(2))
    for drawn in rows:
        scores = _scores(x[drawn].mean(axis=1)[None], asked)[0]
        right: Bools = np.asarray(novel)[scores.argmax(axis=1)] == truth
        among += right
        every += right & (scores.max(axis=1) > best)
    return among / draws, every / draws


def _means(x: Singles, y: Ints, classes: Sequence[int]) -> Singles:
    return np.stack([x[y == one].mean(axis=0) for one in classes])


def _scores(means: Singles, asked: Singles) -> Singles:
    """`[e, m, W]` for means `[e, W, d]`; the largest is that of the nearest mean."""
    weights, offsets = nearest_mean(means)
    return np.asarray(asked @ weights + offsets[:, None], np.float32)
