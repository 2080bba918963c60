"""The marks `dwtDct` and `dwtDctSvd` of the package invisible-watermark, to compare with.

Behaviour and constants are those of invisible-watermark 0.2.0 (MIT licence), to the bit; the code is this project's
own, and that of `dwtDct` works on all blocks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from variorum.generators.watermark.watermarking.chance import bits_p_values
from variorum.schemas.watermark import Detected, Mark

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels
    from variorum.schemas.component import Context
    from variorum.schemas.watermark import Bools

SCALE = 36.0
"""Step of the quantisation."""
LEAST_PIXELS = 256 * 256
HAAR = float(np.sqrt(0.5))


class DwtDct(Mark):
    """A payload of 32 or 64 bits in the chroma channel U, block by block: an old mark as many tools still apply it.

    It keeps the package's faults, so that results can be compared with those of papers: two detail bands are swapped
    on the way back, which costs about 4 dB; values are cut off instead of rounded; and there is no key but the payload.
    `dwtDct` has no cosine transform in spite of its name. Where a block's largest value changes, its bit is lost. About
    a fifth of the bits are wrong even without an attack, and JPEG with subsampled chroma ends it. `dwtDctSvd` is
    read without mistakes until brightness or a strong JPEG changes it. Use `stdm` to mark pictures.
    """

    method: Literal["dwtDct", "dwtDctSvd"] = "dwtDct"
    """Of the package: `dwtDct` moves a block's largest value but the first, `dwtDctSvd` its largest singular value."""
    bits: Literal[32, 64] = 32
    """Of the payload."""

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """The marked pictures, as the package's `WatermarkEncoder` makes them."""
        move = _moved if self.method == "dwtDct" else _singular_moved
        return [_embedded(image, payload, move) for image, payload in zip(images, self.payloads(keys), strict=True)]

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """The share of right bits, the bits, and how often chance gives as many right ones."""
        found = [_bits(image, self.bits, _largest if self.method == "dwtDct" else _singular) for image in images]
        bits, payloads = np.array(found, bool).reshape(-1, self.bits), self.payloads(keys)
        return Detected((bits == payloads).mean(1), bits, bits_p_values(bits, payloads))

    def refusal(self, image: Pixels) -> tuple[str, str] | None:
        """A picture needs 65,536 pixels, as in the package."""
        height, width = image.shape[:2]
        if height * width < LEAST_PIXELS:
            return "too_small", f"{width} x {height} pixels; it needs {LEAST_PIXELS}"
        return super().refusal(image)


def _embedded(image: Pixels, payload: Bools, move: Callable[[Floats, Bools], None]) -> Pixels:
    yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV)
    high, wide = (length // 4 * 4 for length in image.shape[:2])
    low, rows, columns, both = _haar(yuv[:high, :wide, 1])
    blocks = _blocks(low)
    move(blocks, payload[np.arange(len(blocks)) % len(payload)])
    _put(low, blocks)
    whole = _back(low, columns, rows, both)  # two bands swapped, as in the package
    yuv[:high, :wide, 1] = whole.astype(np.int64).astype(np.uint8)  # cut off, and wrapped beyond 0 and 255
    return np.asarray(cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB), np.uint8)


def _moved(blocks: Floats, wanted: Bools) -> None:
    place, value = _strongest(blocks)
    moved = (np.abs(value) // SCALE + 0.25 + 0.5 * wanted) * SCALE
    blocks[np.arange(len(blocks)), place] = np.where(value >= 0, moved, -moved)


def _singular_moved(blocks: Floats, wanted: Bools) -> None:
    for block, one in zip(blocks, wanted, strict=True):
        left, values, right = np.linalg.svd(cv2.dct(block.reshape(4, 4)))
        values[0] = (values[0] // SCALE + 0.25 + 0.5 * one) * SCALE
        block[:] = cv2.idct(np.dot(left, np.dot(np.diag(values), right))).ravel()


def _bits(image: Pixels, bits: int, measure: Callable[[Floats], Floats]) -> Bools:
    high, wide = (length // 4 * 4 for length in image.shape[:2])
    blocks = _blocks(_haar(cv2.cvtColor(image, cv2.COLOR_RGB2YUV)[:high, :wide, 1])[0])
    said = measure(blocks) % SCALE > 0.5 * SCALE
    which = np.arange(len(blocks)) % bits
    count = np.bincount(which, minlength=bits)
    share = np.bincount(which, weights=said, minlength=bits) / np.maximum(count, 1)
    return np.asarray(share * 255 > 127)


def _largest(blocks: Floats) -> Floats:
    return np.asarray(np.abs(_strongest(blocks)[1]))


def _singular(blocks: Floats) -> Floats:
    """The largest singular value of each block, which its cosine transform leaves as it is."""
    turned = [cv2.dct(block.reshape(4, 4)) for block in blocks]
    return np.asarray(np.linalg.svd(np.array(turned).reshape(-1, 4, 4), compute_uv=False)[:, 0])


def _haar(channel: Pixels) -> tuple[Floats, Floats, Floats, Floats]:
    """Low band, and details along rows' axis, along columns' axis and along both; with sums in the package's order."""
    values = channel * HAAR
    low, detail = values[1::2] + values[0::2], values[0::2] - values[1::2]
    low, detail = low * HAAR, detail * HAAR
    return (
        low[:, 1::2] + low[:, 0::2],
        detail[:, 1::2] + detail[:, 0::2],
        low[:, 0::2] - low[:, 1::2],
        detail[:, 0::2] - detail[:, 1::2],
    )


def _back(low: Floats, rows: Floats, columns: Floats, both: Floats) -> Floats:
    """The inverse of `_haar`."""
    smooth, detail = _woven(low, columns, 1), _woven(rows, both, 1)
    return _woven(smooth, detail, 0)


def _woven(low: Floats, detail: Floats, axis: int) -> Floats:
    low, detail = low * HAAR, detail * HAAR
    both = np.stack([low + detail, low - detail], axis + 1)
    shape = list(low.shape)
    shape[axis] *= 2
    return both.reshape(shape)


def _blocks(low: Floats) -> Floats:
    """Whole blocks of 4 x 4 values, `[N, 16]`, row by row."""
    high, wide = low.shape[0] // 4, low.shape[1] // 4
    return low[: high * 4, : wide * 4].reshape(high, 4, wide, 4).transpose(0, 2, 1, 3).reshape(-1, 16)


def _put(low: Floats, blocks: Floats) -> None:
    high, wide = low.shape[0] // 4, low.shape[1] // 4
    low[: high * 4, : wide * 4] = blocks.reshape(high, wide, 4, 4).transpose(0, 2, 1, 3).reshape(high * 4, wide * 4)


def _strongest(blocks: Floats) -> tuple[np.ndarray, Floats]:
    """The place of each block's largest value but the first, and the value."""
    place = np.abs(blocks[:, 1:]).argmax(1) + 1
    return place, blocks[np.arange(len(blocks)), place]
