"""Pictures of shape alone: edges, a silhouette, and an object on a ground of one colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels

BLACK, WHITE = 0, 255


def edges(image: Pixels, sigma: float, low: float, high: float) -> Pixels:
    """Canny's edges (PAMI 1986) of the blurred luminance, black on white.

    Args:
        image: RGB `[H, W, 3]`.
        sigma: of the Gaussian blur, in pixels.
        low: gradient at which an edge goes on, as `cv2.Canny` counts it.
        high: gradient at which an edge starts.
    """
    light = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), sigma)
    return np.asarray(cv2.cvtColor(cv2.bitwise_not(cv2.Canny(light, low, high)), cv2.COLOR_GRAY2RGB))


def silhouette(alpha: Pixels, ground: Pixels) -> Pixels:
    """A black object with this opacity `[H, W]` on a ground `[H, W, 3]`."""
    return laid(np.full_like(ground, BLACK), alpha, ground)


def laid(image: Pixels, alpha: Pixels, ground: Pixels) -> Pixels:
    """An object of opacity `alpha [H, W]` and with the colours of `image` on a ground, `[H, W, 3]` both."""
    share = (alpha.astype(np.float32) / 255)[..., None]
    values = ground + share * (image.astype(np.float32) - ground)
    return np.asarray(cv2.add(values, 0.0, dtype=cv2.CV_8U))


def blank_ground(like: Pixels) -> Pixels:
    """A white ground of a picture's size."""
    return np.full_like(like, WHITE)
