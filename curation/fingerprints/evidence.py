"""An edition's fingerprints as arrays, and what they say of which pictures are one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.fingerprints.calibration import Cut, edition_cut
from curation.fingerprints.grouping import EMBEDDING, HASH, Links, fold_groups, groups, ranks
from curation.fingerprints.join import CROWD, Ints, Pairs, cosine_pairs, hamming_pairs, usable_rows
from curation.fingerprints.pdq import LEAST_QUALITY, TURNS
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

NO_CUT = Cut(float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Prints:
    """Fingerprints of N pictures.

    Attributes:
        rank: place `[N]` of each id in order.
        sha256: of the files `[N]`.
        pixels: hash of the pixels `[N, 16]` uint8.
        turns: PDQ in 8 orientations `[N, 8, 32]` uint8.
        usable: which `[N]` show enough for their PDQ to mean something.
        embedding: `[N, d]`, or None.
        y: class `[N]`, -1 unlabelled.
        source: the photograph `[N]` that a picture was made of.
    """

    rank: Ints
    sha256: NDArray[Any]
    pixels: NDArray[np.uint8]
    turns: NDArray[np.uint8]
    usable: NDArray[np.bool_]
    embedding: NDArray[Any] | None
    y: Ints
    source: NDArray[Any]

    @classmethod
    def read(cls, table: pa.Table, *, embedding: bool) -> Prints:
        """Those of an edition's table, from the columns of `duplicates` and, if asked for, `features`."""
        ids, source = vector(table, "id"), vector(table, "source")
        own = matrix(table, "duplicates.pdq")
        others = matrix(table, "duplicates.pdq_turns").reshape(len(own), TURNS - 1, own.shape[1])
        return cls(
            rank=ranks(ids),
            sha256=vector(table, "sha256"),
            pixels=matrix(table, "duplicates.pixels"),
            turns=np.concatenate([own[:, None], others], axis=1),
            usable=vector(table, "duplicates.pdq_quality") >= LEAST_QUALITY,
            embedding=matrix(table, "features.embedding") if embedding else None,
            y=given_labels(table)[0],
            source=np.where(source == "", ids, source),
        )

    def exact(self) -> tuple[Ints, Ints]:
        """Class `[N]` of identical pixels and the head `[C]` of each class: its row with the first id, in that order.

        So whatever is computed of heads doesn't depend on the order of the rows.
        """
        by_id = np.argsort(self.rank)
        keys = np.ascontiguousarray(self.pixels[by_id]).view("V16").ravel()
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        in_order = np.argsort(first)
        number = np.empty(len(first), np.int64)
        number[in_order] = np.arange(len(first))
        exact = np.empty(len(by_id), np.int64)
        exact[by_id] = number[inverse]
        return exact, by_id[first[in_order]]


def near_links(
    prints: Prints,
    exact: Ints,
    head: Ints,
    rng: np.random.Generator,
    cosine: float | None,
    others: int = 0,
    *,
    order: Ints | None = None,
) -> tuple[Links, Cut]:
    """Links between classes of identical pixels by hash and embedding, and the cut that the latter took.

    Args:
        prints: of the edition.
        exact: class `[N]`.
        head: row `[C]` of each class, as `Prints.exact` gives both.
        rng: draws the pairs that calibrate the cut.
        cosine: the cut; None calibrates it.
        others: pictures outside the edition that each is compared with too.
        order: rows `[N]`, best first. Where it is given, two classes that each have `CROWD` better copies aren't
            linked, so that M pictures that are all alike make few links; without it all M²/2 are.
    """
    crowd = None if order is None else CROWD
    first = np.arange(len(head))
    if order is not None:
        best = np.full(len(head), len(order))
        np.minimum.at(best, exact[order], np.arange(len(order)))
        first = np.argsort(best)
    good = first[prints.usable[head[first]]]
    pairs = hamming_pairs(prints.turns[head[good]], crowd=crowd)
    by_hash = (HASH, _renamed(pairs, good))
    links = Links.of(by_hash)
    if prints.embedding is None:
        return links, NO_CUT
    sighted = np.flatnonzero(usable_rows(prints.embedding[head]))
    copies = groups(exact, links.i, links.j, np.arange(len(exact)), prints.rank)
    alike = fold_groups(copies, prints.source)[head[sighted]]
    cut = edition_cut(prints.embedding[head[sighted]], prints.y[head[sighted]], alike, rng, cosine, others)
    pairs = cosine_pairs(prints.embedding[head[first]], cut.cosine, crowd=crowd)
    return Links.of(by_hash, (EMBEDDING, _renamed(pairs, first))), cut


def _renamed(pairs: Pairs, names: Ints) -> Pairs:
    """Pairs of places as pairs of the classes there, the lower one first."""
    i, j = names[pairs.i], names[pairs.j]
    return Pairs(np.minimum(i, j), np.maximum(i, j), pairs.distance)


def likeness(layer: NDArray[np.int8], distance: NDArray[np.float32]) -> NDArray[np.float64]:
    """Evidence as one number `[N]` in [0, 1]: 1 for identical pixels, 1 − bits/256, the cosine; 0 for none."""
    apart = np.select([layer == 0, layer == HASH, layer == EMBEDDING], [1.0, distance / 256.0, distance], 0.0)
    return np.asarray(1 - apart, dtype=np.float64).clip(0, 1)
