"""Measures of a background's complexity, and changes of it that keep brightness and contrast.

ImageNet-E steers mean |FFT2| of the whole frame, which grows with brightness, contrast and noise and includes the
object. `masked_hf` measures the background alone and divides contrast out; `retextured` changes only that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Pixels, Singles

HIGH = 0.1
"""Frequencies from this on, in cycles per pixel, count as high."""
DENSE = 0.25
"""Complexity of gravel, grass or bricks: above this, amplifying detail is invisible."""


def luma(picture: Pixels) -> Singles:
    """Luma `[H, W]`, float32 in [0, 1]."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) / 255, dtype=np.float32)


def adm_compat(picture: Pixels) -> float:
    """ImageNet-E's complexity: mean |FFT2(x)| over channels and all frequencies, x in [0, 1]."""
    spectrum = np.fft.rfft2(picture.astype(np.float32) / 255, axes=(0, 1))
    width = picture.shape[1]
    twice = np.full(spectrum.shape[1], 2.0)  # rfft2 keeps one of each pair of conjugate columns
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    return float((np.abs(spectrum) * twice[None, :, None]).sum() / picture.size)


def masked_hf(picture: Pixels, background: Bools) -> tuple[float, float]:
    """Share of the background's spectral energy at high frequencies, and its RMS contrast.

    `C = sum over |f| >= 0.1 of |F(x W)|^2 / sum over f != 0 of |F(x W)|^2`, where x is luma minus its background mean,
    and W a Hann window over the frame times a soft weight that is 0 on the object. So the object, the frame's edge and
    the mask's outline add no energy.

    Args:
        picture: `[H, W, 3]` uint8.
        background: `[H, W]`, true where there is no object.

    Returns:
        C in [0, 1], and the standard deviation of luma on the background; both 0 for a flat or empty background.
    """
    grey = luma(picture)
    if not background.any():
        return 0.0, 0.0
    values = grey[background]
    contrast = float(values.std())
    weight, high = weighting(background)
    energy = np.abs(np.fft.rfft2((grey - values.mean()) * weight)) ** 2
    energy[0, 0] = 0
    energy[:, 1 : (grey.shape[1] + 1) // 2] *= 2
    total = float(energy.sum())
    return (float(energy[high].sum()) / total if total > 1e-9 else 0.0), contrast


def weighting(background: Bools) -> tuple[Singles, Bools]:
    """The window W `[H, W]` of `masked_hf`, and which frequencies of a real FFT are high, `[H, W // 2 + 1]`."""
    near = cv2.erode(background.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(np.float32)
    taper, high = _window(*background.shape)
    return np.asarray(cv2.GaussianBlur(near, (15, 15), 2.5) * taper, np.float32), high


def retextured(plate: Pixels, gains: tuple[float, ...]) -> Pixels:
    """The plate with its detail scaled band by band; mean colour and RMS contrast are kept.

    Gains below 1 act like a lens out of focus. Gains above 1 amplify existing texture: bands are separated by an
    edge-preserving filter, so that edges don't ring and noise doesn't turn into speckles.

    Args:
        plate: `[H, W, 3]` uint8.
        gains: one factor per band, finest first; each band is about twice as coarse as the one before.
    """
    start = np.asarray(plate / 255, dtype=np.float32)
    rest, out = start, np.zeros_like(start)
    for level, gain in enumerate(gains):
        if gain < 1:
            base = cv2.GaussianBlur(rest, (0, 0), 1.0 * 2**level)
        else:
            base = cv2.ximgproc.guidedFilter(rest, rest, 2 * 2**level, 0.02**2 * 4**level)
        out += gain * (rest - base)
        rest = base
    out += rest
    return _matched(out, start)


def refined(plate: Pixels) -> Pixels:
    """The plate's texture at half its scale, as from twice as far away; mean colour and RMS contrast are kept.

    The plate is shrunk to half and extended to its size by mirroring, which suits plates above DENSE.
    """
    height, width = plate.shape[:2]
    half = cv2.resize(plate, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    down, across = height - half.shape[0], width - half.shape[1]
    tiled = cv2.copyMakeBorder(half, 0, down, 0, across, cv2.BORDER_REFLECT)
    return _matched(np.asarray(tiled / 255, dtype=np.float32), np.asarray(plate / 255, dtype=np.float32))


def refined_maps(height: int, width: int) -> list[Floats]:
    """Where `refined` puts what a plate of this size shows: four maps `[2, 3]` of positions, the first not mirrored."""
    half_width, half_height = (width + 1) // 2, (height + 1) // 2
    x, y = half_width / width, half_height / height
    across, down = ((x, 0.0), (-x, 2.0 * half_width)), ((y, 0.0), (-y, 2.0 * half_height))
    return [np.array([[a, 0, left], [0, b, top]]) for b, top in down for a, left in across]


def _matched(changed: Singles, like: Singles) -> Pixels:
    """`changed` with the mean colour and the luma contrast of `like`; in several rounds because of clipping."""
    wanted = luma_std(like)
    mean = like.mean(axis=(0, 1))
    out = changed
    for _ in range(4):
        centred = out - out.mean(axis=(0, 1))
        out = np.clip(mean + centred * (wanted / max(luma_std(out), 1e-6)), 0, 1)
    return np.asarray(np.rint(255 * out), dtype=np.uint8)


def luma_std(picture: Singles) -> float:
    """RMS contrast of an RGB picture `[H, W, 3]` in floats."""
    return float(cv2.cvtColor(np.ascontiguousarray(picture, np.float32), cv2.COLOR_RGB2GRAY).std())


@lru_cache(maxsize=8)
def _window(height: int, width: int) -> tuple[Singles, Bools]:
    taper = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    return taper, radius >= HIGH
