"""Real, labelled pictures out of installed packages, so that every recipe runs on a fresh machine without a download.

- photographs: scikit-image's pictures of an ImageNet class.
- composites: photographs of single things, cut out by hand for Tux Paint (Debian's `tuxpaint-stamps-default`,
  GPL-2+), on photographic plates. The cut-out's alpha is the exact mask, and the plate without the object is known.

The labels were assigned by eye: `samples_stamps.csv` lists only photographs that show exactly a class of ImageNet-1k,
no drawings, no similar species, and no object that was cut out together with something else.
"""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from variorum.generators.sources.imagenet import class_infos
from variorum.machine.file_hashes import pin_files
from variorum.machine.steady import Pinned, check_pinned, read_pinned, stamp_of, steady
from variorum.pixels import decode, encode_png, open_header
from variorum.schemas.canonical import derive_seed, digest
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import CAPTURED, COMPOSITE, Failure, Sample, source_id

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Reals

DEBIAN = "/usr/share/tuxpaint/stamps"
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


@dataclass(frozen=True, slots=True)
class Plate:
    """A region without objects in a picture that a package contains, from which backgrounds are cut.

    Attributes:
        package: the package.
        path: of the file, within the package.
        region: left, top, right and bottom in pixels.
        side: of the squares that are cut out, in pixels.
        tint: RGB gains for a grey texture.
        licence: SPDX id.
    """

    package: str
    path: str
    region: tuple[int, int, int, int]
    side: int
    tint: tuple[float, float, float]
    licence: str


PLATES = (
    Plate("sklearn", "datasets/images/china.jpg", (395, 0, 640, 427), 245, (1, 1, 1), "CC-BY-2.0"),  # lake and trees
    Plate("sklearn", "datasets/images/flower.jpg", (455, 0, 640, 300), 180, (1, 1, 1), "CC-BY-2.0"),  # dark leaves
    Plate("skimage", "data/grass.png", (0, 0, 512, 512), 380, (0.85, 1.0, 0.5), "CC0-1.0"),
    Plate("skimage", "data/gravel.png", (0, 0, 512, 512), 380, (1.0, 0.95, 0.87), "CC0-1.0"),
    Plate("skimage", "data/brick.png", (0, 0, 512, 512), 400, (1.15, 0.85, 0.75), "CC0-1.0"),
)


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
                image = open_header(read_pinned(file, self._pins[file], file), 1)
                stamp = np.asarray(image.convert("RGBA"))
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
        there = stamps_folder() is not None and self.stamps != "none"
        files = {key: self._root / key for key in stamp_table()} if there else {}
        found = {key: stamp_table()[key] for key, file in files.items() if steady(file.is_file, file)}
        if self.stamps == "required" and not found:
            raise SourceError(
                "samples: the Tux Paint stamps are missing; install tuxpaint-stamps-default, set VARIORUM_STAMPS to "
                "their folder, or set stamps to auto"
            )
        return found

    @cached_property
    def _root(self) -> Path:
        return stamps_folder() or Path()

    @cached_property
    def _plates(self) -> tuple[Path, ...]:
        """The files that backgrounds are cut from."""
        return tuple(_package_file(plate.package, plate.path) for plate in PLATES) if self._stamps else ()

    @cached_property
    def _pins(self) -> dict[Path, Pinned]:
        """What the samples are made from."""
        files = [_photograph(key) for key in self._photographs] + [self._root / key for key in self._stamps]
        files += self._plates
        return dict(zip(files, pin_files(self._root, files, listed=True), strict=True))


def stamps_folder() -> Path | None:
    """The folder of the stamps: `$VARIORUM_STAMPS` or Debian's; None if it doesn't exist."""
    folder = Path(os.environ.get("VARIORUM_STAMPS") or DEBIAN).expanduser()
    return folder if folder.is_dir() else None


@lru_cache(maxsize=1)
def stamp_table() -> Mapping[str, str]:
    """Relative path of each stamp to the wnid of what it shows, in order of the paths."""
    with Path(__file__).with_name("samples_stamps.csv").open(encoding="utf-8", newline="") as file:
        return dict(sorted((row["path"], row["wnid"]) for row in csv.DictReader(file)))


def compose(stamp: Pixels, key: str) -> tuple[Pixels, Pixels, Pixels, str]:
    """A cut-out on a plate; scale, place and plate depend on the key alone.

    Colours are premultiplied by alpha before resizing, so that the colours of transparent pixels make no fringe.

    Args:
        stamp: RGBA `[h, w, 4]` uint8.
        key: seeds the choices.

    Returns:
        Picture `[FRAME, FRAME, 3]`, mask `[FRAME, FRAME]` (alpha, 0 to 255), plate, and the plate's licence.
    """
    rng = np.random.default_rng(derive_seed("samples", key))
    rows, columns = np.nonzero(stamp[..., 3])
    cut = stamp[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32) / 255
    cut[..., :3] *= cut[..., 3:]
    longer = max(cut.shape[:2])
    low, high = (share * FRAME for share in SCALE)
    target = rng.uniform(low, max(low, min(high, ENLARGE * longer)))
    height, width = (max(1, round(side * target / longer)) for side in cut.shape[:2])
    how = cv2.INTER_AREA if target < longer else cv2.INTER_LINEAR
    cut = np.asarray(cv2.resize(cut, (width, height), interpolation=how), dtype=np.float32)
    top, left = (int(rng.integers(0, FRAME - side + 1)) for side in (height, width))
    which = PLATES[int(rng.integers(len(PLATES)))]
    plate = _crop(which, rng)
    alpha = np.zeros((FRAME, FRAME, 1), np.float32)
    colour = np.zeros((FRAME, FRAME, 3), np.float32)
    alpha[top : top + height, left : left + width] = cut[..., 3:]
    colour[top : top + height, left : left + width] = cut[..., :3]
    picture = _bytes(colour + (1 - alpha) * (plate.astype(np.float32) / 255))
    return picture, _bytes(alpha[..., 0]), plate, which.licence


def _crop(plate: Plate, rng: np.random.Generator) -> Pixels:
    left, top, right, bottom = plate.region
    x = left + int(rng.integers(0, right - left - plate.side + 1))
    y = top + int(rng.integers(0, bottom - top - plate.side + 1))
    file = _package_file(plate.package, plate.path)
    cut = _picture(file, stamp_of(file.stat()))[y : y + plate.side, x : x + plate.side]
    if rng.integers(2):
        cut = cut[:, ::-1]
    how = cv2.INTER_AREA if plate.side > FRAME else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(cut), (FRAME, FRAME), interpolation=how)
    return _bytes(resized.astype(np.float32) / 255 * np.asarray(plate.tint, np.float32))


@lru_cache(maxsize=8)
def _picture(file: Path, _stamp: tuple[int, ...]) -> Pixels:
    return decode(file.read_bytes())


def _photograph(name: str) -> Path:
    return _package_file("skimage", f"data/{name}")


def _package_file(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / path).is_file():
            return file
    raise SourceError(f"samples: the installed {package} has no {path}; reinstall it")


def _bytes(values: Reals) -> Pixels:
    return np.asarray((values.clip(0, 1) * 255).round(), dtype=np.uint8)
