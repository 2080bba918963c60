"""Style networks: quantised weights become float, pictures of any size keep it, and nothing in them moves."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from variorum.models import ModelTable
from variorum.models.loaders.style_networks import (
    MULTI_STYLE,
    STYLE_TRANSFER,
    STYLE_VECTOR,
    dequantised,
    working_size,
)
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

ALIASES = ("style_network", "style_vector", "style_transfer")
ENTRY = Entry(name="tiny", loader="multi_style", licence="none", source="random weights")


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(64, 1024))
def test_the_working_size_keeps_the_shape(height, width, longest):
    rows, columns = working_size(height, width, longest)
    assert min(256, longest) - 1 <= max(rows, columns) <= longest
    assert max(rows, columns) / max(height, width) * min(height, width) == pytest.approx(
        min(rows, columns), abs=0.51
    ) or (min(rows, columns) == 1)


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def quantised_network(file):
    """A convolution in TensorFlow Lite's form: weights per channel, activations quantised on both sides of it."""
    random = np.random.default_rng(0)
    whole = random.integers(-127, 128, (3, 3, 1, 1), dtype=np.int8)
    scales = random.uniform(0.01, 0.02, 3).astype(np.float32)
    constants = {"w": whole, "ws": scales, "wz": np.zeros(3, np.int8), "s": np.float32(0.02), "z": np.int8(-100)}
    nodes = [make_node("Transpose", ["content_image"], ["x"], perm=[0, 3, 1, 2])]
    for before, after in (("x", "xq"), ("y", "yq")):
        if before == "y":
            nodes.append(make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0))
            nodes.append(make_node("Conv", ["xq_f", "wf"], ["y"]))
        nodes.append(make_node("QuantizeLinear", [before, "s", "z"], [after]))
        nodes.append(make_node("DequantizeLinear", [after, "s", "z"], [f"{after}_f"]))
    graph = make_graph(
        nodes,
        "tiny",
        [make_tensor_value_info("content_image", TensorProto.FLOAT, [1, 384, 384, 3])],
        [make_tensor_value_info("yq_f", TensorProto.FLOAT, [1, 3, 384, 384])],
        [from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 15)], ir_version=8), file)
    return whole[..., 0, 0] * scales[:, None].astype(np.float64)


def test_weights_become_float_and_sides_free(tmp_path):
    weights = quantised_network(tmp_path / "q.onnx")
    session = onnxruntime.InferenceSession(dequantised(tmp_path / "q.onnx"), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).random((1, 384, 384, 3), np.float32)
    (found,) = session.run(None, {"content_image": x})
    assert np.abs(found[0] - np.einsum("oc,hwc->ohw", weights, x[0])).max() < 1e-4
    before = onnxruntime.InferenceSession(tmp_path / "q.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(before.run(None, {"content_image": x})[0] - found).max() > 0.005
    graph = onnx.load_from_string(dequantised(tmp_path / "q.onnx")).graph
    assert [node.op_type for node in graph.node] == ["Transpose", "Conv", "Identity"]
    assert [dim.dim_param for dim in graph.input[0].type.tensor_type.shape.dim] == ["", "h", "w", ""]


@pytest.mark.parametrize("loader", [MULTI_STYLE, STYLE_VECTOR, STYLE_TRANSFER])
def test_other_files_are_refused_in_one_line(loader, tmp_path):
    used = {"style_vector": object()}
    (tmp_path / "w.onnx").write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match=r"can't be opened as ONNX") as error:
        loader.load(ENTRY, tmp_path / "w.onnx", used)
    assert "\n" not in str(error.value)
    quantised_network(tmp_path / "q.onnx")
    with pytest.raises(ModelUnavailable, match=r"q\.onnx isn't the style network meant: its inputs are content_image"):
        loader.load(ENTRY, tmp_path / "q.onnx", used)


def test_the_transfer_needs_the_network_of_vectors(tmp_path):
    with pytest.raises(ModelUnavailable, match=r"name it in `uses`"):
        STYLE_TRANSFER.load(ENTRY, tmp_path / "w.onnx", {})


# ── the real weights ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def networks():
    table = ModelTable("embedded")
    try:
        for alias in ALIASES:
            table.fetch(alias)
    except ModelUnavailable as error:
        pytest.skip(str(error))
    return {alias: table.get(alias) for alias in ALIASES}


def repaint(networks, alias, images, **more):
    if alias == "style_network":
        weights = np.zeros((len(images), networks[alias].styles), np.float32)
        weights[:, 12] = 2
        return networks[alias](images, weights, **more)
    from skimage import data

    vector = networks["style_vector"]([data.coffee()])
    return networks[alias](images, np.repeat(vector, len(images), axis=0), **more)


@pytest.mark.parametrize("alias", ["style_network", "style_transfer"])
@pytest.mark.parametrize("shape", [(64, 64), (201, 97), (1, 9), (30, 400)])
def test_pictures_of_any_size_keep_it_and_do_not_depend_on_each_other(alias, shape, cat, networks):
    image = np.ascontiguousarray(cat[: shape[0], : shape[1]])
    together = repaint(networks, alias, [cat[:128, :128], image])
    assert [picture.shape for picture in together] == [(128, 128, 3), image.shape]
    assert together[1].dtype == np.uint8
    assert np.array_equal(together[1], repaint(networks, alias, [image])[0])
    assert repaint(networks, alias, []) == []


@pytest.mark.slow
@pytest.mark.parametrize("alias", ["style_network", "style_transfer"])
@pytest.mark.parametrize("size", [(230, 330), (600, 801)])
def test_nothing_moves(alias, size, networks):
    height, width = size
    radius, centre = height // 4, (width // 2, height // 2)
    image = np.full((height, width, 3), (210, 200, 180), np.uint8)
    cv2.circle(image, centre, radius, (40, 50, 60), -1, cv2.LINE_AA)
    (painted,) = repaint(networks, alias, [image])
    grey = cv2.GaussianBlur(cv2.cvtColor(painted, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1)
    turns = np.deg2rad(np.arange(0, 360, 3))
    distances = np.arange(radius - 15, radius + 15, 0.25)
    x = centre[0] + np.cos(turns)[:, None] * distances
    y = centre[1] + np.sin(turns)[:, None] * distances
    profiles = cv2.remap(grey, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    steepest = distances[np.abs(np.diff(profiles, axis=1)).argmax(axis=1)]
    assert abs(np.median(steepest) - radius) <= 2
    sideways = np.array([(steepest - radius) @ np.cos(turns), (steepest - radius) @ np.sin(turns)]) * 2 / len(turns)
    assert np.abs(sideways).max() <= 1


@pytest.mark.parametrize("alias", ["style_network", "style_transfer"])
def test_frames_have_no_borders(alias, cat, networks):
    """The outermost pixels are no further from those beside them than pixels inside the picture are."""
    image = np.ascontiguousarray(cat[:203, :301])
    (painted,) = repaint(networks, alias, [image])
    grey = painted.astype(np.float32).mean(axis=2)
    for lines in (grey, grey[::-1], grey.T, grey.T[::-1]):
        steps = np.abs(np.diff(lines, axis=0)).mean(axis=1)
        assert steps[:3].max() < 3 * np.median(steps)


def test_styles_mix(cat, networks):
    weights = np.zeros((3, networks["style_network"].styles), np.float32)
    weights[0, 19], weights[1, 12], weights[2, [19, 12]] = 1, 1, 1
    blue, pale, mixed = (
        picture.astype(np.float32) for picture in networks["style_network"]([cat[:160, :160]] * 3, weights)
    )
    apart = np.abs(blue - pale).mean()
    assert np.abs(mixed - blue).mean() < apart > np.abs(mixed - pale).mean()


def test_vectors_tell_styles_apart(cat, networks):
    from skimage import data

    vectors = networks["style_transfer"].vectors([cat, np.ascontiguousarray(cat[:, ::-1]), data.rocket()])
    assert vectors.shape == (3, 100)
    assert np.linalg.norm(vectors[0] - vectors[1]) < np.linalg.norm(vectors[0] - vectors[2]) / 2
    assert networks["style_vector"]([]).shape == (0, 100)


def test_they_are_fetched_with_the_others():
    table = ModelTable("embedded")
    for alias in ALIASES:
        assert table.entry(alias).licence == "Apache-2.0"
        assert not table.entry(alias).optional
    assert table.entry("style_transfer").uses == ("style_vector",)
