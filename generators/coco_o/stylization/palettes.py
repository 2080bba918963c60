"""Pictures in few colours, as threads, papers and glass come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

WEIGHTS = np.array([1, 1.7, 1.7], np.float32)
"""Of lightness and the two axes of colour, where colours are compared: small areas of another hue keep it."""

BIN = 8
"""Levels of 256 within which colours count as one."""


def quantised(image: Pixels, count: int, where: Bools, step: int = 1) -> tuple[Pixels, Singles]:
    """A picture in few colours: the index of each pixel's colour `[H, W]`, and the colours RGB `[n, 3]`, n <= `count`.

    They are found by k-means in CIELAB over every `step`-th row and column of the pixels `where`, from a start that
    depends on these alone. A colour weighs as the root of its area, so that a green eye doesn't drown in brown fur.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    some = where[::step, ::step]
    values = lab[::step, ::step][some] if some.any() else lab.reshape(-1, 3)
    bins = values.astype(np.int32) // BIN @ np.array([1, 256, 65536])
    _, first, areas = np.unique(bins, return_index=True, return_counts=True)
    shares = np.maximum(np.ceil(np.sqrt(areas)).astype(int), 2)  # OpenCV takes a single row for samples of one number
    samples = np.repeat(values[first].astype(np.float32) * WEIGHTS, shares, axis=0)
    count = min(count, len(first))
    order = np.argsort(samples @ np.array([1, 0.37, 0.21], np.float32), kind="stable")
    start = np.empty((len(samples), 1), np.int32)
    start[order, 0] = np.arange(len(samples)) * count // len(samples)
    criteria = cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 0.5
    _, _, centres = cv2.kmeans(samples, count, start, criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS)
    centres = centres[np.argsort(centres[:, 0], kind="stable")]
    palette = cv2.cvtColor(np.clip(centres / WEIGHTS + 0.5, 0, 255).astype(np.uint8)[None], cv2.COLOR_LAB2RGB)[0]
    return nearest(lab, centres), palette.astype(np.float32)


def matched(image: Pixels, palette: Singles) -> Pixels:
    """Index of the colour that is most like each pixel's, `[H, W]`; the palette is RGB `[n, 3]`."""
    colours = cv2.cvtColor(np.clip(palette, 0, 255).astype(np.uint8)[None], cv2.COLOR_RGB2LAB)[0]
    return nearest(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), colours.astype(np.float32) * WEIGHTS)


def nearest(lab: Pixels, centres: Singles) -> Pixels:
    """Index of the nearest centre for each pixel `[H, W]`, looked up by colours of five bits a channel."""
    levels = np.arange(4, 256, 8, dtype=np.float32)
    light, green_red, blue_yellow = (
        (levels[:, None] * weight - centre) ** 2 for weight, centre in zip(WEIGHTS, centres.T, strict=True)
    )
    distance = light[:, None, None] + green_red[:, None] + blue_yellow
    table = distance.argmin(axis=3).astype(np.uint8).ravel()
    first, second, third = cv2.split(lab >> 3)
    place = (first.astype(np.int32) << 10) + (second.astype(np.int32) << 5) + third
    return np.asarray(np.take(table, place))
