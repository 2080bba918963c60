"""Objects in the colours and the texture of what is around them, as animals and fungi are hard to see.

The idea is that of Chu et al. (Camouflage Images, SIGGRAPH 2010), here in closed form. An object gets the colours of
its plate, blurred, so that its feet match the grass and its head the sky. On them lies the plate's detail, displaced,
so that no line of the ground goes on through the object, and the object's own relief, with the contrast of that
detail. The object is laid on the plate, not on the photograph, so that no rim of its old colours is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt.outcome import in_three, is_grey
from variorum.kit.pictures.geometry import CannotEdit

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

GROUND = 0.5
"""The plate's detail on an object, as a share of its own contrast."""
RELIEF = np.array([1.0, 0.5, 0.5], np.float32)
"""The object's deviation in CIELAB, as shares of that of the ground's detail."""
FAINTEST = 3.0
"""Least deviation of the ground's detail, in CIELAB units: on a smooth ground an object still shows."""
FLATTEST, MOST = 0.5, 2.0
"""An object's deviation that is divided by, and the factor by which it grows, at least and at most: noise is no relief.
"""
COARSE, SHIFT = 0.15, 0.25
"""The blur's deviation, and how far detail is displaced to either axis, as shares of the square root of the area."""
WIDTH = 0.2
"""Of the ring, as a share of the square root of the object's area."""
NARROWEST, RIM = 6, 2
"""Pixels: the least width of a ring, and its distance from the object, where pixels may show both."""
FEWEST = 64
"""Pixels of a ring or an object whose colours can be told."""
LEVELS = (np.arange(32) + 0.5) / 32
"""Quantiles at which colours are compared."""


def ring(alpha: Pixels) -> Bools:
    """The pixels around an object, `[H, W]`, without its edge.

    Args:
        alpha: the object's opacity, `[H, W]` uint8.

    Raises:
        CannotEdit: `no_ring` if the object or what is around it is too small.
    """
    size = np.count_nonzero(alpha > 127)
    width = max(NARROWEST, round(WIDTH * float(np.sqrt(size))))
    away = cv2.distanceTransform((alpha == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    found = np.asarray((away > RIM) & (away <= RIM + width))
    if min(np.count_nonzero(found), size) < FEWEST:
        raise CannotEdit("no_ring", f"the object or the ring around it has less than {FEWEST} pixels")
    return found


def camouflaged(picture: Pixels, alpha: Pixels, plate: Pixels) -> Pixels:
    """The plate with the object on it, in the plate's colours and texture.

    Args:
        picture: RGB `[H, W, 3]` uint8. A grey one stays grey.
        alpha: the object's opacity, `[H, W]` uint8.
        plate: the picture without the object, `[H, W, 3]` uint8.

    Raises:
        CannotEdit: `no_ring`, as in `ring`.
    """
    around, inside = ring(alpha), alpha > 127
    own, ground = _lab(picture), _lab(plate)
    size = float(np.sqrt(np.count_nonzero(inside)))
    local = np.asarray(cv2.GaussianBlur(ground, (0, 0), COARSE * size), np.float32)
    detail = ground - local
    relief = own - own[inside].mean(axis=0)
    rough = np.maximum(detail[around].std(axis=0), FAINTEST)
    relief *= RELIEF * np.minimum(rough / np.maximum(relief[inside].std(axis=0), FLATTEST), MOST)
    step = round(SHIFT * size)
    shift = np.array([[1, 0, step], [0, 1, step]], np.float32)
    texture = cv2.warpAffine(detail, shift, (alpha.shape[1], alpha.shape[0]), borderMode=cv2.BORDER_REFLECT)
    hidden = np.asarray(local + GROUND * texture + relief, np.float32)
    colours = np.clip(cv2.cvtColor(hidden, cv2.COLOR_LAB2RGB), 0, 1) * 255
    cover = (alpha.astype(np.float32) / 255)[..., None]
    made = np.rint(colours * cover + plate * (1 - cover)).astype(np.uint8)
    return in_three(cv2.cvtColor(made, cv2.COLOR_RGB2GRAY)) if is_grey(picture) else made


def difference(picture: Pixels, alpha: Pixels) -> float:
    """Measure how the colours of an object differ from those of its ring, in ΔE of CIE 1976.

    The root mean square of the differences between the quantiles of L, a and b: 0 for the same colours in the same
    shares, wherever they are.

    Raises:
        CannotEdit: `no_ring`, as in `ring`.
    """
    found = _lab(picture)
    mine, others = (np.quantile(found[where], LEVELS, axis=0) for where in (alpha > 127, ring(alpha)))
    return float(np.sqrt(((mine - others) ** 2).sum(axis=1).mean()))


def visibility(picture: Pixels, alpha: Pixels, plate: Pixels) -> float:
    """Measure the mean ΔE between a picture and its plate over the object; 2.3 is just noticeable."""
    inside = alpha > 127
    return float(np.linalg.norm(_lab(picture)[inside] - _lab(plate)[inside], axis=1).mean())


def _lab(picture: Pixels) -> Singles:
    """CIELAB of RGB `[H, W, 3]` uint8."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
