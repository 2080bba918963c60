"""Finds labels that a picture's nearest neighbours contradict; it needs features and no training.

The graph is exact. Votes are plain (deep kNN) or weighed by similarity (SimiFeat), and fair to small classes. Where
there are few classes, how often each label is right is estimated from neighbours too, without any trusted label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.features import normalised
from curation.graph.nearest import nearest
from curation.graph.transition import MOST_CLASSES, estimate_transition, trust
from curation.graph.votes import count_votes, plain_votes, similarity_votes
from curation.labels.classes import class_ids, id_ranks, most_flagged, places, spread
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Method = Literal["vote", "simifeat_v", "simifeat_r"]


class Neighbours(CurationStep):
    """Flags labels that lose the vote of their neighbours, or rank worst in it among their class."""

    revision: ClassVar[int] = 2
    scored_by: ClassVar[frozenset[str]] = frozenset({"method", "k", "prior_power"})

    method: Method = "simifeat_v"
    """`vote`: a vote a neighbour. `simifeat_v`: by similarity, with a vote of the picture's own. `simifeat_r`: as many
    of each label as are estimated to be wrong, those with the least support; 50 classes at most."""
    k: int = Field(default=10, ge=2, le=1000)
    """Votes a picture. SimiFeat counts the picture's own among them."""
    prior_power: float = Field(default=0.5, ge=0, le=1)
    """A vote for a class of n pictures counts 1 / n^prior_power. 0 lets large classes outvote small ones."""

    def needs(self) -> tuple[str, ...]:
        """The step with the embeddings."""
        return ("features",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score`, `flag`, `proposed`, `distance`, `knn_index`, `clustered`, `class_trust`, `class_kept`.

        `score` is one minus the share of the votes that the label gets. `distance` is the mean cosine distance to the
        k neighbours, `knn_index [N, k]` their rows, `clustered` says whether the two nearest have the same winner of
        the vote. `class_trust` is the chance that the label is right, `class_kept` that the class gets its label; NaN
        with more than 50 classes. Pictures without a label or a usable embedding are no neighbours and get NaN, False
        and -1.

        Raises:
            RecipeError: `simifeat_r` with more than 50 classes.
        """
        y, classes = given_labels(table)
        rows = normalised(matrix(table, "features.embedding"))
        y[np.isnan(rows[:, 0])] = -1
        judged = np.flatnonzero(y >= 0)
        if len(judged) < 3:
            judged = judged[:0]
        if len(judged) < len(y):
            y, rows = y[judged], rows[judged]
        index, similarity = nearest(rows, self.k)
        found = opinions(y, index, similarity, len(classes), id_ranks(table)[judged], self.method, self.prior_power)
        found["proposed"] = np.where(found["proposed"] < 0, -1, np.append(classes, -1)[found["proposed"]])
        found["knn_index"] = np.where(index < 0, -1, np.append(judged, -1)[index]).astype(np.int32)
        return {name: spread(values, judged, table.num_rows) for name, values in found.items()}

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """How many are flagged, and from the estimated transition matrix the share of wrong labels and its diagonal."""
        name = self.component_name()
        label, score = vector(table, "label"), vector(table, f"{name}.score")
        judged = ~np.isnan(score)
        if not judged.any():
            return {"judged": 0}
        flag = vector(table, f"{name}.flag")
        figures: dict[str, Json] = {
            "judged": int(judged.sum()),
            "flagged": int(flag.sum()),
            "clusterability": round(float(vector(table, f"{name}.clustered")[judged].mean()), 4),
            "most_flagged_classes": most_flagged(table, flag, judged=judged),
        }
        right, kept = vector(table, f"{name}.class_trust"), vector(table, f"{name}.class_kept")
        if not np.isnan(right[judged]).any():
            ids = class_ids(table)
            found, first = np.unique(label[judged], return_index=True)
            diagonal = kept[judged][first]
            figures["estimated_noise_rate"] = round(float(1 - right[judged].mean()), 4)
            figures["transition_diagonal"] = {
                ids[int(k)]: round(float(value), 4) for k, value in zip(found, diagonal, strict=True)
            }
        return figures


def opinions(
    y: Ints, index: NDArray[np.int32], similarity: Floats, classes: int, ties: Ints, method: Method, prior_power: float
) -> dict[str, NDArray[Any]]:
    """What neighbours say of the labels.

    Args:
        y: labels `[N]` in 0..K-1.
        index: the k nearest other samples `[N, k]`, nearest first, -1 for none; two at least.
        similarity: cosine similarities `[N, k]`, NaN for none.
        classes: K.
        ties: `[N]`, distinct; of equally suspect samples the one with the lower number comes first.
        method: how votes are weighed and turned into flags.
        prior_power: see `votes.plain_votes`.

    Returns:
        Arrays `[N]` by the names of the step's columns, but `knn_index`.

    Raises:
        RecipeError: `simifeat_r` with more classes than `MOST_CLASSES`.
    """
    if method == "vote":
        labels, weights = plain_votes(index, y, prior_power)
    else:
        labels, weights = similarity_votes(index, similarity, y, prior_power)
    share, unit, winner = count_votes(labels, weights, y)
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


def least_supported(support: Floats, y: Ints, right: Floats, ties: Ints) -> NDArray[np.bool_]:
    """Of each label's n samples the n (1 - right) with the least support, where 0.05 <= right <= 0.95 (SimiFeat-R)."""
    wrong = np.round(np.bincount(y, minlength=len(right)) * (1 - np.clip(right, 0.05, 0.95)))
    order = np.lexsort((ties, support))
    flag = np.zeros(len(y), dtype=bool)
    flag[order] = places(y[order], len(right)) < wrong[y[order]]
    return flag
