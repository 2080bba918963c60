"""Accuracy on pictures that show more than one thing: multi-label accuracy and ReaL accuracy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SourceError

Ints = NDArray[np.int64]

COLLAPSED: Mapping[int, tuple[int, ...]] = {
    249: (248,),  # malamute: husky
    250: (248,),
    356: (357, 358, 359),  # weasel, mink, polecat, black-footed ferret
    357: (356, 358, 359),
    358: (356, 357, 359),
    359: (356, 357, 358),
    385: (101,),  # Indian and African elephant: tusker
    386: (101,),
    435: (876,),  # bathtub: tub
    482: (848,),  # cassette player: tape player
    504: (968,),  # coffee mug: cup
    620: (681,),  # laptop: notebook
    681: (620,),
    638: (639,),  # maillot, twice
    639: (638,),
    657: (744,),  # missile: projectile
    744: (657,),
    664: (782,),  # monitor: screen
    782: (664,),
    836: (837,),  # sunglass: sunglasses
    837: (836,),
}
"""ImageNet classes that people can't tell apart: where the first is right, so are the others.

Pairs and directions are those of evaluations after Vasudevan et al. (2022, arXiv 2205.04596), as in
github.com/eth-sri/automated-error-analysis.
"""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy averaged over classes and over pictures, with how many of each; NaN where there are none."""

    by_class: float
    by_picture: float
    classes: int
    pictures: int


def multi_label_accuracy(
    predictions: Ints,
    given: Ints,
    correct: Sequence[Collection[int]],
    unclear: Sequence[Collection[int]],
    problematic: NDArray[np.bool_],
    collapsed: Mapping[int, Collection[int]] | None = None,
) -> Accuracy:
    """Share of pictures whose top prediction is a right label or one that the panel couldn't settle.

    Problematic pictures are left out. The mean is taken within each class of the original labels and then over the
    classes, as classes were reviewed in different numbers (Shankar et al. 2020; Vasudevan et al. 2022, 2205.04596).

    Args:
        predictions: `[N]` top class.
        given: `[N]` the dataset's own label, which says which class a picture counts for.
        correct: N collections of classes that the panel called right.
        unclear: N collections of classes that it couldn't settle.
        problematic: `[N]` pictures that nothing can be asked of.
        collapsed: class to the classes that are right wherever it is, `COLLAPSED` for ImageNet.
    """
    also = collapsed or {}
    accepted = [
        {other for label in (*right, *open_) for other in (label, *also.get(label, ()))}
        for right, open_ in zip(correct, unclear, strict=True)
    ]
    counted = ~np.asarray(problematic, bool)
    return _accuracy(predictions, np.asarray(given), accepted, counted)


def real_accuracy(predictions: Ints, given: Ints, labels: Sequence[Collection[int]]) -> Accuracy:
    """Share of pictures whose top prediction is among the panel's labels; those without any are left out.

    `by_picture` is the published measure (Beyer et al. 2020, arXiv 2006.07159).
    """
    return _accuracy(predictions, np.asarray(given), labels, np.array([len(found) > 0 for found in labels], bool))


def _accuracy(
    predictions: Ints, given: Ints, accepted: Sequence[Collection[int]], counted: NDArray[np.bool_]
) -> Accuracy:
    if not len(predictions) == len(given) == len(accepted) == len(counted):
        raise SourceError(
            f"accuracy: {len(predictions)} predictions, {len(given)} given labels, {len(accepted)} label sets, "
            f"{len(counted)} pictures; they must be of the same pictures"
        )
    hits = np.array([int(p) in found for p, found in zip(predictions, accepted, strict=True)], bool)[counted]
    if not len(hits):
        return Accuracy(float("nan"), float("nan"), 0, 0)
    classes, which = np.unique(given[counted], return_inverse=True)
    within = np.bincount(which, weights=hits) / np.bincount(which)
    return Accuracy(float(within.mean()), float(hits.mean()), len(classes), len(hits))
