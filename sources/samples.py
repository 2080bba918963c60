"""Real, labelled pictures out of installed packages, so that every recipe runs on a fresh machine without a download.

- photographs: scikit-image's pictures of an ImageNet class.
- composites: photographs of single things, cut out by hand for Tux Paint (Debian's `tuxpaint-stamps-default`,
  GPL-2+), on photographic plates. The cut-out's alpha is the exact mask, and the plate without the object is known.

The labels were assigned by eye: `samples_stamps.csv` lists only photographs that show exactly a class of ImageNet-1k,
no drawings, no similar species, and no object that was cut out together with something else.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from variorum.machine.file_hashes import pin_files
from variorum.machine.retrying import Pinned, check_pinned, read_pinned
from variorum.models.imagenet_classes import class_infos
from variorum.pixels import encode_png
from variorum.schemas.canonical import derive_seed, digest
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.sample import CAPTURED, COMPOSITE, Failure, Sample, source_id
from variorum.sources.exports.cutouts import (
    PLATES,
    as_bytes,
    cut_out,
    package_file,
    plate_crop,
    read_stamp,
    resized,
)
from variorum.sources.exports.stamps import stamps_folder, stamps_there

if TYPE_CHECKING:
    from variorum.arrays import Pixels

FRAME = 288
"""Side of a composite in pixels."""
SCALE = (0.35, 0.7)
"""Least and largest length of the object's longer side, as a share of the frame's side."""
ENLARGE = 1.5
"""A small cut-out is enlarged at most by this factor, unless it needs more for the least `SCALE`."""

PHOTOGRAPHS: Mapping[str, tuple[str, str]] = {
    "chelsea.png": ("n02123045", "CC0-1.0"),  # a tabby cat's face
    "coffee.png": ("n07920052", "CC0-1.0"),  # an espresso
}
"""Scikit-image's pictures of an ImageNet class, with wnid and licence."""


class Samples(Source):
    """Pictures out of installed packages, labelled with ImageNet's wnids: photographs, then composites.

    Composites have `mask.png` and `plate.png`, photographs don't. The members of an edition's samples must be alike, so
    set `masks` to false for an edition of both without a generator. `VARIORUM_STAMPS` is the folder of the stamps where
    that isn't Debian's.
    """

    stamps: Literal["auto", "required", "none"] = "auto"
    """Whether to make composites: if the stamps are installed, always (an error without them), or never."""
    photographs: bool = True
    """Whether to include photographs."""
    masks: bool = True
    """Whether composites have their mask and plate as members."""

    def pin(self, ctx: Context) -> str:
        """Digest of the files that the samples are made from."""
        return digest([[*self._photographs, *self._stamps], [pinned.sha256 for pinned in self._pins.values()]])

    def size(self, ctx: Context) -> int:
        """Number of photographs and composites."""
        return len(self._photographs) + len(self._stamps)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """ImageNet's thousand, so that indices are ImageNet's."""
        return class_infos()

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples; composites with `mask.png`, the cut-out's alpha, and `plate.png`, the picture without the object.

        Raises:
            SourceChanged: a file isn't what was pinned.
            TemporaryError: the disk or the machine failed.
        """
        for file in self._plates:
            check_pinned(file, self._pins[file], file)
        items = [*self._photographs.items(), *self._stamps.items()]
        for position, (key, wnid) in enumerate(items[start:stop], start):
            identity = source_id("samples", key)
            if position < len(self._photographs):
                file = _photograph(key)
                data = read_pinned(file, self._pins[file], file)
                yield Sample(
                    identity,
                    data,
                    (wnid,),
                    origin=f"scikit-image {key}",
                    licence=PHOTOGRAPHS[key][1],
                    digital_source_type=CAPTURED,
                )
                continue
            file = self._root / key
            origin = f"tuxpaint-stamps {key}"
            try:
                stamp = read_stamp(file, self._pins[file])
            except (OSError, ValueError, SyntaxError) as error:
                yield Failure(identity, "", "failed", "unreadable", labels=(wnid,), origin=origin, detail=str(error))
                continue
            picture, mask, plate, terms = compose(stamp, key)
            yield Sample(
                identity,
                encode_png(picture),
                (wnid,),
                origin=origin,
                licence=f"GPL-2.0-or-later AND {terms}",
                extras={"mask.png": encode_png(mask), "plate.png": encode_png(plate)} if self.masks else {},
                digital_source_type=COMPOSITE,
            )

    def place(self) -> str:
        """The name alone, as the packages lie where they are installed."""
        return place_of(self, [])

    @cached_property
    def _photographs(self) -> dict[str, str]:
        """Key to wnid, in order."""
        return {key: wnid for key, (wnid, _) in sorted(PHOTOGRAPHS.items())} if self.photographs else {}

    @cached_property
    def _stamps(self) -> dict[str, str]:
        """Key to wnid, in order."""
        return stamps_there(stamp_table(), self.stamps, "samples")

    @cached_property
    def _root(self) -> Path:
        return stamps_folder() or Path()

    @cached_property
    def _plates(self) -> tuple[Path, ...]:
        """The files that backgrounds are cut from."""
        return tuple(package_file(plate.package, plate.path, "samples") for plate in PLATES) if self._stamps else ()

    @cached_property
    def _pins(self) -> dict[Path, Pinned]:
        """Pin the files that the samples are made from."""
        files = [_photograph(key) for key in self._photographs] + [self._root / key for key in self._stamps]
        files += self._plates
        return dict(zip(files, pin_files(self._root, files, listed=True), strict=True))


@lru_cache(maxsize=1)
def stamp_table() -> Mapping[str, str]:
    """Relative path of each stamp to the wnid of what it shows, in order of the paths."""
    with Path(__file__).with_name("samples_stamps.csv").open(encoding="utf-8", newline="") as file:
        return dict(sorted((row["path"], row["wnid"]) for row in csv.DictReader(file)))


def compose(
    stamp: Pixels,
    key: str,
    *,
    seed: str = "samples",
    side: int = FRAME,
    scale: tuple[float, float] = SCALE,
) -> tuple[Pixels, Pixels, Pixels, str]:
    """A cut-out on a plate; scale, place and plate depend on the seed and the key alone.

    Args:
        stamp: RGBA `[h, w, 4]` uint8.
        key: seeds the choices, together with `seed`.
        seed: name of the source.
        side: of the picture, in pixels.
        scale: least and largest length of the object's longer side, as a share of `side`.

    Returns:
        Picture `[side, side, 3]`, mask `[side, side]` (alpha, 0 to 255), plate, and the plate's licence.
    """
    rng = np.random.default_rng(derive_seed(seed, key))
    cut = cut_out(stamp)
    longer = max(cut.shape[:2])
    low, high = (share * side for share in scale)
    cut = resized(cut, rng.uniform(low, max(low, min(high, ENLARGE * longer))))
    height, width = cut.shape[:2]
    top, left = (int(rng.integers(0, side - length + 1)) for length in (height, width))
    which = PLATES[int(rng.integers(len(PLATES)))]
    plate = plate_crop(which, (side, side), rng, seed)
    alpha = np.zeros((side, side, 1), np.float32)
    colour = np.zeros((side, side, 3), np.float32)
    alpha[top : top + height, left : left + width] = cut[..., 3:]
    colour[top : top + height, left : left + width] = cut[..., :3]
    picture = as_bytes(colour + (1 - alpha) * (plate.astype(np.float32) / 255))
    return picture, as_bytes(alpha[..., 0]), plate, which.licence


def _photograph(name: str) -> Path:
    return package_file("skimage", f"data/{name}", "samples")
