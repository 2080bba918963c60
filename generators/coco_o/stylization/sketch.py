"""Styles of the domain sketch: drawings in pencil or pen on paper.

Lines are differences of Gaussians along edges. Tone is hatching: streaks of noise, integrated along straight lines that
bend over bright and dark shapes, in one to three layers of different angle. The more layers a place has, the darker it
is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.lines import (
    attention,
    edge_response,
    emphasis,
    fineness,
    outline,
    soft_lines,
    without_specks,
)
from variorum.generators.coco_o.stylization.style import Drawn, Style
from variorum.kit.pictures.scene import smooth_step

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.kit.pictures.scene import Scene

BLACKEST = 0.88
"""Of graphite, whose black shines."""
GAP = 0.9
"""How much lighter hatching is beside lines, so that they stand out."""
PATCH, FILLED = 2.0, 0.2
"""Width in units, and response, of small dark things that are filled with ink at fine detail in objects, as pupils."""
SPARED = 0.7
"""How much lighter hatching is there, unless it is almost black."""
FINE = 6
"""Pixels across a stroke in the texture of hatching."""


def draw_pencil(rng: np.random.Generator) -> Drawn:
    """Parameters of a pencil drawing; lengths in units, angles in degrees."""
    return {
        "line_width": round(float(rng.uniform(0.6, 1.0)), 2),
        "line_threshold": round(float(rng.uniform(0.03, 0.06)), 3),
        "line_darkness": round(float(rng.uniform(0.75, 0.95)), 2),
        "layers": int(rng.integers(1, 4)),
        "hatch_angle": round(float(rng.choice([-1, 1]) * rng.uniform(30, 65)), 1),
        "hatch_turn": round(float(rng.uniform(20, 60)), 1),
        "hatch_spacing": round(float(rng.uniform(2.2, 3.4)), 2),
        "hatch_darkness": round(float(rng.uniform(0.4, 0.58)), 2),
        "smudge": round(float(rng.uniform(0.25, 0.45)), 2),
        "tone": round(float(rng.uniform(0.3, 0.42)), 2),
        "grain": round(float(rng.uniform(0.06, 0.18)), 2),
        "paper": [round(float(value), 3) for value in paper_colour(rng)],
    }


def paper_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Between white and faintly yellow."""
    level, warmth = rng.uniform(0.94, 1.0), rng.uniform(0, 0.025)
    return level, level * (1 - 0.4 * warmth), level * (1 - warmth)


def paint_pencil(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """A pencil drawing."""
    tooth = noise(scene.shape, 0.7 * scene.unit, rng)
    response = edge_response(scene, drawn["line_width"], along=3.0)
    threshold = np.float32(drawn["line_threshold"]) * attention(scene)
    lines = soft_lines(response, threshold, 0.14) * np.float32(drawn["line_darkness"])
    dark = darkness(scene, drawn["tone"])
    if (weight := emphasis(scene)) is not None:
        lines, dark = lines * weight, dark * weight
    if scene.subject is not None:
        lines, dark = lines * scene.inside, dark * scene.inside
        lines = np.maximum(lines, np.float32(0.8) * outline(scene.subject, 1.5 * scene.unit))
    white = 1 - np.float32(drawn["smudge"]) * dark
    for layer in range(drawn["layers"]):
        angle = drawn["hatch_angle"] + layer * drawn["hatch_turn"]
        streaks = hatching(scene, angle, drawn["hatch_spacing"], rng)
        first, full = 0.05 + 0.25 * layer, 1.0 + 0.25 * layer
        cover = (dark - np.float32(first)) * np.float32(1 / (full - first))
        strokes = smooth_step((cover - streaks) * np.float32(1.8) + np.float32(0.2))
        white *= 1 - np.float32(drawn["hatch_darkness"]) * strokes * scene.inside
    white *= 1 - lines
    graphite = (1 - white) * (1 + np.float32(2 * drawn["grain"]) * tooth * white)
    return on_paper(np.float32(BLACKEST) * graphite, tooth, drawn["paper"])


def draw_pen(rng: np.random.Generator) -> Drawn:
    """Parameters of a pen drawing; lengths in units, angles in degrees."""
    return {
        "line_width": round(float(rng.uniform(0.6, 0.9)), 2),
        "line_threshold": round(float(rng.uniform(0.02, 0.035)), 3),
        "layers": int(rng.integers(1, 4)),
        "hatch_angle": round(float(rng.choice([-1, 1]) * rng.uniform(25, 65)), 1),
        "hatch_turn": round(float(rng.uniform(50, 90)), 1),
        "hatch_spacing": round(float(rng.uniform(2.2, 3.2)), 2),
        "tone": round(float(rng.uniform(0.3, 0.38)), 2),
        "black": round(float(rng.uniform(0.86, 0.96)), 2),
        "ink": round(float(rng.uniform(0.06, 0.16)), 2),
        "paper": [round(float(value), 3) for value in paper_colour(rng)],
    }


def paint_pen(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """A drawing in ink: lines, hatching that crosses where it is darker, and black where it is darkest."""
    tooth = noise(scene.shape, 0.7 * scene.unit, rng)
    response = edge_response(scene, drawn["line_width"], along=3.0)
    threshold = np.float32(drawn["line_threshold"]) * attention(scene, texture=1)
    lines = soft_lines(response, threshold, 0.08)
    detail = fineness(scene)
    patches = edge_response(scene, PATCH, along=1.5)
    np.maximum(lines, detail * soft_lines(patches, FILLED, 0.1), out=lines)
    lines = without_specks(lines, 8 * scene.unit**2)
    dark = darkness(scene, drawn["tone"], even=0.5)
    dark *= 1 - np.float32(SPARED) * detail * smooth_step((np.float32(0.85) - dark) * 4)
    if (weight := emphasis(scene)) is not None:
        lines, dark = lines * weight, dark * weight
    ink = np.zeros(scene.shape, np.float32)
    for layer in range(drawn["layers"]):
        angle = drawn["hatch_angle"] + layer * drawn["hatch_turn"]
        streaks = hatching(scene, angle, drawn["hatch_spacing"], rng)
        first, full = 0.15 + 0.22 * layer, 1.25 + 0.15 * layer
        cover = (dark - np.float32(first)) * np.float32(1 / (full - first))
        np.maximum(ink, smooth_step((cover - streaks) * np.float32(4) + np.float32(0.15)), out=ink)
    near = cv2.GaussianBlur(lines, (0, 0), max(0.5, 2 * scene.unit))
    ink *= 1 - np.minimum(np.float32(GAP) * near, 1)
    np.maximum(ink, lines, out=ink)
    np.maximum(ink, smooth_step((dark - np.float32(drawn["black"])) * np.float32(12)), out=ink)
    if scene.subject is not None:
        ink *= scene.inside
        np.maximum(ink, outline(scene.subject, 1.7 * scene.unit), out=ink)
    return on_paper(np.float32(1 - drawn["ink"]) * ink, tooth, drawn["paper"])


def darkness(scene: Scene, mean: float, even: float = 0.6) -> Singles:
    """Return how dark a drawing is at each pixel, `[H, W]` in [0, 1].

    The tones of the photograph are equalised locally, then partly globally, so that dark pictures become light
    drawings.
    A tone t then has the darkness `(1 − t)^p`, and p is chosen so that evenly spread tones have the wanted mean.

    Args:
        scene: the photograph.
        mean: of the darkness, in (0, 0.5].
        even: how far tones are equalised globally: 0 not at all, 1 wholly.
    """
    local = cv2.createCLAHE(2.0, (8, 8)).apply(cv2.convertScaleAbs(scene.tone, alpha=255))
    smooth = cv2.GaussianBlur(local, (0, 0), max(0.5, 0.8 * scene.unit))
    counted = smooth.reshape(-1) if scene.subject is None else smooth[scene.subject > 127]
    share = np.cumsum(np.bincount(counted, minlength=256)) / max(1, counted.size)
    level = np.arange(256) / 255
    tone = even * share + (1 - even) * level
    curve = (1 - tone) ** (1 / mean - 1)
    return np.asarray(cv2.LUT(smooth, curve.astype(np.float32)), np.float32)


def hatching(scene: Scene, angle: float, spacing: float, rng: np.random.Generator) -> Singles:
    """Streaks of noise at an angle, `[H, W]`, spread evenly over [0, 1].

    They bend: over shapes, by the luminance of a blurred copy, and a little at random, as a hand does.
    """
    height, width = scene.shape
    pitch = max(1.0, spacing * scene.unit)
    reach = int(np.hypot(height, width)) + 8
    rows, columns = max(4, round(reach / pitch)), max(4, round(reach / (8 * pitch)))
    pressure = rng.random((rows, columns), dtype=np.float32)
    pressure += np.float32(0.7) * rng.random((rows, 1), dtype=np.float32)
    fine = cv2.resize(pressure, (columns, FINE * rows), interpolation=cv2.INTER_NEAREST)
    profile = np.abs(np.linspace(-1, 1, FINE, endpoint=False, dtype=np.float32) + np.float32(1 / FINE))
    streaks = fine + np.float32(1.2) * np.tile(profile, rows)[:, None]
    even = cv2.equalizeHist(cv2.normalize(streaks, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U))
    rows *= FINE
    turn = np.deg2rad(angle)
    bend = wobble(scene, 5 * scene.unit, rng)
    x = np.arange(width, dtype=np.float32) - np.float32(width / 2)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(height / 2)
    cosine, sine, middle = np.float32(np.cos(turn)), np.float32(np.sin(turn)), np.float32(reach / 2)
    along = (cosine * x + sine * y + middle) * np.float32(columns / reach)
    across = (cosine * y - sine * x + bend + middle) * np.float32(rows / reach)
    there = np.asarray(cv2.remap(even, along, across, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)
    return there * np.float32(1 / 255)


def wobble(scene: Scene, amount: float, rng: np.random.Generator) -> Singles:
    """By how many pixels hatching is displaced across its direction, `[H, W]`: by shapes and at random."""
    height, width = scene.shape
    size = [max(2, round(side / max(1.0, 8 * scene.unit))) for side in (width, height)]
    small = cv2.GaussianBlur(cv2.resize(scene.light, size, interpolation=cv2.INTER_AREA), (0, 0), 1.5)
    coarse = rng.standard_normal((max(2, size[1] // 6), max(2, size[0] // 6)), dtype=np.float32)
    small += np.float32(0.3) * np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))
    return np.asarray(cv2.resize(np.float32(2 * amount) * small, (width, height), interpolation=cv2.INTER_LINEAR))


def noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> Singles:
    """Smooth noise `[H, W]` of mean 0 and standard deviation 1."""
    grain = rng.integers(0, 256, shape, np.uint8).astype(np.float32)
    if sigma > 0.3:
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), sigma))
    mean, deviation = (float(value.item()) for value in cv2.meanStdDev(grain))
    return np.asarray((grain - np.float32(mean)) * np.float32(1 / max(deviation, 1e-6)), np.float32)


def on_paper(graphite: Singles, tooth: Singles, paper: list[float]) -> Pixels:
    """The drawing on its paper, whose texture shows faintly, RGB `[H, W, 3]`."""
    white = (1 - np.clip(graphite, 0, 1)) * (np.float32(250) + np.float32(2.0) * tooth)
    return np.asarray(cv2.merge([cv2.convertScaleAbs(white, alpha=channel) for channel in paper]))


STYLES: Mapping[str, Style] = {"pencil": Style(draw_pencil, paint_pencil), "ink": Style(draw_pen, paint_pen)}
