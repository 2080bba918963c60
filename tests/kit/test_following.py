"""Which objects an edited picture shows, where, and how much of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from variorum.annotations import box_of, decode_mask, encode_mask, region
from variorum.kit.gates.gates import Gates
from variorum.kit.pictures import complexity
from variorum.kit.pictures import object_geometry as following
from variorum.kit.pictures.compositing import soft_alpha
from variorum.kit.pictures.object_geometry import Layers
from variorum.kit.pictures.scenes import Scene
from variorum.schemas.annotations import Annotations, LabelState, Object, Text

SIDE = 64
STILL = np.eye(2, 3)


def area(top: int, left: int, high: int, wide: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + high, left : left + wide] = True
    return mask


SUBJECT = area(20, 20, 20, 20)
GAP = area(17, 17, 26, 26)
"""The hole: the subject and a rim of three pixels."""


def marked(name: str, mask: np.ndarray, *, masked: bool = True) -> Object:
    box = box_of(mask)
    assert box is not None
    return Object(box, name, float(mask.sum()), id=name, mask=encode_mask(mask) if masked else "")


def layers(*items: Object, gap: np.ndarray = GAP) -> Layers:
    return Layers(Annotations(items, (Text("a"),), (LabelState("b"),)), SUBJECT, gap)


def mask_of(item: Object) -> np.ndarray:
    return decode_mask(item, SIDE, SIDE)


def shift(dx: float, dy: float) -> np.ndarray:
    return np.array([[1, 0, dx], [0, 1, dy]], float)


BOTH = pytest.mark.parametrize("masked", [True, False], ids=["mask", "box"])


# ── the subject, and what lies on it ─────────────────────────────────────────────────────────────────────────────────


@BOTH
def test_the_subject_is_what_the_mask_fits_best_and_goes_where_its_pixels_go(masked):
    own = marked("dog", area(19, 19, 22, 21), masked=masked)
    less = marked("head", area(20, 20, 8, 12), masked=masked)
    found = layers(less, own)
    shown = np.roll(SUBJECT, 10, axis=1)
    head, dog = found.moved(shown, shift(10, 0)).objects
    assert (head.id, dog.id) == ("head", "dog")
    assert dog.box == (30, 20, 20, 20)
    assert dog.area == 400
    assert head.box == (30, 20, 12, 8)
    if masked:
        np.testing.assert_array_equal(mask_of(dog), shown)
        np.testing.assert_array_equal(mask_of(head), area(20, 30, 8, 12))
    else:
        assert (dog.mask, head.mask) == ("", "")


@BOTH
def test_in_place_the_subject_is_as_it_was_marked(masked):
    own = marked("dog", area(19, 19, 22, 21), masked=masked)
    assert layers(own).in_place().objects == (own,)


@BOTH
def test_the_plate_shows_neither_the_subject_nor_what_lies_on_it(masked):
    found = layers(marked("dog", SUBJECT, masked=masked), marked("collar", area(22, 22, 4, 4), masked=masked))
    assert found.plate() == Annotations((), (Text("a"),), (LabelState("b"),))


def test_on_another_background_only_the_subject_s_pixels_are_left():
    found = layers(
        marked("dog", area(18, 18, 24, 24)),  # marked too large: the rest of it is not on the new background
        marked("collar", area(22, 22, 4, 4)),
        marked("ball", area(50, 50, 8, 8)),
    )
    dog, collar = found.elsewhere(SUBJECT).objects
    np.testing.assert_array_equal(mask_of(dog), SUBJECT)
    assert collar == found.annotations.objects[1]


def test_a_subject_that_leaves_the_frame_in_part_is_marked_where_it_is_seen():
    shown = np.zeros_like(SUBJECT)
    shown[20:40, :8] = True
    (dog,) = layers(marked("dog", SUBJECT)).moved(shown, shift(-32, 0)).objects
    assert dog.box == (0, 20, 8, 20)
    assert layers(marked("dog", SUBJECT)).moved(np.zeros_like(SUBJECT), shift(-99, 0)).objects == ()


def test_masks_are_compared_by_their_pixels():
    """The box of a line from corner to corner is the subject's own."""
    line, own = marked("leash", SUBJECT & np.eye(SIDE, dtype=bool)), marked("dog", area(21, 21, 18, 18))
    leash, dog = layers(line, own).elsewhere(SUBJECT).objects
    assert leash == line
    np.testing.assert_array_equal(mask_of(dog), SUBJECT)


def test_what_sticks_out_of_the_subject_does_not_go_with_it():
    collar = marked("collar", area(21, 30, 20, 4))  # its last row is the plate's
    (found,) = layers(collar).moved(np.roll(SUBJECT, 10, axis=1), shift(10, 0)).objects
    np.testing.assert_array_equal(mask_of(found), area(21, 40, 19, 4))


def test_without_a_fitting_object_there_is_no_subject_among_them():
    ball = marked("ball", area(50, 50, 8, 8))
    assert layers(ball).moved(np.roll(SUBJECT, -10, axis=0), shift(0, -10)).objects == (ball,)


def test_opencv_s_matrix_turns_what_lies_on_the_subject():
    matrix = cv2.getRotationMatrix2D((29.5, 29.5), 90, 1)  # about the subject's middle
    collar = marked("collar", area(20, 20, 4, 10))
    (found,) = layers(collar).moved(SUBJECT, matrix).objects
    np.testing.assert_array_equal(mask_of(found), area(30, 20, 10, 4))


def test_the_fading_edge_of_a_cut_out_is_still_the_subject():
    """Two discs were found as one subject: the smaller one lies on it, though its edge fades over a tenth of it."""
    found = np.zeros((SIDE, SIDE), np.uint8)
    for centre, radius in (((20, 20), 14), ((50, 50), 9)):
        cv2.circle(found, centre, radius, 255, -1)
    small = np.zeros_like(found)
    cv2.circle(small, (50, 50), 9, 255, -1)
    alpha = soft_alpha(found)
    assert np.count_nonzero((alpha > 127) & (small > 0)) < following.LEAST_WITHIN * np.count_nonzero(small)
    for masked in (True, False):
        disc = marked("disc", small > 0, masked=masked)
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        scene = Scene(
            *("0" * 32, picture, found, alpha, (0, 0, SIDE), 1.0, "segmenter", {}, Gates()),
            annotations=Annotations((disc,)),
        )
        assert scene.layers.in_place().objects == (disc,)
        assert scene.layers.plate().objects == ()
        assert len(scene.layers.elsewhere(alpha > 127).objects) == 1


# ── others ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@BOTH
def test_what_is_far_away_stays_to_the_last_digit(masked):
    ball = Object((50.125, 50.3, 8.7, 8.1), "ball", 33.3, mask=encode_mask(area(50, 50, 8, 8)) if masked else "")
    found, shown = layers(ball), np.roll(SUBJECT, -10, axis=1)
    for after in (found.plate(), found.in_place(), found.moved(shown, shift(-10, 0))):
        assert after.objects == (ball,)
    assert found.elsewhere(SUBJECT).objects == ()


@BOTH
def test_the_hole_is_cut_out_of_what_stays(masked):
    ball = marked("ball", area(24, 36, 10, 20), masked=masked)  # 7 of its 20 columns are in the hole, 4 of them hidden
    (found,) = layers(ball).plate().objects
    assert found.box == (43, 24, 13, 10)
    assert found.area == (130 if masked else pytest.approx(200 * 13 / 16))
    if masked:
        np.testing.assert_array_equal(mask_of(found), area(24, 43, 10, 13))


def test_the_subject_in_its_place_covers_nothing_new():
    """A box may include what the subject always hid; only the rim of the hole around the subject is lost."""
    sofa = Object((10, 10, 50, 40), "sofa", 1500.0)
    (found,) = layers(sofa).in_place().objects
    assert found.box == sofa.box
    assert found.area == pytest.approx(1500 * (50 * 40 - 26 * 26) / (50 * 40 - 20 * 20), abs=0.01)
    assert layers(sofa, gap=SUBJECT).in_place().objects == (sofa,)


def test_in_place_only_the_rim_of_the_hole_is_lost_of_what_the_subject_shows_in_part():
    rug = marked("rug", area(30, 30, 20, 20))
    (found,) = layers(rug).in_place().objects
    np.testing.assert_array_equal(mask_of(found), mask_of(rug) & ~(GAP & ~SUBJECT))


@BOTH
def test_a_moved_subject_covers_others(masked):
    ball = marked("ball", area(50, 20, 10, 20), masked=masked)
    shown = area(40, 20, 20, 10)
    (found,) = layers(ball).moved(shown, shift(0, 20)).objects
    assert found.box == (30, 50, 10, 10)
    assert found.area == 100


@BOTH
@pytest.mark.parametrize(("columns", "kept"), [(10, True), (11, False)])
def test_less_than_half_is_too_little(masked, columns, kept):
    ball = marked("ball", area(50, 20, 10, 20), masked=masked)
    found = layers(ball).moved(area(45, 20, 19, columns), shift(0, 25)).objects
    assert bool(found) == kept


def test_a_box_without_a_mask_loses_only_the_sides_where_nothing_is_left():
    ball = Object((50.3, 10.6, 8.2, 30.1), "ball")
    (found,) = layers(ball).moved(area(0, 40, 15, 24), shift(0, 0)).objects
    assert found.box == (50.3, 15, 8.2, 25.7)
    assert found.area is None
    (middle,) = layers(ball).moved(area(20, 40, 8, 24), shift(0, 0)).objects
    assert middle.box == ball.box


# ── a plate that shows everything several times ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("side", [64, 63])
def test_a_refined_plate_shows_each_object_four_times(side):
    plate = np.zeros((side, side, 3), np.uint8)
    plate[4:20, 30:50] = 255
    drawn = complexity.refined(plate)[..., 0] > 127
    seen = plate[..., 0] > 127
    box = box_of(seen)
    assert box is not None
    nothing = np.zeros_like(seen)
    for mask in (encode_mask(seen), ""):
        ball = Object(box, "ball", 320.0, id="7", mask=mask)
        found = Layers(Annotations((ball,)), nothing, nothing).repeated(complexity.refined_maps(side, side)).objects
        assert [item.id for item in found] == ["7", "", "", ""]
        said = np.any([region(item, side, side) for item in found], axis=0)
        assert (said & drawn).sum() / (said | drawn).sum() > 0.9


def test_the_subject_covers_copies():
    found = layers(marked("dog", SUBJECT), marked("ball", area(44, 44, 16, 16))).repeated(
        complexity.refined_maps(SIDE, SIDE)
    )
    dog, *balls = found.objects
    assert dog.id == "dog"
    # the first copy would lie at 22 to 30 both ways, on the subject; the others at 34 to 42 in one or both
    assert [item.id for item in balls] == ["", "", ""][: len(balls)]
    assert all(not (mask_of(item) & SUBJECT).any() for item in balls)


# ── no objects, no work ──────────────────────────────────────────────────────────────────────────────────────────────


def test_without_objects_nothing_is_computed(monkeypatch):
    for name in ("region", "moved", "with_mask"):
        monkeypatch.setattr(following, name, None)
    texts = Annotations(texts=(Text("a"),))
    none = Layers(texts, SUBJECT, GAP)
    assert [none.plate(), none.in_place(), none.elsewhere(SUBJECT), none.repeated([STILL])] == [texts] * 4
    assert none.moved(SUBJECT, STILL) is texts
