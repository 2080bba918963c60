"""Detectors of COCO's categories: boxes of TensorFlow.js itself, decoding, categories, pictures of any size.

`data/tfjs_boxes.json` has the boxes that TensorFlow.js 4.22 with its WebAssembly backend finds in four packaged
photographs, in pixels of the networks' input: left, top, right, bottom, score, category. NanoDet's outputs were decoded
by a program of their own, apart from this project's code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.models import ModelTable
from variorum.models.coco import CATEGORIES
from variorum.models.loaders import find_loader
from variorum.models.loaders.coco_detectors import (
    BINS,
    LEAST,
    MOST,
    SYNONYMS,
    Boxes,
    CocoDetector,
    apart,
    category_of,
    cells,
    fitted,
)
from variorum.models.onnx import GRAPHS
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

NAMES = [category.name for category in CATEGORIES]
FOUND = json.loads((Path(__file__).parent / "data" / "tfjs_boxes.json").read_text())
ALIASES = {"nanodet": "detector", "centernet": "detector_gate"}


def photographs():
    from skimage import data
    from sklearn.datasets import load_sample_image

    pictures = {"astronaut": data.astronaut(), "chelsea": data.chelsea(), "coffee": data.coffee()}
    return {**pictures, "china": load_sample_image("china.jpg")}


@pytest.fixture(scope="module")
def models():
    """The detectors whose weights are here, by loader."""
    table = ModelTable("embedded")
    return {name: table.get(alias) for name, alias in ALIASES.items() if table.status(alias).state == "ready"}


def model_of(models, name):
    if name not in models:
        pytest.skip(f"run `variorum doctor {ALIASES[name]} --fetch`")
    return models[name]


# ── the real weights ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("picture", sorted(FOUND["nanodet"]))
@pytest.mark.parametrize("name", ALIASES)
def test_boxes_are_those_of_tensorflow_js(models, name, picture):
    detector = model_of(models, name)
    square, _ = fitted(photographs()[picture], detector._network.side)
    ours, theirs = detector._network(square), np.asarray(FOUND[name][picture], np.float64)
    assert len(theirs) >= 20
    sure = theirs[theirs[:, 4] > 0.1]
    for *box, score, category in sure:
        near = (ours.categories == category) & (np.abs(ours.boxes - box).max(axis=1) <= 1)
        assert near.any(), (box, score, NAMES[int(category)])
        assert np.abs(ours.scores[near] - score).min() <= 0.02
    assert (ours.scores > 0.1).sum() == len(sure)
    assert (ours.scores > LEAST).sum() == pytest.approx(len(theirs), abs=3)


@pytest.mark.parametrize("name", ALIASES)
def test_things_are_found_where_they_are(models, name):
    detector, pictures = model_of(models, name), photographs()
    texts = ["person", "cat", "cup", "unicorn"]
    astronaut, cat, coffee = detector([pictures[key] for key in ("astronaut", "chelsea", "coffee")], texts)
    for found, text, centre in ((astronaut, 0, (220, 250)), (cat, 1, (220, 150)), (coffee, 2, (290, 190))):
        assert found.texts[0] == text
        assert found.scores[0] > 0.25
        left, top, right, bottom = found.boxes[0]
        assert left < centre[0] < right
        assert top < centre[1] < bottom
    assert not [found for found in (astronaut, cat, coffee) if 3 in found.texts]


@pytest.mark.parametrize("name", ALIASES)
def test_what_is_found_depends_on_the_picture_and_the_text_alone(models, name):
    detector, pictures = model_of(models, name), list(photographs().values())
    together = detector(pictures[::-1], NAMES)[::-1]
    for picture, all_of_it in zip(pictures, together, strict=True):
        height, width = picture.shape[:2]
        assert len(all_of_it.boxes) <= MOST
        assert (np.diff(all_of_it.scores) <= 0).all()
        assert (all_of_it.scores > 0.05).all()
        assert ((all_of_it.boxes >= 0) & (all_of_it.boxes <= [width, height, width, height])).all()
        assert (all_of_it.boxes[:, :2] < all_of_it.boxes[:, 2:]).all()
        (some,) = detector([picture], ["chair", "Person"])
        kept = np.isin(all_of_it.texts, [NAMES.index("person"), NAMES.index("chair")])
        assert np.array_equal(some.boxes, all_of_it.boxes[kept])
        assert np.array_equal(some.scores, all_of_it.scores[kept])


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (3, 2), (2000, 1501)])
@pytest.mark.parametrize("name", ALIASES)
def test_pictures_of_any_size_are_read(models, name, shape):
    (found,) = model_of(models, name)([np.full((*shape, 3), 120, np.uint8)], NAMES)
    assert (found.boxes <= [shape[1], shape[0]] * 2).all()


# ── categories ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_names_of_coco_are_known_in_any_writing():
    for number, name in enumerate(NAMES):
        for text in (name, name.upper(), name.replace(" ", "_"), f"a {name}", f" the  {name} "):
            assert category_of(text) == number
    assert [category_of(text) for text in ("TV monitor", "sofa", "a doughnut")] == [
        NAMES.index(name) for name in ("tv", "couch", "donut")
    ]
    assert [category_of(text) for text in ("unicorn", "cats", "a", "", "person dog", "hotdog stand")] == [None] * 6
    assert not set(SYNONYMS) & set(NAMES)
    assert set(SYNONYMS.values()) <= set(NAMES)


class Fixed:
    """A network that always finds the same."""

    side = 64

    def __init__(self, *found):
        boxes, scores, categories = zip(*found, strict=True)
        self.found = Boxes(np.float32(boxes), np.float32(scores), np.int64(categories))

    def __call__(self, square):
        assert square.shape == (64, 64, 3)
        return self.found


CAT, DOG = NAMES.index("cat"), NAMES.index("dog")


def test_boxes_move_back_are_cut_at_the_border_and_go_to_the_first_text_of_their_category():
    network = Fixed(([0, 16, 32, 48], 0.9, CAT), ([-9, 0, 70, 64], 0.8, DOG), ([0, 0, 64, 15], 0.7, CAT),
                    ([10, 20, 20, 30], 0.2, CAT))  # fmt: skip
    detector = CocoDetector(network, 0.2)
    wide = np.zeros((50, 100, 3), np.uint8)  # 64 by 32 pixels from row 16 on
    (found,) = detector([wide], ["rabbit", "a cat", "CAT", "dog"])
    assert found.boxes.tolist() == [[0, 0, 50, 50], [0, 0, 100, 50]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    assert found.texts.tolist() == [1, 3]
    assert detector.knows(["rabbit", "a cat", "CAT", "dog"]) == [False, True, True, True]
    (nothing,) = detector([wide], ["rabbit"])
    assert nothing.boxes.shape == (0, 4)
    assert detector([], ["cat"]) == []
    with pytest.raises(ValueError, match="text 1 of 2 is empty"):
        detector([wide], ["cat", " "])


# ── geometry and decoding ────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([64, 416]))
def test_a_fitted_picture_is_in_the_middle_and_boxes_find_back(height, width, side):
    square, back = fitted(np.full((height, width, 3), 200, np.uint8), side)
    rows, columns = np.flatnonzero(square.any((1, 2))), np.flatnonzero(square.any((0, 2)))
    box = np.float32([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]])
    assert max(len(rows), len(columns)) == side
    assert back(box)[0] == pytest.approx([0, 0, width, height], abs=1e-3)
    for lines in (rows, columns):
        assert abs(lines[0] - (side - 1 - lines[-1])) <= 1


def test_a_distance_is_the_mean_of_its_distribution():
    logits = np.full((13 * 13, 4, BINS), -30.0, np.float32)
    logits[:, [0, 1, 2, 3], [0, 1, 2, 10]] = 0
    logits[5, 0, 1] = 0  # half at 0, half at 1
    boxes = cells(logits.reshape(169, -1), 32, np.ones(169, bool))
    assert boxes[0] == pytest.approx([16, 16 - 32, 16 + 64, 16 + 320], abs=1e-3)
    assert boxes[14] == pytest.approx([48, 48 - 32, 48 + 64, 48 + 320], abs=1e-3)
    assert boxes[5, 0] == pytest.approx(5.5 * 32 - 16, abs=1e-3)
    assert (cells(logits.reshape(169, -1), 32, np.arange(169) == 14) == boxes[[14]]).all()


def test_a_surer_box_hides_those_of_its_category_that_it_covers():
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [0, 0, 10, 10]])
    scores = np.float32([[0.5, 0], [0.9, 0], [0.3, 0], [0.04, 0.7]])
    found = apart(boxes, scores)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.3])  # the first is covered by the second
    assert found.categories.tolist() == [0, 1, 0]
    assert found.boxes.tolist() == boxes[[1, 3, 2]].tolist()
    assert len(apart(boxes, np.zeros((4, 2), np.float32)).boxes) == 0
    many = np.float32([[20 * n, 0, 20 * n + 10, 10] for n in range(300)])
    surest = apart(many, np.linspace(0.1, 0.9, 300, dtype=np.float32)[:, None])
    assert surest.boxes[:, 0].tolist() == [20.0 * n for n in range(299, 199, -1)]


@pytest.mark.parametrize("name", ALIASES)
def test_other_weights_of_the_same_shapes_are_read_and_shorter_ones_refused(tmp_path, name):
    graph = onnx.load(GRAPHS / f"{name}.onnx", load_external_data=False).graph
    places = [{item.key: item.value for item in tensor.external_data} for tensor in graph.initializer]
    size = max(int(place["offset"]) + int(place["length"]) for place in places if place)
    file = tmp_path / f"{name}.bin"
    # mostly negative ones find next to nothing: to drop the boxes that cover each other takes seconds
    file.write_bytes(np.random.default_rng(0).normal(-0.3, 0.4, size // 2).astype(np.float16).tobytes())
    entry = Entry(name="mine", loader=name, local={"path": str(tmp_path)}, licence="none", source="me")
    (found,) = find_loader(name).load(entry, tmp_path, {})([photographs()["chelsea"]], NAMES)
    assert len(found.boxes) <= MOST
    os.truncate(file, size - 2)
    with pytest.raises(ModelUnavailable, match=r"doesn't have the weights of (nanodet|centernet)"):
        find_loader(name).load(entry, tmp_path, {})
