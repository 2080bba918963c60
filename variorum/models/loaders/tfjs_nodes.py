"""Convert TensorFlow.js nodes to ONNX.

Convolutions, pools and resizes keep TensorFlow's layout, channels last, between two transpositions each; ONNX Runtime
removes most of them. Bilinear resizes keep the coordinates that the graph asks for: TensorFlow's legacy ones shift a
picture by half a pixel of the smaller size, and boxes with it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.loaders.tfjs_graph import Node

if TYPE_CHECKING:
    from variorum.arrays import Array

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""Transpositions that move the channels first, and last."""


class OnnxGraph:
    """An ONNX graph that grows node by node. Tensors have TensorFlow's names."""

    def __init__(self, constants: Mapping[str, Array]) -> None:
        self._constants = constants
        self._types: dict[str, int] = {}
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.initializers: list[Any] = []
        self._kept: set[str] = set()

    def constant(self, name: str) -> Array:
        """A tensor that must be known before anything runs."""
        if name not in self._constants:
            raise ValueError(f"{name} isn't constant")
        return self._constants[name]

    def set(self, name: str, values: Array) -> None:
        """A tensor that is known."""
        self._constants = {**self._constants, name: values}

    def keep(self, values: Array, name: str = "") -> str:
        """The name of an initializer with these values."""
        from onnx.numpy_helper import from_array

        name = name or f"kept/{len(self.initializers)}"
        if name not in self._kept:
            self._kept.add(name)
            self.initializers.append(from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, op: str, inputs: Sequence[str], outputs: str | Sequence[str] = "", **attributes: Any) -> str:
        """Append a node; the name of its first output. Constants among the inputs are kept."""
        from onnx.helper import make_node

        names = [self.keep(self._constants[name], name) if name in self._constants else name for name in inputs]
        results = [outputs] if isinstance(outputs, str) else list(outputs)
        results[0] = results[0] or f"made/{len(self.nodes)}"
        self.nodes.append(make_node(op, names, results, **attributes))
        return results[0]

    def channels_first(self, name: str) -> str:
        """The tensor with its channels before its rows and columns."""
        return self.add("Transpose", [name], perm=FIRST)

    def channels_last(self, name: str, output: str) -> None:
        """The tensor with its channels after its rows and columns, as `output`."""
        self.add("Transpose", [name], output, perm=LAST)

    def whole(self, *values: int) -> str:
        """An initializer of whole numbers, as ONNX wants lists of axes, sizes and places."""
        return self.keep(np.asarray(values, np.int64))

    def output(self, name: str) -> Any:
        """The declaration of an output."""
        from onnx import TensorProto
        from onnx.helper import make_tensor_value_info

        return make_tensor_value_info(name, TensorProto.FLOAT, None)


# ── kinds of nodes ────────────────────────────────────────────────────────────────────────────────────────────────────


def _text(value: Mapping[str, Any]) -> str:
    return base64.b64decode(value["s"]).decode("ascii")


def _ints(node: Node, name: str) -> list[int]:
    return [int(number) for number in node.attr.get(name, {}).get("list", {}).get("i", ())]


def _flag(node: Node, name: str) -> bool:
    return bool(node.attr.get(name, {}).get("b", False))


def _channels_last_only(node: Node) -> None:
    if "data_format" in node.attr and (layout := _text(node.attr["data_format"])) != "NHWC":
        raise ValueError(f"the layout {layout}")


def _placeholder(made: OnnxGraph, node: Node) -> None:
    from onnx import TensorProto
    from onnx.helper import make_tensor_value_info

    sides = [int(side["size"]) for side in node.attr["shape"]["shape"].get("dim", ())]
    shape = [side if side > 0 else None for side in sides]
    made.inputs.append(make_tensor_value_info(node.name, TensorProto.FLOAT, shape))


def _same(op: str, **attributes: Any) -> Callable[[OnnxGraph, Node], None]:
    """For a node that ONNX has as well."""
    return lambda made, node: _ignore(made.add(op, node.inputs, node.name, **attributes))


def _ignore(_name: str) -> None:
    return None


def _activate(made: OnnxGraph, kind: str, name: str, output: str, alpha: float = 0.0) -> None:
    """An activation function, by TensorFlow's name."""
    if kind == "Relu6":
        limits = [made.keep(np.asarray(limit, np.float32)) for limit in (0, 6)]
        made.add("Clip", [name, *limits], output)
    elif kind == "LeakyRelu":
        made.add("LeakyRelu", [name], output, alpha=alpha)
    elif kind in ("Relu", "Elu"):
        made.add(kind, [name], output)
    else:
        raise ValueError(f"the fused {kind}")


def _activation(made: OnnxGraph, node: Node) -> None:
    _activate(made, node.op, node.inputs[0], node.name, node.attr.get("alpha", {}).get("f", 0.2))


def _convolution(made: OnnxGraph, node: Node) -> None:
    """Plain and depthwise convolutions, with what is fused into them: a bias, then an activation."""
    _channels_last_only(node)
    weights = made.constant(node.inputs[1])  # rows, columns, channels in, channels out
    groups = 1
    if "Depthwise" in node.op:  # rows, columns, channels in, times
        groups = weights.shape[2]
        weights = weights.reshape(*weights.shape[:2], 1, -1)
    kernel = made.keep(weights.transpose(3, 2, 0, 1))
    fused = [base64.b64decode(name).decode() for name in node.attr.get("fused_ops", {}).get("list", {}).get("s", ())]
    inputs = [made.channels_first(node.inputs[0]), kernel]
    if fused and fused[0] == "BiasAdd":
        inputs.append(made.keep(made.constant(node.inputs[2])))
        fused = fused[1:]
    strides, dilations = _ints(node, "strides")[1:3], _ints(node, "dilations")[1:3] or [1, 1]
    if max(dilations) > 1 and _text(node.attr["padding"]) == "SAME":
        raise ValueError("dilations with SAME padding")
    found = made.add("Conv", inputs, strides=strides, dilations=dilations, group=groups, **_padding(node))
    for kind in fused:
        before, found = found, f"{node.name}/{kind}"
        _activate(made, kind, before, found, node.attr.get("leakyrelu_alpha", {}).get("f", 0.2))
    made.channels_last(found, node.name)


def _padding(node: Node) -> dict[str, Any]:
    """TensorFlow's padding; where an odd number of pixels is needed, the last side gets one more."""
    kind = _text(node.attr["padding"])
    if kind == "EXPLICIT":
        around = _ints(node, "explicit_paddings")
        return {"pads": [around[2], around[4], around[3], around[5]]}
    return {"auto_pad": {"SAME": "SAME_UPPER", "VALID": "VALID"}[kind]}


def _max_pool(made: OnnxGraph, node: Node) -> None:
    _channels_last_only(node)
    first = made.channels_first(node.inputs[0])
    window, strides = _ints(node, "ksize")[1:3], _ints(node, "strides")[1:3]
    pooled = made.add("MaxPool", [first], kernel_shape=window, strides=strides, **_padding(node))
    made.channels_last(pooled, node.name)


def _resize(made: OnnxGraph, node: Node) -> None:
    """Bilinear, with one of TensorFlow's three ways to place the pixels."""
    if _flag(node, "align_corners"):
        mode = "align_corners"
    else:
        mode = "half_pixel" if _flag(node, "half_pixel_centers") else "asymmetric"
    first = made.channels_first(node.inputs[0])
    # all four sizes: with the attribute `axes`, ONNX Runtime 1.32 moves transpositions past a resize wrongly
    sides = made.whole(*made.constant(node.inputs[1]).tolist())
    sizes = made.add("Concat", [made.add("Shape", [first], end=2), sides], axis=0)
    made.channels_last(
        made.add("Resize", [first, "", "", sizes], mode="linear", coordinate_transformation_mode=mode), node.name
    )


def _mean(made: OnnxGraph, node: Node) -> None:
    axes = made.whole(*made.constant(node.inputs[1]).ravel().tolist())
    made.add("ReduceMean", [node.inputs[0], axes], node.name, keepdims=int(_flag(node, "keep_dims")))


def _pad(made: OnnxGraph, node: Node) -> None:
    around = made.constant(node.inputs[1])
    inputs = [node.inputs[0], made.whole(*around.T.ravel().tolist()), *node.inputs[2:3]]
    made.add("Pad", inputs, node.name)


def _transpose(made: OnnxGraph, node: Node) -> None:
    made.add("Transpose", node.inputs[:1], node.name, perm=made.constant(node.inputs[1]).tolist())


def _reshape(made: OnnxGraph, node: Node) -> None:
    from onnx import TensorProto

    shape = made.add("Cast", node.inputs[1:2], to=TensorProto.INT64)
    made.add("Reshape", [node.inputs[0], shape], node.name)


def _expand(made: OnnxGraph, node: Node) -> None:
    axis = made.whole(int(made.constant(node.inputs[1])))
    made.add("Unsqueeze", [node.inputs[0], axis], node.name)


def _concat(made: OnnxGraph, node: Node) -> None:
    made.add("Concat", node.inputs[:-1], node.name, axis=int(made.constant(node.inputs[-1])))


def _split(made: OnnxGraph, node: Node) -> None:
    parts = made.constant(node.inputs[1]).tolist()
    outputs = [node.name, *(f"{node.name}:{number}" for number in range(1, len(parts)))]
    made.add("Split", [node.inputs[0], made.whole(*parts)], outputs, axis=int(made.constant(node.inputs[2])))


def _strided_slice(made: OnnxGraph, node: Node) -> None:
    masks = {name: int(node.attr.get(name, {}).get("i", 0)) for name in MASKS}
    if masks["ellipsis_mask"] or masks["new_axis_mask"]:
        raise ValueError("an ellipsis or a new axis")
    begin, end, step = (made.constant(name).astype(np.int64) for name in node.inputs[1:4])
    for axis in range(len(begin)):
        forward = step[axis] > 0
        if masks["shrink_axis_mask"] >> axis & 1:
            end[axis] = begin[axis] + 1 or EDGE  # one entry; from -1 to the end
            step[axis] = 1
            continue
        if masks["begin_mask"] >> axis & 1:
            begin[axis] = 0 if forward else EDGE
        if masks["end_mask"] >> axis & 1:
            end[axis] = EDGE if forward else -EDGE
    axes = range(len(begin))
    places = [made.whole(*values) for values in (begin.tolist(), end.tolist(), axes, step.tolist())]
    gone = [axis for axis in axes if masks["shrink_axis_mask"] >> axis & 1]
    cut = made.add("Slice", [node.inputs[0], *places], "" if gone else node.name)
    if gone:
        made.add("Squeeze", [cut, made.whole(*gone)], node.name)


def _top_k(made: OnnxGraph, node: Node) -> None:
    from onnx import TensorProto

    k = made.whole(int(made.constant(node.inputs[1])))
    places = f"{node.name}/places"
    made.add("TopK", [node.inputs[0], k], [node.name, places])
    made.add("Cast", [places], f"{node.name}:1", to=TensorProto.INT32)


def _gather(made: OnnxGraph, node: Node) -> None:
    if int(node.attr.get("batch_dims", {}).get("i", 0)):
        raise ValueError("batch dimensions")
    made.add("Gather", node.inputs[:2], node.name, axis=int(made.constant(node.inputs[2])))


def _cast(made: OnnxGraph, node: Node) -> None:
    from onnx import TensorProto

    kinds = {"DT_FLOAT": TensorProto.FLOAT, "DT_INT32": TensorProto.INT32, "DT_BOOL": TensorProto.BOOL}
    made.add("Cast", node.inputs, node.name, to=kinds[node.attr["DstT"]["type"]])


def _floor(made: OnnxGraph, node: Node) -> None:
    """Quotients and remainders of whole numbers, rounded down."""
    if node.attr["T"]["type"] != "DT_INT32":
        raise ValueError(f"its numbers are {node.attr['T']['type']}")
    if node.op == "FloorMod":
        made.add("Mod", node.inputs, node.name)
        return
    exact = made.add("Sub", [node.inputs[0], made.add("Mod", node.inputs)])
    made.add("Div", [exact, node.inputs[1]], node.name)


def _sparse_to_dense(made: OnnxGraph, node: Node) -> None:
    """Known tensors only; the shape of a reshape, for example."""
    places, shape, values, default = (made.constant(name) for name in node.inputs)
    dense = np.full(shape.tolist(), default)
    if len(places):
        dense[tuple(places.reshape(-1, dense.ndim).T)] = values
    made.set(node.name, dense)


EDGE = 2**31 - 1
"""Beyond any axis."""
MASKS = ("begin_mask", "end_mask", "shrink_axis_mask", "ellipsis_mask", "new_axis_mask")
NODES: Mapping[str, Callable[[OnnxGraph, Node], None]] = {
    "Placeholder": _placeholder,
    **{op: _same(op) for op in ("Identity", "Sigmoid", "Add", "Sub", "Mul", "Equal")},
    **{op: _same("Add") for op in ("AddV2", "BiasAdd")},
    **dict.fromkeys(("Relu", "Relu6", "LeakyRelu"), _activation),
    **dict.fromkeys(("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"), _convolution),
    "MaxPool": _max_pool,
    "ResizeBilinear": _resize,
    "Mean": _mean,
    "Pad": _pad,
    "PadV2": _pad,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "ExpandDims": _expand,
    "ConcatV2": _concat,
    "SplitV": _split,
    "StridedSlice": _strided_slice,
    "TopKV2": _top_k,
    "GatherV2": _gather,
    "Cast": _cast,
    "FloorDiv": _floor,
    "FloorMod": _floor,
    "SparseToDense": _sparse_to_dense,
}
