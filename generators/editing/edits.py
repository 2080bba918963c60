"""The edits that `attribute_edit` makes, each a function from a `Job` to a `Draft`, and what they record.

What the object rules out raises `CannotEdit`; what an edit turned out to be is measured and left to its gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generators.editing import complexity, compositing, gates, geometry
from generators.editing.geometry import CannotEdit, Placed
from generators.editing.scenes import Pool, Scene
from schemas.canonical import Json
from schemas.component import Context
from schemas.sample import Gate, Sample

if TYPE_CHECKING:
    from generators.attribute_edit import AttributeEdit

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Edit:
    """One edit as it is asked for, and the function that makes it."""

    variant: str
    requested: Mapping[str, Json]
    make: Callable[[Job], Draft]
    noise: str = ""
    """The purpose of its seed, for edits that share one; else the variant's name."""


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
    backgrounds: Mapping[str, Pixels] = field(default_factory=dict)
    """By guided diffusion, by variant: made beforehand, for a group of pictures at once."""

    @property
    def seed(self) -> int:
        """Of this edit of this sample."""
        return self.ctx.seed_for(self.conf.component_name(), self.sample.id, self.edit.noise or self.edit.variant)

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
    models: dict[str, str] = field(default_factory=dict)
    """Alias to pin, besides the scene's own."""


def original(job: Job) -> Draft:
    """The framed photograph itself."""
    return Draft(job, job.scene.picture, job.scene.alpha, _mask_facts(job.scene))


def plate(job: Job) -> Draft:
    """The picture without its object."""
    draft = Draft(job, job.plate, np.zeros_like(job.scene.alpha), _mask_facts(job.scene) | {"plate": job.scene.method})
    draft.gates = {**job.scene.gates, **job.scene.bare, **job.scene.class_gates(job.index, job.conf.gates.max_plate_p)}
    return draft


def control(job: Job) -> Draft:
    """The object where it was, on its own plate."""
    return on_plate(job, job.plate, {"plate": job.scene.method})


def random_plate(job: Job) -> Draft:
    """The object on another picture's plate."""
    rng = np.random.default_rng(job.seed)
    partner = job.pool.draw(job.sample, job.scene, job.index, rng)
    if partner is None or partner.plate is None:
        raise CannotEdit("no_other_plate", "no other picture of the pool has a clean plate without this class")
    facts: dict[str, Json] = {"plate": partner.method, "plate_sample": partner.sample}
    draft = on_plate(job, partner.plate, facts)
    measure_background(draft)
    return draft


def texture(job: Job) -> Draft:
    """The object on its own plate with that one's detail made stronger or weaker."""
    gains = job.conf.texture_up if job.edit.variant == "texture_up" else job.conf.texture_down
    draft = on_plate(job, complexity.retextured(job.plate, gains), {"plate": job.scene.method, "texture": "gains"})
    before, after = measure_background(draft)
    up = sum(gains) > len(gains)
    if up and before >= complexity.DENSE and not draft.gates["background_changed"]["passed"]:
        draft = on_plate(job, complexity.refined(job.plate), {"plate": job.scene.method, "texture": "half_scale"})
        before, after = measure_background(draft)
    change = after - before if up else before - after
    draft.gates["texture_effective"] = gates.at_least(change, job.conf.gates.min_complexity_change)
    return draft


def size(job: Job) -> Draft:
    """The object at another share of the frame."""
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


def position(job: Job) -> Draft:
    """The object in another place."""
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


def direction(job: Job) -> Draft:
    """The object turned."""
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
    draft.achieved |= {"angle": angle, "translated_to_fit": shifted, "dx": short(after[0] - before[0])}
    draft.achieved |= {"dy": short(after[1] - before[1]), "centre_before": _centre(job, base)}
    change = abs(geometry.mask_area(placed) / geometry.mask_area(base) - 1)
    draft.gates["area_kept"] = gates.at_most(change, limits.max_area_change)
    draft.gates["drift"] = gates.recorded(drift) if shifted else gates.at_most(drift, limits.max_drift)
    return draft


def mirror(job: Job) -> Draft:
    """The object mirrored in its place."""
    _whole_object(job)
    limits, base = job.conf.gates, geometry.whole(job.scene.cutout)
    placed = geometry.mirrored(base)
    overlap, difference = geometry.same_look(base, placed)
    if overlap >= limits.same_iou and difference < limits.same_pixels:
        raise CannotEdit("null_edit", f"mirrored it looks the same (IoU {overlap:.3f})")
    return _moved_object(job, placed)


def on_plate(job: Job, plate: Pixels, facts: dict[str, Json]) -> Draft:
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
        "scale": short(scale),
        "upsampled": scale > 2,
        "rate": short(float((mask > 127).mean())),
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


def measure_background(draft: Draft) -> tuple[float, float]:
    """Record complexity and contrast of the background before and after; returns both complexities."""
    scene, away = draft.job.scene, draft.job.scene.alpha == 0
    (c0, rms0), (c1, rms1) = complexity.masked_hf(scene.picture, away), complexity.masked_hf(draft.picture, away)
    draft.achieved |= {"complexity_before": short(c0), "complexity_after": short(c1)}
    draft.achieved |= {"contrast_before": short(rms0), "contrast_after": short(rms1)}
    draft.achieved |= {"adm_before": short(complexity.adm_compat(scene.picture))}
    draft.achieved |= {"adm_after": short(complexity.adm_compat(draft.picture))}
    limits = draft.job.conf.gates
    # where the class stays behind, the mask isn't the object's
    draft.gates |= scene.class_gates(draft.job.index, limits.max_plate_p)
    draft.gates["background_changed"] = gates.background_change(scene.picture, draft.picture, away, limits)
    return c0, c1


def _mask_facts(scene: Scene) -> dict[str, Json]:
    """Where the mask is from, how large it is, where its middle lies."""
    facts: dict[str, Json] = {"mask": scene.mask_source, "rate_before": short(float((scene.alpha > 127).mean()))}
    for name in ("mask_score", "mask_stability", "mask_agreement"):
        if name in scene.gates:
            facts[name] = scene.gates[name]["value"]
    return facts


def _centre(job: Job, placed: Placed) -> list[Json]:
    """The object's centroid, 0 to 1 along the frame."""
    x, y = geometry.centroid(job.scene.cutout, placed)
    height, width = job.plate.shape[:2]
    return [short((x + 0.5) / width), short((y + 0.5) / height)]


def size_name(rate: float | str) -> str:
    """The variant of a size."""
    return f"size_{rate}" if isinstance(rate, str) else f"size_{rate:g}"


def short(value: float) -> float:
    """A plain number of six decimals, as records hold them."""
    return round(float(value), 6)
