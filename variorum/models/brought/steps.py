"""The preprocessing of a network in words: `resize=256 crop=224 mean=imagenet std=imagenet`.

Steps that aren't named aren't done. `none` alone gives values in [0, 1] of the pictures as they are stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.preprocessing import centre, normalised, sentence, shorter_side, stretched
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from PIL.Image import Image

    from variorum.arrays import Array

MEANS = {"imagenet": (0.485, 0.456, 0.406), "clip": (0.48145466, 0.4578275, 0.40821073)}
STDS = {"imagenet": (0.229, 0.224, 0.225), "clip": (0.26862954, 0.26130258, 0.27577711)}
"""Named values by channel, for pictures in [0, 1]."""
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
"""Pillow's, which are widened to shrink a picture."""
LONGEST = 8192
"""Pixels of a side."""
USUAL = "resize=232 crop=224 mean=imagenet std=imagenet"
"""What is assumed of a network that says nothing of itself."""
THERE_IS = (
    "resize=256 (shorter side) or resize=32x32 (height x width), crop=224, interpolation=bicubic, mean=imagenet or "
    "mean=0.5 or mean=0.5,0.5,0.5, std= likewise, values=0-1 or values=0-255, layout=nchw or layout=nhwc, grey, bgr; "
    f"or none. The usual: {USUAL}"
)
COLOURS = ("rgb", "bgr", "grey")


@dataclass(frozen=True, slots=True)
class Steps:
    """Makes a network's input from a picture.

    Attributes:
        resize: pixels of the shorter side; or height and width to stretch to; None to leave the size.
        crop: height and width of the centre that is cut out; None for all.
        interpolation: Pillow's filter.
        mean, std: by channel, of values up to `largest`; None to leave the values.
        largest: 1 or 255, what white is.
        colours: `rgb`, `bgr` or `grey`.
        channels_first: whether the input is `[C, H, W]`.
        dtype: of the input.
    """

    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    largest: int = 1
    colours: str = "rgb"
    channels_first: bool = True
    dtype: str = "float32"

    def __call__(self, image: Image) -> Array:
        """`[C, H, W]` or `[H, W, C]` from an RGB picture."""
        values = np.asarray(self._cut(image))
        if self.colours == "grey":
            values = values[..., None]
        elif self.colours == "bgr":
            values = values[..., ::-1]
        if self.dtype != "uint8":
            values = self._scaled(values)
        return np.ascontiguousarray(values.transpose(2, 0, 1) if self.channels_first else values, dtype=self.dtype)

    def _cut(self, image: Image) -> Image:
        from PIL.Image import Resampling

        method = Resampling[self.interpolation.upper()]
        if isinstance(self.resize, int):
            shorter = min(image.size)
            wide, high = (self.resize * side // shorter for side in image.size)  # as torchvision rounds
            if (wide, high) != image.size:
                image = image.resize((wide, high), method)
        elif self.resize:
            image = image.resize(self.resize[::-1], method)
        if self.crop:
            height, width = self.crop
            left, top = round((image.size[0] - width) / 2), round((image.size[1] - height) / 2)
            image = image.crop((left, top, left + width, top + height))
        return image.convert("L") if self.colours == "grey" else image

    def _scaled(self, values: Array) -> Array:
        """Once for every pixel of a row, which is faster than channel by channel."""
        rows = values.reshape(len(values), -1).astype(np.float32)
        if self.largest == 1:
            rows /= np.float32(255)
        if self.mean and self.std:
            rows -= np.tile(np.asarray(self.mean, np.float32), values.shape[1])
            rows /= np.tile(np.asarray(self.std, np.float32), values.shape[1])
        return rows.reshape(values.shape)

    def tensors(self, pictures: Any) -> Any:
        """The same of RGB tensors `[N, 3, H, W]` in [0, 1], differentiable, without rounding in between."""
        from torch.nn import functional

        height, width = pictures.shape[2:]
        size = self.resize or (height, width)
        if isinstance(size, int):
            size = (size * height // min(height, width), size * width // min(height, width))
        if size != (height, width):
            pictures = functional.interpolate(pictures, size, mode=self.interpolation, antialias=True)  # as Pillow
        if self.crop:
            room = [had - wanted for had, wanted in zip(size, self.crop, strict=True)]
            top, left = (round(one / 2) for one in room)
            pictures = functional.pad(pictures, (-left, left - room[1], -top, top - room[0]))
        if self.colours == "grey":
            pictures = sum(weight * pictures[:, [n]] for n, weight in enumerate((0.299, 0.587, 0.114)))
        elif self.colours == "bgr":
            pictures = pictures.flip(1)
        pictures = pictures * self.largest
        if self.mean and self.std:
            mean, std = (pictures.new_tensor(one).view(1, -1, 1, 1) for one in (self.mean, self.std))
            pictures = (pictures - mean) / std
        return pictures if self.channels_first else pictures.permute(0, 2, 3, 1)

    def told(self, by: str = "") -> str:
        """The steps as a sentence for cards; `by` says whose they are."""
        return sentence(*self._told(), by=by)

    def _told(self) -> list[str]:
        steps = ["grey"] if self.colours == "grey" else []
        if isinstance(self.resize, int):
            steps.append(shorter_side(self.resize, self.interpolation))
        elif self.resize:
            steps.append(stretched(*self.resize, self.interpolation))
        if self.crop:
            steps.append(centre(*self.crop))
        if self.colours == "bgr":
            steps.append("values in the order blue green red")
        plain = "values x / 255" if self.largest == 1 else "values 0 to 255"
        if not (self.mean and self.std):
            return [*steps, plain]
        told = normalised(self.mean, self.std)
        return [*steps, told if self.largest == 1 else told.replace("x / 255", "x")]


DIFFERENTIABLE = ("bilinear", "bicubic")


def steps_from(prepare: Any) -> Steps | None:
    """The steps that a library's transform does, if `Steps.tensors` can do them; else None.

    Known are the transforms of torchvision's weights, and chains of its resizing, central cut and normalisation, as
    timm makes them.
    """
    found: Steps | None = None
    if isinstance(prepare, Steps):
        found = prepare if prepare.dtype != "uint8" else None
    elif hasattr(prepare, "resize_size") and hasattr(prepare, "crop_size"):  # of torchvision's weights
        found = Steps(
            _side(prepare.resize_size),
            _pair(prepare.crop_size),
            prepare.interpolation.value,
            tuple(prepare.mean),
            tuple(prepare.std),
        )
    elif hasattr(prepare, "transforms"):
        found = _of_chain(prepare.transforms)
    return found if found is None or found.resize is None or found.interpolation in DIFFERENTIABLE else None


def _of_chain(transforms: Sequence[Any]) -> Steps | None:
    """Transforms of torchvision in a row, if they stand in the order of `Steps`."""
    found, order = dict[str, Any](), list[str]()
    for one in transforms:
        kind = type(one).__name__
        if kind == "Resize" and getattr(one, "max_size", None) is None:
            found |= {
                "resize": _side(one.size),
                "interpolation": getattr(one.interpolation, "value", one.interpolation),
            }
        elif kind == "CenterCrop":
            found["crop"] = _pair(one.size)
        elif kind == "Normalize":
            found |= {name: tuple(float(value) for value in getattr(one, name)) for name in ("mean", "std")}
        elif kind not in ("ToTensor", "MaybeToTensor", "ToImage", "ToDtype"):
            return None
        order += [kind] if kind in _ORDER else []
    made = any(
        type(one).__name__ in ("ToTensor", "MaybeToTensor") or getattr(one, "scale", False) for one in transforms
    )
    return Steps(**found) if made and order == [kind for kind in _ORDER if kind in order] else None


_ORDER = ("Resize", "CenterCrop", "Normalize")


def _side(size: Any) -> int | tuple[int, int]:
    """Of one number the shorter side, of two height and width."""
    sides = [int(one) for one in size] if isinstance(size, Sequence) else [int(size)]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _pair(size: Any) -> tuple[int, int]:
    found = _side(size)
    return (found, found) if isinstance(found, int) else found


def steps_of(text: str, *, channels_first: bool = True) -> Steps:
    """The steps that a text names.

    Args:
        text: words as in `USUAL`; steps that it doesn't name aren't done.
        channels_first: of the input, unless the text has a `layout`.

    Raises:
        RecipeError: says which word is wrong, and what there is.
    """
    words = text.split()
    if not words:
        raise _wrong("is empty")
    if words == ["none"]:
        return Steps(channels_first=channels_first)
    found: dict[str, Any] = {"channels_first": channels_first}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and word in COLOURS[1:]:
            key, value = "colours", word
        read = _READ.get(key)
        if read is None or not value or (key == "colours") == bool(equals):
            raise _wrong(f"has {cut(word)!r}, which is no step")
        name, content = read(value)
        if content is None:
            raise _wrong(f"has {cut(word)!r}, which isn't understood")
        if name in found and name != "channels_first":
            raise _wrong(f"names {name} twice")
        found[name] = content
    channels = 1 if found.get("colours") == "grey" else 3
    if "mean" in found or "std" in found:
        for name, usual in (("mean", (0.0,)), ("std", (1.0,))):
            values = found.get(name, usual)
            if len(values) not in (1, channels):
                raise _wrong(f"has {len(values)} numbers for {name}, and the network gets {channels} channels")
            found[name] = values * channels if len(values) == 1 else values
    return Steps(**found)


def _wrong(what: str) -> RecipeError:
    return RecipeError(f"preprocess {what}; there is: {THERE_IS}")


def _sides(value: str) -> int | tuple[int, int] | None:
    if not re.fullmatch(r"\d{1,4}(x\d{1,4})?", value, re.ASCII):
        return None
    sides = [int(one) for one in value.split("x")]
    if not all(1 <= side <= LONGEST for side in sides):
        return None
    return (sides[0], sides[1]) if len(sides) > 1 else sides[0]


def _crop(value: str) -> tuple[int, int] | None:
    found = _sides(value)
    return (found, found) if isinstance(found, int) else found


def _numbers(value: str, named: Mapping[str, tuple[float, ...]], *, positive: bool) -> tuple[float, ...] | None:
    if value in named:
        return named[value]
    try:
        found = tuple(float(one) for one in value.split(","))
    except ValueError:
        return None
    return found if all(math.isfinite(one) and (one > 0 or not positive) for one in found) else None


_READ: Mapping[str, Any] = {
    "resize": lambda value: ("resize", _sides(value)),
    "crop": lambda value: ("crop", _crop(value)),
    "interpolation": lambda value: ("interpolation", value if value in FILTERS else None),
    "mean": lambda value: ("mean", _numbers(value, MEANS, positive=False)),
    "std": lambda value: ("std", _numbers(value, STDS, positive=True)),
    "values": lambda value: ("largest", {"0-1": 1, "0-255": 255}.get(value)),
    "layout": lambda value: ("channels_first", {"nchw": True, "nhwc": False}.get(value)),
    "colours": lambda value: ("colours", value),
}
