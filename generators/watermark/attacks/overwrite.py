"""Overwriting: pictures are marked again with other keys, by the mark's public algorithm.

The attacker has the algorithm and not the key. He doesn't know where the bits lie, so to the first mark his own one is
noise in the same places and frequencies. Each new mark costs about as much as the first one did, so the strength sets
their number: 16 marks of 45 dB leave 33 dB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.schemas.canonical import Json
from variorum.schemas.watermark import KEY_BYTES, Access, Attack, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class Overwrite(Attack):
    """Pictures marked again, once or several times, each time with a new key."""

    family: ClassVar[str] = "overwriting"
    goal: ClassVar[Goal] = "removal"
    access: ClassVar[Access] = "grey box"
    about_mark: ClassVar[bool] = True

    times: int = Field(default=16, ge=1, le=50)
    """How often at full strength; at least once. The default gives 1, 3, 8 and 16 at .05, .2, .5 and 1."""

    def amount(self, strength: float) -> Mapping[str, Json]:
        """Return the number of times."""
        return {"times": self._count(strength)}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Pixels]:
        """The pictures, marked again and again."""
        assert target.mark is not None
        found: Sequence[Pixels] = images
        for _ in range(self._count(strength)):
            found = target.mark.embed(found, [rng.bytes(KEY_BYTES) for rng in rngs], target.ctx)
        return found

    def _count(self, strength: float) -> int:
        return max(1, round(self.times * strength))
