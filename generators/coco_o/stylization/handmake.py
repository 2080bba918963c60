"""Styles of the domain handmake: cross-stitch on cloth, layers of cut paper, and mosaics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.materials import (
    PAPERS,
    between,
    clouds,
    on_ground,
    relief,
    smoothstep,
    tone,
)
from variorum.generators.coco_o.stylization.mosaic import tiled
from variorum.generators.coco_o.stylization.palettes import quantised
from variorum.generators.coco_o.stylization.paper import draw_paper_cut, paper_cut
from variorum.generators.coco_o.stylization.style import Drawn, Style
from variorum.kit.pictures.scene import Scene

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

CLOTHS = ((240, 236, 226), (226, 214, 190), (206, 218, 226), (214, 222, 206), (232, 210, 210), (70, 74, 84))
"""Aida cloth: white, natural, pale blue, green and pink, dark grey."""
MORTARS = ((196, 190, 178), (150, 146, 140), (92, 88, 84), (222, 216, 204))
"""White, grey and dark mortar."""


# ── cross-stitch ─────────────────────────────────────────────────────────────────────────────────────────────────────

CELL = 10
"""Pixels of a stitch as it is drawn; the picture is shrunk afterwards."""
VARIANTS = 12
"""Stitches that differ a little."""
LEAST_STITCH = 3.5
"""Pixels; in smaller ones no cross can be seen."""


def draw_cross_stitch(rng: np.random.Generator) -> Drawn:
    """`stitch` is in units, colours are RGB, `light` is in degrees; the others have no unit."""
    return {
        "stitch": between(rng, 4.8, 6.8),
        "threads": int(rng.integers(20, 37)),
        "thickness": between(rng, 0.46, 0.56),
        "key": between(rng, 0.4, 0.52),
        "saturation": between(rng, 1.1, 1.5),
        "uneven": between(rng, 0.03, 0.08),
        "light": between(rng, 200, 340),
        "cloth": [int(value) for value in CLOTHS[rng.integers(len(CLOTHS))]],
        "over": int(rng.integers(2)),
    }


def cross_stitch(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """A counted cross-stitch: each cell of the cloth has a cross of one of a few threads."""
    height, width = scene.shape
    stitch = max(drawn["stitch"] * scene.unit, LEAST_STITCH)
    rows, columns = max(1, round(height / stitch)), max(1, round(width / stitch))
    image, stitched = tone(scene.image, drawn["key"], drawn["saturation"]), np.ones((rows, columns), bool)
    if scene.subject is not None:
        image = tone(scene.image, drawn["key"], drawn["saturation"], scene.subject > 100)
        image = on_ground(image, scene.subject, drawn["cloth"])
        share = cv2.resize(scene.subject, (columns, rows), interpolation=cv2.INTER_AREA)
        stitched = share > 110
    sharp = cv2.addWeighted(image, 1.4, cv2.GaussianBlur(image, (0, 0), stitch), -0.4, 0)
    cells = cv2.resize(sharp, (columns, rows), interpolation=cv2.INTER_AREA)
    labels, palette = quantised(cells, drawn["threads"], stitched)
    threads = palette[labels] * (1 + np.float32(drawn["uneven"]) * rng.standard_normal((rows, columns, 1), np.float32))

    coverage, shade = _crosses(drawn, rng)
    which = rng.integers(0, VARIANTS, (rows, columns))
    cover = _tiled(coverage[which] * stitched[..., None, None])
    shading = _tiled(shade[which])
    cloth, woven = (
        np.asarray(drawn["cloth"], np.float32),
        _tiled(np.broadcast_to(_aida(drawn), (rows, columns, CELL, CELL))),
    )
    soft = cv2.blur(cover, (5, 5))
    shadow = 1 - 0.45 * np.clip(soft - cover, 0, 1)
    threads = cv2.resize(threads.astype(np.float32), cover.shape[::-1], interpolation=cv2.INTER_NEAREST)
    drawn_large = cv2.merge([cover] * 3) * (threads * shading[..., None] - cloth * (woven * shadow)[..., None])
    drawn_large += cloth * (woven * shadow)[..., None]
    result = cv2.resize(drawn_large, (width, height), interpolation=cv2.INTER_AREA)
    result *= 1 + 0.03 * clouds((height, width), 120 * scene.unit, rng, 2)[..., None]
    return np.asarray(np.clip(result + 0.5, 0, 255), np.uint8)


def _crosses(drawn: Drawn, rng: np.random.Generator) -> tuple[Singles, Singles]:
    """Draw the crosses of `VARIANTS`: cover and lightness of their threads, both `[VARIANTS, CELL, CELL]`."""
    axis = (np.arange(CELL, dtype=np.float32) + 0.5) / CELL - 0.5
    x, y = axis[None], axis[:, None]
    covers, shades = [], []
    for _ in range(VARIANTS):
        cover, shade = np.zeros((CELL, CELL), np.float32), np.ones((CELL, CELL), np.float32)
        for turn in (1, -1) if drawn["over"] else (-1, 1):
            angle = turn * np.pi / 4 + rng.normal(0, 0.05)
            shift = rng.normal(0, 0.02)
            along = x * np.cos(angle) + y * np.sin(angle)
            across = -x * np.sin(angle) + y * np.cos(angle) + shift
            half = drawn["thickness"] / 2 * (1 - 0.35 * (2 * along) ** 2 * 0.5) * rng.uniform(0.92, 1.08)
            inside = np.clip((half - np.abs(across)) * CELL + 0.5, 0, 1)
            round_ = np.sqrt(np.clip(1 - (across / half) ** 2, 0, 1))
            towards = np.cos(np.deg2rad(drawn["light"]) - angle - np.pi / 2) * across / half
            twist = np.cos(2 * np.pi * (5 * along + 2.2 * across * turn + rng.random()))
            leg = 0.56 + 0.52 * round_ + 0.22 * towards * (1 - round_) + 0.06 * twist - 0.35 * along**2
            near = np.clip((half + 0.08 - np.abs(across)) * 9, 0, 1)  # the upper leg's shadow on the lower one
            shade = (1 - inside) * shade * (1 - 0.35 * near) + inside * leg
            cover = np.maximum(cover, inside)
        covers.append(cover)
        shades.append(shade)
    return np.asarray(covers, np.float32), np.asarray(shades, np.float32)


def _aida(drawn: Drawn) -> Singles:
    """Draw the lightness of a cell of the cloth, `[CELL, CELL]`: a block of threads between four holes."""
    axis = (np.arange(CELL, dtype=np.float32) + 0.5) / CELL
    x, y = axis[None], axis[:, None]
    threads = (
        1
        - 0.1 * np.abs(np.sin(3 * np.pi * x)) * np.abs(np.sin(3 * np.pi * y))
        - 0.07 * ((np.sin(3 * np.pi * x) * np.sin(3 * np.pi * y)) > 0)
    )
    corner = np.hypot(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    groove = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    darkness = 0.4 * np.exp(-((corner / 0.13) ** 2)) + 0.1 * np.exp(-((groove / 0.06) ** 2))
    return np.asarray(threads * (1 - darkness), np.float32)


def _tiled(cells: Array) -> Singles:
    """`[rows, columns, CELL, CELL]` as one picture."""
    rows, columns = cells.shape[:2]
    return np.ascontiguousarray(cells.transpose(0, 2, 1, 3).reshape(rows * CELL, columns * CELL), dtype=np.float32)


# ── mosaic ───────────────────────────────────────────────────────────────────────────────────────────────────────────

DAMP = 0.75
"""How light mortar is beside glass."""
DRAWN_SIDE = 480
"""Short side in pixels that smaller pictures are drawn at."""


def draw_mosaic(rng: np.random.Generator) -> Drawn:
    """`tile` is in units, `joint` and `rim` in sides of a tile, colours RGB; the others have no unit."""
    return {
        "tile": between(rng, 4.8, 6.6),
        "joint": between(rng, 0.09, 0.15),
        "rim": between(rng, 0.1, 0.25),
        "glass": int(rng.integers(18, 37)),
        "key": between(rng, 0.42, 0.55),
        "saturation": between(rng, 1.2, 1.6),
        "uneven": between(rng, 0.02, 0.05),
        "tilt": between(rng, 0.04, 0.12),
        "light": between(rng, 200, 340),
        "mortar": [int(value) for value in MORTARS[rng.integers(len(MORTARS))]],
        "ground": [int(value) for value in PAPERS[rng.integers(len(PAPERS))]],
    }


def mosaic(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Tiles of glass or stone set in mortar, in rows along the edges; no tile lies across the outline of an object."""
    height, width = scene.shape
    subject = scene.subject
    scale = min(max(DRAWN_SIDE / min(height, width), 1), 3)
    image = tone(scene.image, drawn["key"], drawn["saturation"], None if subject is None else subject > 100)
    if subject is not None:
        image = on_ground(image, subject, drawn["ground"])
    size = round(width * scale), round(height * scale)
    regions = np.zeros(size[::-1], np.uint8)
    for number, mask in enumerate([*scene.masks, subject] if subject is not None else scene.masks, 1):
        regions[cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) > 127] = min(number, 255)
    side = max(drawn["tile"] * scene.unit, 4) * scale
    flow = Scene(image, [], None, scene.model).flow
    tiles = tiled(flow, regions, side, rng)
    large = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    areas = np.maximum(np.bincount(tiles.numbers.ravel(), minlength=tiles.total), 1)
    sums = [np.bincount(tiles.numbers.ravel(), channel.ravel(), tiles.total) for channel in cv2.split(large)]
    means = np.stack([total / areas for total in sums], axis=-1).astype(np.uint8)[None]
    labels, palette = quantised(means, drawn["glass"], np.ones(means.shape[:2], bool))
    glass = palette[labels[0]]
    shade = 1 + np.float32(drawn["uneven"]) * rng.standard_normal((tiles.total, 1), np.float32)
    tilt = np.float32(drawn["tilt"]) * rng.standard_normal((2, tiles.total), np.float32)
    sloped = sum(np.take(slope, tiles.numbers) * place for slope, place in zip(tilt, tiles.across, strict=True))
    set_in = smoothstep(tiles.margin, drawn["joint"], drawn["joint"] + drawn["rim"])
    covered = smoothstep(tiles.margin, drawn["joint"] - 0.03, drawn["joint"] + 0.03)[..., None]
    grain = 0.1 * clouds(regions.shape, max(2 * scale, 1), rng, 2)
    lit = relief(
        cv2.GaussianBlur(set_in, (0, 0), 0.6 * scale) * np.float32(0.12 * side) + 0.3 * grain, drawn["light"], 0.35
    )
    lit = (lit + sloped)[..., None]
    # mortar in the tone of what is around it: one of another tone would draw a net over the picture
    around = cv2.blur(large, (4 * round(side) + 1, 4 * round(side) + 1)).astype(np.float32)
    mortar = (0.4 * np.asarray(drawn["mortar"], np.float32) + 0.6 * DAMP * around) * (0.9 + grain[..., None])
    result = covered * np.take(glass * shade, tiles.numbers, axis=0) * lit + (1 - covered) * mortar
    result = cv2.resize(result, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(result + 0.5, 0, 255), np.uint8)


STYLES: Mapping[str, Style] = {
    "cross_stitch": Style(draw_cross_stitch, cross_stitch),
    "paper_cut": Style(draw_paper_cut, paper_cut),
    "mosaic": Style(draw_mosaic, mosaic),
}
