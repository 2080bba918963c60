"""ONNX files: what the file beside them may say, layouts and types of input, and a real network."""

from __future__ import annotations

import json

import numpy as np
import pytest
from random_onnx import WIDTH, export

from variorum.models import ModelTable
from variorum.models.brought import find
from variorum.models.brought.names import look_up
from variorum.models.weights import locate
from variorum.schemas.errors import ModelUnavailable, VariorumError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def prepared(picture, *, size=32, resize=37, mean=MEAN, std=STD):
    """By torchvision's usual transforms, `[3, size, size]`."""
    from PIL import Image
    from torchvision import transforms

    steps = [transforms.Resize(resize), transforms.CenterCrop(size), transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(mean, std)])(Image.fromarray(picture)).numpy()


def by_hand(pictures, matrix, **more):
    scores = np.stack([prepared(picture, **more).mean(axis=(1, 2)) @ matrix for picture in pictures])
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def write(path, facts, **more):
    matrix = export(path, **more)
    if facts is not None:
        path.with_suffix(".json").write_text(json.dumps(facts))
    return matrix


def test_without_facts_the_usual_preparation_is_assumed_and_said(tmp_path, pictures):
    matrix = write(tmp_path / "a.onnx", None)
    model = find(f"onnx:{tmp_path / 'a.onnx'}")
    assert model(pictures) == pytest.approx(by_hand(pictures, matrix), abs=1e-5)
    assert (model.classes, model.outputs) == ((), WIDTH)
    assert model.preprocessing == (
        "Shorter side to 37 px (bilinear), centre 32 × 32 px, values (x / 255 - mean) / std, mean 0.485 0.456 0.406, "
        "std 0.229 0.224 0.225 (assumed: the usual for ImageNet, as the model has none)."
    )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_any_layout_and_batch_gives_the_same(tmp_path, pictures, layout, batch):
    facts = {"resize": 40, "mean": [0.5] * 3, "std": [0.25] * 3, "classes": list("abcde")}
    matrix = write(tmp_path / "a.onnx", facts, layout=layout, batch=batch)
    model = find(f"onnx:{tmp_path / 'a.onnx'}")
    expected = by_hand(pictures, matrix, resize=40, mean=[0.5] * 3, std=[0.25] * 3)
    assert model(pictures) == pytest.approx(expected, abs=1e-5)
    assert model.classes == tuple("abcde")
    assert "assumed" not in model.preprocessing


def test_the_embedding_of_a_graph_is_what_its_last_matrix_gets(tmp_path, pictures):
    matrix = write(tmp_path / "a.onnx", None)
    model = find(f"onnx:{tmp_path / 'a.onnx'}")
    colours = np.stack([prepared(picture).mean(axis=(1, 2)) for picture in pictures])
    assert model.features(pictures) == pytest.approx(colours, abs=1e-5)
    assert model(pictures) == pytest.approx(by_hand(pictures, matrix), abs=1e-5)


def test_a_graph_of_bytes_gets_bytes(tmp_path, pictures):
    from PIL import Image

    facts = {"crop": False, "interpolation": "box"}
    matrix = write(tmp_path / "a.onnx", facts, layout="NHWC", dtype="uint8", side="s")
    model = find(f"onnx:{tmp_path / 'a.onnx'}")
    resized = [np.asarray(Image.fromarray(one).resize((224, 224), Image.Resampling.BOX)) for one in pictures]
    scores = np.stack([one.mean(axis=(0, 1), dtype=np.float32) @ matrix for one in resized])
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert model(pictures) == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-4)
    assert model.preprocessing == "Stretched to 224 × 224 px (box), values 0 to 255."


def test_a_graph_of_half_precision_gets_it(tmp_path, pictures):
    matrix = write(tmp_path / "a.onnx", None, dtype="float16")
    assert find(f"onnx:{tmp_path / 'a.onnx'}")(pictures) == pytest.approx(by_hand(pictures, matrix), abs=2e-3)


def test_facts_may_stand_in_the_models_metadata(tmp_path, pictures):
    import onnx

    write(tmp_path / "a.onnx", None)
    model = onnx.load(tmp_path / "a.onnx")
    onnx.helper.set_model_props(
        model, {"classes": '["a", "b", "c", "d", "e"]', "interpolation": "bicubic", "author": "somebody"}
    )
    onnx.save(model, tmp_path / "a.onnx")
    found = find(f"onnx:{tmp_path / 'a.onnx'}")
    assert found.classes == tuple("abcde")
    assert found.preprocessing.startswith("Shorter side to 37 px (bicubic)")
    assert "assumed" not in found.preprocessing


def test_the_pin_covers_weights_facts_and_classes(tmp_path):
    path = tmp_path / "a.onnx"
    write(path, {"classes_file": "names.txt"})
    (tmp_path / "names.txt").write_text("a\nb\n\nc\nd\ne\n")
    assert find(f"onnx:{path}").classes == tuple("abcde")

    def pin():
        return look_up(f"onnx:{path}").pin

    pins = [pin()]
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\nf\n")
    pins.append(pin())
    path.with_suffix(".json").write_text('{"resize": 50}')
    pins.append(pin())
    path.with_suffix(".json").unlink()
    pins.append(pin())
    assert len(set(pins)) == 4
    assert len({one.partition("+")[0] for one in pins}) == 1
    (tmp_path / "elsewhere").mkdir()
    path = path.rename(tmp_path / "elsewhere" / "a.onnx")
    assert pin() == pins[3]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"sise": 3}, r"a\.json\.sise: no such field; there are: size, resize, crop"),
        ({"size": 0}, r"a\.json\.size"),
        ({"size": "224"}, r"a\.json\.size"),
        ({"size": 64}, r"its input is \['n', 3, 32, 32\], but `size` is \[64, 64\]"),
        ({"resize": 20}, r"`resize` 20 is less than the size \[32, 32\]"),
        ({"crop": False, "resize": 40}, "leave it out where crop is false"),
        ({"crop": "no"}, r"a\.json\.crop"),
        ({"interpolation": "best"}, r"interpolation: input should be 'nearest', 'bilinear'"),
        ({"mean": [0.5, 0.5], "std": [1, 1, 1]}, r"a\.json\.mean"),
        ({"mean": [0.5, 0.5, 0.5]}, "give both of mean and std"),
        ({"mean": [0, 0, 0], "std": [1, 0, 1]}, r"std\.1: input should be greater than 0"),
        ({"layout": "NHWC"}, r"its input is \['n', 3, 32, 32\], so its layout isn't NHWC"),
        ({"classes": ["a", "b"]}, r"a\.onnx has 5 outputs, but 2 classes are listed"),
        ({"classes": ["a"] * 5}, "two of its classes are named 'a'"),
        ({"classes": [1, 2]}, r"classes\.0"),
        ({"classes_file": "../names.txt"}, r"classes_file: string should match"),
        ({"classes_file": "names.txt"}, r"names\.txt doesn't exist"),
        ({"classes": ["a"], "classes_file": "names.txt"}, "only one of classes and classes_file"),
        ({"output": "labels"}, r"a\.onnx has no output 'labels'; there are: scores"),
        ([1], r"a\.json must hold an object"),
    ],
)
def test_wrong_facts_are_named(tmp_path, facts, message):
    write(tmp_path / "a.onnx", facts)
    with pytest.raises(VariorumError, match=message):
        find(f"onnx:{tmp_path / 'a.onnx'}")


def test_wrong_files_are_named(tmp_path):
    import onnx

    path = tmp_path / "a.onnx"
    with pytest.raises(ModelUnavailable, match=r"a\.onnx doesn't exist"):
        find(f"onnx:{path}")
    path.write_bytes(b"no graph at all")
    with pytest.raises(ModelUnavailable, match=r"a\.onnx (isn't an ONNX file|can't be opened)"):
        find(f"onnx:{path}")
    path.rename(tmp_path / "a.pth")
    with pytest.raises(ModelUnavailable, match=r"a\.pth must end in \.onnx"):
        find(f"onnx:{tmp_path / 'a.pth'}")
    write(path, None, layout="NCHW", side=3)
    with pytest.raises(ModelUnavailable, match="doesn't say where its three channels are; give `layout`"):
        find(f"onnx:{path}")
    write(path, None)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(
        ModelUnavailable, match=r"keeps weights in another file .*; save it with them inside: onnx\.save"
    ):
        find(f"onnx:{path}")
    write(path, {"mean": [0, 0, 0], "std": [1, 1, 1]}, dtype="uint8")
    with pytest.raises(ModelUnavailable, match="its input is uint8, which has no mean and std"):
        find(f"onnx:{path}")


def test_a_real_network_gives_the_classes_of_the_alias_for_it(tmp_path, cat, pictures):
    """EfficientNet-Lite0 with its published weights, exported by the loader of `classifier_gate`."""
    table = ModelTable("embedded")
    if table.status("classifier_gate").state != "ready":
        pytest.skip("the weights of classifier_gate aren't fetched")
    alias = table.get("classifier_gate")
    weights = locate(table.entry("classifier_gate"), table.cache)
    exports = sorted(weights.parent.glob(f"{weights.stem}.export-*.onnx"), key=lambda path: path.stat().st_mtime)
    path = tmp_path / "lite0.onnx"
    path.write_bytes(exports[-1].read_bytes())
    facts = {"resize": 256, "interpolation": "bicubic", "mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    path.with_suffix(".json").write_text(json.dumps(facts))
    model = find(f"onnx:{path}")
    photographs = [cat, pictures[1], cat[:, ::-1], pictures[1][::-1]]
    photographs = [np.ascontiguousarray(one) for one in photographs]
    found, expected = model(photographs), alias(photographs)
    assert found.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()
    assert 281 <= found[0].argmax() <= 287  # ImageNet's cats
    assert np.abs(found - expected).max() < 0.2  # Pillow's filter, not OpenCV's
    assert alias.classes == ()
    assert alias.preprocessing.startswith("Centre square of 224/256 of the shorter side, resized to 224 × 224 px")
