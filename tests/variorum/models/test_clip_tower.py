"""CLIP's image tower: quantised products become plain ones, and a vector depends on its picture alone."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array
from PIL import Image

from variorum.models import ModelTable
from variorum.models.loaders.clip_tower import CLIP_TOWER, MEAN, STD, dequantise, network_input, weights_of
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

ENTRY = Entry(name="tiny", loader="clip_tower", licence="none", source="random weights")


def product(x, weights, output):
    """The nodes that ONNX Runtime's quantiser writes for `x @ weights`, after the one that quantises x."""
    return [
        make_node("MatMulInteger", [f"{x}_q", f"{weights}_q", f"{x}_zero", f"{weights}_zero"], [f"{output}_int"]),
        make_node("Cast", [f"{output}_int"], [f"{output}_float"], to=TensorProto.FLOAT),
        make_node("Mul", [f"{x}_scale", f"{weights}_scale"], [f"{output}_scales"]),
        make_node("Mul", [f"{output}_float", f"{output}_scales"], [output]),
    ]


def quantised(rng, nodes=()):
    """A model of two products of one input, added up, and the weights that they have in float."""
    columns = {"a": rng.uniform(0.01, 0.1, 3).astype(np.float32), "b": np.float32(0.05)}
    whole = {name: rng.integers(-128, 128, (4, 3), dtype=np.int8) for name in "ab"}
    zeros = {"a": rng.integers(-9, 9, 3, dtype=np.int8), "b": np.int8(0)}
    constants = [
        from_array(np.asarray(values), f"{name}_{kind}")
        for kind, table in (("q", whole), ("scale", columns), ("zero", zeros))
        for name, values in table.items()
    ]
    graph = make_graph(
        [
            make_node("DynamicQuantizeLinear", ["x"], ["x_q", "x_scale", "x_zero"]),
            *product("x", "a", "xa"),
            *product("x", "b", "xb"),
            make_node("Add", ["xa", "xb"], ["image_embeds"]),
            *nodes,
        ],
        "tiny",
        [make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["n", 3])],
        constants,
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 14)], ir_version=8)
    return model, [(whole[name] - zeros[name].astype(np.float64)) * columns[name] for name in "ab"]


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["image_embeds"], {"x": x})[0]


def test_quantised_products_become_products_with_the_weights_in_float():
    rng = np.random.default_rng(0)
    model, weights = quantised(rng)
    x = rng.normal(size=(5, 4)).astype(np.float32)
    x[1:] *= 30
    expected = x.astype(np.float64) @ weights[0] + x.astype(np.float64) @ weights[1]
    before, alone = run(model, x), run(model, x[:1])
    assert np.abs(before[:1] - alone).max() > 0.1  # one range for the whole batch: why the file isn't used as it is
    dequantise(model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "MatMul", "Add"]
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT}
    assert run(model, x) == pytest.approx(expected, rel=1e-5, abs=1e-4)
    assert run(model, x[:1]) == pytest.approx(expected[:1], rel=1e-5, abs=1e-4)
    assert np.abs(before - expected).max() > 0.01


def test_a_model_without_quantised_products_stays_as_it_is():
    model, _ = quantised(np.random.default_rng(0))
    dequantise(model)
    before = model.SerializeToString()
    dequantise(model)
    assert model.SerializeToString() == before


def test_products_of_another_form_are_refused():
    shared, _ = quantised(
        np.random.default_rng(0), [make_node("Identity", ["xa_int"], ["again"])]
    )  # the integers are needed elsewhere too
    with pytest.raises(ModelUnavailable, match=r"product xa_int isn't of the form"):
        dequantise(shared)
    leftover, _ = quantised(np.random.default_rng(0), [make_node("Identity", ["x_scale"], ["again"])])
    with pytest.raises(ModelUnavailable, match=r"the node again needs a quantised value"):
        dequantise(leftover)
    variable, _ = quantised(np.random.default_rng(0))
    del variable.graph.initializer[0]  # a_q, so an input in its place
    variable.graph.input.append(make_tensor_value_info("a_q", TensorProto.INT8, [4, 3]))
    with pytest.raises(ModelUnavailable, match=r"xa_int has no constant 'a_q'"):
        dequantise(variable)
    sums, _ = quantised(np.random.default_rng(0))
    sums.graph.node[2].op_type = "Identity"
    with pytest.raises(ModelUnavailable, match=r"product xa_int isn't of the form"):
        dequantise(sums)


@given(
    arrays(np.int8, (3, 2)),
    arrays(np.float32, st.sampled_from([(), (2,)]), elements=st.floats(2**-10, 1, width=32)),
    st.none() | arrays(np.int8, st.sampled_from([(), (2,)])),
)
def test_weights_are_scale_times_distance_to_the_zero_point(whole, scale, zero_point):
    found = weights_of(whole, scale, zero_point)
    assert found.dtype == np.float32
    zero = 0 if zero_point is None else zero_point.astype(np.int64)
    assert np.array_equal(found, ((whole.astype(np.int64) - zero) * scale.astype(np.float64)).astype(np.float32))


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def levels(x):
    """Back from the network's input to 0..255."""
    assert x.shape == (1, 3, 224, 224)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    return (x[0].transpose(1, 2, 0) * STD + MEAN) * 255


def test_the_input_is_the_central_square(cat):
    square = np.ascontiguousarray(cat[:224, :224])
    assert np.abs(levels(network_input(square)) - square).max() < 1e-3
    wide = np.zeros((224, 500, 3), np.uint8)
    wide[:, 138:362] = square
    assert np.array_equal(network_input(wide), network_input(square))
    assert np.array_equal(network_input(wide.transpose(1, 0, 2)), network_input(square.transpose(1, 0, 2)))


@pytest.mark.parametrize("shape", [(300, 451), (120, 97), (37, 200)])
def test_the_crop_is_that_of_the_resized_picture(cat, shape):
    height, width = shape
    picture = np.ascontiguousarray(cat[:height, :width])
    across, down = 224 * width // min(shape), 224 * height // min(shape)
    whole = np.asarray(Image.fromarray(picture).resize((across, down), Image.Resampling.BICUBIC), np.float64)
    left, top = (across - 224) // 2, (down - 224) // 2
    apart = np.abs(levels(network_input(picture)) - whole[top : top + 224, left : left + 224])
    assert apart.max() < 6  # Pillow rounds between the two directions, and may change their order
    assert apart.mean() < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9000), (9000, 1), (3, 2), (2000, 1501)])
def test_pictures_of_any_size_keep_their_colour(shape):
    colour = 10, 100, 200
    assert np.abs(levels(network_input(np.full((*shape, 3), colour, np.uint8))) - colour).max() < 1e-3


def test_a_file_that_is_no_image_tower_is_refused(tmp_path):
    file = tmp_path / "w.onnx"
    file.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match=r"w\.onnx can't be opened as ONNX"):
        CLIP_TOWER.load(ENTRY, file, {})
    model, _ = quantised(np.random.default_rng(0))
    model.graph.node[-1].output[0] = model.graph.output[0].name = "other"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ModelUnavailable, match=r"it has no output image_embeds"):
        CLIP_TOWER.load(ENTRY, file, {})


def test_weights_that_arent_here_are_named_with_the_command_that_fetches_them(own_cache):
    with pytest.raises(ModelUnavailable, match=r"is missing: fetch it with `variorum doctor encoder_independent --f"):
        ModelTable("embedded").check(["encoder_independent"])


# ── the real weights ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def tower():
    table = ModelTable("embedded")
    try:
        table.fetch("encoder_independent")
    except ModelUnavailable as error:
        pytest.skip(str(error))
    return table.get("encoder_independent")


@pytest.mark.slow
def test_embeddings_of_like_pictures_are_alike_and_do_not_depend_on_the_batch(tower, cat):
    from skimage import data

    pictures = [cat, np.ascontiguousarray(cat[:, ::-1]), data.coffee(), data.rocket(), cat[:1, :1]]
    together = tower(pictures)
    assert together.shape == (5, 512)
    assert together.dtype == np.float32
    order = [3, 0, 4, 2, 1]
    assert np.abs(together[order] - tower([pictures[i] for i in order])).max() <= 1e-5
    assert np.abs(together - np.concatenate([tower([picture]) for picture in pictures])).max() <= 1e-5
    directions = together[:4] / np.linalg.norm(together[:4], axis=1, keepdims=True)
    cosine = directions @ directions.T
    assert cosine[0, 1] > 0.95 > 0.75 > max(cosine[0, 2], cosine[0, 3], cosine[2, 3])
    assert tower([]).shape == (0, 512)


@pytest.mark.slow
def test_the_input_is_that_of_transformers(tower, cat):
    from transformers import CLIPImageProcessor

    own = CLIPImageProcessor()(images=[cat], return_tensors="np", input_data_format="channels_last")["pixel_values"]
    assert np.abs(levels(own) - levels(network_input(cat))).max() < 2
    ours, theirs = tower._session.run(["image_embeds"], {"pixel_values": np.concatenate([network_input(cat), own])})[0]
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.9999
