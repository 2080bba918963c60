"""Audit arms: how well trivial features tell each from its photographs, and what a detector adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.ai_detection import fitting
from variorum.evaluation.ai_detection.judging import LEAST, ORIGINAL, Parts
from variorum.kit.resampling.separation import CLEAR, NO_REACH, Draws, Separation
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

FOLDS, NEIGHBOURS = 5, 15
OVERLAP = 0.3
"""Least share of an arm whose trivial scores lie among those of the originals, for a comparison at equal ones."""
GRADED = 48
"""Photographs of an arm from which it has a grade. With fewer, chance alone reaches an AUROC of .6."""
MATCHED, QUARANTINED = 0.65, 0.75
"""An arm is matched if the upper end of the interval is at most the first, quarantined if the lower one is at least the
second. With labels that mean nothing the upper end is .58 at 48 photographs, .55 at 128."""


class Audit:
    """Trivial features on all photographs, five times on a fifth that nothing was fitted on.

    Args:
        parts: the pictures, N of them.
        features: their trivial features, `[N, d]`.
        bootstrap: number of resamples of photographs.
        confidence: level of the intervals, in (0, 1).
        seed: of folds, trees and resamples.
    """

    def __init__(self, parts: Parts, features: Array, bootstrap: int, confidence: float, seed: int) -> None:
        self._parts, self._features, self._seed = parts, features, seed
        self._fold = np.random.default_rng(seed).permutation(int(parts.photograph.max()) + 1)[parts.photograph] % FOLDS
        self._draws = Draws(int(parts.photograph.max()) + 1, bootstrap, confidence, seed)
        self._trivial = {arm: self._scores(arm, ORIGINAL) for arm in parts.truths if arm != ORIGINAL}

    def of(self, arm: str) -> dict[str, Json]:
        """`photographs`, `auroc` against the originals, `auroc_counter` against its counter-arm, and `grade`.

        An AUROC is None with too few photographs, and without a counter-arm. The grade is that against the originals:
        `matched`, `leaky`, `quarantined`, or `too few` photographs for one.
        """
        both, photographs = self._both(arm, ORIGINAL)
        scores, counter = self._trivial[arm], self._parts.counters.get(arm)
        auroc = None if scores is None else self._against(arm, both, scores).resampled_auroc(self._draws)
        found: dict[str, Json] = {"photographs": photographs, "auroc": auroc, "auroc_counter": None}
        if counter and (own := self._scores(arm, counter)) is not None:
            against = self._against(arm, self._both(arm, counter)[0], own)
            found["auroc_counter"] = against.resampled_auroc(self._draws)
        return found | {"grade": "too few" if auroc is None else _grade(photographs, auroc)}

    def adds(self, arm: str, scores: Floats) -> dict[str, Json] | None:
        """How much higher the AUROC of trivial features and a detector's scores `[N]` together is than of the first.

        Both are of judged pictures: a logistic regression of two numbers, cross-fitted. It may turn trivial scores
        around, so those alone are turned around too where their AUROC is below .5. None with too few.
        """
        both, trivial, made = self._judged(arm), self._trivial[arm], self._parts.arm(arm)
        if trivial is None or both is None:
            return None
        together, pair = np.zeros(len(scores)), np.column_stack([trivial, scores])
        for fold in range(FOLDS):
            left = both & (self._fold == fold)
            if not left.any():
                continue
            together[left] = fitting.regression(pair, made, both & ~left, penalty=1.0)[left]
        more, alone = (self._against(arm, both, one) for one in (together, trivial))
        if alone.auroc() < 0.5:
            alone = self._against(arm, both, -trivial)
        samples = more.auroc_samples(self._draws) - alone.auroc_samples(self._draws)
        return self._draws.interval(more.auroc() - alone.auroc(), samples)

    def at_equal(self, arm: str, scores: Floats) -> dict[str, Json] | None:
        """The AUROC of a detector's scores `[N]` on judged pictures that trivial features find equally suspect.

        It is adjusted for the trivial score (Janes & Pepe, Biometrika 2009): how many of the 15 originals with the
        nearest one have a lower score than an arm's picture, averaged over the arm's pictures whose trivial score lies
        among those of the originals. `overlap` is their share of the arm; under 30 % there is no `value`. None with too
        few pictures.
        """
        both, trivial, of = self._judged(arm), self._trivial[arm], self._parts.photograph
        if trivial is None or both is None:
            return None
        made, originals = (np.flatnonzero(both & part) for part in (self._parts.arm(arm), self._parts.arm(ORIGINAL)))
        low, high = trivial[originals].min(), trivial[originals].max()
        inside = made[(trivial[made] >= low) & (trivial[made] <= high)]
        overlap = len(inside) / len(made)
        if overlap < OVERLAP:
            return {"value": None, "overlap": round(overlap, 4)}
        near = originals[np.argsort(np.abs(trivial[inside, None] - trivial[originals]), axis=1, kind="stable")]
        near = near[:, : 4 * NEIGHBOURS]  # in a resample some are there several times, others not at all
        higher = (scores[inside, None] > scores[near]) + 0.5 * (scores[inside, None] == scores[near])

        def adjusted(weights: Ints) -> Floats:
            """The figure for photographs with these weights, `[R, photographs]`."""
            sums, total = np.zeros(len(weights)), np.zeros(len(weights))
            for picture, others, won in zip(inside, near, higher, strict=True):
                times = weights[:, of[others]]
                taken = np.clip(NEIGHBOURS - (np.cumsum(times, axis=1) - times), 0, times)
                own = weights[:, of[picture]] * (taken.sum(axis=1) > 0)
                sums += own * (taken @ won) / np.maximum(taken.sum(axis=1), 1)
                total += own
            return np.where(total > 0, sums / np.maximum(total, 1), np.nan)

        value = float(adjusted(np.ones((1, self._draws.photographs), np.int64))[0])
        reach = NO_REACH
        if min(value, 1 - value) < CLEAR:
            wins = higher[:, :NEIGHBOURS].mean(axis=1)
            sums, counts = (np.bincount(of[inside], one).astype(np.float64) for one in (wins, np.ones(len(wins))))
            reach = self._draws.exact(sums, counts)
        samples = np.concatenate([adjusted(some) for some in self._draws.weights()])
        return self._draws.interval(value, samples, reach=reach) | {"overlap": round(overlap, 4)}

    def _judged(self, arm: str) -> Bools | None:
        """Judged pictures of the arm and originals; None with too few."""
        both, made = self._both(arm, ORIGINAL)[0] & self._parts.judged, self._parts.arm(arm)
        return both if min((both & made).sum(), (both & ~made).sum()) >= 2 * LEAST else None

    def _scores(self, arm: str, other: str) -> Floats | None:
        """Out-of-fold scores of an arm and another, `[N]`, 0 elsewhere; None with too few photographs."""
        both, photographs = self._both(arm, other)
        if photographs < 2 * LEAST:
            return None
        rows, scores = np.flatnonzero(both), np.zeros(len(both))
        x, made, folds = self._features[rows], self._parts.arm(arm)[rows], self._fold[rows]
        for fold in range(FOLDS):
            left = folds == fold
            if left.any():
                scores[rows[left]] = fitting.trivial(x, made, ~left, self._seed)[left]
        return scores

    def _both(self, arm: str, other: str) -> tuple[Bools, int]:
        """Pictures of two arms, of photographs that have both; the number of photographs."""
        one, two = self._parts.arm(arm), self._parts.arm(other)
        photographs = np.intersect1d(self._parts.photograph[one], self._parts.photograph[two])
        return (one | two) & np.isin(self._parts.photograph, photographs), len(photographs)

    def _against(self, arm: str, both: Bools, scores: Floats) -> Separation:
        made, originals = both & self._parts.arm(arm), both & ~self._parts.arm(arm)
        of: Ints = self._parts.photograph
        return Separation(scores[made], scores[originals], of[made], of[originals])


def _grade(photographs: int, auroc: dict[str, Json]) -> str:
    if photographs < GRADED:
        return "too few"
    if float(auroc["high"]) <= MATCHED:  # type: ignore[arg-type]
        return "matched"
    return "quarantined" if float(auroc["low"]) >= QUARANTINED else "leaky"  # type: ignore[arg-type]
