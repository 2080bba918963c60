import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco

from variorum.annotations import decode_mask
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.errors import BadObjects
from variorum.schemas.sample import Sample
from variorum.sources.exports.objects import checked, read_objects, rle_of

SIZE = (40, 100)
"""Height and width."""


def read(value, box_format="xywh", names=("cat", "dog"), size=SIZE):
    return read_objects(value, box_format=box_format, size=size, names=names, origin="people")


def sample(*objects: Object, **fields) -> Sample:
    return Sample("0" * 32, b"", annotations=Annotations(objects, (Text("a"),)), **fields)


def check(*boxes, clip=False, label="cat", size=SIZE) -> Sample:
    return checked(sample(*(Object(box, label) for box in boxes)), size, {"cat", "dog"}, clip=clip)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("box_format", "box"),
    [
        ("xywh", [10, 5, 20, 30]),
        ("xyxy", [10, 5, 30, 35]),
        ("cxcywh", [20, 20, 20, 30]),
        ("xywh_relative", [0.1, 0.125, 0.2, 0.75]),
        ("xyxy_relative", [0.1, 0.125, 0.3, 0.875]),
        ("cxcywh_relative", [0.2, 0.5, 0.2, 0.75]),
    ],
)
def test_all_box_formats_give_the_same_box(box_format, box):
    (found,) = read([{"bbox": box}], box_format)
    assert found.box == pytest.approx((10, 5, 20, 30))
    assert all(isinstance(part, float) for part in found.box)


def test_lists_by_name_and_a_list_of_mappings_are_the_same():
    polygon = [[10, 5, 30, 5, 30, 35]]
    rows = [
        {"id": 7, "bbox": [1, 2, 3, 4], "category": 1, "area": 5, "iscrowd": 1, "score": 0.5, "segmentation": polygon},
        {"id": 9, "bbox": [5, 6, 7, 8], "category": 0, "area": 2.5, "iscrowd": 0, "score": 1, "segmentation": []},
    ]
    first = Object((1, 2, 3, 4), "dog", 5, True, "7", 0.5, "people", rle_of(polygon, SIZE))
    assert read(rows) == (first, Object((5, 6, 7, 8), "cat", 2.5, False, "9", 1.0, "people"))
    assert read({key: [row[key] for row in rows] for key in rows[0]}) == read(rows)
    others = {"bbox": "bbox", "category": "label", "iscrowd": "crowd", "segmentation": "mask", "id": "bbox_id"}
    assert read([{others.get(key, key): value for key, value in row.items()} for row in rows]) == read(rows)


def test_no_objects_and_columns_without_values():
    assert read(None) == read([]) == read({}) == read({"bbox": [], "category": []}) == ()
    assert read({"bbox": [[1, 2, 3, 4]], "category": None}) == (Object((1, 2, 3, 4), origin="people"),)


def test_categories():
    def labels(names, *values):
        return [
            item.label for item in read([{"bbox": [1, 1, 1, 1], "category": value} for value in values], names=names)
        ]

    assert labels(("cat", "dog"), 1, -1, None, "bird") == ["dog", "", "", "bird"]
    assert labels(None, 3, 17, "bird") == ["3", "17", "bird"]
    with pytest.raises(BadObjects, match="object 1 has the category 2, but there are 2 classes") as error:
        labels(("cat", "dog"), 0, 2)
    assert error.value.reason == "unknown_category"


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        ("cat", "bad_objects", "'cat'; they must be lists by name"),
        ([[1, 2, 3, 4]], "bad_objects", "must be lists by name"),
        ({"bbox": 3}, "bad_objects", "lists by name, or a list with one mapping"),
        ({"bbox": [[1, 2, 3, 4]], "category": []}, "bad_objects", "bbox has 1, category has 0"),
        ([{"category": 1}], "bad_box", "box of object 0 is None"),
        (
            [{"id": 5, "bbox": [1, 2, 3]}],
            "bad_box",
            r"box of object 0 \(id 5\) is \[1, 2, 3\]; it must be four numbers",
        ),
        ([{"bbox": [1, 2, 3, None]}], "bad_box", "four numbers"),
        ([{"bbox": [1, 2, 3, True]}], "bad_box", "four numbers"),
        ([{"bbox": "1234"}], "bad_box", "four numbers"),
        ([{"bbox": [1, 2, 3, 4], "iscrowd": 2}], "bad_objects", "crowd 2; it must be 0 or 1"),
        ([{"bbox": [1, 2, 3, 4], "score": 1.5}], "bad_objects", r"score of object 0 is 1.5; it must lie in \[0, 1\]"),
        ([{"bbox": [1, 2, 3, 4], "area": -1}], "bad_objects", "area of object 0 is -1"),
        ([{"bbox": [1, 2, 3, 4], "area": math.nan}], "bad_objects", "area of object 0 is nan"),
        ([{"bbox": [1, 2, 3, 4], "area": 10**400}], "bad_objects", "area of object 0 is 1000"),
        ([{"bbox": [1, 2, 3, 4], "category": 1.5}], "bad_objects", "category of object 0 is 1.5"),
        ([{"bbox": [1, 2, 3, 4], "category": True}], "bad_objects", "category of object 0 is True"),
        ([{"bbox": [1, 2, 3, 4], "id": "\ud800"}], "bad_objects", "UTF-8 can't hold"),
        ([{"bbox": [1, 2, 3, 4], "segmentation": 5}], "bad_mask", "neither polygons nor an RLE"),
    ],
)
def test_what_is_malformed_is_named(value, reason, detail):
    with pytest.raises(BadObjects, match=detail) as error:
        read(value)
    assert error.value.reason == reason
    assert len(error.value.detail) < 200


# ── checking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sound_boxes_stay_to_the_bit():
    box = (0.1, 0.2, 99.9, 39.8)
    assert check(box, (0, 0, 100, 40)).annotations.objects == (Object(box, "cat"), Object((0, 0, 100, 40), "cat"))


def test_boxes_a_pixel_outside_are_clipped_and_others_only_on_request():
    assert check((-1, -0.5, 50, 20)).annotations.objects[0].box == (0, 0, 49, 19.5)
    assert check((60.5, 20, 40.25, 21)).annotations.objects[0].box == (60.5, 20, 39.5, 20)
    wide = check((60, 20, 42, 10))
    assert (wide.reason, wide.annotations.objects[0].box) == ("box_outside", (60, 20, 42, 10))
    assert wide.detail == "object 0 has the box [60, 20, 42, 10], which leaves the picture of 100 x 40 pixels"
    assert check((60, 20, 42, 10), clip=True).annotations.objects[0].box == (60, 20, 40, 10)
    assert check((200, 20, 42, 10), clip=True).reason == "box_outside"
    assert check((-0.5, 3, 0.5, 3)).reason == "box_outside"  # nothing of it is inside


@pytest.mark.parametrize("box", [(1, 1, 0, 5), (1, 1, 5, -2), (1, 1, math.nan, 5), (math.inf, 1, 1, 1)])
def test_boxes_without_area(box):
    found = check((2, 2, 3, 3), box)
    assert found.reason == "box_empty"
    assert "object 1 has the box" in found.detail
    # what JSON can't hold is left out of the record; the rest of a quarantined sample stays as it was
    assert len(found.annotations.objects) == (2 if all(map(math.isfinite, box)) else 1)


def test_categories_and_ids_are_checked():
    assert check((1, 1, 1, 1), label="bird").reason == "unknown_category"
    assert check((1, 1, 1, 1), label="").reason == ""
    twice = checked(sample(Object((1, 1, 1, 1), id="5"), Object((2, 2, 2, 2), id="5")), SIZE, {}, clip=False)
    assert (twice.reason, twice.detail) == (
        "duplicate_object",
        "object 1 (id 5) has the id of another object of this picture",
    )
    assert checked(sample(Object((1, 1, 1, 1)), Object((2, 2, 2, 2))), SIZE, {}, clip=False).reason == ""


def test_a_reason_stays():
    bad = sample(Object((1, 1, 0, 0)), Object((math.nan, 1, 1, 1)), reason="bad_text", detail="before")
    found = checked(bad, SIZE, {}, clip=False)
    assert (found.reason, found.detail) == ("bad_text", "before")
    assert found.annotations == Annotations((Object((1, 1, 0, 0)),), (Text("a"),))


numbers = st.floats(-200, 200, width=32) | st.sampled_from([0.0, -1.0, 40.0, 100.0, 1e-9, math.inf, math.nan])


@given(st.tuples(numbers, numbers, numbers, numbers), st.booleans())
@example((99.99999999, 0.0, 0.00000002, 40.0), False)
def test_checked_boxes_lie_inside(box, clip):
    found = check(box, clip=clip)
    if found.reason:
        assert found.reason in ("box_outside", "box_empty")
        return
    ((left, top, width, height),) = [item.box for item in found.annotations.objects]
    assert left >= 0
    assert top >= 0
    assert width > 0
    assert height > 0
    assert left + width <= np.nextafter(100, 101)
    assert top + height <= np.nextafter(40, 41)
    # no side moves by more than a pixel unless it is asked for, and no box is made larger
    moved = max(abs(left - box[0]), abs(top - box[1]), abs(left + width - box[0] - box[2]))
    assert clip or moved <= 1 + 1e-9
    assert width <= box[2] + 1e-9
    assert check((left, top, width, height)).annotations == found.annotations


# ── regions ──────────────────────────────────────────────────────────────────────────────────────────────────────────

points = st.tuples(st.floats(-30, 130, width=32), st.floats(-30, 70, width=32))
polygons = st.lists(st.lists(points, min_size=3, max_size=8), min_size=1, max_size=3)


@pytest.mark.parametrize("empty", [[[]], [[], []], [()]])
def test_empty_polygons_are_none(empty):
    polygon = [10, 5, 30, 5, 30, 35]
    assert rle_of(empty, SIZE) == ""
    assert rle_of([polygon, *empty], SIZE) == rle_of([polygon], SIZE)


@given(polygons)
def test_polygons_are_drawn_as_pycocotools_draws_them(shapes):
    flat = [[float(value) for point in shape for value in point] for shape in shapes]
    expected = coco.merge(coco.frPyObjects(flat, *SIZE))
    found = rle_of(flat, SIZE)
    assert found == expected["counts"].decode()
    mask = decode_mask(Object((0, 0, 1, 1), mask=found), *SIZE)
    assert mask.sum() == coco.area(expected)
    assert np.array_equal(mask, coco.decode(expected))


@given(st.integers(1, 30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_an_rle_keeps_its_pixels(height, width, random):
    mask = np.asfortranarray([[random.random() < 0.4 for _ in range(width)] for _ in range(height)], np.uint8)
    compressed = coco.encode(mask)["counts"]
    runs, value = [], 0
    for pixel in mask.T.ravel():
        if not runs or pixel != value:
            runs += [0] if not runs and pixel else []
            runs.append(0)
            value = pixel
        runs[-1] += 1
    text = compressed.decode()
    size = (height, width)
    for form in (text, {"counts": text, "size": [height, width]}, {"counts": runs, "size": [height, width]}):
        assert rle_of(form, size) == text


def test_no_region():
    assert rle_of(None, SIZE) == rle_of([], SIZE) == rle_of("", SIZE) == rle_of({}, SIZE) == ""


GOOD = coco.encode(np.asfortranarray(np.eye(40, 100, dtype=np.uint8)))["counts"].decode()


@pytest.mark.parametrize(
    ("segmentation", "detail"),
    [
        ([[1, 2, 3, 4]], "three points or more"),  # pycocotools would take it for a box
        ([[1, 2, 3, 4, 5, 6, 7]], "three points or more"),
        ([[1, 2, 3, 4, 5, None]], "None, which is no number"),
        ([[1, 2, 3, 4, 5, math.nan]], "coordinates far outside of the picture"),
        ([[1, 2, 3, 4, 5, 10**400]], "coordinates far outside"),
        ([[1, 2, 3, 4, math.nan, 10**400]], "coordinates far outside"),
        ([[math.nan, 2, 3, 4, 5, 6]], "coordinates far outside"),
        ([[1, 2, 3, 4, 5, 1e9]], "coordinates far outside"),
        ([[1, 2], "abcdef"], "three points"),
        ([1, 2, 3, 4, 5, 6], "a polygon is 1"),
        ({"counts": [4000]}, "size None"),
        ({"counts": [4000], "size": [100, 40]}, r"size \[100, 40\], its picture 40 x 100"),
        ({"counts": [3999], "size": [40, 100]}, "don't add up to the 40 x 100 pixels"),
        ({"counts": [4001, -1], "size": [40, 100]}, "don't add up"),
        ({"counts": [4000.0], "size": [40, 100]}, "don't add up"),
        ({"counts": None, "size": [40, 100]}, "don't add up"),
        (GOOD[:-1], "no compressed RLE of 40 x 100"),
        (GOOD + "P", "no compressed RLE"),  # says that more follows
        ("o" * 50, "no compressed RLE"),
        ("é" * 50, "no compressed RLE"),
        ("\x00", "no compressed RLE"),
    ],
)
def test_regions_that_c_code_must_not_see(segmentation, detail):
    with pytest.raises(BadObjects, match=detail) as error:
        rle_of(segmentation, SIZE)
    assert error.value.reason == "bad_mask"


def test_an_outline_that_takes_all_memory():
    rle_of([[0, 0, 100, 40] * 4000], SIZE)
    with pytest.raises(BadObjects, match="outline of more than 2000000 pixels"):
        rle_of([[0, 0, 100, 40] * 40_000], SIZE)
