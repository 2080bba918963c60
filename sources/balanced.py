"""A draw of another source: as many pictures of each class as there are, up to a number, each of them once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice, zip_longest
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from variorum.kit.copies.join import RADIUS
from variorum.kit.copies.pdq import LEAST_QUALITY, pdq, pixel_digest
from variorum.pixels import UndecodableImage, decode
from variorum.schemas.canonical import derive_seed, digest
from variorum.schemas.component import Context
from variorum.schemas.lookup import Derived
from variorum.schemas.sample import Failure, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from variorum.arrays import Ints


class Drawn(NamedTuple):
    """What was drawn, and what was left out.

    Attributes:
        positions: of the drawn samples in the other source, sorted.
        unreadable: number of pictures that can't be read.
        copies: number of pictures that are copies of drawn ones.
        size: number of samples of the other source.
    """

    positions: Ints
    unreadable: int
    copies: int
    size: int


class Balanced(Derived):
    """At most so many samples of another source, as evenly over its classes as they allow, with what it says of them.

    Classes take turns, in an order that the seed decides, and each gives one of its pictures, until there are enough.
    Pictures that can't be read are passed over, and so are copies of a picture that is drawn already: the same pixels,
    or hashes so near that they prove it. The same seed draws the same pictures.
    """

    most: int = Field(default=500, ge=1, le=1_000_000)
    """Maximum number of samples."""
    seed: int = Field(default=1, ge=0, lt=2**63)
    """Decides which are drawn."""

    def pin(self, ctx: Context) -> str:
        """Digest of the other source's pin and of the drawn positions."""
        return digest([self.of.pin(ctx), self.drawn(ctx).positions.tolist()])

    def size(self, ctx: Context) -> int:
        """Number of drawn samples. For it, the pictures are read once, as far as they are needed."""
        return len(self.drawn(ctx).positions)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """The drawn samples `start` to `stop - 1`, in the other source's order."""
        for low, high in runs(self.drawn(ctx).positions[start:stop].tolist()):
            yield from self.of.read(low, high, ctx)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The same samples without pictures."""
        for low, high in runs(self.drawn(ctx).positions[start:stop].tolist()):
            yield from self.of.outline(low, high, ctx)

    def drawn(self, ctx: Context) -> Drawn:
        """The positions of the drawn samples, and how many were passed over. They are drawn once and kept on disk."""
        key = digest(["balanced", self.fingerprint(), self.of.pin(ctx)])
        kept = ctx.memo(
            key, lambda: {name: np.asarray(one, np.int64) for name, one in self._draw(ctx)._asdict().items()}
        )
        return Drawn(kept["positions"], *(int(kept[name]) for name in Drawn._fields[1:]))

    def _draw(self, ctx: Context) -> Drawn:
        size = self.of.size(ctx)
        candidates = turns([sample.labels[:1] for sample in self.of.outline(0, size, ctx)], self.seed)
        seen, found, unreadable, copies = Seen(), list[int](), 0, 0
        while len(found) < self.most and (some := list(islice(candidates, self.most - len(found)))):
            looks = {place: look for low, high in runs(sorted(some)) for place, look in self._looks(low, high, ctx)}
            for place in some:
                look = looks[place]
                if look is None:
                    unreadable += 1
                elif seen.has(look):
                    copies += 1
                else:
                    seen.add(look)
                    found.append(place)
        return Drawn(np.sort(np.asarray(found, np.int64)), unreadable, copies, size)

    def _looks(self, start: int, stop: int, ctx: Context) -> Iterator[tuple[int, Look | None]]:
        """The hashes of the other source's pictures by position; None for one that can't be read."""
        for place, item in enumerate(self.of.read(start, stop, ctx), start):
            if isinstance(item, Failure) or item.reason:
                yield place, None
                continue
            try:
                pixels = decode(item.image) if isinstance(item.image, bytes) else item.image
            except UndecodableImage:
                yield place, None
                continue
            turns, quality = pdq(pixels)
            yield place, Look(pixel_digest(pixels).tobytes(), turns if quality >= LEAST_QUALITY else None)


class Look(NamedTuple):
    """Hashes of a picture: of its pixels, and PDQ `[8, 32]`, None where it shows too little for one."""

    pixels: bytes
    turns: NDArray[np.uint8] | None


class Seen:
    """The pictures that are drawn already."""

    def __init__(self) -> None:
        self._pixels: set[bytes] = set()
        self._upright: list[NDArray[np.uint8]] = []

    def add(self, look: Look) -> None:
        """Add a picture."""
        self._pixels.add(look.pixels)
        if look.turns is not None:
            self._upright.append(look.turns[0])

    def has(self, look: Look) -> bool:
        """Return whether it is a copy of one of them, in any orientation."""
        if look.pixels in self._pixels:
            return True
        if look.turns is None or not self._upright:
            return False
        apart = np.bitwise_count(np.stack(self._upright)[:, None] ^ look.turns[None]).sum(axis=2, dtype=np.int64)
        return bool((apart <= RADIUS).any())


def turns(labels: Sequence[tuple[str, ...]], seed: int) -> Iterator[int]:
    """Positions in the order in which they are drawn: classes take turns, each with its pictures in a drawn order."""
    classes: dict[tuple[str, ...], list[int]] = {}
    for place, label in enumerate(labels):
        classes.setdefault(label, []).append(place)
    order = np.random.default_rng(derive_seed(seed, "balanced", "classes")).permutation(len(classes)).tolist()
    names = sorted(classes)
    queues = []
    for place in order:
        rng = np.random.default_rng(derive_seed(seed, "balanced", *names[place]))
        queues.append(rng.permutation(classes[names[place]]).tolist())
    for row in zip_longest(*queues):
        yield from (place for place in row if place is not None)


def runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Sorted positions as ranges, each from its first position to the one after its last."""
    for _, group in groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        together = [place for _, place in group]
        yield together[0], together[-1] + 1
