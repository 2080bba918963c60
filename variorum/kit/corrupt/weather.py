"""Snow, frost and fog of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261).

A kind is a function of the picture, its constants, a random generator and the scale of lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.kit.corrupt import frost as windows
from variorum.kit.corrupt.blur import moved
from variorum.kit.corrupt.outcome import Corrupted, Strength, rounded

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

ANGLES = -135, -45
"""Least and largest direction of falling snow, in degrees."""
FLIPS = 0, 0, 1, -1
"""OpenCV's codes by two bits of a number: upside down, mirrored, both; the first isn't used."""
LARGEST = 4096
"""Side of the largest fractal. What finer levels would add is less than a grey level, and their memory has no limit."""


def snow(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """Flakes blurred by their motion, in front of a whitened picture.

    Args:
        image: RGB `[H, W, 3]`.
        strength: mean and deviation of the noise that flakes are cut from, their size in pixels, the level below which
            there is no flake, radius and deviation of the motion in pixels, and the share of the picture's own colour.
        rng: draws the flakes and the angle of their fall.
        scale: of lengths.
    """
    mean, deviation, zoom, cut, radius, sigma, own = strength
    height, width = image.shape[:2]
    zoom = max(zoom * scale, 1.0)
    cells = -int(-height // zoom), -int(-width // zoom)
    flakes = rng.standard_normal(cells, np.float32)
    flakes *= np.float32(deviation)
    flakes += np.float32(mean)
    flakes = cv2.resize(flakes, (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.threshold(flakes, cut, 0, cv2.THRESH_TOZERO, flakes)
    flakes = np.minimum(flakes, np.float32(1), out=flakes)
    angle = float(rng.uniform(*ANGLES))
    layer, _ = moved(flakes, radius * scale, sigma * scale, angle)
    layer = cv2.add(layer, cv2.rotate(layer, cv2.ROTATE_180))

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    white = cv2.max(image.astype(np.float32), cv2.merge([grey * 1.5 + 127.5] * 3))
    layer *= np.float32(255)
    mixed = cv2.addWeighted(image, own, white, 1 - own, 0, dtype=cv2.CV_32F)
    return Corrupted(rounded(cv2.add(mixed, cv2.merge([layer] * 3))), {"angle": round(angle, 3)})


def frost(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """A part of a drawn frozen window over the picture.

    Args:
        image: RGB `[H, W, 3]`.
        strength: weights of the picture and of the frost.
        rng: draws the window, its part, and how it is turned.
        scale: of lengths; a window that is too small for the picture is enlarged further.
    """
    height, width = image.shape[:2]
    number = int(rng.integers(len(windows.LOOKS)))
    scale = max(scale, height / windows.SIDE, width / windows.SIDE)
    rows, columns = (min(max(round(side / scale), 1), windows.SIDE) for side in (height, width))
    turned = int(rng.integers(8))
    high, wide = (columns, rows) if turned & 4 else (rows, columns)
    top, left = (int(rng.integers(windows.SIDE - side + 1)) for side in (high, wide))
    ice = windows.window(number)[top : top + high, left : left + wide]
    ice = cv2.transpose(ice) if turned & 4 else ice
    ice = cv2.flip(ice, FLIPS[turned & 3]) if turned & 3 else ice
    if ice.shape[:2] != (height, width):
        kind = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        ice = cv2.resize(ice, (width, height), interpolation=kind)
    own, cover = strength
    return Corrupted(np.asarray(cv2.addWeighted(image, own, ice, cover, 0)), {"window": number})


def fog(image: Pixels, strength: Strength, rng: np.random.Generator, scale: float) -> Corrupted:
    """A plasma fractal over the picture.

    Args:
        image: RGB `[H, W, 3]`.
        strength: thickness of the fog, and by how much its coarse parts are stronger than the fine ones.
        rng: draws the fractal.
        scale: of lengths: the fractal's own, so that a frame of 224 times the scale shows the same part of it.
    """
    thickness, decay = strength
    height, width = image.shape[:2]
    side = max(height, width) / scale
    cells = 2 ** int(np.ceil(np.log2(max(side, 2))))
    finer = int(np.floor(np.log2(scale)))
    finer = min(finer, int(np.log2(LARGEST / cells)))
    size = max(2, int(cells * 2.0**finer))
    field = plasma(size, decay, rng)
    across = scale / 2.0**finer
    rows, columns = (min(int(np.ceil(length / across)), size) for length in (height, width))
    mist = field[:rows, :columns]
    if (rows, columns) != (height, width):
        mist = cv2.resize(mist, (width, height), interpolation=cv2.INTER_LINEAR)
    brightest = float(image.max()) / 255
    if brightest == 0:
        return Corrupted(image.copy())
    share = brightest / (brightest + thickness)
    mist = mist * np.float32(255 * thickness * share)
    return Corrupted(rounded(cv2.addWeighted(image, share, cv2.merge([mist] * 3), 1, 0, dtype=cv2.CV_32F)))


def plasma(size: int, decay: float, rng: np.random.Generator) -> Singles:
    """A plasma fractal by the diamond-square algorithm, `[size, size]` in [0, 1], periodic.

    Each level adds uniform noise to means of four neighbours. As in the published code the amplitude enters twice, so
    it falls with the square of the decay. `size` is a power of two.
    """
    noise = rng.random(size * size - 1, np.float32)
    noise *= 2
    noise -= 1
    used = 0

    def means(total: Singles, amplitude: float) -> Singles:
        nonlocal used
        count = total.size
        total *= np.float32(0.25)
        total += noise[used : used + count].reshape(total.shape) * np.float32(amplitude)
        used += count
        return total

    field = np.zeros((1, 1), np.float32)
    amplitude = 1.0
    while (n := len(field)) < size:
        corners = cv2.copyMakeBorder(field, 0, 1, 0, 1, cv2.BORDER_WRAP)
        beside = corners[:n, :n] + corners[:n, 1:]  # a corner and the next in its row
        below = corners[:n, :n] + corners[1:, :n]
        centres = means(beside + corners[1:, :n] + corners[1:, 1:], amplitude)
        around = cv2.copyMakeBorder(centres, 1, 0, 1, 0, cv2.BORDER_WRAP)
        fine = np.empty((2 * n, 2 * n), np.float32)
        fine[::2, ::2] = field
        fine[1::2, 1::2] = centres
        fine[::2, 1::2] = means(beside + around[1:, 1:] + around[:n, 1:], amplitude)
        fine[1::2, ::2] = means(below + around[1:, 1:] + around[1:, :n], amplitude)
        field = fine
        amplitude /= decay**2
    low, high, _, _ = cv2.minMaxLoc(field)
    field -= np.float32(low)
    field /= np.float32(max(high - low, 1e-12))
    return field
