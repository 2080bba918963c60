"""Define a kind of attack: a name, an amount that grows with the strength, and a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
from pydantic import model_validator

from variorum.schemas.watermark import Attack, Attacked, Target

if TYPE_CHECKING:
    from typing import Self

    from variorum.arrays import Pixels
    from variorum.schemas.canonical import Json

Apply: TypeAlias = "Callable[[Pixels, float, np.random.Generator], Attacked]"
"""`(image, amount, rng)`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of attack.

    Attributes:
        amount: what is measured, with its unit if it has one: `degrees`. `""` for a kind that is there or not.
        none: the amount at strength 0.
        most: the amount at strength 1. Strengths in between are linear, as in WAVES.
        apply: the function.
        within: the amounts that there may be.
        whole: whether amounts are rounded to whole numbers.
    """

    amount: str
    none: float
    most: float
    apply: Apply
    within: tuple[float, float] = (0, 1)
    whole: bool = False

    def at(self, strength: float, most: float | None = None) -> float:
        """The amount at a relative strength; `most` stands in place of the kind's own."""
        value = self.none + strength * ((self.most if most is None else most) - self.none)
        return float(round(value) if self.whole else round(value, 6))


class OfAKind(Attack):
    """An attack that has a table of kinds."""

    kinds: ClassVar[Mapping[str, Kind]] = {}

    kind: str
    """Which one of the table."""
    most: float | None = None
    """The amount at strength 1 in place of the table's."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.kind not in self.kinds:
            raise ValueError(f"kind {self.kind!r} isn't one of: {', '.join(self.kinds)}")
        kind = self.kinds[self.kind]
        if self.most is not None:
            low, high = kind.within
            if not kind.amount:
                raise ValueError(f"most: {self.kind} has no amount")
            if not low <= self.most <= high:
                raise ValueError(f"most: {kind.amount} {self.most:g} of {self.kind} must be {low:g} to {high:g}")
            if (self.most - kind.none) * (kind.most - kind.none) <= 0:
                raise ValueError(f"most: {self.kind} goes from {kind.amount} {kind.none:g} the other way")
        return self

    @property
    def called(self) -> str:
        """Its label, or its kind."""
        return self.label or self.kind

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The absolute amount, such as `{"quality": 50}`; nothing for a kind that has none."""
        kind = self.kinds[self.kind]
        if not kind.amount:
            return {}
        amount = kind.at(strength, self.most)
        return {kind.amount: int(amount) if kind.whole else amount}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """Each picture changed by the kind's function."""
        kind = self.kinds[self.kind]
        amount = kind.at(strength, self.most)
        return [kind.apply(image, amount, rng) for image, rng in zip(images, rngs, strict=True)]
