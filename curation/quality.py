"""Finds pictures that are too dark, too light, blurred, empty or oddly shaped, by cleanvision's definitions.

One check is our own: `out_of_focus`. cleanvision's blur looks at a copy of 64 px, in which a photograph blurred by a
few pixels is as sharp as any other.

Colours are counted on a grid of at most 16 384 pixels, fine detail on rows of as many, sharpness on a copy of 64 px.
The numbers are kept, so that other thresholds cost no second look at a picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.labels.classes import most_flagged
from curation.pictures.thumbnails import halved, luma
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.sample import Sample
from variorum.columns import vector
from variorum.images import Pixels

if TYPE_CHECKING:
    import pyarrow as pa

Check = Literal[
    "uniform", "dark", "light", "low_information", "blurry", "out_of_focus", "odd_aspect", "odd_size", "greyscale"
]
CHECKS: tuple[Check, ...] = tuple(check for check in get_args(Check) if check != "greyscale")

GRID = 16_384
"""Pixels that colours are counted on. A smaller picture is counted whole."""
ROWS = 16_384
"""Pixels whose fine detail is looked at, in whole rows at even distances."""
BLUR_SIDE = 64
"""Longer side of the copy on which sharpness is judged (cleanvision's MAX_RESOLUTION_FOR_BLURRY_DETECTION)."""
LEAST_SIDE = 24
"""Of the copies in which fine detail is looked for."""
WEIGHTS = (0.241, 0.691, 0.068)
"""Of the squared R, G and B in perceived brightness (Finley's HSP model, as cleanvision has it)."""


class Quality(CurationStep):
    """Measures exposure, information, sharpness and shape, and flags what lies beyond cleanvision's thresholds."""

    revision: ClassVar[int] = 2

    measured_by: ClassVar[frozenset[str]] = frozenset()
    scored_by: ClassVar[frozenset[str]] = frozenset(
        {"checks", "dark", "light", "low_information", "blurry", "blur_scale", "grey_std", "odd_aspect", "iqr_factor"}
        | {"uniform", "out_of_focus"}
    )

    checks: tuple[Check, ...] = CHECKS
    """What raises the flag; every check has a column of its own, named here or not. `greyscale` is left out by default:
    a grey photograph is no fault by itself."""
    dark: float = Field(default=0.32, ge=0, le=1)
    """A picture whose 99th percentile of brightness is below this is dark."""
    light: float = Field(default=0.05, ge=0, le=1)
    """A picture whose 5th percentile of brightness is above one minus this is light."""
    low_information: float = Field(default=0.3, ge=0, le=1)
    """Least entropy, in tenths of a bit."""
    blurry: float = Field(default=0.29, ge=0, le=1)
    """Least sharpness, as `sharpness` gives it."""
    blur_scale: float = Field(default=0.01, gt=0)
    """Turns the deviations of edges and of the histogram into scores, 1 - exp(-scale * deviation)."""
    grey_std: float = Field(default=0.18, ge=0, le=1)
    """A histogram's score up to this counts as none (cleanvision's `color_threshold`)."""
    out_of_focus: float = Field(default=0.12, ge=0)
    """Least `acutance`. None of 200 photographs had under 0.30; blurred by 2 px or more, 99 in 100 had under 0.117."""
    odd_aspect: float = Field(default=0.35, ge=0, le=1)
    """Least ratio of the short side to the long one."""
    iqr_factor: float = Field(default=3.0, ge=0)
    """A size this many interquartile ranges beyond a quartile is odd."""
    uniform: int = Field(default=2, ge=0, le=255)
    """A picture in which no channel spans more grey levels than this shows nothing."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """The numbers of `measures_of`, one row a picture."""
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            yield measures_of(sample.image)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """A column `<check>_excess` for every check, above 0 where it finds something.

        `score` is the largest of those that `checks` names, `flag` whether it is above 0, `issue` whose it is.
        """
        name = self.component_name()
        columns = {
            key: vector(table, f"{name}.{key}")
            for key in (
                "darkness",
                "lightness",
                "entropy",
                "blurriness",
                "histogram_std",
                "odd_aspect",
                "span",
                "acutance",
            )
        }
        size = np.sqrt(np.float64(vector(table, f"{name}.width")) * vector(table, f"{name}.height"))
        sharp = sharpness(columns["blurriness"], columns["histogram_std"], self.blur_scale, self.grey_std)
        found: dict[Check, NDArray[np.float64]] = {
            "uniform": np.where(columns["span"] <= self.uniform, 1.0, 0.0),
            "dark": shortfall(columns["darkness"], self.dark),
            "light": shortfall(1 - columns["lightness"], self.light),
            "low_information": shortfall(columns["entropy"], self.low_information),
            "blurry": shortfall(sharp, self.blurry),
            "out_of_focus": shortfall(columns["acutance"], self.out_of_focus),
            "odd_aspect": shortfall(columns["odd_aspect"], self.odd_aspect),
            "odd_size": fence_excess(size, self.iqr_factor),
            "greyscale": np.where(vector(table, f"{name}.greyscale"), 1.0, 0.0),
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

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """Flagged pictures by issue, and the classes that lose most by it."""
        flag = vector(table, f"{self.component_name()}.flag")
        issues = Counter(issue for issue in vector(table, f"{self.component_name()}.issue") if issue)
        return {
            "flagged": int(flag.sum()),
            "flagged_rate": round(float(flag.mean()), 4) if len(flag) else 0.0,
            "issues": dict(sorted(issues.items())),
            "most_flagged_classes": dict(most_flagged(table, flag, 5)),
        }


def measures_of(image: Pixels) -> dict[str, float | int | bool]:
    """What is measured on RGB pixels `[H, W, 3]`.

    `darkness` and `lightness` are the 99th and 5th percentile of perceived brightness in [0, 1]; `entropy` is in
    tenths of a bit, at most 1; `blurriness` is the deviation of the edges on the small copy (a sharp picture has a
    *high* one, the name is cleanvision's); `histogram_std` that of its 256 grey counts; `span` the grey levels that
    the widest channel covers; `acutance` what `acutance` gives; `odd_aspect` the short side by the long one.
    """
    import cv2

    height, width = image.shape[:2]
    grid = sampling_grid(image)
    sizes = halvings(luma(image))
    p5, p99 = brightness_percentiles(grid, (5.0, 99.0))
    counts = np.stack([cv2.calcHist([grid], [channel], None, [256], [0, 256]).ravel() for channel in range(3)])
    grey = is_grey(grid) and is_grey(image)
    there = [np.flatnonzero(row) for row in counts]
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
        "span": int(max(found[-1] - found[0] for found in there)),
        "greyscale": grey,
        "acutance": acutance(sizes),
    }


def halvings(grey: Pixels) -> list[Pixels]:
    """Grey levels `[H, W]`, and copies at half, a quarter and an eighth of the size, down to `LEAST_SIDE` pixels."""
    sizes = [grey]
    while len(sizes) < 4 and min(sizes[-1].shape) >= 2 * LEAST_SIDE:
        sizes.append(halved(sizes[-1]))
    return sizes


def acutance(sizes: Sequence[Pixels]) -> float:
    """How fine the detail is: mean squared Laplacian by mean squared slope, the least over the sizes of a picture.

    A picture with edges of one pixel has about 1, one blurred by a Gaussian of deviation s about 1/s² at the size where
    s is a few pixels; halving the size shows blur that is wide enough to leave only rounding and compression noise.
    A picture of one level has 0. NaN for a picture under 5 px.

    Args:
        sizes: what `halvings` gives.
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
    """The picture itself, or its pixels at even distances, at most `GRID`: values are picked, never averaged."""
    import cv2

    height, width = image.shape[:2]
    scale = (GRID / (height * width)) ** 0.5
    if scale >= 1:
        return image
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def brightness_percentiles(pixels: Pixels, percents: Sequence[float]) -> list[float]:
    """Percentiles in [0, 1] of sqrt(.241 R² + .691 G² + .068 B²) / 255, to 1/510, by counting."""
    import cv2

    brightness = cv2.sqrt(cv2.transform(np.square(pixels, dtype=np.float32), np.array([WEIGHTS], np.float32)))
    counts = cv2.calcHist([cv2.convertScaleAbs(brightness)], [0], None, [256], [0, 256]).ravel()
    below = np.cumsum(counts, dtype=np.int64)
    ranks = np.array(percents) / 100 * (below[-1] - 1)
    lower, upper = (np.searchsorted(below, turn(ranks), side="right") for turn in (np.floor, np.ceil))
    part = ranks - np.floor(ranks)
    return [float(value) for value in (lower * (1 - part) + upper * part) / 255]


def entropy(counts: NDArray[np.floating[Any]]) -> float:
    """Bits per value of a histogram of any shape; over the channels' counts side by side it is Pillow's `entropy`."""
    share = counts[counts > 0] / counts.sum(dtype=np.float64)
    return float(-(share * np.log2(share)).sum())


def is_grey(image: Pixels) -> bool:
    """Whether the three channels are equal throughout."""
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())


def edge_deviation(sizes: Sequence[Pixels]) -> tuple[float, float]:
    """Deviation of a 3 × 3 Laplacian on a copy of 64 px, and of the copy's 256 histogram counts.

    Args:
        sizes: what `halvings` gives.
    """
    import cv2
    from PIL import Image, ImageFilter

    small = thumbnail(sizes)
    edges = np.asarray(Image.fromarray(small).filter(ImageFilter.FIND_EDGES))
    counts = cv2.calcHist([small], [0], None, [256], [0, 256])
    return float(cv2.meanStdDev(edges)[1][0, 0]), float(counts.std(dtype=np.float64))


def thumbnail(sizes: Sequence[Pixels]) -> Pixels:
    """Grey levels bicubically shrunk to 64 px on the long side; a smaller picture keeps its size.

    It starts from the smallest of the sizes with 96 px or more, which lowers `edge_deviation` by 2 % (0 to 4 %).
    """
    from PIL import Image

    ratio = max(sizes[0].shape) / BLUR_SIDE
    if ratio <= 1:
        return sizes[0]
    height, width = (max(int(side // ratio), 1) for side in sizes[0].shape)
    start = min((grey for grey in sizes if max(grey.shape) >= 1.5 * BLUR_SIDE), key=len, default=sizes[0])
    return np.asarray(Image.fromarray(start).resize((width, height), Image.Resampling.BICUBIC))


def sharpness(
    blurriness: NDArray[np.float64], histogram_std: NDArray[np.float64], scale: float, grey_std: float
) -> NDArray[np.float64]:
    """Blur score of cleanvision `[N]` in [0, 1], low where blurred: edges, and flatness of the histogram, each scaled.

    A picture with few grey levels has a peaked histogram; its score is added, so that a sharp drawing on an empty
    page isn't taken for a blurred photograph.
    """
    peaked = 1 - np.exp(-scale * histogram_std)
    return np.asarray(np.minimum(1 - np.exp(-scale * blurriness) + np.where(peaked > grey_std, peaked, 0.0), 1.0))


def shortfall(values: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """How far values `[N]` fall short, as a share of the least allowed: above 0 where they do, 1 for a zero.

    -1 where there is nothing to measure (NaN): the acutance of a picture of a few pixels.
    """
    return np.nan_to_num((least - values) / least, nan=-1.0) if least > 0 else np.full(len(values), -1.0)


def fence_excess(size: NDArray[np.float64], iqr_factor: float) -> NDArray[np.float64]:
    """Where sizes `[N]` lie beyond Tukey's fences about the quartiles: above 0 (to 1) outside, at most 0 inside.

    With all of the middle half equal the fences meet, and any other size is odd, as cleanvision has it.
    """
    if not len(size):
        return np.zeros(0)
    q1, q3 = np.percentile(size, [25, 75])
    low, high = q1 - iqr_factor * (q3 - q1), q3 + iqr_factor * (q3 - q1)
    distance = np.abs(size - (low + high) / 2)
    return np.asarray(np.clip((distance - (high - low) / 2) / np.maximum(distance, 1e-12), -1.0, 1.0))
