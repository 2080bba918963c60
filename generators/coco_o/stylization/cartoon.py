"""Styles of the domain cartoon: flat colours with outlines, as on an animator's cel.

A palette of the picture's own colours is found, every pixel takes one of them, and the majority of its neighbours
decides, so that areas are merged and their borders are smooth. Outlines are differences of Gaussians along edges
(Winnemöller et al., "Real-Time Video Abstraction", SIGGRAPH 2006, quantise the luminance instead).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.lines import attention, edge_response, outline, soft_lines, without_specks
from variorum.generators.coco_o.stylization.style import Drawn, Style
from variorum.kit.pictures.scene import smooth_step

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles
    from variorum.kit.pictures.scene import Scene

WEIGHTS = np.asarray([0.8, 1.3, 1.3], np.float32)
"""Of L, a and b in distances of colours: a cartoon's areas differ in hue rather than in shade."""
MEDIAN = 8
"""Radius of the median that flattens texture around objects, in units."""
ALONE = 0.6
"""Share of the colours that an object alone is painted in."""
SAMPLE = 4000
"""Number of pixels that the palette is found from."""
SOFT = 0.6
"""Standard deviation in pixels of the blur that smooths the steps of borders."""
DARKEST = 0.1
"""Least luminance of an area, so that outlines show on it."""
GROUNDS = ((255, 255, 255), (255, 244, 214), (214, 236, 255), (255, 224, 224), (220, 245, 220), (255, 236, 150))
"""Colours behind an object that stands alone."""


def draw_cel(rng: np.random.Generator) -> Drawn:
    """Parameters of a cel; lengths in units."""
    return {
        "colours": int(rng.integers(9, 17)),
        "saturation": round(float(rng.uniform(1.2, 1.4)), 2),
        "brightness": round(float(rng.uniform(0.56, 0.66)), 2),
        "rounding": round(float(rng.uniform(1.0, 1.6)), 2),
        "line_width": round(float(rng.uniform(0.8, 1.3)), 2),
        "line_threshold": round(float(rng.uniform(0.035, 0.06)), 3),
        "border_threshold": int(rng.integers(70, 110)),
        "line_colour": [int(value) for value in rng.integers(5, 35, 3)],
        "ground": list(GROUNDS[int(rng.integers(len(GROUNDS)))]),
    }


def paint_cel(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """A cel."""
    smooth = flattened(scene)
    colours = drawn["colours"] if scene.subject is None else round(ALONE * drawn["colours"])
    labels, palette, counted = palette_of(smooth, scene.subject, colours, rng)
    areas = merged(labels, len(palette), scene.shape, drawn["rounding"] * scene.unit)
    paints = cartoon_colours(palette, np.bincount(counted, minlength=len(palette)), drawn)
    flat = np.asarray(paints[areas])
    painted = np.asarray(cv2.GaussianBlur(flat, (0, 0), SOFT))
    ink = np.maximum(
        ink_lines(scene, palette[:, 0][areas] * np.float32(1 / 255), drawn),
        border_lines(scene, flat, drawn["border_threshold"]),
    )
    if scene.subject is not None:
        painted = np.asarray(
            cv2.blendLinear(painted, np.full_like(painted, drawn["ground"]), scene.inside, 1 - scene.inside)
        )
        border = outline(scene.subject, 1.8 * drawn["line_width"] * scene.unit)
        ink = np.maximum(ink * scene.inside, border)
    return np.asarray(cv2.blendLinear(painted, np.full_like(painted, drawn["line_colour"]), 1 - ink, ink))


def flattened(scene: Scene) -> Pixels:
    """The picture without texture, at the size of the scene's flow, RGB uint8.

    Three bilateral passes (Tomasi & Manduchi, ICCV 1998), and a median where texture surrounds the known objects.
    """
    height, width = scene.flow.anisotropy.shape
    smooth = cv2.resize(scene.image, (width, height), interpolation=cv2.INTER_AREA)
    for _ in range(3):
        smooth = cv2.bilateralFilter(smooth, 7, 25, 3)
    if not scene.masks or scene.subject is not None:
        return np.asarray(smooth)
    _, around = scene.objects
    share = smooth_step(2 * around * cv2.GaussianBlur(1 - scene.flow.anisotropy, (0, 0), 3) - np.float32(0.6))
    reach = 2 * round(MEDIAN * scene.unit * height / scene.shape[0]) + 1
    plain = cv2.medianBlur(smooth, max(3, reach))
    return np.asarray(cv2.blendLinear(plain, smooth, share, 1 - share))


def palette_of(
    smooth: Pixels, mask: Pixels | None, colours: int, rng: np.random.Generator
) -> tuple[Array, Singles, Array]:
    """The picture's own colours, by k-means.

    Args:
        smooth: RGB `[h, w, 3]`.
        mask: of what the palette is for, of any size; None for the whole picture.
        colours: their number.
        rng: chooses the pixels that are looked at, and their first groups.

    Returns:
        A label per pixel `[h, w]`, the colour of each label, Lab of 0 to 255, `[n, 3]`, and the labels inside the mask.
    """
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).astype(np.float32)
    points = lab.reshape(-1, 3) * WEIGHTS
    inside = np.arange(len(points))
    if mask is not None:
        small = cv2.resize(mask, smooth.shape[1::-1], interpolation=cv2.INTER_AREA)
        found = np.flatnonzero(small > 127)
        inside = found if len(found) else inside
    sample = points[inside[rng.integers(0, len(inside), SAMPLE)]]
    first = _seeded(sample, colours, rng)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 15, 0.5)
    _, _, centres = cv2.kmeans(sample, colours, first, criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS)
    distance = (centres * centres).sum(axis=1) - 2 * points @ centres.T
    labels = distance.argmin(axis=1)
    return labels.reshape(lab.shape[:2]), np.asarray(centres / WEIGHTS, np.float32), labels[inside]


def _seeded(points: Singles, count: int, rng: np.random.Generator) -> Array:
    """First groups of k-means++ (Arthur & Vassilvitskii, SODA 2007), `[n, 1]` int32."""
    nearest = np.zeros(len(points), np.int32)
    distance = np.full(len(points), np.inf)
    chosen = int(rng.integers(len(points)))
    for group in range(count):
        there = ((points - points[chosen]) ** 2).sum(axis=1)
        nearest[there < distance] = group
        distance = np.minimum(there, distance)
        reached = distance.cumsum()
        chosen = min(int(np.searchsorted(reached, rng.random() * reached[-1])), len(points) - 1)
    return nearest[:, None]


def merged(labels: Array, count: int, shape: tuple[int, int], sigma: float) -> Pixels:
    """The most frequent label around each pixel of the full picture, `[H, W]`.

    Args:
        labels: of the reduced picture.
        count: number of labels.
        shape: of the full picture.
        sigma: of the Gaussian that neighbours are weighted with, in pixels of the full picture.
    """
    reduced = max(0.4, sigma * labels.shape[0] / shape[0])
    most, found = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for label in range(count):
        share = cv2.GaussianBlur((labels == label) * np.uint8(255), (0, 0), reduced)
        large = cv2.resize(share, shape[::-1], interpolation=cv2.INTER_CUBIC)
        more = cv2.compare(large, most, cv2.CMP_GT)
        cv2.max(large, most, most)
        found[more > 0] = label
    return found


def cartoon_colours(palette: Singles, sizes: Array, drawn: Drawn) -> Pixels:
    """The palette in bright, saturated colours, RGB `[n, 3]` uint8."""
    light, hue = palette[:, :1] / 255, palette[:, 1:] - 128
    low, high = light.min(), light.max()
    least, most = max(0.4 * low, DARKEST), high + 0.4 * (0.97 - high)
    light = least + (light - low) * ((most - least) / max(high - low, 0.2))
    mean = float(np.clip((light[:, 0] * sizes).sum() / sizes.sum(), 0.15, 0.9))
    power = np.clip(np.log(drawn["brightness"]) / np.log(mean), 0.6, 1.1)
    bright = light**power
    chroma = np.hypot(hue[:, :1], hue[:, 1:])
    gain = drawn["saturation"] * (1 + 0.5 * np.exp(-chroma / 12))
    lab = np.concatenate([bright * 255, 128 + hue * gain], axis=1)
    return np.asarray(cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8)[None], cv2.COLOR_LAB2RGB)[0])


def border_lines(scene: Scene, flat: Pixels, threshold: float) -> Singles:
    """Lines between areas of very different colour, `[H, W]`, 0 to 1."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    red, green, blue = cv2.split(cv2.morphologyEx(flat, cv2.MORPH_GRADIENT, cross))
    step = cv2.max(cv2.max(red, green), blue)
    higher = (threshold * attention(scene, texture=2)).clip(12, 255).astype(np.uint8)
    there = cv2.compare(step, higher, cv2.CMP_GT)
    wide = round(scene.unit)
    if wide > 1:
        there = cv2.dilate(there, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide)))
    lines = cv2.GaussianBlur(there, (0, 0), SOFT).astype(np.float32) * np.float32(1 / 255)
    return without_specks(lines, 40 * scene.unit**2)


def ink_lines(scene: Scene, flat: Singles, drawn: Drawn) -> Singles:
    """Outlines `[H, W]`, 0 to 1, of areas rather than of texture: fewer where edges have no common direction."""
    tone = cv2.addWeighted(scene.tone, 0.5, flat, 0.5, 0)
    response = edge_response(scene, drawn["line_width"], along=3.5, tone=np.asarray(tone))
    threshold = np.float32(drawn["line_threshold"]) * attention(scene, texture=4)
    lines = soft_lines(response, threshold, 0.07)
    return without_specks(lines, 18 * scene.unit**2)


STYLES: Mapping[str, Style] = {"cel": Style(draw_cel, paint_cel)}
