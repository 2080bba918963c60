"""Square working pictures: a square of the short side, placed along the long side, then resized; never distorted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Pixels

Window = tuple[int, int, int]
"""Left, top and side, in pixels of the whole picture."""

Framing = Literal["object", "center"]


def window(height: int, width: int, mask: Pixels | None = None) -> Window:
    """The square of the short side that contains the object's box, or as much of it as fits.

    The square lies as near to the picture's middle as the box allows, so an object in the middle gives the centre crop.

    Args:
        height: of the whole picture.
        width: of the whole picture.
        mask: `[height, width]`, object above 127; None or an empty mask gives the centre crop.
    """
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    if mask is None or height == width:
        return left, top, side
    along = np.asarray((mask > 127).any(axis=0 if width > height else 1))
    if not along.any():
        return left, top, side
    places = np.flatnonzero(along)
    first, last = int(places[0]), int(places[-1]) + 1
    room = len(along) - side
    if last - first <= side:
        margin = min(side - (last - first), side // 16) // 2  # a box at the window's edge would look cut off
        low, high = last - side + margin, first - margin
    else:
        low = high = (first + last - side) // 2
    start = min(max(room // 2, low), high)
    start = min(max(start, 0), room)
    return (start, 0, side) if width > height else (0, start, side)


def largest_square(free: Bools) -> Window:
    """The largest square of odd side where `free` `[H, W]` is true; side 0 without any."""
    depth = cv2.distanceTransform(np.pad(free.astype(np.uint8), 1), cv2.DIST_C, cv2.DIST_MASK_3)
    top, left = np.unravel_index(int(depth.argmax()), depth.shape)
    reach = int(depth[top, left]) - 1  # 1 is a single pixel
    return (0, 0, 0) if reach < 0 else (int(left) - 1 - reach, int(top) - 1 - reach, 2 * reach + 1)


def matrix(at: Window, frame: int) -> Floats:
    """The map `[2, 3]` from positions in the whole picture to positions in the window resized to `frame` pixels."""
    left, top, side = at
    scale = frame / side
    return np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])


def canvas(picture: Pixels, side: int, of: tuple[int, int] | None = None) -> Pixels:
    """A picture or mask with its short side resized to this many pixels: area filter down, cubic up.

    Args:
        picture: `[H, W, …]`.
        side: of the result.
        of: height and width whose ratio the result gets; by default the picture's own.
    """
    short, (height, width) = min(picture.shape[:2]), of or picture.shape[:2]
    size = round(width * side / min(height, width)), round(height * side / min(height, width))
    if size == picture.shape[1::-1]:
        return np.ascontiguousarray(picture)
    how = cv2.INTER_AREA if short > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)


def shrunk(picture: Pixels, times: int) -> Pixels:
    """A picture with sides of this fraction; itself for less than 2. At most `times - 1` rows and columns are lost."""
    if times < 2:
        return picture
    height, width = (side // times * times for side in picture.shape[:2])
    size = width // times, height // times
    return np.asarray(cv2.resize(picture[:height, :width], size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def crop(picture: Pixels, at: Window, frame: int) -> Pixels:
    """The window of a picture or mask, resized to `[frame, frame, …]`: area filter down, cubic up."""
    left, top, side = at
    cut = picture[top : top + side, left : left + side]
    if side == frame:
        return np.ascontiguousarray(cut)
    how = cv2.INTER_AREA if side > frame else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (frame, frame), interpolation=how), dtype=np.uint8)
