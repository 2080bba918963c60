"""Three probes of frozen embeddings `[n, d]` of length 1: a linear classifier, retrieval, and classes never seen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.embeddings.episodes import nearest_mean, unit

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints, Singles

COSTS = (0.1, 1.0, 10.0)
"""Values of C of the linear probe, chosen among by cross-validation."""
INNER, AT_ONCE = 3, 256
"""Folds of that, and the fewest pictures of a class to learn from; pictures whose neighbours are sorted at a time."""


def prepared(embeddings: Array, power: bool) -> Singles:
    """Rows `[n, d]` of length 1; with `power`, of the signed square roots of their values."""
    x = np.asarray(embeddings, np.float32)
    return unit(np.sign(x) * np.sqrt(np.abs(x)) if power else x)


def linear(x: Singles, y: Ints, asked: Singles) -> Ints:
    """Classes that one-against-rest linear SVMs give to `asked [m, d]`, fitted on `x [n, d]` and classes `y [n]`."""
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
    """Average precision by cosine, and whether the nearest picture has the class, `[m]` both, by classes `y` of both.

    Pictures of the gallery in the asked one's group don't count. Both are NaN without another of the class.
    """
    precision, first = (np.full(len(asked), np.nan) for _ in range(2))
    for start in range(0, len(asked), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        own = groups[0][part, None] == groups[1]
        order = np.argsort(np.where(own, np.inf, -asked[part] @ gallery.T), axis=1, kind="stable")
        hit = np.take_along_axis((y[0][part, None] == y[1]) & ~own, order, axis=1)
        number = hit.sum(axis=1)
        sums = (hit * np.cumsum(hit, axis=1) / np.arange(1, len(gallery) + 1)).sum(axis=1)
        precision[part] = np.where(number > 0, sums / np.maximum(number, 1), np.nan)
        first[part] = np.where(number > 0, hit[:, 0], np.nan)
    return precision, first


def unlike(x: Singles, y: Ints, known: Sequence[int], asked: Singles) -> Floats:
    """The score of the nearest mean of the known classes, `[m]`: the lower, the less `asked [m, d]` are like any."""
    return np.asarray(_scores(np.stack([x[y == one].mean(axis=0) for one in known]), asked).max(axis=1))


def never_seen(
    train: tuple[Singles, Ints],
    test: tuple[Singles, Ints],
    classes: tuple[Sequence[int], Sequence[int]],
    shots: int,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Floats, Floats] | None:
    """How often pictures of novel classes go to the mean of `shots` drawn pictures that is theirs, `[m]` both.

    First among the means of the novel classes, then among those and the means of all pictures of the known ones. None
    if a class has too few pictures. `classes` are the known and the novel ones.
    """
    (x, y), (asked, truth), (known, novel) = train, test, classes
    own = [np.flatnonzero(y == one) for one in novel]
    if min(map(len, own)) < shots:
        return None
    best, shares = unlike(x, y, known, asked), np.zeros((2, len(asked)))
    for _ in range(draws):
        scores = _scores(np.stack([x[rng.choice(one, shots, replace=False)].mean(axis=0) for one in own]), asked)
        right = np.asarray(novel)[scores.argmax(axis=1)] == truth
        shares += [right, right & (scores.max(axis=1) > best)]
    return shares[0] / draws, shares[1] / draws


def _scores(means: Singles, asked: Singles) -> Floats:
    """`[m, W]` for means `[W, d]`; the largest is that of the nearest mean."""
    weights, offsets = nearest_mean(means[None])
    return np.asarray(asked @ weights[0] + offsets[0], np.float64)
