"""Simulate weather: smooth noise, scattering air, and the traces of what falls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints, Pixels, Singles
    from variorum.kit.pictures.scene import Scene

SUB = 4
"""Binary digits of a drawn point's fraction of a pixel."""
LEVELS = 8
"""How many brightnesses streaks and flakes have."""


def plasma(rng: np.random.Generator, height: int, width: int, finest: int = 4) -> Singles:
    """Smooth noise `[H, W]` in [0, 1]: octaves of random grids, each half as strong and twice as fine as the last."""
    out = np.zeros((height, width), np.float32)
    for octave in range(1, finest + 1):
        cells = 2**octave
        grid = rng.random((cells + 2, cells * max(1, round(width / height)) + 2), np.float32)
        out += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    low, high = float(out.min()), float(out.max())
    return (out - low) / max(high - low, 1e-6)


def traces(layer: Pixels, starts: Floats, ends: Floats, wide: Ints, strengths: Array) -> None:
    """Draw straight traces into a layer `[H, W]`, the brightest over the others; all of a kind in one call.

    Args:
        layer: is changed.
        starts: `[N, 2]`, x and y in pixels.
        ends: `[N, 2]`.
        wide: `[N]`, in pixels.
        strengths: `[N]`, up to LEVELS.
    """
    lines = np.rint(np.stack([starts, ends], axis=1) * (1 << SUB)).astype(np.int32)
    for strength in np.unique(strengths):
        for thick in np.unique(wide):
            chosen = lines[(strengths == strength) & (wide == thick)]
            colour = round(255 * float(strength) / LEVELS)
            cv2.polylines(layer, list(chosen), False, colour, int(thick), cv2.LINE_AA, SUB)


def pictured(scene: Scene, above: Singles, below: Singles) -> Singles:
    """The picture `[H, W, 3]` in [0, 1]; a subject that stands alone is on a ground that fades from sky to earth."""
    image = np.asarray(scene.image, np.float32) / np.float32(255)
    if scene.subject is None:
        return image
    up = upwards(image.shape[0])[..., None]
    ground = np.where(up > 0.4, above, below + (above - below) * np.clip(up / 0.4, 0, 1))
    alpha = scene.subject.astype(np.float32)[..., None] / 255
    return np.asarray(alpha * image + (1 - alpha) * ground, np.float32)


def upwards(height: int) -> Singles:
    """`[H, 1]`, 0 at the bottom of the picture and 1 at the top."""
    return np.linspace(1, 0, height, dtype=np.float32)[:, None]


def veiled(image: Singles, through: Singles, light: Any) -> Singles:
    """The picture through air that lets a share of it `[H, W]` through, and scatters light of its own."""
    return np.asarray(light + (image - light) * through[..., None], np.float32)


def luminance(image: Singles) -> Singles:
    """Luminance `[H, W]`."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def muted(image: Singles, saturation: float) -> Singles:
    """The picture with this share of its saturation."""
    grey = luminance(image)[..., None]
    return np.asarray(grey + saturation * (image - grey), np.float32)


def blurred_widely(image: Singles, sigma: float) -> Singles:
    """A wide Gaussian blur, computed at a quarter of the size."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), max(sigma / 4, 0.3))
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A parameter within its range, in the decimals that are recorded."""
    return round(float(rng.uniform(low, high)), 4)


def rounded(image: Singles) -> Pixels:
    """A picture in [0, 1] as bytes."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * 255), np.uint8)
