"""Boxes and names on a picture: where they lie, in which colours, and which are left out."""

import math

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from variorum.reports.boxes import COLOURS, MOST, NO_CLASS, draw_boxes
from variorum.schemas.annotations import Object

NAMES = {"cat": "cat", "dog": "a dog"}
FONT = ImageFont.load_default(11)


def drawn(objects, scale=1.0, size=(100, 100)):
    image = Image.new("RGB", size)
    draw_boxes(image, objects, scale, NAMES, FONT)
    return image


def has(image, colour, area):
    found = image.crop(area).getcolors(image.width * image.height)
    return colour in {value for _, value in found}


def test_a_box_is_drawn_where_it_lies_in_the_colour_of_its_class():
    image = drawn([Object((80, 100, 40, 60), "dog"), Object((20, 140, 20, 20), "cat")], scale=0.5)
    dog, cat = COLOURS[1], COLOURS[0]
    assert [image.getpixel(place) for place in ((40, 60), (59, 60), (50, 50), (50, 79))] == [dog] * 4
    assert image.getpixel((50, 65)) == image.getpixel((60, 65)) == image.getpixel((50, 80)) == (0, 0, 0)
    assert image.getpixel((19, 75)) == cat


def test_small_boxes_lie_over_large_ones_and_the_smallest_are_left_out():
    objects = [Object((1, 1, 2 + k, 2 + k), "cat") for k in range(MOST + 5)]
    few = drawn([*objects[5:], Object((0, 0, 90, 90), "dog")], scale=1, size=(100, 100))
    assert has(few, NO_CLASS, (40, 80, 100, 100))  # how many more there are
    assert not has(drawn(objects[:MOST]), NO_CLASS, (0, 0, 100, 100))
    over = drawn([Object((10, 60, 20, 20), "cat"), Object((0, 40, 60, 40), "dog")])
    assert over.getpixel((20, 79)) == COLOURS[0]


def test_names_that_would_cover_another_are_left_out():
    one, two = Object((10, 40, 50, 50), "cat"), Object((10, 40, 49, 49), "dog")
    above = (10, 24, 60, 40)
    assert has(drawn([one]), COLOURS[0], above)
    assert not has(drawn([one, two]), COLOURS[1], above)
    assert has(drawn([one, two]), COLOURS[1], (10, 40, 60, 54))  # there is room inside


def test_an_object_without_a_class_is_grey_and_has_no_name():
    image = drawn([Object((10, 40, 50, 50))])
    assert image.getpixel((10, 60)) == NO_CLASS
    assert not has(image, NO_CLASS, (0, 0, 100, 39))


def test_boxes_outside_are_cut_off_or_left_out():
    image = drawn([Object((-50, -50, 100, 100), "cat"), Object((200, 0, 10, 10), "dog"), Object((0, -9, 5, 9), "dog")])
    assert image.getpixel((49, 20)) == image.getpixel((20, 49)) == COLOURS[0]
    assert not has(image, COLOURS[1], (0, 0, 100, 100))


numbers = st.floats(-1e300, 1e300) | st.floats(-200, 200)


@given(
    st.lists(
        st.builds(Object, st.tuples(*[numbers] * 4), st.sampled_from(["", "cat", "x" * 999, "\u202e\n"])), max_size=30
    ),
    st.sampled_from([(1, 1), (3, 200), (200, 5), (144, 90)]),
)
def test_any_boxes_can_be_drawn_on_any_picture(objects, size):
    boxes = [one for one in objects if all(map(math.isfinite, one.box))]
    assert drawn(boxes, size=size).size == size
