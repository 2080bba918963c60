"""The edits of `attribute_edit`, each a function from a `Subject` to a `Draft`, and what they record.

An edit that the object rules out raises `CannotEdit`. Everything else is measured and left to the gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.gates import gates
from variorum.kit.pictures import complexity, compositing, geometry
from variorum.kit.pictures.geometry import CannotEdit, Placed, Strategy
from variorum.kit.pictures.pool import Lent, Pool
from variorum.kit.pictures.scenes import PLATE_BLANK, Scene, label_index
from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json
from variorum.schemas.edit import Edit
from variorum.schemas.sample import COMPOSITE, ENHANCED, Gate, Lender, made_type

if TYPE_CHECKING:
    from variorum.arrays import Pixels

RANDOM_PLATE = "background_random"
POSITION = "position"
FULL = "size_full"
SHOWN = 0.9
"""Share of the object below which the original doesn't show what an edit does: `FULL` is compared with instead."""


@dataclass(frozen=True)
class Subject:
    """The picture to edit.

    Attributes:
        of: its sample, with seeds and models.
        scene: its parts.
        pool: plates of other pictures.
        backgrounds: by variant, those made by guided diffusion beforehand for a group of pictures.
    """

    of: Edit
    scene: Scene
    pool: Pool
    backgrounds: Mapping[str, Pixels]

    @property
    def index(self) -> int | None:
        """ImageNet's index of its label, if the label has one."""
        return label_index(self.of.sample)

    @property
    def plate(self) -> Pixels:
        """Its own plate. Raises CannotEdit if the inpainter couldn't make one."""
        if self.scene.plate is None:
            raise CannotEdit(PLATE_BLANK, "the inpainter made it black")
        return self.scene.plate

    @cached_property
    def lent(self) -> Lent | None:
        """The plate of another picture that it gets; None if there is none."""
        return self.pool.draw(self.of.sample, self.scene, self.index, self.of.rng(RANDOM_PLATE))

    @cached_property
    def bare(self) -> Lent | None:
        """The lent plate if the object moves on it, as its own one can't be shown without the object; else None."""
        return self.lent if gates.first_failed(self.own_plate) else None

    @cached_property
    def own_plate(self) -> Mapping[str, Gate]:
        """Return whether the object may move on its own plate. A large repair is seen, so less may be filled there."""
        scene, limits = self.scene, self.scene.limits
        checks = {**scene.bare, **scene.class_gates(self.index, limits.max_plate_p)}
        if scene.hole is not None and scene.bare:
            checks["plate_hole"] = gates.at_most(float(scene.hole.mean()), limits.max_moved_hole)
        return checks


@dataclass(frozen=True)
class WantedEdit:
    """One edit that is asked for.

    Attributes:
        variant: what users group it by.
        requested: what is asked; with the variant it decides the picture's id.
        make: the function that makes it. Raises CannotEdit.
        purpose: of its seed, for edits that have one in common; the variant by default.
    """

    variant: str
    requested: Mapping[str, Json]
    make: Callable[[Subject], Draft]
    purpose: str = ""


@dataclass
class Draft:
    """An edited picture that the classifier hasn't judged yet.

    Attributes:
        subject: what was edited.
        picture: `[S, S, 3]` uint8.
        mask: `[S, S]` uint8, the object's alpha.
        achieved: what was measured.
        annotations: the objects where the picture shows them.
        source_type: IPTC's term for how the picture was made.
        gates: checks by name.
        models: alias to pin, besides the scene's own.
        made_of: the pictures whose plate it has.
    """

    subject: Subject
    picture: Pixels
    mask: Pixels
    achieved: dict[str, Json]
    annotations: Annotations
    source_type: str
    gates: dict[str, Gate] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    made_of: tuple[Lender, ...] = ()


# ── baselines and backgrounds ────────────────────────────────────────────────────────────────────────────────────────


def original(subject: Subject) -> Draft:
    """The framed photograph itself."""
    scene = subject.scene  # cut and resized, it is what it was: a photograph remains one
    return Draft(subject, scene.picture, scene.alpha, _mask_facts(scene), scene.annotations, scene.source_type)


def plate(subject: Subject) -> Draft:
    """The picture without its object."""
    scene = subject.scene
    achieved = _mask_facts(scene) | {"plate": scene.method}
    checks = {**scene.gates, **scene.bare, **scene.class_gates(subject.index, scene.limits.max_plate_p)}
    empty, objects = np.zeros_like(scene.alpha), scene.layers.plate()
    return Draft(subject, subject.plate, empty, achieved, objects, scene.plate_type, checks)


def control(subject: Subject) -> Draft:
    """The object in its place, on its own plate."""
    return on_plate(subject, subject.plate, {"plate": subject.scene.method}, subject.scene.plate_type)


def random_plate(subject: Subject) -> Draft:
    """The object on another picture's plate."""
    lent = subject.lent
    if lent is None:
        raise CannotEdit("no_other_plate", "no other picture of its split has a clean plate without this class")
    draft = on_plate(subject, lent.plate, _lent_facts(lent), made_type(lent.source_type, COMPOSITE), own=False)
    draft.made_of = lent.made_of
    measure_background(draft)
    return draft


def texture(subject: Subject, *, gains: tuple[float, ...]) -> Draft:
    """The object on its own plate, whose detail is amplified or weakened band by band."""
    facts: dict[str, Json] = {"plate": subject.scene.method, "texture": "gains"}
    kind = ENHANCED if subject.scene.plate_type == COMPOSITE else subject.scene.plate_type
    draft = on_plate(subject, complexity.retextured(subject.plate, gains), facts, kind)
    before, after = measure_background(draft)
    up = sum(gains) > len(gains)
    if up and before >= complexity.DENSE and not draft.gates["background_changed"]["passed"]:
        facts = {"plate": subject.scene.method, "texture": "half_scale"}
        draft = on_plate(subject, complexity.refined(subject.plate), facts, kind)
        draft.annotations = subject.scene.layers.repeated(complexity.refined_maps(*subject.plate.shape[:2]))
        before, after = measure_background(draft)
    change = after - before if up else before - after
    draft.gates["texture_effective"] = gates.at_least(change, subject.scene.limits.min_complexity_change)
    return draft


def on_plate(subject: Subject, plate: Pixels, facts: Mapping[str, Json], kind: str, *, own: bool = True) -> Draft:
    """The object as and where it is, over this plate.

    Args:
        subject: what is edited.
        plate: `[S, S, 3]`.
        facts: about the plate, for the record.
        kind: IPTC's term for how the picture is made.
        own: whether the plate shows what the picture's own plate shows, so that objects on it are still there.
    """
    scene = subject.scene
    picture, mask = compositing.composite(plate, geometry.whole(scene.cutout))
    objects = scene.layers.in_place() if own else scene.layers.elsewhere(mask > 127)
    draft = Draft(subject, picture, mask, {**_mask_facts(scene), **facts}, objects, kind, dict(scene.gates))
    draft.achieved["truncated"] = scene.moving["truncated"]["value"] > scene.limits.max_border
    draft.gates["object_kept"] = gates.object_kept(scene.picture, picture, scene.alpha, scene.limits)
    draft.gates["seam"] = gates.seam(gates.seam_strength(picture, mask), scene.seam, scene.limits)
    return draft


def measure_background(draft: Draft) -> tuple[float, float]:
    """Record complexity and contrast of the background before and after the edit; returns both complexities."""
    scene = draft.subject.scene
    away = scene.alpha == 0
    (c0, rms0), (c1, rms1) = complexity.masked_hf(scene.picture, away), complexity.masked_hf(draft.picture, away)
    draft.achieved |= {
        "complexity_before": short(c0),
        "complexity_after": short(c1),
        "contrast_before": short(rms0),
        "contrast_after": short(rms1),
        "adm_before": short(complexity.adm_compat(scene.picture)),
        "adm_after": short(complexity.adm_compat(draft.picture)),
    }
    draft.gates["background_changed"] = gates.background_change(scene.picture, draft.picture, away, scene.limits)
    return c0, c1


# ── geometry ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def size(subject: Subject, *, rate: float | None, margin: int) -> Draft:
    """The object at another share of the frame's pixels; None for as large as fits."""
    cutout, limits = subject.scene.cutout, subject.scene.limits
    _check_movable(subject)
    if rate is None:
        return _moved_object(subject, geometry.enlarged(cutout, margin))
    placed = geometry.resized(cutout, rate, margin, limits.size_tolerance)
    draft = _moved_object(subject, placed)
    reached = geometry.mask_area(placed) / subject.scene.window[2] ** 2
    draft.gates["size"] = gates.at_most(abs(reached - rate) / rate, limits.size_tolerance)
    return draft


def position(subject: Subject, *, strategy: Strategy, base_size: float | None, margin: int) -> Draft:
    """The object in another place."""
    _check_movable(subject)
    base = _base(subject, base_size, margin)
    frame, cut = (subject.scene.window[2],) * 2, subject.scene.cutout.cut
    placed = geometry.moved(base, frame, margin, strategy, subject.of.rng(POSITION), cut)
    draft = _moved_object(subject, placed, based=base_size is not None)
    dx, dy = placed.x - base.x, placed.y - base.y
    draft.achieved |= {"dx": dx, "dy": dy, "centre_before": _centre(subject, base)}
    overlap, far = geometry.box_iou(base, placed), float(np.hypot(dx, dy) / np.hypot(*frame))
    limit = f"box IoU <= {geometry.MAX_BOX_IOU:g} or shift >= {geometry.MIN_SHIFT:g}"
    passed = overlap <= geometry.MAX_BOX_IOU or far >= geometry.MIN_SHIFT
    draft.gates["position"] = gates.gate(overlap, passed, limit)
    return draft


def direction(subject: Subject, *, angle: float, base_size: float | None, margin: int) -> Draft:
    """The object turned by `angle` degrees, counter-clockwise."""
    cutout, limits = subject.scene.cutout, subject.scene.limits
    _check_movable(subject, turns=True)
    base = _base(subject, base_size, margin)
    placed = geometry.turned(cutout, base, angle, margin)
    _check_changed(subject, base, placed, f"turned by {angle:g} degrees")
    draft = _moved_object(subject, placed, based=base_size is not None)
    before, after = geometry.centroid(cutout, base), geometry.centroid(cutout, placed)
    drift = float(np.hypot(after[0] - before[0], after[1] - before[1]))
    shifted = drift > 0.01
    draft.achieved |= {
        "angle": angle,
        "translated_to_fit": shifted,
        "dx": short(after[0] - before[0]),
        "dy": short(after[1] - before[1]),
        "centre_before": _centre(subject, base),
    }
    change = abs(geometry.mask_area(placed) / geometry.mask_area(base) - 1)
    draft.gates["area_kept"] = gates.at_most(change, limits.max_area_change)
    draft.gates["drift"] = gates.recorded(drift) if shifted else gates.at_most(drift, limits.max_drift)
    return draft


def mirror(subject: Subject) -> Draft:
    """The object flipped left to right in its place."""
    _check_movable(subject, turns=True)
    base = geometry.whole(subject.scene.cutout)
    placed = geometry.mirrored(base)
    _check_changed(subject, base, placed, "mirrored")
    return _moved_object(subject, placed)


def size_name(rate: float | str) -> str:
    """The variant of a size."""
    return f"size_{rate}" if isinstance(rate, str) else f"size_{rate:g}"


def short(value: float) -> float:
    """A plain number with six decimals, as records hold it."""
    return round(float(value), 6)


def _check_changed(subject: Subject, base: Placed, placed: Placed, how: str) -> None:
    """Raise CannotEdit if the object looks the same."""
    overlap, difference = geometry.same_look(base, placed)
    if overlap >= subject.scene.limits.same_iou and difference < subject.scene.limits.same_pixels:
        raise CannotEdit("null_edit", f"{how} it looks the same (IoU {overlap:.3f})")


def _base(subject: Subject, base_size: float | None, margin: int) -> Placed:
    """The object at the size that position and direction start from; None for its own."""
    cutout = subject.scene.cutout
    if base_size is None:
        return geometry.whole(cutout)
    try:
        return geometry.resized(cutout, base_size, margin, subject.scene.limits.size_tolerance)
    except CannotEdit as error:
        if error.reason != "null_edit":
            raise
        return geometry.whole(cutout)  # it has this size already


def _moved_object(subject: Subject, placed: Placed, *, based: bool = False) -> Draft:
    """The object moved, resized or turned, over its own plate, or over the lent one if its own can't be shown bare.

    `based` says that it started from another size, which lies on the same plate and shows all of the object.
    """
    scene, lent = subject.scene, subject.bare
    limits, side = scene.limits, scene.window[2]
    picture, mask = compositing.composite(subject.plate if lent is None else lent.plate, placed)
    scale = geometry.scale_of(placed.matrix)
    achieved = _mask_facts(scene) | {
        "shown": short(scene.shown),
        "scale": short(scale),
        "upsampled": scale > 2,
        "rate": short(float((mask > 127).mean())),
        "centre": _centre(subject, placed),
    }
    onto = placed.matrix.copy()
    onto[:, 2] += onto[:, :2] @ np.array(scene.window[:2], np.float64)  # from the frame, where its objects are
    checks = {**scene.gates, **scene.moving}
    if lent is None:
        objects, kind = scene.layers.moved(mask > 127, onto), scene.plate_type
        achieved["plate"] = scene.method
        checks |= subject.own_plate
    else:
        objects, kind = scene.layers.elsewhere(mask > 127, onto), made_type(lent.source_type, COMPOSITE)
        achieved |= _lent_facts(lent)
    if not based and (lent is not None or scene.shown < SHOWN):
        achieved["reference"] = FULL if scene.shown < SHOWN else RANDOM_PLATE
    draft = Draft(subject, picture, mask, achieved, objects, kind, checks, made_of=lent.made_of if lent else ())
    draft.gates["visible"] = gates.at_least(geometry.visible_ratio(placed, (side, side)), limits.min_visible)
    draft.gates["scale"] = gates.at_most(scale, limits.max_scale)
    draft.gates["object_kept"] = gates.object_mapped_back(scene.cutout, placed, picture, limits)
    draft.gates["seam"] = gates.seam(gates.seam_strength(picture, mask), scene.seam, limits)
    return draft


def _lent_facts(lent: Lent) -> dict[str, Json]:
    """How a lent plate was made, whose it is, and where it was in that picture."""
    facts: dict[str, Json] = {"plate": lent.method, "plate_sample": lent.sample}
    return facts if lent.box is None else facts | {"plate_box": list(lent.box)}


def _check_movable(subject: Subject, *, turns: bool = False) -> None:
    """Raise CannotEdit for an object that the picture cuts off, or a mask that may show more or less than the object.

    An object that is cut off at one side only may move along this side, and not turn.
    """
    scene = subject.scene
    if bad := gates.first_failed(scene.moving):
        raise CannotEdit(bad, f"the object can't be moved: {scene.moving[bad]}")
    if turns and scene.cutout.cut is not None:
        raise CannotEdit("truncated", f"the picture cuts the object off at the {scene.cutout.cut}, so it can't turn")
    if subject.bare is None and scene.plate is None:
        raise CannotEdit(PLATE_BLANK, "the inpainter made it black, and no other picture lends a plate")


def _mask_facts(scene: Scene) -> dict[str, Json]:
    """The mask's origin, its share of the frame, and the segmenter's scores."""
    facts: dict[str, Json] = {"mask": scene.mask_source, "rate_before": short(float((scene.alpha > 127).mean()))}
    for name in ("mask_score", "mask_stability", "mask_band"):
        if name in scene.gates:
            facts[name] = scene.gates[name]["value"]
    return facts


def _centre(subject: Subject, placed: Placed) -> list[Json]:
    """The object's centroid (x, y), each 0 to 1 along the frame."""
    x, y = geometry.centroid(subject.scene.cutout, placed)
    side = subject.scene.window[2]
    return [short((x + 0.5) / side), short((y + 0.5) / side)]
