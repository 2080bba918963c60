"""ImageNet-E: the same object with another background, size, place or direction, and nothing else changed.

After Li et al., ImageNet-E, CVPR 2023 (arXiv 2303.17096), with plates by inpainting in place of guided diffusion and
geometry in closed form. Every edit is checked; what fails a check is quarantined under the check's name, and what the
object rules out becomes a `Failure` with the reason. Nothing is copied through under an edit's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from generators.editing import complexity, compositing, gates, geometry
from generators.editing.framing import Framing
from generators.editing.gates import Gates
from generators.editing.geometry import CannotEdit, Placed, Strategy
from generators.editing.scenes import BadInput, Pool, Scene, Setup, label_index, scenes
from schemas.canonical import Json
from schemas.component import Context, Generator
from schemas.sample import Failure, Gate, Op, Sample, child_id

Pixels = NDArray[np.uint8]
Attribute = Literal["background", "size", "position", "direction", "mirror"]
Background = Literal["random", "texture_up", "texture_down"]
Rate = Annotated[float, Field(gt=0, lt=1)]


class AttributeEdit(Generator):
    """Edits of one attribute at a time, next to three baselines: the `original`, its `plate` and a `control`.

    The plate is the picture without its object: what a model still answers there, it takes from the background. The
    control puts the object back where it was, on its own plate: what a model loses on it, cutting and pasting
    cost. The size of an object is its mask's share of the frame's pixels. Position and direction start from the
    object at `base_size`, as in the paper, or at its own size for None; a later comparison finds the picture they
    start from in `requested["reference"]`.
    """

    frame: int = Field(default=256, ge=64, le=1024)
    framing: Framing = "object"
    attributes: tuple[Attribute, ...] = ("background", "size", "position", "direction")
    backgrounds: tuple[Background, ...] = ("random", "texture_up", "texture_down")
    sizes: tuple[Literal["full"] | Rate, ...] = ("full", 0.1, 0.08, 0.05)
    base_size: Rate | None = 0.05
    position: Strategy = "random"
    angles: tuple[float, ...] = (-135, -90, -60, -45, -30, -15, 15, 30, 45, 60, 90, 135, 180)
    margin: int = Field(default=2, ge=0, description="pixels between the object and the frame's border")
    texture_up: tuple[float, ...] = Field(
        default=(2.5, 2.5, 1.5), description="gain of each band of detail, finest first"
    )
    texture_down: tuple[float, ...] = (0.0, 0.25, 0.6)
    plate_pool: int = Field(default=64, ge=2, description="pictures of the source whose plates others may get")
    gates: Gates = Gates()
    segmenter: str = "segmenter"
    inpainter: str = "inpainter"
    classifier: str | None = Field(
        default="classifier_gate", description="judges plates and records label_p; None for neither"
    )
    batch: int = Field(default=4, ge=1, description="source pictures for which the models are called together")

    @field_validator("angles")
    @classmethod
    def _turns(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or any(not 15 <= abs(angle) <= 180 for angle in value):
            raise ValueError("must be angles of 15 to 180 degrees, to either side")
        return value

    @model_validator(mode="after")
    def _reference(self) -> AttributeEdit:
        based = {"position", "direction"} & set(self.attributes)
        if based and self.base_size is not None and ("size" not in self.attributes or self.base_size not in self.sizes):
            raise ValueError(f"base_size {self.base_size} must be one of sizes, or null for the object's own size")
        return self

    def aliases(self) -> tuple[str, ...]:
        """The segmenter, the inpainter and the gate classifier."""
        return (self.segmenter, self.inpainter, *self.filters())

    def filters(self) -> tuple[str, ...]:
        """The gate classifier."""
        return () if self.classifier is None else (self.classifier,)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its `original`, `plate`, `control` and edits, in this order, or why one is missing."""
        setup = Setup(self.frame, self.framing, self.segmenter, self.inpainter, self.classifier, self.gates)
        pool = Pool(setup, ctx, self.plate_pool)
        waiting = iter(samples)
        while group := list(islice(waiting, self.batch)):
            drafts: list[Draft | Failure] = []
            for sample, scene in zip(group, scenes(group, setup, ctx), strict=True):
                drafts += [self._draft(sample, scene, edit, pool, ctx) for edit in self.plan(sample, ctx)]
            yield from self._judged(drafts, ctx)

    def plan(self, sample: Sample, ctx: Context) -> Iterator[Edit]:
        """What is asked for, from the fields and the seed alone, so that ids are known before any picture is."""
        base = "original" if self.base_size is None else _size_name(self.base_size)
        yield Edit("original", {}, _original)
        yield Edit("plate", {}, _plate)
        yield Edit("control", {}, _control)
        if "background" in self.attributes:
            for kind in self.backgrounds:
                if kind == "random":
                    yield Edit("background_random", {"plates": self.plate_pool}, _random_plate)
                else:
                    gains = self.texture_up if kind == "texture_up" else self.texture_down
                    yield Edit(kind, {"gains": list(gains)}, _texture)
        if "size" in self.attributes:
            for rate in self.sizes:
                yield Edit(_size_name(rate), {"rate": rate}, _size)
        if "position" in self.attributes:
            yield Edit("position", {"strategy": self.position, "reference": base}, _position)
        if "direction" in self.attributes:
            rng = ctx.rng(self.component_name(), sample.id, "direction")
            angle = float(self.angles[int(rng.integers(len(self.angles)))])
            yield Edit("direction", {"angle": angle, "reference": base}, _direction)
        if "mirror" in self.attributes:
            yield Edit("mirror", {"reference": "control"}, _mirror)

    def _draft(self, sample: Sample, scene: Scene | BadInput, edit: Edit, pool: Pool, ctx: Context) -> Draft | Failure:
        def failure(status: Literal["ineligible", "failed"], reason: str, detail: str, found: Any = None) -> Failure:
            return Failure(
                child_id(sample.id, self.fingerprint(), edit.variant, edit.requested),
                sample.id,
                status,
                reason,
                edit.variant,
                sample.labels,
                sample.origin,
                sample.licence,
                detail,
                found or {},
            )

        if isinstance(scene, BadInput):
            return failure("failed", scene.reason, str(scene))
        bad = gates.first_failed(scene.gates)
        if bad and edit.variant != "original":
            return failure("ineligible", bad, f"the mask can't be trusted: {scene.gates[bad]}", scene.gates)
        job = Job(self, sample, scene, label_index(sample), edit, pool, ctx)
        try:
            draft = edit.make(job)
        except CannotEdit as error:
            return failure("ineligible", error.reason, error.detail, {**scene.gates, **scene.moving})
        draft.gates["blank"] = gates.blank(draft.picture, self.gates)
        return draft

    def _judged(self, drafts: list[Draft | Failure], ctx: Context) -> Iterator[Sample | Failure]:
        """The same drafts as samples, with the classifier's opinion on record."""
        made = [item for item in drafts if isinstance(item, Draft)]
        if self.classifier is not None and made:
            rows = ctx.models.get(self.classifier)([item.picture for item in made])
            for item, row in zip(made, rows, strict=True):
                item.gates |= gates.label_gates(row, item.job.scene.index(item.job.index))
        for draft in drafts:
            yield draft if isinstance(draft, Failure) else self._sample(draft)

    def _sample(self, draft: Draft) -> Sample:
        job = draft.job
        op = Op(
            name=self.component_name(),
            revision=self.revision,
            requested=job.edit.requested,
            achieved=draft.achieved,
            gates=draft.gates,
            models=dict(job.scene.models),
            seed=job.seed,
        )
        return job.sample.child(
            draft.picture,
            op,
            variant=job.edit.variant,
            fingerprint=self.fingerprint(),
            extras={"mask.png": draft.mask},
            reason=gates.first_failed(draft.gates),
        )


@dataclass(frozen=True)
class Edit:
    """One edit as it is asked for, and the function that makes it."""

    variant: str
    requested: Mapping[str, Json]
    make: Callable[[Job], Draft]


@dataclass(frozen=True)
class Job:
    """One edit of one sample, with all that it takes to make it."""

    conf: AttributeEdit
    sample: Sample
    scene: Scene
    index: int | None
    edit: Edit
    pool: Pool
    ctx: Context

    @property
    def seed(self) -> int:
        """Of this edit of this sample."""
        return self.ctx.seed_for(self.conf.component_name(), self.sample.id, self.edit.variant)

    @property
    def plate(self) -> Pixels:
        """The scene's own plate; a scene with a good mask has one."""
        assert self.scene.plate is not None
        return self.scene.plate

    def base(self) -> Placed:
        """The object at the size that position and direction start from."""
        conf, cutout = self.conf, self.scene.cutout
        if conf.base_size is None:
            return geometry.whole(cutout)
        try:
            return geometry.resized(cutout, conf.base_size, conf.margin, conf.gates.size_tolerance)
        except CannotEdit as error:
            if error.reason != "null_edit":
                raise
            return geometry.whole(cutout)  # it has this size already


@dataclass
class Draft:
    """A picture that was made, before the classifier has seen it."""

    job: Job
    picture: Pixels
    mask: Pixels
    achieved: dict[str, Json]
    gates: dict[str, Gate] = field(default_factory=dict)


def _original(job: Job) -> Draft:
    return Draft(job, job.scene.picture, job.scene.alpha, _mask_facts(job.scene))


def _plate(job: Job) -> Draft:
    draft = Draft(job, job.plate, np.zeros_like(job.scene.alpha), _mask_facts(job.scene) | {"plate": job.scene.method})
    draft.gates = {**job.scene.gates, **job.scene.bare, **job.scene.class_gates(job.index, job.conf.gates.max_plate_p)}
    return draft


def _control(job: Job) -> Draft:
    return _on_plate(job, job.plate, {"plate": job.scene.method})


def _random_plate(job: Job) -> Draft:
    rng = np.random.default_rng(job.seed)
    partner = job.pool.draw(job.sample, job.scene, job.index, rng)
    if partner is None or partner.plate is None:
        raise CannotEdit("no_other_plate", "no other picture of the pool has a clean plate without this class")
    facts: dict[str, Json] = {"plate": partner.method, "plate_sample": partner.sample}
    draft = _on_plate(job, partner.plate, facts)
    _measure_background(draft)
    return draft


def _texture(job: Job) -> Draft:
    gains = job.conf.texture_up if job.edit.variant == "texture_up" else job.conf.texture_down
    draft = _on_plate(job, complexity.retextured(job.plate, gains), {"plate": job.scene.method, "texture": "gains"})
    before, after = _measure_background(draft)
    up = sum(gains) > len(gains)
    if up and before >= complexity.DENSE and not draft.gates["background_changed"]["passed"]:
        draft = _on_plate(job, complexity.refined(job.plate), {"plate": job.scene.method, "texture": "half_scale"})
        before, after = _measure_background(draft)
    change = after - before if up else before - after
    draft.gates["texture_effective"] = gates.at_least(change, job.conf.gates.min_complexity_change)
    return draft


def _size(job: Job) -> Draft:
    conf, cutout = job.conf, job.scene.cutout
    rate = job.edit.requested["rate"]
    _whole_object(job)
    if isinstance(rate, float):
        placed = geometry.resized(cutout, rate, conf.margin, conf.gates.size_tolerance)
    else:
        placed = geometry.enlarged(cutout, conf.margin)
    draft = _moved_object(job, placed)
    reached = geometry.mask_area(placed) / job.plate[..., 0].size
    if isinstance(rate, float):
        draft.gates["size"] = gates.at_most(abs(reached - rate) / rate, conf.gates.size_tolerance)
    return draft


def _position(job: Job) -> Draft:
    conf = job.conf
    _whole_object(job)
    base = job.base()
    frame = job.plate.shape[0], job.plate.shape[1]
    placed = geometry.moved(base, frame, conf.margin, conf.position, np.random.default_rng(job.seed))
    draft = _moved_object(job, placed)
    dx, dy = placed.x - base.x, placed.y - base.y
    draft.achieved |= {"dx": dx, "dy": dy, "centre_before": _centre(job, base)}
    overlap, far = geometry.box_iou(base, placed), float(np.hypot(dx, dy) / np.hypot(*frame))
    limit = f"box IoU <= {geometry.MAX_BOX_IOU:g} or shift >= {geometry.MIN_SHIFT:g}"
    passed = overlap <= geometry.MAX_BOX_IOU or far >= geometry.MIN_SHIFT
    draft.gates["position"] = gates.gate(overlap, passed, limit)
    return draft


def _direction(job: Job) -> Draft:
    conf, limits = job.conf, job.conf.gates
    _whole_object(job)
    base = job.base()
    angle = float(job.edit.requested["angle"])  # type: ignore[arg-type]
    placed = geometry.turned(job.scene.cutout, base, angle, conf.margin)
    overlap, difference = geometry.same_look(base, placed)
    if overlap >= limits.same_iou and difference < limits.same_pixels:
        raise CannotEdit("null_edit", f"turned by {angle:g} degrees it looks the same (IoU {overlap:.3f})")
    draft = _moved_object(job, placed)
    before, after = geometry.centroid(job.scene.cutout, base), geometry.centroid(job.scene.cutout, placed)
    drift = float(np.hypot(after[0] - before[0], after[1] - before[1]))
    shifted = drift > 0.01
    draft.achieved |= {"angle": angle, "translated_to_fit": shifted, "dx": _short(after[0] - before[0])}
    draft.achieved |= {"dy": _short(after[1] - before[1]), "centre_before": _centre(job, base)}
    change = abs(geometry.mask_area(placed) / geometry.mask_area(base) - 1)
    draft.gates["area_kept"] = gates.at_most(change, limits.max_area_change)
    draft.gates["drift"] = gates.recorded(drift) if shifted else gates.at_most(drift, limits.max_drift)
    return draft


def _mirror(job: Job) -> Draft:
    _whole_object(job)
    limits, base = job.conf.gates, geometry.whole(job.scene.cutout)
    placed = geometry.mirrored(base)
    overlap, difference = geometry.same_look(base, placed)
    if overlap >= limits.same_iou and difference < limits.same_pixels:
        raise CannotEdit("null_edit", f"mirrored it looks the same (IoU {overlap:.3f})")
    return _moved_object(job, placed)


def _on_plate(job: Job, plate: Pixels, facts: dict[str, Json]) -> Draft:
    """The object as and where it is, over this plate."""
    scene, limits = job.scene, job.conf.gates
    picture, mask = compositing.composite(plate, geometry.whole(scene.cutout))
    draft = Draft(job, picture, mask, _mask_facts(scene) | facts, dict(scene.gates))
    draft.achieved["truncated"] = not scene.moving["truncated"]["passed"]
    draft.gates["object_kept"] = gates.object_kept(scene.picture, picture, scene.alpha, limits)
    draft.gates["seam"] = gates.seam(gates.seam_strength(picture, mask), scene.seam, limits)
    return draft


def _moved_object(job: Job, placed: Placed) -> Draft:
    """The object elsewhere or otherwise, over its own plate."""
    scene, limits = job.scene, job.conf.gates
    picture, mask = compositing.composite(job.plate, placed)
    scale = geometry.scale_of(placed.matrix)
    achieved = _mask_facts(scene) | {
        "plate": scene.method,
        "scale": _short(scale),
        "upsampled": scale > 2,
        "rate": _short(float((mask > 127).mean())),
        "centre": _centre(job, placed),
    }
    draft = Draft(job, picture, mask, achieved, {**scene.gates, **scene.moving, **scene.bare})
    draft.gates |= scene.class_gates(job.index, limits.max_plate_p)
    draft.gates["visible"] = gates.at_least(geometry.visible_ratio(placed, job.plate.shape[:2]), limits.min_visible)
    draft.gates["scale"] = gates.at_most(scale, limits.max_scale)
    draft.gates["object_kept"] = gates.object_mapped_back(scene.cutout, placed, picture, limits)
    draft.gates["seam"] = gates.seam(gates.seam_strength(picture, mask), scene.seam, limits)
    return draft


def _whole_object(job: Job) -> None:
    """Raises CannotEdit for an object that the frame cuts, or that may be only a part of it, or too much."""
    bad = gates.first_failed(job.scene.moving)
    if bad:
        raise CannotEdit(bad, f"the object can't be moved: {job.scene.moving[bad]}")


def _measure_background(draft: Draft) -> tuple[float, float]:
    """Record complexity and contrast of the background before and after; returns both complexities."""
    scene, away = draft.job.scene, draft.job.scene.alpha == 0
    (c0, rms0), (c1, rms1) = complexity.masked_hf(scene.picture, away), complexity.masked_hf(draft.picture, away)
    draft.achieved |= {"complexity_before": _short(c0), "complexity_after": _short(c1)}
    draft.achieved |= {"contrast_before": _short(rms0), "contrast_after": _short(rms1)}
    draft.achieved |= {"adm_before": _short(complexity.adm_compat(scene.picture))}
    draft.achieved |= {"adm_after": _short(complexity.adm_compat(draft.picture))}
    limits = draft.job.conf.gates
    # where the class stays behind, the mask isn't the object's
    draft.gates |= scene.class_gates(draft.job.index, limits.max_plate_p)
    draft.gates["background_changed"] = gates.background_change(scene.picture, draft.picture, away, limits)
    return c0, c1


def _mask_facts(scene: Scene) -> dict[str, Json]:
    """Where the mask is from, how large it is, where its middle lies."""
    facts: dict[str, Json] = {"mask": scene.mask_source, "rate_before": _short(float((scene.alpha > 127).mean()))}
    for name in ("mask_score", "mask_stability", "mask_agreement"):
        if name in scene.gates:
            facts[name] = scene.gates[name]["value"]
    return facts


def _centre(job: Job, placed: Placed) -> list[Json]:
    """The object's centroid, 0 to 1 along the frame."""
    x, y = geometry.centroid(job.scene.cutout, placed)
    height, width = job.plate.shape[:2]
    return [_short((x + 0.5) / width), _short((y + 0.5) / height)]


def _size_name(rate: float | str) -> str:
    return f"size_{rate}" if isinstance(rate, str) else f"size_{rate:g}"


def _short(value: float) -> float:
    return round(float(value), 6)
