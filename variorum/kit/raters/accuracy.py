"""Accuracy on pictures with several right labels: multi-label accuracy and ReaL accuracy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.labels.matching import columns
from variorum.schemas.errors import RecipeError, SourceError

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints

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
"""ImageNet classes that people can't tell apart: if the key is right, so are the others.

Pairs and directions follow evaluations after Vasudevan et al. (2022, arXiv 2205.04596), as in
github.com/eth-sri/automated-error-analysis.
"""


def collapsed_classes(
    given: str | Mapping[str, Sequence[str]], classes: Sequence[tuple[str, str]]
) -> dict[int, tuple[int, ...]]:
    """Classes that people can't tell apart, as indices of an edition's classes.

    Args:
        given: `imagenet` for `COLLAPSED`, as far as the edition has these classes; `""` for none; or class id to class
            ids.
        classes: ids and names of the edition's classes, in index order.

    Raises:
        RecipeError: the edition doesn't have a class that is named.
    """
    if isinstance(given, str):
        if not given:
            return {}
        place = {output: index for index, output in enumerate(columns(classes, (), needed=()).tolist()) if output >= 0}
        pairs = {key: [other for other in others if other in place] for key, others in COLLAPSED.items()}
        return {
            place[key]: tuple(place[one] for one in others) for key, others in pairs.items() if key in place and others
        }
    index = {identity: place for place, (identity, _) in enumerate(classes)}
    unknown = sorted({one for key, others in given.items() for one in (key, *others)} - set(index))
    if unknown:
        verb = "is" if len(unknown) == 1 else "are"
        raise RecipeError(
            f"collapsed: {', '.join(map(repr, unknown[:5]))} {verb} no class of the edition, which has "
            f"{', '.join(repr(identity) for identity, _ in classes[:5])}{', …' if len(classes) > 5 else ''}"
        )
    return {index[key]: tuple(index[one] for one in others) for key, others in given.items() if others}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy averaged over classes and over pictures, and the number of each. NaN without pictures."""

    by_class: float
    by_picture: float
    classes: int
    pictures: int


def multi_label_accuracy(
    predictions: Ints,
    given: Ints,
    correct: Sequence[Collection[int]],
    unclear: Sequence[Collection[int]],
    problematic: Bools,
    collapsed: Mapping[int, Collection[int]] | None = None,
) -> Accuracy:
    """Share of pictures whose top prediction is right, or unclear to the panel. Problematic pictures are left out.

    The mean is taken within each class of the original labels and then over the classes, because the number of reviewed
    pictures varies by class (Shankar et al. 2020; Vasudevan et al. 2022, 2205.04596).

    Args:
        predictions: `[N]` top class.
        given: `[N]` the dataset's own label, which decides the class that a picture counts for.
        correct: N collections of classes that the panel called right.
        unclear: N collections of classes that the panel couldn't settle.
        problematic: `[N]` pictures that can't be judged.
        collapsed: class to the classes that are right wherever it is; `COLLAPSED` for ImageNet.
    """
    also = collapsed or {}
    accepted = [
        {other for label in (*right, *open_) for other in (label, *also.get(label, ()))}
        for right, open_ in zip(correct, unclear, strict=True)
    ]
    counted = ~np.asarray(problematic, bool)
    return _accuracy(predictions, np.asarray(given), accepted, counted)


def real_accuracy(predictions: Ints, given: Ints, labels: Sequence[Collection[int]]) -> Accuracy:
    """Share of pictures whose top prediction is among the panel's labels. Pictures without labels are left out.

    `by_picture` is the published measure (Beyer et al. 2020, arXiv 2006.07159).
    """
    return _accuracy(predictions, np.asarray(given), labels, np.array([len(found) > 0 for found in labels], bool))


def _accuracy(predictions: Ints, given: Ints, accepted: Sequence[Collection[int]], counted: Bools) -> Accuracy:
    if not len(predictions) == len(given) == len(accepted) == len(counted):
        raise SourceError(
            f"accuracy: {len(predictions)} predictions, {len(given)} given labels, {len(accepted)} label sets, "
            f"{len(counted)} pictures; the numbers must be equal"
        )
    hits = np.array([int(p) in found for p, found in zip(predictions, accepted, strict=True)], bool)[counted]
    if not len(hits):
        return Accuracy(float("nan"), float("nan"), 0, 0)
    classes, which = np.unique(given[counted], return_inverse=True)
    within = np.bincount(which, weights=hits) / np.bincount(which)
    return Accuracy(float(within.mean()), float(hits.mean()), len(classes), len(hits))
