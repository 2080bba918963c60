"""Finds pictures that are too dark, too light, blurred, empty or oddly shaped, by cleanvision's definitions.

`out_of_focus` is this project's own check: cleanvision judges blur on a copy of 64 px, which hides a blur of a few
pixels.

Colours are counted on at most 16 384 pixels, fine detail on as many in whole rows, sharpness on a copy of 64 px. The
measurements are kept, so changing a threshold reads no picture again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from variorum.curation.labels.classes import most_flagged
from variorum.curation.pictures.thumbnails import halved, luma
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Reals
    from variorum.schemas.table import Table

Check = Literal[
    "uniform", "dark", "light", "low_information", "blurry", "out_of_focus", "odd_aspect", "odd_size", "greyscale"
]
CHECKS: tuple[Check, ...] = tuple(check for check in get_args(Check) if check != "greyscale")

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


class Quality(Detector):
    """Measures exposure, information, sharpness and shape, and flags what exceeds cleanvision's thresholds."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="height width odd_aspect darkness lightness entropy blurriness histogram_std span acutance score "
        + " ".join(f"{check}_excess" for check in get_args(Check)),
        texts="issue",
        flags="flag greyscale",
    )
    revision: ClassVar[int] = 2
    late: ClassVar[frozenset[str]] = frozenset(
        {"checks", "dark", "light", "low_information", "blurry", "blur_scale", "grey_std", "out_of_focus"}
        | {"odd_aspect", "iqr_factor", "uniform"}
    )

    checks: tuple[Check, ...] = CHECKS
    """Checks that raise the flag. Every check has its own column in any case. `greyscale` is off by default, because a
    grey photograph is not a fault."""
    dark: float = Field(default=0.32, ge=0, le=1)
    """A picture is dark if its 99th percentile of brightness is below this."""
    light: float = Field(default=0.05, ge=0, le=1)
    """A picture is light if its 5th percentile of brightness is above one minus this."""
    low_information: float = Field(default=0.3, ge=0, le=1)
    """Least entropy, in tenths of a bit."""
    blurry: float = Field(default=0.29, ge=0, le=1)
    """Least sharpness, as `sharpness` computes it."""
    blur_scale: float = Field(default=0.01, gt=0)
    """Turns the deviations of edges and histogram into scores 1 - exp(-scale * deviation)."""
    grey_std: float = Field(default=0.18, ge=0, le=1)
    """A histogram score up to this counts as 0 (cleanvision's `color_threshold`)."""
    out_of_focus: float = Field(default=0.12, ge=0)
    """Least `acutance`. None of 200 photographs had under 0.30; blurred by 2 px or more, 99 in 100 had under 0.117."""
    odd_aspect: float = Field(default=0.35, ge=0, le=1)
    """Least ratio of the short side to the long one."""
    iqr_factor: float = Field(default=3.0, ge=0)
    """A size is odd if it lies more than this many interquartile ranges beyond a quartile."""
    uniform: int = Field(default=2, ge=0, le=255)
    """A picture is uniform if no channel spans more grey levels than this."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """The measurements of `measures_of`."""
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            yield measures_of(sample.image)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """A column `<check>_excess` for every check, above 0 where it finds something.

        `score` is the largest excess of the checks in `checks`, `flag` whether it is above 0, `issue` the check.
        """
        size = np.sqrt(np.float64(table["width"]) * table["height"])
        sharp = sharpness(table["blurriness"], table["histogram_std"], self.blur_scale, self.grey_std)
        found: dict[Check, Floats] = {
            "uniform": np.where(table["span"] <= self.uniform, 1.0, 0.0),
            "dark": shortfall(table["darkness"], self.dark),
            "light": shortfall(1 - table["lightness"], self.light),
            "low_information": shortfall(table["entropy"], self.low_information),
            "blurry": shortfall(sharp, self.blurry),
            "out_of_focus": shortfall(table["acutance"], self.out_of_focus),
            "odd_aspect": shortfall(table["odd_aspect"], self.odd_aspect),
            "odd_size": fence_excess(size, self.iqr_factor),
            "greyscale": np.where(table["greyscale"], 1.0, 0.0),
        }
        excess = np.stack([found[check] for check in self.checks]) if self.checks else np.zeros((1, len(size)))
        worst = np.argmax(excess, axis=0) if len(size) else np.zeros(0, np.int64)
        score = np.max(excess, axis=0)
        issue = [self.checks[k] if value > 0 else "" for k, value in zip(worst, score, strict=True)]
        return {
            **{f"{check}_excess": values for check, values in found.items()},
            "score": score,
            "flag": score > 0,
            "issue": issue,
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Flagged pictures by issue, and the classes with the largest flagged share."""
        flag = table["flag"]
        issues = Counter(issue for issue in table["issue"] if issue)
        return {
            "flagged": int(flag.sum()),
            "flagged_rate": round(float(flag.mean()), 4) if len(flag) else 0.0,
            "issues": dict(sorted(issues.items())),
            "most_flagged_classes": dict(most_flagged(table, flag, 5)),
        }


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
    """Whether the three channels are equal in every pixel."""
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


def sharpness(blurriness: Floats, histogram_std: Floats, scale: float, grey_std: float) -> Floats:
    """The blur score of cleanvision, `[N]` in [0, 1], low where blurred: scaled edges plus the histogram's peakedness.

    A picture with few grey levels has a peaked histogram. Its score is added, so a sharp drawing on an empty page
    doesn't count as a blurred photograph.
    """
    peaked = 1 - np.exp(-scale * histogram_std)
    return np.asarray(np.minimum(1 - np.exp(-scale * blurriness) + np.where(peaked > grey_std, peaked, 0.0), 1.0))


def shortfall(values: Floats, least: float) -> Floats:
    """How far values `[N]` lie below the threshold, as a share of it: above 0 below it, 1 for a value of 0.

    -1 for NaN, such as the acutance of a picture of a few pixels.
    """
    return np.nan_to_num((least - values) / least, nan=-1.0) if least > 0 else np.full(len(values), -1.0)


def fence_excess(size: Floats, iqr_factor: float) -> Floats:
    """How far sizes `[N]` lie beyond Tukey's fences around the quartiles: in (0, 1] outside, at most 0 inside.

    If the two quartiles are equal the fences meet, and any other size is odd, as in cleanvision.
    """
    if not len(size):
        return np.zeros(0)
    q1, q3 = np.percentile(size, [25, 75])
    low, high = q1 - iqr_factor * (q3 - q1), q3 + iqr_factor * (q3 - q1)
    distance = np.abs(size - (low + high) / 2)
    return np.asarray(np.clip((distance - (high - low) / 2) / np.maximum(distance, 1e-12), -1.0, 1.0))
