"""Textures of other pictures, of another class, with which an object can be filled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from variorum.generators.cue_conflict import gates, textures
from variorum.generators.cue_conflict.framed import Ready
from variorum.generators.cue_conflict.gates import Limits
from variorum.kit.corrupt.frames import Unusable
from variorum.kit.gates.gates import first_failed
from variorum.kit.labels.categories import category_of
from variorum.kit.pictures import framing
from variorum.kit.pictures.pool import Lenders, may_lend
from variorum.kit.pictures.seams import evenness
from variorum.kit.pictures.tiling import even_windows
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Gate, Lender, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.generators.cue_conflict.cue_conflict import CueConflict

Categories: TypeAlias = Literal["label", "sixteen"]
"""What two cues in conflict differ in: the class, or the class and one of the sixteen categories."""


@dataclass(frozen=True)
class Texture:
    """A texture and where it comes from.

    Attributes:
        patch: RGB `[n, n, 3]` uint8, without shading.
        label: class of the picture that it is of.
        made_of: that picture, and what is in it.
        gates: that it passed.
    """

    patch: Pixels
    label: str
    made_of: tuple[Lender, ...]
    gates: Mapping[str, Gate]


def label_of(sample: Sample) -> str:
    """The class of a picture that has exactly one; `""` otherwise."""
    return sample.labels[0] if len(sample.labels) == 1 else ""


def in_conflict(first: str, second: str, categories: Categories) -> bool:
    """Return whether two classes can be told apart by a decision: they differ, and so do their categories."""
    known = category_of(first), category_of(second)
    if categories == "sixteen" and not all(known):
        return False
    return bool(first) and bool(second) and first != second and (not all(known) or known[0] != known[1])


def refused(sample: Sample, found: Ready, categories: Categories) -> tuple[str, str]:
    """Why a picture's object gets no texture of another class, in a word and in a sentence; twice `""` if it may."""
    shape = label_of(sample)
    if any(found.refusal):
        return found.refusal
    if not shape:
        return "no_label", f"it has {len(sample.labels)} labels, and a shape has one"
    if categories == "sixteen" and not category_of(shape):
        return "no_category", f"{cut(shape)} belongs to none of the sixteen categories"
    return "", ""


@dataclass
class Partners:
    """Textures of a source's pictures, cut out as they are asked for.

    Attributes:
        settings: of the generator: how pictures are framed and masks found, what makes a conflict.
        ctx: `ctx.source` has the pictures, as the generators before this one let them through.
    """

    settings: CueConflict
    ctx: Context
    _textures: dict[int, Texture | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lenders = Lenders(self.ctx, self.settings.pool)

    def drawn(self, sample: Sample, rng: np.random.Generator) -> Iterator[Texture]:
        """Textures of pictures of other classes and of the sample's split, in an order drawn by `rng`."""
        mine = label_of(sample)
        for position, labels in self._lenders.to(sample, rng):
            if len(labels) == 1 and in_conflict(mine, labels[0], self.settings.categories):
                texture = self._texture(position)
                if texture is not None and may_lend(texture.made_of, sample):
                    yield texture

    def _texture(self, position: int) -> Texture | None:
        """The texture of the picture at this position; None if it has none."""
        if position not in self._textures:
            self._textures[position] = self._cut(position)
        return self._textures[position]

    def _cut(self, position: int) -> Texture | None:
        source, ctx, settings, limits = self.ctx.source, self.ctx, self.settings, self.settings.gates
        sample = self._lenders.read(position)
        assert source is not None
        if sample is None:
            return None

        # a texture comes from the middle of an object, so its outline matters less
        loose = limits.model_copy(update={"masks": "many"})

        def compute() -> dict[str, np.ndarray]:
            try:
                framed = settings.ready(sample, loose, ctx)
            except Unusable:
                return {"patch": np.zeros((0, 0, 3), np.uint8)}
            return {"patch": patch_of(framed, settings.patch, limits)}

        pins: list[Json] = [ctx.models.pin(alias) for alias in settings.aliases() if alias]
        where: list[Json] = [source.fingerprint(), source.pin(ctx), position]
        key = digest(["texture", where, settings.frame, pins, settings.patch, limits.least_patch])
        patch = ctx.memo(key, compute)["patch"]
        checks = {"texture_side": gates.patch_side(len(patch), settings.frame, limits)}
        if checks["texture_side"]["passed"]:
            checks |= gates.textured(evenness(patch), limits)
        return None if first_failed(checks) else Texture(patch, label_of(sample), sample.lent(), checks)


def patch_of(found: Ready, share: float, limits: Limits) -> Pixels:
    """The most even part of a picture's object, without shading, `[n, n, 3]`; n is 0 without a trusted object.

    A whole square from inside an object often shows an eye or a wheel beside what is a texture.

    Args:
        found: the picture with its mask.
        share: the part's side, as a share of that of the largest square inside the object.
        limits: the part has at least the side `least_patch`.
    """
    opaque = np.zeros((1, 1), bool) if found.alpha is None or not found.trusted else found.alpha >= 250
    at = framing.largest_square(opaque)
    if not at[2]:
        return np.zeros((0, 0, 3), np.uint8)
    square = textures.evened(framing.crop(found.image, at, at[2]))
    side = max(round(len(square) * share), math.ceil(limits.least_patch * len(found.image)))
    if side >= len(square):
        return square
    ((top, left),) = even_windows(square, side, 1)
    return textures.evened(np.ascontiguousarray(square[top : top + side, left : left + side]))
