"""Finds pictures that belong to none of an edition's classes: by the classes' Gaussians, and by their neighbours.

A score alone gives no threshold. Each picture is scored by models fitted without it, and its rank among the hardest of
the pictures whose labels are confirmed is a p-value. Only pictures whose label is contradicted are tested, so that few
hypotheses share a false discovery rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from variorum.curation.quality.across_folds import neighbours_across_folds
from variorum.curation.quality.conformal import benjamini_hochberg, conformal_p_values, least_discoveries
from variorum.kit.embeddings.classes import (
    FIT_ON,
    fit_gaussians,
    presumed_clean,
    squared_distances,
    two_least,
)
from variorum.kit.embeddings.rows import blocks, finite_rows, taken, thinned
from variorum.kit.labels.classes import FEWEST, LARGE, id_ranks, most_flagged, same_share
from variorum.kit.labels.folds import dealt_folds
from variorum.machine.scratch import scratch
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

FOLDS = 5
COMPONENTS = 64
"""Principal components for the relative distance, by default."""
NEIGHBOURS = 10
"""How many the second score and the votes look at."""
CONTRADICTED = 0.15
"""Largest share of its neighbours' votes with which a label is contradicted."""
CONFIRMED = 0.4
"""Least share of its neighbours' votes with which a label that is also the nearest class's is confirmed. A foreign
picture under the nearest class's label by chance seldom has it. As a peer it would hide others like it."""
HARDEST = 1 / 3
"""Share of the pictures with confirmed labels that are peers: those with the smallest margins."""
LOOK_AT = 20
"""Pictures that people are advised to look at if nothing is flagged."""


class OutOfDistribution(Detector):
    """Distances to classes and neighbours, conformal p-values, and flags by Benjamini and Hochberg's procedure."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers=("score p_value mahalanobis relative to_given_label neighbour_distance neighbour_p_value label_share"),
        flags="flag likely tested agrees peer",
    )
    """`score` is `relative` or `mahalanobis`, squared distances; higher is more foreign. `p_value` and
    `neighbour_p_value` are those of `score` and of `neighbour_distance`, for all pictures, tested or not.
    `to_given_label` is the squared distance to the given label's class, and `label_share` the label's share of the
    neighbours' votes; both are NaN for unlabelled pictures. `agrees`: its label is that of the nearest class.
    `tested`: neither this class nor the neighbours confirm its label. `peer`: p-values are ranks among these."""
    revision: ClassVar[int] = 3

    method: Literal["relative", "mahalanobis"] = "relative"
    """Distance behind `score` and `p_value`. `relative` is better if outliers are among the pictures that the Gaussians
    are fitted on, `mahalanobis` if the `reference` is clean."""
    components: int | None = Field(default=None, ge=2)
    """Principal components for the relative distance, 64 by default. The plain distance keeps all dimensions, because
    foreign pictures differ mostly in those that a truncation drops."""
    reference: str = ""
    """Variant whose pictures are in distribution by definition, such as `original`: all others are tested against them.
    By default pictures whose labels are contradicted are tested against hard ones whose labels are confirmed."""
    fdr: float = Field(default=0.05, gt=0, lt=1)
    """False discovery rate of each of the two tests: expected share of in-distribution pictures among the flagged."""
    grouped: bool = True
    """Whether each group of `duplicates` stays in one fold; variants of one photograph always do."""

    @model_validator(mode="after")
    def _plain_distance_is_whole(self) -> OutOfDistribution:
        if self.method == "mahalanobis" and self.components is not None:
            raise ValueError(
                "components are for the relative distance; a plain Mahalanobis distance in fewer dimensions misses "
                "foreign pictures: remove components, or set method to relative"
            )
        return self

    def needs(self) -> tuple[str, ...]:
        """The embeddings and, if `grouped`, the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """The two scores and their p-values, what was tested against what, and the flags; all `[N]`.

        - `score`: `relative` or `mahalanobis`, higher is more foreign; `to_given_label`: distance to the label's class;
        - `neighbour_distance`: mean cosine distance to the ten nearest confirmed pictures, in [0, 2];
        - `p_value`, `neighbour_p_value`: of the two scores, also of pictures that aren't tested;
        - `flag`, `likely`: rejected at `fdr`, at twice the rate;
        - `label_share`: the label's share of the neighbours' votes; `agrees`: the nearest class is the label;
        - `tested`, `peer`: whether it is tested, and whether others are compared with it.

        Raises:
            RecipeError: no picture is of the `reference` variant.
        """
        y, _ = table.labels()
        trusted = None
        if self.reference:
            trusted = np.asarray(table["variant"] == self.reference, dtype=bool)
            if len(trusted) and not trusted.any():
                raise RecipeError(
                    f"curate.{self.component_name()}: no picture is of the reference variant {self.reference!r}"
                )
        fold = dealt_folds(table, y, FOLDS, ctx.rng(self.component_name(), "", "folds"), copies=self.grouped)
        rank = id_ranks(table)
        order = np.argsort(rank)  # sums and ties in the order of ids
        features, sample = table["features.embedding"], None
        if len(order) > LARGE:
            kind = y + 1 if trusted is None else 2 * (y + 1) + trusted
            sample = order[same_share(kind[order], LARGE, ctx.rng(self.component_name(), "", "sample"), FEWEST)]
            order = rank = np.arange(len(order))  # too many to be sorted
        else:
            features = taken(features, order, ctx.store)
        found = judged(
            features,
            y[order],
            fold[order],
            trusted=None if trusted is None else trusted[order],
            method=self.method,
            components=self.components or COMPONENTS,
            fdr=self.fdr,
            sample=sample,
        )
        return {name: column[rank] for name, column in found.items()}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Counts, the most flagged classes, the least number that can be flagged, and what the silence means if any."""
        flag, tested, peers = table["flag"], table["tested"], int(table["peer"].sum())
        least = least_discoveries(int(tested.sum()), peers, self.fdr)
        return {
            "pictures": len(flag),
            "flagged": int(flag.sum()),
            "likely": int(table["likely"].sum()),
            "most_flagged_classes": most_flagged(table, flag, judged=np.isfinite(table["p_value"])),
            "tested": int(tested.sum()),
            "peers": peers,
            "least_that_can_be_flagged": least,
            "false_discovery_rate": self.fdr,
            "findings": [] if flag.any() else [silence(int(tested.sum()), peers, least, self.reference)],
        }


def silence(tested: int, peers: int, least: int, reference: str = "") -> str:
    """Why nothing is flagged, which never means that there is nothing to flag."""
    if not tested:
        why = (
            f"No picture is tested, as all are of the variant {reference}."
            if reference
            else "No picture is tested, as none has a label that both its nearest class and its neighbours contradict."
        )
    elif least > tested:
        why = (
            f"No picture can be flagged at this rate: {tested} are tested, but only {peers} can be compared with them."
        )
    else:
        why = (
            f"No picture stands out enough at this rate: of {tested} tested, at least {least} would have to stand out "
            "together."
        )
    return f"{why} The ranking holds; look at the first {LOOK_AT}."


def judged(
    features: Array,
    y: Ints,
    fold: Ints,
    *,
    trusted: Bools | None = None,
    method: Literal["relative", "mahalanobis"] = "relative",
    components: int = COMPONENTS,
    fdr: float = 0.05,
    sample: Ints | None = None,
) -> dict[str, Array]:
    """The detector's columns `[N]` by name, for rows in the order of their ids; arguments as in `distances`."""
    found = distances(features, y, fold, trusted=trusted, components=components, sample=sample)
    relative = method == "relative" and bool(np.isfinite(found.relative).any())
    score = found.relative if relative else found.mahalanobis
    labelled = y >= 0
    agrees = labelled & (found.nearest == y)
    own = trusted if trusted is not None else agrees if labelled.any() else np.ones(len(y), dtype=bool)
    distance, share = neighbours_across_folds(features, y, fold, own, NEIGHBOURS, sample=sample)
    known = np.isfinite(score) & np.isfinite(distance)
    if trusted is not None:
        peer, tested = trusted & known, ~trusted & known
    elif labelled.any():
        peer = hardest(found.margin, agrees & known & (share >= CONFIRMED))
        tested = known & ~agrees & ~(share > CONTRADICTED)
    else:
        peer, tested = known, np.zeros(len(y), dtype=bool)
    p = [conformal_p_values(one, peer) for one in (score, distance)]
    flag, likely = (np.any([benjamini_hochberg(one, tested, rate) for one in p], axis=0) for rate in (fdr, 2 * fdr))
    return {
        "score": score,
        "flag": flag,
        "p_value": p[0],
        "mahalanobis": found.mahalanobis,
        "relative": found.relative,
        "to_given_label": found.to_given_label,
        "neighbour_distance": distance,
        "neighbour_p_value": p[1],
        "label_share": share,
        "likely": likely,
        "tested": tested,
        "agrees": agrees,
        "peer": peer,
    }


def hardest(margin: Floats, among: Bools) -> Bools:
    """The share `HARDEST` of a subset `[N]`, those with the smallest margins between two classes; ties are all in."""
    if not among.any():
        return among
    return among & (margin <= np.quantile(margin[among], HARDEST, method="inverted_cdf"))


@dataclass(frozen=True, slots=True)
class Distances:
    """Squared Mahalanobis distances `[N]`; NaN for features that aren't finite, or if nothing could be fitted.

    Attributes:
        mahalanobis: to the nearest class.
        to_given_label: to the given label's class; NaN if unlabelled.
        relative: to the nearest class, minus that to one Gaussian of everything; NaN with fewer than two classes.
        nearest: the class that is nearest by the relative distance, or by the plain one where there is none; -1 for
            none.
        margin: how much farther away the second class is, by the same distance; infinite with one class.
    """

    mahalanobis: Floats
    to_given_label: Floats
    relative: Floats
    nearest: Ints
    margin: Floats


def distances(
    features: Array,
    y: Ints,
    fold: Ints,
    *,
    trusted: Bools | None = None,
    components: int = COMPONENTS,
    sample: Ints | None = None,
) -> Distances:
    """Distances of each row from Gaussians fitted on the other folds.

    After Lee et al. (NeurIPS 2018) without its input perturbation; the relative distance after Ren et al. (arXiv
    2106.09022). The classes are fitted on rows presumed in distribution, the Gaussian of everything on all. Folds are
    needed because with more features than samples an in-sample distance is meaningless.

    Args:
        features: `[N, d]`.
        y: `[N]` given labels in 0..K-1, -1 unlabelled; an edition without labels is one class.
        fold: `[N]` fold of each row.
        trusted: `[N]` rows in distribution by definition; None presumes rows whose label is the nearest class's.
        components: principal components for the relative distance.
        sample: rows that the Gaussians are fitted on, in the order of their ids; None for all.
    """
    n = len(features)
    plain, given_label, relative, margin = (np.full(n, np.nan) for _ in range(4))
    found = Distances(plain, given_label, relative, np.full(n, -1), margin)
    labelled = bool((y >= 0).any() if trusted is None else (y[trusted] >= 0).any())
    label = y if labelled else np.zeros(n, dtype=np.int64)
    k = int(label.max(initial=0)) + 1
    finite = finite_rows(features)
    among = np.flatnonzero(finite) if sample is None else sample[finite[sample]]
    for one in np.unique(fold):
        known = among[fold[among] != one]
        asked = np.flatnonzero(finite & (fold == one))
        usable = known[label[known] >= 0]
        if trusted is not None:
            usable = usable[trusted[usable]]
        clean = presumed_clean(features, label, usable, k) if trusted is None else usable
        if not len(clean) or not len(asked):
            continue
        classes = fit_gaussians(features, label, clean, k)
        for part, block in blocks(features, asked):
            rows, squared = asked[part], squared_distances(block, classes)
            found.nearest[rows], found.mahalanobis[rows], found.margin[rows] = two_least(squared)
            given = np.where(y[rows] >= 0, squared[np.arange(len(rows)), y[rows]], np.nan)
            found.to_given_label[rows] = np.where(np.isfinite(given), given, np.nan)
        if (classes.counts > 0).sum() > 1:
            found.nearest[asked], found.relative[asked], found.margin[asked] = relative_distances(
                features, label, known, clean, asked, k, components
            )
    return found


def relative_distances(
    features: Array,
    y: Ints,
    known: Ints,
    clean: Ints,
    asked: Ints,
    k: int,
    components: int,
) -> tuple[Ints, Floats, Floats]:
    """Nearest class, squared distance to it minus that to everything, and margin, in principal components.

    Args:
        features: `[N, d]`.
        y: `[N]` labels in 0..K-1; only those of `clean` are used.
        known: rows that fit the Gaussian of everything.
        clean: rows that fit the classes.
        asked: rows to score.
        k: number of classes.
        components: principal components to keep.
    """
    centre, axes = principal_axes(features, thinned(known, FIT_ON), components)
    projected = scratch((len(known), axes.shape[1]), np.float64)
    for part, block in blocks(features, known):
        projected[part] = (block - centre) @ axes
    classes = fit_gaussians(projected, y[known], np.flatnonzero(np.isin(known, clean)), k)
    everything = fit_gaussians(projected, np.zeros(len(known), dtype=np.int64), np.arange(len(known)), 1)
    nearest, scores, margin = np.empty(len(asked), dtype=np.int64), np.empty(len(asked)), np.empty(len(asked))
    for part, block in blocks(features, asked):
        block = (block - centre) @ axes
        nearest[part], least, margin[part] = two_least(squared_distances(block, classes))
        scores[part] = least - squared_distances(block, everything)[:, 0]
    return nearest, scores, margin


def principal_axes(features: Array, rows: Ints, components: int) -> tuple[Floats, Floats]:
    """Mean `[d]` of the given `rows` and the directions `[d, q]` of their largest variance, `q <= components`."""
    from scipy.linalg import eigh

    centred = scratch((len(rows), features.shape[1]), np.float64)
    for part, block in blocks(features, rows):
        centred[part] = block
    centre = centred.mean(axis=0)
    centred -= centre
    n, d = centred.shape
    q = min(components, d, max(1, n - 1))
    if n > d:
        return centre, eigh(centred.T @ centred, subset_by_index=(d - q, d - 1))[1]
    return centre, np.linalg.svd(centred, full_matrices=False)[2][:q].T
