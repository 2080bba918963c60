"""Zero-shot models as classifiers, on random weights: their probabilities against CLIP's own formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from variorum.models.imagenet_classes import table
from variorum.models.loaders.vision_language import ZERO_SHOT
from variorum.models.loaders.zero_shot_classifier import SEVEN, ZERO_SHOT_CLASSIFIER
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

TWO = ("a photo of a {}.", "art of the {}.")


@pytest.fixture(scope="module")
def clip(tiny):
    entry = Entry(
        name="tiny", loader="zero_shot", local={"path": str(tiny / "clip")}, licence="none", source="random weights"
    )
    return ZERO_SHOT.load(entry, tiny / "clip", {})


def classifier(used, **options):
    entry = Entry(name="tiny", loader="zero_shot_classifier", options=options, licence="none", source="random weights")
    assert ZERO_SHOT_CLASSIFIER.problem(entry) == ""
    return ZERO_SHOT_CLASSIFIER.load(entry, None, used)


def test_a_class_is_the_mean_of_its_texts(clip, cat):
    model = classifier({"zero_shot": clip}, templates=TWO)
    pictures = [cat, np.ascontiguousarray(cat[:200, :150])] * 5
    found = model(pictures)
    assert found.shape == (10, 1000)
    assert found.sum(axis=1) == pytest.approx(np.ones(10), abs=1e-5)
    inputs = clip._processor(images=pictures[:2], return_tensors="pt", input_data_format="channels_last")
    network = clip._model
    with torch.inference_mode():
        pixels = network.get_image_features(**inputs).pooler_output
        classes = []
        for template in TWO:
            texts = [template.format(one.name) for one in table()]
            tokens = clip._tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
            classes.append(torch.nn.functional.normalize(network.get_text_features(**tokens).pooler_output, dim=-1))
        directions = torch.nn.functional.normalize(torch.stack(classes).mean(0), dim=-1)
        cosines = torch.nn.functional.normalize(pixels, dim=-1) @ directions.T
        expected = (cosines * network.logit_scale.exp()).softmax(-1)
    assert found[:2] == pytest.approx(expected.numpy(), abs=1e-6)
    assert model(pictures[1:2])[0] == pytest.approx(found[1], abs=1e-6)
    assert model.features(pictures[:2]) @ directions.numpy().T == pytest.approx(cosines.numpy(), abs=1e-6)
    assert model([]).shape == (0, 1000)


def test_templates_are_named_in_the_row_and_may_be_1_7_or_80(clip, monkeypatch):
    monkeypatch.setattr(clip, "embed_texts", lambda texts: np.ones((len(texts), 2)) * len(texts[0]))
    said = {
        number: classifier({"zero_shot": clip}, templates=number).preprocessing.partition("Classes ")[2]
        for number in (1, 7, 80)
    }
    assert said == {
        1: "from the template 'a photo of a {}.'.",
        7: "from the template 'itap of a {}.' and 6 more.",
        80: "from the template 'a bad photo of a {}.' and 79 more.",
    }
    entry = Entry(
        name="t", loader="zero_shot_classifier", options={"templates": 8}, licence="none", source="random weights"
    )
    assert "templates is 1, 7 or 80, or a list of texts" in ZERO_SHOT_CLASSIFIER.problem(entry)


def test_it_uses_one_model_of_pictures_and_texts(clip):
    for used in ({}, {"a": clip, "b": clip}, {"a": object()}):
        with pytest.raises(ModelUnavailable, match="uses one model of the loader zero_shot; name it in `uses`"):
            classifier(used, templates=TWO)


def test_templates_have_a_place_for_the_name():
    wrong = Entry(
        name="tiny", loader="zero_shot_classifier", options={"templates": ["a photo"]}, licence="none", source="none"
    )
    assert "'a photo' must have one {}" in ZERO_SHOT_CLASSIFIER.problem(wrong)
    assert len(set(SEVEN)) == 7
