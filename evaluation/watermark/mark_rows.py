"""The rows of one mark as arrays, and the parts of them that figures are about."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.resampling.thresholds import (
    conformal_threshold,
    false_positive_rate,
    least_bits,
    too_few,
    unsure,
)
from variorum.schemas.canonical import Json
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints


@dataclass(frozen=True)
class Looks:
    """A mark's detections in N pictures, one array `[N]` per column.

    Attributes:
        photograph: number of each picture's photograph.
        marked: whether the mark is in the picture.
        wrong_key: whether it was looked for with a wrong key.
        moved: whether the attack moves the whole picture.
        attack: name; `""` for none.
        strength: relative.
        score: higher means more surely marked.
        bits: of the payload; 0 without one.
        right: bits that are right.
        p_value: NaN if the mark has none.
    """

    photograph: Ints
    marked: Bools
    wrong_key: Bools
    attack: Array
    strength: Floats
    amount: Array
    component: Array
    family: Array
    goal: Array
    access: Array
    about_mark: Bools
    moved: Bools
    score: Floats
    bits: Ints
    right: Ints
    p_value: Floats
    values: Ints
    mark_psnr: Floats
    mark_ssim: Floats
    psnr: Floats
    ssim: Floats
    nmi: Floats
    lpips: Floats
    linf: Floats

    @classmethod
    def of(cls, table: Table, photograph: Ints) -> Looks:
        """All rows of a table; `photograph` `[N]` numbers their photographs."""
        own = {one.name: table[one.name] for one in fields(cls) if one.name != "photograph"}
        return cls(photograph=photograph, **own)

    def where(self, chosen: Array) -> Looks:
        """Those that are chosen by a mask or by positions."""
        return replace(self, **{one.name: getattr(self, one.name)[chosen] for one in fields(self)})

    def __len__(self) -> int:
        return len(self.score)

    @cached_property
    def own(self) -> Looks:
        """Those with the right key."""
        return self.where(~self.wrong_key)

    @cached_property
    def clean(self) -> Looks:
        """Those of pictures that weren't attacked, with the right key."""
        return self.own.where(self.own.attack == "")

    @cached_property
    def has_mark(self) -> Looks:
        """Those of marked pictures."""
        return self.where(self.marked)

    @cached_property
    def has_none(self) -> Looks:
        """Those of unmarked pictures."""
        return self.where(~self.marked)

    def at(self, attack: str, strength: float) -> Looks:
        """Those of an attack at a strength."""
        return self.own.where((self.own.attack == attack) & (self.own.strength == strength))

    @property
    def payload(self) -> int:
        """Bits of the payload; 0 without one."""
        return int(self.bits.max()) if len(self) else 0

    @property
    def tells_chance(self) -> bool:
        """Return whether the mark gives p-values."""
        return bool(len(self)) and bool(np.isfinite(self.p_value).all())


class Threshold:
    """Above it, a picture counts as marked; at one false positive rate, by chance alone or by unmarked pictures.

    Args:
        clean: looks at pictures that weren't attacked.
        rate: false positive rate, in (0, 1).
        empirical: whether unmarked pictures decide.
        sure: how likely they are such that the rate holds; None for one that holds on average.
    """

    def __init__(self, clean: Looks, rate: float, *, empirical: bool, sure: float | None = None) -> None:
        self._rate, self._empirical, self._sure = rate, empirical, sure
        self._bits = 0 if empirical else clean.payload
        self._least = least_bits(self._bits, rate)
        self._by_chance = not empirical and not self._bits and clean.tells_chance
        self._negatives = len(np.unique(clean.has_none.photograph))
        unmarked = clean.has_none
        self._score = conformal_threshold(unmarked.score, unmarked.photograph, rate, sure) if empirical else None
        self.known = self._score is not None or self._by_chance or bool(self._bits)
        self.expected = false_positive_rate(self._least, self._bits) if self._bits else rate
        """The false positive rate that it has if all is as assumed."""

    def found(self, looks: Looks) -> Bools:
        """Return whether each picture counts as marked, `[N]`."""
        if self._score is not None:
            return np.asarray(looks.score > self._score.score)
        return np.asarray(looks.p_value <= self._rate if self._by_chance else looks.right >= self._least)

    def said(self) -> dict[str, Json]:
        """Describe it for the figures."""
        if self._bits:
            share = round(self._least / self._bits, 4)
            return {"kind": "bits", "bits": self._least, "of": self._bits, "share": share,
                    "expected": round(100 * self.expected, 4)}  # fmt: skip
        if self._by_chance:
            return {"kind": "p-value", "p": self._rate, "expected": round(100 * self._rate, 4)}
        if self._score is not None:
            return {"kind": "score", "score": self._score.score, "n": self._negatives, "sure": self._sure,
                    "warning": unsure(self._negatives, self._rate)}  # fmt: skip
        why = (
            too_few(self._negatives, self._rate, self._sure)
            if self._empirical
            else "the mark has neither bits nor p-values"
        )
        return {"kind": None, "why": why}
