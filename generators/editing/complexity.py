"""How complex a background is, and how to make a plate more or less so without touching its brightness or contrast.

ImageNet-E steers mean |FFT2| of the whole frame, which rewards brightness, contrast and noise and counts the object
too. `masked_hf` measures the background alone and divides contrast out; `retextured` moves it and nothing else.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

HIGH = 0.1
"""Cycles per pixel from which on a frequency counts as high."""
DENSE = 0.25
"""Complexity of gravel, grass or bricks, whose detail no gain can raise so that one would see it."""


def luma(picture: Pixels) -> Floats:
    """`[H, W]` float32 in [0, 1]."""
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


def masked_hf(picture: Pixels, background: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of the background's spectral energy at high frequencies, and its RMS contrast.

    `C = sum over |f| >= 0.1 of |F(x W)|^2 / sum over f != 0 of |F(x W)|^2`, where x is luma less its background mean,
    and W a Hann window over the frame times a soft weight that is 0 on the object: neither the object, nor the
    frame's edge, nor the outline of the mask adds energy of its own.

    Args:
        picture: `[H, W, 3]` uint8.
        background: `[H, W]`, true where there is no object.

    Returns:
        C in [0, 1] and the standard deviation of luma on the background; both 0 for a flat or absent background.
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


def weighting(background: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """`masked_hf`'s window W `[H, W]`, and which frequencies of a real FFT are high, `[H, W // 2 + 1]`."""
    near = cv2.erode(background.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(np.float32)
    taper, high = _window(*background.shape)
    return np.asarray(cv2.GaussianBlur(near, (15, 15), 2.5) * taper, np.float32), high


def retextured(plate: Pixels, gains: tuple[float, ...]) -> Pixels:
    """The plate with its detail scaled band by band; mean colour and RMS contrast stay as they are.

    Gains below 1 act like a lens out of focus. Gains above 1 bring out the texture that is there: bands are split by
    an edge-keeping filter, so that edges don't ring, and each band is bounded so that noise doesn't turn into salt.

    Args:
        plate: `[H, W, 3]` uint8.
        gains: one factor a band, finest first; each band is about twice as coarse as the one before.
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
    """The plate's own texture at half its scale, as from twice as far away; mean colour and RMS contrast stay.

    The plate is shrunk to half and mirrored out to its size again, which suits plates that are DENSE.
    """
    height, width = plate.shape[:2]
    half = cv2.resize(plate, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    down, across = height - half.shape[0], width - half.shape[1]
    tiled = cv2.copyMakeBorder(half, 0, down, 0, across, cv2.BORDER_REFLECT)
    return _matched(np.asarray(tiled / 255, dtype=np.float32), np.asarray(plate / 255, dtype=np.float32))


def _matched(changed: Floats, like: Floats) -> Pixels:
    """Mean colour and luma's standard deviation of `like` for `changed`; in rounds, as clipping undoes some."""
    wanted = luma_std(like)
    mean = like.mean(axis=(0, 1))
    out = changed
    for _ in range(4):
        centred = out - out.mean(axis=(0, 1))
        out = np.clip(mean + centred * (wanted / max(luma_std(out), 1e-6)), 0, 1)
    return np.asarray(np.rint(255 * out), dtype=np.uint8)


def luma_std(picture: Floats) -> float:
    """RMS contrast of a float RGB picture."""
    return float(cv2.cvtColor(np.ascontiguousarray(picture, np.float32), cv2.COLOR_RGB2GRAY).std())


@lru_cache(maxsize=8)
def _window(height: int, width: int) -> tuple[Floats, NDArray[np.bool_]]:
    taper = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    return taper, radius >= HIGH
