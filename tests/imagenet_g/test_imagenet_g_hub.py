"""The recipes imagenet_g and imagenet_g_text on checkpoints laid out as the Hub's, tiny and with random weights."""

from __future__ import annotations

import pytest

import variorum as va

pytestmark = pytest.mark.slow
JUDGES = ("classifier", "encoder", "encoder_independent", "zero_shot")
TWO_CLASSES = {"source.table": "imagenet", "source.per_class": 1, "limit": 2, "progress": False, "profile": "hub"}


def stored(edition, variant):
    """The pictures of a variant, also those that a filter drops from the release."""
    return [sample.image for sample in edition.base().samples(variant=variant)]


def test_a_text_becomes_a_set_with_a_card(hub_models, tmp_path):
    table = hub_models("text_to_image_small", "safety_checker", *JUDGES)
    few = {"generate.text_to_image.steps": 2, **TWO_CLASSES}
    edition = va.run("imagenet_g_text", store=tmp_path / "store", **few)
    pictures = stored(edition, "guidance_7.5")
    assert [picture.shape for picture in pictures] == [(128, 128, 3)] * 2
    assert all(picture.std() > 5 for picture in pictures)
    models = edition.base().manifest.models
    assert {alias: models[alias] for alias in ("text_to_image_small", "safety_checker")} == {
        alias: table.pin(alias) for alias in ("text_to_image_small", "safety_checker")
    }
    assert "CreativeML OpenRAIL-M" in edition.card
    assert edition.figures["generated_set"]


def test_sdxl_can_take_the_place_of_stable_diffusion(hub_models, tmp_path):
    table = hub_models("text_to_image", "safety_checker", *JUDGES)
    few = {"generate.text_to_image.steps": 2, "generate.text_to_image.model": "text_to_image", **TWO_CLASSES}
    edition = va.run("imagenet_g_text", store=tmp_path / "store", curate=[], evaluate=[], **few)
    assert all(picture.std() > 5 for picture in stored(edition, "guidance_7.5"))
    assert edition.manifest.models["text_to_image"] == table.pin("text_to_image")


def test_a_class_becomes_a_picture_of_dit(hub_models, tmp_path):
    table = hub_models("class_conditional_imagenet", *JUDGES)
    dit = {"model": "class_conditional_imagenet", "sampler": "ddim", "steps": 2, "guidance": [1.5, 4.0], "batch": 8}
    edition = va.run(
        "imagenet_g",
        store=tmp_path / "store",
        **TWO_CLASSES,
        **{f"generate.class_conditional.{name}": value for name, value in dit.items()},
        **{"curate.class_agreement.model": "zero_shot", "curate.class_agreement.real": None},
        **{"curate.leakage.trained_on": None},
        **{f"evaluate.generated_set.{name}": None for name in ("train", "test", "shifted")},
        **{"evaluate.generated_set.judge": "classifier", "source.licence": table.licence("class_conditional_imagenet")},
    )
    assert all(picture.std() > 5 for picture in stored(edition, "guidance_4"))
    assert edition.base().manifest.models["class_conditional_imagenet"] == table.pin("class_conditional_imagenet")
    assert "license: cc-by-nc-4.0" in edition.card
