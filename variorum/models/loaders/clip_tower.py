"""Loader `clip_tower`: the image tower of CLIP from an ONNX file with 8-bit weights, computed in float32.

Such a file quantises the input of each matrix product too, to one range for the whole batch. A vector then depends on
the other pictures, and on a CPU without VNNI instructions the products saturate. So only the weights are used: when the
file is loaded, each quantised product becomes a plain one with weights in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import open_session, read_model
from variorum.models.penultimate import once
from variorum.models.roles import Encoder, Prepares
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

OUTPUT = "image_embeds"
"""The class token after the projection that pictures and texts share."""
WIDTH = 512
SIDE = 224
"""Of the network's input, pixels."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
QUANTISED = ("MatMulInteger", "DynamicQuantizeLinear")


class ClipTowerOptions(StrictModel):
    """Options of `clip_tower`."""

    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


def load_clip_tower(entry: Entry, file: Path, options: ClipTowerOptions, _used: Mapping[str, Any]) -> ClipTower:
    """The encoder of an `.onnx` file with quantised or plain matrix products.

    Raises:
        ModelUnavailable: the file isn't ONNX, has quantised products of another form, or isn't an image tower.
    """
    model = read_model(file, file)
    dequantise(model)
    content = model.SerializeToString()
    del model  # a third of a gigabyte
    session = open_session(content, options.threads, entry.name)
    if OUTPUT not in [output.name for output in session.get_outputs()]:
        raise ModelUnavailable(f"{file} isn't CLIP's image tower: it has no output {OUTPUT}")
    return ClipTower(session)


class ClipTower(Encoder, Prepares):
    """A `roles.Encoder`: the image tower of CLIP (Radford et al., ICML 2021, arXiv 2103.00020) on ONNX Runtime.

    Pictures go through one by one, which costs no time on a CPU, so a vector depends on its picture alone.
    """

    at_once = 1
    """Pictures that are worth giving it at a time."""
    side, std = SIDE, STD

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    @once
    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, 512]`, not normalised."""
        rows = [self._session.run([OUTPUT], {self._input: network_input(image)})[0] for image in images]
        return np.concatenate(rows) if rows else np.zeros((0, WIDTH), np.float32)


def network_input(image: Pixels) -> Singles:
    """`[1, 3, 224, 224]`, as in CLIP's training: the shorter side resized to 224, bicubic, and the centre cropped.

    Only what is cropped is computed, so a very long picture costs no more.
    """
    height, width = image.shape[:2]
    (left, right), (top, bottom) = cropped(width, min(height, width)), cropped(height, min(height, width))
    square = Image.fromarray(np.ascontiguousarray(image)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    x = (np.asarray(square, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


def cropped(length: int, shorter: int) -> tuple[float, float]:
    """Where the crop begins and ends along a side of this length, in pixels before resizing."""
    resized = SIDE * length // shorter
    first = (resized - SIDE) // 2
    return first * length / resized, (first + SIDE) * length / resized


def dequantise(model: Any) -> None:
    """Replace, in place, the dynamically quantised matrix products of a model by products in float32.

    ONNX Runtime's quantiser writes such a product as: quantise the input to 8 bits (scale a, zero point p); multiply
    integers; convert to float; multiply by a·b, with b the weights' scale, one number or one per column. It becomes the
    product of the input and the weights that `weights_of` returns.

    Raises:
        ModelUnavailable: a quantised product has another form, or other quantised nodes remain.
    """
    from onnx.helper import make_node
    from onnx.numpy_helper import from_array, to_array

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    plain: dict[str, Any] = {}
    removed: set[str] = set()
    for node in (node for node in graph.node if node.op_type == "MatMulInteger"):
        product = _product(node, makers, users)
        removed.update(product.removed)
        try:
            tensors = [to_array(constants[name]) for name in (node.input[1], product.scale, *node.input[3:4])]
        except KeyError as error:
            raise ModelUnavailable(f"the quantised product {node.output[0]} has no constant {error}") from None
        name = f"{product.output}/weights"
        plain[product.output] = make_node("MatMul", [product.x, name], [product.output])
        graph.initializer.append(from_array(weights_of(*tensors), name))
    nodes = [plain.get(node.output[0], node) for node in graph.node if removed.isdisjoint(node.output)]
    for node in nodes:
        if node.op_type in QUANTISED or not removed.isdisjoint(node.input):
            raise ModelUnavailable(f"the node {node.output[0]} needs a quantised value")
    del graph.node[:]
    graph.node.extend(nodes)
    needed = {name for node in nodes for name in node.input}
    for number in reversed(range(len(graph.initializer))):
        if graph.initializer[number].name not in needed:
            del graph.initializer[number]


def weights_of(quantised: Array, scale: Singles, zero_point: Array | None = None) -> Singles:
    """`scale * (quantised - zero_point)`, float32 `[m, n]`.

    Args:
        quantised: 8-bit integers `[m, n]`.
        scale: of all weights, or of each column `[n]`.
        zero_point: the integer that means 0, of all weights or of each column; by default 0.
    """
    weights = quantised.astype(np.float32)
    if zero_point is not None:
        weights -= zero_point.astype(np.float32)
    weights *= scale
    return weights


class _Product(NamedTuple):
    """Names in a graph: the product's float input and output, the weights' scale, and the results between them."""

    x: str
    output: str
    scale: str
    removed: tuple[str, ...]


def _product(node: Any, makers: Mapping[str, Any], users: Mapping[str, Sequence[Any]]) -> _Product:
    """The nodes around an integer product.

    Raises:
        ModelUnavailable: they aren't those that ONNX Runtime's quantiser writes.
    """
    quantise: Any = makers.get(node.input[0])
    convert = _only_user(node, users)
    last = _only_user(convert, users)
    scales: Any = makers.get(next((name for name in last.input if name not in convert.output), "")) if last else None
    found = [part.op_type for part in (quantise, convert, last, scales) if part is not None]
    if found == ["DynamicQuantizeLinear", "Cast", "Mul", "Mul"]:
        value, step, zero_point = quantise.output
        scale = [name for name in scales.input if name != step]
        if [*node.input[:1], *node.input[2:3]] == [value, zero_point] and len(scale) == 1:
            removed = (*quantise.output, *node.output, *convert.output, *scales.output)
            return _Product(quantise.input[0], last.output[0], scale[0], removed)
    raise ModelUnavailable(f"the quantised product {node.output[0]} isn't of the form that ONNX Runtime writes")


def _only_user(node: Any, users: Mapping[str, Sequence[Any]]) -> Any:
    """The only node that uses the result of a node; None if there are none or several."""
    found = users.get(node.output[0], ()) if node is not None else ()
    return found[0] if len(found) == 1 else None


CLIP_TOWER = Loader(
    revision=1,
    make=load_clip_tower,
    options=ClipTowerOptions,
    packages=("onnxruntime", "onnx"),
    obstacle=no_obstacle,
    role=lambda _: "encoder",
)
