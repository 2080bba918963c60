"""Photographs moved by a pixel or a few: the window moves over a larger photograph, so real content enters at its edge.

After Shifman & Weiss, Lost in Translation: Modern Neural Networks Still Struggle With Small Realistic Image
Transformations, ECCV 2024 (arXiv 2404.07153). The borders `cyclic` and `zero` are controls: no camera makes such
shifts, and some networks are built to ignore the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from variorum.annotations import moved, resampled
from variorum.generators.translation.windows import Border, Shift, Steps, apart, corner, margin, origins, shifts, shown
from variorum.kit.corrupt.frames import MIN_SIDE, Framed, Unusable, framed, usable
from variorum.kit.gates.gates import Gates, at_least, at_most, blank
from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json
from variorum.schemas.component import Generator
from variorum.schemas.edit import Edit
from variorum.schemas.fields import each_once
from variorum.schemas.sample import ENHANCED, Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

PREFIX: dict[Border, str] = {"photograph": "shift", "cyclic": "cyclic", "zero": "zero"}
"""Prefix of a variant's name, by border."""
STILL: Shift = (0, 0)


class Translation(Generator):
    """The `original` in its frame, and one picture per shift and border.

    `shift_+1_0` is the window one pixel further to the right. The short side is resized to the frame and `radius`
    pixels on either side of it, so a moved window shows what the photograph has there. Objects and the mask move along.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    frame: int = Field(default=256, ge=64, le=1024)
    """Side of the square pictures, in pixels."""
    radius: int = Field(default=1, ge=0, le=32)
    """The longest shift in pixels. Shifts are by 1, 2, 4 … up to it; 0 makes only the original."""
    steps: Steps = "square"
    """`square` moves in eight directions, `axes` in four."""
    borders: tuple[Border, ...] = Field(default=("photograph",), min_length=1)
    """What enters at the edge: the `photograph`, what leaves at the other side (`cyclic`), or black (`zero`)."""
    at: Literal["frame", "source"] = "frame"
    """`frame` moves by pixels of the frame; `source` by pixels of the photograph, which is resized afterwards."""

    _each_once = field_validator("borders")(each_once("must be one or more borders, each once"))

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The original and its moved pictures, border by border, or a Failure for each."""
        unmoved: dict[str, Json] = {"at": self.at, "frame": self.frame}
        try:
            field, side = self._field(sample)
        except Unusable as error:
            yield of.skipped(error.reason, str(error), variant="original", requested=unmoved)
            for _, _, variant, requested in self._wanted():
                yield of.skipped(error.reason, str(error), variant=variant, requested=requested)
            return
        scale = min(field.image.shape[:2]) / min(np.shape(sample.image)[:2]) * self.frame / side
        base = view(field, side, STILL, "photograph")
        yield self._made(of, base, "original", unmoved, {"scale": round(scale, 6)}, {}, sample.digital_source_type)
        for shift, border, variant, requested in self._wanted():
            found = view(field, side, shift, border)
            if np.array_equal(found.image, base.image):
                detail = "every pixel is that of the original"
                yield of.skipped("unchanged", detail, variant=variant, requested=requested)
                continue
            gates = {}
            if border == "photograph":
                gates["margin"] = at_least(margin(field.image, side, shift), 0)
            if self.at == "frame":
                gates["exact"] = at_most(apart(base.image, found.image, shift), 0)
            pixels = max(map(abs, shift)) * self.frame / side
            achieved: dict[str, Json] = {"scale": round(scale, 6), "pixels": round(pixels, 6)}
            yield self._made(of, found, variant, requested, achieved, gates)

    def _field(self, sample: Sample) -> tuple[Framed, int]:
        """Return the field that windows move over, and their side.

        Raises:
            Unusable: the picture can't be used.
        """
        usable(sample)
        if self.at == "frame":
            return framed(sample, self.frame + 2 * self.radius, larger=1), self.frame
        field = framed(sample, None)
        height, width = field.image.shape[:2]
        side = min(height, width) - 2 * self.radius
        if side < MIN_SIDE:
            needed = MIN_SIDE + 2 * self.radius
            raise Unusable("too_small", f"{width} x {height} pixels, the shorter side must be {needed}")
        return field, side

    def _wanted(self) -> Iterator[tuple[Shift, Border, str, dict[str, Json]]]:
        """Shift, border, variant and request of each moved picture."""
        for border in self.borders:
            for x, y in shifts(self.radius, self.steps):
                variant = f"{PREFIX[border]}_{x:+d}_{y:+d}".replace("+0", "0")
                yield (x, y), border, variant, {"dx": x, "dy": y, "border": border, "at": self.at, "frame": self.frame}

    def _made(
        self,
        of: Edit,
        found: Framed,
        variant: str,
        requested: dict[str, Json],
        achieved: dict[str, Json],
        gates: dict[str, Gate],
        kind: str | None = None,
    ) -> Sample:
        image, mask, annotations = resized(found, self.frame) if self.at == "source" else found
        return of.made(
            np.ascontiguousarray(image),
            variant=variant,
            requested=requested,
            achieved=achieved,
            gates={**gates, "blank": blank(image, Gates())},
            extras={} if mask is None else {"mask.png": np.ascontiguousarray(mask)},
            annotations=annotations,
            digital_source_type=kind,
        )


def view(field: Framed, side: int, shift: Shift, border: Border) -> Framed:
    """Cut a window out of a picture, with its mask and objects.

    An object that leaves a `cyclic` window at one side enters at the other, and its box is around both parts.
    """
    image = shown(field.image, side, shift, border)
    mask = None if field.mask is None else shown(field.mask, side, shift, border)
    window = shift if border == "photograph" else STILL
    annotations = cut(field.annotations, field.image, side, window)
    if border == "cyclic":
        annotations = resampled(annotations, origins(side, shift), (side, side))
    if border == "zero":
        annotations = cut(annotations, image, side, shift)
    return Framed(image, mask, annotations)


def cut(annotations: Annotations, field: Pixels, side: int, shift: Shift) -> Annotations:
    """The annotations of a picture in a window of it."""
    left, top = corner(field, side, shift)
    height, width = field.shape[:2]
    return moved(annotations, np.array([[1.0, 0, -left], [0, 1, -top]]), (height, width), (side, side))


def resized(found: Framed, frame: int) -> Framed:
    """A square picture at another size, with its mask and objects."""
    side = found.image.shape[0]

    def small(pixels: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(pixels).resize((frame, frame), Image.Resampling.BILINEAR))

    matrix = np.array([[frame / side, 0, 0], [0, frame / side, 0]])
    mask = None if found.mask is None else small(found.mask)
    return Framed(small(found.image), mask, moved(found.annotations, matrix, (side, side), (frame, frame)))
