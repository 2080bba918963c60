"""CLIP's image tower: quantised products are quantised by blocks, and a vector depends on its picture alone."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array, to_array
from PIL import Image

from variorum.models import ModelTable
from variorum.models.loaders.clip_tower import (
    CLIP_TOWER,
    MEAN,
    POSITIONS,
    STD,
    network_input,
    quantise_by_blocks,
    resample,
)
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


def quantised(rng, nodes=(), zero=0, rows=256):
    """A model of two products of one input, added up, and the weights that they have in float."""
    columns = {name: rng.uniform(0.01, 0.1, 64).astype(np.float32) for name in "ab"}
    whole = {name: rng.integers(-127, 128, (rows, 64)).astype(np.int8) for name in "ab"}
    zeros = {name: np.full(64, zero, np.int8) for name in "ab"}
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
        [make_tensor_value_info("x", TensorProto.FLOAT, ["n", rows])],
        [make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["n", 64])],
        constants,
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 14)], ir_version=8)
    return model, [whole[name] * columns[name].astype(np.float64) for name in "ab"]


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["image_embeds"], {"x": x})[0]


def test_quantised_products_are_near_those_in_float_and_rows_do_not_depend_on_each_other():
    rng = np.random.default_rng(0)
    model, weights = quantised(rng)
    x = rng.normal(size=(5, 256)).astype(np.float32)
    x[1:] *= 30
    expected = x.astype(np.float64) @ (weights[0] + weights[1])
    before, alone = run(model, x), run(model, x[:1])
    assert np.abs(before[:1] - alone).max() > 1  # one range for the whole batch: why the file isn't used as it is
    quantise_by_blocks(model)
    assert [node.op_type for node in model.graph.node] == ["MatMulNBits", "MatMulNBits", "Add"]
    assert len(model.graph.initializer) == 4  # weights and scales, nothing of the file's own
    together = run(model, x)
    assert np.concatenate([run(model, row[None]) for row in x]) == pytest.approx(together, abs=0.01)
    apart = np.linalg.norm(together - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert apart.max() < 0.02
    assert np.linalg.norm(before[0] - expected[0]) / np.linalg.norm(expected[0]) > 5 * apart[0]


def test_a_model_without_quantised_products_stays_as_it_is():
    model, _ = quantised(np.random.default_rng(0))
    quantise_by_blocks(model)
    before = model.SerializeToString()
    quantise_by_blocks(model)
    assert model.SerializeToString() == before


def test_products_of_another_form_are_refused():
    shared, _ = quantised(
        np.random.default_rng(0), [make_node("Identity", ["xa_int"], ["again"])]
    )  # the integers are needed elsewhere too
    with pytest.raises(ModelUnavailable, match=r"product xa_int isn't of the form"):
        quantise_by_blocks(shared)
    leftover, _ = quantised(np.random.default_rng(0), [make_node("Identity", ["x_scale"], ["again"])])
    with pytest.raises(ModelUnavailable, match=r"the node again needs a quantised value"):
        quantise_by_blocks(leftover)
    variable, _ = quantised(np.random.default_rng(0))
    del variable.graph.initializer[0]  # a_q, so an input in its place
    variable.graph.input.append(make_tensor_value_info("a_q", TensorProto.INT8, [256, 64]))
    with pytest.raises(ModelUnavailable, match=r"xa_int has no constant 'a_q'"):
        quantise_by_blocks(variable)
    sums, _ = quantised(np.random.default_rng(0))
    sums.graph.node[2].op_type = "Identity"
    with pytest.raises(ModelUnavailable, match=r"product xa_int isn't of the form"):
        quantise_by_blocks(sums)


@pytest.mark.parametrize("other", [{"zero": 3}, {"rows": 100}])
def test_weights_of_another_form_are_refused(other):
    model, _ = quantised(np.random.default_rng(0), **other)
    with pytest.raises(ModelUnavailable, match=r"xa_int needs weights of signed bytes around 0.*has int8 \("):
        quantise_by_blocks(model)


def test_position_embeddings_are_resampled_in_their_grid():
    y, x = np.mgrid[:14, :14].astype(np.float32)
    grid = np.stack([y, x, x * y], axis=-1)
    table = np.concatenate([[[7, 8, 9]], grid.reshape(-1, 3)]).astype(np.float32)
    nodes = [
        make_node("Gather", [POSITIONS, "order"], ["all"]),
        make_node("Add", ["all", "start"], ["image_embeds"]),
    ]
    constants = [from_array(table, POSITIONS), from_array(np.arange(197)[None], "order")]
    picture = make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 224, 224])
    outputs = [make_tensor_value_info(name, TensorProto.FLOAT, ["n", 197, 3]) for name in ("image_embeds", "all")]
    model = make_model(make_graph(nodes, "tiny", [picture], outputs, constants), opset_imports=[make_opsetid("", 14)])
    resample(model, 112)
    rows = to_array(model.graph.initializer[0])[0]
    assert rows.shape == (50, 3)
    assert rows[0].tolist() == [7, 8, 9]
    inner = rows[1:].reshape(7, 7, 3)[1:-1, 1:-1]  # a plane stays a plane, but not beside the border
    y, x = np.mgrid[1:6, 1:6] * 2 + 0.5
    assert inner == pytest.approx(np.stack([y, x, x * y], axis=-1), abs=1e-4)
    assert [output.name for output in model.graph.output] == ["image_embeds"]
    assert [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim] == [0, 3, 112, 112]
    with pytest.raises(ModelUnavailable, match=r"only 224 pixels can be taken: there is no table .* of 197 rows"):
        resample(model, 64)


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def levels(x, side=224):
    """Back from the network's input to 0..255."""
    assert x.shape == (1, 3, side, side)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    return (x[0].transpose(1, 2, 0) * STD + MEAN) * 255


def test_the_input_is_the_central_square(cat):
    square = np.ascontiguousarray(cat[:224, :224])
    assert np.abs(levels(network_input(square, 224)) - square).max() < 1e-3
    wide = np.zeros((224, 500, 3), np.uint8)
    wide[:, 138:362] = square
    assert np.array_equal(network_input(wide, 224), network_input(square, 224))
    assert np.array_equal(network_input(wide.transpose(1, 0, 2), 224), network_input(square.transpose(1, 0, 2), 224))


@pytest.mark.parametrize(("shape", "side"), [((300, 451), 224), ((300, 451), 160), ((120, 97), 224), ((37, 200), 224)])
def test_the_crop_is_that_of_the_resized_picture(cat, shape, side):
    height, width = shape
    picture = np.ascontiguousarray(cat[:height, :width])
    across, down = side * width // min(shape), side * height // min(shape)
    whole = np.asarray(Image.fromarray(picture).resize((across, down), Image.Resampling.BICUBIC), np.float64)
    left, top = (across - side) // 2, (down - side) // 2
    apart = np.abs(levels(network_input(picture, side), side) - whole[top : top + side, left : left + side])
    assert apart.max() < 6  # Pillow rounds between the two directions, and may change their order
    assert apart.mean() < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9000), (9000, 1), (3, 2), (2000, 1501)])
def test_pictures_of_any_size_keep_their_colour(shape):
    colour = 10, 100, 200
    assert np.abs(levels(network_input(np.full((*shape, 3), colour, np.uint8), 224)) - colour).max() < 1e-3


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
def towers():
    """Of 224 and 160 pixels."""
    table = ModelTable("embedded")
    try:
        table.fetch("encoder_independent")
    except ModelUnavailable as error:
        pytest.skip(str(error))
    return table.get("encoder_independent"), table.get("encoder_independent_fast")


@pytest.mark.slow
def test_embeddings_of_like_pictures_are_alike_and_do_not_depend_on_the_batch(towers, cat):
    from skimage import data

    pictures = [cat, np.ascontiguousarray(cat[:, ::-1]), data.coffee(), data.rocket(), cat[:1, :1]]
    found = []
    for tower, side in zip(towers, (224, 160), strict=True):
        assert tower.side == side
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
        found.append(directions)
    assert 0.9 < np.sum(found[0] * found[1], axis=1).min() < 0.999


@pytest.mark.slow
def test_the_input_is_that_of_transformers(towers, cat):
    from transformers import CLIPImageProcessor

    own = CLIPImageProcessor()(images=[cat], return_tensors="np", input_data_format="channels_last")["pixel_values"]
    assert np.abs(levels(own) - levels(network_input(cat, 224))).max() < 2
    pair = np.concatenate([network_input(cat, 224), own])
    ours, theirs = towers[0]._session.run(["image_embeds"], {"pixel_values": pair})[0]
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.999
