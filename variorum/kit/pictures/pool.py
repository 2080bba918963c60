"""Plates of other pictures, on which an object can be put."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import cv2
import numpy as np

from variorum.kit.gates import gates
from variorum.kit.pictures import framing, plates
from variorum.kit.pictures.scenes import GIVEN, BadInput, Scene, Setup, label_index, scenes
from variorum.models.imagenet_classes import index_of
from variorum.schemas.canonical import Json, derive_seed, digest
from variorum.schemas.component import Context
from variorum.schemas.sample import RESTRICTED, Lender, Sample
from variorum.stages.lending import LetThrough, let_through

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

Box: TypeAlias = tuple[int, int, int, int]
ALIKE = 12.0
"""Mean difference in grey levels, at 4 x 4 pixels, below which two plates count as the same."""
FREE = 0.12
"""The segmenter's p up to which a pixel counts as free of objects."""
EDGE = 0.04
"""Share of the photograph's short side, at its border, where frames and captions are: no window reaches there."""
LEAST_WINDOW = 0.375
"""Least side of a window without objects, as a share of the photograph's short side."""
LEAST_PIXELS = 0.586
"""Least side of such a window in pixels of the photograph, as a share of the frame's, so that it isn't blurred."""
LEAST_STD = 8.0
"""Grey levels; below it a plate shows next to nothing."""
MOST_TOP, MOST_TOP_DOUBTED = 0.35, 0.25
"""Largest probability of any class on a plate; the second where the object's mask is doubted, so that a part of it may
be left."""
LEAST_AREA, LEAST_STABILITY = 0.02, 0.6
"""Share of a plate, and stability of the mask, from which on something stands out that the segmenter finds there."""
LEAST_TEXT, MOST_TEXT = 0.3, 0.001
"""Probability of text from which on a pixel counts as lettering, and the share of such pixels that a plate may have."""
PLACES = (
    *("alp", "breakwater", "cliff", "coral reef", "dam", "geyser", "lakeside", "promontory", "sandbar", "seashore"),
    *("valley", "volcano"),
)
"""ImageNet's classes of landscapes: a plate that is one of these is still a background, and no object was left."""
WINDOW = "window"
"""How a plate was made that is a part of a photograph."""
REVISION = 3
"""Raise it when the same picture gives another plate."""


@dataclass
class Lenders:
    """The pictures of a source that may lend something to others.

    A permutation drawn from the seed puts them in a ring. A picture borrows from the next ones of its split, so none
    lends to more than `tried` others, and more pictures have more lenders. Who lends to whom depends on seed, source
    and splits alone, and with `by_id` not on the order of the source's pictures either. Threads may share it.

    Attributes:
        ctx: `ctx.source` has the pictures, as the generators before this one let them through.
        tried: how many pictures may lend to one.
        by_id: the ring is drawn from the order of the ids, not of the positions.
    """

    ctx: Context
    tried: int
    by_id: bool = False
    _ring: tuple[Array, Array] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def to(self, borrower: Sample, rng: np.random.Generator) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Positions and labels of pictures that may lend to this one, in an order drawn by `rng`; none is opened.

        Where the source has several classes, pictures with a label of the borrower are left out.
        """
        following = self._following(borrower)
        for place in rng.permutation(len(following)):
            labels = self._source.labels(following[place], self.ctx)
            if self._told_apart and set(labels) & set(borrower.labels):
                continue
            yield following[place], labels

    def read(self, position: int) -> Sample | None:
        """The picture at this position; None if there is none that may be used."""
        found = self._source.read(position, position + 1, self.ctx)
        return next((item for item in found if isinstance(item, Sample)), None)

    @cached_property
    def _source(self) -> LetThrough:
        source = self.ctx.source
        assert source is not None
        return source if isinstance(source, LetThrough) else let_through(source, ())

    @property
    def _told_apart(self) -> bool:
        return len(self._source.classes(self.ctx)) > 1

    def _following(self, borrower: Sample) -> list[int]:
        """The next positions of the borrower's split in the ring; none without a source."""
        if self.ctx.source is None:
            return []
        source, ctx = self._source, self.ctx
        with self._lock:
            if self._ring is None:
                order = ring(source.size(ctx), ctx.seed)
                if self.by_id:
                    order = source.by_id(ctx)[order]
                self._ring = order, np.argsort(order)
        order, places = self._ring
        own = source.position(borrower.root, ctx)
        # a picture that isn't of the source has a place by its id
        start = derive_seed(ctx.seed, "ring", borrower.root) % len(order) if own is None else int(places[own])
        after = (int(order[place % len(order)]) for place in range(start + 1, start + 1 + len(order)))
        others = (one for one in after if one != own and borrower.split in ("", source.split(one, ctx)))
        return list(islice(others, self.tried))


def ring(size: int, seed: int) -> Array:
    """The positions of a source, `[size]`, in an order drawn from the seed."""
    return np.random.default_rng(derive_seed(seed, "plate_pool")).permutation(size)


def may_lend(made_of: tuple[Lender, ...], borrower: Sample) -> bool:
    """Return whether a picture may use these.

    It may not if one is of the same photograph, or is restricted while the borrower isn't.
    """
    if any(one["photograph"] == borrower.photograph != "" for one in made_of):
        return False
    return borrower.restricted or not any(RESTRICTED in one["handling"] for one in made_of)


@dataclass(frozen=True)
class Lent:
    """A plate of another picture.

    Attributes:
        plate: `[S, S, 3]` uint8.
        method: `given`, or `window` for a part of the photograph without objects.
        sample: id of the other picture.
        box: left, top, width and height of the window in pixels of the other picture; None for a whole plate.
        source_type: IPTC's term for what the other picture is; `""` if unknown.
        made_of: whose plate it is.
        probabilities: the gate classifier's, `[1000]`, of the plate; empty without a classifier.
    """

    plate: Pixels
    method: str
    sample: str
    box: Box | None
    source_type: str
    made_of: tuple[Lender, ...]
    probabilities: Singles


@dataclass
class Pool:
    """Plates of other pictures, made as they are asked for.

    Each picture's plate is made once for the whole edition, and the memo keeps it. Threads may share it.

    Attributes:
        setup: how the other pictures are taken apart.
        ctx: `ctx.source` has the pictures, as the generators before this one let them through.
        tried: how many pictures may lend their plates to one.
        text: alias of a model that finds lettering; None for not looking.
    """

    setup: Setup
    ctx: Context
    tried: int
    text: str | None = None
    _plates: dict[int, Future[Lent | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._lenders = Lenders(self.ctx, self.tried)

    def draw(self, sample: Sample, scene: Scene, index: int | None, rng: np.random.Generator) -> Lent | None:
        """The plate of another picture, which doesn't show this sample's class; None if no lender has one.

        Args:
            sample: that borrows it.
            scene: the sample taken apart.
            index: ImageNet's index of its class; None for its own top class.
            rng: draws the order in which the lenders are tried.
        """
        for position, _ in self._lenders.to(sample, rng):
            lent = self._plate(position)
            if lent is None or not may_lend(lent.made_of, sample) or not self._usable(lent, scene, index):
                continue
            if lent.box is None or not self._crowded(lent.plate):
                return lent
        return None

    def _plate(self, position: int) -> Lent | None:
        """The plate of the picture at this position; None if others can't get it."""
        with self._lock:
            known = self._plates.get(position)
            found = self._plates.setdefault(position, Future())
        if known is None:
            try:
                found.set_result(self._kept(position))
            except BaseException as error:
                del self._plates[position]  # it may be tried again with more memory
                found.set_exception(error)
                raise
        return found.result()

    @cached_property
    def _key(self) -> list[Json]:
        """What every plate depends on."""
        setup, ctx = self.setup, self.ctx
        assert ctx.source is not None
        models = [alias for alias in (setup.segmenter, setup.gate, self.text) if alias]
        where: list[Json] = [ctx.source.fingerprint(), ctx.source.pin(ctx), ctx.seed]
        return [REVISION, *where, setup.frame, setup.framing, setup.limits.model_dump(), *map(ctx.models.pin, models)]

    def _kept(self, position: int) -> Lent | None:
        key = digest(["lent plate", *self._key, position])
        return _unpacked(self.ctx.memo(key, lambda: _packed(self._made(position))))

    def _made(self, position: int) -> Lent | None:
        """The picture's given plate, or else a window without objects."""
        if (sample := self._lenders.read(position)) is None:
            return None
        scene = scenes([sample], self.setup, self.ctx, plated=False)[0]
        if isinstance(scene, BadInput):
            return None
        plate, method, box = scene.plate, scene.method, None
        if plate is None and (box := free_window(scene, sample)) is not None:
            plate, method = framing.crop(cast("Pixels", sample.image), box[:3], self.setup.frame), WINDOW
        if plate is None or float(plate.std()) < LEAST_STD or (box is not None and self._lettered(plate)):
            return None
        said = np.zeros(0, np.float32)
        if self.setup.gate is not None:
            before, said = plates.classified([scene.picture, plate], self.setup.gate, self.ctx)
            if not self._empty(before, said, scene, label_index(sample)):
                return None
        return Lent(plate, method, sample.id, box, scene.source_type, sample.lent(), said)

    def _empty(self, before: Singles, said: Singles, scene: Scene, index: int | None) -> bool:
        """Return whether the classifier sees neither the picture's own object on its plate nor another one.

        `before` are its probabilities of the picture, `said` those of the plate, `index` the class of the label.
        """
        own, limits, top = int(before.argmax()) if index is None else index, self.setup.limits, int(said.argmax())
        if not gates.plate_clean(float(said[own]), float(before[own]), limits.max_partner_p, limits)["passed"]:
            return False
        if scene.method == GIVEN:
            return True
        if scene.mask_source != GIVEN and scene.band > gates.BANDS["default"]:
            return float(said[top]) <= MOST_TOP_DOUBTED
        return float(said[top]) <= MOST_TOP or top in {index_of(name) for name in PLACES}

    def _lettered(self, plate: Pixels) -> bool:
        """Return whether it shows text."""
        if self.text is None:
            return False
        return float((self.ctx.models.get(self.text)([plate])[0] > LEAST_TEXT).mean()) > MOST_TEXT

    def _crowded(self, plate: Pixels) -> bool:
        """Return whether something stands out on it. It costs most, so only a plate that will be used is looked at."""
        found = plates.segmented([plate], self.setup.segmenter, self.ctx)[0]
        area, stability = float((found["mask"] > 127).mean()), float(found["stability"])
        return area >= LEAST_AREA and not stability < LEAST_STABILITY

    def _usable(self, lent: Lent, scene: Scene, index: int | None) -> bool:
        """Return whether the plate may be used for the object of `scene`."""
        if _alike(lent.plate, scene.plate if scene.plate is not None else scene.picture):
            return False
        if not len(lent.probabilities) or not scene.probabilities:
            return True
        return float(lent.probabilities[scene.index(index)]) <= self.setup.limits.negligible_p


def free_window(scene: Scene, sample: Sample) -> Box | None:
    """The largest square of a picture that shows no object; None if it is too small.

    Args:
        scene: the picture taken apart.
        sample: the picture; its annotated objects count as objects too.

    Returns:
        Left, top, width and height in pixels of the picture.
    """
    height, width = cast("Pixels", sample.image).shape[:2]
    scale = min(height, width) / min(scene.salience.shape)
    free = scene.salience <= round(255 * FREE)
    edge = round(EDGE * min(free.shape))
    free[:edge] = free[-edge:] = free[:, :edge] = free[:, -edge:] = False
    for one in sample.annotations.objects:
        left, top, wide, high = (edge / scale for edge in one.box)
        free[max(0, math.floor(top)) : math.ceil(top + high), max(0, math.floor(left)) : math.ceil(left + wide)] = False
    left, top, side = framing.largest_square(free)
    if side < LEAST_WINDOW * min(free.shape) or side * scale < LEAST_PIXELS * scene.window[2]:
        return None
    side = math.floor(side * scale)
    return min(math.ceil(left * scale), width - side), min(math.ceil(top * scale), height - side), side, side


def _packed(lent: Lent | None) -> dict[str, Array]:
    """A plate as arrays, for the memo."""
    if lent is None:
        return {"told": np.zeros(0, np.uint8)}
    names = ("method", "sample", "box", "source_type", "made_of")
    told = json.dumps({name: getattr(lent, name) for name in names}).encode()
    return {
        "told": np.frombuffer(told, np.uint8),
        "plate": lent.plate,
        "probabilities": lent.probabilities,
    }


def _unpacked(kept: Any) -> Lent | None:
    if not len(kept["told"]):
        return None
    told = json.loads(kept["told"].tobytes())
    told |= {"made_of": tuple(told["made_of"]), "box": told["box"] and tuple(told["box"])}
    return Lent(plate=kept["plate"], probabilities=kept["probabilities"], **told)


def _alike(first: Pixels, second: Pixels) -> bool:
    """Return whether two plates look the same from afar: another part of the same lawn is no change of background."""
    coarse = [cv2.resize(plate, (4, 4), interpolation=cv2.INTER_AREA).astype(np.float32) for plate in (first, second)]
    return float(np.abs(coarse[0] - coarse[1]).mean()) < ALIKE
