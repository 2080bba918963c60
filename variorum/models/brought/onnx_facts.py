"""The fields of the file beside an ONNX model, and the preprocessing that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from variorum.models.brought.steps import MEANS, STDS, Steps
from variorum.models.table_entries import StrictModel
from variorum.schemas.errors import ModelUnavailable

ASSUMED = "assumed: the usual for ImageNet, as the model has none"
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


def preparation(facts: Facts | None, shape: Sequence[object], dtype: str, name: str) -> Steps:
    """The preprocessing for a graph.

    Args:
        facts: from the file beside it; None if there is none.
        shape: of the graph's input: numbers where it is fixed, anything else where it is free.
        dtype: of the graph's input: `float32`, `float16` or `uint8`.
        name: of the model, for errors.

    Raises:
        ModelUnavailable: the facts and the graph contradict each other, or neither says where the channels are.
    """
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
    floats = dtype != "uint8"
    return Steps(
        resize=resize or (height, width),
        crop=(height, width) if resize else None,
        interpolation=known.interpolation,
        mean=(known.mean or MEANS["imagenet"]) if floats else None,
        std=(known.std or STDS["imagenet"]) if floats else None,
        largest=1 if floats else 255,
        channels_first=layout == "NCHW",
        dtype=dtype,
    )
