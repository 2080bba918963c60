"""Detectors of one's own: a function that says what it finds, and detection networks of torchvision."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

from variorum.kit.predicted.answers import answers
from variorum.models import ModelTable
from variorum.models.brought import from_function
from variorum.models.gives import embeddings, gives
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelFailed, RecipeError
from variorum.schemas.sample import Sample

IMAGE = np.full((40, 60, 3), 90, np.uint8)


def finder(answer, finds=("background", "cat", "dog", "Cat")):
    def find(images):
        return [answer] * len(images)

    find.finds = list(finds)
    return from_function(find, name="mine")


def test_a_function_finds_the_labels_that_it_names():
    boxes = [[1, 2, 30, 20], [-5, 0, 90, 39.5], [3, 3, 9, 9], [4, 4, 9, 9]]
    model = finder({"boxes": boxes, "scores": [0.2, 0.9, 0.5, 0.3], "labels": [1, 2, 0, 3]})
    assert model.knows(["CAT", "horse", "dog"]) == [True, False, True]
    (found,) = model([IMAGE], ["dog", "cat"])
    np.testing.assert_array_equal(found.boxes, [[0, 0, 60, 39.5], [4, 4, 9, 9], [1, 2, 30, 20]])
    np.testing.assert_array_equal(found.texts, [0, 1, 1])
    assert found.scores == pytest.approx([0.9, 0.3, 0.2])
    assert gives(model, IMAGE) == {"boxes"}
    with pytest.raises(RecipeError, match="is a detector, which gives no embedding"):
        embeddings("mine", model, [IMAGE])


def test_a_picture_may_show_nothing():
    (found,) = finder({"boxes": [], "scores": [], "labels": []})([IMAGE], ["cat"])
    assert (found.boxes.shape, found.scores.shape, found.texts.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((4, 6)), "gave ndarray .* for a picture, not boxes, scores, labels"),
        ({"boxes": [[0, 0, 1, 1]], "scores": [0.5, 0.4], "labels": [1, 1]}, r"of shapes \[1, 4\], \[2\], \[2\]"),
        ({"boxes": [[0, 0, 1, 1]], "scores": [0.5], "labels": [4]}, "gave label 4, but it names 4"),
    ],
)
def test_what_is_no_detection_is_named(answer, message):
    with pytest.raises(ModelFailed, match=message):
        finder(answer)([IMAGE], ["cat"])


def test_a_detector_is_no_classifier():
    class Models:
        def get(self, alias):
            return finder({"boxes": [], "scores": [], "labels": []})

    with pytest.raises(RecipeError, match="'mine' is a detector; name a classifier"):
        list(answers([Sample("0" * 32, IMAGE)], ["mine"], Context(0, Models(), None)))


def test_a_network_in_a_file_finds_things(tmp_path):
    file = tmp_path / "net.py"
    text = '''
        import torch

        class Middle(torch.nn.Module):
            """Finds a cat in the middle of every picture, as sure as the picture is bright."""
            finds = ["background", "cat"]

            def forward(self, pictures):
                boxes = [torch.tensor([[0.0, 0, one.shape[2] / 2, one.shape[1] / 2]]) for one in pictures]
                return [
                    {"boxes": box, "scores": one.mean().reshape(1), "labels": torch.tensor([1])}
                    for box, one in zip(boxes, pictures)
                ]
        '''
    file.write_text(textwrap.dedent(text))
    table, name = ModelTable("embedded"), f"module:{file}:Middle"
    (found,) = table.get(name)([IMAGE], ["cat"])
    np.testing.assert_array_equal(found.boxes, [[0, 0, 30, 20]])
    assert found.scores == pytest.approx([90 / 255])
    assert ";as:" in table.pin(name)


def test_a_detection_network_of_torchvision_knows_coco_or_must_name_its_labels():
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large as builder

    plain = from_function(builder(weights=None, weights_backbone=None), name="coco")
    assert plain.knows(["person", "toothbrush", "rainbow"]) == [True, True, False]
    own = builder(weights=None, weights_backbone=None, num_classes=3)
    with pytest.raises(RecipeError, match="a detection network with 3 labels; name them, from label 0"):
        from_function(own, name="own")
    own.finds = ["background", "cat", "dog"]
    (found,) = from_function(own, name="own")([IMAGE], ["dog"])
    assert set(found.texts.tolist()) <= {0}
    with pytest.raises(RecipeError, match="a detector, which prepares its pictures itself"):
        from_function(own, name="own", preprocess="none")
