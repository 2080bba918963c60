"""Spread spectrum: a keyed pattern of fine chips over a whole picture, found by correlation, also after a crop.

Chips are ±1 on 2 x 2 pixels, softened, and stronger where a picture is busy. The detector flattens the picture and
correlates chip by chip. Correlating single pixels would give up to three times as many false alarms as stated: a
picture's neighbouring pixels aren't independent, but the chips' signs are.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from variorum.generators.watermark.watermarking.chance import normal_tail
from variorum.schemas.watermark import random_of

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.schemas.watermark import Bools

CHIP = 2
"""Side of a chip in pixels."""
ACTIVITY = (2.0, 20.0)
"""Least and largest local deviation in levels that the pattern's strength follows."""
LEAST_SCALE = 0.8
"""Of the side: the smallest crop that is looked for."""
FINENESS = 2.56
"""Pixels of the shorter side between the sizes of crops that are tried: 1 % at 256 pixels."""
FLAT = 1e-3
"""Length of the chips' values below which there is nothing to correlate."""
FALSE_ALARMS = 1e-3
"""Share of unmarked pictures that the search for crops may take for marked ones."""


class Alignment(NamedTuple):
    """Where a picture lies in the one that was marked.

    Attributes:
        size: height and width in pixels of the marked picture that it covers.
        top: its first row there.
        left: its first column there.
        score: T of the correlation there.
        tried: number of places and sizes that were compared.
    """

    size: tuple[int, int]
    top: int
    left: int
    score: float
    tried: int

    @property
    def found(self) -> bool:
        """Return whether T is beyond what the best of so many tries has by chance, in all but one of 1,000 pictures."""
        return self.score >= accepted(self.tried)


def accepted(tried: int) -> float:
    """The T that the best of this many tries exceeds by chance in one of 1,000 pictures at most (Bonferroni)."""
    return -NormalDist().inv_cdf(FALSE_ALARMS / tried)


def chips_of(key: bytes, purpose: str, shape: tuple[int, ...]) -> Singles:
    """The chips of a picture of this shape, ±1."""
    high, wide = shape[0] // CHIP, shape[1] // CHIP
    drawn = np.frombuffer(random_of(key, purpose).bytes((high * wide + 7) // 8), np.uint8)
    return np.unpackbits(drawn)[: high * wide].reshape(high, wide).astype(np.float32) * 2 - 1


def add_chips(image: Pixels, chips: Singles, decibels: float) -> Pixels:
    """The picture with the chips in its luminance, at this PSNR but for what black and white take."""
    high, wide = chips.shape[0] * CHIP, chips.shape[1] * CHIP
    busy = np.clip(deviation(image[:high, :wide]), *ACTIVITY)
    pattern = _soft(cv2.resize(chips, (wide, high), interpolation=cv2.INTER_NEAREST)) * busy
    error = 255**2 * 10 ** (-decibels / 10) * image[..., 0].size - high * wide / 12  # rounding adds 1/12 a pixel
    strength = np.sqrt(error / float(np.sum(pattern.astype(np.float64) ** 2)))
    levels = np.rint(pattern * np.float32(strength)).astype(np.int16)
    out = image.copy()
    out[:high, :wide] = cv2.add(image[:high, :wide], cv2.merge([levels] * 3), dtype=cv2.CV_8U)
    return out


def correlation(image: Pixels, chips: Singles) -> float:
    """T: over random chips its mean is 0 and its variance 1, whatever the picture; 0 for a flat one.

    P(T >= t) is at most exp(-t²/2), as for every weighted sum of random signs (Hoeffding), and close to that of a
    normal number where many chips count.
    """
    return float(_correlated(_per_chip(_flattened(image), 0, 0), chips)[0, 0])


def align(image: Pixels, chips: Singles) -> Alignment:
    """The best place for a picture that may be a crop of a marked one, resized to the old size again.

    Crops from 80 to 100 % of both sides are tried, at every pixel.
    """
    height, width = image.shape[:2]
    steps = round((1 - LEAST_SCALE) * min(height, width) / FINENESS)
    best, tried = Alignment((height, width), 0, 0, correlation(image, chips), 1), 1
    for step in range(1, steps + 1):
        share = 1 - step * FINENESS / min(height, width)
        size = round(height * share), round(width * share)
        flat = _flattened(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA))
        for up in range(CHIP):
            for across in range(CHIP):
                scores = _correlated(_per_chip(flat, up, across), chips)
                tried += scores.size
                row, column = np.unravel_index(scores.argmax(), scores.shape)
                if (score := float(scores[row, column])) > best.score:
                    best = Alignment(size, int(row) * CHIP - up, int(column) * CHIP - across, score, 1)
    return best._replace(tried=tried)


def placed(image: Pixels, place: Alignment) -> tuple[Pixels, Bools]:
    """A crop at its place in the marked picture, continued by its border, and where it really lies, `[H, W]`."""
    height, width = image.shape[:2]
    small = cv2.resize(image, place.size[::-1], interpolation=cv2.INTER_AREA)
    top, left = max(0, min(place.top, height - place.size[0])), max(0, min(place.left, width - place.size[1]))
    below, beyond = height - place.size[0] - top, width - place.size[1] - left
    whole = cv2.copyMakeBorder(small, top, below, left, beyond, cv2.BORDER_REPLICATE)
    visible = np.zeros((height, width), bool)
    visible[top : top + place.size[0], left : left + place.size[1]] = True
    return whole, visible


def evidence(aligned: float, best: Alignment | None = None) -> tuple[float, float]:
    """A score on the scale of T, and how often an unmarked picture has as large a one.

    Args:
        aligned: T without a search.
        best: what a search found. Both together count as two tests, and its T is lowered by what this many tries gain.
    """
    alone = normal_tail(aligned)
    if best is None:
        return aligned, alone
    gain = accepted(best.tried) - accepted(1)
    score = max(aligned, best.score - gain) if best.found else aligned
    return score, min(1.0, 2 * min(alone, best.tried * normal_tail(best.score)))


def _light(image: Pixels) -> Singles:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _soft(values: Singles) -> Singles:
    """[1 2 1] / 4 in both directions."""
    return np.asarray(cv2.GaussianBlur(values, (3, 3), 0), np.float32)


def deviation(image: Pixels) -> Singles:
    """The deviation of luminance in the 7 x 7 pixels around each, `[H, W]`."""
    light = _light(image)
    mean = np.asarray(cv2.blur(light, (7, 7)))
    variance = np.asarray(cv2.blur(light * light, (7, 7)) - mean * mean)
    return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float32)


def _flattened(image: Pixels) -> Singles:
    """Luminance without what is smooth, at one strength everywhere."""
    light = _light(image)
    rest = np.asarray(light - cv2.GaussianBlur(light, (0, 0), 2))
    rest = rest / (np.sqrt(np.maximum(cv2.blur(rest * rest, (9, 9)), 0)) + 1)
    return _soft(rest - cv2.GaussianBlur(rest, (0, 0), 2))


def _per_chip(flat: Singles, up: int, across: int) -> Singles:
    """Sums over chips, the first of which begins at this pixel."""
    high, wide = (flat.shape[0] - up) // CHIP, (flat.shape[1] - across) // CHIP
    part = flat[up : up + high * CHIP, across : across + wide * CHIP]
    rows = part[0::2] + part[1::2]
    return np.asarray(rows[:, 0::2] + rows[:, 1::2], np.float32)


def _correlated(values: Singles, chips: Singles) -> Singles:
    """T at every place of the values within the chips."""
    length = float(np.sqrt(np.sum(values.astype(np.float64) ** 2)))
    found = np.asarray(cv2.matchTemplate(chips, values, cv2.TM_CCORR), np.float32)
    return found / np.float32(length) if length > FLAT else np.zeros_like(found)
