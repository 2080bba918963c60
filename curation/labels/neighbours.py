"""Finds labels that a picture's nearest neighbours contradict; it needs embeddings and no training.

Among at most 200,000 pictures the neighbours are exact. Among more they are searched for in near clusters only, and the
share of the exact neighbours that this finds is measured on 1,000 pictures. Votes are plain (deep kNN) or weighted by
similarity (SimiFeat), and fair to small classes. With few classes, the accuracy of each class's labels is estimated
from neighbours too, without any trusted label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from variorum.curation.labels.transition import MOST_CLASSES, estimate_transition, trust
from variorum.curation.labels.votes import count_votes, plain_votes, similarity_votes
from variorum.kit.embeddings.nearest import EXACT, QUERIES, clusters, nearest, nearest_in_clusters
from variorum.kit.embeddings.rows import normalised, usable_rows
from variorum.kit.labels.classes import class_ids, id_ranks, most_flagged, places, spread
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints, Reals

VOTERS = 1 << 18
"""Pictures whose votes are counted at a time."""
Method = Literal["vote", "simifeat_v", "simifeat_r"]


class Neighbours(Detector):
    """Flags labels that lose the vote of their neighbours, or that have the least support in their class."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score proposed distance class_trust class_kept recall", flags="flag clustered", others="knn_index"
    )
    revision: ClassVar[int] = 2

    method: Method = "simifeat_v"
    """`vote`: one vote per neighbour. `simifeat_v`: weighted by similarity, including the picture's own label.
    `simifeat_r`: flags the estimated number of wrong labels in each class, those with the least support; at most 50
    classes."""
    k: int = Field(default=10, ge=2, le=1000)
    """Votes per picture. SimiFeat counts the picture's own label as one."""
    prior_power: float = Field(default=0.5, ge=0, le=1)
    """A vote for a class of n pictures counts 1 / n^prior_power; with 0, large classes outvote small ones."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings."""
        return ("features",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score`, `flag`, `proposed`, `distance`, `knn_index`, `clustered`, `class_trust`, `class_kept`.

        `score` is one minus the label's share of the votes. `distance` is the mean cosine distance to the k
        neighbours, `knn_index [N, k]` their rows. `clustered` says whether the picture and its two nearest have the
        same winner. `class_trust` is P(true = y | label = y), `class_kept` is P(label = y | true = y); NaN with more
        than 50 classes. `recall`, only there with more than 200,000 pictures, is the share of the exact neighbours that
        were found. Pictures without a label or a usable embedding are nobody's neighbours and get NaN, False and -1.

        Raises:
            RecipeError: `simifeat_r` with more than 50 classes.
        """
        y, classes = table.labels()
        embedding = table["features.embedding"]
        judged = np.flatnonzero((y >= 0) & usable_rows(embedding))
        if len(judged) < 3:
            judged = judged[:0]
        y, rank = y[judged], id_ranks(table)[judged]
        recalled = dict[str, Any]()
        if len(judged) <= EXACT:
            index, similarity = nearest(normalised(embedding, judged), self.k)
        else:
            rng = ctx.rng(self.component_name(), "", "clusters")
            there = clusters(embedding, judged, np.argsort(rank), rng, ctx.store)
            index, similarity, share = nearest_in_clusters(there, self.k)
            recalled["recall"] = np.full(len(judged), share)
        found = vote_on(y, index, similarity, len(classes), rank, self.method, self.prior_power) | recalled
        found["proposed"] = np.where(found["proposed"] < 0, -1, np.append(classes, -1)[found["proposed"]])
        found["knn_index"] = np.where(index < 0, -1, np.append(judged, -1)[index]).astype(np.int32)
        return {name: spread(values, judged, len(table)) for name, values in found.items()}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Counts, most flagged classes, the estimated share of wrong labels, and the transition matrix's diagonal."""
        label, score = table["label"], table["score"]
        judged = ~np.isnan(score)
        if not judged.any():
            return {"judged": 0}
        flag = table["flag"]
        figures: dict[str, Json] = {
            "judged": int(judged.sum()),
            "flagged": int(flag.sum()),
            "clusterability": round(float(table["clustered"][judged].mean()), 4),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
        }
        if "recall" in table:
            share = float(table["recall"][judged][0])
            figures["recall"] = round(share, 4)
            figures["findings"] = [
                f"The neighbours are approximate: {100 * share:.1f} % of the nearest ones were found, measured on "
                f"{QUERIES:,} pictures."
            ]
        right, kept = table["class_trust"], table["class_kept"]
        if not np.isnan(right[judged]).any():
            ids = class_ids(table)
            found, first = np.unique(label[judged], return_index=True)
            diagonal = kept[judged][first]
            figures["estimated_noise_rate"] = round(float(1 - right[judged].mean()), 4)
            figures["transition_diagonal"] = {
                ids[int(k)]: round(float(value), 4) for k, value in zip(found, diagonal, strict=True)
            }
        return figures


def vote_on(
    y: Ints, index: NDArray[np.int32], similarity: Reals, classes: int, ties: Ints, method: Method, prior_power: float
) -> dict[str, Array]:
    """Return the neighbours' vote on the labels.

    Args:
        y: labels `[N]` in 0..K-1.
        index: the k nearest other samples `[N, k]`, nearest first, -1 for none; every sample has at least two.
        similarity: cosine similarities `[N, k]`, NaN for none.
        classes: K.
        ties: `[N]`, distinct; among equally suspect samples the one with the lower number comes first.
        method: how votes are weighted and turned into flags.
        prior_power: see `plain_votes`.

    Returns:
        The detector's columns `[N]` by name, except `knn_index`.

    Raises:
        RecipeError: `simifeat_r` with more classes than `MOST_CLASSES`.
    """
    share, unit, winner = np.empty(len(y)), np.empty(len(y)), np.empty(len(y), dtype=np.int64)
    for start in range(0, len(y), VOTERS):
        rows = slice(start, start + VOTERS)
        if method == "vote":
            labels, weights = plain_votes(index, y, prior_power, rows)
        else:
            labels, weights = similarity_votes(index, similarity, y, prior_power, rows)
        share[rows], unit[rows], winner[rows] = count_votes(labels, weights, y[rows])
    right, kept = np.full(classes, np.nan), np.full(classes, np.nan)
    if len(y) and (classes <= MOST_CLASSES or method == "simifeat_r"):
        transition, shares = estimate_transition(y, index[:, :2], classes)
        right, kept = trust(transition, shares, y), transition.diagonal()
    ranked = method == "simifeat_r"
    return {
        "score": 1 - (unit if ranked else share),
        "flag": least_supported(unit, y, right, ties) if ranked else (winner >= 0) & (winner != y),
        "proposed": winner,
        "distance": 1 - np.nanmean(similarity, axis=1) if len(y) else np.empty(0, np.float32),
        "clustered": (winner[index[:, :2]] == winner[:, None]).all(axis=1),
        "class_trust": right[y],
        "class_kept": kept[y],
    }


def least_supported(support: Reals, y: Ints, right: Reals, ties: Ints) -> Bools:
    """SimiFeat-R: of each class's n samples the n (1 - right) with the least support; right is kept in [0.05, 0.95]."""
    wrong = np.round(np.bincount(y, minlength=len(right)) * (1 - np.clip(right, 0.05, 0.95)))
    order = np.lexsort((ties, support))
    flag = np.zeros(len(y), dtype=bool)
    flag[order] = places(y[order], len(right)) < wrong[y[order]]
    return flag
