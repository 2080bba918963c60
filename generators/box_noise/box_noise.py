"""Pictures whose boxes have noise of a known law: moved, resized, reshaped, missing, doubled, or of another class.

What noise in boxes costs depends on their size (Kumar et al., SeaBird, CVPR 2024, arXiv 2403.20318), so each picture
says by which law its boxes were changed, and which IoU they have with the true ones. The pixels stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
from pydantic import Field, field_validator, model_validator

from variorum.annotations import DIGITS, box_iou
from variorum.generators.box_noise import noise
from variorum.generators.box_noise.noise import LAWS, placed, size_of
from variorum.generators.box_noise.truth import FIELDS, RATE, TRUTH, name_of
from variorum.kit.corrupt.frames import Unusable, usable
from variorum.kit.gates.gates import recorded
from variorum.reports.coco_objects import area_of, inside
from variorum.schemas.annotations import Box, Object
from variorum.schemas.canonical import Json, canonical_json
from variorum.schemas.component import Context, Generator
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Failure, Sample

Kind = Literal["shift", "scale", "aspect", "drop", "duplicate", "label"]
NAME = "box_noise"
"""Who marked an object that isn't the true one."""
DOUBLE = 0.8
"""IoU of an object's second box with its first."""


class Noise(NamedTuple):
    """Noise on the boxes of a picture. `law` is `rate` for kinds that hit a share of the objects."""

    kind: Kind
    law: str
    level: float
    seed: int

    @property
    def variant(self) -> str:
        """Its name: `shift_iou_0.7_1`, `drop_0.1_1`."""
        return f"{name_of(self.kind, self.law, self.level)}_{self.seed}"

    @property
    def purpose(self) -> str:
        """Purpose of its random numbers. All levels share them, so that they differ in strength alone."""
        return f"{self.kind} {self.seed}"


class BoxNoise(Generator):
    """The `original`, and the same picture with noisy boxes, for each kind, law, level and seed.

    The edition's objects are the noisy ones, so a detector that is trained on a variant sees what its annotators would
    have given it. The member `boxes.json` has the true ones: `gt`, `noisy` and their `iou`.
    """

    revision: ClassVar[int] = 2

    kinds: tuple[Kind, ...] = Field(default=get_args(Kind), min_length=1)
    """`shift`, `scale` and `aspect` change every box by a law; `drop`, `duplicate` and `label` hit a share of them."""
    target_iou: tuple[float, ...] = (0.9, 0.7, 0.5)
    """The IoU with the true box that every noisy one gets, cut at the edges of the picture, in a random direction."""
    relative: tuple[float, ...] = ()
    """Standard deviations of the error, as shares of the box's sides."""
    absolute: tuple[float, ...] = ()
    """Standard deviations of the error in pixels, so that small boxes suffer most."""
    rates: tuple[float, ...] = (0.1, 0.3)
    """Shares of objects that are dropped, doubled, or given another class."""
    seeds: int = Field(default=3, ge=1, le=100)
    """Number of draws, each with a variant of its own."""

    @field_validator("kinds", "target_iou", "relative", "absolute", "rates")
    @classmethod
    def _each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        named = [one if isinstance(one, str) else f"{one:g}" for one in value]
        if twice := next((name for place, name in enumerate(named) if name in named[:place]), ""):
            raise ValueError(f"has {twice} twice, in the six digits that variants are named by; give each value once")
        return value

    @model_validator(mode="after")
    def _in_range(self) -> BoxNoise:
        for name, most in (("target_iou", 1.0), ("relative", 1.0), ("rates", 1.0), ("absolute", 1000.0)):
            for level in getattr(self, name):
                if not 0 < level <= most or (name == "target_iou" and level == 1):
                    raise ValueError(f"{name} has {level:g}, which must be above 0 and {self._limit(name, most)}")
        if {*self.kinds} & {*noise.KINDS} and not (self.target_iou or self.relative or self.absolute):
            raise ValueError("shift, scale and aspect need a level in target_iou, relative or absolute")
        if {*self.kinds} - {*noise.KINDS} and not self.rates:
            raise ValueError("drop, duplicate and label need a share in rates")
        return self

    @staticmethod
    def _limit(name: str, most: float) -> str:
        return f"below {most:g}" if name == "target_iou" else f"at most {most:g}"

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if classes are to be changed and there is no other one."""
        if "label" in self.kinds and ctx.source is not None and len(ctx.source.classes(ctx)) < 2:
            name = ctx.source.component_name()
            raise RecipeError(f"box_noise: {name} has fewer than 2 classes; leave label out of kinds")

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The original and one picture per noise, or a Failure for each."""
        try:
            height, width = usable(sample).shape[:2]
        except Unusable as error:
            yield of.skipped(error.reason, str(error), variant="original", requested={})
            for one in self._noises():
                yield of.skipped(error.reason, str(error), variant=one.variant, requested=one._asdict())
            return
        objects = sample.annotations.objects
        boxes = [inside(item.box, height, width) for item in objects]
        true = [_entry(item, box, box) for item, box in zip(objects, boxes, strict=True) if box]
        yield _made(of, "original", {}, objects, true)
        classes = [] if of.ctx.source is None else [one.id for one in of.ctx.source.classes(of.ctx)]
        classes = classes or sorted({item.label for item in objects if item.label})
        for one in self._noises():
            if all(entry["crowd"] for entry in true):
                detail = "no object has a box that can be changed"
                yield of.skipped("no_objects", detail, variant=one.variant, requested=one._asdict())
                continue
            found, entries = list[Object](), list[dict[str, Json]]()
            streams = of.rng(one.purpose).spawn(len(objects))
            for item, box, rng in zip(objects, boxes, streams, strict=True):
                if box is None or item.crowd:
                    found.append(item)
                    entries += [_entry(item, box, box)] if box else []
                    continue
                made, told = changed(item, box, one, (height, width), classes, rng)
                found += made
                entries += told
            yield _made(of, one.variant, one._asdict(), found, entries, one.purpose)

    def _noises(self) -> Iterator[Noise]:
        """Kind by kind, law by law and level by level."""
        for kind in self.kinds:
            laws: dict[str, Sequence[float]] = {RATE: self.rates}
            if kind in noise.KINDS:
                laws = dict(zip(LAWS, (self.target_iou, self.relative, self.absolute), strict=True))
            for law, levels in laws.items():
                for level in levels:
                    for seed in range(1, self.seeds + 1):
                        yield Noise(kind, law, level, seed)


def changed(
    item: Object, box: Box, one: Noise, size: tuple[int, int], classes: Sequence[str], rng: np.random.Generator
) -> tuple[list[Object], list[dict[str, Json]]]:
    """Change an object, and record it.

    A box of which less than a pixel was left each time stays the true one, with the record `kept`: measures leave it
    out. An object with a noisy box has no mask, which would give the truth away. One without a class gets no other
    class.

    Args:
        item: the object.
        box: its box, inside the picture.
        one: the noise.
        size: height and width of the picture.
        classes: ids of those that a wrong label is drawn from.
        rng: of this object alone.
    """
    if one.kind in noise.KINDS:
        spot = placed(box, one.kind, one.law, one.level, size, rng)  # type: ignore[arg-type]
        record = _entry(item, box, spot.box or box, redraws=spot.redraws, kept=spot.box is None, cut=spot.cut)
        return ([_at(item, box, spot.box)] if spot.box else [item]), [record]
    if rng.random() >= one.level:
        return [item], [_entry(item, box, box)]
    if one.kind == "drop":
        return [], [_entry(item, box, None)]
    if one.kind == "duplicate":
        spot = placed(box, "shift", "iou", DOUBLE, size, rng)
        record = _entry(item, box, box, redraws=spot.redraws, kept=spot.box is None)
        if spot.box is None:
            return [item], [record]
        second = _entry(item, box, spot.box, duplicate=True, cut=spot.cut)
        return [item, replace(_at(item, box, spot.box), id="")], [record, second]
    others = [name for name in classes if name != item.label]
    if not others or not item.label:
        return [item], [_entry(item, box, box)]
    label = others[int(rng.integers(len(others)))]
    return [replace(item, label=label, origin=NAME)], [_entry(item, box, box, noisy_label=label)]


def _at(item: Object, true: Box, box: Box) -> Object:
    """The object with a noisy box. Its area changes as its box does."""
    area = item.area and round(area_of(item, true) * box[2] * box[3] / (true[2] * true[3]), DIGITS)
    return replace(item, box=box, area=area, mask="", origin=NAME)


def _entry(item: Object, box: Box, noisy: Box | None, **more: Json) -> dict[str, Json]:
    """The record of an object: its true box and the noisy one."""
    area = area_of(item, box)
    return {
        "id": item.id,
        "label": item.label,
        "noisy_label": item.label if noisy else None,
        "gt": list(box),
        "noisy": list(noisy) if noisy else None,
        "area": float(area),
        "bin": size_of(area),
        "iou": round(box_iou(box, noisy), 6) if noisy else None,
        "crowd": item.crowd,
        "duplicate": False,
        "redraws": 0,
        "kept": False,
        "cut": False,
        **more,
    }


def _made(
    of: Edit,
    variant: str,
    requested: dict[str, Json],
    objects: Sequence[Object],
    entries: Sequence[dict[str, Any]],
    purpose: str = "",
) -> Sample:
    """The same picture with other objects; its bytes are those that came in."""
    sample = of.sample
    own = [one for one in entries if not (one["crowd"] or one["duplicate"])]
    ious = [one["iou"] for one in own if one["iou"] is not None and not one["kept"]]
    kept = sum(one["kept"] for one in own)
    achieved: dict[str, Json] = {
        "objects": len(own),
        "dropped": sum(one["noisy"] is None for one in own),
        "added": sum(one["duplicate"] for one in entries),
        "relabelled": sum(one["noisy_label"] not in (None, one["label"]) for one in own),
        "redraws": sum(one["redraws"] for one in own),
        "cut": sum(one["cut"] for one in entries),
        "kept": kept,
        "mean_iou": round(float(np.mean(ious)), 6) if ious else None,
    }
    columns: dict[str, Json] = {name: [one[name] for one in entries] for name in FIELDS}
    truth: dict[str, Json] = {"kind": "", "law": "", "level": 0.0, "seed": 0, **requested, "objects": columns}
    made = of.made(
        sample.image,  # type: ignore[arg-type]
        variant=variant,
        requested=requested,
        achieved=achieved,
        gates={"inside": recorded(kept)} if requested else {},
        extras={**sample.extras, TRUTH: canonical_json(truth)},
        purpose=purpose,
        annotations=replace(sample.annotations, objects=tuple(objects)),
        digital_source_type=sample.digital_source_type,
    )
    return replace(made, encoded=sample.encoded)
