"""Long-tailed digits with wrong labels, and out-of-fold probabilities for them."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from label_noise import digits
from numpy.typing import NDArray

COLUMNS: dict[str, tuple[float, float, Literal["prior", "uniform"]]] = {
    "rho 20, eta .2, by prior": (20, 0.2, "prior"),
    "rho 50, eta .2, by prior": (50, 0.2, "prior"),
    "rho 20, eta .4, by prior": (20, 0.4, "prior"),
    "rho 50, eta .2, uniform": (50, 0.2, "uniform"),
    "rho 1, eta .2": (1, 0.2, "prior"),
}
"""Head size over tail size, share of wrong labels, and which class a wrong label is of."""


def long_tail(
    rho: float, rate: float, flips: Literal["prior", "uniform"], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Digits whose class sizes fall geometrically to `1 / rho`, with a share `rate` of wrong labels.

    Args:
        rho: size of class 0 over that of class 9.
        rate: share of samples that get another class's label.
        flips: draws wrong labels in proportion to class sizes (`prior`), or uniformly from the other classes.
        rng: draws samples and flips.

    Returns:
        `x [N, 64]`, true classes `[N]`, given labels `[N]`.
    """
    x, y = digits()
    most = np.bincount(y).min()
    sizes = np.maximum(5, np.round(most * rho ** (-np.arange(10) / 9))).astype(int)
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == k))[:size] for k, size in enumerate(sizes)])
    true = y[rows]
    weights = sizes.astype(float) if flips == "prior" else np.ones(10)
    given = true.copy()
    for i in rng.permutation(len(true))[: round(rate * len(true))]:
        others = np.where(np.arange(10) == true[i], 0, weights)
        given[i] = rng.choice(10, p=others / others.sum())
    return x[rows], true, given


def out_of_fold(x: NDArray[np.float64], y: NDArray[np.int64], seed: int, c: float = 0.3) -> NDArray[np.float32]:
    """Out-of-fold probabilities `[N, 10]` of five-fold logistic regression.

    `c` is the inverse of the L2 penalty; a smaller value makes the model less confident.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    p = np.zeros((len(y), 10), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        folds = list(StratifiedKFold(5, shuffle=True, random_state=seed).split(x, y))
    for train, test in folds:
        model = LogisticRegression(C=c, max_iter=1000).fit(x[train], y[train])
        p[test[:, None], model.classes_] = model.predict_proba(x[test])
    return p


def harm(flag: NDArray[np.bool_], true: NDArray[np.int64], given: NDArray[np.int64]) -> dict[str, float]:
    """Precision and recall of the flags, and the flagged share of right labels in the tail (7-9) and head (0-2)."""
    wrong, right = true != given, true == given
    return {
        "precision": float(wrong[flag].mean()) if flag.any() else 1.0,
        "recall": float(flag[wrong].mean()),
        "tail_harm": float(flag[right & (true >= 7)].mean()),
        "head_harm": float(flag[right & (true <= 2)].mean()),
    }
