"""From near pairs to groups of copies, to the picture of a group that stays, and to splits that no copy straddles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.fingerprints.join import Ints

LAYERS = ("", "file", "pixels", "hash", "embedding")
"""Evidence that two pictures are one, strongest first; 0 is none."""
FILE, PIXELS, HASH, EMBEDDING = range(1, 5)


@dataclass(frozen=True, slots=True)
class Links:
    """What joins the classes of identical pixels.

    Attributes:
        i: class `[P]`.
        j: another class `[P]`.
        layer: `[P]`, HASH or EMBEDDING.
        distance: `[P]`, bits or 1 − cosine.
    """

    i: Ints
    j: Ints
    layer: NDArray[np.int8]
    distance: NDArray[np.float32]

    @classmethod
    def of(cls, *layers: tuple[int, Any]) -> Links:
        """Links of `(layer, Pairs)`, the strongest evidence for a pair alone."""
        i, j = (np.concatenate([getattr(pairs, side) for _, pairs in layers]).astype(np.int64) for side in "ij")
        layer = np.concatenate([np.full(len(pairs), number, np.int8) for number, pairs in layers])
        distance = np.concatenate([pairs.distance.astype(np.float32) for _, pairs in layers])
        order = np.lexsort((distance, layer, j, i))
        i, j, layer, distance = i[order], j[order], layer[order], distance[order]
        first = np.ones(len(i), np.bool_)
        first[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
        return cls(i[first], j[first], layer[first], distance[first])


@dataclass(frozen=True, slots=True)
class Kept:
    """Which pictures stay, and for what the others go.

    Attributes:
        keep: `[N]`.
        keeper: row `[N]` of the picture that stays instead; the row itself where it stays.
        layer: `[N]`, index in `LAYERS` of the evidence that joins a picture to its keeper.
        distance: `[N]` of that evidence: 0 for files and pixels, bits, or 1 − cosine; NaN where it stays.
    """

    keep: NDArray[np.bool_]
    keeper: Ints
    layer: NDArray[np.int8]
    distance: NDArray[np.float32]


def ranks(ids: Sequence[str] | NDArray[Any]) -> Ints:
    """Place `[N]` of each id in their order, so that ties and names don't depend on the order of rows."""
    place = np.empty(len(ids), np.int64)
    place[np.argsort(np.asarray(ids, dtype=object), kind="stable")] = np.arange(len(ids))
    return place


def groups(exact: Ints, i: Ints, j: Ints, owner: Ints, rank: Ints) -> Ints:
    """Connected components of the links between pictures of different owners.

    Pictures of one owner aren't linked with one another, but all with a copy that somebody else owns.

    Args:
        exact: class `[N]` of identical pixels, 0..C-1.
        i: class `[P]` linked with class `j`.
        j: class `[P]`.
        owner: `[N]`; the same number means: meant to be alike.
        rank: place `[N]` of each id in order.

    Returns:
        Group `[N]`: the least rank in it. A picture without a copy is a group of its own.
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


def keepers(exact: Ints, sha256: NDArray[Any], links: Links, owner: Ints, group: Ints, order: Ints) -> Kept:
    """Go through each group from its best picture on: one stays unless a copy of it, of another owner, stays already.

    So nothing goes without a near copy that stays, however long the chain that joins a group; all pictures of the
    group's best owner stay. Owners come in the order of their best picture in the group.

    Args:
        exact: class `[N]` of identical pixels.
        sha256: of the files `[N]`.
        links: between classes.
        owner: `[N]`.
        group: `[N]`, from `groups`.
        order: rows `[N]`, best first.
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
    staying: dict[int, int] = {}  # the best of a class; others of it that stay have the same owner
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


def fold_groups(group: Ints, source: NDArray[Any]) -> Ints:
    """Groups that cross-validation must not divide: copies, and pictures that were made of one photograph.

    Args:
        group: of copies `[N]`.
        source: the photograph `[N]` that a picture was made of.

    Returns:
        `[N]`, 0..G-1: components of both relations together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, copies = np.unique(group, return_inverse=True)
    _, roots = np.unique(np.asarray(source, dtype=str), return_inverse=True)
    if not len(copies):
        return np.empty(0, np.int64)
    width = int(copies.max() + roots.max()) + 2
    graph = coo_array((np.ones(len(copies), np.int8), (copies, roots + copies.max() + 1)), shape=(width, width))
    return np.unique(connected_components(graph, directed=False)[1][copies], return_inverse=True)[1].astype(np.int64)


def grouped_folds(y: Ints, group: Ints, folds: int, seed: int) -> Ints:
    """A fold `[N]` in 0..folds-1 for each picture: no group in two of them, classes about as frequent in each.

    Args:
        y: class `[N]`.
        group: `[N]`.
        folds: at most the number of groups.
        seed: of the shuffling.

    Raises:
        ValueError: fewer groups than folds.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = np.empty(len(y), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # a class of one is in one fold
        for number, (_, held_out) in enumerate(splitter.split(np.zeros(len(y)), y, group)):
            fold[held_out] = number
    return fold


def leak_rate(test: NDArray[np.bool_], train: NDArray[np.bool_], i: Ints, j: Ints) -> float:
    """Share of the test pictures that have a near copy in training; NaN without any.

    Args:
        test: which rows `[N]` are tested on.
        train: which rows `[N]` are trained on.
        i: row `[P]` that is a near copy of row `j`.
        j: row `[P]`.
    """
    leaked = np.zeros(len(test), np.bool_)
    leaked[i[train[j]]] = True
    leaked[j[train[i]]] = True
    return float(leaked[test].mean()) if test.any() else float("nan")


def _around(links: Links, classes: int) -> tuple[Ints, Ints, NDArray[np.int8], NDArray[np.float32]]:
    """Where the links of each class start `[C + 1]`, and of each the class at its other end, layer and distance."""
    one, other = np.concatenate([links.i, links.j]), np.concatenate([links.j, links.i])
    by_class = np.argsort(one, kind="stable")
    start = np.searchsorted(one[by_class], np.arange(classes + 1))
    link = by_class % max(len(links.i), 1)
    return start, other[by_class], links.layer[link], links.distance[link]
