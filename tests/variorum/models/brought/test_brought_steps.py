"""Preprocessing in words: the same as torchvision's, and wrong words are named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from variorum.models.brought.steps import USUAL, steps_of
from variorum.models.preprocessing import View, view_of
from variorum.schemas.errors import RecipeError


@pytest.mark.parametrize("size", [(300, 451), (224, 224), (100, 60)])
def test_the_usual_words_do_what_torchvision_does(pictures, size):
    from torchvision.transforms._presets import ImageClassification

    image = Image.fromarray(pictures[0]).resize(size)
    theirs = ImageClassification(crop_size=224, resize_size=232)(image).numpy()
    assert steps_of(USUAL)(image) == pytest.approx(theirs, abs=1e-5)


def test_each_word_does_one_thing():
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[..., 0], picture[:, 2:4, 2] = 255, 51
    image = Image.fromarray(picture)
    assert np.array_equal(steps_of("none")(image), picture.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    assert np.array_equal(steps_of("values=0-255 layout=nhwc")(image), picture)
    assert steps_of("bgr values=0-255")(image)[:, 0, 2].tolist() == [51, 0, 255]
    assert steps_of("crop=2 values=0-255")(image)[2].tolist() == [[51, 51]] * 2
    assert steps_of("crop=4x2 layout=nhwc")(image).shape == (4, 2, 3)
    assert steps_of("resize=2")(image).shape == (3, 2, 3)
    assert steps_of("resize=5x7 grey")(image).shape == (1, 5, 7)
    assert steps_of("std=0.5")(image)[0, 0, 0] == 2
    assert steps_of("values=0-255 mean=5,0,0 std=2")(image)[:, 0, 2].tolist() == [125, 0, 25.5]


def test_the_sentence_says_what_a_network_sees():
    told = steps_of("resize=256 crop=224 interpolation=bicubic mean=0.5 std=0.25").told("as asked for")
    assert told == (
        "Shorter side to 256 px (bicubic), centre 224 × 224 px, values (x / 255 - mean) / std, mean 0.5 0.5 0.5, "
        "std 0.25 0.25 0.25 (as asked for)."
    )
    assert view_of(told, 256, 320) == View(1, 16)
    assert steps_of("none").told() == "Values x / 255."
    for words in ("grey resize=32x32", "bgr values=0-255 mean=103.9,116.8,123.7", "values=0-255"):
        assert view_of(steps_of(words).told(), 32, 32) == View(1, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "is empty"),
        ("resize", "'resize', which is no step"),
        ("size=32", "'size=32', which is no step"),
        ("none grey", "'none', which is no step"),
        ("grey=1", "'grey=1', which is no step"),
        ("resize=0", "'resize=0', which isn't understood"),
        ("crop=99999", "'crop=99999', which isn't understood"),
        ("std=0", "'std=0', which isn't understood"),
        ("mean=nan", "'mean=nan', which isn't understood"),
        ("interpolation=linear", "'interpolation=linear', which isn't understood"),
        ("mean=1,2", "2 numbers for mean, and the network gets 3 channels"),
        ("grey mean=imagenet", "3 numbers for mean, and the network gets 1 channels"),
        ("crop=2 crop=3", "names crop twice"),
    ],
)
def test_wrong_words_are_named_with_what_there_is(words, said):
    with pytest.raises(RecipeError, match=f"^preprocess .*{said}; there is: resize=256 .* or none"):
        steps_of(words)
