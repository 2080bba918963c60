"""The network of Yahoo's open_nsfw: read from its ONNX file, and put together again for ONNX Runtime and for PyTorch.

The file at hand was traced from TensorFlow: it transposes around each convolution and normalises after it. Here the
normalisation is part of the convolution, which gives the same scores in less time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from variorum.models.onnx import read_model
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Singles

SIDE = 224
"""Of the network's input in pixels."""
BLOCKS = (3, 4, 6, 3)
"""Residual blocks by stage: ResNet-50 with half as many channels."""
CONVOLUTIONS = 1 + 3 * sum(BLOCKS) + len(BLOCKS)
FEATURES = 1024
OPSET, IR = 18, 9
"""Versions of ONNX's operators and file format."""


class Layer(NamedTuple):
    """A convolution, or the dense layer `[2, 1024]`, with its normalisation.

    Attributes:
        weight: `[out, in, side, side]` float32, an array or a tensor.
        bias: `[out]` float32, likewise.
        stride: in pixels.
        pad: pixels of zeros on each side.
    """

    weight: Any
    bias: Any
    stride: int = 1
    pad: int = 0


class Layers(NamedTuple):
    """All that was learnt. The shortcut of a stage's first block comes before that block's last convolution."""

    convolutions: tuple[Layer, ...]
    dense: Layer


class Makes(Protocol):
    """The parts that a network is put together with: values of PyTorch, or names of ONNX's."""

    def conv(self, x: Any, layer: Layer) -> Any:
        """A convolution."""

    def relu(self, x: Any) -> Any:
        """Negative values set to 0."""

    def add(self, x: Any, y: Any) -> Any:
        """The sum."""

    def halved(self, x: Any) -> Any:
        """The largest of 3 × 3 values, at every other place; windows end at the right and lower edge."""

    def logits(self, x: Any, layer: Layer) -> Any:
        """The dense layer of the means over all places."""


def network(x: Any, layers: Layers, makes: Makes) -> Any:
    """Logits `[N, 2]`, safe and unsafe, of `[N, 3, 224, 224]`: blue first, from 0 to 255, less the means."""
    left = iter(layers.convolutions)
    x = makes.halved(makes.relu(makes.conv(x, next(left))))
    for blocks in BLOCKS:
        for block in range(blocks):
            y = makes.relu(makes.conv(x, next(left)))
            y = makes.relu(makes.conv(y, next(left)))
            x = makes.conv(x, next(left)) if block == 0 else x
            x = makes.relu(makes.add(x, makes.conv(y, next(left))))
    return makes.logits(x, layers.dense)


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_layers(file: Path) -> Layers:
    """The layers of the network's file.

    Raises:
        ModelUnavailable: it is no such file.
    """
    from onnx.numpy_helper import to_array

    try:
        graph = read_model(file, file).graph
        constants = {item.name: to_array(item) for item in graph.initializer}
        constants |= {
            node.output[0]: constants[node.input[0]]
            for node in graph.node
            if node.op_type == "Identity" and node.input[0] in constants
        }
        users: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                users.setdefault(name, []).append(node)
        found = [_layer(node, constants, users) for node in graph.node if node.op_type == "Conv"]
        found[0] = found[0]._replace(pad=3)  # a node of its own in the file
        (last,) = (node for node in graph.node if node.op_type == "MatMul")
        weight = constants[last.input[1]].T
        shift = next(
            constants[name] for node in _after(last, constants, users) for name in node.input if name in constants
        )
        layers = Layers(tuple(found), Layer(np.ascontiguousarray(weight), shift.ravel()))
        if len(found) != CONVOLUTIONS or weight.shape != (2, FEATURES) or found[0].weight.shape != (64, 3, 7, 7):
            raise ValueError(f"{len(found)} convolutions and a last layer {weight.shape}")
    except Exception as error:  # protobuf has its own classes
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelUnavailable(f"{file} isn't the network open_nsfw ({why})") from error
    return layers


def _layer(node: Any, constants: dict[str, Any], users: dict[str, list[Any]]) -> Layer:
    """A convolution with the sums and products by channel that follow it."""
    from onnx.helper import get_attribute_value

    weight = constants[node.input[1]].astype(np.float64)
    bias = np.zeros(len(weight))
    for later in _after(node, constants, users):
        values = next(constants[name] for name in later.input if name in constants).ravel().astype(np.float64)
        if later.op_type == "Mul":
            weight, bias = weight * values[:, None, None, None], bias * values
        else:
            bias = bias + values if later.op_type == "Add" else bias - values
        if later.op_type == "Sub" and later.input[0] in constants:
            raise ValueError(f"{later.name} subtracts from a constant")
    attributes = {item.name: get_attribute_value(item) for item in node.attribute}
    return Layer(
        weight.astype(np.float32), bias.astype(np.float32), int(attributes["strides"][0]), int(attributes["pads"][0])
    )


def _after(node: Any, constants: dict[str, Any], users: dict[str, list[Any]]) -> list[Any]:
    """The sums and products with constants that follow a node one after the other."""
    found = []
    while len(users.get(node.output[0], [])) == 1:
        (node,) = users[node.output[0]]
        if node.op_type in ("Cast", "Transpose"):
            continue
        if node.op_type not in ("Add", "Sub", "Mul") or not any(name in constants for name in node.input):
            break
        found.append(node)
    return found


# ── ONNX ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class OnnxGraph:
    """Nodes of an ONNX graph; a value is its name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def _keep(self, values: Singles) -> str:
        from onnx.numpy_helper import from_array

        self.initializers.append(from_array(np.ascontiguousarray(values), f"c{len(self.initializers)}"))
        return str(self.initializers[-1].name)

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The name of the output of a further node."""
        from onnx.helper import make_node

        name = f"n{len(self.nodes)}"
        self.nodes.append(make_node(op, list(inputs), [name], **attributes))
        return name

    def conv(self, x: str, layer: Layer) -> str:
        """A convolution."""
        weight, bias = self._keep(layer.weight), self._keep(layer.bias)
        return self.node("Conv", x, weight, bias, strides=[layer.stride] * 2, pads=[layer.pad] * 4)

    def relu(self, x: str) -> str:
        """Negative values set to 0."""
        return self.node("Relu", x)

    def add(self, x: str, y: str) -> str:
        """The sum."""
        return self.node("Add", x, y)

    def halved(self, x: str) -> str:
        """Largest values; see `Makes`."""
        return self.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])

    def logits(self, x: str, layer: Layer) -> str:
        """The dense layer of the means."""
        means = self.node("Flatten", self.node("GlobalAveragePool", x))
        return self.node("Gemm", means, self._keep(layer.weight), self._keep(layer.bias), transB=1)


def to_onnx(layers: Layers) -> bytes:
    """An ONNX model with the input `x` and the probabilities `[N, 2]` as its output."""
    from onnx import TensorProto
    from onnx.helper import make_graph, make_model, make_opsetid, make_tensor_value_info

    made = OnnxGraph()
    last = made.node("Softmax", network("x", layers, made), axis=-1)
    inputs = [make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])]
    outputs = [make_tensor_value_info(last, TensorProto.FLOAT, ["n", 2])]
    graph = make_graph(made.nodes, "open_nsfw", inputs, outputs, made.initializers)
    content: bytes = make_model(graph, opset_imports=[make_opsetid("", OPSET)], ir_version=IR).SerializeToString()
    return content


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Tensors:
    """Operations on tensors; the layers' weights are tensors too."""

    def conv(self, x: Any, layer: Layer) -> Any:
        """A convolution."""
        from torch.nn import functional

        return functional.conv2d(x, layer.weight, layer.bias, stride=layer.stride, padding=layer.pad)

    def relu(self, x: Any) -> Any:
        """Negative values set to 0."""
        return x.relu()

    def add(self, x: Any, y: Any) -> Any:
        """The sum."""
        return x + y

    def halved(self, x: Any) -> Any:
        """Largest values; see `Makes`."""
        from torch.nn import functional

        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    def logits(self, x: Any, layer: Layer) -> Any:
        """The dense layer of the means."""
        return x.mean((2, 3)) @ layer.weight.T + layer.bias


def in_torch(layers: Layers, device: str) -> Callable[[Any], Any]:
    """`network` as a function of tensors on a device."""
    import torch

    def moved(layer: Layer) -> Layer:
        weight, bias = (torch.tensor(values, device=device) for values in (layer.weight, layer.bias))
        return layer._replace(weight=weight, bias=bias)

    there = Layers(tuple(map(moved, layers.convolutions)), moved(layers.dense))
    return partial(network, layers=there, makes=Tensors())
