"""Classification accuracy score: what a classifier trained on generated pictures knows of real ones, and the reverse.

Ravuri & Vinyals, NeurIPS 2019, arXiv 1905.10887. Theirs is a ResNet trained from the first weight; here it is a linear
head on a frozen encoder, which takes seconds and is compared with a head that saw as many real pictures.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.features import normalised, standardised
from evaluation.sets.pictures import Pictures

Rights = NDArray[np.bool_]

PENALTY = 1.0
"""Inverse strength of the L2 penalty, for standardised features over the square root of their number."""


def rights(train: Sequence[Pictures], tests: Sequence[Pictures]) -> list[Rights]:
    """For each test set whether a head trained on all of `train` is right `[n]`.

    The head is a logistic regression on embeddings of length 1, standardised by what it is trained on.
    """
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([directions(part.x) for part in train])
    y = np.concatenate([part.y for part in train])
    if len(np.unique(y)) < 2:
        return [test.y == y[0] for test in tests]
    every = np.concatenate([x, *(directions(test.x) for test in tests)])
    every = standardised(every, np.arange(len(every)) < len(x)) * np.float32(x.shape[1] ** -0.5)
    ends = len(x) + np.cumsum([len(test) for test in tests])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # a picture or two of each
        head = LogisticRegression(C=PENALTY, max_iter=1000).fit(every[: len(x)], y)
    return [
        head.predict(every[end - len(test) : end]) == test.y if len(test) else test.y == -1
        for test, end in zip(tests, ends, strict=True)
    ]


def directions(x: NDArray[Any]) -> NDArray[np.float32]:
    """Rows `[n, d]` at length 1; those without a direction are 0."""
    return np.nan_to_num(normalised(x))


def share(right: NDArray[Any], confidence: float) -> dict[str, float]:
    """A share in [0, 1] with its Wilson score interval, of `[n]` that is 1 or 0; NaN when there is none.

    The interval is over the pictures asked about, not over what else a head might have been trained on.
    """
    from scipy.special import ndtri

    n = len(right)
    if not n:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    p, z = float(np.mean(right)), float(ndtri((1 + confidence) / 2))
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return {"value": p, "low": float((centre - half) / (1 + z**2 / n)), "high": float((centre + half) / (1 + z**2 / n))}


def difference(right: Rights, other: Rights, confidence: float) -> dict[str, float]:
    """Difference of two heads' shares on the same pictures `[n]`, with its normal interval over those."""
    from scipy.special import ndtri

    gained = right.astype(float) - other
    n = len(gained)
    if n < 2:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    half = float(ndtri((1 + confidence) / 2)) * float(gained.std(ddof=1)) / np.sqrt(n)
    value = float(gained.mean())
    return {"value": value, "low": value - half, "high": value + half}
