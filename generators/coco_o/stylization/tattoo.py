"""Styles of the domain tattoo: one object as ink on skin.

The object is drawn with an outline, with lines, and with shading in dots or hatching that gets denser where it is dark.
Ink lies under the skin: it multiplies the skin's colour, is slightly blurred, and lets shine and pores through. The
skin is a limb: a cylinder lit from the side, before a blurred wall if the object leaves room for its edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.lines import edge_response, outline, soft_lines
from variorum.generators.coco_o.stylization.sketch import darkness, hatching, noise
from variorum.generators.coco_o.stylization.style import Drawn, Style
from variorum.kit.pictures.scene import smooth_step

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.kit.pictures.scene import Scene

SKINS = ((244, 214, 192), (236, 196, 168), (224, 178, 142), (205, 154, 116), (176, 124, 90), (146, 98, 70))
"""Colours of skin from light to medium brown; on darker skin the ink can't be seen in a small picture."""
WALLS = ((205, 208, 210), (150, 160, 170), (92, 98, 104), (190, 180, 165), (120, 130, 118), (60, 62, 70))
"""Colours of what is behind the limb."""


def draw_ink(rng: np.random.Generator) -> Drawn:
    """Parameters of a tattoo; lengths in units, angles in degrees."""
    place = rng.uniform(0, len(SKINS) - 1)
    low, share = int(place), place - int(place)
    skin = (1 - share) * np.asarray(SKINS[low]) + share * np.asarray(SKINS[min(low + 1, len(SKINS) - 1)])
    return {
        "skin": [round(float(value)) for value in skin],
        "wall": [round(float(value)) for value in WALLS[int(rng.integers(len(WALLS)))]],
        "limb_angle": round(float(rng.choice([0, 90]) + rng.uniform(-22, 22)), 1),
        "light_side": round(float(rng.uniform(-0.5, 0.5)), 2),
        "curvature": round(float(rng.uniform(0.5, 0.9)), 2),
        "ink": ink_colour(rng),
        "strength": round(float(rng.uniform(0.84, 0.96)), 2),
        "colour": round(float(rng.uniform(0.35, 0.7)), 2) if rng.random() < 0.25 else 0.0,
        "shading": str(rng.choice(["dots", "dots", "hatching"])),
        "wash": round(float(rng.uniform(0.25, 0.8)), 2),
        "dot_pitch": round(float(rng.uniform(1.9, 2.6)), 2),
        "hatch_angle": round(float(rng.uniform(-60, 60)), 1),
        "tone": round(float(rng.uniform(0.36, 0.5)), 2),
        "line_width": round(float(rng.uniform(0.9, 1.3)), 2),
        "line_threshold": round(float(rng.uniform(0.02, 0.04)), 3),
        "outline_width": round(float(rng.uniform(1.6, 2.6)), 2),
        "spread": round(float(rng.uniform(0.45, 0.75)), 2),
    }


def ink_colour(rng: np.random.Generator) -> list[float]:
    """Dark blue-black: the shares of red, green and blue that ink lets through."""
    ranges = ((0.04, 0.10), (0.07, 0.14), (0.13, 0.24))
    return [round(float(rng.uniform(low, high)), 3) for low, high in ranges]


def paint_ink(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """A tattoo of the scene's subject.

    Raises:
        ValueError: the scene has no subject.
    """
    subject = scene.subject
    if subject is None:
        raise ValueError("a tattoo needs a subject: a mask of the object that stands alone")
    dark = darkness(scene, drawn["tone"])
    response = edge_response(scene, drawn["line_width"], along=3.0)
    density = soft_lines(response, drawn["line_threshold"], 0.12)
    np.maximum(density, shading(scene, dark, drawn, rng), out=density)
    density = 1 - (1 - density) * (1 - np.float32(drawn["wash"]) * dark * dark)
    density *= scene.inside
    np.maximum(density, outline(subject, drawn["outline_width"] * scene.unit), out=density)
    density = cv2.GaussianBlur(density, (0, 0), max(0.3, drawn["spread"] * scene.unit)) * np.float32(drawn["strength"])
    skin = limb(scene, drawn, rng)
    ink = np.asarray(drawn["ink"], np.float32)
    if drawn["colour"]:
        filled = np.float32(drawn["colour"]) * scene.inside[..., None]
        skin *= 1 - filled + filled * muted(scene)
    skin *= 1 - density[..., None] * (1 - ink)
    return np.asarray(cv2.convertScaleAbs(skin))


def shading(scene: Scene, dark: Singles, drawn: Drawn, rng: np.random.Generator) -> Singles:
    """Density of dots or strokes of ink `[H, W]`, 0 to 1, that get denser with the darkness."""
    if drawn["shading"] == "dots":
        return stipple(dark, drawn["dot_pitch"] * scene.unit, rng)
    density = np.zeros(scene.shape, np.float32)
    for layer, first in enumerate((0.15, 0.5)):
        streaks = hatching(scene, drawn["hatch_angle"] + 50 * layer, 1.4 * drawn["dot_pitch"], rng)
        cover = (dark - np.float32(first)) * np.float32(1 / (1.1 - first))
        np.maximum(density, smooth_step((cover - streaks) * 3 + np.float32(0.3)), out=density)
    return density * np.float32(0.9)


def stipple(dark: Singles, pitch: float, rng: np.random.Generator) -> Singles:
    """Round dots `[H, W]`, 0 to 1: one in each cell of a jittered grid, with the probability of its darkness.

    Args:
        dark: 0 to 1.
        pitch: of the grid in pixels, at least 1.
        rng: for places and choices.
    """
    height, width = dark.shape
    pitch = max(1.0, pitch)
    rows, columns = int(np.ceil(height / pitch)), int(np.ceil(width / pitch))
    jitter = rng.random((3, rows, columns), dtype=np.float32)
    y = ((np.arange(rows, dtype=np.float32)[:, None] + jitter[0]) * np.float32(pitch)).astype(np.int32)
    x = ((np.arange(columns, dtype=np.float32) + jitter[1]) * np.float32(pitch)).astype(np.int32)
    np.minimum(y, height - 1, out=y)
    np.minimum(x, width - 1, out=x)
    drawn = jitter[2] < 1.15 * dark[y, x] - 0.08
    dots = np.zeros((height, width), np.float32)
    dots[y[drawn], x[drawn]] = 1
    radius = 0.42 * pitch
    spread = np.asarray(cv2.GaussianBlur(dots, (0, 0), max(0.4, 0.6 * radius)))
    peak = 1 / (2 * np.pi * max(0.4, 0.6 * radius) ** 2)
    return smooth_step(spread * np.float32(1.25 / min(1.0, peak)))


def limb(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Singles:
    """Bare skin `[H, W, 3]` float32 of 0 to 255: a limb as wide as the object needs, with shade, blotches and pores."""
    height, width = scene.shape
    turn = np.deg2rad(drawn["limb_angle"])
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    across = x * np.float32(-np.sin(turn)) + y * np.float32(np.cos(turn))
    middle, half = _extent(scene, across)
    place = (across - np.float32(middle)) * np.float32(1 / half)
    bend = cv2.resize(noise((4, 4), 0, rng), (width, height), interpolation=cv2.INTER_CUBIC)
    place += np.float32(0.03) * np.asarray(bend)
    distance = np.abs(place)
    facing = np.sqrt(np.maximum(1 - np.minimum(distance, 1) ** 2, 0))
    lit = facing + np.float32(drawn["light_side"]) * np.clip(place, -1, 1)
    shade = 1 + np.float32(drawn["curvature"] * 0.55) * (lit - np.float32(0.9))
    shine = np.exp(-((place - np.float32(0.5 * drawn["light_side"])) ** 2) * 9)
    coarse = max(1.0, 24 * scene.unit)
    size = max(2, round(height / coarse)), max(2, round(width / coarse))
    blotches = np.asarray(cv2.resize(noise(size, 1.0, rng), (width, height), interpolation=cv2.INTER_CUBIC))
    pores = noise((height, width), 0.7 * scene.unit, rng)
    texture = shade * (1 + np.float32(0.012) * blotches + np.float32(0.011) * pores) + np.float32(0.05) * shine
    skin = np.asarray(drawn["skin"], np.float32)
    red = np.float32(0.012) * blotches + np.float32(0.10) * (1 - facing)
    channels = [texture * skin[0], texture * (1 - red) * skin[1], texture * (1 - 1.4 * red) * skin[2]]
    picture = np.asarray(cv2.merge([np.asarray(channel, np.float32) for channel in channels]))
    edge = smooth_step((distance - np.float32(0.985)) * np.float32(40))
    if float(edge.max()) > 0:
        wall = np.asarray(drawn["wall"], np.float32)
        shadow = 1 - np.float32(0.45) * np.exp(-((distance - 1) * 5) * (distance > 1)) + np.float32(0.05) * blotches
        picture += edge[..., None] * (wall * shadow[..., None] - picture)
    return picture


def _extent(scene: Scene, across: Singles) -> tuple[float, float]:
    """Middle and half the width of the limb that has room for the object, in pixels across it."""
    height, width = scene.shape
    subject = scene.subject
    where = across[subject > 127] if subject is not None and (subject > 127).any() else across.reshape(-1)
    low, high = float(where.min()), float(where.max())
    half = max(0.62 * (high - low) + 8 * scene.unit, 0.3 * min(height, width))
    return (low + high) / 2, half


def muted(scene: Scene) -> Singles:
    """The object's colours as those of ink, `[H, W, 3]` in [0, 1]: bright, with blurred borders."""
    smooth = cv2.GaussianBlur(scene.image, (0, 0), max(0.5, 2.5 * scene.unit)).astype(np.float32) * np.float32(1 / 255)
    brightest = smooth.max(axis=2, keepdims=True)
    bright = np.float32(0.45) + np.float32(0.5) * brightest
    return np.asarray(smooth / np.maximum(brightest, np.float32(0.05)) * bright, np.float32)


STYLES: Mapping[str, Style] = {"ink": Style(draw_ink, paint_ink, needs_subject=True)}
