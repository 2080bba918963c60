"""Wrong and missing labels of pictures that may have several: cleanlab's scores of cells and of pictures.

A cell is one picture and one class. Cells rank much better than pictures do, because a picture's score pools its
classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Bools, Reals

Labels: TypeAlias = Sequence[Sequence[int]]


def cell_scores(labels: Labels, p: Reals) -> Reals:
    """Score how suspect each cell is, `[N, K]` in [0, 1]: one minus the probability of what the labels say of it.

    Args:
        labels: the classes of each picture, in 0..K-1; may be empty.
        p: out-of-sample probability `[N, K]` of each class by itself; rows needn't sum to one.

    Raises:
        RecipeError: a label out of range, a value outside [0, 1].
    """
    from cleanlab.multilabel_classification.rank import get_label_quality_scores_per_class

    return np.asarray(1 - get_label_quality_scores_per_class(_checked(labels, p), p))


def picture_scores(labels: Labels, p: Reals) -> Reals:
    """Score how suspect each picture is, `[N]` in [0, 1]: an average of its cells in which the worst dominate.

    Arguments and errors as for `cell_scores`.
    """
    from cleanlab.multilabel_classification.rank import get_label_quality_scores

    return np.asarray(1 - get_label_quality_scores(_checked(labels, p), p))


def pictures_with_issues(labels: Labels, p: Reals) -> Bools:
    """Pictures `[N]` with a label that is likely wrong or missing, by cleanlab's default rule on each class.

    Arguments and errors as for `cell_scores`.
    """
    from cleanlab.multilabel_classification.filter import find_label_issues

    return np.asarray(find_label_issues(_checked(labels, p), p, n_jobs=1, min_examples_per_class=0))


def _checked(labels: Labels, p: Reals) -> list[list[int]]:
    if p.ndim != 2 or len(p) != len(labels):
        raise RecipeError(f"probabilities have shape {p.shape} for {len(labels)} pictures; they must be [N, K]")
    for row, own in enumerate(labels):
        if wrong := [label for label in own if not 0 <= label < p.shape[1]]:
            raise RecipeError(f"row {row} has label {wrong[0]}, but there are probabilities of {p.shape[1]} classes")
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        row, label = (int(place[0]) for place in np.nonzero(bad))
        raise RecipeError(f"row {row}: the probability of class {label} is {p[row, label]:.6g}, outside [0, 1]")
    return [list(own) for own in labels]
