"""The checks that an edit must pass. Each is a function that returns the measured value, the limit and the outcome.

A gate that doesn't apply to an edit is missing from its record. Nothing here drops a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from variorum.kit.pictures import geometry
from variorum.kit.pictures.geometry import Cutout, Placed
from variorum.schemas.sample import Gate

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

MAX_DB = 99.0
"""The largest PSNR that is recorded; that of identical pixels is infinite."""


class Gates(BaseModel):
    """Thresholds. Shares are of the frame's pixels unless stated otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether the mask can be trusted; if not, nothing is edited.
    min_area: float = Field(default=0.005, ge=0, le=1, description="the object's share of the frame")
    max_area_background: float = Field(default=0.75, ge=0, le=1, description="so that enough background is left")
    max_holes_background: float = Field(default=0.10, ge=0, le=1, description="holes' share of the filled mask")
    min_score: float = Field(default=0.88, ge=0, le=1, description="the segmenter's own IoU estimate, if any")
    min_stability: float = Field(default=0.80, ge=0, le=1, description="IoU of the mask cut low and cut high")
    min_agreement: float = Field(
        default=0.80, ge=0, le=1, description="IoU of two views' masks; allows a lower stability"
    )
    least_stability: float = Field(default=0.60, ge=0, le=1, description="lowest stability that agreement allows")
    max_plate_p: float = Field(
        default=0.5, gt=0, le=1, description="the class's p on the plate, as share of the original's"
    )
    negligible_p: float = Field(default=0.02, ge=0, le=1, description="a p up to this counts as no trace of the class")

    # Whether the object can be moved, resized or turned, and the plate be shown.
    max_area: float = Field(default=0.60, ge=0, le=1, description="the object's share of the frame, where it moves")
    min_main_part: float = Field(default=0.90, ge=0, le=1, description="largest component's share of the mask")
    max_holes: float = Field(
        default=0.05, ge=0, le=1, description="holes' share of the filled mask, where the object moves"
    )
    max_border: float = Field(default=0.02, ge=0, le=1, description="share of the outline that lies on the frame")
    max_plate_hole: float = Field(default=0.50, gt=0, le=1, description="hole's share of a plate that is fully visible")
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


def trust_gates(mask: Pixels, score: float, stability: float, agreement: float, limits: Gates) -> dict[str, Gate]:
    """Return whether a mask can be trusted and leaves enough background.

    The gates are `mask_area`, `mask_holes`, `mask_score`, `mask_stability` and `mask_agreement`.

    Args:
        mask: `[H, W]` uint8.
        score: the segmenter's own estimate of the mask's IoU; NaN if missing, as in the next two.
        stability: IoU of the mask cut at a low and at a high threshold.
        agreement: IoU of the masks of two views of the picture.
        limits: thresholds.
    """
    found = {"mask_area": _area(mask, limits.min_area, limits.max_area_background)}
    if found["mask_area"]["value"]:
        found["mask_holes"] = at_most(_holes(mask), limits.max_holes_background)
    if np.isfinite(score):
        found["mask_score"] = at_least(score, limits.min_score)
    if np.isfinite(stability):
        agreed = agreement >= limits.min_agreement
        lowest = limits.least_stability if agreed else limits.min_stability
        found["mask_stability"] = at_least(stability, lowest)
    if np.isfinite(agreement):
        found["mask_agreement"] = recorded(agreement)
    return found


def moving_gates(mask: Pixels, limits: Gates) -> dict[str, Gate]:
    """Check that an object can be moved: large enough, in one piece, without holes, inside the frame.

    A truncated object continues beyond the frame, so it would end in a straight edge if moved.
    """
    found = {"mask_area": _area(mask, limits.min_area, limits.max_area), "truncated": _border(mask, limits)}
    inside = (mask > 127).astype(np.uint8)
    if inside.any():
        parts = cv2.connectedComponentsWithStats(inside, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
        found["mask_components"] = at_least(float(parts.max() / parts.sum()), limits.min_main_part)
        found["mask_holes"] = at_most(_holes(mask), limits.max_holes)
    return found


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
    share = float((mask > 127).mean())
    return gate(share, low <= share <= high, f"{low:g} to {high:g}")


def _holes(mask: Pixels) -> float:
    inside = (mask > 127).astype(np.uint8)
    return 1 - float(inside.sum()) / float(_filled(inside).sum())


def _border(mask: Pixels, limits: Gates) -> Gate:
    """Share of the mask's outline that lies on the frame's border."""
    inside = (mask > 127).astype(np.uint8)
    outline = inside & (1 - cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0))
    edge = np.zeros_like(inside)
    edge[[0, -1]] = 1
    edge[:, [0, -1]] = 1
    total = int(outline.sum())
    return at_most(int((outline & edge).sum()) / total if total else 0.0, limits.max_border)


def iou(first: Pixels, second: Pixels) -> float:
    """Intersection over union of two masks; 0 when both are empty."""
    a, b = first > 127, second > 127
    return float((a & b).sum() / max(1, (a | b).sum()))


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
    value = float(probabilities[index])
    return {"label_p": recorded(value), "label_rank": recorded(1 + int((probabilities > value).sum()))}


def first_failed(found: Mapping[str, Gate]) -> str:
    """Name of the first failed gate, or `""`."""
    return next((name for name, item in found.items() if not item["passed"]), "")


def _filled(inside: Pixels) -> Pixels:
    """The mask with its holes closed: everything that isn't connected to the frame's border."""
    padded = np.pad(inside, 1)
    flooded = padded.copy()
    cv2.floodFill(flooded, None, (0, 0), 2)
    return np.asarray(flooded != 2, dtype=np.uint8)[1:-1, 1:-1]
