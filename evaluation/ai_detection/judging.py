"""Split pictures for fitting and judging detectors, and compute thresholds and figures of a detector."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.kit.resampling.separation import Draws, Separation
from variorum.kit.resampling.thresholds import Conformal, conformal_threshold, share
from variorum.schemas.canonical import Json
from variorum.schemas.sample import MADE_BY_MODEL
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

ORIGINAL = "original"
LEAST = 8
"""Pictures of each kind below which nothing is fitted."""
SHARPNESS_BINS = 3
AREAS = 0.1, 0.25
"""Shares of a picture at which regions are divided into small, middle and large ones."""
ASIDE = 19
"""Photographs that are set aside for thresholds at least, if `LEAST` remain to fit on: so many a rate of 5 % takes."""
HALVED = 114
"""Training photographs up to which half are set aside for thresholds; of more, a third is enough."""


@dataclass(frozen=True)
class Parts:
    """The pictures of an edition with arms, `[N]` each unless said otherwise.

    Attributes:
        variant: name of the arm.
        truths: by arm, `real`, `processed`, `reconstructed`, `partly_generated` or `generated`.
        counters: by arm, the name of its counter-arm, photographs that were given the arm's statistics.
        photograph: number of the photograph.
        training: whether the picture's photograph is one to fit on or to set thresholds with.
        fitted: whether heads are fitted on the picture: originals and the chosen arms of some of those.
        set_aside: whether thresholds of fitted detectors come from it: half up to 114 photographs, but 19 at least, a
            third of more. A detector knows the pictures that it was fitted on too well for that.
        sharpness: log variance of the Laplacian.
        area: share of the picture that a model made, NaN where nobody says.
    """

    variant: Array
    truths: Mapping[str, str]
    counters: Mapping[str, str]
    photograph: Ints
    training: Bools
    fitted: Bools
    set_aside: Bools
    sharpness: Floats
    area: Floats

    def arm(self, name: str) -> Bools:
        """Pictures of an arm."""
        return np.asarray(self.variant == name)

    @property
    def known(self) -> Bools:
        """Pictures of an arm with a truth."""
        return np.isin(self.variant, list(self.truths))

    @property
    def judged(self) -> Bools:
        """Pictures that detectors are judged on."""
        return np.asarray(~self.training & self.known)

    @property
    def generated(self) -> Bools:
        """Pictures that a model made, whole or in part."""
        return np.isin(self.variant, [arm for arm, truth in self.truths.items() if truth in MADE_BY_MODEL])

    @property
    def real(self) -> Bools:
        """Photographs, changed ones such as blurred ones among them."""
        return np.isin(self.variant, [arm for arm, truth in self.truths.items() if truth == "real"])

    @property
    def enough(self) -> bool:
        """Return whether there is something to fit on."""
        generated, real = (int((self.fitted & part).sum()) for part in (self.generated, ~self.generated))
        return min(generated, real) >= LEAST

    @property
    def photographs_fitted(self) -> int:
        """Their number."""
        return len(np.unique(self.photograph[self.training]))

    @property
    def photographs_judged(self) -> int:
        """Their number."""
        return len(np.unique(self.photograph[self.judged]))


class Thresholds(NamedTuple):
    """Scores above which a picture is called generated.

    Attributes:
        pooled: one for all pictures; None with too few photographs.
        by_sharpness: of each picture's third by sharpness, `[N]`; None with too few photographs.
        photographs: number of photographs that set the one for all.
    """

    pooled: Conformal | None
    by_sharpness: Floats | None
    photographs: int


def parts_of(table: Table, fit: Sequence[str]) -> Parts:
    """The parts of an edition's rows. `fit` names the arms that are fitted on."""
    variant, truth = table["variant"].astype(str), table["truth"].astype(str)
    truths: dict[str, str] = {}
    for name, said in zip(variant.tolist(), truth.tolist(), strict=True):
        if said:
            truths.setdefault(name, said)
    countered = zip(table["counter_of"].astype(str).tolist(), variant.tolist(), strict=True)
    counters = {arm: name for arm, name in countered if arm in truths and name in truths}
    names, photograph = np.unique(table["photograph"].astype(str), return_inverse=True)
    split = table["split"].astype(str)
    drawn = np.array([int.from_bytes(hashlib.sha256(str(one).encode()).digest()[:6], "big") for one in names])
    training = split == "train" if (split == "train").any() else (drawn % 2 == 0)[photograph]
    trained = np.unique(photograph[training])
    number = math.ceil(len(trained) / (2 if len(trained) <= HALVED else 3))
    number = max(number, ASIDE) if len(trained) >= ASIDE + LEAST else number
    set_aside = training & np.isin(photograph, trained[np.argsort(drawn[trained])][:number])
    fitted = training & ~set_aside & np.isin(variant, [ORIGINAL, *fit]) & np.isin(variant, list(truths))
    order = {arm: truths[arm] for arm in (ORIGINAL, *(one for one in truths if one != ORIGINAL)) if arm in truths}
    numbers = (np.asarray(table[name], np.float64) for name in ("sharpness", "area"))
    return Parts(variant, order, counters, photograph, training, fitted, set_aside, *numbers)


def thresholds(scores: Floats, parts: Parts, rate: float, sure: float | None, *, was_fitted: bool) -> Thresholds:
    """The scores that any real picture of a new photograph exceeds with a probability of at most `rate`.

    They come from the photographs in training, or for a detector that was fitted from those that were set aside. Of a
    photograph's real pictures, blurred ones and counter-arms among them, the largest score counts.
    """
    basis = parts.real & (parts.set_aside if was_fitted else parts.training)
    pooled = conformal_threshold(scores[basis], parts.photograph[basis], rate, sure)
    if pooled is None:
        return Thresholds(None, None, len(np.unique(parts.photograph[basis])))
    edges = np.quantile(parts.sharpness[basis], np.arange(1, SHARPNESS_BINS) / SHARPNESS_BINS)
    place = np.searchsorted(edges, parts.sharpness)
    limits = np.empty(len(scores))
    for third in range(SHARPNESS_BINS):
        inside = basis & (place == third)
        own = conformal_threshold(scores[inside], parts.photograph[inside], rate, sure)
        if own is None:
            return Thresholds(pooled, None, pooled.n)
        limits[place == third] = own.score
    return Thresholds(pooled, limits, pooled.n)


class Judging:
    """Figures of detectors on the judged pictures, with intervals over their photographs."""

    def __init__(self, parts: Parts, bootstrap: int, confidence: float, seed: int) -> None:
        self._parts, self._confidence = parts, confidence
        self._photographs = np.unique(parts.photograph[parts.judged])
        self._draws = Draws(max(len(self._photographs), 1), bootstrap, confidence, seed)

    def of(self, scores: Floats, limits: Floats | float | None) -> dict[str, Json]:
        """By arm: `called`, the percentage above the limits, if there are any, and `auroc` against the originals.

        An arm with a counter-arm has `auroc_counter` against that, and one of which models made a part has `by_area`,
        the percentage above the limits by the part's share of the picture.
        """
        parts, found = self._parts, dict[str, Json]()
        for arm, truth in parts.truths.items():
            mine = parts.judged & parts.arm(arm)
            if not mine.any():
                continue
            figure: dict[str, Json] = {}
            if limits is not None:
                figure["called"] = self._share(scores > limits, mine)
                if truth == "partly_generated":
                    place = np.searchsorted(AREAS, parts.area, side="right")
                    within = (mine & (place == number) & np.isfinite(parts.area) for number in range(len(AREAS) + 1))
                    figure["by_area"] = [self._share(scores > limits, some) for some in within]
            for name, other in (("auroc", ORIGINAL), ("auroc_counter", parts.counters.get(arm, ""))):
                against = parts.judged & parts.arm(other)
                if arm != other and against.any():
                    pair = Separation(scores[mine], scores[against], self._of(mine), self._of(against))
                    figure[name] = pair.resampled_auroc(self._draws)
            found[arm] = figure
        return {"arms": found}

    def _share(self, called: Bools, pictures: Bools) -> dict[str, Json] | None:
        return share(called[pictures], self._of(pictures), self._confidence)

    def _of(self, pictures: Bools) -> Ints:
        """Numbers of the pictures' photographs among the judged ones."""
        return np.searchsorted(self._photographs, self._parts.photograph[pictures])
