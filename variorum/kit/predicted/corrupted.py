"""Errors on corrupted pictures: by kind and severity, by family, and relative to AlexNet's or another model's.

The measures of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261). Photographs are paired: a corrupted
picture counts if its original was scored, and the error without corruption is that of the same photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.corrupt.kinds import COMMON, KINDS, SEVERITIES
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.pairing import Paired
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

ALEXNET: Mapping[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's mean error over the five severities of each kind of ImageNet-C (github.com/hendrycks/robustness)."""
ALEXNET_CLEAN = 0.43478
"""Its error on ImageNet's validation set: torchvision states an accuracy of 56.522 %."""
FRAME = 224
"""Side in pixels of the frames that AlexNet saw."""
OUTPUTS = 1000


@dataclass(frozen=True, slots=True)
class Cells:
    """The kinds and severities of an edition, and which variants they are.

    Attributes:
        keys: (kind, severity), in ImageNet-C's order, then by name.
        of_variant: `[V, C]`, 1 where a variant is of a cell.
    """

    keys: tuple[tuple[str, int], ...]
    of_variant: Floats

    @classmethod
    def of(cls, variants: Sequence[tuple[str, int]]) -> Cells:
        """From the kind and severity of each variant; the kind is `""` for a variant that is no corruption."""
        place = {kind: number for number, kind in enumerate(KINDS)}
        found = {key for key in variants if key[0]}
        keys = tuple(sorted(found, key=lambda key: (place.get(key[0], len(place)), key)))
        where = np.array([[key == one for key in keys] for one in variants], np.float64)
        return cls(keys, where.reshape(len(variants), len(keys)))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds, in the order of the cells."""
        return tuple(dict.fromkeys(kind for kind, _ in self.keys))


def family_of(kind: str) -> str:
    """The group that a kind's error is averaged in; `other` for a kind that isn't ours."""
    return KINDS[kind].family if kind in KINDS else "other"


def errors(
    data: Paired, number: int, cells: Cells, why_not: str, results: Results, norm: int | None = None
) -> dict[str, Json]:
    """Errors of one classifier in percent, with intervals; `norm` is the number of the one that they are divided by."""
    there, right = data.originals(number)
    edits = data.edits(number, there)
    if norm is not None:
        edits &= data.edits(norm, data.originals(norm)[0])
    asked = Asked.of(data, number, edits, cells, results)
    if norm is not None:
        asked = replace(asked, norm=Asked.of(data, norm, edits, cells, results))
    elif not why_not and (outputs := data.outputs[number]) != OUTPUTS:
        why_not = f"AlexNet's errors are those of {OUTPUTS} classes; this model has {outputs} outputs"
    held = [kind for kind in cells.kinds if asked.columns([kind])]
    kinds: dict[str, Json] = {kind: asked.kind(kind, why_not) for kind in held}
    families = list(dict.fromkeys(family_of(kind) for kind in held))
    exact = [kind for kind in held if asked.norm and not asked.norm.wrong[:, asked.columns([kind])].any()]
    norms = f"the norm makes no error in {', '.join(exact)}" if exact else ""
    why_not = why_not or (asked.missing() if norm is None else norms)
    return {
        "n": int(there.sum()),
        "clean_error": _clean(there, right, results),
        "kinds": kinds,
        "families": {
            name: asked.error([kind for kind in held if family_of(kind) == name], kinds=_number(held, name))
            for name in families
        },
        "mean_error": asked.error(COMMON),
        "relative_error": asked.relative_error(COMMON),
        "mce": None if why_not else asked.ce(COMMON if norm is None else held),
        "relative_mce": None if why_not else asked.relative_ce(COMMON if norm is None else held),
        "why_no_mce": why_not,
    }


def _number(kinds: Sequence[str], family: str) -> int:
    return sum(family_of(kind) == family for kind in kinds)


def _clean(there: Any, right: Any, results: Results) -> dict[str, Json] | None:
    """Error on the originals; None without any."""
    if not there.any():
        return None
    wrong, every = (part[:, None].astype(np.float64) for part in (there & ~right, there))
    return results.told(wrong, every)


@dataclass(frozen=True, slots=True)
class Asked:
    """A classifier's answers by photograph and cell, `[S, C]`.

    Attributes:
        count: number of pictures.
        wrong: of them, those with a wrong answer.
        more: by how many more are wrong than if they were originals.
        cells: kinds and severities.
        results: gets the figures.
        norm: the same of the classifier whose errors they are divided by; None for AlexNet's.
    """

    count: Floats
    wrong: Floats
    more: Floats
    cells: Cells
    results: Results
    norm: Asked | None = None

    @classmethod
    def of(cls, data: Paired, number: int, edits: Bools, cells: Cells, results: Results) -> Asked:
        """One classifier's answers to these edited pictures, `[P]`."""
        weights = (None, data.right[number])
        count, correct = (data.cells(edits, one) @ cells.of_variant for one in weights)
        return cls(count, count - correct, data.originals(number)[1][:, None] * count - correct, cells, results)

    def columns(self, kinds: Sequence[str]) -> list[int]:
        """Cells of these kinds that have pictures."""
        return [
            place for place, (kind, _) in enumerate(self.cells.keys) if kind in kinds and self.count[:, place].any()
        ]

    def severities(self, kind: str) -> list[int]:
        """Those of a kind that have pictures."""
        return [self.cells.keys[place][1] for place in self.columns([kind])]

    def error(self, kinds: Sequence[str], /, **more: Json) -> dict[str, Json] | None:
        """Mean over kinds and severities; None without pictures."""
        return self._mean(self.wrong, kinds, **more)

    def relative_error(self, kinds: Sequence[str]) -> dict[str, Json] | None:
        """The same above the error on the originals."""
        return self._mean(self.more, kinds, True)

    def ce(self, kinds: Sequence[str]) -> dict[str, Json] | None:
        """Errors as shares of the norm's, averaged over the kinds; of AlexNet's if they have all five severities."""
        if self.norm is not None:
            return self._relative_to(self.wrong, self.norm.wrong, kinds)
        return self._mean(self.wrong / self._alexnet(0), kinds)

    def relative_ce(self, kinds: Sequence[str]) -> dict[str, Json] | None:
        """The same for what the errors are above those on the originals."""
        if self.norm is not None:
            return self._relative_to(self.more, self.norm.more, kinds)
        return self._mean(self.more / self._alexnet(ALEXNET_CLEAN), kinds)

    def kind(self, kind: str, why_not: str) -> dict[str, Json]:
        """Figures of one kind."""
        by_severity: dict[str, Json] = {}
        for place in self.columns([kind]):
            top, bottom = self.wrong[:, [place]], self.count[:, [place]]
            by_severity[str(self.cells.keys[place][1])] = self.results.told(top, bottom, n=int(bottom.sum()))
        known = kind in ALEXNET and self.severities(kind) == list(SEVERITIES)
        whole = not why_not and (known or self.norm is not None)
        return {
            "family": family_of(kind),
            "severities": by_severity,
            "error": self.error([kind]),
            "ce": self.ce([kind]) if whole else None,
            "relative_ce": self.relative_ce([kind]) if whole else None,
        }

    def missing(self) -> str:
        """Name what an mCE lacks; `""` if nothing."""
        absent = [kind for kind in ALEXNET if not self.severities(kind)]
        if absent:
            return f"mCE is the mean over ImageNet-C's 15 kinds; there is no {', '.join(absent)}"
        short = [kind for kind in ALEXNET if self.severities(kind) != list(SEVERITIES)]
        if short:
            return f"mCE takes all five severities; {', '.join(short)} {'have' if len(short) > 1 else 'has'} fewer"
        return ""

    def _relative_to(self, top: Floats, bottom: Floats, kinds: Sequence[str]) -> dict[str, Json] | None:
        """Mean over kinds of their mean errors' ratios; None if one is divided by 0 or less."""
        held = [places for kind in kinds if (places := self.columns([kind]))]
        shares = [part / np.maximum(self.count.sum(axis=0), 1) for part in (top, bottom)]
        tops, bottoms = (np.array([part[:, one].sum(axis=1) for one in held]).T for part in shares)
        if not held or (bottoms.sum(axis=0) <= 0).any():
            return None
        photographs = int((self.count[:, self.columns(kinds)] > 0).any(axis=1).sum())
        if (tops == bottoms).all():
            return {"value": 100.0, "low": 100.0, "high": 100.0, "photographs": photographs}
        return self.results.of(tops, bottoms, None, photographs=photographs)

    def _alexnet(self, less: float) -> Floats:
        return np.array([ALEXNET.get(kind, np.nan) - less for kind, _ in self.cells.keys])

    def _mean(self, top: Floats, kinds: Sequence[str], signed: bool = False, /, **more: Json) -> dict[str, Json] | None:
        places = self.columns(kinds)
        if not places:
            return None
        return self.results.told(top[:, places], self.count[:, places], signed, **more)
