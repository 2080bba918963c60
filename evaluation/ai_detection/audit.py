"""Audit arms: how well trivial features tell each from its photographs, and what a detector adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.ai_detection import fitting
from variorum.evaluation.ai_detection.judging import LEAST, ORIGINAL, Parts
from variorum.kit.resampling.separation import Draws, Separation
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

FOLDS = 5
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
        self._trivial = {arm: self._scores(arm) for arm in parts.truths if arm != ORIGINAL}

    def of(self, arm: str) -> dict[str, Json]:
        """`photographs`, `auroc` against the originals, None with too few, and `grade`.

        The grade is `matched`, `leaky`, `quarantined`, or `too few` photographs for one.
        """
        both, photographs = self._both(arm)
        scores = self._trivial[arm]
        if scores is None:
            return {"photographs": photographs, "auroc": None, "grade": "too few"}
        auroc = self._against(arm, both, scores).resampled_auroc(self._draws)
        return {"photographs": photographs, "auroc": auroc, "grade": _grade(photographs, auroc)}

    def adds(self, arm: str, scores: Floats) -> dict[str, Json] | None:
        """How much higher the AUROC of trivial features and a detector's scores `[N]` together is than of the first.

        Both are of judged pictures: a logistic regression of two numbers, cross-fitted. None with too few.
        """
        both = self._both(arm)[0] & self._parts.judged
        trivial = self._trivial[arm]
        made = self._parts.arm(arm)
        if trivial is None or min((both & made).sum(), (both & ~made).sum()) < 2 * LEAST:
            return None
        together, pair = np.zeros(len(scores)), np.column_stack([trivial, scores])
        for fold in range(FOLDS):
            left = both & (self._fold == fold)
            if not left.any():
                continue
            together[left] = fitting.regression(pair, made, both & ~left, penalty=1.0)[left]
        more, alone = (self._against(arm, both, one) for one in (together, trivial))
        samples = more.auroc_samples(self._draws) - alone.auroc_samples(self._draws)
        return self._draws.interval(more.auroc() - alone.auroc(), samples)

    def _scores(self, arm: str) -> Floats | None:
        """Out-of-fold scores, `[N]`, 0 for pictures of other arms; None with too few photographs."""
        both, photographs = self._both(arm)
        if photographs < 2 * LEAST:
            return None
        rows, scores = np.flatnonzero(both), np.zeros(len(both))
        x, made, folds = self._features[rows], self._parts.arm(arm)[rows], self._fold[rows]
        for fold in range(FOLDS):
            left = folds == fold
            if left.any():
                scores[rows[left]] = fitting.trivial(x, made, ~left, self._seed)[left]
        return scores

    def _both(self, arm: str) -> tuple[Bools, int]:
        """Pictures of the arm and originals, of photographs that have both; the number of photographs."""
        of_arm, originals = self._parts.arm(arm), self._parts.arm(ORIGINAL)
        photographs = np.intersect1d(self._parts.photograph[of_arm], self._parts.photograph[originals])
        return (of_arm | originals) & np.isin(self._parts.photograph, photographs), len(photographs)

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
