"""The loader `autoencoder` on random weights, and the packaged denoiser of small grey pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from variorum.models import packaged
from variorum.models.loaders.autoencoders import AUTOENCODER
from variorum.models.loaders.denoisers import FOLDED_DENOISER
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable


def entry(folder, loader="autoencoder", **options):
    return Entry(
        name="tiny",
        loader=loader,
        local={"path": str(folder)},
        options=options,
        licence="none",
        source="random weights",
    )


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_latents_are_an_eighth_of_the_picture_and_features_are_the_latents(tiny):
    folder = tiny / "text_to_image"
    model = AUTOENCODER.load(entry(folder, part="vae"), folder, {})
    image = noise(0, 32, 48)
    latents = model.encode([image])
    assert latents.shape == (1, 4, 4, 6)
    assert model.multiple == 8
    (back,) = model.decode(latents)
    assert back.shape == image.shape
    assert back.dtype == np.uint8
    pictures = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
    assert torch.allclose(model.features(pictures), latents.flatten(1), atol=1e-5)


def test_a_folder_without_an_autoencoder_is_refused(tiny, tmp_path):
    with pytest.raises(ModelUnavailable, match="can't be loaded as AutoencoderKL"):
        AUTOENCODER.load(entry(tmp_path), tmp_path, {})
    photographs = Path(packaged.__path__[0]) / "photo_denoiser"
    with pytest.raises(ModelUnavailable, match="is no class-conditional network of folded grey pictures"):
        FOLDED_DENOISER.load(entry(photographs, "folded_denoiser"), photographs, {})


def test_the_denoiser_of_small_pictures_takes_noise_away(table):
    model = table.get("denoiser_small")
    images = list(table.get("class_conditional")([1, 8], [1, 2], guidance=1.5, steps=5, sampler="dpm++"))
    clean = model.encode(images)
    assert clean.shape == (2, 1, 28, 28)
    assert all(np.array_equal(a, b) for a, b in zip(model.decode(clean), images, strict=True))
    assert torch.allclose(model.preview(clean)[:, 1], (clean[:, 0] + 1) / 2)
    drawn = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for step in (100, 300, 500):
        share = float(model.signal[step])
        state = share**0.5 * clean + (1 - share) ** 0.5 * drawn
        with torch.no_grad():
            found = model.predict(state, step).clean
        noisy = (state / share**0.5 - clean).square().mean()
        assert (found - clean).square().mean() < noisy / 4
