"""The style paper_cut of the domain handmake: pieces of coloured paper, glued on each other in layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.kuwahara import kuwahara_widely
from variorum.generators.coco_o.stylization.lines import parts
from variorum.generators.coco_o.stylization.materials import PAPERS, between, clouds, on_ground, relief, tone
from variorum.generators.coco_o.stylization.palettes import matched, quantised
from variorum.generators.coco_o.stylization.style import Drawn
from variorum.kit.pictures.scene import Scene

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

OBJECT_COLOURS = 12
ANTIALIAS = 0.5
"""Pixels over which the edges of paper are blurred, so that they have no stairs."""
TALLEST = 9
"""Sheets that the smallest pieces lie above the largest."""
FAR = (17.0, 34.0)
"""Distance in CIELAB of a sheet from the picture at which a finer piece is cut: in objects, and elsewhere."""
FINEST = (7.0, 20.0)
"""Least area of such a piece in square units."""
LAB = np.array([100 / 255, 1, 1], np.float32) ** 2
"""Weights of squared differences of OpenCV's bytes in CIELAB."""
LARGE = 90
"""Root of an object's area in units; the pieces of a smaller one are smaller in proportion."""
THIN = 0.6
"""Sheets by which a finer piece lies above the sheet around it if it is lighter, or is cut into it if it is darker."""


def draw_paper_cut(rng: np.random.Generator) -> Drawn:
    """Lengths are in units, colours RGB, `light` is in degrees; the others have no unit."""
    return {
        "facet": between(rng, 4, 6),
        "smooth": between(rng, 1.8, 3.2),
        "colours": int(rng.integers(8, 14)),
        "key": between(rng, 0.42, 0.55),
        "saturation": between(rng, 1.1, 1.6),
        "depth": between(rng, 1.6, 3),
        "shadow": between(rng, 0.35, 0.6),
        "edge": between(rng, 0.1, 0.3),
        "grain": between(rng, 0.015, 0.04),
        "light": between(rng, 200, 340),
        "sheet": [int(value) for value in PAPERS[rng.integers(len(PAPERS))]],
    }


def paper_cut(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Pieces of coloured paper glued on each other, small ones on large ones, each with its shadow.

    Every object has sheets of its own above those of the ground, so that its outline is cut. Where a sheet's colour is
    far from the picture's, as at eyes and thin limbs, finer pieces are laid on it or cut into it.
    """
    unit, shape = scene.unit, scene.shape
    subject = scene.subject
    image = tone(scene.image, drawn["key"], drawn["saturation"], None if subject is None else subject > 100)
    masks = list(scene.masks) if subject is None else [subject]
    if subject is not None:
        image = on_ground(image, subject, drawn["sheet"])
    flow = Scene(image, [], None, scene.model).flow
    flat = kuwahara_widely(image, flow, drawn["facet"] * unit)
    fine = cv2.bilateralFilter(image, 5, 24, max(1.2 * unit, 0.6))
    ground = np.ones(shape, bool) if subject is None else np.zeros(shape, bool)
    colours = np.broadcast_to(np.asarray(drawn["sheet"], np.float32), (*shape, 3)).copy()
    heights = np.zeros(shape, np.float32)
    objects = [_rounded(mask, 0.5 * drawn["smooth"] * unit) for mask in masks]
    care = cv2.blur(scene.cared, (2 * round(unit) + 1,) * 2) > 100
    for number, inside in enumerate([ground, *objects]):
        if not inside.any():
            continue
        left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
        where = slice(top, top + height), slice(left, left + width)
        inside, area = inside[where], heights[where]
        large = min(1.0, np.sqrt(np.count_nonzero(inside)) / (LARGE * unit)) if number else 1.0
        smooth, least = drawn["smooth"] * unit * large, (24 if number else 70) * (unit * large) ** 2
        most = OBJECT_COLOURS if number else drawn["colours"]
        pieces, palette = _pieces(flat[where], fine[where], inside, most, smooth, least)
        details = _details(fine[where], pieces, palette, care[where], unit)
        base = float(area[inside].max()) + 2 if number else 0.0
        level = _levels(pieces, inside) + THIN * np.sign(details.astype(np.float32) - pieces)  # palettes get lighter
        colours[where][inside] = palette[details[inside]]
        area[inside] = base + level[inside]
    colours = cv2.GaussianBlur(colours, (0, 0), ANTIALIAS)
    lit = cv2.GaussianBlur(_lit(heights, unit, drawn), (0, 0), ANTIALIAS)
    grain = clouds(shape, max(1.5 * unit, 1), rng, 2) + 0.6 * clouds(shape, 40 * unit, rng, 2)
    fibres = relief(clouds(shape, max(2 * unit, 1), rng, 1), drawn["light"], drawn["grain"] * 2)
    result = colours * (lit * fibres * (1 + np.float32(drawn["grain"]) * grain))[..., None]
    return np.asarray(np.clip(result + 0.5, 0, 255), np.uint8)


def _pieces(
    flat: Pixels, fine: Pixels, inside: Bools, colours: int, smooth: float, least: float
) -> tuple[Pixels, Singles]:
    """Assign pixels to pieces of paper: the colour's number `[H, W]`, by rising lightness, and the colours `[n, 3]`.

    The colours are those of `fine`, so that small things have theirs. Outlines are smoothed over `smooth` pixels. What
    has fewer than `least` pixels is no piece of its own.
    """
    step = max(1, round(smooth / 2))
    _, palette = quantised(fine, colours, inside, step)
    rough = matched(flat, palette)
    pieces = cv2.medianBlur(rough, 2 * max(round(smooth), 1) + 1)
    half = cv2.resize(rough, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
    coarse = cv2.medianBlur(half, 2 * max(round(1.25 * smooth), 1) + 1)
    coarse = cv2.resize(coarse, rough.shape[::-1], interpolation=cv2.INTER_NEAREST)
    filled = _specks(pieces, len(palette), least)
    pieces[filled] = coarse[filled]
    return pieces, palette


def _details(fine: Pixels, pieces: Pixels, palette: Singles, care: Bools, unit: float) -> Pixels:
    """The pieces with finer ones where the picture's colour is far from theirs: index of the colour, `[H, W]`."""
    wanted = matched(fine, palette)
    colours = cv2.cvtColor(np.clip(palette, 0, 255).astype(np.uint8)[None], cv2.COLOR_RGB2LAB)[0].astype(np.float32)
    between_colours = np.sqrt(((colours[:, None] - colours[None]) ** 2 * LAB).sum(axis=2))
    far = between_colours[wanted, pieces] > np.where(care, np.float32(FAR[0]), np.float32(FAR[1]))
    found = np.asarray(cv2.medianBlur(np.where(far, wanted, pieces), 3))
    far = found != pieces
    for of_care, least in zip((care, ~care), FINEST, strict=True):
        labels, areas = parts(far & of_care, 8)
        dropped = np.take((areas > 0) & (areas < least * unit**2), labels)
        found[dropped] = pieces[dropped]
    return found


def _specks(pieces: Pixels, colours: int, least: float) -> Bools:
    """Where a piece has fewer than `least` pixels; looked for at half the size."""
    half = np.ascontiguousarray(pieces[::2, ::2])
    specks = np.zeros(half.shape, np.uint8)
    for colour in range(colours):
        labels, areas = parts(half == colour, 4)
        specks |= np.take((areas > 0) & (4 * areas < least), labels)
    return np.asarray(cv2.resize(specks, pieces.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def _levels(pieces: Pixels, inside: Bools) -> Singles:
    """Heights of the pieces in sheets, `[H, W]`: connected pixels of one colour are a piece, the smaller the higher."""
    heights = np.zeros(pieces.shape, np.float32)
    left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    where = slice(top, top + height), slice(left, left + width)
    total = np.count_nonzero(inside)
    for colour in np.unique(pieces[inside]):
        of_colour = (pieces[where] == colour) & inside[where]
        labels, areas = parts(of_colour, 4)
        level = np.clip(np.log2(total / np.maximum(areas, 1)), 0, TALLEST).astype(np.float32)
        level[0] = 0
        heights[where] += np.take(level, labels)
    return heights


def _lit(heights: Singles, unit: float, drawn: Drawn) -> Singles:
    """Light the sheets: higher ones cast soft shadows away from the light and have a bright edge."""
    x, y = np.cos(np.deg2rad(drawn["light"])), np.sin(np.deg2rad(drawn["light"]))
    size = heights.shape[::-1]

    def moved(values: Singles, length: float) -> Singles:
        shift = np.array([[1, 0, -x * length], [0, 1, -y * length]], np.float32)
        return np.asarray(cv2.warpAffine(values, shift, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    lit = np.ones_like(heights)
    for length, blur, share in ((1, 0.8, 0.6), (2.2, 2.4, 0.6)):
        above = cv2.GaussianBlur(moved(heights, length * drawn["depth"] * unit), (0, 0), max(blur * unit, 0.4))
        lit *= 1 - np.float32(drawn["shadow"] * share) * np.clip((above - heights) * 0.6, 0, 1)
    edge = np.clip(heights - moved(heights, -max(0.8 * unit, 0.7)), 0, 1)
    return np.asarray(lit + np.float32(drawn["edge"]) * edge * (lit > 0.9))


def _rounded(mask: Pixels, radius: float) -> Bools:
    """A mask as scissors cut it."""
    size = 2 * max(round(radius / 2), 1) + 1
    return np.asarray(cv2.medianBlur(mask, size) > 127)
