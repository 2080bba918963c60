"""Cutting an object out of a photograph and laying it on another plate, without a rim of the old background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from generators.editing.geometry import Placed

Pixels = NDArray[np.uint8]

ERODE = 1.0
FEATHER = 1.5
"""Pixels by which a segmenter's mask is drawn inwards, and the width over which its edge then fades."""


def soft_alpha(mask: Pixels) -> Pixels:
    """An edge that can be composited from a segmenter's mask, which is soft where the model was unsure.

    The mask is cut at one half, drawn inwards by ERODE and faded over FEATHER pixels by its distance to the edge.

    Args:
        mask: `[H, W]` uint8.
    """
    inside = (cv2.GaussianBlur(mask, (0, 0), 1.0) > 127).astype(np.uint8)
    # distanceTransform measures to the next outside pixel's centre; the frame's border is no edge of the object.
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - 0.5
    alpha = np.clip((depth - ERODE) / FEATHER + 0.5, 0, 1)
    return np.asarray(np.rint(255 * alpha), dtype=np.uint8)


def cut_photograph(picture: Pixels, alpha: Pixels) -> Pixels:
    """Premultiplied RGBA of an object whose alpha is a guess: rim colours come from within the object.

    Pixels near the edge of a photographed object hold some of the background behind it. They are replaced by the
    colours of the object's core, spread outwards, in proportion to how transparent they are.
    """
    solid = (alpha == 255).astype(np.uint8)
    core = cv2.erode(solid, np.ones((3, 3), np.uint8))
    if not core.any():
        core = solid if solid.any() else (alpha > 127).astype(np.uint8)
    colours = np.where(solid[..., None] > 0, picture, spread(picture, core > 0))
    return premultiplied(colours, alpha)


def cut_exact(picture: Pixels, alpha: Pixels, plate: Pixels | None) -> Pixels:
    """Premultiplied RGBA of an object whose alpha is known; with its plate known too, the rim is exact.

    The picture is `alpha F + (1 - alpha) plate`, so `alpha F` is what is left when the plate's part is taken away.
    """
    if plate is None:
        return premultiplied(picture, alpha)
    cover = alpha[..., None].astype(np.int32)
    left = picture.astype(np.int32) - (plate.astype(np.int32) * (255 - cover) + 127) // 255
    return np.concatenate([np.clip(left, 0, cover).astype(np.uint8), alpha[..., None]], axis=2)


def premultiplied(colours: Pixels, alpha: Pixels) -> Pixels:
    """RGBA with the colours scaled by alpha; fully opaque pixels keep theirs exactly."""
    cover = alpha[..., None].astype(np.uint16)
    return np.concatenate([((colours * cover + 127) // 255).astype(np.uint8), alpha[..., None]], axis=2)


def spread(picture: Pixels, known: NDArray[np.bool_]) -> Pixels:
    """Known colours carried outwards over the rest, nearest and finest first (the pull of a push-pull pyramid)."""
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
    """The picture and its alpha mask: the object over the plate; opaque pixels are the object's own, bit for bit."""
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
