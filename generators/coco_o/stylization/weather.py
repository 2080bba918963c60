"""Styles of the domain weather: fog, rain, snow and night.

A photograph says nothing of depth here, so what grows with the distance grows towards the top of the picture instead,
with smooth noise. Fog is Koschmieder's law with that in place of the depth (Narasimhan & Nayar, IJCV 2002).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.style import Drawn, Style
from variorum.kit.corrupt.air import (
    LEVELS,
    SUB,
    between,
    blurred_widely,
    luminance,
    muted,
    pictured,
    plasma,
    rounded,
    traces,
    upwards,
    veiled,
)
from variorum.kit.pictures.scene import Scene

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles

# ── fog ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def draw_fog(rng: np.random.Generator) -> Drawn:
    """`density` is the optical depth of the farthest part, `light` the fog's own brightness in [0, 1]."""
    return {
        "density": between(rng, 1.7, 2.7),
        "light": between(rng, 0.74, 0.9),
        "patches": between(rng, 0.25, 0.5),
        "warmth": between(rng, -0.025, 0.015),
    }


def fog(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """I·e^(-βd) + A(1 - e^(-βd)), where d is 1 at the top, less at the bottom, and varied by smooth noise."""
    light = drawn["light"] + drawn["warmth"] * np.array([1, 0, -1], np.float32)
    image = pictured(scene, light, light * 0.86)
    height, width = image.shape[:2]
    far = 0.32 + 0.68 * upwards(height) ** 1.2
    depth = far * (1 + drawn["patches"] * (2 * plasma(rng, height, width) - 1))
    return rounded(veiled(image, np.exp(-drawn["density"] * depth), light))


# ── rain ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

DEPTHS = (
    # per 320 x 320 pixels, length and width in units, opacity, blur in units
    (620, 10.0, 0.6, 0.42, 0.3),
    (260, 24.0, 0.9, 0.46, 0.4),
    (90, 52.0, 1.3, 0.46, 0.7),
    (14, 100.0, 2.4, 0.26, 1.6),
)
"""Streaks from the farthest to the nearest."""


def draw_rain(rng: np.random.Generator) -> Drawn:
    """`slant` is in degrees from the vertical, `amount` multiplies the number of streaks."""
    return {
        "slant": between(rng, 4, 24) * (1 if rng.random() < 0.5 else -1),
        "amount": between(rng, 0.8, 1.5),
        "veil": between(rng, 0.25, 0.5),
        "contrast": between(rng, 0.62, 0.78),
        "light": between(rng, 0.5, 0.62),
    }


def rain(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Streaks of four depths in grey light of low contrast. A streak shows the wide surroundings, mostly the sky."""
    sky = drawn["light"] + np.array([-0.02, 0.0, 0.03], np.float32)
    image = pictured(scene, sky, sky * 0.7)
    height, width = image.shape[:2]
    wet = muted(image, 0.36)
    wet = drawn["light"] * 0.85 + drawn["contrast"] * (wet - wet.mean()) + 0.25 * (wet.mean() - 0.5)
    depth = (0.25 + 0.75 * upwards(height)) * (0.8 + 0.4 * plasma(rng, height, width))
    wet = veiled(wet, np.exp(-drawn["veil"] * depth), sky)
    seen = 0.25 * blurred_widely(wet, 14 * scene.unit) + 0.75 * (sky + 0.32)
    clear = np.ones((height, width), np.float32)
    for number, length, thick, opacity, blur in DEPTHS:
        streaks = _streaks(rng, (height, width), scene.unit, number * drawn["amount"], length, thick, drawn["slant"])
        clear *= 1 - opacity / 255 * cv2.GaussianBlur(streaks, (0, 0), blur * scene.unit)
    return rounded(seen + (wet - seen) * clear[..., None])


def _streaks(
    rng: np.random.Generator,
    size: tuple[int, int],
    unit: float,
    number: float,
    length: float,
    thick: float,
    slant: float,
) -> Pixels:
    """Opacity `[H, W]` of streaks that fall almost in parallel; each fades towards its upper end."""
    height, width = size
    count = max(1, round(number * height * width / (320 * unit) ** 2))
    reach = length * unit
    feet = rng.uniform((-reach, 0), (width + reach, height + reach), (count, 2))
    angles = np.deg2rad(slant + rng.normal(0, 1.2, count))
    lengths = reach * rng.uniform(0.6, 1.3, count)
    steps = np.stack([np.sin(angles), -np.cos(angles)], axis=1) * lengths[:, None]
    strengths = rng.integers(3, LEVELS + 1, count)
    layer = np.zeros(size, np.uint8)
    wide = max(1, round(thick * unit))
    traces(layer, feet + steps, feet + 0.4 * steps, np.full(count, wide), strengths * 0.5)
    traces(layer, feet + 0.4 * steps, feet, np.full(count, wide), strengths)
    return layer


# ── snow ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

FLAKES = (
    # per 320 x 320 pixels, radius in units, opacity, blur in units, fall in units during the exposure
    (800, 0.6, 0.65, 0.35, 1.5),
    (160, 1.0, 0.85, 0.5, 4.0),
    (30, 1.8, 0.85, 1.0, 8.0),
    (6, 4.5, 0.5, 3.0, 14.0),
)
"""Flakes from the farthest to the nearest."""


def draw_snow(rng: np.random.Generator) -> Drawn:
    """`depth` is how thick it lies, in pixels at a short side of 320; `wind` is in degrees from the vertical."""
    return {
        "depth": between(rng, 3.0, 7.0),
        "ground": between(rng, 0.5, 0.85),
        "amount": between(rng, 0.7, 1.4),
        "wind": between(rng, -35, 35),
        "veil": between(rng, 0.2, 0.45),
    }


def snow(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Snow on upper edges and on flat ground, flakes of four depths, and cold light."""
    sky = np.array([0.8, 0.84, 0.9], np.float32)
    image = pictured(scene, sky, np.array([0.93, 0.95, 0.99], np.float32))
    height, width = image.shape[:2]
    unit = scene.unit
    cold = muted(image, 0.5) * np.array([0.93, 0.97, 1.05], np.float32) * 0.78 + 0.14
    depth = (0.25 + 0.75 * upwards(height)) * (0.8 + 0.4 * plasma(rng, height, width))
    cold = veiled(cold, np.exp(-drawn["veil"] * depth), sky)
    lying = _lying(scene, image, drawn, rng)
    shade = cv2.GaussianBlur(lying, (0, 0), 1.6 * unit)
    relief = np.clip(0.5 + 2.2 * (shade - np.roll(shade, -max(1, round(2 * unit)), axis=0)), 0, 1)  # lit from above
    grain = rng.standard_normal((height, width), np.float32) * 0.012
    white = (0.86 + 0.13 * relief + grain)[..., None] * np.array([0.965, 0.98, 1.0], np.float32)
    kept = np.clip(luminance(image)[..., None] * 0.35 + 0.72, 0, 1)  # what the ground's light and shadow leave of it
    cold += lying[..., None] * (white * kept - cold)
    clear = np.ones((height, width), np.float32)
    for number, radius, opacity, blur, fall in FLAKES:
        layer = _flakes(rng, (height, width), unit, number * drawn["amount"], radius, fall, drawn["wind"])
        clear *= 1 - opacity / 255 * cv2.GaussianBlur(layer, (0, 0), blur * unit)
    return rounded(0.985 + (cold - 0.985) * clear[..., None])


def _lying(scene: Scene, image: Singles, drawn: Drawn, rng: np.random.Generator) -> Singles:
    """Return how much of each pixel `[H, W]` lies under snow, in [0, 1]."""
    height, width = image.shape[:2]
    unit, thick = scene.unit, drawn["depth"] * scene.unit
    smooth = cv2.GaussianBlur(luminance(image), (0, 0), 3 * unit)
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    rough = blurred_widely(cv2.magnitude(across, down), 7 * unit) * unit
    reach = max(1, round(thick))
    open_above = np.clip(1.2 - np.roll(rough, round(9 * unit), axis=0) / 0.4, 0, 1)
    level = np.clip((-down - 0.7 * np.abs(across)) * unit / 0.18 - 0.15, 0, 1) * open_above  # dark below bright
    wavy = plasma(rng, height, width, 5)
    caps = cv2.dilate(level, np.ones((reach, max(1, round(2 * unit))), np.uint8), anchor=(-1, reach - 1))
    caps = cv2.GaussianBlur(caps * (0.55 + 0.9 * wavy), (0, 0), 1.1 * unit)
    low = np.clip(1.55 - 1.9 * upwards(height), 0, 1)  # the ground is in the lower half
    ground = drawn["ground"] * low * np.clip(1.3 - rough / 0.55, 0.15, 1) * np.clip(3 * wavy - 0.6, 0.35, 1.15)
    for mask in [scene.subject] if scene.subject is not None else scene.masks:
        inside = cv2.GaussianBlur(np.asarray(mask, np.float32) / 255, (0, 0), unit)
        above = np.zeros_like(inside)
        above[reach:] = inside[:-reach]  # its upper edge is where it is, but isn't a little higher
        ground *= 1 - 0.92 * inside
        caps = np.maximum(caps * (1 - 0.5 * inside), np.clip(inside - above, 0, 1) * (0.75 + 0.4 * wavy))
    return np.asarray(np.clip(np.maximum(caps, ground), 0, 1), np.float32)


def _flakes(
    rng: np.random.Generator, size: tuple[int, int], unit: float, number: float, radius: float, fall: float, wind: float
) -> Pixels:
    """Opacity `[H, W]` of flakes, each a short trace as long as it falls during the exposure."""
    height, width = size
    count = max(1, round(number * height * width / (320 * unit) ** 2))
    places = rng.uniform((-10, -10), (width + 10, height + 10), (count, 2))
    angles = np.deg2rad(wind + rng.normal(0, 12, count))
    steps = np.stack([np.sin(angles), np.cos(angles)], axis=1) * (fall * unit * rng.uniform(0.3, 1, count))[:, None]
    wide = np.maximum(1, np.rint(2 * radius * unit * rng.uniform(0.6, 1.4, count)).astype(int))
    layer = np.zeros(size, np.uint8)
    traces(layer, places, places + steps, wide, rng.integers(4, LEVELS + 1, count))
    return layer


# ── night ────────────────────────────────────────────────────────────────────────────────────────────────────────────


TRIES = 40
"""Places that are tried for each lamp, so that none hangs in front of an object."""
SPOT = 150
"""Most pixels of a light in the photograph, in square units; larger white things, such as shirts, don't shine."""
SPOTS = 0.03
"""Share of white pixels in a photograph from which they are taken for a sky or a thing, not for lights."""
AROUND = 0.5
"""Most brightness around a light, in [0, 1]."""


def draw_night(rng: np.random.Generator) -> Drawn:
    """`ambient` multiplies linear light, `lamps` are drawn where the picture is uppermost, `noise` is of a pixel."""
    return {
        "ambient": between(rng, 0.05, 0.1),
        "blue": between(rng, 0.55, 0.8),
        "lamps": int(rng.integers(1, 4)),
        "warmth": between(rng, 0.45, 0.8),
        "glow": between(rng, 0.8, 1.4),
        "noise": between(rng, 0.010, 0.022),
    }


def night(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """A moon's linear light, seen in blue by dark-adapted eyes, and lamps with their glow, with a sensor's noise."""
    dark = np.array([0.16, 0.18, 0.26], np.float32)
    image = pictured(scene, dark * 2.2, dark * 1.6)
    height, width = image.shape[:2]
    unit, short = scene.unit, min(height, width)
    linear = np.asarray(cv2.pow(image, 2.2), np.float32)
    grey = luminance(linear)[..., None]
    moon = drawn["blue"] * grey * np.array([0.5, 0.8, 1.75], np.float32) + (1 - drawn["blue"]) * linear
    warm = np.array([1.0, 1 - 0.38 * drawn["warmth"], 1 - 0.82 * drawn["warmth"]], np.float32)
    places = _lamps(scene, drawn["lamps"], rng)
    y, x = np.mgrid[:height:4, :width:4].astype(np.float32)
    pool = np.zeros_like(x)
    halo = np.zeros_like(x)
    for left, top in places:
        away = np.hypot((x - left) * 1.15, (y - top) * 0.8) / short
        pool += 0.9 / (1 + (away / 0.2) ** 2) * np.clip(0.35 + (y - top) / (0.25 * short), 0.12, 1)
        halo += 0.5 / (1 + (away / 0.022) ** 2) ** 1.2 + 0.016 / (1 + (away / 0.12) ** 2) ** 1.5
    lit, halo = (
        cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR)[..., None] for layer in (pool, halo)
    )
    out = drawn["ambient"] * moon + 0.42 * lit * linear * warm
    sources = _lights(scene, image)
    if sources.any():
        shine = cv2.GaussianBlur(sources, (0, 0), 2 * unit) + 2 * blurred_widely(sources, 10 * unit)
        out += (0.7 * sources + 0.5 * drawn["glow"] * shine)[..., None] * warm
    out += drawn["glow"] * halo * warm
    bulbs = np.zeros((height, width), np.uint8)
    for place in np.rint(places * (1 << SUB)).astype(int).tolist():
        cv2.circle(bulbs, place, round(3.2 * unit * (1 << SUB)), 255, -1, cv2.LINE_AA, SUB)
    out += cv2.GaussianBlur(bulbs, (0, 0), 0.8 * unit).astype(np.float32)[..., None] / 255 * (0.4 + 0.6 * warm)
    seen = np.asarray(cv2.pow(np.clip(out, 0, 1), 1 / 2.2), np.float32)
    noise = rng.standard_normal((height, width, 3), np.float32)
    return rounded(seen + drawn["noise"] * noise * (0.6 + np.sqrt(seen)))


def _lights(scene: Scene, image: Singles) -> Singles:
    """Find lights in the photograph itself, `[H, W]` in [0, 1]: small white spots in the dark, beside the objects."""
    unit = scene.unit
    near_white = np.clip((image.min(axis=2) - 0.93) / 0.05, 0, 1)  # of all channels, or red things would glow
    sources = np.asarray(cv2.erode(near_white, np.ones((3, 3), np.uint8)), np.float32)
    if float(sources.mean()) >= SPOTS:
        return np.zeros_like(sources)
    solid = (sources > 0).view(np.uint8)
    _, labels, found, centres = cv2.connectedComponentsWithStats(solid, connectivity=8)
    rows, columns = np.rint(centres[:, ::-1]).astype(int).T
    bright = blurred_widely(luminance(image), 12 * unit)[rows, columns] > AROUND
    bad = bright | (found[:, cv2.CC_STAT_AREA] > SPOT * unit**2) | (scene.cared[rows, columns] > 127)
    bad[0] = True
    sources[np.take(bad, labels)] = 0
    return sources


def _lamps(scene: Scene, number: int, rng: np.random.Generator) -> Floats:
    """X and y of each lamp in pixels `[n, 2]`: side by side in the upper part, beside the objects.

    Objects without a mask are as large as their boxes. There are fewer lamps where objects leave no room.
    """
    height, width = scene.shape
    taken = cv2.dilate(scene.cared, np.ones((2 * round(8 * scene.unit) + 1,) * 2, np.uint8))
    across = (np.arange(number)[:, None] + rng.uniform(0.1, 0.9, (number, TRIES))) / number * (width - 1)
    down = rng.uniform(0.06, 0.26, (number, TRIES)) * (height - 1)
    down[:, TRIES // 2 :] *= 2
    free = taken[np.rint(down).astype(int), np.rint(across).astype(int)] <= 127
    best, which = free.argmax(axis=1), np.flatnonzero(free.any(axis=1))
    return np.asarray(np.stack([across, down], axis=2)[which, best[which]], np.float64)


STYLES: Mapping[str, Style] = {
    "fog": Style(draw_fog, fog),
    "rain": Style(draw_rain, rain),
    "snow": Style(draw_snow, snow),
    "night": Style(draw_night, night),
}
