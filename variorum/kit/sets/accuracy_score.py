"""Classification accuracy score: accuracy on real pictures of a classifier trained on generated ones, and the reverse.

Ravuri & Vinyals, NeurIPS 2019, arXiv 1905.10887. They train a ResNet from scratch; here it is a linear head on a frozen
encoder, which takes seconds and is compared with a head trained on the same number of real pictures.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.kit.embeddings.rows import normalised, standardised
from variorum.kit.sets.pictures import Pictures
from variorum.statistics import few_interval

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Singles

PENALTY = 1.0
"""Inverse strength of the L2 penalty, for standardised features divided by the square root of their number."""
LEAST = 1e-6
"""Probability of a label that the loss counts, at least."""


class Told(NamedTuple):
    """Of a test set, whether a head is right, `[n]`, and minus the log of the probability of the label, `[n]`."""

    right: Bools
    loss: Floats


def heads(train: Sequence[Pictures], tests: Sequence[Pictures]) -> list[Told]:
    """For each test set, what a head trained on all of `train` says.

    The head is a logistic regression on embeddings of length 1, standardised by the training set.
    """
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([directions(part.x) for part in train])
    y = np.concatenate([part.y for part in train])
    every = np.concatenate([x, *(directions(test.x) for test in tests)])
    every = standardised(every, np.arange(len(every)) < len(x)) * np.float32(x.shape[1] ** -0.5)
    classes, p = np.unique(y), np.ones((len(every), 1))
    if len(classes) > 1:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # one or two for each class
            p = LogisticRegression(C=PENALTY, max_iter=1000).fit(every[: len(x)], y).predict_proba(every)
    found: list[Told] = []
    for test, end in zip(tests, len(x) + np.cumsum([len(test) for test in tests]), strict=True):
        said = p[end - len(test) : end]
        own = np.where(classes == test.y[:, None], said, 0).sum(axis=1)
        found.append(Told(classes[said.argmax(axis=1)] == test.y, -np.log(np.maximum(own, LEAST))))
    return found


def directions(x: Array) -> Singles:
    """Rows `[n, d]` scaled to length 1; rows that can't be scaled become 0."""
    return np.nan_to_num(normalised(x))


def share(right: Array, confidence: float) -> dict[str, float]:
    """Mean of `[n]` values in [0, 1] with its Wilson score interval: `value`, `low`, `high`; NaN if n is 0.

    The interval covers the choice of the tested pictures, not the choice of the training pictures.
    """
    from scipy.special import ndtri

    n = len(right)
    if not n:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    p, z = float(np.mean(right)), float(ndtri((1 + confidence) / 2))
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return {"value": p, "low": float((centre - half) / (1 + z**2 / n)), "high": float((centre + half) / (1 + z**2 / n))}


def difference(right: Array, other: Array, confidence: float) -> dict[str, float]:
    """Difference of two classifiers' accuracies on the same pictures `[n]`, with its interval over them.

    The interval is the normal one, or the exact one where the two differ on few pictures.
    """
    from scipy.special import ndtri

    gained = right.astype(float) - other
    n = len(gained)
    if n < 2:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    half = float(ndtri((1 + confidence) / 2)) * float(gained.std(ddof=1)) / np.sqrt(n)
    value = float(gained.mean())
    low, high = few_interval(gained[:, None], np.ones((n, 1)), True, (value - half, value + half), confidence)
    return {"value": value, "low": low, "high": high}
