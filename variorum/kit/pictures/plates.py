"""Backgrounds without their object, and what models say of pictures, computed once.

Segmenting and inpainting take seconds per picture, so the results are kept in `ctx.memo`, under the digest of
everything that they depend on.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from variorum.kit.pictures.batches import in_parts
from variorum.models.batch_search import best_batch
from variorum.models.roles import Filled, Inpainter
from variorum.schemas.canonical import derive_seed, digest
from variorum.schemas.component import Context, Memo
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels, Singles

MOST_FILLED = 16
"""Photographs in a window: with all their edits, several windows are in memory."""
Arrays: TypeAlias = "Mapping[str, Array]"
_AT_WORK: dict[str, Future[Arrays]] = {}
_GUARD = threading.Lock()


def hole(mask: Pixels) -> Bools:
    """Return the hole that the inpainter fills, `[H, W]`: the mask grown by max(5 px, 2 % of √area), more below.

    The rim covers the object's blur, the strip below it the shadow on the ground.
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


def fingerprint(pixels: Array) -> str:
    """sha256 of an array's shape, type and bytes."""
    kind = f"{pixels.dtype.str}{list(pixels.shape)}"
    return hashlib.sha256(kind.encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def recall(memo: Memo, keys: Sequence[str], compute: Callable[[list[int]], list[Arrays]]) -> list[Arrays]:
    """The arrays kept under each key; all missing ones are computed in one call, so that the model gets a batch.

    What another thread is computing is waited for, after the own ones: a photograph may be taken apart for its own
    edits and for those of others at the same time.
    """
    kept: dict[int, Arrays] = {}
    missing = []
    for place, key in enumerate(keys):
        try:
            kept[place] = memo(key, _absent)
        except LookupError:
            missing.append(place)
    with _GUARD:
        others = {place: _AT_WORK[keys[place]] for place in missing if keys[place] in _AT_WORK}
        own = [place for place in missing if place not in others]
        begun = {keys[place]: Future[Arrays]() for place in own}
        _AT_WORK.update(begun)
    try:
        for place, arrays in zip(own, compute(own) if own else [], strict=True):
            kept[place] = memo(keys[place], lambda arrays=arrays: arrays)  # type: ignore[misc]
    finally:
        with _GUARD:
            for place in own:
                _AT_WORK.pop(keys[place], None)
        for place in own:
            future = begun[keys[place]]
            if place not in kept:
                future.cancel()
            elif not future.done():
                future.set_result(kept[place])
    for place, other in others.items():
        try:
            arrays = other.result()
        except CancelledError:  # it failed there, and may not here
            (kept[place],) = recall(memo, [keys[place]], lambda _, place=place: compute([place]))  # type: ignore[misc]
        else:
            kept[place] = memo(keys[place], lambda arrays=arrays: arrays)  # type: ignore[misc]
    return [kept[place] for place in range(len(keys))]


def segmented(pictures: Sequence[Pixels], alias: str, ctx: Context) -> list[Arrays]:
    """For each picture `mask` `[H, W]` uint8, `score` and `stability`; NaN if the model gives none."""
    pin = ctx.models.pin(alias)

    def compute(places: list[int]) -> list[Arrays]:
        found, _ = in_parts(ctx.models.get(alias), [pictures[place] for place in places], len(places), alias)
        if not all(hasattr(item, "mask") for item in found):
            raise RecipeError(f"{cut(repr(alias))} is no segmenter; name an alias such as segmenter")
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
    pictures: Sequence[Pixels], holes: Sequence[Bools], objects: Sequence[str], alias: str, ctx: Context
) -> list[Arrays]:
    """For each picture `plate` `[H, W, 3]` uint8 and `method`, the inpainter's word for how it was filled.

    Args:
        pictures: with their objects.
        holes: `[H, W]` each, true where to fill.
        objects: what each object is called, `""` if unknown; the negative prompt of an inpainter that takes texts.
        alias: of the inpainter.
        ctx: its memo keeps the results.

    Raises:
        OutOfMemoryError: PyTorch's, when memory doesn't suffice for one picture.
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


def fills_together(alias: str, side: int, usual: int, ctx: Context) -> int:
    """Pictures that an inpainter fills fastest in one call on this machine's GPU; `usual` without one.

    Args:
        alias: of the inpainter.
        side: of the pictures, which are square.
        usual: the number without a GPU.
        ctx: has the model, which isn't loaded if the number is known.
    """
    picture = np.tile((np.arange(side) % 256).astype(np.uint8)[:, None, None], (1, side, 3))
    gap = np.zeros((side, side), bool)
    gap[side // 4 : side // 2, side // 4 : side // 2] = True

    def make(number: int) -> object:
        return ctx.models.get(alias)([picture] * number, [gap] * number, range(number), ["dog"] * number)

    return best_batch(alias, ctx.models.pin(alias), ["fill", side], make, usual=usual, most=MOST_FILLED)


def classified(pictures: Sequence[Pixels], alias: str, ctx: Context) -> list[Singles]:
    """For each picture the classifier's probabilities `[1000]`."""
    pin = ctx.models.pin(alias)

    def compute(places: list[int]) -> list[Arrays]:
        return [{"p": row} for row in ctx.models.get(alias)([pictures[place] for place in places])]

    keys = [digest(["classes", fingerprint(picture), pin]) for picture in pictures]
    return [arrays["p"] for arrays in recall(ctx.memo, keys, compute)]


def _absent() -> Arrays:
    raise LookupError
