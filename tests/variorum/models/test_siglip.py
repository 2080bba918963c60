"""SigLIP 2 on random weights, laid out as the published checkpoint."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hub_layouts.vision import siglip2
from safetensors.torch import load_file, save_file

from variorum.models import ModelTable
from variorum.models.loaders.embeddings import IMAGE_EMBEDDING
from variorum.models.loaders.vision_language import ZERO_SHOT
from variorum.schemas.errors import ModelUnavailable

TEXTS = ["a photo of a cat", "a dog with a hat", "x " * 100]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("siglip2")
    siglip2(place)
    return place


@pytest.fixture(scope="module")
def entry():
    return ModelTable("hub").entry("zero_shot_siglip2")


@pytest.fixture(scope="module")
def model(folder, entry):
    return ZERO_SHOT.load(entry, folder, {})


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + n, 60, 3)).astype(np.uint8) for n in range(9)]


def test_siglip_agrees_with_transformers_own_pipeline(model, folder, images):
    from PIL import Image
    from transformers import pipeline

    ask = pipeline("zero-shot-image-classification", model=str(folder))
    bias = ask.model.logit_bias.item()
    for image, row in zip(images, model(images, TEXTS), strict=True):
        said = ask(Image.fromarray(image), candidate_labels=TEXTS, hypothesis_template="{}")
        scores = {one["label"]: one["score"] for one in said}
        logits = row * model.temperature + bias
        assert 1 / (1 + np.exp(-logits)) == pytest.approx([scores[text] for text in TEXTS], rel=1e-3)
        # if exactly one text fits, its probability is the softmax that callers compute
        only, softmax = np.exp(logits), np.exp(row * model.temperature)
        assert softmax / softmax.sum() == pytest.approx(only / only.sum(), rel=1e-3)


def test_texts_are_read_in_lower_case_and_alone(model, images):
    cosines = model(images, TEXTS)
    assert np.array_equal(cosines, model(images, [text.upper() for text in TEXTS]))
    assert cosines[:, 1] == pytest.approx(model(images, TEXTS[1:2])[:, 0], abs=1e-6)
    assert cosines[2] == pytest.approx(model(images[2:3], TEXTS)[0], abs=1e-6)
    assert np.ptp(cosines, axis=1).max() > 0.1
    assert model([], TEXTS).shape == (0, 3)


def test_siglips_embedding_is_differentiable_and_an_encoder_gives_the_same(model, folder, images):
    import torch

    encoder = IMAGE_EMBEDDING.load(ModelTable("hub").entry("encoder_siglip2"), folder, {})
    rows = encoder(images)
    assert rows.shape == (9, 32)
    assert encoder([]).shape == (0, 32)
    square = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.uint8)  # its own size: nothing is resized
    pictures = (torch.from_numpy(square).permute(2, 0, 1)[None] / 255).requires_grad_()
    found = model.features(pictures)
    assert found.detach().numpy() == pytest.approx(encoder([square]), abs=1e-4)
    found.sum().backward()
    assert pictures.grad.abs().sum() > 0


@pytest.mark.parametrize("lost", ["text_model.head.weight", "vision_model.head.probe", "logit_scale"])
def test_siglip_is_complete_or_refused(folder, entry, tmp_path, lost):
    weights = load_file(folder / "model.safetensors")
    place = shutil.copytree(folder, tmp_path / "lacking")
    save_file({name: weights[name] for name in weights if name != lost}, place / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=lost):
        ZERO_SHOT.load(entry, place, {})
    if lost.startswith("vision"):
        with pytest.raises(ModelUnavailable, match=r"head\.probe"):
            IMAGE_EMBEDDING.load(entry, place, {})


def test_other_siglips_are_refused(folder, entry, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    tokenizer = (other / "tokenizer.json").read_text("utf-8")
    (other / "tokenizer.json").write_text(tokenizer.replace("<eos>", "</s>"), "utf-8")
    with pytest.raises(ModelUnavailable, match="only SigLIP 2 is supported"):
        ZERO_SHOT.load(entry, other, {})
    (other / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailable, match="has no tokenizer of SigLIP 2"):
        ZERO_SHOT.load(entry, other, {})
    facts = json.loads((other / "config.json").read_text("utf-8"))
    (other / "config.json").write_text(json.dumps(facts | {"model_type": "siglip2"}), "utf-8")
    for loader in (ZERO_SHOT, IMAGE_EMBEDDING):
        with pytest.raises(ModelUnavailable, match="NaFlex"):
            loader.load(entry, other, {})
