"""From noise to pictures and back: for real with the packaged model; on random weights only that the calls fit."""

import numpy as np
import pytest

from variorum.models import ModelTable
from variorum.models.loaders.stable_diffusion import DIFFUSION
from variorum.models.table_entries import Entry

STEPS = 8


@pytest.fixture(scope="module")
def small():
    return ModelTable("embedded").get("class_conditional")


@pytest.fixture(scope="module")
def made(small):
    """Four pieces of noise, and their pictures."""
    noise = small.noise([1, 2, 3, 4])
    return noise, small.from_noise(noise, [1, 4, 8, 9], guidance=1.5, steps=STEPS)


def text(tiny, name):
    entry = Entry(
        name="tiny",
        loader="diffusion",
        local={"path": str(tiny / name)},
        options={"task": "text_to_image"},
        dtype="float32",
        licence="none",
        source="random weights",
    )
    return DIFFUSION.load(entry, tiny / name, {})


def test_a_seeds_noise_makes_the_picture_of_that_seed(small, made):
    noise, pictures = made
    assert noise.shape == (4, 1, 28, 28)
    assert noise.dtype == np.float32
    usual = small([1, 4, 8, 9], [1, 2, 3, 4], guidance=1.5, steps=STEPS, sampler="ddim")
    np.testing.assert_array_equal(pictures, usual)


def test_the_noise_is_found_again(small, made):
    noise, pictures = made
    found = small.to_noise(pictures, steps=STEPS)
    closeness = np.corrcoef(np.concatenate([noise, found]).reshape(8, -1))[:4, 4:]
    assert (np.diag(closeness) > 0.35).all()
    assert np.abs(closeness[~np.eye(4, dtype=bool)]).max() < 0.15


def test_a_picture_of_another_size_is_resized(small, made):
    _, pictures = made
    large = [np.repeat(np.repeat(one, 2, 0), 2, 1) for one in pictures]
    np.testing.assert_allclose(small.to_noise(large, steps=2), small.to_noise(pictures, steps=2), atol=1e-4)


def test_nothing_gives_nothing(small, tiny):
    for model, wanted in ((small, (0, 1, 28, 28)), (text(tiny, "text_to_image"), (0, 4, 8, 8))):
        assert model.noise([]).shape == wanted
        assert model.to_noise([], steps=2).shape == wanted
        assert model.from_noise(model.noise([]), [], guidance=1.5, steps=2) == []


def test_the_small_model_has_one_size(small):
    with pytest.raises(ValueError, match="pictures of 28 x 28 pixels, not 64"):
        small.noise([1], 64)


@pytest.mark.parametrize("name", ["text_to_image", "xl"])
def test_a_pipeline_makes_pictures_of_noise_and_noise_of_pictures(tiny, name):
    model = text(tiny, name)
    usual = model.pipeline.scheduler
    noise = model.noise([1, 2], 64)
    assert noise.shape == (2, 4, 8, 8)
    pictures = model.from_noise(noise, ["a boat", "the sea"], guidance=2.0, steps=3)
    again = model.from_noise(noise[:1], ["a boat"], guidance=2.0, steps=3)
    assert [one.shape for one in pictures] == [(64, 64, 3)] * 2
    assert np.abs(pictures[0].astype(int) - again[0]).max() <= 1
    assert (
        np.abs(pictures[0].astype(int) - model.from_noise(-noise[:1], ["a boat"], guidance=2.0, steps=3)[0]).max() > 8
    )
    found = model.to_noise(pictures, steps=3)
    assert found.shape == noise.shape
    assert np.isfinite(found).all()
    assert model.to_noise([one[:60, :50] for one in pictures], steps=1).shape == (2, 4, 8, 6)
    assert model.pipeline.scheduler is usual


def test_ddim_backwards_undoes_ddim(tiny):
    """The two halves alone, without the autoencoder: with random weights a step back and forth is nearly exact."""
    model = text(tiny, "text_to_image")
    noise = model.noise([1, 2], 64)
    clean = _denoised(model, noise, "DDIMScheduler")
    back = _denoised(model, clean, "DDIMInverseScheduler")
    assert np.corrcoef(back.ravel(), noise.ravel())[0, 1] > 0.95
    assert np.abs(clean - noise).mean() > 5 * np.abs(back - noise).mean()


def _denoised(model, latents, scheduler):
    import torch

    with torch.inference_mode(), model._scheduler(scheduler):
        found = model._latents(torch.from_numpy(latents.copy()), ["", ""], 1, 10, 64, 64)
    return found.numpy()
