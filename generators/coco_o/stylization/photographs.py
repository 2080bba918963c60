"""A sample made ready for styles: at its working size, with sound objects and masks, and one that can stand alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.annotations import box_iou, box_of, check_masks, cut_box, decode_mask, moved, with_mask
from variorum.generators.coco_o.stylization.gates import Limits, subject_gates, without_islands
from variorum.kit.gates.gates import band, first_failed
from variorum.kit.pictures import compositing, plates
from variorum.kit.pictures.scenes import BadInput
from variorum.pixels import UndecodableImage
from variorum.pixels import decode_mask as decode_picture_of_mask
from variorum.schemas.annotations import Annotations, Box, Object
from variorum.schemas.component import Context
from variorum.schemas.sample import Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

LEAST_SIDE = 32
"""Pixels of the shorter side below which nothing can be drawn."""
EDGE = 0.7
"""Pixels over which the edge of a mask without soft edges is blurred, so that the object has no stairs."""


@dataclass(frozen=True)
class Subject:
    """An object that can stand alone.

    Attributes:
        alpha: what is drawn of it, `[H, W]` uint8.
        at: its place among the annotations' objects; None for what a segmenter found in a picture without objects.
        source: of the mask: `object`, `member`, or the segmenter's alias.
        gates: the checks that it passed.
    """

    alpha: Pixels
    at: int | None
    source: str
    gates: Mapping[str, Gate]


@dataclass(frozen=True)
class Photograph:
    """A sample at its working size.

    Attributes:
        image: RGB `[H, W, 3]` uint8.
        annotations: with the sample's sound objects, moved along.
        dropped: how many objects weren't sound: outside the picture, without an area, or not finite.
        masks: of its objects `[H, W]` uint8, the largest first.
        subject: None if there is no object that can stand alone; then `refusal` says why.
        models: alias to pin of the models that were used.
    """

    image: Pixels
    annotations: Annotations
    dropped: int = 0
    masks: Sequence[Pixels] = ()
    subject: Subject | None = None
    refusal: str = ""
    models: Mapping[str, str] = field(default_factory=dict)

    def boxes(self, annotations: Annotations) -> list[Box]:
        """The boxes that must stay legible: of the objects, or else of the largest mask, or else of the picture."""
        given = [item.box for item in annotations.objects if not item.crowd]
        around = box_of(self.masks[0] > 127) if self.masks else None
        height, width = self.image.shape[:2]
        return given or [around or (0.0, 0.0, float(width), float(height))]


def photograph(sample: Sample, size: int | None, limits: Limits, segmenter: str | None, ctx: Context) -> Photograph:
    """A sample with decoded pixels, made ready.

    Masks are those of its objects, or else its member `mask.png`, or else the segmenter's. The segmenter doesn't know
    which object is meant, so where there are objects its mask counts only if it fits the box of one.

    Args:
        sample: the picture.
        size: longest short side in pixels; None for the picture's own.
        limits: thresholds.
        segmenter: alias; None for no masks but the given ones.
        ctx: with models and memo.

    Raises:
        BadInput: the picture, its mask or an object's mask can't be used.
    """
    image = sample.image
    if isinstance(image, bytes) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        what = "bytes" if isinstance(image, bytes) else f"{image.dtype} {list(image.shape)}"
        raise BadInput("not_rgb", f"the picture is {what}; styles need RGB pixels")
    height, width = before = image.shape[:2]
    if min(before) < LEAST_SIDE:
        raise BadInput("too_small", f"the picture is {width} x {height}; its shorter side must be {LEAST_SIDE}")
    try:
        check_masks(sample.annotations, height, width)
        given = sample.extras.get("mask.png")
        given = decode_picture_of_mask(given) if isinstance(given, bytes) else given
    except UndecodableImage as error:
        raise BadInput(error.reason, f"mask.png: {error}") from None
    except ValueError as error:
        raise BadInput("bad_mask", str(error)) from None
    if given is not None and given.shape != before:
        raise BadInput("size_mismatch", f"mask.png is {list(given.shape)}, the picture {list(before)}")
    sound = _sound(sample.annotations, height, width)
    if size is not None and min(before) > size:
        scale = size / min(before)
        after = (max(1, round(height * scale)), max(1, round(width * scale)))
        matrix = np.array([[after[1] / width, 0, 0], [0, after[0] / height, 0]], np.float64)
        image = np.asarray(cv2.resize(image, after[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        sound = moved(sound, matrix, before, after)
        if given is not None:
            given = np.asarray(cv2.resize(given, after[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    dropped = len(sample.annotations.objects) - len(sound.objects)
    return _with_masks(Photograph(image, sound, dropped), given, limits, segmenter, ctx)


def alone(found: Photograph) -> tuple[Annotations, int]:
    """The annotations of the picture in which only the subject is left, and how many other boxes go.

    Its box and mask are those of what is drawn.
    """
    assert found.subject is not None
    at, objects, alpha = found.subject.at, found.annotations.objects, found.subject.alpha
    left = None if at is None else objects[at]
    if left and left.mask:
        inside = decode_mask(left, *alpha.shape)
        drawn = inside & (alpha > 0)
        left = left if np.array_equal(drawn, inside) else with_mask(left, drawn)
    elif left:
        left = with_mask(left, alpha > 127)
    return replace(found.annotations, objects=(left,) if left else ()), len(objects) - bool(left)


def _sound(annotations: Annotations, height: int, width: int) -> Annotations:
    """The annotations with boxes inside the picture; objects of which nothing is there go."""
    kept = []
    for item in annotations.objects:
        if item.mask:
            if box_of(decode_mask(item, height, width)) is not None:
                kept.append(item)
        elif all(map(math.isfinite, item.box)) and item.box[2] > 0 and item.box[3] > 0:
            box = cut_box(item.box, (0.0, 0.0, float(width), float(height)))
            if box is not None:
                kept.append(item if _inside(item.box, height, width) else replace(item, box=box))
    return replace(annotations, objects=tuple(kept))


def _inside(box: Box, height: int, width: int) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[0] + box[2] <= width and box[1] + box[3] <= height


def _with_masks(
    made: Photograph, given: Pixels | None, limits: Limits, segmenter: str | None, ctx: Context
) -> Photograph:
    """The photograph with masks, and the largest object that passes the checks as its subject."""
    height, width = made.image.shape[:2]
    objects = made.annotations.objects
    found: list[tuple[Pixels, int | None, str]] = []
    models: dict[str, str] = {}
    for at, item in enumerate(objects):
        if item.mask and not item.crowd:
            inside = decode_mask(item, height, width).astype(np.uint8) * 255
            found.append((np.asarray(cv2.GaussianBlur(inside, (0, 0), EDGE), np.uint8), at, "object"))
    if not found and given is not None:
        which, fits = _fitting(given, objects, limits)
        found += [(given, which, "member")] if fits else []
    why, doubt = "no object has a mask", math.nan
    if not found and given is None and segmenter is not None:
        (seen,) = plates.segmented([made.image], segmenter, ctx)
        models, doubt = {segmenter: ctx.models.pin(segmenter)}, band(seen["mask"])
        alpha = compositing.soft_alpha(seen["mask"])
        which, fits = _fitting(alpha, objects, limits)
        found += [(alpha, which, segmenter)] if fits else []
        why = f"what {segmenter} finds fits no box with an IoU of {limits.least_box_iou:g}"
    found.sort(key=lambda one: -int(np.count_nonzero(one[0] > 127)))
    subject = None
    for number, (mask, which, source) in enumerate(found):
        alpha = without_islands(mask)
        others = [one for one, _, _ in found[:number] + found[number + 1 :]]
        box = None if which is None or source == "object" else objects[which].box
        checks = subject_gates(alpha, others, box, doubt, limits)
        bad = first_failed(checks)
        if not bad:
            subject = Subject(alpha, which, source, checks)
            break
        name = objects[which].label if which is not None else ""
        said = f"{bad} is {checks[bad]['value']:.3g} and must be {checks[bad]['limit']}"
        why = why if why.startswith("of ") else f"of {name or 'the object'}, {said}"
    masks = [alpha for alpha, _, _ in found]
    return replace(made, masks=masks, subject=subject, refusal="" if subject else why, models=models)


def _fitting(mask: Pixels, objects: Sequence[Object], limits: Limits) -> tuple[int | None, bool]:
    """The place of the object whose box fits a mask best, and whether it fits; a picture without objects fits any."""
    around = box_of(mask > 127)
    if around is None:
        return None, False
    if not objects:
        return None, True
    shares = [0.0 if item.crowd else box_iou(item.box, around) for item in objects]
    best = int(np.argmax(shares))
    return (best, True) if shares[best] >= limits.least_box_iou else (None, False)
