"""Statistics of filters whose true values are known, and of real and damaged files of weights through the pipeline."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from safetensors.torch import save_file

from variorum.edition.editions import resolve
from variorum.evaluation.cnn_filters.filter_statistics import FilterStatistics
from variorum.evaluation.cnn_filters.layers import (
    high_frequencies,
    orthogonality,
    random_entropy,
    sparse_filters,
    variance_entropy,
    variation,
)
from variorum.evaluation.cnn_filters.shift import bin_edges, directions, divergence, histograms, normalised
from variorum.models.convolutions import read_convolutions
from variorum.pipeline import Job, Threads, run
from variorum.pixels import decode
from variorum.reports.hub_types import features, read_back
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelUnavailable, RecipeError, SourceChanged, SourceError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.cnn_filters import CnnFilters
from variorum.sources.tables.filter_sheets import LEAST, sheet
from variorum.stages.job import models

RNG = np.random.default_rng(7)
CTX = Context(0, None, lambda key, compute: compute())


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("count", "entropy", "random"), [(96, 0.938, 0.924), (480, 0.949, 0.948), (1152, 0.952, 0.950)]
)
def test_normal_filters_have_nearly_the_entropy_of_random_ones(count, entropy, random):
    found = [variance_entropy(RNG.standard_normal((count, 9)).astype(np.float32)) for _ in range(20)]
    assert np.mean(found) == pytest.approx(entropy, abs=0.01)
    assert random_entropy(count) == pytest.approx(random, abs=0.001)


def test_entropy_is_0_for_one_direction_and_largest_for_all_alike():
    line = np.outer(RNG.standard_normal(50), np.arange(1, 10)).astype(np.float32)
    assert variance_entropy(line) == pytest.approx(0, abs=1e-5)
    corners = np.concatenate([np.eye(9), -np.eye(9)]).astype(np.float32)
    assert variance_entropy(corners) == pytest.approx(math.log10(9), abs=1e-6)
    assert variance_entropy(np.ones((5, 9), np.float32)) is None
    assert variance_entropy(np.ones((1, 9), np.float32)) is None


def test_zeroed_filters_are_counted_exactly():
    filters = RNG.standard_normal((500, 9)).astype(np.float32)
    gone = RNG.choice(500, 137, replace=False)
    filters[gone] = 0
    assert set(np.flatnonzero(sparse_filters(filters))) == set(gone)
    filters[gone[:30]] = 1e-3 * np.abs(filters).max()
    assert sparse_filters(filters).sum() == 137
    assert sparse_filters(np.zeros((4, 9), np.float32)).all()
    tiny = np.zeros((4, 9), np.float32)
    tiny[0] = 1e-44  # a hundredth of it is 0 in float32
    assert sparse_filters(tiny).tolist() == [False, True, True, True]


def test_orthogonality_of_known_rows():
    assert orthogonality(np.eye(6, 27, dtype=np.float32)) == pytest.approx(1)
    assert orthogonality(np.ones((6, 27), np.float32)) == pytest.approx(0)
    half = np.array([[1, 0], [1, 1]], np.float32)
    assert orthogonality(half) == pytest.approx(1 - math.sqrt(0.5), abs=1e-6)
    assert orthogonality(np.ones((1, 27), np.float32)) is None  # one output channel
    assert orthogonality(np.array([[1, 0], [0, 0]], np.float32)) is None


def test_a_box_is_smoother_than_a_checkerboard():
    box, board = np.ones((1, 5, 5), np.float32), (-1.0) ** np.add.outer(np.arange(5), np.arange(5))[None]
    assert variation(box) == 0
    assert variation(board.astype(np.float32)) == 80 / 25  # 40 pairs of neighbours, each 2 apart
    assert high_frequencies(box) < 0.2 < 0.8 < high_frequencies(board.astype(np.float32))
    random = RNG.standard_normal((4000, 5, 5)).astype(np.float32)
    assert variation(random) == pytest.approx(2.26, abs=0.03)
    assert high_frequencies(random) == pytest.approx(0.80, abs=0.02)
    assert np.isnan([variation(random[:1] * 0), high_frequencies(random[:1] * 0)]).all()
    assert variation(np.concatenate([box, 0 * box])) == 0  # what is empty doesn't count


def test_the_same_filters_are_not_apart_and_other_ones_are():
    one, two = (normalised(RNG.standard_normal((4000, 9)).astype(np.float32)) for _ in range(2))
    edges = normalised(np.outer(RNG.standard_normal(4000), [1, 0, -1, 2, 0, -2, 1, 0, -1]).astype(np.float32))
    together = np.concatenate([one, two, edges])
    common = directions(together)
    assert common.shares.sum() == pytest.approx(1)
    assert (np.diff(common.shares) <= 0).all()
    shares = [histograms(each, common, bin_edges(together, common)) for each in (one, two, edges)]
    assert divergence(shares[0], shares[0], common.shares) == 0
    assert divergence(shares[0], shares[1], common.shares) < 0.1
    assert divergence(shares[0], shares[2], common.shares) > 1


@pytest.mark.parametrize("side", [3, 5])
def test_a_row_is_what_plain_numpy_says(side):
    filters = RNG.standard_normal((24, side * side)).astype(np.float32)
    filters[3] = 0
    filters[5] *= 0.015 * np.abs(filters).max() / np.abs(filters[5]).max()  # small, and above the limit
    member = io.BytesIO()
    np.save(member, filters)
    told = {"alias": "a", "layer": "l", "depth_norm": 0, "depthwise": False, "quantised": False, "outputs": 6}
    told |= {"kernel": side}
    given = Sample(source_id("t", "x"), b"", metadata=told, extras={"filters.npy": member.getvalue()})
    (row,) = FilterStatistics().measure([given], CTX)
    kept = np.delete(filters, 3, axis=0).astype(np.float64)
    shares = np.linalg.eigvalsh(np.cov(kept.T))
    shares = shares[shares > 1e-12] / shares.sum()
    rows = [one / np.linalg.norm(one) for one in filters.reshape(6, -1).astype(np.float64)]
    angles = [abs(one @ other) for place, one in enumerate(rows) for other in rows[:place]]
    assert row["sparse"] == 1
    assert row["entropy"] == pytest.approx(-(shares * np.log10(shares)).sum(), abs=1e-6)
    assert row["orthogonality"] == pytest.approx(1 - np.mean(angles), abs=1e-6)
    assert math.isnan(row["threshold"]) == (side != 3)
    drawn = np.frombuffer(row["drawn"], np.float32).reshape(-1, side * side)
    np.testing.assert_allclose(drawn, kept / np.abs(kept).max(axis=1, keepdims=True), rtol=1e-6)


def test_directions_and_histograms_of_known_filters():
    one = normalised((RNG.standard_normal((500, 9)) * np.arange(1, 10)).astype(np.float32))
    assert np.abs(one).max(axis=1) == pytest.approx(1)
    common = directions(one)
    spread = ((one - common.mean) @ common.axes.T).var(axis=0)
    np.testing.assert_allclose(spread / spread.sum(), common.shares, atol=1e-6)
    shares = histograms(one[:1], common, bin_edges(one, common))
    assert shares.shape == (9, 64)
    assert sorted(set(shares.round(9).ravel())) == pytest.approx([0.5 / 33, 1.5 / 33])  # half a count in each bin


# ── files of weights ─────────────────────────────────────────────────────────────────────────────────────────────────


def network() -> torch.nn.Module:
    """A first layer, a depthwise one, a 1 × 1 one and a 5 × 5 one, with random weights."""
    torch.manual_seed(3)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, bias=False),
        torch.nn.Conv2d(8, 8, 3, groups=8, bias=False),
        torch.nn.Conv2d(8, 4, 1, bias=False),
        torch.nn.Conv2d(4, 2, 5, bias=False),
    )
    with torch.no_grad():
        layers[1].weight[2:5] = 0
    return layers


def graph(tensors: dict[str, np.ndarray], nodes: list) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same network as a state dict, as safetensors and as ONNX."""
    root = tmp_path_factory.mktemp("weights")
    state = network().state_dict()
    torch.save(state, root / "state.pth")
    save_file(state, str(root / "tensors.safetensors"))
    arrays = {f"w{place}": array.numpy() for place, array in enumerate(state.values())}
    names = ["x", "a", "b", "c", "y"]
    nodes = [
        helper.make_node("Conv", [names[place], f"w{place}"], [names[place + 1]], group=8 if place == 1 else 1)
        for place in range(4)
    ]
    onnx.save(graph(arrays, nodes), str(root / "graph.onnx"))
    return root


@pytest.mark.parametrize("name", ["state.pth", "tensors.safetensors", "graph.onnx"])
def test_three_formats_give_the_same_layers(files, name):
    found = read_convolutions(files / name)
    for layer, expected in zip(found, network().state_dict().values(), strict=True):
        np.testing.assert_array_equal(layer.weights, expected.numpy())
    assert [round(layer.depth, 3) for layer in found] == [0, 0.333, 0.667, 1]
    assert [layer.depthwise for layer in found] == [False, True, False, False]
    assert found[1].groups == 8
    assert [layer.quantised for layer in found] == [False] * 4


def test_quantised_weights_are_dequantised_and_marked(tmp_path):
    weights = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
    scale = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    stored = np.rint(weights / scale[:, None, None, None]).astype(np.int8)
    zero = np.zeros(4, np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"], axis=0),
        helper.make_node("Conv", ["x", "v"], ["y"]),
    ]
    onnx.save(graph({"w": stored, "s": scale, "z": zero}, nodes), str(tmp_path / "q.onnx"))
    (layer,) = read_convolutions(tmp_path / "q.onnx")
    assert layer.quantised
    np.testing.assert_allclose(layer.weights, weights, atol=scale.max() / 2 + 1e-6)
    (sample,) = CnnFilters(models=(), files=(tmp_path / "q.onnx",)).read(0, 1, CTX)
    assert sample.metadata["quantised"] is True


@pytest.mark.parametrize(
    ("operator", "inputs", "factor"),
    [
        ("QLinearConv", ["x", "one", "zero", "w_quantized", "w_scale", "w_zero"], 0.5),
        ("ConvInteger", ["x", "w_quantized", "zero", "w_zero"], 0.5),
        ("ConvInteger", ["x", "bare", "zero", "w_zero"], 1),  # its scale has another name
    ],
)
def test_whole_numbers_of_other_operators_are_scaled_too(tmp_path, operator, inputs, factor):
    stored = RNG.integers(0, 255, (4, 3, 3, 3)).astype(np.uint8)
    one, zero = np.ones((), np.float32), np.zeros((), np.uint8)
    tensors = {"w_quantized": stored, "bare": stored, "w_scale": one / 2, "w_zero": zero + np.uint8(9), "one": one}
    node = helper.make_node(operator, inputs, ["y"], group=-7)
    onnx.save(
        graph({**{name: np.asarray(each) for name, each in tensors.items()}, "zero": zero}, [node]),
        str(tmp_path / "q.onnx"),
    )
    (layer,) = read_convolutions(tmp_path / "q.onnx")
    assert layer.quantised
    assert layer.groups == 0  # no such number of groups
    np.testing.assert_allclose(layer.weights, (stored.astype(np.float32) - 9) * factor)


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return open, (str(self.place), "w")


def test_no_pickle_is_opened(tmp_path):
    torch.save({"weight": Code(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(ModelUnavailable, match="isn't a file of weights"):
        read_convolutions(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["cut.onnx", "cut.pth", "cut.safetensors", "notes.txt"])
def test_other_files_are_one_line_before_work(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x02nothing of the kind")
    with pytest.raises(SourceError, match="cnn_filters: ") as caught:
        CnnFilters(models=(), files=(tmp_path / name,)).size(CTX)
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="isn't a file"):
        CnnFilters(models=(), files=(tmp_path / "gone.pth",)).pin(CTX)


def test_weights_in_another_file_are_refused(files, tmp_path):
    model = onnx.load(str(files / "graph.onnx"))
    onnx.save(model, str(tmp_path / "out.onnx"), save_as_external_data=True, location="out.bin", size_threshold=0)
    with pytest.raises(ModelUnavailable, match="in another file"):
        read_convolutions(tmp_path / "out.onnx")
    constant = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32))
    external_data_helper.set_external_data(constant, "../../etc/hostname")
    constant.ClearField("raw_data")
    nodes = [helper.make_node("Constant", [], ["w"], value=constant), helper.make_node("Conv", ["x", "w"], ["y"])]
    (tmp_path / "constant.onnx").write_bytes(graph({}, nodes).SerializeToString())
    with pytest.raises(ModelUnavailable, match="in another file"):
        read_convolutions(tmp_path / "constant.onnx")


def damaged(kind: str, path: Path) -> None:
    """An ONNX file whose one layer can't be read."""
    w = numpy_helper.from_array(RNG.standard_normal((4, 3, 3, 3)).astype(np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    if kind == "cut":
        w.raw_data = w.raw_data[:50]
    elif kind == "huge":
        w.dims[:] = [10**6, 10**6, 3, 3]
    elif kind == "negative":
        w.dims[:] = [-4, 3, 3, 3]
    elif kind == "type":
        w.data_type = 99
    elif kind == "text":
        w = helper.make_tensor("w", TensorProto.STRING, [1, 1, 3, 3], [b"a"] * 9)
    elif kind == "inputs":
        nodes = [helper.make_node("QLinearConv", ["x", "s", "z", "w"], ["y"])]
    else:
        nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["v"], axis=0), *nodes]
        nodes[1].input[1] = "v"
    model = graph({"s": np.ones(7, np.float32)}, nodes)
    model.graph.initializer.append(w)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("kind", ["cut", "huge", "negative", "type", "text", "inputs", "scales"])
def test_layers_that_cannot_be_read_are_one_line(tmp_path, kind):
    damaged(kind, tmp_path / "bad.onnx")
    with pytest.raises(SourceError, match=r"cnn_filters: bad\.onnx (isn't valid ONNX|has a layer)") as caught:
        CnnFilters(models=(), files=(tmp_path / "bad.onnx",)).size(CTX)
    assert "\n" not in str(caught.value)


def compressed(source: Path, target: Path) -> None:
    """The same archive with compressed members, the first tensor's being very long."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name.replace(source.stem, target.stem), bytes(10**7) if "data/0" in name else old.read(name))


class Long:
    """More bytes than any machine has, when it is unpickled."""

    def __reduce__(self):
        return bytearray, (10**15,)


def test_state_dicts_that_declare_more_than_they_hold_are_refused(files, tmp_path):
    whole = torch.ones(4, 3, 3, 3)
    torch.save({"w": torch.zeros(1).expand(10**5, 10**5, 3, 3)}, tmp_path / "repeated.pth")
    torch.save({"w": whole.to("meta")}, tmp_path / "meta.pth")
    torch.save({"w": Long()}, tmp_path / "long.pth")
    compressed(files / "state.pth", tmp_path / "bomb.pth")
    why = {
        "repeated": "w declares more numbers than the file holds",
        "meta": "w isn't an ordinary tensor",
        "long": "more than fits into memory",
        "bomb": "members are larger than the file",
    }
    for name, text in why.items():
        with pytest.raises(ModelUnavailable, match=text):
            read_convolutions(tmp_path / f"{name}.pth")
    torch.save({"w": torch.nn.Parameter(whole)}, tmp_path / "parameter.pth")
    assert read_convolutions(tmp_path / "parameter.pth")[0].weights.shape == (4, 3, 3, 3)


def test_layers_have_names_of_their_own_and_shared_weights_are_there_once(tmp_path):
    w = RNG.standard_normal((4, 4, 3, 3)).astype(np.float32)
    twice = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"])]
    onnx.save(graph({"w": w}, twice), str(tmp_path / "shared.onnx"))
    assert [layer.layer for layer in read_convolutions(tmp_path / "shared.onnx")] == ["w"]
    torch.save(dict.fromkeys(("a", "a.weight", "b\n\ud800", "c" * 999), torch.tensor(w)), tmp_path / "names.pth")
    found = read_convolutions(tmp_path / "names.pth")
    assert [layer.layer for layer in found] == ["a", "a (2)", "b??", "c" * 200]
    save_file({"s": torch.tensor(w)}, str(tmp_path / "one.safetensors"))
    assert [layer.layer for layer in read_convolutions(tmp_path)] == ["s"]  # a folder with three forms
    with pytest.raises(ValueError, match="isn't printable text"):
        CnnFilters(models=(), files=(tmp_path / "a\nb.pth",))


# ── the source ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sample_a_layer(files):
    source, ctx = CnnFilters(models=(), files=(files / "state.pth",)), CTX
    found = list(source.read(0, source.size(ctx), ctx))
    assert [sample.metadata["kernel"] for sample in found] == [3, 3, 5]
    assert [sample.metadata["n"] for sample in found] == [24, 8, 8]
    assert [sample.metadata["depthwise"] for sample in found] == [False, True, False]
    assert len({sample.photograph for sample in found}) == 1
    for sample, layer in zip(found, (0, 1, 3), strict=True):
        filters = np.load(io.BytesIO(sample.extras["filters.npy"]), allow_pickle=False)
        weights = network()[layer].weight.detach().numpy()
        np.testing.assert_array_equal(filters, weights.reshape(-1, weights.shape[-1] ** 2))
        assert min(decode(sample.image).shape[:2]) >= LEAST
        np.testing.assert_array_equal(decode(sample.image), sheet(filters, sample.metadata["kernel"]))
        assert sample.metadata["groups"] in (8, None)
    only = CnnFilters(models=(), files=(files / "state.pth",), kernels=(5,))
    assert only.size(ctx) == 1
    assert only.fingerprint() != source.fingerprint()
    for odd in (1, 12):
        with pytest.raises(ValueError, match=f"{odd} isn't a side of 2 to 11 weights"):
            CnnFilters(kernels=(odd,))


def test_a_network_without_such_filters_is_a_row_and_none_at_all_is_refused(files, tmp_path):
    save_file(
        {"conv.weight": torch.ones(4, 3, 1, 1), "fc.weight": torch.ones(2, 4)}, str(tmp_path / "flat.safetensors")
    )
    ctx = CTX
    both = CnnFilters(models=(), files=(tmp_path / "flat.safetensors", files / "state.pth"))
    found = list(both.read(0, both.size(ctx), ctx))
    assert isinstance(found[0], Failure)
    assert (found[0].status, found[0].reason) == ("ineligible", "no_filters")
    assert len(found) == 4
    with pytest.raises(SourceError, match=r"no layer of flat\.safetensors has filters of 3 x 3, 5 x 5"):
        CnnFilters(models=(), files=(tmp_path / "flat.safetensors",)).size(ctx)


def test_files_that_change_are_another_source_or_an_error(tmp_path):
    ctx, path = CTX, tmp_path / "mine.safetensors"
    source = CnnFilters(models=(), files=(path,))
    save_file({"w": torch.ones(4, 3, 3, 3)}, str(path))
    first = source.pin(ctx)
    assert source.size(ctx) == 1
    save_file({"w": torch.ones(5, 3, 3, 3)}, str(path))
    for look in (source.pin, source.size, lambda ctx: list(source.read(0, 1, ctx))):
        with pytest.raises(SourceChanged, match="has changed since the run began"):
            look(ctx)
    assert CnnFilters(models=(), files=(path,)).pin(ctx) != first


def test_layers_with_odd_numbers_are_rows(tmp_path):
    fine = torch.ones(4, 3, 3, 3)
    odd = {"nan": fine * math.nan, "inf": fine.clone(), "large": fine.double() * 1e300}
    odd["inf"][0, 0, 0, 0] = math.inf
    torch.save({**odd, "none": torch.zeros(0, 3, 3, 3), "fine": fine}, tmp_path / "odd.pth")
    source, ctx = CnnFilters(models=(), files=(tmp_path / "odd.pth",)), CTX
    *rows, last = source.read(0, source.size(ctx), ctx)
    assert [(row.reason, row.origin, row.detail.split()[0]) for row in rows] == [
        ("not_finite", "odd.pth nan", "108"),
        ("not_finite", "odd.pth inf", "1"),
        ("not_finite", "odd.pth large", "108"),
    ]
    assert len({row.id for row in (*rows, last)}) == 4
    assert last.metadata["n"] == 12


def test_a_model_that_a_user_brings_is_read(files, tmp_path):
    ctx = Context(0, models("embedded"), CTX.memo)
    source = CnnFilters(models=(f"onnx:{files / 'graph.onnx'}",))
    assert [sample.metadata["n"] for sample in source.read(0, source.size(ctx), ctx)] == [24, 8, 8]
    (tmp_path / "mine.py").write_text("def load():\n    return lambda images: [[1.0, 0.0] for _ in images]\n")
    with pytest.raises(SourceError, match="in no file"):
        CnnFilters(models=(f"module:{tmp_path / 'mine.py'}:load",)).size(ctx)


def test_a_packaged_model_is_read_by_its_alias():
    table = models("embedded")
    source, ctx = CnnFilters(models=("judge",), kernels=(3,)), Context(0, table, CTX.memo)
    found = list(source.read(0, source.size(ctx), ctx))
    assert [sample.metadata["n"] for sample in found] == [2048, 8192, 16384]
    assert {sample.licence for sample in found} == {"MIT"}
    with pytest.raises(SourceError, match="without weights"):
        CnnFilters(models=("inpainter",)).size(ctx)


def test_a_sheet_shows_empty_filters_as_grey():
    filters = np.zeros((5, 9), np.float32)
    filters[0, 4], filters[1, 4] = 1, -1e-3
    picture = sheet(filters, 3)
    assert picture.shape[2] == 3
    assert picture[2 + 12, 2 + 12, 0] == 255
    assert abs(int(picture[2 + 12, 28 + 12, 0]) - 128) <= 1
    assert min(sheet(filters[:1, :4], 2).shape[:2]) == LEAST
    many = np.zeros((5000, 25), np.float32)
    many[-1] = 1
    picture = sheet(many, 5)  # 32 x 32 of them, from the first to the last one
    assert max(picture.shape) == 32 * 42 + 2
    assert (picture[-42:-2, -42:-2] == 255).all()
    assert (picture[2:42, 2:42] == 128).all()


# ── through the pipeline ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edition_with_its_figures(files, tmp_path):
    recipe = Recipe.parse(
        {
            "dataset": "filters",
            "version": "1.0.0",
            "samples_per_shard": 2,
            "source": {
                "name": "cnn_filters",
                "models": [],
                "files": [str(files / name) for name in ("state.pth", "graph.onnx")],
            },
            "evaluate": [{"name": "filter_statistics"}],
            "card": {"title": "Filters", "summary": "Filters of a network with random weights."},
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    run(job, Threads(1))
    assert str(features(resolve("filters@1.0.0", job.store))["filters.npy"]) == "List(List(Value('float32')))"
    folder = tmp_path / "store" / "editions" / "filters" / "1.0.0"
    figures = json.loads((folder / "evaluation-filter_statistics.json").read_text())["figures"]
    three = figures["kernels"]["3"]["models"]["state.pth"]
    assert (three["layers"], three["filters"]) == (2, 32)
    assert [layer["sparse"] for layer in three["by_layer"]] == [0, 3 / 8]
    assert three["by_layer"][1]["orthogonality"] is None
    assert figures["kernels"]["5"]["models"]["state.pth"]["entropy"] is not None
    (pair,) = figures["kernels"]["3"]["shift"]
    assert pair["shift"] == 0  # the same weights
    card = (folder / "README.md").read_text()
    assert "Statistics of the filters" in card
    assert "| state.pth | 2 | 32 | 9.4 |" in card


@pytest.mark.slow
def test_datasets_reads_the_filters_of_an_edition(files, tmp_path):
    recipe = Recipe.parse(
        {
            "dataset": "filters",
            "version": "1.0.0",
            "source": {"name": "cnn_filters", "models": [], "files": [str(files / "state.pth")]},
            "card": {"title": "Filters", "summary": "Filters of a network with random weights."},
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    run(job, Threads(1))
    folder = str(tmp_path / "store" / "editions" / "filters" / "1.0.0")
    assert "3 rows" in read_back(folder, resolve("filters@1.0.0", job.store))


@pytest.mark.parametrize(
    ("filters", "changed"),
    [
        (np.ones((4, 8), np.float32), {}),
        (np.ones((4, 9), np.float64), {}),
        (np.ones((5, 9), np.float32), {}),
        (np.full((4, 9), np.nan, np.float32), {}),
        (np.ones((4, 9), np.float32), {"outputs": "many"}),
        (np.ones((4, 9), np.float32), {"outputs": 0}),
        (np.ones((4, 9), np.float32), {"alias": None}),
        (np.array([{}], object), {}),
    ],
)
def test_what_is_not_a_layer_is_one_line(filters, changed):
    member = io.BytesIO()
    np.save(member, filters)
    told = {"alias": "a", "layer": "l", "depth_norm": 0, "depthwise": False, "quantised": False, "outputs": 2}
    told = {name: value for name, value in {**told, "kernel": 3, **changed}.items() if value is not None}
    odd = Sample(source_id("t", "x"), b"", metadata=told, extras={"filters.npy": member.getvalue()}, origin="here")
    with pytest.raises(RecipeError, match=r"filters\.npy of here isn't a layer's filters"):
        list(FilterStatistics().measure([odd], CTX))


def test_other_editions_have_no_figures():
    class Empty:
        def __len__(self):
            return 0

    assert FilterStatistics().figures(Empty(), CTX) == {"kernels": {}}
    assert FilterStatistics().plots({"kernels": {}}) == {}
