"""Groups of copies from near pairs, which pictures of a group stay, and splits that keep copies together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints, Singles

LAYERS = ("", "file", "pixels", "hash", "embedding")
"""Kinds of evidence that two pictures are copies, strongest first; 0 is none."""
FILE, PIXELS, HASH, EMBEDDING = range(1, 5)


@dataclass(frozen=True, slots=True)
class Links:
    """Links between classes of identical pixels.

    Attributes:
        i: `[P]` class.
        j: `[P]` another class.
        layer: `[P]`, HASH or EMBEDDING.
        distance: `[P]`, bits or 1 − cosine.
    """

    i: Ints
    j: Ints
    layer: NDArray[np.int8]
    distance: Singles

    @classmethod
    def of(cls, *layers: tuple[int, Any]) -> Links:
        """From several `(layer, Pairs)`, keeping only the strongest evidence for each pair."""
        i, j = (np.concatenate([getattr(pairs, side) for _, pairs in layers]).astype(np.int64) for side in "ij")
        layer = np.concatenate([np.full(len(pairs), number, np.int8) for number, pairs in layers])
        distance = np.concatenate([pairs.distance.astype(np.float32) for _, pairs in layers])
        order = np.lexsort((distance, layer, j, i))
        i, j, layer, distance = i[order], j[order], layer[order], distance[order]
        first = np.ones(len(i), np.bool_)
        first[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
        return cls(i[first], j[first], layer[first], distance[first])

    def without(self, gone: Bools) -> Links:
        """Those that aren't gone, `[P]`."""
        return Links(*(getattr(self, name)[~gone] for name in ("i", "j", "layer", "distance")))


@dataclass(frozen=True, slots=True)
class Kept:
    """The pictures that stay, and the one that replaces each of the others.

    Attributes:
        keep: `[N]` whether the picture stays.
        keeper: `[N]` row of the picture that stays instead; the row itself if it stays.
        layer: `[N]` index in `LAYERS` of the evidence that links a picture to its keeper; 0 if it stays.
        distance: `[N]` of that evidence: 0 for files and pixels, bits, or 1 − cosine; NaN if it stays.
    """

    keep: Bools
    keeper: Ints
    layer: NDArray[np.int8]
    distance: Singles


def groups(exact: Ints, i: Ints, j: Ints, owner: Ints, rank: Ints) -> Ints:
    """Connected components of the links between pictures of different owners.

    Pictures of one owner aren't linked to one another, but each is linked to copies of other owners.

    Args:
        exact: `[N]` class of identical pixels, 0..C-1.
        i: `[P]` class linked to class `j`.
        j: `[P]` class.
        owner: `[N]`; pictures of one owner are similar by design.
        rank: `[N]` position of each id in sorted order.

    Returns:
        `[N]` group, named by its least rank. A picture without a copy is a group of its own.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    classes = int(exact.max()) + 1 if len(exact) else 0
    least, most = np.full(classes, np.iinfo(np.int64).max), np.full(classes, -1)
    np.minimum.at(least, exact, owner)
    np.maximum.at(most, exact, owner)
    between = np.minimum(least[i], least[j]) < np.maximum(most[i], most[j])
    i, j = i[between], j[between]
    graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(classes, classes))
    component = connected_components(graph, directed=False)[1] if classes else np.empty(0, np.int64)
    joined = least < most
    joined[i] = joined[j] = True
    name = np.where(joined[exact], component[exact], classes + np.arange(len(exact)))
    first = np.full(classes + len(exact), np.iinfo(np.int64).max)
    np.minimum.at(first, name, rank)
    return first[name]


def keepers(exact: Ints, sha256: Array, links: Links, owner: Ints, group: Ints, order: Ints) -> Kept:
    """In each group, best first, a picture stays unless a copy of it from another owner stays already.

    So each picture that goes has a direct copy that stays, however long the chain that joins its group. Owners come in
    the order of their best picture in the group, so all pictures of the best owner stay.

    Args:
        exact: `[N]` class of identical pixels.
        sha256: `[N]` of the encoded files.
        links: between classes.
        owner: `[N]`.
        group: `[N]`, from `groups`.
        order: `[N]` rows, best first.
    """
    n = len(exact)
    keep, keeper = np.ones(n, np.bool_), np.arange(n)
    layer, distance = np.zeros(n, np.int8), np.full(n, np.nan, np.float32)
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    _, family = np.unique(np.stack([group, owner], axis=1), axis=0, return_inverse=True)
    best = np.full(n, n)
    np.minimum.at(best, family.ravel(), place)
    several = np.bincount(group, minlength=n)[group] > 1
    rows = np.flatnonzero(several)
    rows = rows[np.lexsort((place[rows], best[family.ravel()[rows]], group[rows]))]
    start, other, kind, apart = _around(links, int(exact.max()) + 1 if n else 0)
    staying: dict[int, int] = {}  # class to its best picture; others of the class that stay have the same owner
    for row in rows.tolist():
        home = int(exact[row])
        found = []
        if home in staying and owner[staying[home]] != owner[row]:
            same = sha256[staying[home]] == sha256[row]
            found.append((FILE if same else PIXELS, 0.0, int(place[staying[home]]), staying[home]))
        for link in range(start[home], start[home + 1]):
            stays = staying.get(int(other[link]))
            if stays is not None and owner[stays] != owner[row]:
                found.append((int(kind[link]), float(apart[link]), int(place[stays]), stays))
        if found:
            keep[row] = False
            layer[row], distance[row], _, keeper[row] = min(found)
        else:
            staying.setdefault(home, row)
    return Kept(keep, keeper, layer, distance)


def fold_groups(group: Ints, source: Array) -> Ints:
    """Groups that cross-validation must not split: copies, and pictures made from one photograph.

    Args:
        group: `[N]` group of copies.
        source: `[N]` photograph that a picture was made from: its name, or a number that stands for it.

    Returns:
        `[N]` in 0..G-1, the connected components of both relations together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, copies = np.unique(group, return_inverse=True)
    names = source if source.dtype.kind == "i" else np.asarray(source, dtype=str)
    _, roots = np.unique(names, return_inverse=True)
    if not len(copies):
        return np.empty(0, np.int64)
    width = int(copies.max() + roots.max()) + 2
    graph = coo_array((np.ones(len(copies), np.int8), (copies, roots + copies.max() + 1)), shape=(width, width))
    return np.unique(connected_components(graph, directed=False)[1][copies], return_inverse=True)[1].astype(np.int64)


def _around(links: Links, classes: int) -> tuple[Ints, Ints, NDArray[np.int8], Singles]:
    """Start `[C + 1]` of each class's links; for each link `[2P]` the class at its other end, layer and distance."""
    one, other = np.concatenate([links.i, links.j]), np.concatenate([links.j, links.i])
    by_class = np.argsort(one, kind="stable")
    start = np.searchsorted(one[by_class], np.arange(classes + 1))
    link = by_class % max(len(links.i), 1)
    return start, other[by_class], links.layer[link], links.distance[link]
