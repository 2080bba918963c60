"""A picture taken apart: framed, its object cut out, its plate without the object. All its edits start from here."""

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
from variorum.models.roles import BLANK
from variorum.pixels import UndecodableImage, decode, decode_mask
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
    """The parts of one picture, all of the frame's size.

    Attributes:
        sample: id of the sample.
        picture: `[S, S, 3]` uint8.
        alpha: `[S, S]` uint8, the object's opacity.
        mask_source: `given`, or the segmenter's alias.
        gates: whether the mask can be trusted, and `plate_blank` for a plate that can't be made.
        limits: thresholds of all gates.
        plate: `[S, S, 3]`, the picture without its object; None if one of the gates failed.
        method: how the plate was made: `given`, or the inpainter's word.
        exact: whether both mask and plate were given, so that the cut-out can be computed exactly.
        hole: `[S, S]`, what the inpainter filled; None for a given plate.
        models: alias to pin of the models that were used.
        probabilities: the gate classifier's, `[1000]` each, of the picture and the plate; empty without a classifier.
        annotations: the sample's, with its objects where the frame shows them.
        source_type: IPTC's term for what the picture is, as the sample has it; `""` if unknown.
    """

    sample: str
    picture: Pixels
    alpha: Pixels
    mask_source: str
    gates: Mapping[str, Gate]
    limits: Gates
    plate: Pixels | None = None
    method: str = ""
    exact: bool = False
    hole: Bools | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    probabilities: tuple[Singles, ...] = ()
    annotations: Annotations = field(default_factory=Annotations)
    source_type: str = ""

    @cached_property
    def cutout(self) -> geometry.Cutout:
        """The object, premultiplied."""
        if self.exact and self.plate is not None:
            return geometry.as_cutout(compositing.cut_exact(self.picture, self.alpha, self.plate))
        return geometry.as_cutout(compositing.cut_photograph(self.picture, self.alpha))

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
        found = gates.moving_gates(self.alpha, self.limits)
        return gates.as_given(found) if self.mask_source == "given" else found

    @cached_property
    def seam(self) -> tuple[float, float]:
        """Gradient along the object's outline and beside it, in the original picture."""
        return gates.seam_strength(self.picture, self.alpha)

    @cached_property
    def bare(self) -> Mapping[str, Gate]:
        """Return whether the plate may be shown without the object on it. A given plate isn't checked."""
        if self.plate is None or self.hole is None:
            return {}
        return gates.plate_gates(self.plate, self.hole, self.limits)

    def refusal(self) -> tuple[str, str] | None:
        """The first failed gate and a sentence about it; None for a picture that can be edited."""
        bad = gates.first_failed(self.gates)
        if not bad:
            return None
        why = "the inpainter made it black" if bad == PLATE_BLANK else "the mask can't be trusted"
        return bad, f"{why}: {self.gates[bad]}"

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


def scenes(samples: Sequence[Sample], setup: Setup, ctx: Context) -> list[Scene | BadInput]:
    """Take samples apart, with one call of each model for all of them; a `BadInput` in place of a bad sample."""
    inputs = [_read(sample) for sample in samples]
    parts: dict[int, _Parts] = {place: item for place, item in enumerate(inputs) if isinstance(item, _Parts)}
    names = object_names([samples[place] for place in parts], ctx)
    made = dict(zip(parts, _plated(_masked(list(parts.values()), setup, ctx), names, setup, ctx), strict=True))
    return [made[place] if isinstance(item, _Parts) else item for place, item in enumerate(inputs)]


@dataclass(frozen=True)
class _Parts:
    sample: Sample
    picture: Pixels
    mask: Pixels | None
    plate: Pixels | None


def _read(sample: Sample) -> _Parts | BadInput:
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
    for name, extra in (("mask", mask), ("plate", plate)):
        if extra is not None and extra.shape[:2] != picture.shape[:2]:
            detail = f"{name} is {list(extra.shape[:2])}, the picture {list(picture.shape[:2])}"
            return BadInput("size_mismatch", detail)
    try:
        check_masks(sample.annotations, picture.shape[0], picture.shape[1])
    except ValueError as error:
        return BadInput("bad_mask", str(error))
    return _Parts(sample, picture, mask, plate)


def _masked(parts: Sequence[_Parts], setup: Setup, ctx: Context) -> list[Scene]:
    """Framed pictures with alpha, the mask's gates, and the plate if one was given."""
    whole: dict[int, Pixels] = {place: part.mask for place, part in enumerate(parts) if part.mask is not None}
    unknown = [place for place, part in enumerate(parts) if part.mask is None]
    slid = [place for place in unknown if setup.framing == "object" and len(set(parts[place].picture.shape[:2])) > 1]
    found = plates.segmented([parts[place].picture for place in slid], setup.segmenter, ctx) if slid else []
    whole |= {place: item["mask"] for place, item in zip(slid, found, strict=True)}
    windows = [
        framing.window(
            part.picture.shape[0], part.picture.shape[1], whole.get(place) if setup.framing == "object" else None
        )
        for place, part in enumerate(parts)
    ]
    framed = [framing.crop(part.picture, at, setup.frame) for part, at in zip(parts, windows, strict=True)]
    # The framed picture shows the segmenter the object larger than the whole picture does: its mask is used, and the
    # other one is a second opinion. Where only the framed picture is segmented, its mirror image gives the second one.
    lone = [place for place in unknown if place not in whole]
    asked = [framed[place] for place in unknown] + [np.ascontiguousarray(framed[place][:, ::-1]) for place in lone]
    found = plates.segmented(asked, setup.segmenter, ctx) if asked else []
    seen = dict(zip(unknown, found, strict=False))
    second = {place: framing.crop(whole[place], windows[place], setup.frame) for place in slid}
    second |= {place: item["mask"][:, ::-1] for place, item in zip(lone, found[len(unknown) :], strict=True)}
    out = []
    for place, (part, picture, at) in enumerate(zip(parts, framed, windows, strict=True)):
        if part.mask is not None:
            alpha = framing.crop(part.mask, at, setup.frame)
            checks = gates.as_given(gates.trust_gates(alpha, math.nan, math.nan, math.nan, setup.limits))
        else:
            item = seen[place]
            alpha = compositing.soft_alpha(item["mask"])
            agreement = gates.iou(item["mask"], second[place])
            score, stability = float(item["score"]), float(item["stability"])
            checks = gates.trust_gates(alpha, score, stability, agreement, setup.limits)
        plate = None if part.plate is None else framing.crop(part.plate, at, setup.frame)
        size, frame = (part.picture.shape[0], part.picture.shape[1]), (setup.frame, setup.frame)
        out.append(
            Scene(
                part.sample.id,
                picture,
                alpha,
                "given" if part.mask is not None else setup.segmenter,
                checks,
                setup.limits,
                plate,
                "" if plate is None else "given",
                exact=part.mask is not None and plate is not None,
                models={} if part.mask is not None else {setup.segmenter: ctx.models.pin(setup.segmenter)},
                annotations=moved(part.sample.annotations, framing.matrix(at, setup.frame), size, frame),
                source_type=part.sample.digital_source_type,
            )
        )
    return out


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
            if method == BLANK:
                checks = {**out[place].gates, PLATE_BLANK: gates.at_least(0, 1)}
                out[place] = replace(out[place], gates=checks, models=models)
            else:
                out[place] = replace(out[place], plate=item["plate"], method=method, hole=gap, models=models)
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
