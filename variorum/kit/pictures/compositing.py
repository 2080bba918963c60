"""Cutting an object out of a photograph and laying it on another plate without a rim of the old background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.pictures.geometry import Placed

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels

ERODE = 1.0
"""Pixels by which a segmenter's mask is shrunk."""
FEATHER = 1.5
"""Width in pixels over which its edge then fades."""


def soft_alpha(mask: Pixels) -> Pixels:
    """An alpha for compositing, from a segmenter's mask `[H, W]` uint8, which is soft where the model is unsure.

    The mask is cut at one half, shrunk by ERODE and faded over FEATHER pixels by its distance to the edge.
    """
    inside = (cv2.GaussianBlur(mask, (0, 0), 1.0) > 127).astype(np.uint8)
    # distanceTransform measures to the centre of the nearest outside pixel; the frame's border is no edge of the object
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - 0.5
    alpha = np.clip((depth - ERODE) / FEATHER + 0.5, 0, 1)
    return np.asarray(np.rint(255 * alpha), dtype=np.uint8)


def cut_photograph(picture: Pixels, alpha: Pixels) -> Pixels:
    """Premultiplied RGBA of an object whose alpha is estimated: colours at the rim come from within the object.

    Pixels near the edge of a photographed object contain some of the background. Those that aren't fully opaque get
    the colours of the object's core, spread outwards.
    """
    left, top, width, height = cv2.boundingRect(alpha)
    near = slice(top, top + height), slice(left, left + width)
    colours, solid = picture.copy(), (alpha == 255).astype(np.uint8)
    core = cv2.erode(solid, np.ones((3, 3), np.uint8))
    if not core.any():
        core = solid if solid.any() else (alpha > 127).astype(np.uint8)
    if width and height:
        spreading = spread(picture[near], core[near] > 0)
        colours[near] = np.where(solid[near][..., None] > 0, picture[near], spreading)
    return premultiplied(colours, alpha)


def cut_exact(picture: Pixels, alpha: Pixels, plate: Pixels | None) -> Pixels:
    """Premultiplied RGBA of an object whose alpha is known; if its plate is known too, the rim is exact.

    The picture is `alpha F + (1 - alpha) plate`, so subtracting the plate's part leaves `alpha F`.
    """
    if plate is None:
        return premultiplied(picture, alpha)
    cover = alpha[..., None].astype(np.int32)
    left = picture.astype(np.int32) - (plate.astype(np.int32) * (255 - cover) + 127) // 255
    return np.concatenate([np.clip(left, 0, cover).astype(np.uint8), alpha[..., None]], axis=2)


def premultiplied(colours: Pixels, alpha: Pixels) -> Pixels:
    """RGBA with the colours multiplied by alpha; fully opaque pixels keep their colours exactly."""
    cover = alpha[..., None].astype(np.uint16)
    return np.concatenate([((colours * cover + 127) // 255).astype(np.uint8), alpha[..., None]], axis=2)


def spread(picture: Pixels, known: Bools) -> Pixels:
    """The picture with known colours spread over the rest, nearest and finest first (as in a push-pull pyramid)."""
    weight = known.astype(np.float32)
    colour = picture.astype(np.float32) * weight[..., None]
    out, filled = colour.copy(), weight.copy()
    for sigma in (1.0, 2.0, 4.0, 8.0):
        if filled.all():
            break
        total = cv2.GaussianBlur(weight, (0, 0), sigma)
        mean = cv2.GaussianBlur(colour, (0, 0), sigma) / np.maximum(total, 1e-6)[..., None]
        fresh = (filled == 0) & (total > 0.02)
        out[fresh], filled[fresh] = mean[fresh], 1
    return np.asarray(np.clip(np.rint(out), 0, 255), dtype=np.uint8)


def composite(plate: Pixels, placed: Placed) -> tuple[Pixels, Pixels]:
    """The object over the plate, and its alpha in the frame; opaque pixels are copied bit for bit."""
    height, width = plate.shape[:2]
    picture, mask = plate.copy(), np.zeros((height, width), np.uint8)
    left, top = max(0, placed.x), max(0, placed.y)
    right, bottom = (
        min(width, placed.x + placed.patch.shape[1]),
        min(height, placed.y + placed.patch.shape[0]),
    )
    if right > left and bottom > top:
        patch = placed.patch[top - placed.y : bottom - placed.y, left - placed.x : right - placed.x]
        under = picture[top:bottom, left:right]
        cover = (255 - patch[..., 3:]).astype(np.uint16)
        under[...] = patch[..., :3] + ((under * cover + 127) // 255).astype(np.uint8)
        mask[top:bottom, left:right] = patch[..., 3]
    return picture, mask
