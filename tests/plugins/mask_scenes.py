"""Coloured shapes on coloured clouds, with true masks and with the errors of hurried annotators."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from variorum.arrays import Ints, Pixels

SIDE = 48
COLOURS = {1: (190, 90, 90), 2: (90, 180, 90), 3: (95, 95, 190)}
"""Of discs, squares and triangles."""


Spoil = Callable[[Ints, np.random.Generator], Ints]


def scenes(seed: int, number: int, spoil: Spoil | None = None) -> tuple[Pixels, Ints, Ints]:
    """Pictures `[N, 48, 48, 3]`, their true masks and the given ones `[N, 48, 48]`, values 0 to 3."""
    spoil = spoil or differently_wrong
    rng = np.random.default_rng(seed)
    drawn = [scene(rng) for _ in range(number)]
    truth = np.stack([mask for _, mask in drawn])
    return np.stack([picture for picture, _ in drawn]), truth, np.stack([spoil(mask, rng) for mask in truth])


def scene(rng: np.random.Generator) -> tuple[Pixels, Ints]:
    """One to three different shapes on a cloudy background, with noise."""
    picture = 128 + 140 * cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE, 3)), (0, 0), 3)
    truth = np.zeros((SIDE, SIDE), np.int64)
    for kind in rng.permutation([1, 2, 3])[: rng.integers(1, 4)]:
        (x, y), r = (int(v) for v in rng.integers(10, SIDE - 10, 2)), int(rng.integers(6, 12))
        shape = np.zeros((SIDE, SIDE), np.uint8)
        if kind == 1:
            cv2.circle(shape, (x, y), r, 1, -1)
        elif kind == 2:
            cv2.rectangle(shape, (x - r, y - r), (x + r, y + r), 1, -1)
        else:
            cv2.fillPoly(shape, [np.array([[x - r, y + r], [x + r, y + r], [x, y - r]], np.int32)], 1)
        truth[shape > 0] = kind
        picture[shape > 0] = COLOURS[int(kind)]
    return np.clip(picture + rng.normal(0, 22, picture.shape), 0, 255).astype(np.uint8), truth


def differently_wrong(truth: Ints, rng: np.random.Generator) -> Ints:
    """Every shape's mask grown by two pixels, shifted by up to four, or without its right third."""
    given = np.zeros_like(truth)
    for kind in COLOURS:
        mask = (truth == kind).astype(np.uint8)
        if not mask.any():
            continue
        error = rng.integers(3)
        if error == 0:
            mask = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        elif error == 1:
            mask = np.roll(mask, tuple(int(v) for v in rng.integers(-4, 5, 2)), (0, 1))
        else:
            mask[:, int(np.quantile(np.nonzero(mask)[1], 0.7)) :] = 0
        given[mask > 0] = kind
    return given


def alike_wrong(truth: Ints, rng: np.random.Generator) -> Ints:
    """Three in four masks lack their right two fifths: an error that most masks share."""
    given = np.zeros_like(truth)
    for kind in COLOURS:
        mask = (truth == kind).astype(np.uint8)
        if mask.any():
            if rng.random() < 0.75:
                mask[:, int(np.quantile(np.nonzero(mask)[1], 0.6)) :] = 0
            given[mask > 0] = kind
    return given
