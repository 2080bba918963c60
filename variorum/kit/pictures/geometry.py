"""Where a cut-out object goes and how it is resampled: size, position and direction in closed form.

An object is a premultiplied RGBA picture, cut out of a photograph of which the frame may show a part; all its parts
move together. Its size is always the share of the frame's pixels whose alpha is above one half. Every edit is one
affine map of the original cut-out into the frame, resampled once and rendered on a patch of its own, so that nothing is
clipped before it is known to fit. Coordinates are OpenCV's: a pixel's centre has integer coordinates, and its edges lie
half a pixel to each side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import cv2
import numpy as np

from variorum.kit.pictures.framing import Window

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Strategy = Literal["random", "grid3x3", "corners", "edges"]
Side = Literal["left", "top", "right", "bottom"]
SIDES: tuple[tuple[Side, Side], ...] = (("left", "right"), ("top", "bottom"))
"""Those across each axis."""

MAX_BOX_IOU = 0.5
MIN_SHIFT = 0.15
"""A moved object overlaps its old box by at most MAX_BOX_IOU, or moves by MIN_SHIFT of the frame's diagonal or more."""
NULL_SCALE = 0.02
"""A scale that differs less than this from 1 makes no visible change."""


class CannotEdit(ValueError):
    """This object can't be edited so. `reason` is one word for a `Failure`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Cutout(NamedTuple):
    """An object cut out of its picture.

    Attributes:
        rgba: `[H, W, 4]` uint8, colours premultiplied by alpha.
        hull: `[K, 2]` corners (x, y) of the convex hull of all pixels that aren't fully transparent.
        centre: centroid (x, y) of the mask.
        area: pixels of the mask.
        window: the frame's, in the picture, at the same scale.
        cut: the side of the picture at which the object goes on outside. It stays on that side of the frame.
    """

    rgba: Pixels
    hull: Floats
    centre: tuple[float, float]
    area: int
    window: Window
    cut: Side | None = None


class Placed(NamedTuple):
    """An object ready to be laid on a plate.

    Attributes:
        patch: `[h, w, 4]` uint8, premultiplied, trimmed to the pixels that aren't fully transparent.
        x: column of the patch's left edge in the frame; a patch may extend beyond the frame.
        y: row of its top edge.
        matrix: `[2, 3]`, the map from the cut-out's coordinates to the frame's.
    """

    patch: Pixels
    x: int
    y: int
    matrix: Floats


def as_cutout(rgba: Pixels, window: Window | None = None, cut: Side | None = None) -> Cutout:
    """The cut-out of a premultiplied RGBA picture `[H, W, 4]`.

    Args:
        rgba: the picture.
        window: the frame's in it; None for a picture that is the frame.
        cut: the side at which the object goes on outside.

    Raises:
        CannotEdit: `empty_mask` when no pixel is in the mask.
    """
    alpha = rgba[..., 3]
    inside = cv2.moments((alpha > 127).astype(np.uint8), binaryImage=True)
    if inside["m00"] == 0:
        raise CannotEdit("empty_mask", "no pixel belongs to the object")
    centre = (inside["m10"] / inside["m00"], inside["m01"] / inside["m00"])
    hull = cv2.convexHull(cv2.findNonZero(alpha))[:, 0].astype(np.float64)
    corners = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]])
    at = (0, 0, rgba.shape[0]) if window is None else window
    return Cutout(rgba, (hull[:, None] + corners).reshape(-1, 2), centre, int(inside["m00"]), at, cut)


def similarity(cutout: Cutout, scale: float = 1.0, angle: float = 0.0, shift: tuple[float, float] = (0, 0)) -> Floats:
    """The map into the frame that scales and turns (degrees, counter-clockwise on screen) about the object's centroid.

    Then it shifts.
    """
    matrix = np.asarray(cv2.getRotationMatrix2D(cutout.centre, angle, scale), dtype=np.float64)
    matrix[:, 2] += shift[0] - cutout.window[0], shift[1] - cutout.window[1]
    return matrix


def scale_of(matrix: Floats) -> float:
    """The factor by which a similarity stretches lengths."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def extent(cutout: Cutout, matrix: Floats) -> Box:
    """The box of the mapped object, including its blur when magnified."""
    points = cutout.hull @ matrix[:, :2].T + matrix[:, 2]
    blur = max(0.0, (scale_of(matrix) - 1) / 2)
    (left, top), (right, bottom) = points.min(axis=0) - blur, points.max(axis=0) + blur
    return float(left), float(top), float(right), float(bottom)


def fitted(cutout: Cutout, matrix: Floats, margin: int) -> Floats:
    """The same map with the smallest shift that keeps the object `margin` pixels inside the frame.

    An object that the picture cuts off is shifted so that its cut lies on the same side of the frame.

    Raises:
        CannotEdit: `no_room` when it is too wide or too high.
    """
    side, moved = cutout.window[2], matrix.copy()
    left, top, right, bottom = extent(cutout, matrix)
    for axis, (low, high) in enumerate(((left, right), (top, bottom))):
        first, last = margin - 0.5, side - margin - 0.5
        if cutout.cut == SIDES[axis][0]:
            low, first = float(matrix[axis, 2] - 0.5 * matrix[axis, axis]), -0.5
        elif cutout.cut == SIDES[axis][1]:
            high = float(matrix[axis, 2] + (cutout.rgba.shape[1 - axis] - 0.5) * matrix[axis, axis])
            last = side - 0.5
        if high - low > last - first + 1e-6:
            raise CannotEdit("no_room", f"the object would span {high - low:.1f} of {last - first:.0f} pixels")
        if cutout.cut == SIDES[axis][0]:
            moved[axis, 2] += first - low
        elif cutout.cut == SIDES[axis][1]:
            moved[axis, 2] += last - high
        else:
            moved[axis, 2] += max(0.0, first - low) - max(0.0, high - last)
    return moved


def render(cutout: Cutout, matrix: Floats) -> Placed:
    """Resample the cut-out once: area filter when it shrinks, cubic otherwise; a shift by whole pixels copies them.

    The edge at which the picture cuts the object off doesn't fade.
    """
    scale = scale_of(matrix)
    left, top, right, bottom = extent(cutout, matrix)
    x, y = math.floor(left) - 1, math.floor(top) - 1
    width, height = math.ceil(right) + 2 - x, math.ceil(bottom) + 2 - y
    fine = 1 if scale >= 0.999 else math.ceil(1 / scale)
    onto = matrix.copy()
    onto[:, 2] += 0.5 - np.array([x, y])  # to the patch's edges, then to the centres of the finer grid
    onto = onto * fine
    onto[:, 2] -= 0.5
    patch = cv2.warpAffine(
        cutout.rgba,
        onto,
        (width * fine, height * fine),
        flags=cv2.INTER_CUBIC if fine == 1 else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT if cutout.cut is None else cv2.BORDER_REPLICATE,
    )
    if fine > 1:
        patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_AREA)
    patch = np.asarray(np.minimum(patch, patch[..., 3:]), np.uint8)  # cubic overshoot must not exceed the alpha
    if cutout.cut is None:
        return _trimmed(patch, x, y, matrix)
    side, first_x, first_y = cutout.window[2], max(0, -x), max(0, -y)
    shown = np.ascontiguousarray(patch[first_y : max(0, side - y), first_x : max(0, side - x)])
    return _trimmed(shown, x + first_x, y + first_y, matrix)


def whole(cutout: Cutout) -> Placed:
    """The object as and where it is."""
    return _trimmed(cutout.rgba, -cutout.window[0], -cutout.window[1], similarity(cutout))


def resized(cutout: Cutout, rate: float, margin: int, tolerance: float) -> Placed:
    """The object at `rate` of the frame's pixels; its centre is kept if it fits there.

    The scale is sqrt(target / area), corrected once if rasterising a small mask misses by over half the tolerance.

    Raises:
        CannotEdit: `too_large` when it doesn't fit at this size; `null_edit` when it has this size already;
            `no_pixel` when this size is less than a pixel.
    """
    wanted = rate * cutout.window[2] ** 2
    if wanted < 1:
        raise CannotEdit("no_pixel", f"the object would have {wanted:.3g} pixels")
    scale = math.sqrt(wanted / cutout.area)
    _not_null(scale)
    placed = _scaled(cutout, scale, margin)
    reached = mask_area(placed)
    if reached and abs(reached - wanted) > 0.5 * tolerance * wanted:
        placed = _scaled(cutout, scale * math.sqrt(wanted / reached), margin)
    return placed


def enlarged(cutout: Cutout, margin: int) -> Placed:
    """The object as large as fits, with its aspect kept.

    Raises:
        CannotEdit: `null_edit` when it has that size already.
    """
    side, scales = cutout.window[2], []
    left, top, right, bottom = extent(cutout, similarity(cutout))
    for axis, span in enumerate((right - left, bottom - top)):
        ends = 1 if cutout.cut in SIDES[axis] else 2  # with a margin; and a magnified edge blurs there, see `extent`
        room, blur = side - ends * margin, ends / 2
        scales.append((room + blur) / (span + blur) if room > span else room / span)
    scale = min(scales)
    _not_null(scale)
    return _scaled(cutout, scale, margin)


def moved(
    base: Placed,
    frame: tuple[int, int],
    margin: int,
    strategy: Strategy,
    rng: np.random.Generator,
    cut: Side | None = None,
) -> Placed:
    """The object moved by whole pixels to a place drawn among those that are far enough from its old one.

    `random` draws among all of them, `edges` among those at the border of the possible range, `corners` and `grid3x3`
    among its 4 corners or 9 corner and middle places. An object that is cut off at a side slides along it.

    Raises:
        CannotEdit: `no_room` when there is no such place.
    """
    height, width = base.patch.shape[:2]
    xs, ys = np.arange(margin, frame[1] - margin - width + 1), np.arange(margin, frame[0] - margin - height + 1)
    xs, ys = np.array([base.x]) if cut in SIDES[0] else xs, np.array([base.y]) if cut in SIDES[1] else ys
    if not len(xs) or not len(ys):
        raise CannotEdit("no_room", f"an object of {width} x {height} pixels can't move in {frame[1]} x {frame[0]}")
    allowed = np.ones((len(ys), len(xs)), bool)
    if strategy != "random":
        ends_x, ends_y = {0, len(xs) - 1}, {0, len(ys) - 1}
        at_x, at_y = np.isin(np.arange(len(xs)), list(ends_x)), np.isin(np.arange(len(ys)), list(ends_y))
        if strategy == "edges":
            allowed = at_x[None] | at_y[:, None]
        else:
            if strategy == "grid3x3":
                at_x[len(xs) // 2] = at_y[len(ys) // 2] = True
            allowed = at_x[None] & at_y[:, None]
    dx, dy = np.abs(xs - base.x)[None], np.abs(ys - base.y)[:, None]
    shared = np.maximum(0, width - dx) * np.maximum(0, height - dy)
    iou = shared / (2 * width * height - shared)
    far = (dx**2 + dy**2) >= MIN_SHIFT**2 * (frame[0] ** 2 + frame[1] ** 2)
    places = np.flatnonzero(allowed & (far | (iou <= MAX_BOX_IOU)))
    if not len(places):
        raise CannotEdit("no_room", "every place it could go to overlaps the place where it is")
    row, column = divmod(int(places[rng.integers(len(places))]), len(xs))
    x, y = int(xs[column]), int(ys[row])
    matrix = base.matrix.copy()
    matrix[:, 2] += x - base.x, y - base.y
    return base._replace(x=x, y=y, matrix=matrix)


def turned(cutout: Cutout, base: Placed, angle: float, margin: int) -> Placed:
    """The object of `base` turned about its centroid, resampled from the original, and shifted only as needed to fit.

    Raises:
        CannotEdit: `no_room` when it doesn't fit without shrinking.
    """
    turn = np.vstack([cv2.getRotationMatrix2D(centroid(cutout, base), angle, 1.0), [0, 0, 1]])
    onto = (turn @ np.vstack([base.matrix, [0, 0, 1]]))[:2]
    return render(cutout, fitted(cutout, onto, margin))


def mirrored(base: Placed) -> Placed:
    """The object flipped left to right within its own box."""
    flip = np.array([[-1.0, 0.0, 2 * base.x + base.patch.shape[1] - 1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    onto = (flip @ np.vstack([base.matrix, [0, 0, 1]]))[:2]
    return base._replace(patch=np.ascontiguousarray(base.patch[:, ::-1]), matrix=onto)


def centroid(cutout: Cutout, placed: Placed) -> tuple[float, float]:
    """The placed object's centroid (x, y)."""
    x, y = placed.matrix[:, :2] @ cutout.centre + placed.matrix[:, 2]
    return float(x), float(y)


def mask_area(placed: Placed) -> int:
    """Pixels of the placed mask, including those beyond the frame."""
    return int(np.count_nonzero(placed.patch[..., 3] > 127))


def visible_ratio(placed: Placed, frame: tuple[int, int]) -> float:
    """Share of the placed alpha that lies within the frame, in [0, 1]."""
    alpha = placed.patch[..., 3]
    total = int(alpha.sum(dtype=np.int64))
    top, left = max(0, -placed.y), max(0, -placed.x)
    seen = alpha[top : max(top, frame[0] - placed.y), left : max(left, frame[1] - placed.x)]
    return int(seen.sum(dtype=np.int64)) / total if total else 0.0


def box_iou(first: Placed, second: Placed) -> float:
    """Intersection over union of two patches' boxes of the same size."""
    height, width = first.patch.shape[:2]
    shared = max(0, width - abs(first.x - second.x)) * max(0, height - abs(first.y - second.y))
    return float(shared / (2 * width * height - shared))


def same_look(first: Placed, second: Placed) -> tuple[float, float]:
    """IoU of two placed masks, and the mean absolute colour difference (0 to 255) where they overlap."""
    left, top = min(first.x, second.x), min(first.y, second.y)
    size = [
        max(item.y + item.patch.shape[0] for item in (first, second)) - top,
        max(item.x + item.patch.shape[1] for item in (first, second)) - left,
    ]
    laid = np.zeros((2, *size, 4), np.uint8)
    for canvas, item in zip(laid, (first, second), strict=True):
        height, width = item.patch.shape[:2]
        canvas[item.y - top : item.y - top + height, item.x - left : item.x - left + width] = item.patch
    masks = laid[..., 3] > 127
    both, either = masks[0] & masks[1], masks[0] | masks[1]
    if not both.any():
        return 0.0, 255.0
    change = np.abs(laid[0, both, :3].astype(np.int16) - laid[1, both, :3])
    return float(both.sum() / either.sum()), float(change.mean())


def _scaled(cutout: Cutout, scale: float, margin: int) -> Placed:
    try:
        return render(cutout, fitted(cutout, similarity(cutout, scale), margin))
    except CannotEdit as error:
        raise CannotEdit("too_large", error.detail) from None


def _not_null(scale: float) -> None:
    if abs(scale - 1) < NULL_SCALE:
        raise CannotEdit("null_edit", f"a scale of {scale:.3f} changes nothing")


def _trimmed(patch: Pixels, x: int, y: int, matrix: Floats) -> Placed:
    left, top, width, height = cv2.boundingRect(patch[..., 3])
    cut = np.ascontiguousarray(patch[top : top + height, left : left + width])
    return Placed(cut, x + left, y + top, matrix)
