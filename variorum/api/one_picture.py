"""One picture from Python: an array, a PIL image, a file or its bytes."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.machine.retrying import printable, read_file, why
from variorum.pixels import MIN_SIDE
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from PIL import Image

    from variorum.arrays import Pixels

WHAT = "a folder, a dataset or table, or a list of uint8 arrays [H, W, 3] or [H, W], PIL images or paths of files"


def picture(item: Any, where: str) -> Pixels | bytes:
    """One picture: pixels `[H, W, 3]` or `[H, W]` uint8, or the bytes of a file.

    Raises:
        SourceError: it isn't a picture, or its file can't be read.
    """
    if isinstance(item, str | os.PathLike):
        try:
            return read_file(Path(os.path.expanduser(item)))
        except (OSError, ValueError) as error:
            reason = why(error) if isinstance(error, OSError) else str(error)
            raise SourceError(f"curate: {where}, {cut(printable(os.fspath(item)))}: {reason}") from None
    if isinstance(item, bytes):
        return item
    from PIL import Image

    if isinstance(item, Image.Image):
        try:
            return _of_image(item)
        except (OSError, ValueError, SyntaxError) as error:  # PIL reads a file when its pixels are asked for
            raise SourceError(
                f"curate: {where} can't be decoded ({cut(str(error))}); give the path of its file, and it is dropped"
            ) from None
    if not hasattr(item, "__array__"):
        more = "; give labels separately" if isinstance(item, tuple | Mapping) else ""
        raise SourceError(f"curate: {where} is {kind_of(item)}; pictures must be {WHAT}{more}")
    return _of_array(array_of(item, where), where)


def array_of(item: Any, where: str) -> Any:
    """Convert an array or a tensor to NumPy. Raises SourceError if that fails."""
    try:
        return np.asarray(item)
    except (RuntimeError, TypeError) as error:  # a tensor on a GPU, or one with a gradient
        raise SourceError(f"curate: {where} is {kind_of(item)}: {cut(str(error))}") from None


def _of_image(image: Image.Image) -> Pixels | bytes:
    """A PIL image upright; as PNG if its colours depend on more than its pixels."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB") and not {"icc_profile", "transparency"} & image.info.keys():
        return np.asarray(image)
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGB")
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _of_array(array: Any, where: str) -> Pixels:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    shape = list(array.shape)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3):
        hint = ""
        if array.ndim == 3 and array.shape[-1] == 4:
            hint = "; without the alpha channel: x[..., :3]"
        elif array.ndim == 3 and array.shape[0] in (1, 3):
            hint = "; with the channels last: np.moveaxis(x, 0, -1)"
        elif array.ndim == 4:
            hint = "; give an array of several pictures by itself, and labels separately: curate(x, y)"
        raise SourceError(f"curate: {where} has shape {shape}; a picture is [H, W, 3] or [H, W]{hint}")
    if array.dtype != np.uint8:
        raise SourceError(f"curate: {where} holds {array.dtype}; pictures are uint8 from 0 to 255{_conversion(array)}")
    if min(shape[:2]) < MIN_SIDE:
        raise SourceError(f"curate: {where} has shape {shape}; the shorter side must have at least {MIN_SIDE} pixels")
    return np.asarray(array)


def _conversion(array: Any) -> str:
    """Describe how an array becomes uint8."""
    if array.dtype == bool:
        return ": 255 * x.astype('uint8')"
    if not array.size or array.dtype.kind not in "fiu":
        return ""
    low, high = float(np.min(array)), float(np.max(array))
    if not math.isfinite(low + high) or low < 0:
        return f", and this one runs from {low:g} to {high:g}; undo its normalisation first"
    if array.dtype.kind == "f" and high <= 1:
        return ": (255 * x).round().astype('uint8') for values from 0 to 1"
    if high <= 255:
        return ": x.round().astype('uint8')" if array.dtype.kind == "f" else ": x.astype('uint8')"
    return ": (x // 257).astype('uint8') for 16 bits" if array.dtype == np.uint16 else f", and this one has {high:g}"


def kind_of(value: Any) -> str:
    """The type of a value, for errors."""
    return f"of type {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")
