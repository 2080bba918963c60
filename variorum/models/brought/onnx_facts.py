"""The fields of the file beside an ONNX model, and the preprocessing that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from variorum.models.preprocessing import centre, normalised, sentence, shorter_side, stretched
from variorum.models.table_entries import StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, for values in [0, 1]."""
SIZE = 224
SHARE = 0.875
"""Of the shorter side that the usual centre crop keeps: 224 of 256."""

Side = Annotated[int, Field(ge=1, le=8192, strict=True)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Facts(StrictModel):
    """The fields of `FILE.json`; all may be left out.

    Attributes:
        size: side of the network's input, or height and width; by default the graph's own, else 224.
        resize: pixels that the shorter side is resized to before the crop; by default `size` / 0.875.
        crop: whether the centre is cut out; if not, the picture is stretched to `size`.
        interpolation: Pillow's filter, which is widened to shrink a picture.
        mean, std: by channel, of values in [0, 1]; by default ImageNet's. For a graph of uint8 there are none.
        layout: `NCHW` or `NHWC`; by default where the graph has its three channels.
        classes: their names, in the order of the outputs.
        classes_file: a file beside the model with one name a line, in place of `classes`.
        output: name of the graph's output that has the scores; by default the first one.
    """

    size: Side | Annotated[tuple[Side, Side], Field(strict=False)] | None = None
    resize: Side | None = None
    crop: Annotated[bool, Field(strict=True)] = True
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] = "bilinear"
    mean: tuple[Number, Number, Number] | None = None
    std: tuple[Scale, Scale, Scale] | None = None
    layout: Literal["NCHW", "NHWC"] | None = None
    classes: tuple[str, ...] = ()
    classes_file: Annotated[str, Field(pattern=r"^[^/\\]+$", max_length=255)] | None = None
    output: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Facts:
        if not self.crop and self.resize is not None:
            raise ValueError("resize is the shorter side before the crop; leave it out where crop is false")
        if self.classes and self.classes_file:
            raise ValueError("give only one of classes and classes_file")
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both of mean and std, or neither")
        return self


@dataclass(frozen=True, slots=True)
class Preparation:
    """Preprocessing: makes a network's input from a picture.

    Attributes:
        size: height and width of the input.
        resize: the shorter side before the crop, None to stretch.
        filter: Pillow's number of the interpolation.
        mean, std: `[3 W]` float32, once for every pixel of a row, which is faster; None for uint8.
        channels_first: whether the input is `[3, H, W]`.
        dtype: of the input.
        told: what it does, in a sentence for the card.
    """

    size: tuple[int, int]
    resize: int | None
    filter: int
    mean: Array | None
    std: Array | None
    channels_first: bool
    dtype: str
    told: str

    def __call__(self, picture: Pixels) -> Array:
        """`[3, H, W]` or `[H, W, 3]` from an RGB picture."""
        values = self._cut(picture)
        if self.mean is not None and self.std is not None:
            rows = values.reshape(len(values), -1).astype(np.float32)
            rows /= np.float32(255)
            rows -= self.mean
            rows /= self.std
            values = rows.reshape(values.shape)
        return np.ascontiguousarray(values.transpose(2, 0, 1) if self.channels_first else values, dtype=self.dtype)

    def _cut(self, picture: Pixels) -> Array:
        from PIL import Image

        (height, width), image = self.size, Image.fromarray(picture)
        if self.resize is None:
            return np.asarray(image.resize((width, height), self.filter))
        shorter = min(image.size)
        wide, high = (self.resize * side // shorter for side in image.size)  # as torchvision rounds
        if (wide, high) != image.size:
            image = image.resize((wide, high), self.filter)
        left, top = round((wide - width) / 2), round((high - height) / 2)
        return np.asarray(image.crop((left, top, left + width, top + height)))


def preparation(facts: Facts | None, shape: Sequence[object], dtype: str, name: str) -> Preparation:
    """The preparation for a graph.

    Args:
        facts: from the file beside it; None if there is none.
        shape: of the graph's input: numbers where it is fixed, anything else where it is free.
        dtype: of the graph's input: `float32`, `float16` or `uint8`.
        name: of the model, for errors.

    Raises:
        ModelUnavailable: the facts and the graph contradict each other, or neither says where the channels are.
    """
    from PIL import Image

    known = facts or Facts()
    layouts = [layout for layout, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] == 3]
    layout = known.layout or (layouts[0] if len(layouts) == 1 else None)
    if layout is None or (layouts and layout not in layouts):
        raise ModelUnavailable(
            f"model {name!r}: its input is {list(shape)}, so "
            + (f"its layout isn't {layout}" if layout else "it doesn't say where its three channels are; give `layout`")
        )
    sides = shape[2:] if layout == "NCHW" else shape[1:3]
    graph = tuple(side for side in sides if isinstance(side, int))
    given = (known.size, known.size) if isinstance(known.size, int) else known.size
    size = given or (graph if len(graph) == 2 else (SIZE, SIZE))
    if any(isinstance(side, int) and side != mine for side, mine in zip(sides, size, strict=True)):
        raise ModelUnavailable(f"model {name!r}: its input is {list(shape)}, but `size` is {list(size)}")
    if dtype == "uint8" and known.mean:
        raise ModelUnavailable(f"model {name!r}: its input is uint8, which has no mean and std; leave them out")
    height, width = size[0], size[1]
    resize = (known.resize or round(min(size) / SHARE)) if known.crop else None
    if resize is not None and resize < max(size):
        raise ModelUnavailable(f"model {name!r}: `resize` {resize} is less than the size {list(size)} that is cut out")
    mean, std = known.mean or MEAN, known.std or STD
    told = sentence(
        shorter_side(resize, known.interpolation) if resize else stretched(height, width, known.interpolation),
        centre(height, width) if resize else "",
        "values 0 to 255" if dtype == "uint8" else normalised(mean, std),
        by="" if facts else "assumed: the usual for ImageNet, as the model has none",
    )
    floats = dtype != "uint8"
    return Preparation(
        size=(height, width),
        resize=resize,
        filter=int(Image.Resampling[known.interpolation.upper()]),
        mean=np.tile(np.asarray(mean, np.float32), width) if floats else None,
        std=np.tile(np.asarray(std, np.float32), width) if floats else None,
        channels_first=layout == "NCHW",
        dtype=dtype,
        told=told,
    )
