"""A picture taken apart: framed, its object cut out, its plate without it. All edits of a picture start from here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from generators.editing import compositing, framing, gates, geometry, plates
from generators.editing.gates import Gates
from generators.sources.imagenet import index_of, is_wnid, name_of
from schemas.component import Context
from schemas.sample import Failure, Gate, Sample
from variorum.images import UndecodableImage, decode, decode_mask

Pixels = NDArray[np.uint8]

ALIKE = 12.0
"""Mean difference in grey levels, at 4 x 4 pixels, below which two plates count as the same."""


class BadInput(ValueError):
    """A sample that can't be taken apart. `reason` is one word for a `Failure`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class Scene:
    """One picture's parts, all of the frame's size.

    Attributes:
        sample: id of the sample it is made from.
        picture: `[S, S, 3]` uint8.
        alpha: `[S, S]` uint8, what is composited.
        plate: the picture without its object; None where the mask is no good.
        method: how the plate came to be: `given`, or the inpainter's word.
        exact: mask and plate were given, so that the cut-out can be solved for exactly.
        mask_source: `given` or the segmenter's alias.
        hole: `[S, S]` what the inpainter filled; None for a given plate.
        gates: whether the mask can be trusted.
        limits: thresholds of its gates.
        probabilities: the gate classifier's, of the picture and of the plate; empty without a classifier.
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
    hole: NDArray[np.bool_] | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    probabilities: tuple[NDArray[np.float32], ...] = ()

    @cached_property
    def cutout(self) -> geometry.Cutout:
        """The object, premultiplied."""
        if self.exact and self.plate is not None:
            return geometry.as_cutout(compositing.cut_exact(self.picture, self.alpha, self.plate))
        return geometry.as_cutout(compositing.cut_photograph(self.picture, self.alpha))

    @cached_property
    def moving(self) -> Mapping[str, Gate]:
        """Whether the object may be moved."""
        found = gates.moving_gates(self.alpha, self.limits)
        return gates.as_given(found) if self.mask_source == "given" else found

    @cached_property
    def seam(self) -> tuple[float, float]:
        """Gradient along the object's outline and beside it, in the picture itself."""
        return gates.seam_strength(self.picture, self.alpha)

    def index(self, wanted: int | None) -> int:
        """The class to watch: the label's index, or the picture's own top class for one without."""
        return int(self.probabilities[0].argmax()) if wanted is None else wanted

    @cached_property
    def bare(self) -> Mapping[str, Gate]:
        """Whether its plate can be seen whole. Nothing to check on a given one."""
        if self.plate is None or self.hole is None:
            return {}
        return gates.plate_gates(self.plate, self.hole, self.limits)

    def class_gates(self, wanted: int | None, share: float) -> dict[str, Gate]:
        """`plate_clean`: whether the class left with the object. Absent without a plate or a classifier."""
        if len(self.probabilities) < 2:
            return {}
        before, after = (float(row[self.index(wanted)]) for row in self.probabilities)
        return {"plate_clean": gates.plate_clean(after, before, share, self.limits)}


def label_index(sample: Sample) -> int | None:
    """ImageNet's index of the first label that has one."""
    return next((found for label in sample.labels if (found := index_of(label)) is not None), None)


def object_names(samples: Sequence[Sample], ctx: Context) -> list[str]:
    """What each one's object is called: its labels' names, by the source or by ImageNet's table; empty for no label."""
    known = {info.id: info.name for info in ctx.source.classes(ctx)} if ctx.source else {}

    def name(label: str) -> str:
        return known.get(label) or (name_of(label) if is_wnid(label) else label)

    return [", ".join(name(label) for label in sample.labels) for sample in samples]


@dataclass(frozen=True)
class Setup:
    """How pictures are taken apart; the fields of `AttributeEdit` that matter for it."""

    frame: int
    framing: framing.Framing
    segmenter: str
    inpainter: str
    gate: str | None
    limits: Gates


def scenes(samples: Sequence[Sample], setup: Setup, ctx: Context) -> list[Scene | BadInput]:
    """Take samples apart, each model called once for all of them. A sample's own trouble is returned in its place."""
    inputs = [_read(sample) for sample in samples]
    parts: dict[int, _Parts] = {place: item for place, item in enumerate(inputs) if isinstance(item, _Parts)}
    names = object_names([samples[place] for place in parts], ctx)
    made = dict(zip(parts, _plated(_masked(list(parts.values()), setup, ctx), names, setup, ctx), strict=True))
    return [made[place] if isinstance(item, _Parts) else item for place, item in enumerate(inputs)]


@dataclass(frozen=True)
class _Parts:
    sample: str
    picture: Pixels
    mask: Pixels | None
    plate: Pixels | None


def _read(sample: Sample) -> _Parts | BadInput:
    """Decoded members of the same size."""
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
    return _Parts(sample.id, picture, mask, plate)


def _masked(parts: Sequence[_Parts], setup: Setup, ctx: Context) -> list[Scene]:
    """Framed pictures with their alpha and the mask's gates, plates as given."""
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
    # A window of its own shows the segmenter the object larger, and gives a second opinion to compare with; where
    # the window is the whole picture, its mirror image gives one.
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
        out.append(
            Scene(
                part.sample,
                picture,
                alpha,
                "given" if part.mask is not None else setup.segmenter,
                checks,
                setup.limits,
                plate,
                "" if plate is None else "given",
                exact=part.mask is not None and plate is not None,
                models={} if part.mask is not None else {setup.segmenter: ctx.models.pin(setup.segmenter)},
            )
        )
    return out


def _plated(parts: Sequence[Scene], names: Sequence[str], setup: Setup, ctx: Context) -> Iterator[Scene]:
    """The same scenes with plates where the mask is good, and the classifier's opinion of both.

    Args:
        parts: the scenes.
        names: of their objects.
        setup: how.
        ctx: with the models.
    """
    out = list(parts)
    lacking = [place for place, scene in enumerate(out) if scene.plate is None and not gates.first_failed(scene.gates)]
    if lacking:
        holes = [plates.hole(_support(out[place].alpha)) for place in lacking]
        pictures, objects = [out[place].picture for place in lacking], [names[place] for place in lacking]
        filled = plates.emptied(pictures, holes, objects, setup.inpainter, ctx)
        for place, gap, item in zip(lacking, holes, filled, strict=True):
            models = {**out[place].models, setup.inpainter: ctx.models.pin(setup.inpainter)}
            out[place] = replace(out[place], plate=item["plate"], method=str(item["method"]), hole=gap, models=models)
    if setup.gate is not None:
        pairs = [(scene.picture,) if scene.plate is None else (scene.picture, scene.plate) for scene in out]
        rows = iter(plates.classified([item for pair in pairs for item in pair], setup.gate, ctx))
        for place, pair in enumerate(pairs):
            models = {**out[place].models, setup.gate: ctx.models.pin(setup.gate)}
            out[place] = replace(out[place], probabilities=tuple(next(rows) for _ in pair), models=models)
    yield from out


def _support(alpha: Pixels) -> Pixels:
    """All that the alpha touches, grown by what `soft_alpha` drew in."""
    return np.asarray(cv2.dilate((alpha > 0).astype(np.uint8) * 255, np.ones((3, 3), np.uint8)), dtype=np.uint8)


def _alike(first: Pixels, second: Pixels) -> bool:
    """Whether two plates look the same from afar: two cuts of one lawn are no change of background."""
    coarse = [cv2.resize(plate, (4, 4), interpolation=cv2.INTER_AREA).astype(np.float32) for plate in (first, second)]
    return float(np.abs(coarse[0] - coarse[1]).mean()) < ALIKE


@dataclass
class Pool:
    """Plates of other pictures, made as they are asked for.

    Attributes:
        setup: how partners are taken apart.
        ctx: where `ctx.source` has the partners.
        wanted: how many pictures of the source may be partners.
    """

    setup: Setup
    ctx: Context
    wanted: int
    _seen: dict[int, tuple[Sample, Scene] | None] = field(default_factory=dict)

    def draw(self, sample: Sample, scene: Scene, index: int | None, rng: np.random.Generator) -> Scene | None:
        """Another picture's scene whose plate is clean and shows nothing of this sample's class.

        Partners come in an order drawn by `rng`; one that shares a label is taken only when there is no other.
        """
        source = self.ctx.source
        if source is None:
            return None
        positions = plates.pool_positions(source.size(self.ctx), self.wanted)
        akin = None
        for place in rng.permutation(len(positions)):
            partner = self._partner(positions[place])
            if partner is None or not self._usable(partner[0], partner[1], sample, scene, index):
                continue
            if set(partner[0].labels) & set(sample.labels):
                akin = akin or partner[1]
                continue
            return partner[1]
        return akin

    def _partner(self, position: int) -> tuple[Sample, Scene] | None:
        if position not in self._seen:
            sample = next(iter(self.ctx.source.read(position, position + 1, self.ctx)), None)  # type: ignore[union-attr]
            made = None
            if sample is not None and not isinstance(sample, Failure):
                scene = scenes([sample], self.setup, self.ctx)[0]
                if not isinstance(scene, BadInput) and self._clean(scene, label_index(sample)):
                    made = (replace(sample, image=b"", extras={}), scene)
            self._seen[position] = made
        return self._seen[position]

    def _clean(self, scene: Scene, index: int | None) -> bool:
        """Whether its plate shows nothing of its object; stricter than for its own edits, as it is lent to many."""
        limits = self.setup.limits
        if scene.plate is None or gates.first_failed({**scene.gates, **scene.bare}):
            return False
        if scene.hole is not None:
            agreement = scene.gates.get("mask_agreement")
            if (agreement and agreement["value"] < limits.min_agreement) or not scene.moving["mask_components"][
                "passed"
            ]:
                return False
        if not gates.blank(scene.plate, limits)["passed"]:
            return False
        return not gates.first_failed(scene.class_gates(index, limits.max_partner_p))

    def _usable(self, partner: Sample, its: Scene, sample: Sample, scene: Scene, index: int | None) -> bool:
        """Whether this partner may serve this sample."""
        if partner.id in (sample.id, sample.parent) or np.array_equal(its.picture, scene.picture):
            return False
        if its.plate is None or _alike(its.plate, scene.plate if scene.plate is not None else scene.picture):
            return False
        if not its.probabilities or not scene.probabilities:
            return True
        return float(its.probabilities[1][scene.index(index)]) <= self.setup.limits.negligible_p
