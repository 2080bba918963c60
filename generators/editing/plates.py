"""Backgrounds without their object: a picture's own, by inpainting, and another picture's, drawn from a pool.

Segmenting and inpainting cost seconds a picture, so each is done once ever for the same pixels and models: the
results are kept in `ctx.memo`, under the digest of all that they depend on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from generators.editing.batches import in_parts
from schemas.canonical import derive_seed, digest
from schemas.component import Context, Memo
from variorum.models.roles import Filled, Inpainter

Pixels = NDArray[np.uint8]
Arrays = Mapping[str, NDArray[Any]]


def hole(mask: Pixels) -> NDArray[np.bool_]:
    """What the inpainter replaces: the mask grown by max(5 px, 2 % of its area's root), and a little more below.

    The rim takes the object's blur with it; the strip below takes the shadow where the object stands.
    """
    inside = (mask > 127).astype(np.uint8)
    if not inside.any():
        return inside > 0
    radius = max(5, round(0.02 * float(np.sqrt(inside.sum()))))
    grown = cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
    rows = np.flatnonzero(inside.any(axis=1))
    reach = max(3, round(0.05 * float(rows[-1] - rows[0])))
    below = np.ones((reach + 1, 1), np.uint8)
    return np.asarray(cv2.dilate(grown, below, anchor=(0, reach)) > 0)


def fingerprint(pixels: NDArray[Any]) -> str:
    """sha256 of an array's shape, type and bytes."""
    kind = f"{pixels.dtype.str}{list(pixels.shape)}"
    return hashlib.sha256(kind.encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def recall(memo: Memo, keys: Sequence[str], compute: Callable[[list[int]], list[Arrays]]) -> list[Arrays]:
    """The arrays kept under each key; those that aren't there are computed in one call, for the model's batch."""
    kept: dict[int, Arrays] = {}
    missing = []
    for place, key in enumerate(keys):
        try:
            kept[place] = memo(key, _absent)
        except LookupError:
            missing.append(place)
    if missing:
        for place, arrays in zip(missing, compute(missing), strict=True):
            kept[place] = memo(keys[place], lambda arrays=arrays: arrays)  # type: ignore[misc]
    return [kept[place] for place in range(len(keys))]


def segmented(pictures: Sequence[Pixels], alias: str, ctx: Context) -> list[Arrays]:
    """For each picture `mask` `[H, W]` uint8, `score` (NaN where the model gives none) and `stability`."""
    pin = ctx.models.pin(alias)

    def compute(places: list[int]) -> list[Arrays]:
        found = ctx.models.get(alias)([pictures[place] for place in places])
        return [
            {
                "mask": np.rint(255 * np.clip(item.mask, 0, 1)).astype(np.uint8),
                "score": np.array(item.score, np.float64),
                "stability": np.array(item.stability, np.float64),
            }
            for item in found
        ]

    return recall(ctx.memo, [digest(["mask", fingerprint(picture), pin]) for picture in pictures], compute)


def emptied(
    pictures: Sequence[Pixels], holes: Sequence[NDArray[np.bool_]], objects: Sequence[str], alias: str, ctx: Context
) -> list[Arrays]:
    """For each picture `plate` `[H, W, 3]` uint8 and `method`, the inpainter's word for how it was filled.

    Args:
        pictures: with their objects.
        holes: `[H, W]` each, true where to fill.
        objects: what each one's object is called, `""` for unknown: an inpainter that reads texts keeps away from it.
        alias: of the inpainter.
        ctx: with the models, and the memo that keeps the results.

    Raises:
        OutOfMemoryError: PyTorch's, when there isn't the memory for one.
    """
    pin = ctx.models.pin(alias)
    keys = [
        digest(["plate", fingerprint(picture), fingerprint(gap), name, pin, ctx.seed])
        for picture, gap, name in zip(pictures, holes, objects, strict=True)
    ]

    def compute(places: list[int]) -> list[Arrays]:
        fill: Inpainter = ctx.models.get(alias)

        def call(part: Sequence[int]) -> list[Filled]:
            seeds = [derive_seed(ctx.seed, "plate", keys[n]) for n in part]
            return fill([pictures[n] for n in part], [holes[n] for n in part], seeds, [objects[n] for n in part])

        filled, _ = in_parts(call, places, len(places), alias)
        return [{"plate": item.image, "method": np.array(item.method)} for item in filled]

    return recall(ctx.memo, keys, compute)


def classified(pictures: Sequence[Pixels], alias: str, ctx: Context) -> list[NDArray[np.float32]]:
    """For each picture the classifier's probabilities `[1000]`, kept."""
    pin = ctx.models.pin(alias)

    def compute(places: list[int]) -> list[Arrays]:
        return [{"p": row} for row in ctx.models.get(alias)([pictures[place] for place in places])]

    keys = [digest(["classes", fingerprint(picture), pin]) for picture in pictures]
    return [arrays["p"] for arrays in recall(ctx.memo, keys, compute)]


def pool_positions(size: int, wanted: int) -> list[int]:
    """`wanted` positions spread evenly over a source of `size` pictures, or all of them."""
    count = min(size, wanted)
    return [(2 * place + 1) * size // (2 * count) for place in range(count)]


def _absent() -> Arrays:
    raise LookupError
