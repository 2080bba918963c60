"""Textures that repeat without a seam, and the same textures that don't: a set for measures of tileability.

What the labels stand for is how a picture was made, and a check of its borders has to agree. TexTile (Rodriguez-Pardo
et al., CVPR 2024, arXiv 2403.12961) is a learned measure of the same thing; none of its scores, pictures or
annotations are in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from variorum.kit.corrupt.frames import MIN_SIDE, Unusable, usable
from variorum.kit.pictures import tiling
from variorum.kit.pictures.seams import border_step, evenness, repetition, seam_ratio
from variorum.schemas.canonical import Json
from variorum.schemas.component import Generator
from variorum.schemas.edit import Edit
from variorum.schemas.fields import each_once
from variorum.schemas.sample import ENHANCED, Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Method = Literal["crossfade", "min_cut", "mirror"]
Negative = Literal["crop", "shifted_seam", "ramp"]
TILEABLE, NOT_TILEABLE = "tileable", "not_tileable"
MOST = 512
"""Pixels of a tile's side."""
SHIFT = (0.25, 0.75)
"""Least and largest shift of `shifted_seam`, as a share of the side."""
LIGHT = (32.0, 64.0)
"""Least and largest difference in light of `ramp`, in grey levels."""
CLEAR = 12.0
"""Grey levels of `low_frequency` from which a picture counts as not tileable, whatever its seam ratio."""


class TileableTexture(Generator):
    """Of the most even windows of a picture, one square tile per method, with the tile repeated 2 x 2 beside it.

    `requested.truth` of each is `tileable` or `not_tileable`. A picture that its borders don't clearly confirm is
    quarantined as `ambiguous`, one that isn't a texture as `untextured`.
    """

    revision: ClassVar[int] = 2
    digital_source_type: ClassVar[str] = ENHANCED

    tile: int = Field(default=128, ge=MIN_SIDE, le=MOST, multiple_of=2)
    """Side of a tile in pixels."""
    methods: tuple[Method, ...] = ("crossfade", "min_cut", "mirror")
    """Tileable ones: what follows on the right and below fades into the left and upper border; or replaces it up to the
    line of least error; or the window is mirrored."""
    negatives: tuple[Negative, ...] = ("crop", "shifted_seam", "ramp")
    """Others: the window as it is; a crossfade whose sides are shifted against each other; a crossfade that gets
    lighter from one side to the other."""
    blend: float = Field(default=0.25, ge=0.05, le=0.5)
    """Width of the fade, as a share of the tile's side."""
    windows: int = Field(default=1, ge=1, le=64)
    """Of each picture, the most even ones first. Two overlap by at most half a side."""
    seamless: float = Field(default=1.5, gt=0)
    """Largest seam ratio of a tileable picture."""
    seam: float = Field(default=2.0, gt=0)
    """Least seam ratio of one that isn't, unless its light jumps at the border by 12 grey levels or more."""
    light: float = Field(default=8.0, ge=0, lt=CLEAR)
    """Largest `low_frequency` of a tileable picture, in grey levels."""
    most_uneven: float = Field(default=0.5, gt=0)
    """Largest unevenness of a window that counts as a texture."""

    _each_once = field_validator("methods", "negatives")(each_once("must be different methods, each once"))

    @model_validator(mode="after")
    def _something(self) -> TileableTexture:
        if not self.methods and not self.negatives:
            raise ValueError("methods and negatives are both empty, so there is nothing to make")
        if self.seamless > self.seam:
            raise ValueError(f"seamless is {self.seamless:g}; it must be at most seam, which is {self.seam:g}")
        return self

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The tiles, window by window, or a Failure for each."""
        side = self.tile + round(self.tile * self.blend)
        wanted = [(number, self._wanted(number)) for number in range(self.windows)]
        try:
            image = usable(sample, side)
        except Unusable as error:
            for _, variants in wanted:
                for variant, requested in variants:
                    yield of.skipped(error.reason, str(error), variant=variant, requested=requested)
            return
        places = tiling.even_windows(image, side, self.windows)
        for number, variants in wanted:
            for variant, requested in variants:
                if number < len(places):
                    yield self._made(of, image, places[number], variant, requested)
                    continue
                detail = f"the picture has room for {len(places)} windows of {side} pixels"
                yield of.skipped("no_room", detail, variant=variant, requested=requested)

    def _wanted(self, number: int) -> list[tuple[str, dict[str, Json]]]:
        """Variant and request of each picture made of a window."""
        truths = [(name, TILEABLE) for name in self.methods] + [(name, NOT_TILEABLE) for name in self.negatives]
        common: dict[str, Json] = {"tile": self.tile, "blend": self.blend, "window": number}
        return [(name, {"method": name, "truth": truth, **common}) for name, truth in truths]

    def _made(
        self, of: Edit, image: Pixels, place: tuple[int, int], variant: str, requested: Mapping[str, Json]
    ) -> Sample:
        top, left = place
        side = self.tile + round(self.tile * self.blend)
        window = np.ascontiguousarray(image[top : top + side, left : left + side])
        purpose = f"{variant} {requested['window']}"
        tile, drawn = made(variant, window, self.tile, of.rng(purpose))
        measured = {"seam_ratio": seam_ratio(tile), "low_frequency": border_step(tile), "repetition": repetition(tile)}
        gates = self._gates(tile, window, measured, tileable=requested["truth"] == TILEABLE)
        reasons = {"textured": "untextured", "seam": "ambiguous", "light": "ambiguous"}
        failed = next((name for name, gate in gates.items() if not gate["passed"]), "")
        return of.made(
            tile,
            variant=variant,
            requested=requested,
            achieved={"top": top, "left": left, **drawn, **{name: round(one, 4) for name, one in measured.items()}},
            gates=gates,
            extras={"tiled.png": tiling.tiled(tile)},
            reason=reasons.get(failed, failed),
            purpose=purpose,
            digital_source_type=of.sample.digital_source_type if variant == "crop" else None,
        )

    def _gates(self, tile: Pixels, window: Pixels, measured: Mapping[str, float], *, tileable: bool) -> dict[str, Gate]:
        uneven, contrast = evenness(window)
        flat = min(contrast, evenness(tile).contrast)
        gates = {
            "blank": _gate(flat, f">= {tiling.FLAT:g}", flat >= tiling.FLAT),
            "textured": _gate(uneven, f"<= {self.most_uneven:g}", uneven <= self.most_uneven),
        }
        ratio, step = measured["seam_ratio"], measured["low_frequency"]
        if tileable:
            gates["seam"] = _gate(ratio, f"<= {self.seamless:g}", ratio <= self.seamless)
            gates["light"] = _gate(step, f"<= {self.light:g}", step <= self.light)
        else:
            limit = f">= {self.seam:g}, or low_frequency >= {CLEAR:g}"
            gates["seam"] = _gate(ratio, limit, ratio >= self.seam or step >= CLEAR)
        return gates


def made(method: str, window: Pixels, tile: int, rng: np.random.Generator) -> tuple[Pixels, dict[str, Json]]:
    """A square picture of this side, made of a larger window by one of the methods, and what was drawn for it."""
    if method == "mirror":
        return tiling.mirrored(window, tile), {}
    if method == "crop":
        return tiling.cropped(window, tile), {}
    if method == "min_cut":
        return tiling.cut_least(window, tile), {}
    if method == "shifted_seam":
        shift = int(rng.integers(round(SHIFT[0] * tile), round(SHIFT[1] * tile) + 1))
        return tiling.misaligned(window, tile, shift), {"shift": shift}
    faded = tiling.crossfaded(window, tile)
    if method == "crossfade":
        return faded, {}
    levels, angle = round(float(rng.uniform(*LIGHT)), 3), round(float(rng.uniform(0, 2 * np.pi)), 4)
    return tiling.ramped(faded, levels, angle), {"levels": levels, "angle": angle}


def _gate(value: float, limit: str, passed: bool) -> Gate:
    return Gate(value=round(value, 6), limit=limit, passed=bool(passed))
