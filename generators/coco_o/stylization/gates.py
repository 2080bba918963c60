"""The checks that a redrawn photograph must pass. No classifier is asked: the pictures are there to make it fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from variorum.annotations import box_iou, box_of
from variorum.generators.coco_o.stylization.domains import Domain
from variorum.kit.gates import gates as editing
from variorum.kit.gates.gates import BANDS, Masks, alone_gates, at_least, at_most, gate
from variorum.schemas.annotations import Box
from variorum.schemas.sample import Gate

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels

LEAST_SIDE = 16
"""Pixels of a box's side at the working size; nothing can be said of a smaller one."""
LEAST_WINDOW = 64
"""Units of the window in which edges are compared. A smaller box is looked at with what is around it: in windows of 32
units, a third of the boxes of any other picture would pass."""
SCALE = 16
"""Steps per grey level, as Canny takes whole numbers."""
BLUR = 2.0
"""Sigma in units before edges are looked for, so that a style's texture isn't taken for the object's edges."""
STRONGEST = 0.12
"""Share of a box's pixels whose gradient may start an edge, whatever the contrast."""
WEAKER = 0.45
"""Gradient at which an edge goes on, as a share of that at which it starts."""
FLAT, BLANK = 1.0, 0.1
"""Gradient in grey levels per pixel at a short side of 320 below which nothing in a photograph's box is an edge worth
finding, and below which what was made of it has none: a style may lower the contrast a lot."""
REACH = 1.0
"""Units that an edge may be away and still count as found. With more, edges of any other picture would count too."""


class Limits(BaseModel):
    """Thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_legible: float = Field(default=0.3, ge=0, le=1, description="F1 of the edges inside the least legible box")
    least_area: float = Field(default=0.02, gt=0, le=1, description="of an object that stands alone, of the picture")
    most_area: float = Field(default=0.8, gt=0, le=1, description="of the object, of the picture")
    most_border: float = Field(default=0.02, ge=0, le=1, description="share of its outline on the picture's border")
    least_main_part: float = Field(default=0.9, ge=0, le=1, description="share of its mask in one piece")
    least_box_iou: float = Field(default=0.5, ge=0, le=1, description="of a segmenter's mask and the box that it fits")
    masks: Masks = Field(default="default", description="how sure a segmenter must be: `strict`, `default`, `many`")
    least_drawn: float = Field(default=0.85, ge=0, le=1, description="IoU of the box of what stands alone and its own")
    most_covered: float = Field(default=0.02, ge=0, le=1, description="share of its outline along objects before it")


# ── an object that stands alone ──────────────────────────────────────────────────────────────────────────────────────


ISLAND = 0.02
"""Least area of a part of the subject, as a share of its largest part; masks of models have specks."""
BESIDE, CROSSING = 1.0, 6.0
"""Units that outlines of two objects may be apart where they meet, and around a place where a third thing is beside
them. There the one in front has the larger share, as its outline goes on and that of the other one ends."""


def without_islands(mask: Pixels) -> Pixels:
    """A mask `[H, W]`, 0 to 255, without parts of less than `ISLAND` of its largest one."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    kept = (areas >= ISLAND * areas[1:].max(initial=0)).astype(np.uint8)
    kept[0] = 0
    reach = 2 * max(1, round(1.5 * min(mask.shape) / 320)) + 1
    return np.asarray(mask * cv2.dilate(kept[labels], np.ones((reach, reach), np.uint8)))


def subject_gates(
    mask: Pixels, others: Sequence[Pixels], box: Box | None, doubt: float, limits: Limits
) -> dict[str, Gate]:
    """Return whether an object can stand alone: whether it is large enough, whole and in one piece.

    The gates are `mask_area`, `border_touch`, `mask_components`, `covered`, for a box `drawn`, and for a segmenter's
    mask `mask_band`.

    Args:
        mask: what would be drawn, `[H, W]`, 0 to 255.
        others: masks of the picture's other objects.
        box: of the object, if the mask isn't its own but was found for it.
        doubt: width of the segmenter's doubt, as `band` measures it; NaN for a given mask.
        limits: thresholds.
    """
    found = alone_gates(
        mask,
        least_area=limits.least_area,
        most_area=limits.most_area,
        most_border=limits.most_border,
        least_main_part=limits.least_main_part,
    )
    around = box_of(mask > 127)
    if around is None:
        return found
    found["covered"] = at_most(covered(mask, others), limits.most_covered)
    if box is not None:
        found["drawn"] = at_least(box_iou(box, around), limits.least_drawn)
    return found if np.isnan(doubt) else {**found, "mask_band": at_most(doubt, BANDS[limits.masks])}


def covered(mask: Pixels, others: Sequence[Pixels]) -> float:
    """Share of an object's outline along those of the other objects that seem to be in front of it."""
    unit = min(mask.shape) / 320
    near = np.ones((2 * max(1, round(BESIDE * unit)) + 1,) * 2, np.uint8)
    around = (2 * round(CROSSING * unit) + 1,) * 2
    inside, *beside = (np.asarray(one > 127, np.uint8) for one in (mask, *others))
    outline: Bools = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) * inside > 0
    nothing = cv2.dilate(1 - np.maximum.reduce([inside, *beside]), near) > 0
    share, hidden = cv2.blur(inside.astype(np.float32), around), np.zeros_like(outline)
    for other in beside:
        meets = outline & (cv2.dilate(other, near) > 0)
        ends = meets & nothing
        if ends.any() and cv2.blur(other.astype(np.float32), around)[ends].mean() > share[ends].mean():
            hidden |= meets
    return float(hidden.sum() / max(1, outline.sum()))


# ── legibility ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Slopes(NamedTuple):
    """Gradients of a picture, as Canny takes them.

    Attributes:
        across: horizontal slope of the blurred luminance, `[H, W]` int16.
        down: vertical slope.
        unit: length in pixels of what is one pixel at a short side of 320.
    """

    across: Array
    down: Array
    unit: float


def slopes(picture: Pixels) -> Slopes:
    """Of a picture `[H, W, 3]`."""
    unit = min(picture.shape[:2]) / 320
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), BLUR * unit)
    steps = np.asarray(grey * np.float32(SCALE * unit)).clip(0, 32767).astype(np.int16)
    across, down = (np.asarray(cv2.Sobel(steps, -1, *axes)) for axes in ((1, 0), (0, 1)))
    return Slopes(across, down, unit)


def legibility(before: Slopes, after: Slopes, boxes: Sequence[Box], within: Pixels | None = None) -> list[float]:
    """Measure how well the edges inside each box of a photograph are found again: F1, NaN where nothing can be said.

    Edges are Canny's (PAMI 1986), with thresholds from each box's own gradients, as a style may change all contrast.

    Args:
        before: of the photograph.
        after: of what was made of it, of the same size.
        boxes: left, top, width and height in pixels.
        within: mask `[H, W]`; what is outside it and its rim doesn't count.
    """
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(REACH * before.unit)) + 1,) * 2)
    region = None if within is None else cv2.dilate((within > 127).astype(np.uint8), near) > 0
    return [_legible(before, after, box, region, near) for box in boxes]


def legible(scores: Sequence[float], limits: Limits) -> dict[str, Gate]:
    """`legibility`: F1 of the least legible box; no gate where nothing can be said of any."""
    known = [score for score in scores if np.isfinite(score)]
    return {"legibility": at_least(min(known), limits.least_legible)} if known else {}


def _legible(before: Slopes, after: Slopes, box: Box, region: Bools | None, near: Pixels) -> float:
    if min(box[2:]) < LEAST_SIDE:
        return float("nan")
    height, width = before.across.shape
    window = LEAST_WINDOW * before.unit
    part = (_window(box[1], box[3], height, window), _window(box[0], box[2], width, window))
    counted = np.ones((height, width), bool)[part] if region is None else region[part]
    if not counted.any():
        return float("nan")
    wanted, found = _edges(before, part, counted, FLAT), _edges(after, part, counted, BLANK)
    if not wanted.any():
        return float("nan")
    if not found.any():
        return 0.0
    recall = float((cv2.dilate(found, near)[wanted > 0] > 0).mean())
    precision = float((cv2.dilate(wanted, near)[found > 0] > 0).mean())
    return 2 * recall * precision / max(recall + precision, 1e-9)


def _edges(picture: Slopes, part: tuple[slice, slice], counted: Bools, least: float) -> Pixels:
    """Edges in a part of a picture, of the counted pixels; none where the steepest are below `least`."""
    across, down = np.ascontiguousarray(picture.across[part]), np.ascontiguousarray(picture.down[part])
    strength = (np.abs(across).astype(np.int32) + np.abs(down))[counted]
    rank = min(len(strength) - 1, int(len(strength) * (1 - STRONGEST)))
    start = float(np.partition(strength, rank)[rank])
    if start < least * 8 * SCALE:  # Sobel's weights add up to 8
        return np.zeros(counted.shape, np.uint8)
    return np.where(counted, cv2.Canny(across, down, WEAKER * start, start), 0).astype(np.uint8)


def _window(start: float, length: float, end: int, least: float) -> slice:
    """The pixels of a box along one axis, and of its surroundings where it is shorter than `least`."""
    more = max(0.0, least - length) / 2
    return slice(max(0, int(start - more)), min(end, int(np.ceil(start + length + more))))


# ── what the domain looks like ───────────────────────────────────────────────────────────────────────────────────────


def statistics(after: Pixels) -> dict[str, float]:
    """`saturation` is the mean of max - min of the channels, `mean` and `contrast` are of luminance; all in [0, 1]."""
    mean, deviation = cv2.meanStdDev(cv2.cvtColor(after, cv2.COLOR_RGB2GRAY))
    return {
        "saturation": round(float(cv2.mean(cv2.subtract(_highest(after), _lowest(after)))[0]) / 255, 4),
        "mean": round(float(mean[0, 0]) / 255, 4),
        "contrast": round(float(deviation[0, 0]) / 255, 4),
    }


RANGES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "sketch": {"saturation": (0, 0.05), "mean": (0.55, 1)},
    "cartoon": {"flat": (0.2, 1)},
    "painting": {"change": (0.1, 1)},
    "handmake": {"change": (0.1, 1)},
    "tattoo": {"ink": (0.004, 0.5), "skin": (0.35, 1), "change": (0.25, 1)},
    "weather/fog": {"mean": (0.5, 0.95), "contrast": (0, 0.2)},
    "weather/rain": {"mean": (0.35, 0.65), "saturation": (0, 0.1)},
    "weather/snow": {"mean": (0.45, 0.95), "saturation": (0, 0.12), "white": (0.002, 1)},
    "weather/night": {"mean": (0, 0.4)},
}
"""What each domain's statistics must be, lowest and highest, or those of one of its styles.

They catch a style that failed, not a poor picture, and a photograph may well pass those of another domain:

- sketch: grey lines on bright paper, rather than a colourful or black picture;
- cartoon: some flat areas. Half of all photographs have less than .06 of them, cels on gravel and foliage .28 or more;
- painting, handmake: whether the photograph was changed at all;
- tattoo: both ink and skin;
- fog: bright, and of little contrast; rain: grey, neither bright nor dark; snow: pale, with some white; night: dark.
"""


def domain_gates(domain: Domain, style: str, before: Pixels, after: Pixels) -> dict[str, Gate]:
    """`domain_<statistic>` for each of the domain's ranges: whether the picture has what makes the domain.

    Args:
        domain: it was redrawn in.
        style: of the domain.
        before: the photograph, or what was left of it, `[H, W, 3]`.
        after: what was made of it.
    """
    ranges = RANGES.get(f"{domain}/{style}", RANGES.get(domain, {}))
    found = {}
    for name, (low, high) in ranges.items():
        value = STATISTICS[name](before, after)
        if low <= 0:
            found[f"domain_{name}"] = at_most(value, high)
        elif high >= 1:
            found[f"domain_{name}"] = at_least(value, low)
        else:
            found[f"domain_{name}"] = gate(value, low <= value <= high, f"{low:g} to {high:g}")
    return found


def flat(after: Pixels) -> float:
    """Share of pixels whose colour is that of their neighbours, to 3 of 255 levels in each channel.

    In pictures with a short side of less than 160 pixels only two of the four neighbours count, since lines are close.
    """
    side = 3 if min(after.shape[:2]) >= 160 else 2
    square = np.ones((side, side), np.uint8)
    spread = cv2.subtract(cv2.dilate(after, square), cv2.erode(after, square))
    return float((_highest(spread) <= 3).mean())


def change(before: Pixels, after: Pixels) -> float:
    """1 - SSIM of luminance: how little of the photograph's own detail is left."""
    everywhere = np.ones(before.shape[:2], bool)
    return float(editing.background_change(before, after, everywhere, editing.Gates())["value"])


def ink(after: Pixels) -> float:
    """Share of pixels as dark as ink: clearly darker than the picture's median."""
    grey = cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    return float((grey < 0.55 * float(np.median(grey))).mean())


def skin(after: Pixels) -> float:
    """Share of pixels with a hue of skin, light or dark: from red to yellow, and neither grey nor pure."""
    hue, saturation, value = cv2.split(cv2.cvtColor(after, cv2.COLOR_RGB2HSV))
    return float((((hue <= 25) | (hue >= 172)) & (saturation >= 25) & (saturation <= 200) & (value >= 40)).mean())


def _highest(picture: Pixels) -> Pixels:
    """The largest of the three channels, `[H, W]`."""
    red, green, blue = cv2.split(picture)
    return np.asarray(cv2.max(cv2.max(red, green), blue))


def _lowest(picture: Pixels) -> Pixels:
    red, green, blue = cv2.split(picture)
    return np.asarray(cv2.min(cv2.min(red, green), blue))


STATISTICS: Mapping[str, Callable[[Pixels, Pixels], float]] = {
    "saturation": lambda before, after: statistics(after)["saturation"],
    "mean": lambda before, after: statistics(after)["mean"],
    "contrast": lambda before, after: statistics(after)["contrast"],
    "white": lambda before, after: float((_lowest(after) >= 215).mean()),
    "flat": lambda before, after: flat(after),
    "change": change,
    "ink": lambda before, after: ink(after),
    "skin": lambda before, after: skin(after),
}
