"""Sixteen everyday categories, each with its classes of ImageNet.

The categories are those of Geirhos et al., ICLR 2019 (arXiv 1811.12231); which classes belong to them follows from
WordNet's hypernyms. `sixteen_categories.licence.txt` has origin and terms.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from variorum.models.imagenet_classes import index_of, table

if TYPE_CHECKING:
    from variorum.arrays import Ints, Reals, Singles


@lru_cache(maxsize=1)
def category_classes() -> Mapping[str, tuple[str, ...]]:
    """The wnids of each category, in the order of the categories."""
    found: dict[str, list[str]] = {}
    with Path(__file__).with_name("sixteen_categories.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["category"], []).append(row["wnid"])
    return {category: tuple(wnids) for category, wnids in found.items()}


@lru_cache(maxsize=1)
def _categories() -> Mapping[str, str]:
    return {wnid: category for category, wnids in category_classes().items() for wnid in wnids}


def category_of(label: str) -> str:
    """The category of a class: of a wnid or a name of ImageNet, or the category's own name; `""` if it has none.

    Case is ignored, and `sports_car` is `sports car`, as folders are often called.
    """
    name = " ".join(label.replace("_", " ").split()).casefold()
    index = index_of(name)
    if index is not None:
        return _categories().get(table()[index].wnid, "")
    return name if name in category_classes() else ""


def category_probabilities(probabilities: Reals) -> Singles:
    """The mean probability over each category's classes, `[N, 16]`, from those of ImageNet's classes `[N, 1000]`.

    The mean, not the sum: the 118 dogs would otherwise outweigh the single airliner. NaN stands for a class that the
    model doesn't have; such classes don't count, and a category without any other is NaN.
    """
    known = np.isfinite(probabilities)
    filled = np.where(known, probabilities, 0)
    sums, counts = (
        np.stack([values[:, places].sum(axis=1) for places in _places()], axis=1) for values in (filled, known)
    )
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


@lru_cache(maxsize=1)
def _places() -> tuple[Ints, ...]:
    """Indices of the classes of each category."""
    index = {one.wnid: one.index for one in table()}
    return tuple(np.array([index[wnid] for wnid in wnids]) for wnids in category_classes().values())
