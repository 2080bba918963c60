"""The checks that an edit must pass. Each is a function that returns the measured value, the limit and the outcome.

A gate that doesn't apply to an edit is missing from its record. Nothing here drops a picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from variorum.kit.pictures import framing, geometry
from variorum.kit.pictures.geometry import Cutout, Placed, Side
from variorum.schemas.sample import Gate

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

MAX_DB = 99.0
"""The largest PSNR that is recorded; that of identical pixels is infinite."""


Masks = Literal["strict", "default", "many"]
BANDS: Mapping[Masks, float] = {"strict": 4.75, "default": 6.0, "many": 8.5}
"""Largest width of the segmenter's doubt, see `band`."""
LEFT: Mapping[Masks, float] = {"strict": 0.1, "default": 0.1, "many": 0.5}
"""Largest p of the class without the object, as share of the picture's."""
BAND_SIDE = 256
"""Short side in pixels of the canvas on which the width is measured."""
DOUBT = 0.05, 0.95
"""Between these the segmenter is in doubt."""
SEEN = 10
"""Rank up to which a classifier counts as seeing a class."""
SIDES: tuple[Side, ...] = ("left", "top", "right", "bottom")


class Gates(BaseModel):
    """Thresholds. Shares are of the frame's pixels unless stated otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether the mask can be trusted; if not, nothing is edited.
    min_area: float = Field(default=0.005, ge=0, le=1, description="the object's share of the frame")
    max_area_background: float = Field(default=0.75, ge=0, le=1, description="so that enough background is left")
    max_holes_background: float = Field(default=0.10, ge=0, le=1, description="holes' share of the filled mask")
    masks: Masks = Field(
        default="default", description="how sure the segmenter must be of the outline: `strict`, `default`, `many`"
    )
    min_score: float = Field(default=0.88, ge=0, le=1, description="the segmenter's own IoU estimate, if any")
    min_stability: float = Field(
        default=0.80, ge=0, le=1, description="IoU of the mask cut low and cut high, of a segmenter with a score"
    )
    min_evidence: float = Field(
        default=0.1, ge=0, le=1, description="the class's p on the object alone, as share of the picture's"
    )
    max_plate_p: float = Field(
        default=0.5, gt=0, le=1, description="the class's p on the plate, as share of the original's"
    )
    negligible_p: float = Field(default=0.02, ge=0, le=1, description="a p up to this counts as no trace of the class")

    # Whether the object can be moved, resized or turned, and the plate be shown.
    max_area: float = Field(default=0.75, ge=0, le=1, description="the object's share of the frame, where it moves")
    min_main_part: float = Field(default=0.90, ge=0, le=1, description="largest component's share of the mask")
    max_holes: float = Field(
        default=0.05, ge=0, le=1, description="holes' share of the filled mask, where the object moves"
    )
    max_border: float = Field(
        default=0.01, ge=0, le=1, description="share of the outline that lies on the picture's border"
    )
    max_plate_hole: float = Field(default=0.30, gt=0, le=1, description="hole's share of a plate that is fully visible")
    max_moved_hole: float = Field(
        default=0.05, gt=0, le=1, description="the same where the object moves; with more it gets a lent plate"
    )
    max_plate_seam: float = Field(default=2.0, gt=0, description="gradient along the hole, relative to that beside it")
    min_plate_texture: float = Field(default=0.25, ge=0, description="detail in the hole, relative to that around it")
    max_partner_p: float = Field(default=0.1, gt=0, le=1, description="as max_plate_p, for plates used by others")

    # Whether the edit came out as asked.
    min_psnr_kept: float = Field(default=40.0, description="dB inside the object, background edits")
    min_psnr_moved: float = Field(default=30.0, description="dB inside the object after mapping back, geometric edits")
    min_visible: float = Field(default=0.98, ge=0, le=1, description="share of the object's alpha in the frame")
    size_tolerance: float = Field(default=0.05, gt=0, le=1, description="relative error of the achieved size")
    max_scale: float = Field(default=3.0, gt=1, description="magnification above which the object is mostly blur")
    max_area_change: float = Field(default=0.03, gt=0, description="relative change of the mask's area when turned")
    max_drift: float = Field(default=2.0, ge=0, description="pixels that the centroid may move when turned")
    same_iou: float = Field(default=0.97, ge=0, le=1, description="with same_pixels: the turned object looks the same")
    same_pixels: float = Field(default=8.0, ge=0, description="mean absolute difference, 0 to 255")
    min_change: float = Field(default=0.05, ge=0, le=1, description="1 - SSIM on the background")
    min_complexity_change: float = Field(
        default=0.02, ge=0, le=1, description="change of the background's complexity by texture edits"
    )
    max_seam: float = Field(default=3.0, gt=0, description="gradient along the outline, relative to the usual one")
    min_std: float = Field(default=2.0, ge=0, description="grey levels; below it the picture is blank")


def gate(value: float, passed: bool, limit: str) -> Gate:
    """A gate with plain Python values, as records need them."""
    return Gate(value=round(float(value), 6), limit=limit, passed=bool(passed))


def at_least(value: float, limit: float) -> Gate:
    """Passed when value >= limit."""
    return gate(value, value >= limit, f">= {limit:g}")


def at_most(value: float, limit: float) -> Gate:
    """Passed when value <= limit."""
    return gate(value, value <= limit, f"<= {limit:g}")


def recorded(value: float) -> Gate:
    """A value that is recorded but never fails."""
    return gate(value, True, "recorded")


def trust_gates(
    alpha: Pixels,
    whole: Pixels,
    band: float,
    limits: Gates,
    score: float = math.nan,
    stability: float = math.nan,
) -> dict[str, Gate]:
    """Return whether a mask can be trusted and leaves enough background.

    The gates are `mask_area`, `mask_holes`, `mask_components`, `mask_band`, and of a segmenter that scores its masks
    `mask_score` and `mask_stability`.

    Args:
        alpha: what the frame shows of the mask, `[S, S]` uint8.
        whole: the mask of the whole picture, `[H, W]` uint8.
        band: as `band` measures it; NaN for a given mask.
        limits: thresholds.
        score: the segmenter's own estimate of the mask's IoU; NaN if missing.
        stability: IoU of the mask cut at a low and at a high threshold; counts only where there is a score.
    """
    found = {"mask_area": _area(alpha, limits.min_area, limits.max_area_background)}
    if found["mask_area"]["value"]:
        found["mask_holes"] = at_most(_holes(whole), limits.max_holes_background)
        found["mask_components"] = at_least(_main_part(whole), limits.min_main_part)
    if np.isfinite(band):
        found["mask_band"] = at_most(band, BANDS[limits.masks])
    if np.isfinite(score):
        found["mask_score"] = at_least(score, limits.min_score)
        found["mask_stability"] = at_least(stability, limits.min_stability)
    return found


def band(salience: Pixels) -> float:
    """Width in pixels of the segmenter's doubt: the area where its p is in DOUBT, by the length of the outline at .5.

    Args:
        salience: p in 255ths, `[H, W]` uint8, of the whole picture.

    Returns:
        The width on a canvas whose short side has BAND_SIDE pixels; infinite where there is no outline.
    """
    p = framing.canvas(salience, BAND_SIDE)
    inside = (cv2.GaussianBlur(p, (0, 0), 1.0) > 127).astype(np.uint8)
    # beyond the picture's border erosion sees more of the object, so the border is no outline
    outline = inside - cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    length = int(np.count_nonzero(outline))
    low, high = (255 * edge for edge in DOUBT)
    return float(np.count_nonzero((p > low) & (p < high))) / length if length else math.inf


def evidence_gates(views: Sequence[Singles], index: int, limits: Gates) -> dict[str, Gate]:
    """Return whether a mask is of the labelled object, by a classifier that recognises the class in the picture.

    `mask_misses_object`: the class's p on what is left without the object, as a share of that on the picture; a
    negligible p passes anyway. `mask_not_object`: the same on the object alone; a class among the first SEEN passes
    anyway. Empty where the classifier doesn't see the class in the picture.

    Args:
        views: probabilities `[1000]` of the picture, of the object alone, and of the rest.
        index: of the class.
        limits: thresholds.
    """
    picture, alone, rest = (float(row[index]) for row in views)
    if _rank(views[0], index) > SEEN:
        return {}
    share, left = (value / max(picture, 1e-9) for value in (alone, rest))
    most = LEFT[limits.masks]
    passed = share >= limits.min_evidence or _rank(views[1], index) <= SEEN
    return {
        "mask_misses_object": gate(min(1.0, left), left <= most or rest <= limits.negligible_p, f"<= {most:g}"),
        "mask_not_object": gate(min(1.0, share), passed, f">= {limits.min_evidence:g}"),
    }


def moving_gates(mask: Pixels, limits: Gates, side: int | None = None) -> dict[str, Gate]:
    """Check that an object can be moved: large enough, in one piece, without holes, inside the picture.

    A truncated object continues beyond the picture, so it would end in a straight edge if moved. One that is cut off at
    a single side may stay on it.

    Args:
        mask: of the whole picture, `[H, W]` uint8.
        limits: thresholds.
        side: of the frame, of whose pixels the area is a share; None for that of the mask.
    """
    share = float(np.count_nonzero(mask > 127)) / (side * side if side else mask.size)
    found = {"mask_area": _between(share, limits.min_area, limits.max_area)}
    touching = _touching(mask)
    found["truncated"] = at_most(sum(touching.values()), limits.max_border)
    if side and cut_side(mask, limits):
        found["truncated"] = gate(found["truncated"]["value"], True, "at one side")
    if share:
        found["mask_components"] = at_least(_main_part(mask), limits.min_main_part)
        found["mask_holes"] = at_most(_holes(mask), limits.max_holes)
    return found


def cut_side(mask: Pixels, limits: Gates) -> Side | None:
    """The only side of the picture that cuts an object off; None if none does, or several do."""
    touching = _touching(mask)
    first, *others = sorted(touching, key=lambda side: -touching[side])
    alone = sum(touching[side] for side in others) <= limits.max_border
    return first if alone and touching[first] > limits.max_border else None


def alone_gates(
    mask: Pixels, *, least_area: float, most_area: float, most_border: float, least_main_part: float
) -> dict[str, Gate]:
    """Return whether an object can stand on an empty ground: `mask_area`, `border_touch` and `mask_components`.

    One that the frame cuts off would end in a straight edge there. The arguments are shares, as in `Gates`.
    """
    limits = Gates(min_area=least_area, max_area=most_area, max_border=most_border, min_main_part=least_main_part)
    found = moving_gates(mask, limits)
    names = {"mask_area": "mask_area", "truncated": "border_touch", "mask_components": "mask_components"}
    return {new: found[old] for old, new in names.items() if old in found}


def as_given(found: Mapping[str, Gate]) -> dict[str, Gate]:
    """The same gates for a given mask, whose parts and holes belong to the object and are only recorded."""
    shape = ("mask_components", "mask_holes")
    return {name: recorded(item["value"]) if name in shape else item for name, item in found.items()}


def _area(mask: Pixels, low: float, high: float) -> Gate:
    return _between(float((mask > 127).mean()), low, high)


def _between(value: float, low: float, high: float) -> Gate:
    return gate(value, low <= value <= high, f"{low:g} to {high:g}")


def _holes(mask: Pixels) -> float:
    inside = (mask > 127).astype(np.uint8)
    return 1 - float(inside.sum()) / float(_filled(inside).sum())


def _main_part(mask: Pixels) -> float:
    """Share of a mask that is in its largest piece."""
    parts = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    return float(parts.max() / parts.sum())


def _touching(mask: Pixels) -> dict[Side, float]:
    """Share of the mask's outline that lies on each side of the picture; a corner counts to the first of its sides."""
    inside = (mask > 127).astype(np.uint8)
    outline = inside & (1 - cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0))
    total = max(1, int(outline.sum()))
    lines = outline[:, 0], outline[0, 1:], outline[1:, -1], outline[-1, 1:-1]
    return {side: int(line.sum()) / total for side, line in zip(SIDES, lines, strict=True)}


def _rank(probabilities: Singles, index: int) -> int:
    """1 for the most probable class."""
    return 1 + int((probabilities > probabilities[index]).sum())


def psnr(first: Singles, second: Singles) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 255], at most MAX_DB."""
    error = float(np.mean((first - second) ** 2)) if first.size else 0.0
    return min(MAX_DB, 10 * float(np.log10(255**2 / error))) if error > 0 else MAX_DB


def object_kept(original: Pixels, edited: Pixels, alpha: Pixels, limits: Gates) -> Gate:
    """`object_kept` for background edits: PSNR where the object is opaque."""
    core = alpha == 255
    return at_least(psnr(original[core].astype(np.float32), edited[core].astype(np.float32)), limits.min_psnr_kept)


def object_mapped_back(cutout: Cutout, placed: Placed, edited: Pixels, limits: Gates) -> Gate:
    """`object_kept` for geometric edits: PSNR between the cut-out and the edit mapped back onto it.

    A smaller object lacks the original's finest detail, so both are blurred to the coarser of their two resolutions.
    """
    height, width = cutout.rgba.shape[:2]
    left, top, wide, high = cv2.boundingRect((cutout.rgba[..., 3] > 127).astype(np.uint8))
    right, bottom = min(width, left + wide), min(height, top + high)
    scale = geometry.scale_of(placed.matrix)
    onto = placed.matrix.copy()
    onto[:, 2] += onto[:, :2] @ np.array([left, top], np.float64)
    source, alpha = cutout.rgba[top:bottom, left:right, :3], cutout.rgba[top:bottom, left:right, 3]
    if scale > 1:
        edited = cv2.GaussianBlur(edited, (0, 0), 0.3 * scale)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    back = cv2.warpAffine(edited, onto, (right - left, bottom - top), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    spread = 0.5 if scale >= 1 else 0.5 / scale
    blur = np.asarray(cv2.GaussianBlur(source, (0, 0), spread))
    radius = max(2, int(np.ceil(2.5 * spread)))
    core = cv2.erode((alpha == 255).astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)) > 0
    if scale < 1:
        back = cv2.GaussianBlur(back, (0, 0), 0.5)
    return at_least(psnr(blur[core].astype(np.float32), back[core].astype(np.float32)), limits.min_psnr_moved)


def background_change(original: Pixels, edited: Pixels, background: Bools, limits: Gates) -> Gate:
    """`background_changed`: 1 - mean SSIM (Gaussian window, sigma 1.5) of luma over the background."""
    first, second = (np.asarray(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), np.float32) for p in (original, edited))

    def mean(values: Singles) -> Singles:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5))

    mu1, mu2 = mean(first), mean(second)
    var1, var2, cov = mean(first * first) - mu1**2, mean(second * second) - mu2**2, mean(first * second) - mu1 * mu2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * mu1 * mu2 + c1) * (2 * cov + c2) / ((mu1**2 + mu2**2 + c1) * (var1 + var2 + c2))
    return at_least(float(1 - ssim[background].mean()) if background.any() else 0.0, limits.min_change)


def seam_strength(picture: Pixels, mask: Pixels) -> tuple[float, float]:
    """Mean luma gradient along the mask's outline, and over the background next to it (3 to 12 pixels away)."""
    left, top, width, height = cv2.boundingRect(mask)
    pad = 14
    rows, columns = slice(max(0, top - pad), top + height + pad), slice(max(0, left - pad), left + width + pad)
    grey = cv2.cvtColor(np.ascontiguousarray(picture[rows, columns]), cv2.COLOR_RGB2GRAY)
    inside = (mask[rows, columns] > 127).astype(np.uint8)
    slope = cv2.magnitude(cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)) / 32
    small = np.ones((3, 3), np.uint8)
    wide, narrow = np.ones((25, 25), np.uint8), np.ones((7, 7), np.uint8)
    line = (cv2.dilate(inside, small) - cv2.erode(inside, small)).astype(bool)
    beside = (cv2.dilate(inside, wide) - cv2.dilate(inside, narrow)).astype(bool)
    return (float(slope[line].mean()) if line.any() else 0.0, float(slope[beside].mean()) if beside.any() else 0.0)


def seam(edited: tuple[float, float], original: tuple[float, float], limits: Gates) -> Gate:
    """`seam`: the outline's gradient, relative to the background beside it or, if stronger, to the original's outline.

    The original's outline counts because some objects have a strong one by nature, as a white bird in a blue sky.
    """
    usual = max(edited[1], original[0], 1.0)
    return at_most(edited[0] / usual, limits.max_seam)


def blank(picture: Pixels, limits: Gates) -> Gate:
    """`blank`: the picture's standard deviation over all pixels and channels."""
    return at_least(float(cv2.meanStdDev(picture.reshape(-1, 1))[1][0, 0]), limits.min_std)


def plate_clean(on_plate: float, on_original: float, share: float, limits: Gates) -> Gate:
    """`plate_clean`: on the plate the class may be at most `share` times as probable as on the original."""
    limit = max(share * on_original, limits.negligible_p)
    return gate(on_plate, on_plate <= limit, f"<= {limit:.4g}")


def plate_gates(plate: Pixels, hole: Bools, limits: Gates) -> dict[str, Gate]:
    """`plate_hole`, `plate_seam`, `plate_texture`: whether an inpainted plate may be fully visible.

    An outline that remains along the hole shows where the object was, so its mean gradient is compared with that beside
    it. Detail is the mean absolute difference between luma and its blur (sigma 1.5). A smooth fill suits a clear sky
    but not grass, so the detail in the hole is compared with that in the 40 pixels around it.
    """
    grey = np.asarray(cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY), np.float32)
    detail = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.5))
    inside, near = hole.astype(np.uint8), np.ones((7, 7), np.uint8)
    core = cv2.erode(inside, near) > 0
    around = (cv2.dilate(inside, np.ones((81, 81), np.uint8)) > 0) & (cv2.dilate(inside, near) == 0)
    found = {"plate_hole": at_most(float(hole.mean()), limits.max_plate_hole)}
    if core.any() and around.any():
        along, beside = seam_strength(plate, inside * 255)
        found["plate_seam"] = at_most(along / max(beside, 1.0), limits.max_plate_seam)
        noise = 0.5  # grey levels, so that two flat areas count as equal
        ratio = (float(detail[core].mean()) + noise) / (float(detail[around].mean()) + noise)
        found["plate_texture"] = at_least(ratio, limits.min_plate_texture)
    return found


def label_gates(probabilities: Singles, index: int) -> dict[str, Gate]:
    """`label_p` and `label_rank` (1 is the top) of a class: recorded, so that people can review the lowest ones."""
    return {"label_p": recorded(float(probabilities[index])), "label_rank": recorded(_rank(probabilities, index))}


def first_failed(found: Mapping[str, Gate]) -> str:
    """Name of the first failed gate, or `""`."""
    return next((name for name, item in found.items() if not item["passed"]), "")


def _filled(inside: Pixels) -> Pixels:
    """The mask with its holes closed: everything that isn't connected to the frame's border."""
    padded = np.pad(inside, 1)
    flooded = padded.copy()
    cv2.floodFill(flooded, None, (0, 0), 2)
    return np.asarray(flooded != 2, dtype=np.uint8)[1:-1, 1:-1]
