"""Accuracy on pictures with several right labels: multi-label accuracy and ReaL accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from variorum.kit.labels.matching import columns
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    pass

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
