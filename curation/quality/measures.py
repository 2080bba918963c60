"""Measures exposure, information, sharpness and shape of one picture, as cleanvision does, and its fineness of detail.

Colours are counted on at most 16 384 pixels, fine detail on as many in whole rows, sharpness on a copy of 64 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.pictures.thumbnails import halved, luma

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Reals

GRID = 16_384
"""Pixels on which colours are counted; a smaller picture is counted whole."""
ROWS = 16_384
"""Pixels on which fine detail is measured, in evenly spaced whole rows."""
BLUR_SIDE = 64
"""Longer side of the copy on which sharpness is judged (cleanvision's MAX_RESOLUTION_FOR_BLURRY_DETECTION)."""
LEAST_SIDE = 24
"""Least shorter side of the copies on which fine detail is measured."""
WEIGHTS = (0.241, 0.691, 0.068)
"""Weights of the squared R, G and B in perceived brightness (Finley's HSP model, as in cleanvision)."""


def measures_of(image: Pixels) -> dict[str, float | int | bool]:
    """The measurements of RGB pixels `[H, W, 3]`.

    `darkness` and `lightness` are the 99th and 5th percentile of perceived brightness in [0, 1]; `entropy` is in
    tenths of a bit, at most 1; `blurriness` is the deviation of the edges on the small copy (*high* when sharp; the
    name is cleanvision's); `histogram_std` that of its 256 grey counts; `span` the grey levels of the widest channel;
    `acutance` as in the function of that name; `odd_aspect` the short side divided by the long one.
    """
    import cv2

    height, width = image.shape[:2]
    grid = sampling_grid(image)
    sizes = halvings(luma(image))
    p5, p99 = brightness_percentiles(grid, (5.0, 99.0))
    counts = np.stack([cv2.calcHist([grid], [channel], None, [256], [0, 256]).ravel() for channel in range(3)])
    grey = is_grey(grid) and is_grey(image)
    levels = [np.flatnonzero(row) for row in counts]
    edges, histogram_std = edge_deviation(sizes)
    return {
        "height": height,
        "width": width,
        "odd_aspect": min(width / height, height / width),
        "darkness": p99,
        "lightness": p5,
        "entropy": min(0.1 * entropy(counts[:1] if grey else counts), 1.0),
        "blurriness": edges,
        "histogram_std": histogram_std,
        "span": int(max(found[-1] - found[0] for found in levels)),
        "greyscale": grey,
        "acutance": acutance(sizes),
    }


def halvings(grey: Pixels) -> list[Pixels]:
    """Grey levels `[H, W]` and copies at 1/2, 1/4 and 1/8 of the size, none with a side below `LEAST_SIDE` pixels."""
    sizes = [grey]
    while len(sizes) < 4 and min(sizes[-1].shape) >= 2 * LEAST_SIDE:
        sizes.append(halved(sizes[-1]))
    return sizes


def acutance(sizes: Sequence[Pixels]) -> float:
    """Fineness of detail: mean squared Laplacian divided by mean squared slope, the least over a picture's sizes.

    It is about 1 for edges one pixel wide and about 1/s² after a Gaussian blur of deviation s, at the size where s is a
    few pixels. Wide blur leaves only rounding and compression noise at full size and shows at the halved ones.
    0 for a picture of one level, NaN for a side under 5 px.

    Args:
        sizes: from `halvings`.
    """
    return min(_fineness(grey) for grey in sizes)


def _fineness(grey: Pixels) -> float:
    import cv2

    height, width = grey.shape
    if min(height, width) < 5:
        return float("nan")
    step = -(-height * width // ROWS)
    above, row, below = (grey[start : height - 2 + start : step].astype(np.int16) for start in range(3))
    left, right, centre, up, down = row[:, :-2], row[:, 2:], row[:, 1:-1], above[:, 1:-1], below[:, 1:-1]
    curve = cv2.norm(left + right + up + down - 4 * centre)
    across, along = cv2.norm(right - left), cv2.norm(down - up)
    slope = across * across + along * along
    return curve * curve / slope if slope else 0.0


def sampling_grid(image: Pixels) -> Pixels:
    """At most `GRID` evenly spaced pixels, picked and not averaged; a smaller picture is returned itself."""
    import cv2

    height, width = image.shape[:2]
    scale = (GRID / (height * width)) ** 0.5
    if scale >= 1:
        return image
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def brightness_percentiles(pixels: Pixels, percents: Sequence[float]) -> list[float]:
    """Percentiles of sqrt(.241 R² + .691 G² + .068 B²) / 255, in [0, 1], counted to within 1/510."""
    import cv2

    brightness = cv2.sqrt(cv2.transform(np.square(pixels, dtype=np.float32), np.array([WEIGHTS], np.float32)))
    counts = cv2.calcHist([cv2.convertScaleAbs(brightness)], [0], None, [256], [0, 256]).ravel()
    below = np.cumsum(counts, dtype=np.int64)
    ranks = np.array(percents) / 100 * (below[-1] - 1)
    lower, upper = (np.searchsorted(below, turn(ranks), side="right") for turn in (np.floor, np.ceil))
    part = ranks - np.floor(ranks)
    return [float(value) for value in (lower * (1 - part) + upper * part) / 255]


def entropy(counts: Reals) -> float:
    """Bits per value of a histogram of any shape; for the counts of all channels together, as Pillow's `entropy`."""
    share = counts[counts > 0] / counts.sum(dtype=np.float64)
    return float(-(share * np.log2(share)).sum())


def is_grey(image: Pixels) -> bool:
    """Return whether the three channels are equal in every pixel."""
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())


def edge_deviation(sizes: Sequence[Pixels]) -> tuple[float, float]:
    """Standard deviation of a 3 × 3 Laplacian on a copy of 64 px, and of that copy's 256 histogram counts.

    Args:
        sizes: from `halvings`.
    """
    import cv2
    from PIL import Image, ImageFilter

    small = thumbnail(sizes)
    edges = np.asarray(Image.fromarray(small).filter(ImageFilter.FIND_EDGES))
    counts = cv2.calcHist([small], [0], None, [256], [0, 256])
    return float(cv2.meanStdDev(edges)[1][0, 0]), float(counts.std(dtype=np.float64))


def thumbnail(sizes: Sequence[Pixels]) -> Pixels:
    """Grey levels reduced bicubically to 64 px on the long side; a smaller picture keeps its size.

    The reduction starts from the smallest of the sizes with 96 px or more, which lowers `edge_deviation` by 2 % (0 to
    4 %).
    """
    from PIL import Image

    ratio = max(sizes[0].shape) / BLUR_SIDE
    if ratio <= 1:
        return sizes[0]
    height, width = (max(int(side // ratio), 1) for side in sizes[0].shape)
    start = min((grey for grey in sizes if max(grey.shape) >= 1.5 * BLUR_SIDE), key=len, default=sizes[0])
    return np.asarray(Image.fromarray(start).resize((width, height), Image.Resampling.BICUBIC))
