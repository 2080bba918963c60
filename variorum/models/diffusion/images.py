"""Pictures on their way into diffusion models and back: PIL images, tensors, sizes, edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels


LEAST_SPREAD = 2.0
"""Standard deviation in grey levels below which a picture is of one colour."""
FAR = 8.0
"""Mean difference in grey levels between pictures that aren't alike."""


def to_pil(pixels: Pixels) -> Any:
    """A PIL image, as pipelines take it."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))


def to_tensor(images: Sequence[Pixels], device: Any) -> Any:
    """Pictures of one size as float32 `[N, 3, H, W]` in [-1, 1]."""
    import torch

    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).to(device).float() / 127.5 - 1


def to_pixels(values: Any) -> list[Pixels]:
    """Pictures of a tensor `[N, 3, H, W]`, clipped to [-1, 1]; one with non-finite values is black."""
    values = values.detach().float()
    sound = values.isfinite().all(3).all(2).all(1)[:, None, None, None]
    levels = ((values.where(sound, -1.0).clamp(-1, 1) + 1) * 127.5).round()
    return list(levels.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8))


def resized(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Pixels at another height and width: area filter to shrink, cubic to enlarge."""
    if pixels.shape[:2] == shape:
        return pixels
    how = cv2.INTER_AREA if shape[0] < pixels.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, shape[::-1], interpolation=how), np.uint8)


def shrunk(pixels: Pixels, side: int) -> Pixels:
    """Pixels whose longer side is `side` at most; smaller pictures stay as they are."""
    longer = max(pixels.shape[:2])
    if longer <= side:
        return pixels
    height, width = (max(1, round(one * side / longer)) for one in pixels.shape[:2])
    return resized(pixels, (height, width))


def extended(pixels: Pixels, inner: tuple[int, int], outer: tuple[int, int]) -> Pixels:
    """Pixels resized to `inner` height and width, then extended to `outer` by repeating the last row and column."""
    below, beside = outer[0] - inner[0], outer[1] - inner[1]
    return np.asarray(cv2.copyMakeBorder(resized(pixels, inner), 0, below, 0, beside, cv2.BORDER_REPLICATE), np.uint8)


def grown(hole: Array, inner: tuple[int, int], outer: tuple[int, int], cell: int) -> Pixels:
    """A mask of a hole `[H, W]` as an inpainting pipeline takes it: 255 where to fill, resized as by `extended`.

    It is grown by one cell of the latents, in pixels. Pipelines shrink masks by taking one pixel of each cell, so a
    cell with a few pixels of the hole would keep them.
    """
    touched = np.asarray(extended(hole.astype(np.uint8) * 255, inner, outer) > 0, np.uint8)
    return np.asarray(cv2.dilate(touched, np.ones((2 * cell + 1, 2 * cell + 1), np.uint8)) * 255, np.uint8)


def blanked(made: Pixels, before: Pixels) -> bool:
    """Whether a model made pixels of one colour, mostly black, that should look like `before`; both `[…, 3]`."""
    if not made.size or float(made.std()) >= LEAST_SPREAD:
        return False
    return float(np.abs(made.astype(np.int16) - before).mean()) > FAR


def fitted(pixels: Pixels, multiple: int, least: int = 1, *, mask: bool = False) -> Pixels:
    """A picture or mask as a model takes it; `restored` undoes it.

    Args:
        pixels: `[H, W, 3]` or `[H, W]`, uint8.
        multiple: of the sides, in pixels; what is missing is mirrored below and to the right.
        least: pixels that the shorter side must have; a smaller picture is enlarged.
        mask: enlarge by repeating pixels, so that no new values arise.
    """
    inner = inner_shape(pixels.shape[:2], least)
    if mask and pixels.shape[:2] != inner:
        large = np.asarray(cv2.resize(pixels, inner[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    else:
        large = resized(pixels, inner)
    below, beside = (-side % multiple for side in inner)
    return np.asarray(cv2.copyMakeBorder(large, 0, below, 0, beside, cv2.BORDER_REFLECT_101), np.uint8)


def restored(made: Pixels, shape: tuple[int, int], least: int = 1) -> Pixels:
    """A model's version of a fitted picture, at the picture's own height and width."""
    height, width = inner_shape(shape, least)
    return resized(np.ascontiguousarray(made[:height, :width]), shape)


def inner_shape(shape: tuple[int, int], least: int) -> tuple[int, int]:
    """Height and width of a picture after it is enlarged to a shorter side of `least`; larger ones keep theirs."""
    scale = max(1.0, least / min(shape))
    return round(shape[0] * scale), round(shape[1] * scale)


def canny_edges(image: Pixels, low: float, high: float) -> Pixels:
    """White edges on black `[H, W, 3]`: Canny's detector (PAMI 1986) on the grey levels.

    An edge starts where the gradient exceeds `high` and continues where it exceeds `low`.
    """
    found = cv2.Canny(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), low, high)
    return np.repeat(np.asarray(found, np.uint8)[..., None], 3, axis=2)


def common_shape(images: Sequence[Pixels], multiple: int) -> tuple[int, int]:
    """Height and width of pictures that go through a model together.

    Raises:
        ValueError: the pictures differ in size, or a side isn't a multiple of `multiple`.
    """
    shapes = {image.shape[:2] for image in images}
    if len(shapes) > 1:
        raise ValueError(f"pictures of one call must have one size, got {sorted(shapes)}")
    height, width = shapes.pop()
    if height % multiple or width % multiple:
        raise ValueError(f"sides of {height} and {width} pixels are no multiples of {multiple}")
    return height, width
