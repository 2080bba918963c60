"""An edition's hashes and embeddings as arrays, and the links between copies that they give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.kit.copies.calibration import Cut, edition_cut
from variorum.kit.copies.grouping import EMBEDDING, HASH, Links, fold_groups, groups
from variorum.kit.copies.join import CROWD, Pairs, cosine_pairs, hamming_pairs
from variorum.kit.copies.pdq import LEAST_QUALITY, TURNS
from variorum.kit.embeddings.nearest import QUERIES
from variorum.kit.embeddings.rows import taken, usable_rows
from variorum.kit.labels.classes import id_ranks, photographs
from variorum.machine.scratch import scratch

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Singles
    from variorum.schemas.canonical import Json
    from variorum.schemas.table import Table

RECALL = ("cosine_pairs", "cosine_pairs_found")
NO_CUT = Cut(float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Prints:
    """Hashes and embeddings of N pictures, with what is needed to compare them.

    Attributes:
        rank: `[N]` position of each id in sorted order.
        sha256: `[N]` of the encoded files.
        pixels: `[N, 16]` uint8, hash of the pixels.
        turns: `[N, 8, 32]` uint8, PDQ in 8 orientations.
        usable: `[N]` whether the picture shows enough for its PDQ to be meaningful.
        embedding: `[N, d]`, or None.
        y: `[N]` class, -1 if unlabelled.
        source: `[N]` number of the photograph that a picture was made from.
    """

    rank: Ints
    sha256: Array
    pixels: NDArray[np.uint8]
    turns: NDArray[np.uint8]
    usable: Bools
    embedding: Array | None
    y: Ints
    source: Ints

    @classmethod
    def read(cls, table: Table, *, embedding: bool) -> Prints:
        """From an edition's table with the columns of `duplicates` and, for embeddings, of `features`."""
        own = table["duplicates.pdq"]
        others = table["duplicates.pdq_turns"].reshape(len(own), TURNS - 1, own.shape[1])
        return cls(
            rank=id_ranks(table),
            sha256=table["sha256"],
            pixels=table["duplicates.pixels"],
            turns=_beside(own, others),
            usable=table["duplicates.pdq_quality"] >= LEAST_QUALITY,
            embedding=table["features.embedding"] if embedding else None,
            y=table.labels()[0],
            source=photographs(table),
        )

    def exact(self) -> tuple[Ints, Ints]:
        """Class `[N]` of identical pixels, and the head `[C]` of each class: the row with its first id.

        Classes are numbered in the order of these ids, so results computed on heads don't depend on the row order.
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
    """Links between classes of identical pixels by hash and embedding, and the cut used for the embeddings.

    Args:
        prints: of the edition.
        exact: class `[N]`, from `Prints.exact`.
        head: row `[C]` of each class, from `Prints.exact`.
        rng: draws the pairs that calibrate the cut.
        cosine: the cut; None calibrates it.
        others: number of pictures outside the edition that each one is compared with too.
        order: rows `[N]`, best first. If given, a class with `CROWD` better copies is only linked to those that have
            fewer, so M pictures that are all alike give few links. Without it they give M²/2.
    """
    crowd = None if order is None else CROWD
    first = np.arange(len(head))
    if order is not None:
        best = np.full(len(head), len(order))
        np.minimum.at(best, exact[order], np.arange(len(order)))
        first = np.argsort(best)
    good = first[prints.usable[head[first]]]
    pairs = hamming_pairs(taken(prints.turns, head[good]), crowd=crowd)
    by_hash = (HASH, _renamed(pairs, good))
    links = Links.of(by_hash)
    if prints.embedding is None:
        return links, NO_CUT
    sighted = head[usable_rows(prints.embedding)[head]]
    copies = groups(exact, links.i, links.j, np.arange(len(exact)), prints.rank)
    alike = fold_groups(copies, prints.source)[sighted]
    cut = edition_cut(taken(prints.embedding, sighted), prints.y[sighted], alike, rng, cosine, others)
    pairs = cosine_pairs(taken(prints.embedding, head[first]), cut.cosine, crowd=crowd)
    return Links.of(by_hash, (EMBEDDING, _renamed(pairs, first))), replace(cut, recall=pairs.recall)


def recall_columns(cut: Cut, n: int) -> dict[str, Ints]:
    """The cut's recall as columns `cosine_pairs` and `cosine_pairs_found` `[n]`; none if all pairs were compared."""
    return {name: np.full(n, number) for name, number in zip(RECALL, cut.recall or (), strict=False)}


def recall_findings(table: Table) -> dict[str, Json]:
    """The recall for the card, from the columns of `recall_columns`."""
    if RECALL[0] not in table:
        return {}
    pairs, found = (int(table[name][0]) for name in RECALL)
    line = (
        f"Embeddings were compared in near clusters only: of {pairs:,} pairs beyond the cut that up to {QUERIES:,} "
        f"pictures have, at most {CROWD} each, {found:,} were found."
    )
    return {"findings": [line]}


def _beside(own: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.uint8]:
    turns = scratch((len(own), TURNS, own.shape[1]), np.uint8)
    turns[:, 0], turns[:, 1:] = own, others
    return turns


def _renamed(pairs: Pairs, names: Ints) -> Pairs:
    """Pairs of positions in `names` as pairs of the classes there, the lower one first."""
    i, j = names[pairs.i], names[pairs.j]
    return Pairs(np.minimum(i, j), np.maximum(i, j), pairs.distance)


def likeness(layer: NDArray[np.int8], distance: Singles) -> Floats:
    """Evidence as a number `[N]` in [0, 1]: 1 for identical pixels, 1 − bits/256, the cosine, or 0 without any."""
    apart = np.select([layer == 0, layer == HASH, layer == EMBEDDING], [1.0, distance / 256.0, distance], 0.0)
    return np.asarray(1 - apart, dtype=np.float64).clip(0, 1)
