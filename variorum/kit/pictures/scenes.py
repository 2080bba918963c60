"""A picture taken apart: its object cut out, framed, its plate without the object. All its edits start from here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from variorum.annotations import check_masks, moved
from variorum.kit.gates import gates
from variorum.kit.gates.gates import Gates
from variorum.kit.pictures import compositing, framing, geometry, plates
from variorum.kit.pictures.object_geometry import Layers
from variorum.models.imagenet_classes import index_of, is_wnid, name_of
from variorum.models.loaders.holes import push_pull
from variorum.models.roles import BLANK
from variorum.pixels import MAX_PIXELS, UndecodableImage, decode, decode_mask
from variorum.schemas.annotations import Annotations
from variorum.schemas.component import Context
from variorum.schemas.sample import COMPOSITE, PARTLY_GENERATED, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

LEAST_ALPHA = 25
"""Opacity above which a pixel is the subject's when objects are compared with it. A cut-out's edge fades within what a
segmenter found, so at one half small objects would seem to stick out."""
PLATE_BLANK = "plate_blank"
"""The check that fails where the inpainter made a black picture; only then is it there."""
WORKING = 1024
"""Pixels of the longer side that are enough for every segmenter."""
NEAR = 1.25
"""Side of the square that the class is looked for in, relative to the object's box: classifiers cut off the margin."""
GREY = 128
"""Of the ground on which an object is judged alone."""
GIVEN = "given"
"""The source of a mask that came with the picture, and the word for a plate that did."""
TRAINED = frozenset({"diffusion", "lama"})
"""The words of inpainters that are trained networks."""


class BadInput(ValueError):
    """A sample that can't be taken apart. `reason` is one word for a `Failure`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason

    @property
    def status(self) -> Literal["ineligible", "failed"]:
        """Of the rows in its place: nothing is wrong with a picture that is only too small."""
        return "ineligible" if self.reason == "too_small" else "failed"


@dataclass(frozen=True)
class Scene:
    """The parts of one picture.

    The canvas is the whole picture with its short side resized to the frame's; the frame shows a square of it. What
    isn't said to be of the canvas is of the frame's size.

    Attributes:
        sample: id of the sample.
        canvas: `[h, w, 3]` uint8.
        salience: `[h, w]` uint8 on the canvas: the segmenter's p in 255ths, or the given mask.
        opacity: `[h, w]` uint8 on the canvas, the object's.
        window: the frame's, on the canvas.
        band: width in pixels of the segmenter's doubt along the outline, on a canvas of 256; NaN for a given mask.
        mask_source: `given`, or the segmenter's alias.
        gates: whether the mask can be trusted.
        limits: thresholds of all gates.
        plate: `[S, S, 3]`, the picture without its object; None if one of the gates failed, or it can't be made.
        method: how the plate was made: `given`, or the inpainter's word.
        ground: a given plate on the canvas, so that the cut-out can be computed exactly if the mask was given too.
        hole: `[S, S]`, what the inpainter filled, or would have to; None for a given plate.
        models: alias to pin of the models that were used.
        probabilities: the gate classifier's, `[1000]` each, of the picture and the plate; empty without a classifier.
        annotations: the sample's, with its objects where the frame shows them.
        source_type: IPTC's term for what the picture is, as the sample has it; `""` if unknown.
    """

    sample: str
    canvas: Pixels
    salience: Pixels
    opacity: Pixels
    window: framing.Window
    band: float
    mask_source: str
    gates: Mapping[str, Gate]
    limits: Gates
    plate: Pixels | None = None
    method: str = ""
    ground: Pixels | None = None
    hole: Bools | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    probabilities: tuple[Singles, ...] = ()
    annotations: Annotations = field(default_factory=Annotations)
    source_type: str = ""

    @cached_property
    def picture(self) -> Pixels:
        """What the frame shows, `[S, S, 3]` uint8."""
        return framing.crop(self.canvas, self.window, self.window[2])

    @cached_property
    def alpha(self) -> Pixels:
        """The object's opacity in the frame, `[S, S]` uint8."""
        return framing.crop(self.opacity, self.window, self.window[2])

    @cached_property
    def cutout(self) -> geometry.Cutout:
        """The object on the canvas, premultiplied."""
        if self.ground is not None and self.mask_source == GIVEN:
            rgba = compositing.cut_exact(self.canvas, self.opacity, self.ground)
        else:
            rgba = compositing.cut_photograph(self.canvas, self.opacity)
        return geometry.as_cutout(rgba, self.window, gates.cut_side(self.opacity, self.limits))

    @cached_property
    def shown(self) -> float:
        """Share of the object that the frame shows."""
        return np.count_nonzero(self.alpha > 127) / max(1, int(np.count_nonzero(self.opacity > 127)))

    @cached_property
    def layers(self) -> Layers:
        """The objects, divided between the subject and the plate."""
        subject = self.alpha > LEAST_ALPHA
        return Layers(self.annotations, subject, subject if self.hole is None else self.hole)

    @property
    def plate_type(self) -> str:
        """IPTC's term for a picture on the plate, which a model may have made in part."""
        return PARTLY_GENERATED if self.method in TRAINED else COMPOSITE

    @cached_property
    def moving(self) -> Mapping[str, Gate]:
        """Return whether the object may be moved."""
        found = gates.moving_gates(self.opacity, self.limits, self.window[2])
        return gates.as_given(found) if self.mask_source == GIVEN else found

    @cached_property
    def seam(self) -> tuple[float, float]:
        """Gradient along the object's outline and beside it, in the original picture."""
        return gates.seam_strength(self.picture, self.alpha)

    @cached_property
    def bare(self) -> Mapping[str, Gate]:
        """Return whether the plate may be shown without the object on it. A given plate isn't checked."""
        if self.hole is None:
            return {}
        if self.plate is None:
            return {PLATE_BLANK: gates.at_least(0, 1)}
        return gates.plate_gates(self.plate, self.hole, self.limits)

    def refusal(self) -> tuple[str, str] | None:
        """The first failed gate and a sentence about it; None for a picture that can be edited."""
        bad = gates.first_failed(self.gates)
        return (bad, f"the mask can't be trusted: {self.gates[bad]}") if bad else None

    def judged(self, picture: Pixels) -> Singles | None:
        """The classifier's probabilities of a picture that is the scene's own or its plate; None for another one."""
        own = (self.picture, self.plate)
        return next((row for one, row in zip(own, self.probabilities, strict=False) if one is picture), None)

    def index(self, wanted: int | None) -> int:
        """ImageNet's index of the class to watch: `wanted`, or the picture's own top class for None."""
        return int(self.probabilities[0].argmax()) if wanted is None else wanted

    def class_gates(self, wanted: int | None, share: float) -> dict[str, Gate]:
        """`plate_clean`: whether the class disappears with the object. Empty without a plate or a classifier."""
        if len(self.probabilities) < 2:
            return {}
        before, after = (float(row[self.index(wanted)]) for row in self.probabilities)
        return {"plate_clean": gates.plate_clean(after, before, share, self.limits)}


def label_index(sample: Sample) -> int | None:
    """ImageNet's index of the first label that has one."""
    return next((found for label in sample.labels if (found := index_of(label)) is not None), None)


def object_names(samples: Sequence[Sample], ctx: Context) -> list[str]:
    """Name each sample's object by its labels' names in the source or ImageNet's table; `""` if there is none."""
    known = {info.id: info.name for info in ctx.source.classes(ctx)} if ctx.source else {}

    def name(label: str) -> str:
        return known.get(label) or (name_of(label) if is_wnid(label) else label)

    return [", ".join(name(label) for label in sample.labels) for sample in samples]


@dataclass(frozen=True)
class Setup:
    """Settings for taking pictures apart: those fields of `AttributeEdit` that matter for it."""

    frame: int
    framing: framing.Framing
    segmenter: str
    inpainter: str
    gate: str | None
    limits: Gates


def scenes(samples: Sequence[Sample], setup: Setup, ctx: Context, *, plated: bool = True) -> list[Scene | BadInput]:
    """Take samples apart, with one call of each model for all of them; a `BadInput` in place of a bad sample.

    Without `plated` no plate is made, which costs most after the mask, and no picture judged.
    """
    inputs = [_read(sample, setup.frame) for sample in samples]
    parts: dict[int, _Parts] = {place: item for place, item in enumerate(inputs) if isinstance(item, _Parts)}
    asked = [samples[place] for place in parts]
    found = _evident(_masked(list(parts.values()), setup, ctx), [label_index(one) for one in asked], setup, ctx)
    found = _plated(found, object_names(asked, ctx), setup, ctx) if plated else found
    made = dict(zip(parts, found, strict=True))
    return [made[place] if isinstance(item, _Parts) else item for place, item in enumerate(inputs)]


@dataclass(frozen=True)
class _Parts:
    sample: Sample
    picture: Pixels
    mask: Pixels | None
    plate: Pixels | None
    size: tuple[int, int]
    """The sample's height and width; a much larger picture than is needed is shrunk."""


def _read(sample: Sample, frame: int) -> _Parts | BadInput:
    """The sample's picture, mask and plate, decoded."""
    try:
        picture = decode(sample.image) if isinstance(sample.image, bytes) else sample.image
        mask, plate = sample.extras.get("mask.png"), sample.extras.get("plate.png")
        mask = decode_mask(mask) if isinstance(mask, bytes) else mask
        plate = decode(plate) if isinstance(plate, bytes) else plate
    except UndecodableImage as error:
        return BadInput(error.reason, str(error))
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        return BadInput("not_rgb", f"pixels are {picture.dtype} {list(picture.shape)}")
    height, width = picture.shape[:2]
    if frame * frame * max(height, width) > MAX_PIXELS * min(height, width):
        return BadInput("too_long", f"{width} x {height} pixels can't be resized to a short side of {frame}")
    for name, extra in (("mask", mask), ("plate", plate)):
        if extra is not None and extra.shape[:2] != picture.shape[:2]:
            detail = f"{name} is {list(extra.shape[:2])}, the picture {list(picture.shape[:2])}"
            return BadInput("size_mismatch", detail)
    try:
        check_masks(sample.annotations, picture.shape[0], picture.shape[1])
    except ValueError as error:
        return BadInput("bad_mask", str(error))
    # by a whole number, which is fast, and as far as nobody sees it
    smaller = min(max(height, width) // WORKING, min(height, width) // (2 * frame))
    return _Parts(sample, framing.shrunk(picture, smaller), mask, plate, (height, width))


def _masked(parts: Sequence[_Parts], setup: Setup, ctx: Context) -> list[Scene]:
    """Scenes with canvas, mask and its gates, and the plate if one was given."""
    unknown = [part for part in parts if part.mask is None]
    asked = [part.picture for part in unknown]
    seen = iter(plates.segmented(asked, setup.segmenter, ctx) if asked else [])
    out = []
    for part in parts:
        before, canvas = part.size, framing.canvas(part.picture, setup.frame, part.size)
        height, width = canvas.shape[:2]
        found = next(seen) if part.mask is None else {"mask": part.mask}
        salience = framing.canvas(found["mask"], setup.frame, part.size)
        opacity = salience if part.mask is not None else compositing.soft_alpha(salience)
        at = framing.window(height, width, salience if setup.framing == "object" else None)
        alpha = framing.crop(opacity, at, setup.frame)
        band = math.nan
        if part.mask is not None:
            checks = gates.as_given(gates.trust_gates(alpha, opacity, band, setup.limits))
        else:
            band = gates.band(salience)
            score, stability = float(found["score"]), float(found["stability"])
            checks = gates.trust_gates(alpha, opacity, band, setup.limits, score, stability)
        ground = None if part.plate is None else framing.canvas(part.plate, setup.frame, part.size)
        onto = np.array([[width / before[1], 0, -at[0]], [0, height / before[0], -at[1]]])
        out.append(
            Scene(
                part.sample.id,
                canvas,
                salience,
                opacity,
                at,
                band,
                GIVEN if part.mask is not None else setup.segmenter,
                checks,
                setup.limits,
                None if ground is None else framing.crop(ground, at, setup.frame),
                "" if ground is None else GIVEN,
                ground,
                models={} if part.mask is not None else {setup.segmenter: ctx.models.pin(setup.segmenter)},
                annotations=moved(part.sample.annotations, onto, before, (setup.frame, setup.frame)),
                source_type=part.sample.digital_source_type,
            )
        )
    return out


def _evident(parts: Sequence[Scene], indices: Sequence[int | None], setup: Setup, ctx: Context) -> list[Scene]:
    """The same scenes, with gates on what the classifier sees of the label's class with and without a found object.

    `indices` are ImageNet's of their labels.
    """
    out = list(parts)
    asked = [
        place
        for place, scene in enumerate(out)
        if setup.gate is not None
        and indices[place] is not None
        and scene.mask_source != GIVEN
        and not gates.first_failed(scene.gates)
    ]
    if not asked or setup.gate is None:
        return out
    views = [view for place in asked for view in _views(out[place])]
    rows = plates.classified(views, setup.gate, ctx)
    for number, place in enumerate(asked):
        index = indices[place]
        assert index is not None
        checks = gates.evidence_gates(rows[3 * number : 3 * number + 3], index, setup.limits)
        models = {**out[place].models, setup.gate: ctx.models.pin(setup.gate)}
        out[place] = replace(out[place], gates={**out[place].gates, **checks}, models=models)
    return out


def _views(scene: Scene) -> tuple[Pixels, Pixels, Pixels]:
    """The picture around the object; the object on grey; and what is around it, smoothly continued."""
    left, top, width, height = cv2.boundingRect((scene.opacity > 127).astype(np.uint8))
    side = min(round(NEAR * max(width, height)), *scene.opacity.shape)
    x, y = (
        min(max(0, start + size // 2 - side // 2), room - side)
        for start, size, room in ((left, width, scene.opacity.shape[1]), (top, height, scene.opacity.shape[0]))
    )
    near = slice(y, y + side), slice(x, x + side)
    picture, cover = scene.canvas[near], scene.opacity[near][..., None] / np.float32(255)
    alone = np.rint(cover * picture + (1 - cover) * np.float32(GREY)).astype(np.uint8)
    rest = push_pull(picture, plates.hole(_support(scene.opacity[near])))
    return np.ascontiguousarray(picture), alone, rest


def _plated(parts: Sequence[Scene], names: Sequence[str], setup: Setup, ctx: Context) -> list[Scene]:
    """The same scenes, with plates where the mask can be trusted, and the classifier's opinion of picture and plate.

    `names` are those of their objects.
    """
    out = list(parts)
    lacking = [place for place, scene in enumerate(out) if scene.plate is None and not gates.first_failed(scene.gates)]
    if lacking:
        holes = [plates.hole(_support(out[place].alpha)) for place in lacking]
        pictures, objects = [out[place].picture for place in lacking], [names[place] for place in lacking]
        filled = plates.emptied(pictures, holes, objects, setup.inpainter, ctx)
        for place, gap, item in zip(lacking, holes, filled, strict=True):
            models = {**out[place].models, setup.inpainter: ctx.models.pin(setup.inpainter)}
            method = str(item["method"])
            plate = None if method == BLANK else item["plate"]
            out[place] = replace(out[place], plate=plate, method=method, hole=gap, models=models)
    if setup.gate is not None:
        pairs = [(scene.picture,) if scene.plate is None else (scene.picture, scene.plate) for scene in out]
        rows = iter(plates.classified([item for pair in pairs for item in pair], setup.gate, ctx))
        for place, pair in enumerate(pairs):
            models = {**out[place].models, setup.gate: ctx.models.pin(setup.gate)}
            out[place] = replace(out[place], probabilities=tuple(next(rows) for _ in pair), models=models)
    return out


def _support(alpha: Pixels) -> Pixels:
    """The alpha's support, grown by the pixel that `soft_alpha` removed."""
    return np.asarray(cv2.dilate((alpha > 0).astype(np.uint8) * 255, np.ones((3, 3), np.uint8)), dtype=np.uint8)
