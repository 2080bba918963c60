"""Plates of other pictures, on which an object can be put."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.gates import gates
from variorum.kit.pictures.scenes import BadInput, Scene, Setup, label_index, scenes
from variorum.schemas.canonical import Json, derive_seed, digest
from variorum.schemas.component import Context
from variorum.schemas.sample import Lender, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

ALIKE = 12.0
"""Mean difference in grey levels, at 4 x 4 pixels, below which two plates count as the same."""
TRIED = 64
"""Positions of the source that are looked at for each place in the pool, where few pictures are of the split."""


@dataclass
class Lenders:
    """The pictures of a source that may lend something to others: for each split the same ones for the whole edition.

    Threads may share it.

    Attributes:
        ctx: `ctx.source` has the pictures, as the generators before this one let them through.
        wanted: how many pictures of a split there are to be.
    """

    ctx: Context
    wanted: int
    _positions: dict[str, list[int]] = field(default_factory=dict)
    _samples: dict[int, Sample | None] = field(default_factory=dict)
    _last: tuple[int, Sample | None] = (-1, None)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def of(self, split: str) -> list[int]:
        """Positions of the pictures of this split, `""` for any; none without a source."""
        if self.ctx.source is None:
            return []
        with self._lock:
            if split not in self._positions:
                self._positions[split] = self._gathered(split)
            return self._positions[split]

    def to(self, borrower: Sample, rng: np.random.Generator) -> Iterator[tuple[int, Sample]]:
        """Pictures of the borrower's split without pixels, and their positions, in an order drawn by `rng`.

        Neither the borrower itself is among them nor, unless it is restricted too, a restricted picture.
        """
        positions = self.of(borrower.split)
        for place in rng.permutation(len(positions)):
            found = self.sample(positions[place])
            if found is None or found.root in (borrower.root, borrower.id, borrower.parent):
                continue
            if borrower.restricted or not found.restricted:
                yield positions[place], found

    def sample(self, position: int) -> Sample | None:
        """The picture at this position without its pixels; None if there is none."""
        with self._lock:
            if position not in self._samples:
                found = self.read(position)
                self._samples[position] = None if found is None else replace(found, image=b"", extras={}, encoded=None)
            return self._samples[position]

    def read(self, position: int) -> Sample | None:
        """The picture at this position; None if there is none that may be used."""
        with self._lock:
            if self._last[0] != position:
                assert self.ctx.source is not None
                found = self.ctx.source.read(position, position + 1, self.ctx)
                self._last = position, next((item for item in found if isinstance(item, Sample)), None)
            return self._last[1]

    def _gathered(self, split: str) -> list[int]:
        """Kept in the memo, as a rare split may need many pictures to be looked at."""
        source, ctx = self.ctx.source, self.ctx
        assert source is not None
        size = source.size(ctx)
        count = min(size, self.wanted)

        def compute() -> dict[str, np.ndarray]:
            found: list[int] = []
            for position in pool_order(size, ctx.seed, TRIED * count):
                sample = self.sample(position)
                if sample is not None and split in ("", sample.split):
                    found.append(position)
                if len(found) == count:
                    break
            return {"positions": np.array(found, np.int64)}

        shares: Json = {str(name): share for name, share in ctx.splits.items()}
        key = digest(["lenders", source.fingerprint(), source.pin(ctx), shares, split, ctx.seed, count])
        positions: list[int] = ctx.memo(key, compute)["positions"].tolist()
        return positions


@dataclass(frozen=True)
class Lent:
    """A plate of another picture.

    Attributes:
        plate: `[S, S, 3]` uint8.
        method: how it was made: the inpainter's word.
        sample: id of the picture.
        box: of the plate in that picture; None for the whole frame.
        source_type: IPTC's term for what the picture is.
        plate_type: IPTC's term for a picture on the plate.
        made_of: whose it is.
    """

    plate: Pixels
    method: str
    sample: str
    box: tuple[int, int, int, int] | None
    source_type: str
    plate_type: str
    made_of: tuple[Lender, ...]


@dataclass
class Pool:
    """Plates of other pictures, made as they are asked for.

    Each split has a pool of its own, with the same pictures for the whole edition: whatever the units and their order,
    each of them is taken apart once, and then the memo has it. Threads may share it.

    Attributes:
        setup: how the other pictures are taken apart.
        ctx: `ctx.source` has the pictures, as the generators before this one let them through.
        wanted: how many pictures of a split may lend their plates.
    """

    setup: Setup
    ctx: Context
    wanted: int
    _scenes: dict[int, Future[Scene | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._lenders = Lenders(self.ctx, self.wanted)

    def draw(self, sample: Sample, scene: Scene, index: int | None, rng: np.random.Generator) -> Lent | None:
        """The scene of another picture whose plate is clean and doesn't show this sample's class, and whose it is.

        The pool of the sample's split is tried in an order drawn by `rng`, pictures with a label of this sample last.
        """
        akin = []
        for position, partner in self._lenders.to(sample, rng):
            if set(partner.labels) & set(sample.labels):
                akin.append((position, partner))
            elif (found := self._scene(position)) is not None and self._usable(found, scene, index):
                return self._lent(found, partner)
        for position, partner in akin:
            if (found := self._scene(position)) is not None and self._usable(found, scene, index):
                return self._lent(found, partner)
        return None

    def _lent(self, found: Scene, partner: Sample) -> Lent:
        assert found.plate is not None
        kinds = found.source_type, found.plate_type
        return Lent(found.plate, found.method, found.sample, None, *kinds, partner.lent())

    def _scene(self, position: int) -> Scene | None:
        """The scene of the picture at this position; None if others can't get its plate."""
        with self._lock:
            known = self._scenes.get(position)
            found = self._scenes.setdefault(position, Future())
        if known is None:
            try:
                found.set_result(self._made(position))
            except BaseException as error:
                del self._scenes[position]  # it may be tried again with more memory
                found.set_exception(error)
                raise
        return found.result()

    def _made(self, position: int) -> Scene | None:
        if (sample := self._lenders.read(position)) is not None:
            scene = scenes([sample], self.setup, self.ctx)[0]
            if not isinstance(scene, BadInput) and self._clean(scene, label_index(sample)):
                return scene
        return None

    def _clean(self, scene: Scene, index: int | None) -> bool:
        """Return whether its plate shows nothing of its object; stricter than for its own edits, as many use it."""
        limits = self.setup.limits
        if scene.plate is None or gates.first_failed({**scene.gates, **scene.bare}):
            return False
        if scene.hole is not None and not scene.moving["mask_components"]["passed"]:
            return False
        if not gates.blank(scene.plate, limits)["passed"]:
            return False
        return not gates.first_failed(scene.class_gates(index, limits.max_partner_p))

    def _usable(self, partner: Scene, scene: Scene, index: int | None) -> bool:
        """Return whether the partner's plate may be used for the object of `scene`."""
        if np.array_equal(partner.picture, scene.picture):
            return False
        if partner.plate is None or _alike(partner.plate, scene.plate if scene.plate is not None else scene.picture):
            return False
        if not partner.probabilities or not scene.probabilities:
            return True
        return float(partner.probabilities[1][scene.index(index)]) <= self.setup.limits.negligible_p


def pool_order(size: int, seed: int, most: int) -> list[int]:
    """The first positions of a source, at most this many, in the order in which they get a place in a pool."""
    order: list[int] = np.random.default_rng(derive_seed(seed, "plate_pool")).permutation(size)[:most].tolist()
    return order


def _alike(first: Pixels, second: Pixels) -> bool:
    """Return whether two plates look the same from afar: another part of the same lawn is no change of background."""
    coarse = [cv2.resize(plate, (4, 4), interpolation=cv2.INTER_AREA).astype(np.float32) for plate in (first, second)]
    return float(np.abs(coarse[0] - coarse[1]).mean()) < ALIKE
