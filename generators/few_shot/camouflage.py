"""Objects in the colours of what is around them, as animals and fungi are hard to see.

An object's mean and deviation in CIELAB become those of a ring around it, with less contrast: the colour transfer of
Reinhard et al. (Color Transfer between Images, IEEE CG&A 2001), on the object alone. Its shape and its texture stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt.outcome import in_three, is_grey
from variorum.kit.pictures.geometry import CannotEdit

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

CONTRAST = 0.6
"""The object's deviation, as a share of the ring's."""
WIDTH = 0.2
"""Of the ring, as a share of the square root of the object's area."""
NARROWEST, RIM = 6, 2
"""Pixels: the least width of a ring, and its distance from the object, where pixels may show both."""
FEWEST = 64
"""Pixels of a ring or an object whose colours can be told."""
FLATTEST = 0.5
"""A deviation in CIELAB units below which an object counts as flat, so that its noise isn't amplified."""
MOST = 3.0
"""Factor by which an object's contrast grows at most, where its ground is rougher than the object."""


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


def camouflaged(picture: Pixels, alpha: Pixels) -> Pixels:
    """The picture with its object in the colours of the ring around it; the ground stays as it is.

    Args:
        picture: RGB `[H, W, 3]` uint8. A grey one stays grey.
        alpha: the object's opacity, `[H, W]` uint8.

    Raises:
        CannotEdit: `no_ring`, as in `ring`.
    """
    (ground, rough), (mean, spread) = (_moments(_lab(picture[where])) for where in (ring(alpha), alpha > 127))
    gain = np.minimum(CONTRAST * rough / np.maximum(spread, FLATTEST), MOST)
    there = alpha > 0
    before, cover = picture[there], (alpha[there].astype(np.float32) / 255)[:, None]
    hidden = np.asarray(ground + (_lab(before) - mean) * gain, np.float32)
    colours = np.clip(cv2.cvtColor(hidden[None], cv2.COLOR_LAB2RGB)[0], 0, 1) * 255
    made = picture.copy()
    made[there] = np.rint(colours * cover + before * (1 - cover))
    return in_three(cv2.cvtColor(made, cv2.COLOR_RGB2GRAY)) if is_grey(picture) else made


def difference(picture: Pixels, alpha: Pixels) -> float:
    """Measure the mean difference of the object's pixels from the ring's mean colour: ΔE of CIE 1976.

    Raises:
        CannotEdit: `no_ring`, as in `ring`.
    """
    ground = _moments(_lab(picture[ring(alpha)]))[0]
    return float(np.linalg.norm(_lab(picture[alpha > 127]) - ground, axis=1).mean())


def _lab(colours: Pixels) -> Singles:
    """CIELAB of RGB `[n, 3]` uint8."""
    found = cv2.cvtColor((colours.astype(np.float32) / 255)[None], cv2.COLOR_RGB2LAB)
    return np.asarray(found[0], np.float32)


def _moments(values: Singles) -> tuple[Singles, Singles]:
    return values.mean(axis=0), values.std(axis=0)
