"""Lines of a drawing: differences of Gaussians, averaged along edges.

As in Kang et al. (NPAR 2007) and Winnemöller et al. ("XDoG", Computers & Graphics 36, 2012), with two changes. The
response has zero mean, so flat areas have no lines however dark they are. It is divided by the local contrast, so that
dark and hazy pictures get lines as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.pictures.scene import smooth_step

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels, Singles
    from variorum.kit.pictures.scene import Scene

RATIO = 1.6
"""Of the widths of the two Gaussians, which approximates the Laplacian (Marr & Hildreth 1980)."""
QUIET = 0.02
"""Added to the local contrast, in grey levels in [0, 1]: less than the noise of a photograph is no line."""
FINEST = 0.5
"""Least width of the inner Gaussian in pixels, for small pictures."""
AROUND = 1.5
"""How much thresholds rise in texture around objects."""
FADED = 0.5
"""How much weaker things are drawn in texture around objects."""
DETAILED = (4, 10)
"""Mean differences from a blurred copy, in grey levels, between which objects come to have fine detail."""


def edge_response(scene: Scene, width: float, along: float, tone: Singles | None = None) -> Singles:
    """Measure how much darker each pixel is than its surroundings, relative to the local contrast, `[H, W]`.

    Args:
        scene: the photograph.
        width: of the lines: standard deviation of the inner Gaussian in units.
        along: standard deviation of the average along edges in units; longer gives smoother lines.
        tone: what lines are drawn of, `[H, W]` in [0, 1]; by default the scene's own tone.
    """
    tone = scene.tone if tone is None else tone
    sigma = max(FINEST, width * scene.unit)
    inner, outer = (cv2.GaussianBlur(tone, (0, 0), value) for value in (sigma, RATIO * sigma))
    response = cv2.divide(cv2.subtract(outer, inner), scene.contrast + QUIET)
    return scene.along_edges(np.asarray(response), along)


def soft_lines(response: Singles, threshold: float | Singles, softness: float) -> Singles:
    """Lines where the response is above a threshold, `[H, W]`: 0 without a line, 1 at a full one.

    Args:
        response: of the edges.
        threshold: where lines begin, one for all or `[H, W]`.
        softness: how far above the threshold a line is full.
    """
    return smooth_step((response - threshold) * np.float32(1 / softness))


def without_specks(lines: Singles, area: float) -> Singles:
    """Lines without those that cover fewer pixels than an area."""
    labels, areas = parts(lines > np.float32(0.3), 8)
    kept = (areas >= area).astype(np.uint8)
    near = np.asarray(cv2.dilate(np.take(kept, labels), np.ones((3, 3), np.uint8)))
    return np.asarray(lines * near, np.float32)


def parts(where: Bools, connectivity: int) -> tuple[Array, Array]:
    """The connected parts of a mask: each pixel's number `[H, W]`, 0 outside, and the area of each, 0 for the outside.

    OpenCV's own statistics take five times as long.
    """
    _, labels = cv2.connectedComponents(where.view(np.uint8), connectivity=connectivity)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return labels, areas


def outline(mask: Pixels, width: float) -> Singles:
    """A line along the inside of a mask's border, where it is 127, `[H, W]`, 0 to 1.

    Its outer side lies where the object ends, so that an edge stays where it was.

    Args:
        mask: 0 to 255; a wide soft border doesn't widen the line.
        width: of the line in pixels.
    """
    solid = (mask > 127).astype(np.float32)
    depth = cv2.GaussianBlur(solid, (0, 0), max(0.5, width))
    return smooth_step((depth - np.float32(0.3)) * 5) * (1 - smooth_step((depth - np.float32(0.74)) * 5))


def attention(scene: Scene, texture: float = 0) -> Singles:
    """Return factors of the thresholds of lines, `[H, W]`: a draughtsman outlines objects rather than texture.

    It is low at the borders of the largest objects, and high in texture around them; 1 where no object is known.

    Args:
        scene: the photograph.
        texture: how much it rises where edges have no common direction.
    """
    isotropy = 1 - scene.flow.anisotropy
    factor = 1 + np.float32(texture) * isotropy**2
    if scene.masks:
        borders, around = scene.objects
        factor = (factor + np.float32(AROUND) * around * isotropy) * (1 - np.float32(0.8) * borders)
    return np.asarray(cv2.resize(factor, scene.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def emphasis(scene: Scene) -> Singles | None:
    """Return how strongly things are drawn, `[H, W]`: 1 in objects, less in texture around them; None without any."""
    if not scene.masks or scene.subject is not None:
        return None
    _, around = scene.objects
    weaker = 1 - np.float32(FADED) * around * smooth_step(
        2 * cv2.GaussianBlur(1 - scene.flow.anisotropy, (0, 0), 3) - 0.6
    )
    weaker = np.asarray(cv2.resize(weaker, scene.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(
        np.maximum(weaker, scene.cared * np.float32(1 / 255))
    )  # of all objects, not only of the outlined ones


def fineness(scene: Scene) -> Singles:
    """Where objects have fine detail, such as eyes, `[H, W]` in [0, 1]: hatching would hide it there."""
    unit = scene.unit
    fine = cv2.absdiff(scene.grey, cv2.GaussianBlur(scene.grey, (0, 0), max(0.5, 3 * unit)))
    small = cv2.resize(np.minimum(fine, scene.cared), scene.flow.anisotropy.shape[::-1], interpolation=cv2.INTER_AREA)
    local = cv2.GaussianBlur(small.astype(np.float32), (0, 0), max(0.5, 6 * unit * small.shape[0] / scene.shape[0]))
    share = smooth_step((local - np.float32(DETAILED[0])) * np.float32(1 / (DETAILED[1] - DETAILED[0])))
    return np.asarray(cv2.resize(share, scene.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
