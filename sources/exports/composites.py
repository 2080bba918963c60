"""Scenes of several cut-outs, in which it is known to the pixel what is visible of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from variorum.annotations import with_mask
from variorum.schemas.annotations import Object
from variorum.sources.exports.cutouts import PLATES, Plate, as_bytes, cut_out, plate_crop, resized

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

WIDTHS = (448, 512, 576, 640)
RATIOS = (1.0, 0.75, 0.667)
"""Height by width."""
SCALE = (0.18, 0.8)
"""Least and largest longer side of an object, as a share of the picture's height."""
ENLARGE = 1.5
"""A small cut-out is enlarged at most by this factor, unless it needs more for the least `SCALE`."""
HIDDEN = 0.5
"""Objects of which more than this share is covered by others are left out."""
BACKDROPS: Sequence[Plate] = (PLATES[0], PLATES[1], PLATES[4])
FLOORS: Sequence[Plate] = (PLATES[2], PLATES[3])
"""What stands upright behind objects, and what they stand on."""
SKIES = ((190, 225, 250), (250, 235, 205), (215, 210, 240), (225, 245, 235))
HILLS = ((150, 205, 110), (240, 205, 120), (170, 200, 160), (235, 180, 140))


class Cutout(NamedTuple):
    """A stamp `[h, w, 4]` uint8 with the category that it shows and its name."""

    stamp: Pixels
    category: str
    name: str


class Placed(NamedTuple):
    """A cut-out at its place: its pixels as `cut_out` gives them, and its left upper corner."""

    cut: Singles
    left: int
    top: int
    category: str
    name: str


def compose(
    cutouts: Sequence[Cutout], rng: np.random.Generator, *, drawn: bool
) -> tuple[Pixels, tuple[Object, ...], tuple[Plate, ...]]:
    """A scene with these cut-outs. What stands lower in the picture is in front and covers what is behind.

    Args:
        cutouts: in any order.
        rng: for sizes, places and the ground.
        drawn: whether the ground is a coloured landscape; otherwise it is a photograph, or two.

    Returns:
        Picture `[H, W, 3]`, its objects from back to front with masks of what is visible, and the plates of the
        ground, what is below first.
    """
    width = int(rng.choice(WIDTHS))
    height = round(width * float(rng.choice(RATIOS)))
    ground, horizon, plates = (landscape if drawn else _plates)(height, width, rng)
    placed = sorted((_place(item, height, width, horizon, rng) for item in cutouts), key=_bottom)
    kept: list[tuple[Placed, Bools]] = []
    taken = np.zeros((height, width), bool)
    for item in reversed(placed):
        mask = _alpha(item, height, width)[..., 0] >= 0.5
        visible = mask & ~taken
        if np.count_nonzero(visible) >= max(1.0, (1 - HIDDEN) * np.count_nonzero(mask)):
            kept.append((item, visible))
            taken |= mask
    picture = ground.astype(np.float32) / 255
    objects = []
    for number, (item, visible) in enumerate(reversed(kept), 1):
        rows, columns = _where(item)
        picture[rows, columns] = item.cut[..., :3] + (1 - item.cut[..., 3:]) * picture[rows, columns]
        found = with_mask(Object((0, 0, 1, 1), item.category, id=str(number), origin=item.name), visible)
        objects += [found] if found else []
    return as_bytes(picture), tuple(objects), plates


def landscape(height: int, width: int, rng: np.random.Generator) -> tuple[Pixels, int, tuple[Plate, ...]]:
    """A sky and two hills in flat colours, `[height, width, 3]`, the horizon's row, and no plate."""
    horizon = int(rng.uniform(0.5, 0.65) * height)
    sky, hill = np.array(SKIES)[rng.integers(len(SKIES))], np.array(HILLS)[rng.integers(len(HILLS))]
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = sky
    x = np.arange(width)
    for shade, level in ((0.85, horizon - height // 12), (1.0, horizon)):
        wave = level + height / 20 * np.sin(x / width * rng.uniform(3, 9) + rng.uniform(0, 6))
        picture[np.arange(height)[:, None] >= wave] = np.round(hill * shade)
    return picture, horizon, ()


def _plates(height: int, width: int, rng: np.random.Generator) -> tuple[Pixels, int, tuple[Plate, ...]]:
    """One photographic plate, or one above another; the row from which on objects stand, and the plates."""
    if rng.integers(2):
        plate = PLATES[int(rng.integers(len(PLATES)))]
        return plate_crop(plate, (height, width), rng, "sample_scenes"), 0, (plate,)
    horizon = int(rng.uniform(0.4, 0.65) * height)
    both = BACKDROPS[int(rng.integers(len(BACKDROPS)))], FLOORS[int(rng.integers(len(FLOORS)))]
    sizes = (horizon, width), (height - horizon, width)
    parts = [plate_crop(plate, size, rng, "sample_scenes") for plate, size in zip(both, sizes, strict=True)]
    seam = cv2.GaussianBlur(np.concatenate(parts), (1, 5), 0)
    picture = np.concatenate(parts)
    picture[horizon - 2 : horizon + 2] = seam[horizon - 2 : horizon + 2]
    return picture, horizon, both[::-1]


def _place(item: Cutout, height: int, width: int, horizon: int, rng: np.random.Generator) -> Placed:
    cut = cut_out(item.stamp)
    least, most = (share * height for share in SCALE)
    cut = resized(cut, rng.uniform(least, max(least, min(most, ENLARGE * max(cut.shape[:2])))))
    high, wide = cut.shape[:2]
    left = int(rng.integers(0, width - wide + 1))
    bottom = int(rng.integers(max(high, min(horizon + height // 16, height)), height + 1))
    return Placed(cut, left, bottom - high, item.category, item.name)


def _bottom(item: Placed) -> int:
    return item.top + len(item.cut)


def _where(item: Placed) -> tuple[slice, slice]:
    high, wide = item.cut.shape[:2]
    return slice(item.top, item.top + high), slice(item.left, item.left + wide)


def _alpha(item: Placed, height: int, width: int) -> Singles:
    alpha = np.zeros((height, width, 1), np.float32)
    alpha[_where(item)] = item.cut[..., 3:]
    return alpha
