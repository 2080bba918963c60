"""API tests on random weights of a tiny Qwen2-VL, whose answers are gibberish, and of a tiny CLIP."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hub_layouts.chat import qwen2_vl

from variorum.models.diffusion.images import shrunk
from variorum.models.loaders.vision_language import VISION_LANGUAGE, ZERO_SHOT
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

QUESTIONS = ["What?", "Is it a cat or a dog, and where does it sit?", "How many?", "What?", "Where?"]


def entry(folder, **options):
    return Entry(
        name="tiny",
        loader="vision_language",
        local={"path": str(folder)},
        options={"most_tokens": 8, **options},
        licence="none",
        source="random weights",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("vision_language")
    qwen2_vl(place, most_pixels=112 * 112, shards=False)
    return place


@pytest.fixture(scope="module")
def model(folder):
    return VISION_LANGUAGE.load(entry(folder), folder, {})


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


IMAGES = [noise(0, 60, 80), noise(1, 80, 60), noise(2, 120, 90), noise(3, 60, 80), noise(4, 40, 110)]


def test_answers_are_the_same_alone_and_among_others(model):
    together = model(IMAGES, QUESTIONS)
    assert together == [model([image], [question])[0] for image, question in zip(IMAGES, QUESTIONS, strict=True)]
    assert model(IMAGES[::-1], QUESTIONS[::-1]) == together[::-1]
    assert len(set(together)) > 1
    assert all(answer for answer in together)
    assert model([], []) == []


def test_answers_depend_on_the_picture_and_on_the_question(model):
    assert len(set(model(IMAGES, ["What?"] * 5))) > 1
    assert len(set(model(IMAGES[:1] * 5, QUESTIONS))) > 1


def test_nothing_is_drawn_though_the_checkpoint_would_draw(model, folder):
    import torch
    from transformers import GenerationConfig

    assert GenerationConfig.from_pretrained(folder).do_sample
    before = torch.get_rng_state()
    first = model(IMAGES[:2], QUESTIONS[:2])
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert model(IMAGES[:2], QUESTIONS[:2]) == first


def test_answers_are_cut_after_so_many_tokens(folder, model):
    short = VISION_LANGUAGE.load(entry(folder, most_tokens=1), folder, {})
    tokens = short._processor.tokenizer
    long = model(IMAGES, QUESTIONS)
    for answer, first in zip(long, short(IMAGES, QUESTIONS), strict=True):
        assert len(tokens(first).input_ids) <= 3  # a byte that is no character decodes to a mark of three bytes
        assert len(first) <= len(answer)


def test_large_pictures_are_made_smaller(folder, model):
    small = VISION_LANGUAGE.load(entry(folder, side=56), folder, {})
    assert shrunk(IMAGES[2], 56).shape == (56, 42, 3)
    assert shrunk(noise(0, 1, 200), 56).shape == (1, 56, 3)
    assert shrunk(IMAGES[2], 1024) is IMAGES[2]
    assert small(IMAGES[2:3], ["What?"]) == small([shrunk(IMAGES[2], 56)], ["What?"])
    assert small(IMAGES[2:3], ["What?"]) == model([shrunk(IMAGES[2], 56)], ["What?"])


def test_a_question_a_picture(model):
    with pytest.raises(ValueError, match="shorter"):
        model(IMAGES[:2], ["What?"])


def test_what_is_no_such_model_is_refused(folder, tiny, tmp_path):
    with pytest.raises(ModelUnavailable, match="can't be loaded as AutoModelForImageTextToText"):
        VISION_LANGUAGE.load(entry(tiny / "clip"), tiny / "clip", {})
    silent = shutil.copytree(folder, tmp_path / "silent")
    (silent / "chat_template.json").unlink()
    (silent / "tokenizer_config.json").unlink()
    with pytest.raises(ModelUnavailable, match="no chat template"):
        VISION_LANGUAGE.load(entry(silent), silent, {})
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    weights = pickled / "model.safetensors"
    weights.rename(pickled / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ModelUnavailable, match="can't be loaded as AutoModelForImageTextToText"):
        VISION_LANGUAGE.load(entry(pickled), pickled, {})


# ── zero_shot ────────────────────────────────────────────────────────────────────────────────────────────────────────


def clip_entry(folder):
    return Entry(name="tiny", loader="zero_shot", local={"path": str(folder)}, licence="none", source="random weights")


def test_api_of_zero_shot(tiny):
    from transformers import CLIPModel

    model = ZERO_SHOT.load(clip_entry(tiny / "clip"), tiny / "clip", {})
    images, texts = [noise(n, 40, 50) for n in range(10)], ["a cat", "a dog with a hat", "x" * 200]
    cosines = model(images, texts)
    assert cosines.shape == (10, 3)
    assert np.abs(cosines).max() <= 1
    assert cosines[4, 1] == pytest.approx(model(images[4:5], texts[1:2])[0, 0], abs=1e-5)
    assert model([], texts).shape == (0, 3)
    assert model(images, []).shape == (10, 0)
    whole = CLIPModel.from_pretrained(tiny / "clip")  # CLIP's own forward pass on the same inputs
    pixels = model._processor(images=images, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    words = model._tokenizer(texts[:2], padding=True, return_tensors="pt")
    logits = whole(pixel_values=pixels, **words).logits_per_image.detach().numpy()
    assert cosines[:, :2] * model.temperature == pytest.approx(logits, abs=1e-4)


def test_no_clip_model_no_zero_shot(tiny):
    with pytest.raises(ModelUnavailable, match="can't be loaded as CLIPModel"):
        ZERO_SHOT.load(clip_entry(tiny / "text_to_image" / "tokenizer"), tiny / "text_to_image" / "tokenizer", {})
