"""Faces are blurred beyond return, nothing else changes, and what can't be done is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from variorum.generators.safety.face_blur import ROUNDS, FaceBlur, blurred, unblurred
from variorum.models import ModelTable
from variorum.models.roles import Faces
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import Context
from variorum.schemas.sample import CAPTURED, ENHANCED, Failure, Sample, source_id

SEED = np.random.default_rng(5)
PLAIN = SEED.integers(60, 200, (120, 160, 3)).astype(np.uint8)
FACE = 255
"""What the middle of a box has in all channels for `Reader` to find a face there, and nothing else has."""


class Reader:
    """A detector that finds 20 × 24 pixels around each white dot, at most `at_once` of them."""

    def __init__(self, at_once: int = 9, *, always: tuple[float, ...] = (), missing: str = "") -> None:
        self.at_once, self.always, self.missing = at_once, always, missing

    def why_unavailable(self, alias: str) -> str:
        return self.missing

    def pin(self, alias: str) -> str:
        return f"{alias}@1"

    def get(self, alias: str) -> Any:
        return lambda images: [self.faces(image) for image in images]

    def faces(self, image: Any) -> Faces:
        dots = np.argwhere((image == FACE).all(axis=2))[: self.at_once]
        boxes = [self.always] * bool(self.always) + [(x - 10, y - 12, x + 10, y + 12) for y, x in dots]
        array = np.asarray(boxes, np.float32).reshape(-1, 4).clip(0, [160, 120, 160, 120]).astype(np.float32)
        return Faces(array, np.ones(len(array), np.float32), np.zeros((len(array), 5, 2), np.float32))


def with_dots(*places: tuple[int, int]) -> Any:
    image = PLAIN.copy()
    for x, y in places:
        image[y, x] = FACE
    return image


def made_of(image: Any, models: Reader | ModelTable | None = None, **fields: Any) -> Sample | Failure:
    sample = Sample(source_id("test", "a"), image, ("c",), digital_source_type=CAPTURED, **fields)
    (made,) = FaceBlur().generate([sample], Context(0, models or Reader(), None))  # type: ignore[arg-type]
    return made


def test_faces_are_blurred_and_the_rest_stays():
    image = with_dots((40, 50), (120, 80))
    before = image.copy()
    made = made_of(image)
    assert isinstance(made, Sample)
    assert (made.variant, made.reason, made.digital_source_type) == ("faces_blurred", "", ENHANCED)
    changed = (made.image != before).any(axis=2)
    near = np.zeros_like(changed)
    for x, y in ((40, 50), (120, 80)):
        assert changed[y - 12 : y + 12, x - 10 : x + 10].mean() > 0.95  # the whole box, also its corners
        near[y - 19 : y + 19, x - 16 : x + 16] = True
    assert not changed[~near].any()
    np.testing.assert_array_equal(image, before)
    op = made.ops[-1]
    assert op["achieved"] == {"faces": 2, "area": pytest.approx(changed.mean(), abs=0.005)}
    assert op["gates"]["faces_left"] == {"value": 0.0, "limit": "<= 0", "passed": True}
    assert op["models"] == {"face_detector": "face_detector@1"}


def test_a_picture_without_faces_keeps_its_pixels():
    made = made_of(PLAIN)
    assert isinstance(made, Sample)
    np.testing.assert_array_equal(made.image, PLAIN)
    assert made.ops[-1]["achieved"] == {"faces": 0, "area": 0.0}
    assert made.digital_source_type == CAPTURED


def test_objects_and_the_mask_stay_and_other_members_do_not():
    thing, mask = Object((10.0, 10.0, 30.0, 30.0), "cat"), np.zeros((120, 160), np.uint8)
    extras = {"mask.png": mask, "before.png": with_dots((40, 50))}
    made = made_of(with_dots((40, 50)), annotations=Annotations(objects=(thing,)), extras=extras)
    assert isinstance(made, Sample)
    assert made.annotations.objects == (thing,)
    assert list(made.extras) == ["mask.png"]


def test_faces_that_show_only_later_are_blurred_too():
    places = [(20 + 40 * number, 60) for number in range(3)]
    made = made_of(with_dots(*places), Reader(at_once=1))
    assert isinstance(made, Sample)
    assert made.ops[-1]["achieved"]["faces"] == 3
    assert not (made.image == FACE).all(axis=2).any()


def test_a_face_that_is_left_sends_the_picture_to_quarantine():
    many = [(10 + 20 * number, 60) for number in range(ROUNDS + 1)]
    made = made_of(with_dots(*many), Reader(at_once=1))
    assert isinstance(made, Sample)
    assert made.reason == "faces_left"
    assert made.ops[-1]["gates"]["faces_left"]["value"] == 1
    again = made_of(PLAIN, Reader(always=(40, 40, 60, 64)))  # a blurred face may still look like one
    assert (again.reason, again.ops[-1]["achieved"]["faces"]) == ("", 1)


def test_without_a_detector_or_a_picture_there_is_a_row_with_the_reason():
    made = made_of(PLAIN, Reader(missing="face_detector isn't here"))
    assert isinstance(made, Failure)
    assert (made.status, made.reason, made.variant) == ("ineligible", "unavailable", "faces_blurred")
    assert made.detail == "unavailable: face_detector isn't here"
    assert made_of(b"").reason == "no_picture"


def test_what_is_left_of_a_face_does_not_tell_its_details():
    """Two faces whose parts have the same mean colours give the same picture."""
    box = np.asarray([[40.0, 40.0, 80.0, 80.0]], np.float32)
    flat = np.full((120, 120, 3), 128, np.uint8)
    stripes = flat.copy()
    stripes[::2], stripes[1::2] = 98, 158
    one, covered = blurred(flat, box, 1.5, 6)  # 60 pixels in 6 cells
    other, _ = blurred(stripes, box, 1.5, 6)
    assert covered[60, 60]
    assert np.abs(one[covered].astype(int) - other[covered]).max() <= 1
    assert len(np.unique(blurred(PLAIN, np.asarray([[40.0, 30.0, 60.0, 60.0]]), 1.4, 1)[0][32:58, 42:58], axis=0)) == 1


@given(st.tuples(*[st.integers(-50, 200)] * 4), st.integers(1, 8), st.floats(1, 3))
def test_boxes_anywhere_are_covered_as_far_as_they_lie_inside(box, cells, margin):
    left, top = min(box[0], box[2]), min(box[1], box[3])
    right, bottom = max(box[0], box[2]), max(box[1], box[3])
    boxes = np.asarray([[left, top, right, bottom]], np.float32)
    made, covered = blurred(PLAIN, boxes, margin, cells)
    assert made.shape == PLAIN.shape
    np.testing.assert_array_equal(made[~covered], PLAIN[~covered])
    y, x = (top + bottom) // 2, (left + right) // 2
    if 0 <= y < 120 and 0 <= x < 160 and right - left > 2 and bottom - top > 2:
        assert covered[y, x]


def test_a_box_counts_as_blurred_from_half_of_it_on():
    covered = np.zeros((100, 100), bool)
    covered[:, :50] = True
    boxes = np.asarray([[10, 10, 30, 30], [40, 10, 60, 30], [41, 10, 61, 30], [70, 10, 90, 30]], np.float32)
    np.testing.assert_array_equal(unblurred(boxes, covered), boxes[2:])
    assert unblurred(boxes[:0], covered).shape == (0, 4)


def test_the_face_of_the_astronaut_is_gone():
    table = ModelTable("embedded")
    if table.why_unavailable("face_detector"):
        pytest.skip("run `variorum doctor face_detector --fetch`")
    astronaut = skimage.data.astronaut()
    made = made_of(astronaut, table)
    assert isinstance(made, Sample)
    assert (made.reason, made.ops[-1]["achieved"]["faces"] >= 1) == ("", True)
    face = np.s_[70:170, 190:262]
    assert made.image[face].std() < 0.6 * astronaut[face].std()
    rocket = made_of(skimage.data.rocket(), table)
    assert isinstance(rocket, Sample)
    np.testing.assert_array_equal(rocket.image, skimage.data.rocket())


def test_the_id_depends_on_the_settings():
    sample = Sample(source_id("test", "a"), PLAIN)
    ctx = Context(0, Reader(), None)  # type: ignore[arg-type]
    ids = {next(FaceBlur(cells=cells).generate([sample], ctx)).id for cells in (3, 5)}
    assert len(ids) == 2
    assert replace(sample).id not in ids
