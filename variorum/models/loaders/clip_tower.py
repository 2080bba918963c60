"""Loader `clip_tower`: the image tower of CLIP from an ONNX file with 8-bit weights.

Such a file quantises the input of each matrix product too, to one range for the whole batch. A vector then depends on
the other pictures, and on a CPU without VNNI instructions the products saturate. So only the weights are used as they
are: when the file is loaded, each product becomes ONNX Runtime's `MatMulNBits`, which quantises every 128 numbers of
each row to a range of their own. That takes 0.6 of the time of products in float32. On 40 photographs the mean cosine
to their vectors is .9995, the lowest .9990.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
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
SIDE, PATCH = 224, 16
"""Of the input that the network was trained with, and of its square patches, pixels."""
BLOCK = 128
"""Numbers of a row that share a range. With 256 it is 1.1 times as fast and twice as far from float32; with 32 it is a
quarter slower and a third as far."""
POSITIONS = "vision_model.embeddings.position_embedding.weight"
"""`[1 + patches, d]`: a vector for the class token, then one for each patch, row by row."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
QUANTISED = ("MatMulInteger", "DynamicQuantizeLinear")


class ClipTowerOptions(StrictModel):
    """Options of `clip_tower`."""

    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""
    side: int = Field(default=SIDE, ge=PATCH, le=SIDE, multiple_of=PATCH)
    """Of the network's input, pixels. With fewer than 224, position embeddings are resampled."""


def load_clip_tower(entry: Entry, file: Path, options: ClipTowerOptions, _used: Mapping[str, Any]) -> ClipTower:
    """The encoder of an `.onnx` file with quantised or plain matrix products.

    Raises:
        ModelUnavailable: the file isn't ONNX, has quantised products of another form, or isn't an image tower.
    """
    model = read_model(file, file)
    quantise_by_blocks(model)
    if options.side != SIDE:
        resample(model, options.side)
    session = open_session(model.SerializeToString(), options.threads, entry.name)
    if OUTPUT not in [output.name for output in session.get_outputs()]:
        raise ModelUnavailable(f"{file} isn't CLIP's image tower: it has no output {OUTPUT}")
    return ClipTower(session, options.side)


class ClipTower(Encoder, Prepares):
    """A `roles.Encoder`: the image tower of CLIP (Radford et al., ICML 2021, arXiv 2103.00020) on ONNX Runtime.

    Pictures go through one by one, which costs no time on a CPU, so a vector depends on its picture alone.
    """

    at_once = 1
    """Pictures that are worth giving it at a time."""
    std = STD

    def __init__(self, session: Any, side: int) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self.side = side

    @once
    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, 512]`, not normalised."""
        rows = [self._session.run([OUTPUT], {self._input: network_input(image, self.side)})[0] for image in images]
        return np.concatenate(rows) if rows else np.zeros((0, WIDTH), np.float32)


def network_input(image: Pixels, side: int) -> Singles:
    """`[1, 3, side, side]`, as in CLIP's training: the shorter side resized to `side`, bicubic, and the centre cropped.

    Only what is cropped is computed, so a very long picture costs no more.
    """
    height, width = image.shape[:2]
    shorter = min(height, width)
    (left, right), (top, bottom) = cropped(width, shorter, side), cropped(height, shorter, side)
    square = Image.fromarray(np.ascontiguousarray(image)).resize(
        (side, side), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    x = (np.asarray(square, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


def cropped(length: int, shorter: int, side: int) -> tuple[float, float]:
    """Where the crop begins and ends along a side of this length, in pixels before resizing."""
    resized = side * length // shorter
    first = (resized - side) // 2
    return first * length / resized, (first + side) * length / resized


def resample(model: Any, side: int) -> None:
    """Let a tower take squares of this side, in place: its position embeddings are resampled, bicubic.

    Raises:
        ModelUnavailable: it has no position embeddings under the usual name, or not as many as CLIP's.
    """
    from onnx.helper import make_node
    from onnx.numpy_helper import from_array, to_array

    graph, was, now = model.graph, SIDE // PATCH, side // PATCH
    found = [tensor for tensor in graph.initializer if tensor.name == POSITIONS]
    if not found or found[0].dims[:1] != [1 + was**2]:
        raise ModelUnavailable(f"only {SIDE} pixels can be taken: there is no table {POSITIONS} of {1 + was**2} rows")
    of_class, of_patches = np.split(to_array(found[0]), [1])
    of_each = cv2.resize(np.eye(was, dtype=np.float32), (was, now), interpolation=cv2.INTER_CUBIC)
    small = np.einsum("ai,bj,ijd->abd", of_each, of_each, of_patches.reshape(was, was, -1)).reshape(now**2, -1)
    found[0].CopyFrom(from_array(np.concatenate([of_class, small])[None], POSITIONS))
    for node in graph.node:
        if node.input[:1] == [POSITIONS]:  # all of its rows are looked up, in their order
            node.CopyFrom(make_node("Identity", [POSITIONS], node.output))
    for size in graph.input[0].type.tensor_type.shape.dim[2:]:
        size.dim_value = side
    del graph.value_info[:]
    kept = [output for output in graph.output if output.name == OUTPUT]
    del graph.output[:]  # the other has a row for each patch
    graph.output.extend(kept)


def quantise_by_blocks(model: Any) -> None:
    """Replace, in place, the dynamically quantised matrix products of a model by ones that quantise by blocks.

    ONNX Runtime's quantiser writes such a product as: quantise the input to 8 bits (scale a, zero point p); multiply
    integers; convert to float; multiply by a·b, with b the weights' scale in each column. It becomes one node.

    Raises:
        ModelUnavailable: a quantised product has another form, or other quantised nodes remain.
    """
    from onnx.helper import make_node, make_opsetid
    from onnx.numpy_helper import from_array, to_array

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    blocked: dict[str, Any] = {}
    removed: set[str] = set()
    for node in (node for node in graph.node if node.op_type == "MatMulInteger"):
        product = _product(node, makers, users)
        removed.update(product.removed)
        try:
            names = node.input[1], product.scale, *node.input[3:]
            weights, scale, *zero = (to_array(constants[name]) for name in names)
        except KeyError as error:
            raise ModelUnavailable(f"the quantised product {node.output[0]} has no constant {error}") from None
        if weights.dtype != np.int8 or len(weights) % BLOCK or scale.shape != weights.shape[1:] or np.any(zero):
            raise ModelUnavailable(
                f"the quantised product {node.output[0]} needs weights of signed bytes around 0, with a scale for each "
                f"column and a multiple of {BLOCK} rows; it has {weights.dtype} {weights.shape}, scales {scale.shape}"
            )
        rows, columns = weights.shape
        added = [f"{product.output}/{part}" for part in ("weights", "scales")]
        size = {"K": rows, "N": columns, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}  # 4: in 8-bit integers
        blocked[product.output] = make_node(
            "MatMulNBits", [product.x, *added], [product.output], domain="com.microsoft", **size
        )
        tables = unsigned_blocks(weights), np.repeat(scale, rows // BLOCK)
        graph.initializer.extend(map(from_array, tables, added))
    if blocked:
        model.opset_import.append(make_opsetid("com.microsoft", 1))
    nodes = [blocked.get(node.output[0], node) for node in graph.node if removed.isdisjoint(node.output)]
    for node in nodes:
        if node.op_type in QUANTISED or not removed.isdisjoint(node.input):
            raise ModelUnavailable(f"the node {node.output[0]} needs a quantised value")
    del graph.node[:]
    graph.node.extend(nodes)
    needed = {name for node in nodes for name in node.input}
    for number in reversed(range(len(graph.initializer))):
        if graph.initializer[number].name not in needed:
            del graph.initializer[number]


def unsigned_blocks(weights: Array) -> Array:
    """Signed weights `[m, n]` as `MatMulNBits` reads them: `[n, m / 128, 128]`, where 128 stands for 0."""
    return np.ascontiguousarray(weights.T.view(np.uint8) ^ 128).reshape(weights.shape[1], -1, BLOCK)


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
    revision=2,
    make=load_clip_tower,
    options=ClipTowerOptions,
    packages=("onnxruntime", "onnx"),
    obstacle=no_obstacle,
    role=lambda _: "encoder",
)
