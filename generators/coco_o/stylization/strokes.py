"""A picture made of brush strokes: layers of ever finer ones, each laid where those below it differ from the subject.

Placing strokes by that difference is Hertzmann's ("Painterly Rendering with Curved Brush Strokes of Multiple Sizes",
SIGGRAPH 1998). A stroke ends where the colour changes, so it doesn't run over edges (Litwinowicz, SIGGRAPH 1997). It
follows the edges' direction, or a slowly turning one where there is none.

What is drawn is each stroke's number. Colour, bristles and thickness are looked up by it, and by the place in the
stroke.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.materials import clouds

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels, Singles
    from variorum.kit.pictures.flow import Flow

SIDE = 480
"""Short side in pixels that smaller pictures are drawn at; strokes have hard edges, so they are shrunk afterwards."""
TOLERANCE = 40
"""Grey levels of any channel by which the subject may change along a stroke."""
MOST_FINE = 4500
"""Strokes of the last layer, if it is for some parts only. Without a limit, those of fur take most of the time."""
CELLS = 256
"""Side of the table of bristles."""


class Strokes(NamedTuple):
    """Strokes as they lie on each other.

    Attributes:
        numbers: of the stroke on top, `[h, w]` int32; 0 where there is none.
        colours: `[n, 3]` uint8, the first that of the ground.
        headings: unit vectors `[n, 2]`.
        scale: pixels of `numbers` in a pixel of the picture.
    """

    numbers: Array
    colours: Pixels
    headings: Singles
    scale: float


def laid(
    subject: Pixels,
    flow: Flow,
    ground: Sequence[int],
    where: Bools | None,
    widths: Sequence[float],
    *,
    length: int,
    detail: float,
    jitter: float,
    turn: float,
    rng: np.random.Generator,
    care: Bools | None = None,
) -> Strokes:
    """Strokes that make up a picture.

    Args:
        subject: RGB `[H, W, 3]`.
        flow: the direction of its edges.
        ground: colour where no stroke lies.
        where: strokes begin only there, `[H, W]`; None for everywhere.
        widths: of each layer's strokes in pixels, falling.
        length: of half a stroke, in steps of one and a quarter widths.
        detail: grey levels by which a layer must differ from the subject to be painted over.
        jitter: standard deviation of the strokes' lightness around that of the subject.
        turn: direction of strokes in flat areas, in degrees.
        rng: draws places, colours and widths.
        care: strokes of the last layer begin only there, `[H, W]`, at most `MOST_FINE`, where they are needed most;
            None for everywhere.
    """
    height, width = subject.shape[:2]
    scale = min(max(SIDE / min(height, width), 1), 3)
    numbers = np.zeros((round(height * scale), round(width * scale)), np.int32)
    field = _headings(flow, turn, rng)
    colours, headings = [np.asarray([ground], np.uint8)], [np.asarray([[1, 0]], np.float32)]
    count = 1
    for layer, breadth in enumerate(widths):
        blurred = cv2.GaussianBlur(subject, (0, 0), max(0.3 * breadth, 0.3))
        seeds = _scattered(height, width, (0.75 if layer else 0.62) * breadth, rng)
        columns, rows = seeds.astype(np.intp).T
        keep = np.ones(len(seeds), bool) if where is None else where[rows, columns]
        if layer:
            below = cv2.resize(numbers, (width, height), interpolation=cv2.INTER_NEAREST)
            difference = cv2.absdiff(blurred, np.take(np.concatenate(colours), below, axis=0)).max(axis=2)
            amiss = cv2.blur(difference, (_odd(breadth), _odd(breadth)))[rows, columns]
            keep &= amiss > detail
            if care is not None and layer == len(widths) - 1:
                keep &= care[rows, columns]
                if np.count_nonzero(keep) > MOST_FINE:
                    keep &= amiss > np.partition(amiss[keep], -MOST_FINE)[-MOST_FINE]
        seeds = seeds[keep][rng.permutation(int(keep.sum()))]
        if not len(seeds):
            continue
        paths = _traced(seeds, field, blurred, 1.25 * breadth, length)
        columns, rows = seeds.astype(np.intp).T
        colour = blurred[rows, columns] + _jitter(len(seeds), jitter, rng)
        colours.append(np.asarray(np.clip(colour + 0.5, 0, 255), np.uint8))
        headings.append(_at(field, seeds, (height, width)))
        points = np.asarray((paths + 0.5) * (8 * scale) - 4, np.int32)
        breadths = np.maximum(1, np.rint(breadth * scale * rng.uniform(0.75, 1.25, len(seeds)))).astype(int).tolist()
        for number, (line, thickness) in enumerate(zip(points, breadths, strict=True), count):
            cv2.polylines(numbers, [line], False, number, thickness, cv2.LINE_8, 3)
        count += len(seeds)
    return Strokes(numbers, np.concatenate(colours), np.concatenate(headings), scale)


def bristles(strokes: Strokes, fineness: float, rng: np.random.Generator) -> Singles:
    """Streaks along each stroke: noise `[h, w]` of mean 0 and standard deviation 1, 0 on the bare ground.

    `fineness` is the streaks' number across a pixel of the picture.
    """
    height, width = strokes.numbers.shape
    table = cv2.GaussianBlur(
        rng.standard_normal((CELLS, CELLS), np.float32), (0, 0), 1.2, borderType=cv2.BORDER_DEFAULT
    )
    table /= table.std()
    count = len(strokes.headings)
    step = np.float32(3 * fineness / strokes.scale)
    x = np.take(strokes.headings[:, 0] * step, strokes.numbers)
    y = np.take(strokes.headings[:, 1] * step, strokes.numbers)
    columns, rows = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    along = ((x * columns + y * rows) * np.float32(0.12)).astype(np.int32)
    across = (x * rows - y * columns).astype(np.int32)
    along += np.take(rng.integers(0, CELLS, count, dtype=np.int32), strokes.numbers)
    across += np.take(rng.integers(0, CELLS, count, dtype=np.int32), strokes.numbers)
    along &= CELLS - 1
    across &= CELLS - 1
    across *= CELLS
    found = np.take(table.ravel(), along + across)
    found[strokes.numbers == 0] = 0
    return np.asarray(found)


def _headings(flow: Flow, turn: float, rng: np.random.Generator) -> Singles:
    """Unit vectors: the flow's where there are edges, elsewhere a slowly turning direction."""
    size = flow.tangents.shape[0], flow.tangents.shape[1]
    angle = np.deg2rad(turn) + 0.7 * clouds(size, 60, rng, 2)
    free = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    same = np.copysign(1, (free * flow.tangents).sum(axis=-1, keepdims=True))
    share = np.clip(1.6 * flow.anisotropy - 0.3, 0, 1)[..., None]
    mixed = share * same * flow.tangents + (1 - share) * free
    return np.asarray(mixed / np.maximum(np.linalg.norm(mixed, axis=-1, keepdims=True), 1e-6), np.float32)


def _scattered(height: int, width: int, gap: float, rng: np.random.Generator) -> Singles:
    """Points (x, y) on a shaken grid, `[n, 2]`."""
    rows, columns = np.mgrid[gap / 2 : height : gap, gap / 2 : width : gap]
    points = np.stack([columns.ravel(), rows.ravel()], axis=1) + rng.uniform(-gap / 2, gap / 2, (rows.size, 2))
    return np.clip(points, 0, [width - 1, height - 1]).astype(np.float32)


def _traced(seeds: Singles, field: Singles, subject: Pixels, step: float, steps: int) -> Singles:
    """Lines through the seeds, `steps` in each direction, `[n, 2 * steps + 1, 2]`; those that end early stay there."""
    shape = subject.shape[0], subject.shape[1]
    colour = _at(subject, seeds, shape).astype(np.int16)
    sides = []
    for sign in (-1, 1):
        place, heading, runs = seeds, np.float32(sign) * _at(field, seeds, shape), np.ones(len(seeds), bool)
        line = []
        for number in range(steps):
            if number:
                ahead = _at(field, place, shape)
                heading = ahead * np.copysign(np.float32(1), (ahead * heading).sum(axis=1, keepdims=True))
            further = place + np.float32(step) * heading
            change = np.abs(_at(subject, further, shape).astype(np.int16) - colour).max(axis=1)
            runs = runs & (change < TOLERANCE)
            place = np.asarray(np.where(runs[:, None], further, place), np.float32)
            line.append(place)
        sides.append(line)
    return np.stack([*sides[0][::-1], seeds, *sides[1]], axis=1)


def _at(values: Array, places: Singles, shape: tuple[int, int]) -> Array:
    """The values nearest to places (x, y) of a picture of this shape; the values may be of a reduced one."""
    height, width = values.shape[:2]
    columns = np.clip((places[:, 0] * np.float32(width / shape[1])).astype(np.intp), 0, width - 1)
    rows = np.clip((places[:, 1] * np.float32(height / shape[0])).astype(np.intp), 0, height - 1)
    return values[rows, columns]


def _jitter(count: int, sigma: float, rng: np.random.Generator) -> Singles:
    """Differences of colour between strokes, in grey levels: mostly of lightness, a little of hue."""
    lightness = rng.standard_normal((count, 1), np.float32)
    hue = rng.standard_normal((count, 3), np.float32)
    return (lightness + 0.4 * hue) * np.float32(sigma * 100)


def _odd(length: float) -> int:
    return 2 * max(round(length / 2), 0) + 1
