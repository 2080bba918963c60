"""Loaders `multi_style`, `style_vector` and `style_transfer`: networks that repaint a picture.

They are fully convolutional and see a picture at a working size, because the strokes that they learned have a size in
pixels. Statistics are taken over the whole picture, so pictures go through one by one.

Magenta's pair has 8-bit weights and activations, for pictures of one size. With the activations' rounding, flat areas
get blotches. So only the weights are used: when a file is loaded, they become float32, and pictures may have any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pydantic import Field

from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import open_session, read_model
from variorum.models.roles import StyleVector
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SHORTEST, LONGEST = 256, 512
"""Long side in pixels of what the networks see. Larger pictures are shrunk, smaller ones enlarged."""
MULTIPLE, LEAST = 4, 16
"""Sides of the network's input are multiples of the one, as it shrinks by four, and at least the other."""
STYLES = 26
STYLE_SIDE, WIDTH = 256, 100
"""Side of the square that the style's vector is computed from, and the vector's length."""
VECTOR = "mobilenet_conv/Conv/BiasAdd"


class StyleNetworkOptions(StrictModel):
    """Options of all three."""

    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


# ── multi_style ──────────────────────────────────────────────────────────────────────────────────────────────────────


def load_multi_style(entry: Entry, file: Path, options: StyleNetworkOptions, _used: Mapping[str, Any]) -> MultiStyle:
    """The network of an `.onnx` file. Raises ModelUnavailable if it isn't one."""
    session = open_session(file, options.threads, entry.name)
    _require(file, session, {"image", "style_weights"}, {"stylized"})
    return MultiStyle(session)


class MultiStyle:
    """A `roles.StyleNetwork`: conditional instance normalisation (Dumoulin et al., ICLR 2017, arXiv 1610.07629).

    Attributes:
        styles: number of styles. They have no names.
    """

    styles = STYLES

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(self, images: Sequence[Pixels], weights: Singles, *, longest: int = LONGEST) -> list[Pixels]:
        """Each picture in a mixture of the styles, weighted by the rows of `weights`, `[N, styles]`."""

        def run(picture: Singles, mixture: Singles) -> Singles:
            channels = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
            outputs = self._session.run(["stylized"], {"image": channels, "style_weights": mixture})
            return np.asarray(outputs[0][0].transpose(1, 2, 0))

        rows = np.asarray(weights, np.float32)
        rows = rows / rows.sum(axis=1, keepdims=True)
        return [
            _repainted(image, longest, lambda picture, row=row: run(picture, row))
            for image, row in zip(images, rows, strict=True)
        ]


# ── style_vector and style_transfer ──────────────────────────────────────────────────────────────────────────────────


def load_style_vector(entry: Entry, file: Path, options: StyleNetworkOptions, _used: Mapping[str, Any]) -> StyleEncoder:
    """The network of an `.onnx` file. Raises ModelUnavailable if it isn't one."""
    session = open_session(dequantised(file), options.threads, entry.name)
    _require(file, session, {"style_image"}, {VECTOR})
    return StyleEncoder(session)


class StyleEncoder:
    """A `roles.StyleVector`: MobileNet v2, distilled from the network of Ghiasi et al., BMVC 2017, arXiv 1705.06830."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Vectors `[N, 100]` of the central squares."""
        rows = [self._session.run([VECTOR], {"style_image": _style_input(image)})[0].reshape(1, -1) for image in images]
        return np.concatenate(rows) if rows else np.zeros((0, WIDTH), np.float32)


def load_style_transfer(
    entry: Entry, file: Path, options: StyleNetworkOptions, used: Mapping[str, Any]
) -> StyleTransfer:
    """The network of an `.onnx` file; the entry uses the one that computes the style's vector.

    Raises:
        ModelUnavailable: the file isn't such a network, or the entry uses no or several models.
    """
    if len(used) != 1:
        raise ModelUnavailable(
            f"{entry.name}: loader style_transfer uses one model, of style vectors; name it in `uses`"
        )
    (encoder,) = used.values()
    session = open_session(dequantised(file), options.threads, entry.name)
    _require(file, session, {"content_image", VECTOR}, {"transformer/expand/conv3/conv/Sigmoid"})
    return StyleTransfer(session, encoder)


class StyleTransfer:
    """A `roles.StyleTransfer`: Magenta's network for any style (Ghiasi et al., BMVC 2017, arXiv 1705.06830)."""

    def __init__(self, session: Any, encoder: StyleVector) -> None:
        self._session = session
        self._encoder = encoder

    def vectors(self, images: Sequence[Pixels]) -> Singles:
        """Vectors of styles `[N, 100]`."""
        return self._encoder(images)

    def __call__(self, images: Sequence[Pixels], vectors: Singles, *, longest: int = LONGEST) -> list[Pixels]:
        """Each picture in the style of its row of `vectors`, `[N, 100]`."""

        def run(picture: Singles, vector: Singles) -> Singles:
            style = vector.reshape(1, 1, 1, -1)
            outputs = self._session.run(None, {"content_image": picture[None], VECTOR: style})
            return np.asarray(outputs[0][0])

        return [
            _repainted(image, longest, lambda picture, row=row: run(picture, row))
            for image, row in zip(images, np.asarray(vectors, np.float32), strict=True)
        ]


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def working_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width at which a network sees a picture: its long side is between `SHORTEST` and `longest`."""
    long = max(height, width)
    factor = min(max(long, min(SHORTEST, longest)), longest) / long
    return max(1, round(height * factor)), max(1, round(width * factor))


def _repainted(image: Pixels, longest: int, run: Any) -> Pixels:
    """The picture at its own size after a network saw it, in [0, 1], at its working size with mirrored margins."""
    height, width = working_size(image.shape[0], image.shape[1], longest)
    shrinks = height < image.shape[0]
    small = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))
    down, across = (max(LEAST, -(-side // MULTIPLE) * MULTIPLE) - side for side in (height, width))
    padded = cv2.copyMakeBorder(small, 0, down, 0, across, cv2.BORDER_REFLECT)
    painted = run(padded.astype(np.float32) * np.float32(1 / 255))[:height, :width]
    pixels = np.asarray(np.clip(painted * 255 + 0.5, 0, 255), np.uint8)
    if pixels.shape[:2] == image.shape[:2]:
        return pixels
    back = cv2.INTER_LANCZOS4 if shrinks else cv2.INTER_AREA
    return np.asarray(cv2.resize(pixels, image.shape[1::-1], interpolation=back))


def _style_input(image: Pixels) -> Singles:
    """`[1, 256, 256, 3]`: the central square."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    filter_ = cv2.INTER_AREA if side > STYLE_SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (STYLE_SIDE, STYLE_SIDE), interpolation=filter_), np.float32)[
        None
    ] * np.float32(1 / 255)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def dequantised(file: Path) -> bytes:
    """An ONNX file with 8-bit weights as one with weights in float32, whose height and width are free.

    In TensorFlow Lite's form, as tf2onnx writes it, each value is quantised and converted back before it is used. Of
    weights only the result is kept; activations skip both steps.

    Raises:
        ModelUnavailable: the file isn't ONNX.
    """
    from onnx.helper import make_node
    from onnx.numpy_helper import from_array, to_array

    model = read_model(file, file)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    instead: dict[str, str] = {}
    kept = []
    for node in graph.node:
        names = [instead.get(name, name) for name in node.input]
        if node.op_type == "DequantizeLinear" and names[0] in constants:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            parts = [to_array(constants[name]) for name in names if name in constants]
            graph.initializer.append(from_array(_real(parts, axis), f"{node.output[0]}/real"))
            instead[node.output[0]] = f"{node.output[0]}/real"
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            instead[node.output[0]] = names[0]
        else:
            node.input[:] = names
            kept.append(node)
    ends = [output.name for output in graph.output if output.name in instead]
    kept += [make_node("Identity", [instead[name]], [name]) for name in ends]
    needed = {name for node in kept for name in node.input}
    constants_kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in ((graph.node, kept), (graph.initializer, constants_kept), (graph.value_info, [])):
        values = list(values)
        del field[:]
        field.extend(values)
    for value in (*graph.input, *graph.output):
        _free_sides(value)
    content: bytes = model.SerializeToString()
    return content


def _real(parts: Sequence[Any], axis: int) -> Singles:
    """The weights that 8-bit integers stand for, given them, their scale and their zero point."""
    quantised, scale, *rest = parts
    zero = rest[0] if rest else np.zeros_like(scale)
    shape = [-1 if number == axis else 1 for number in range(quantised.ndim)] if scale.size > 1 else []
    difference = quantised.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    return np.asarray(difference * scale.reshape(shape), np.float32)


def _free_sides(value: Any) -> None:
    """Let a picture `[1, H, W, 3]` in a graph have any height and width, unless it's the style's."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) == 4 and dims[3].dim_value == 3 and dims[1].dim_value != STYLE_SIDE:
        for dim, name in ((dims[1], "h"), (dims[2], "w")):
            dim.Clear()
            dim.dim_param = name


def _require(file: Path, session: Any, inputs: set[str], outputs: set[str]) -> None:
    found = {item.name for item in session.get_inputs()}, {item.name for item in session.get_outputs()}
    if found != (inputs, outputs):
        names = ", ".join(sorted(found[0]))[:200]
        raise ModelUnavailable(f"{file} isn't the style network meant: its inputs are {names}, not {sorted(inputs)}")


def _loader(make: Any, *packages: str) -> Loader:
    return Loader(
        revision=1,
        make=make,
        options=StyleNetworkOptions,
        packages=("onnxruntime", *packages),
        obstacle=no_obstacle,
    )


MULTI_STYLE = _loader(load_multi_style)
STYLE_VECTOR = _loader(load_style_vector, "onnx")
STYLE_TRANSFER = _loader(load_style_transfer, "onnx")
