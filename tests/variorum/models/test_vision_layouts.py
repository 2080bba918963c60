"""Judges and cutters that the table names beside its defaults, each fetched, verified and loaded as a user's are."""

from __future__ import annotations

import numpy as np
import pytest
from hub_layouts import entries, snapshot
from hub_layouts.vision import BUILDERS
from safetensors.torch import load_file

from variorum.api.trial_calls import caller, question_for
from variorum.models import ModelTable
from variorum.models.loaders.vision_language import names_of
from variorum.schemas.errors import ModelUnavailable, RecipeError

pytestmark = pytest.mark.slow

rng = np.random.default_rng(0)
IMAGES = [rng.integers(0, 256, shape).astype(np.uint8) for shape in ((60, 80, 3), (90, 50, 3), (300, 280, 3))]


def tensors(alias, home):
    """All tensors of an alias's checkpoint."""
    found = {}
    for file in snapshot(alias, home).glob("*.safetensors"):
        found |= load_file(file)
    return found


@pytest.mark.parametrize("alias", sorted(BUILDERS))
def test_further_aliases_are_asked_for_by_name_and_unpinned_ones_say_so(alias):
    entry = entries()[alias]
    assert entry.optional
    if entry.needs_commit:
        with pytest.raises(ModelUnavailable, match="is unpinned"):
            ModelTable("hub").pin(alias)


@pytest.mark.parametrize("alias", ["encoder_dinov3", "encoder_registers", "encoder_siglip2"])
def test_encoders_read_every_tensor_and_judge_each_picture_alone(hub_models, hub_home, alias):
    encoder = hub_models(alias).get(alias)
    together = encoder(IMAGES)
    assert together.shape == (3, 32)
    for image, row in zip(IMAGES, together, strict=True):
        assert encoder([image])[0] == pytest.approx(row, abs=1e-5)
    assert np.abs(together - together[[1, 2, 0]]).max(axis=1).min() > 0.01
    held = [tensor.sum().item() for tensor in tensors(alias, hub_home).values()]
    for name, weights in encoder._model.state_dict().items():
        assert min(abs(weights.sum().item() - one) for one in held) < 1e-6, name


def test_the_class_token_is_transformers_own(hub_models, hub_home):
    import torch
    from transformers import AutoImageProcessor, AutoModel

    for alias in ("encoder_dinov3", "encoder_registers"):
        encoder, folder = hub_models(alias).get(alias), snapshot(alias, hub_home)
        inputs = AutoImageProcessor.from_pretrained(folder)(images=IMAGES[0], return_tensors="pt")
        with torch.inference_mode():
            tokens = AutoModel.from_pretrained(folder).eval()(**inputs)
        assert encoder(IMAGES[:1]) == pytest.approx(tokens.pooler_output.numpy(), abs=1e-5)


@pytest.mark.parametrize("alias", ["vlm_qwen25", "vlm_qwen3"])
def test_chat_models_read_every_tensor_and_answer_each_question_alone(hub_models, hub_home, alias):
    import torch

    model = hub_models(alias).get(alias)
    questions = ["What?", "Is it a cat or a dog?", "How many?"]
    together = model(IMAGES, questions, most_tokens=8)
    assert together == [
        model([image], [asked], most_tokens=8)[0] for image, asked in zip(IMAGES, questions, strict=True)
    ]
    assert model(IMAGES[::-1], questions[::-1], most_tokens=8) == together[::-1]
    assert len({*model(IMAGES, questions[:1] * 3, most_tokens=8)}) > 1
    held = tensors(alias, hub_home)
    for name, weights in model._model.state_dict().items():
        assert any(weights.shape == one.shape and torch.equal(weights, one) for one in held.values()), name


def test_florence_answers_tasks_as_transformers_own_class_does_and_nothing_else(hub_models, hub_home):
    import torch
    from transformers import Florence2ForConditionalGeneration, Florence2Processor

    model, folder = hub_models("vlm_florence").get("vlm_florence"), snapshot("vlm_florence", hub_home)
    own = Florence2ForConditionalGeneration.from_pretrained(folder).eval()
    processor = Florence2Processor.from_pretrained(folder)
    tasks = ["<OD>", "<DETAILED_CAPTION>", "<CAPTION>"]
    together = model(IMAGES, tasks, most_tokens=8)
    for image, task, answer in zip(IMAGES, tasks, together, strict=True):
        inputs = processor(images=image, text=task, return_tensors="pt")
        with torch.inference_mode():
            tokens = own.generate(
                **inputs, max_new_tokens=8, num_beams=1, forced_eos_token_id=None, no_repeat_ngram_size=0
            )
        assert answer == names_of(processor.batch_decode(tokens)[0])
        assert model([image], [task], most_tokens=8) == [answer]
    assert all(together)
    held = tensors("vlm_florence", hub_home)
    for name, weights in model._model.state_dict().items():
        assert any(weights.shape == one.shape and torch.equal(weights, one) for one in held.values()), name
    with pytest.raises(RecipeError, match="is asked by the mark of a task"):
        model(IMAGES[:1], ["What is this?"])


@pytest.mark.parametrize("alias", sorted(BUILDERS))
def test_the_trial_of_a_profile_knows_how_to_ask(hub_models, alias):
    model = hub_models(alias).get(alias)
    assert len(caller(model, question_for(model, IMAGES[:2]))([0, 1])) == 2


def test_names_of_objects_remain_of_florences_places():
    text = "</s><s>dog<loc_1><loc_2><loc_3><loc_4>human face<loc_5><loc_6><loc_7><loc_8>dog<loc_9><loc_0></s><pad>"
    assert names_of(text) == "dog, human face"
    assert names_of("</s><s>A dog lies on a rug.</s>") == "A dog lies on a rug."
    assert names_of("</s><s></s>") == ""


def test_sam2_through_the_table_finds_what_the_salience_model_points_at(hub_models):
    from skimage import data

    (found,) = hub_models("segmenter_sam2").get("segmenter_sam2")([data.chelsea()])
    assert found.mask.shape == data.chelsea().shape[:2]
    assert 0 <= found.score <= 1
