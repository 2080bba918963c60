"""Figures of `shape_bias`: decisions for shape and texture, and accuracies among sixteen categories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.pairing import ORIGINAL
from variorum.schemas.canonical import Json
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints

FEW = 0.3
"""Share of decisions for one of the two cues below which their ratio says little."""
LEAST = 10
"""Decisions for one of the two cues below which the same is true."""
SIXTEEN, ALL = "sixteen", "all"
"""Decisions among sixteen categories, and among all outputs."""


def in_order(variants: Iterable[str]) -> list[str]:
    """The originals first, then the variants by name, each once."""
    return sorted(set(variants), key=lambda name: (name != ORIGINAL, name))


@dataclass(frozen=True)
class Answers:
    """One classifier's answers on pictures with one cue or two.

    Attributes:
        table: as `ShapeBias.measure` gives it.
        rows: of the classifier, `[P]`.
        source: of each of these rows, the index of its photograph, `[P]`.
        unit: of each of these rows, the index of its photograph and of who lent it a texture, `[P]`.
        units: number of these.
        results: gets the figures.
    """

    table: Table
    rows: Ints
    source: Ints
    unit: Ints
    units: int
    results: Results

    def conflicts(self) -> dict[str, Json]:
        """Decisions on pictures with two cues, by stimulus and by decision."""
        two, variants = self._texts("texture_label") != "", self._texts("variant")
        found: dict[str, Json] = {}
        for variant in dict.fromkeys(variants[two].tolist()):
            here = two & (variants == variant)
            asked = {name: figures for name in (SIXTEEN, ALL) if (figures := self._decided(here, name)) is not None}
            if asked:
                found[variant] = asked
        return found

    def accuracies(self) -> dict[str, Json]:
        """By variant, how often the decision among sixteen is right on pictures with one cue."""
        said, category, variants = (self._texts(name) for name in ("sixteen", "shape_category", "variant"))
        asked = (self._texts("texture_label") == "") & (said != "") & (category != "")
        found: dict[str, Json] = {}
        for variant in in_order(variants[asked].tolist()):
            mine = asked & (variants == variant)
            found[variant] = {"n": int(mine.sum()), "accuracy": self._share(mine & (said == category), mine)}
        return found

    def _decided(self, here: Bools, name: str) -> dict[str, Json] | None:
        """Figures of one decision on these pictures; None where it doesn't apply to any."""
        if name == SIXTEEN:
            said, cues = self._texts("sixteen"), [self._texts(f"{cue}_category") for cue in ("shape", "texture")]
            mine = here & (said != "") & (cues[0] != "") & (cues[1] != "") & (cues[0] != cues[1])
            shape, texture = (mine & (said == cue) for cue in cues)
        else:
            said = self._texts("all")
            mine = here & (said != "")
            shape, texture = (mine & (said == cue) for cue in ("shape", "texture"))
        if not mine.any():
            return None
        suffix = "_category" if name == SIXTEEN else ""
        p_shape, p_texture = (self.table[f"p_{cue}{suffix}"][self.rows] for cue in ("shape", "texture"))
        either, number = shape | texture, int(mine.sum())
        return {
            "n": number,
            "photographs": len(np.unique(self.source[mine])),
            "shape": int(shape.sum()),
            "texture": int(texture.sum()),
            "neither": number - int(either.sum()),
            "cover": self._share(either, mine),
            "bias": self._share(shape, either) if either.any() else None,
            "few": bool(either.sum() < max(LEAST, FEW * number)),
            "leaning": self._share(mine & (p_shape > p_texture), mine),
        }

    def _share(self, part: Bools, whole: Bools) -> dict[str, Json]:
        """The share of `part` in `whole`, with an interval over photographs and lenders."""

        def by_unit(pictures: Bools) -> Array:
            return np.bincount(self.unit, pictures, self.units).astype(np.float64)[:, None]

        return self.results.told(by_unit(part), by_unit(whole))

    def _texts(self, name: str) -> Array:
        return self.table[name][self.rows].astype(str)
