"""Cut-outs and photographic plates that installed packages contain, of which sources make composites."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.machine.retrying import Pinned, read_pinned, stamp_of
from variorum.pixels import decode, open_header
from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Reals, Singles


@dataclass(frozen=True, slots=True)
class Plate:
    """A region without objects in a picture that a package contains, from which backgrounds are cut.

    Attributes:
        package: the package.
        path: of the file, within the package.
        region: left, top, right and bottom in pixels.
        side: the longer side of what is cut out, in pixels.
        tint: RGB gains for a grey texture.
        licence: SPDX id.
        where: the place of a thing before it or on it, in words.
    """

    package: str
    path: str
    region: tuple[int, int, int, int]
    side: int
    tint: tuple[float, float, float]
    licence: str
    where: str


PLATES = (
    Plate(
        "sklearn",
        "datasets/images/china.jpg",
        (395, 0, 640, 427),
        245,
        (1, 1, 1),
        "CC-BY-2.0",
        "in front of trees by a lake",
    ),
    Plate(
        "sklearn",
        "datasets/images/flower.jpg",
        (455, 0, 640, 300),
        180,
        (1, 1, 1),
        "CC-BY-2.0",
        "in front of dark leaves",
    ),
    Plate("skimage", "data/grass.png", (0, 0, 512, 512), 380, (0.85, 1.0, 0.5), "CC0-1.0", "on grass"),
    Plate("skimage", "data/gravel.png", (0, 0, 512, 512), 380, (1.0, 0.95, 0.87), "CC0-1.0", "on gravel"),
    Plate(
        "skimage", "data/brick.png", (0, 0, 512, 512), 400, (1.15, 0.85, 0.75), "CC0-1.0", "in front of a brick wall"
    ),
)


def package_file(package: str, path: str, source: str) -> Path:
    """A file of an installed Python package. Raises SourceError, which names the source, if it doesn't exist."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / path).is_file():
            return file
    raise SourceError(f"{source}: the installed {package} has no {path}; reinstall it")


def read_stamp(file: Path, pinned: Pinned) -> Pixels:
    """A stamp `[h, w, 4]` uint8.

    Raises:
        OSError, ValueError, SyntaxError: it is no picture, or nothing of it can be seen.
        SourceChanged: the file isn't what was pinned.
    """
    stamp = np.asarray(open_header(read_pinned(file, pinned, file), 1).convert("RGBA"))
    if not stamp[..., 3].any():
        raise ValueError(f"{file.name} is transparent")
    return stamp


def cut_out(stamp: Pixels) -> Singles:
    """A stamp `[h, w, 4]` without its transparent margins, `[h, w, 4]` in [0, 1], colours multiplied by alpha.

    In this form it can be resized: the colours of transparent pixels make no fringe.
    """
    rows, columns = np.nonzero(stamp[..., 3])
    cut = stamp[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
    cut /= 255
    cut[..., :3] *= cut[..., 3:]
    return cut


def resized(cut: Singles, longer: float) -> Singles:
    """The cut-out with this longer side in pixels."""
    before = max(cut.shape[:2])
    height, width = (max(1, round(side * longer / before)) for side in cut.shape[:2])
    how = cv2.INTER_AREA if longer < before else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (width, height), interpolation=how), dtype=np.float32)


def plate_crop(plate: Plate, size: tuple[int, int], rng: np.random.Generator, source: str) -> Pixels:
    """A piece of the plate, mirrored or not, at this height and width, `[height, width, 3]` uint8."""
    height, width = (round(plate.side * side / max(size)) for side in size)
    left, top, right, bottom = plate.region
    x = left + int(rng.integers(0, right - left - width + 1))
    y = top + int(rng.integers(0, bottom - top - height + 1))
    file = package_file(plate.package, plate.path, source)
    cut = _picture(file, stamp_of(file.stat()))[y : y + height, x : x + width]
    if rng.integers(2):
        cut = cut[:, ::-1]
    how = cv2.INTER_AREA if plate.side > max(size) else cv2.INTER_CUBIC
    pixels = cv2.resize(np.ascontiguousarray(cut), size[::-1], interpolation=how)
    return as_bytes(pixels.astype(np.float32) / 255 * np.asarray(plate.tint, np.float32))


def as_bytes(values: Reals) -> Pixels:
    """Values in [0, 1] as uint8, rounded; those outside are clipped."""
    return np.asarray((values.clip(0, 1) * 255).round(), dtype=np.uint8)


@lru_cache(maxsize=8)
def _picture(file: Path, _stamp: tuple[int, ...]) -> Pixels:
    return decode(file.read_bytes())
