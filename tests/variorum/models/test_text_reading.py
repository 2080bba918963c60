"""Reading text: rendered lines, turned and small ones, decoding by hand, and wrong files."""

from __future__ import annotations

import numpy as np
import pytest

from variorum.models.loaders.text_reading import TEXT_READING, decoded, network_input, text_boxes, upright
from variorum.models.table_entries import Entry
from variorum.models.weights import locate
from variorum.schemas.errors import ModelUnavailable

ENTRY = Entry(name="other", loader="text_reading", licence="none", source="somewhere")


@pytest.fixture(scope="module")
def reader(table):
    return table.get("text_reader")


def written(text, size=28, turn=0, place=(170, 130), ground=None):
    """A picture of 340 × 260 pixels with a line of text around a place."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    layer = Image.new("RGBA", (int(right - left) + 8, int(bottom - top) + 8))
    ImageDraw.Draw(layer).text((4 - left, 4 - top), text, font=font, fill="white", stroke_width=2, stroke_fill="black")
    layer = layer.rotate(turn, expand=True, resample=Image.Resampling.BICUBIC)
    picture = Image.fromarray(np.full((260, 340, 3), 120, np.uint8) if ground is None else ground).convert("RGBA")
    picture.alpha_composite(layer, (place[0] - layer.width // 2, place[1] - layer.height // 2))
    return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize(("size", "turn"), [(28, 0), (22, 10), (22, -10), (16, 0)])
def test_a_line_is_read_where_it_is(reader, cat, size, turn):
    (lines,) = reader([written("Harbour view 1987", size, turn, ground=cat[:260, :340])])
    (line,) = [one for one in lines if "1987" in one.text]
    assert line.text.replace(" ", "") == "Harbourview1987"
    assert size < 20 or line.text == "Harbour view 1987"  # some spaces between small letters are lost
    assert line.score > 0.8
    assert np.allclose(line.box.mean(0), (170, 130), atol=6)


def test_lines_come_from_top_to_bottom_and_run_upwards_too(reader):
    image = written("first", place=(100, 50), ground=written("second", place=(220, 130)))
    assert [line.text for line in reader([image])[0]] == ["first", "second"]
    assert [line.text for line in reader([np.rot90(written("sideways"), -1)])[0]] == ["sideways"]


def test_a_picture_without_text_has_no_line_and_none_depends_on_others(reader, cat):
    pictures = [np.full((40, 300, 3), 200, np.uint8), written("alone"), cat[:64, :64], np.zeros((1, 1, 3), np.uint8)]
    together = reader(pictures)
    assert [[line.text for line in lines] for lines in together] == [[], ["alone"], [], []]
    (alone,) = reader(pictures[1:2])
    assert alone[0].score == together[1][0].score
    assert reader([]) == []


def test_decoding_by_hand():
    """Repeats are one letter unless nothing lies between them; a little probability of a space is a space."""
    characters = ("", "a", "b", " ")
    steps = np.zeros((8, 4), np.float32)
    for step, (best, space) in enumerate([(1, 0), (1, 0), (0, 0), (1, 0), (0, 0.05), (2, 0), (3, 0.9), (0, 0)]):
        steps[step, best] = 0.9
        steps[step, 3] = max(steps[step, 3], space)
    text, score = decoded(steps, characters)
    assert text == "aa b"
    assert score == pytest.approx(0.9)
    assert decoded(np.eye(4, dtype=np.float32)[[0, 3, 0]], characters) == ("", 0.0)


def test_boxes_grow_around_the_core_of_a_line():
    found = np.zeros((100, 200), np.float32)
    found[40:51, 60:141] = 0.9
    found[5:7, 5:60] = 0.9  # too thin
    found[70:90, 10:40] = 0.4  # not sure
    (box,) = text_boxes(found)
    grown = 1.6 * 80 * 10 / (80 + 10) / 2
    left, top, right, bottom = 60 - grown, 40 - grown, 140 + grown, 50 + grown
    assert np.allclose(box, [(left, top), (right, top), (right, bottom), (left, bottom)], atol=0.01)
    assert upright(np.zeros((100, 200, 3), np.uint8), box).shape == (round(10 + 2 * grown), round(80 + 2 * grown), 3)


def test_a_long_line_is_squeezed_and_a_short_one_is_followed_by_grey():
    assert network_input(np.zeros((2, 4000, 3), np.uint8)).shape == (3, 48, 3200)
    short = network_input(np.full((48, 10, 3), 255, np.uint8))
    assert short.shape == (3, 48, 320)
    assert (short[..., :10] == 1).all()
    assert (short[..., 10:] == 0).all()


def test_another_network_is_refused(table):
    detector = table.get("text_detector")
    with pytest.raises(ModelUnavailable, match="doesn't read text"):
        TEXT_READING.load(ENTRY, locate(table.entry("segmenter"), table.cache), {"text_detector": detector})
    with pytest.raises(ModelUnavailable, match="name it in `uses`"):
        TEXT_READING.load(ENTRY, locate(table.entry("text_reader"), table.cache), {})
