"""Adversarial embedding by the packaged network, within its budget and against random signs."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import skimage.data

from variorum.generators.watermark.attacks.adversarial_embedding import AdversarialEmbedding, Away
from variorum.generators.watermark.attacks.random_signs import RandomSigns
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.watermark import Refused


@pytest.fixture(scope="module")
def target(tiny, tmp_path_factory):
    file = tmp_path_factory.mktemp("tables") / "models.toml"
    file.write_text(
        f'[zero_shot]\nname = "tiny/clip"\nloader = "zero_shot"\nlocal = {{ path = "{tiny / "clip"}" }}\n'
        'licence = "none"\nsource = "random weights"\n\n'
        f'[autoencoder]\nname = "tiny/vae"\nloader = "autoencoder"\nlocal = {{ path = "{tiny / "text_to_image"}" }}\n'
        'options = { part = "vae" }\nlicence = "none"\nsource = "random weights"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_MODELS", str(file))
        yield SimpleNamespace(mark=None, ctx=Context(seed=0, models=ModelTable("embedded"), memo=None))


def rngs(*numbers):
    return [np.random.default_rng(number) for number in numbers]


def photos(number, side=64):
    cat = skimage.data.chelsea()
    return [
        cv2.resize(cat[:300, 70 * place : 70 * place + 300], (side, side), interpolation=cv2.INTER_AREA)
        for place in range(number)
    ]


def farthest(image, other):
    return int(np.abs(image.astype(int) - other.astype(int)).max())


def test_it_moves_the_embedding_many_times_as_far_as_random_signs_of_the_same_budget(target):
    images, network = photos(1), target.ctx.models.get("adversary")
    found = AdversarialEmbedding(steps=4, step=0.5).apply(images, 0.4, rngs(0), target)
    control = RandomSigns().apply(images, 0.4, rngs(0), target)
    for image, attacked, random in zip(images, found, control, strict=True):
        assert farthest(image, attacked.image) == farthest(image, random) == 4
        assert attacked.drawn["embedding_moved"] > 3 * Away(image, network).moved(random) > 0


def test_pictures_are_the_same_alone_and_among_others(target):
    images, attack = photos(2), AdversarialEmbedding(steps=1)
    together = attack.apply(images, 0.4, rngs(0, 1), target)
    for number in range(2):
        (alone,) = attack.apply(images[number : number + 1], 0.4, rngs(number), target)
        assert np.array_equal(alone.image, together[number].image)
        assert alone.drawn == together[number].drawn


@pytest.mark.parametrize("model", ["zero_shot", "autoencoder"])
def test_other_networks_with_embeddings_serve_too(model, target):
    (image,) = photos(1, 40)
    (found,) = AdversarialEmbedding(model=model, steps=6, step=0.3).apply([image], 0.8, rngs(0), target)
    (control,) = RandomSigns().apply([image], 0.8, rngs(0), target)
    assert farthest(image, found.image) == 8
    assert found.drawn["embedding_moved"] > Away(image, target.ctx.models.get(model)).moved(control)


def test_a_model_without_an_embedding_is_refused(target):
    with pytest.raises(RecipeError, match=r"adversarial_embedding.model: 'denoiser' has no embedding"):
        AdversarialEmbedding(model="denoiser").apply(photos(1), 0.4, rngs(0), target)


def test_a_picture_without_a_gradient_is_refused_alone(target, monkeypatch):
    network = target.ctx.models.get("adversary")
    honest = type(network).features
    dark = np.zeros((64, 64, 3), np.uint8)

    def blind(self, pictures):
        return honest(self, pictures) * (float("nan") if pictures.mean() < 0.1 else 1)

    monkeypatch.setattr(type(network), "features", blind)
    found = AdversarialEmbedding(steps=1).apply([dark, *photos(1)], 0.4, rngs(0, 1), target)
    assert isinstance(found[0], Refused)
    assert found[0].reason == "no_gradient"
    assert farthest(photos(1)[0], found[1].image) <= 4
