"""Graph models of TensorFlow.js as ONNX: each kind of node against NumPy or PyTorch, and what is refused."""

from __future__ import annotations

import json
from base64 import b64encode

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from variorum.models.loaders.tfjs import to_onnx
from variorum.models.loaders.tfjs_graph import read_graph
from variorum.models.loaders.tfjs_nodes import NODES
from variorum.models.onnx import open_session
from variorum.schemas.errors import ModelUnavailable

RNG = np.random.default_rng(0)


def text(value):
    return {"s": b64encode(value.encode()).decode()}


def ints(*values):
    return {"list": {"i": [str(value) for value in values]}}


def node(op, *inputs, name="y", **attr):
    return {"name": name, "op": op, "input": list(inputs), "attr": attr}


def write(folder, nodes, constants, shape, outputs=("y",), dtypes=None):
    """A graph model whose input is `x`, as TensorFlow.js's converter writes it."""
    folder.mkdir(exist_ok=True)
    listed, data = [], b""
    for name, values in constants.items():
        values = np.asarray(values)
        item = {"name": name, "shape": list(values.shape), "dtype": str(values.dtype)}
        if how := (dtypes or {}).get(name):
            values, item["quantization"] = how
        listed.append(item)
        data += values.tobytes()
    size = {"shape": {"dim": [{"size": str(side)} for side in shape]}}
    topology = [
        *nodes,  # in any order
        {"name": "x", "op": "Placeholder", "attr": {"shape": size, "dtype": {"type": "DT_FLOAT"}}},
        *({"name": name, "op": "Const", "attr": {}} for name in constants),
    ]
    model = {
        "format": "graph-model",
        "signature": {"outputs": {f"{name}:0" if ":" not in name else name: {"name": name} for name in outputs}},
        "modelTopology": {"node": topology},
        "weightsManifest": [{"paths": ["w.bin"], "weights": listed}],
    }
    (folder / "w.json").write_text(json.dumps(model))
    (folder / "w.bin").write_bytes(data)
    return folder


def run(folder, x):
    return open_session(to_onnx(folder), 1).run(None, {"x": x})


def one(tmp_path, nodes, constants, x, **options):
    (y,) = run(write(tmp_path / "m", nodes, constants, x.shape, **options), x)
    return y


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# ── convolutions, pools, resizes ─────────────────────────────────────────────────────────────────────────────────────


def same_padding(side, kernel, stride):
    """TensorFlow's: the output has ceil(side / stride) pixels, and an odd pixel of padding goes to the end."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def convolved(x, kernel, stride, padding, dilation=1, groups=1, explicit=None):
    """By PyTorch, with the padding written out. Channels last, weights as in TensorFlow."""
    inputs, weights = torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(kernel)
    if groups > 1:
        weights = weights.flatten(2)[:, :, None]
    if padding == "SAME":
        rows, columns = (same_padding(x.shape[1 + i], kernel.shape[i], stride) for i in (0, 1))
        inputs = functional.pad(inputs, (*columns, *rows))
    elif explicit:
        inputs = functional.pad(inputs, (*explicit[2:], *explicit[:2]))
    y = functional.conv2d(inputs, weights.permute(3, 2, 0, 1), stride=stride, dilation=dilation, groups=groups)
    return y.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("height", "width", "kernel", "stride"),
    [(8, 7, 3, 2), (9, 8, 3, 1), (11, 10, 5, 3), (6, 6, 1, 2), (7, 9, 4, 2)],
)
def test_convolutions_pad_as_tensorflow_does(tmp_path, padding, height, width, kernel, stride):
    x = numbers(1, height, width, 3)
    how = {"strides": ints(1, stride, stride, 1), "dilations": ints(1, 1, 1, 1), "padding": text(padding)}
    plain, deep = numbers(kernel, kernel, 3, 4), numbers(kernel, kernel, 3, 2)
    y = one(tmp_path, [node("Conv2D", "x", "w", data_format=text("NHWC"), **how)], {"w": plain}, x)
    assert y == pytest.approx(convolved(x, plain, stride, padding), abs=1e-4)
    y = one(tmp_path, [node("DepthwiseConv2dNative", "x", "w", **how)], {"w": deep}, x)
    assert y == pytest.approx(convolved(x, deep, stride, padding, groups=3), abs=1e-4)


def test_dilated_convolutions_have_no_padding(tmp_path):
    x, kernel = numbers(1, 12, 9, 3), numbers(3, 3, 3, 4)
    how = {"strides": ints(1, 1, 1, 1), "dilations": ints(1, 2, 2, 1)}
    y = one(tmp_path, [node("Conv2D", "x", "w", padding=text("VALID"), **how)], {"w": kernel}, x)
    assert y == pytest.approx(convolved(x, kernel, 1, "VALID", 2), abs=1e-4)
    refused(
        write(tmp_path / "s", [node("Conv2D", "x", "w", padding=text("SAME"), **how)], {"w": kernel}, x.shape), "SAME"
    )


@pytest.mark.parametrize(("fused", "activation"), [
    (["BiasAdd"], lambda y: y),
    (["BiasAdd", "Relu"], lambda y: y.clip(0)),
    (["BiasAdd", "Relu6"], lambda y: y.clip(0, 6)),
    (["BiasAdd", "LeakyRelu"], lambda y: np.where(y > 0, y, 0.1 * y)),
    (["BiasAdd", "Elu"], lambda y: np.where(y > 0, y, np.expm1(y))),
    (["Relu"], None),
])  # fmt: skip
@pytest.mark.parametrize("op", ["_FusedConv2D", "FusedDepthwiseConv2dNative"])
def test_a_bias_and_an_activation_may_be_fused(tmp_path, fused, activation, op):
    x, bias = 3 * numbers(1, 6, 5, 3), 2 * numbers(6)
    deep = "Depthwise" in op
    kernel = numbers(3, 3, 3, 2 if deep else 6)
    listed = {"list": {"s": [b64encode(name.encode()).decode() for name in fused]}}
    how = {"strides": ints(1, 1, 1, 1), "padding": text("EXPLICIT"), "explicit_paddings": ints(0, 0, 1, 0, 2, 1, 0, 0)}
    inputs = ["x", "w", "b"] if "BiasAdd" in fused else ["x", "w"]
    made = [node(op, *inputs, fused_ops=listed, leakyrelu_alpha={"f": 0.1}, **how)]
    y = one(tmp_path, made, {"w": kernel, "b": bias}, x)
    expected = convolved(x, kernel, 1, "EXPLICIT", groups=3 if deep else 1, explicit=(1, 0, 2, 1))
    expected = activation(expected + bias) if activation else expected.clip(0)
    assert y == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("height", "width", "stride"), [(6, 7, 1), (7, 8, 2), (8, 6, 2)])
def test_pools_pad_with_what_never_wins(tmp_path, height, width, stride):
    x = numbers(1, height, width, 2) - 5
    how = {"ksize": ints(1, 3, 3, 1), "strides": ints(1, stride, stride, 1), "padding": text("SAME")}
    y = one(tmp_path, [node("MaxPool", "x", **how)], {}, x)
    rows, columns = same_padding(height, 3, stride), same_padding(width, 3, stride)
    padded = np.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::stride, ::stride]
    assert np.array_equal(y, windows.max(axis=(-1, -2)))


def resized(line, size, mode):
    """A line of numbers, bilinearly. Legacy coordinates: target 0 is source 0, each step is `old / new` long."""
    old, places = len(line), np.arange(size, dtype=np.float64)
    if mode == "corners":
        where = places * (old - 1) / (size - 1)
    else:
        where = places * old / size if mode == "legacy" else (places + 0.5) * old / size - 0.5
    return np.interp(where, np.arange(old), line)


@pytest.mark.parametrize("mode", ["legacy", "half", "corners"])
@pytest.mark.parametrize(("old", "new"), [(4, 8), (5, 12), (9, 4)])
def test_resizes_place_pixels_as_the_graph_asks(tmp_path, mode, old, new):
    x = numbers(1, old, old, 1)
    flags = {"align_corners": {"b": mode == "corners"}, "half_pixel_centers": {"b": mode == "half"}}
    y = one(tmp_path, [node("ResizeBilinear", "x", "s", **flags)], {"s": np.int32([new, new])}, x)
    rows = np.stack([resized(line, new, mode) for line in x[0, :, :, 0].T], axis=1)
    expected = np.stack([resized(line, new, mode) for line in rows])
    assert y[0, :, :, 0] == pytest.approx(expected, abs=1e-5)


# ── everything else ──────────────────────────────────────────────────────────────────────────────────────────────────

X = numbers(2, 3, 4)
I32 = {"T": {"type": "DT_INT32"}}
SIMPLE = {
    "Add": ([node("Add", "x", "c")], {"c": X[0]}, X + X[0]),
    "AddV2": ([node("AddV2", "c", "x")], {"c": X[0]}, X + X[0]),
    "Sub": ([node("Sub", "c", "x")], {"c": np.float32(2)}, 2 - X),
    "Mul": ([node("Mul", "x", "x")], {}, X * X),
    "Sigmoid": ([node("Sigmoid", "x")], {}, 1 / (1 + np.exp(-X))),
    "Relu": ([node("Relu", "x")], {}, X.clip(0)),
    "Relu6": ([node("Relu6", "z"), node("Mul", "x", "c", name="z")], {"c": np.float32(9)}, (9 * X).clip(0, 6)),
    "LeakyRelu": ([node("LeakyRelu", "x", alpha={"f": 0.1})], {}, np.where(X > 0, X, 0.1 * X)),
    "Mean": ([node("Mean", "x", "a", keep_dims={"b": True})], {"a": np.int32([0, 2])}, X.mean((0, 2), keepdims=True)),
    "Mean gone": ([node("Mean", "x", "a")], {"a": np.int32([1])}, X.mean(1)),
    "Transpose": ([node("Transpose", "x", "p")], {"p": np.int32([2, 0, 1])}, X.transpose(2, 0, 1)),
    "Reshape": ([node("Reshape", "x", "s")], {"s": np.int32([4, -1])}, X.reshape(4, -1)),
    "ExpandDims": ([node("ExpandDims", "x", "a")], {"a": np.int32(-1)}, X[..., None]),
    "ConcatV2": ([node("ConcatV2", "x", "x", "a")], {"a": np.int32(1)}, np.concatenate([X, X], 1)),
    "Pad": ([node("Pad", "x", "p")], {"p": np.int32([[1, 0], [0, 2], [3, 1]])}, np.pad(X, [(1, 0), (0, 2), (3, 1)])),
    "PadV2": (
        [node("PadV2", "x", "p", "v")],
        {"p": np.int32([[0, 0], [1, 1], [0, 0]]), "v": np.float32(-7)},
        np.pad(X, [(0, 0), (1, 1), (0, 0)], constant_values=-7),
    ),
    "SplitV": (
        [node("SplitV", "x", "n", "a", name="s"), node("Mul", "s", "s:1")],
        {"n": np.int32([2, 2]), "a": np.int32(2)},
        X[..., :2] * X[..., 2:],
    ),
    "TopKV2": ([node("TopKV2", "x", "k")], {"k": np.int32(2)}, -np.sort(-X, axis=-1)[..., :2]),
    "GatherV2": (
        [node("GatherV2", "x", "i", "a"), node("Identity", "x", name="unused")],
        {"i": np.int32([2, 0]), "a": np.int32(1)},
        X[:, [2, 0]],
    ),
    "Equal": (
        [node("Equal", "x", "z", name="e"), node("Relu", "x", name="z"), node("Cast", "e", DstT={"type": "DT_FLOAT"})],
        {},
        (X.clip(0) == X).astype(np.float32),
    ),
    "SparseToDense": (
        [node("SparseToDense", "i", "n", "v", "d", name="s"), node("Reshape", "x", "s")],
        {"i": np.int32([[0], [1]]), "n": np.int32([3]), "v": np.int32([2, 2]), "d": np.int32(6)},
        X.reshape(2, 2, 6),
    ),
    "control": ([node("Identity", "x", "^c")], {"c": np.float32(1)}, X),
}  # fmt: skip


@pytest.mark.parametrize("kind", SIMPLE)
def test_a_node_gives_what_it_means(tmp_path, kind):
    nodes, constants, expected = SIMPLE[kind]
    y = one(tmp_path, nodes, constants, X)
    assert y.shape == expected.shape
    assert y == pytest.approx(expected, abs=1e-5)


def test_places_of_the_largest_and_their_rows_and_columns(tmp_path):
    """What a detector does with a score map: whole quotients and remainders of the places, also of negative numbers."""
    x = numbers(1, 30)
    made = [
        node("TopKV2", "x", "k", name="t"),
        node("Sub", "t:1", "ten", name="around", **I32),
        node("FloorDiv", "around", "n", name="d", **I32),
        node("FloorMod", "around", "n", name="m", **I32),
        node("Cast", "d", name="rows", DstT={"type": "DT_FLOAT"}),
        node("Cast", "m", name="columns", DstT={"type": "DT_FLOAT"}),
    ]
    constants = {"k": np.int32(30), "n": np.int32(7), "ten": np.int32(10)}
    rows, columns = run(write(tmp_path / "m", made, constants, x.shape, outputs=("rows", "columns")), x)
    places = np.argsort(-x, axis=1) - 10
    assert np.array_equal(rows, places // 7)
    assert np.array_equal(columns, places % 7)


@settings(max_examples=40)
@given(st.data())
def test_slices_are_those_of_python(tmp_path_factory, data):
    begin, end, step, expected = [], [], [], []
    masks = dict.fromkeys(("begin_mask", "end_mask", "shrink_axis_mask"), 0)
    for axis, side in enumerate(X.shape):
        first, last = (data.draw(st.integers(-side, side - 1)) for _ in range(2))
        stride = data.draw(st.sampled_from([1, 2, -1, -2]))
        shrinks, opens, closes = (data.draw(st.booleans()) for _ in range(3))
        for name, flag in zip(masks, (opens, closes, shrinks), strict=True):
            masks[name] |= flag << axis
        begin.append(first), end.append(last), step.append(stride)
        found = slice(None if opens else first, None if closes else last, stride)
        expected.append(first if shrinks else found)
    constants = {"b": np.int32(begin), "e": np.int32(end), "s": np.int32(step)}
    how = {name: {"i": str(value)} for name, value in masks.items()}
    place = tmp_path_factory.mktemp("slices")
    y = one(place, [node("StridedSlice", "x", "b", "e", "s", **how)], constants, X)
    assert np.array_equal(y, X[tuple(expected)])


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_weights_are_stored_in_few_bits(tmp_path):
    real = np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4)
    scale = np.float32(5 / 255)
    whole = np.rint((real + 2) / scale).astype(np.uint8)
    dtypes = {
        "half": (real.astype(np.float16), {"dtype": "float16", "original_dtype": "float32"}),
        "byte": (whole, {"dtype": "uint8", "scale": float(scale), "min": -2.0}),
    }
    made = [node("Add", "x", "half", name="h"), node("Add", "x", "byte", name="b")]
    constants = {"half": real, "byte": real}
    x = np.zeros((3, 4), np.float32)
    folder = write(tmp_path / "m", made, constants, x.shape, outputs=("h", "b"), dtypes=dtypes)
    half, byte = run(folder, x)
    assert np.array_equal(half, real.astype(np.float16).astype(np.float32))
    assert np.abs(byte - real).max() <= scale / 2 + 1e-6
    assert {values.dtype for values in read_graph(folder).constants.values()} == {np.dtype("float32")}


def test_weights_of_several_files_follow_each_other(tmp_path):
    folder = write(tmp_path / "m", [node("Add", "x", "c")], {"c": X}, X.shape)
    data, model = (folder / "w.bin").read_bytes(), json.loads((folder / "w.json").read_text())
    model["weightsManifest"][0]["paths"] = ["1.bin", "2.bin"]
    (folder / "w.json").write_text(json.dumps(model))
    (folder / "1.bin").write_bytes(data[:7])
    (folder / "2.bin").write_bytes(data[7:])
    assert np.array_equal(run(folder, X)[0], X + X)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


def refused(folder, match):
    with pytest.raises(ModelUnavailable, match=match) as raised:
        to_onnx(folder)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(("nodes", "constants", "match"), [
    ([node("Softplus", "x")], {}, "the node y is a Softplus, which isn't converted yet"),
    ([node("Transpose", "x", "x")], {}, r"Transpose y can't be converted .*x isn't constant"),
    ([node("Conv2D", "x", "w", data_format=text("NCHW"))], {"w": X}, "the layout NCHW"),
    ([node("_FusedConv2D", "x", "w", "w", strides=ints(1, 1, 1, 1), padding=text("SAME"),
           fused_ops={"list": {"s": [b64encode(b"BiasAdd").decode(), b64encode(b"Tanh").decode()]}})],
     {"w": numbers(1, 1, 4, 4)}, "the fused Tanh"),
    ([node("FloorDiv", "x", "x", T={"type": "DT_FLOAT"})], {}, "DT_FLOAT"),
    ([node("GatherV2", "x", "i", "a", batch_dims={"i": "1"})], {"i": np.int32([0]), "a": np.int32(1)}, "batch"),
    ([node("StridedSlice", "x", "b", "b", "b", ellipsis_mask={"i": "1"})], {"b": np.int32([1])}, "ellipsis"),
    ([node("Relu", "z"), node("Relu", "y", name="z")], {}, "cycle"),
    ([node("Relu", "nobody")], {}, "nobody"),
    ([], {}, "'y'"),
])  # fmt: skip
def test_a_graph_that_cannot_be_converted_is_one_line(tmp_path, nodes, constants, match):
    refused(write(tmp_path / "m", nodes, constants, (2, 3, 4)), match)


@pytest.mark.parametrize("damage", ["short", "long", "text", "list", "none", "two", "above", "deep", "dtype"])
def test_files_that_are_no_graph_model_are_one_line(tmp_path, damage):
    folder = write(tmp_path / "m", [node("Add", "x", "c")], {"c": X}, X.shape)
    data, model = (folder / "w.bin").read_bytes(), (folder / "w.json").read_text()
    if damage in ("short", "long"):
        (folder / "w.bin").write_bytes(data[:-4] if damage == "short" else data + b"1234")
    elif damage == "none":
        (folder / "w.json").unlink()
    elif damage == "two":
        (folder / "again.json").write_text(model)
    else:
        changed = {
            "above": model.replace('"w.bin"', '"../w.bin"'),
            "dtype": model.replace('"float32"', '"object"'),
            "deep": "[" * 100_000,
        }
        (tmp_path / "w.bin").write_bytes(data)
        (folder / "w.json").write_text(changed.get(damage, "[]" if damage == "list" else "no model"))
    refused(folder, "has no graph model of TensorFlow.js")


def test_every_kind_of_node_is_tested():
    named = {op for nodes, _, _ in SIMPLE.values() for op in (made["op"] for made in nodes)}
    elsewhere = {"Placeholder", "BiasAdd", "MaxPool", "ResizeBilinear", "StridedSlice", "FloorDiv", "FloorMod"}
    convolutions = {"Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"}
    assert set(NODES) == named | elsewhere | convolutions
