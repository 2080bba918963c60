"""Faces and ages: photographs with the real weights, and the geometry on its own."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from variorum.models import ModelTable
from variorum.models.loaders.faces import (
    CENTERFACE,
    FACE_AGE,
    MOST,
    PADDING,
    PLACES,
    SIDE,
    aligned,
    decoded,
    similarity,
)
from variorum.models.roles import Faces
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

FACE = np.asarray([182, 58, 270, 178])
"""Of the astronaut."""


def model_of(alias):
    table = ModelTable("embedded")
    if table.why_unavailable(alias):
        pytest.skip(f"run `variorum doctor {alias} --fetch`")
    return table.get(alias)


@pytest.fixture(scope="module")
def detector():
    return model_of("face_detector")


@pytest.fixture(scope="module")
def estimator():
    return model_of("age_estimator")


# ── the real weights ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_faces_are_found_where_they_are(detector):
    found, cat, cup = detector([skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()])
    assert found.scores[0] > 0.9
    assert np.abs(found.boxes[0] - FACE).max() < 6
    assert (found.scores[1:] < 0.5).all()
    left_eye, right_eye, nose, left_lip, right_lip = found.points[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_lip[1], right_lip[1])
    assert not len(cat.boxes)
    assert not len(cup.boxes)


def test_tiny_faces_are_told_from_other_patches(detector):
    patches = np.load(Path(skimage.data.__file__).parent / "lfw_subset.npy")  # 100 faces, then 100 patches without
    pictures = [np.repeat(np.round(patch * 255).astype(np.uint8)[..., None], 3, axis=2) for patch in patches[::4]]
    scores = np.asarray([found.scores[0] if len(found.scores) else 0 for found in detector(pictures)])
    assert (scores[:25] > 0.5).mean() > 0.9
    assert (scores[25:] > 0.5).mean() < 0.1


def test_what_is_found_depends_on_the_picture_alone(detector, estimator):
    pictures = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.astronaut()[:300, 100:400]]
    together = detector(pictures)
    ages = estimator(pictures, together)
    for picture, found, years in zip(pictures, together, ages, strict=True):
        (alone,) = detector([picture])
        for ours, theirs in zip(found, alone, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(estimator([picture], [alone])[0], years)
        assert len(years) == len(found.boxes)


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (3, 2), (2000, 1501)])
def test_pictures_of_any_size_are_read(detector, estimator, shape):
    picture = np.full((*shape, 3), 120, np.uint8)
    (found,) = detector([picture])
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [shape[1], shape[0]] * 2).all()
    points = np.asarray([[[0, 0], [1, 0], [0.5, 0.5], [0, 1], [1, 1]], np.full((5, 2), 7)], np.float32)
    anywhere = Faces(np.zeros((2, 4), np.float32), np.ones(2, np.float32), points)  # the second has no size
    (years,) = estimator([picture], [anywhere])
    assert 0 <= years[0] <= 80
    assert math.isnan(years[1])


@pytest.mark.parametrize("turn", [-25, 0, 25])
@pytest.mark.parametrize("scale", [0.5, 1])
def test_an_adult_looks_like_one_at_any_size_and_turn(detector, estimator, turn, scale):
    matrix = cv2.getRotationMatrix2D((226, 118), turn, scale)
    picture = cv2.warpAffine(skimage.data.astronaut(), matrix, (512, 512), flags=cv2.INTER_AREA)
    (found,) = detector([picture])
    (years,) = estimator([picture], [found])
    assert found.scores[0] > 0.7
    assert 28 < years[0] < 55


# ── without weights ──────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.floats(-180, 180), st.floats(0.1, 10), st.floats(-200, 200), st.floats(-200, 200))
def test_a_similarity_is_found_again(degrees, scale, x, y):
    angle = math.radians(degrees)
    matrix = scale * np.asarray([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = PLACES @ matrix.T + (x, y)
    found = similarity(moved, PLACES)
    np.testing.assert_allclose(moved @ found[:, :2].T + found[:, 2], PLACES, atol=1e-9)


@pytest.mark.parametrize("side", [30, 60, 400])
def test_an_aligned_face_is_upright_at_its_place(side):
    """A picture whose pixels say where they are, under a face turned by 90 degrees."""
    across, down = np.meshgrid(np.linspace(0, 255, 500), np.linspace(0, 255, 500))
    picture = np.stack([across, down, 0 * across], axis=2).round().astype(np.uint8)
    points = np.asarray([[250, 250]]) + side * (PLACES - 0.5) @ np.asarray([[0, 1], [-1, 0]])
    chip = aligned(picture, points)
    eyes = (PADDING + PLACES[:2]) / (1 + 2 * PADDING) * SIDE
    for place, point in zip(eyes, points[:2], strict=True):
        x, y = place.round().astype(int)
        np.testing.assert_allclose(chip[y, x, :2], point / 499 * 255, atol=0.02 * side + 3)


def test_maps_become_boxes_by_falling_score():
    heat, scale = np.zeros((1, 16, 16), np.float32), np.zeros((2, 16, 16), np.float32)
    offset, places = np.zeros((2, 16, 16), np.float32), np.zeros((10, 16, 16), np.float32)
    heat[0, 4, 6], heat[0, 4, 7], heat[0, 12, 3] = 0.6, 0.5, 0.9
    scale[0], scale[1] = math.log(5), math.log(3)  # cells down and across
    offset[:, 12, 3] = (0.25, -0.25)
    places[::2], places[1::2] = 0.5, 0.25
    boxes, scores, points = decoded(heat, scale, offset, places, 0.3)
    np.testing.assert_allclose(scores, [0.9, 0.6])  # the one beside it is covered
    np.testing.assert_allclose(boxes[1], [26 - 6, 18 - 10, 26 + 6, 18 + 10], atol=1e-4)
    np.testing.assert_allclose(boxes[0], [13 - 6, 51 - 10, 13 + 6, 51 + 10], atol=1e-4)
    np.testing.assert_allclose(points[1], [[20 + 0.25 * 12, 8 + 0.5 * 20]] * 5, atol=1e-4)
    assert decoded(heat, scale, offset, places, 0.95)[0].shape == (0, 4)
    heat[:], scale[:] = 0.5, -20
    assert len(decoded(heat, scale, offset, places, 0.3)[0]) <= MOST


@pytest.mark.parametrize("loader", [CENTERFACE, FACE_AGE])
def test_other_files_are_refused(loader, tmp_path):
    from onnx import TensorProto
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

    sides = [make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 64, 64]) for name in "xy"]
    graph = make_graph([make_node("Relu", ["x"], ["y"])], "g", sides[:1], sides[1:])
    other = make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=9).SerializeToString()
    entry = Entry(name="other", loader="centerface", licence="none", source="none", local={"path": "other.onnx"})
    for content in (other, b"no ONNX at all"):
        (tmp_path / "other.onnx").write_bytes(content)
        with pytest.raises(ModelUnavailable):
            loader.load(entry, tmp_path / "other.onnx", {})
