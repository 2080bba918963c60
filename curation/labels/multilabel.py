"""Wrong and missing labels of pictures that may have several: cleanlab's scores, and a queue of cells for review.

A cell is one picture and one class. It is the unit to ask people about: a picture's score lumps its classes together
and ranks much worse than its cells do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecipeError

Floats = NDArray[np.floating[Any]]
Labels = Sequence[Sequence[int]]


def cell_scores(labels: Labels, p: Floats) -> Floats:
    """How suspect each cell is, `[N, K]` in [0, 1]: one minus the probability of what the labels say of it.

    Args:
        labels: each picture's classes, in 0..K-1; may be none.
        p: out-of-sample probability of each class by itself, `[N, K]`; rows needn't sum to one.

    Raises:
        RecipeError: a label out of range, a value that is no probability.
    """
    from cleanlab.multilabel_classification.rank import get_label_quality_scores_per_class

    return np.asarray(1 - get_label_quality_scores_per_class(_checked(labels, p), p))


def picture_scores(labels: Labels, p: Floats) -> Floats:
    """How suspect each picture is, `[N]` in [0, 1]: its cells averaged from best to worst so that the worst dominate.

    Arguments and errors as for `cell_scores`.
    """
    from cleanlab.multilabel_classification.rank import get_label_quality_scores

    return np.asarray(1 - get_label_quality_scores(_checked(labels, p), p))


def pictures_with_issues(labels: Labels, p: Floats) -> NDArray[np.bool_]:
    """Pictures with a label that is likely wrong or missing, `[N]`: the default rule, class against all others.

    Arguments and errors as for `cell_scores`.
    """
    from cleanlab.multilabel_classification.filter import find_label_issues

    return np.asarray(find_label_issues(_checked(labels, p), p, n_jobs=1, min_examples_per_class=0))


def review_queue(labels: Labels, p: Floats, most: int, per_picture: int = 8) -> NDArray[np.int64]:
    """The most suspect cells, `[M, 2]` of picture and class, most suspect first, up to so many of a picture.

    Ties go by picture and class. Arguments and errors as for `cell_scores`.
    """
    suspect = cell_scores(labels, p)
    width = min(per_picture, suspect.shape[1])
    worst = np.argsort(-suspect, axis=1, kind="stable")[:, :width]
    cells = np.column_stack([np.repeat(np.arange(len(suspect)), width), worst.ravel()])
    order = np.argsort(-suspect[cells[:, 0], cells[:, 1]], kind="stable")
    return cells[order[:most]]


def _checked(labels: Labels, p: Floats) -> list[list[int]]:
    if p.ndim != 2 or len(p) != len(labels):
        raise RecipeError(f"probabilities have the shape {p.shape} for {len(labels)} pictures; they must be [N, K]")
    for row, own in enumerate(labels):
        if wrong := [label for label in own if not 0 <= label < p.shape[1]]:
            raise RecipeError(f"row {row} has the label {wrong[0]}, but the probabilities are of {p.shape[1]} classes")
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        row, label = (int(place[0]) for place in np.nonzero(bad))
        raise RecipeError(f"row {row}: {p[row, label]:.6g} is no probability of the class {label}")
    return [list(own) for own in labels]
