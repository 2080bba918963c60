"""Decoding in half precision: decided by the autoencoder's configuration, and by what it gives."""

from __future__ import annotations

import hub_layouts
import numpy as np
import pytest
import torch

from variorum.models.loaders.stable_diffusion import DIFFUSION

SIDE = 64


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Loads a model of the table in float16, as on a GPU."""
    home = tmp_path_factory.mktemp("hub")

    def load(alias):
        return DIFFUSION.load(hub_layouts.entries()[alias], hub_layouts.snapshot(alias, home), {})

    return load


@pytest.fixture
def decoded_in(monkeypatch):
    """The dtypes that autoencoders decode in."""
    from diffusers import AutoencoderKL

    seen, real = [], AutoencoderKL.decode

    def noted(self, latents, **how):
        assert self.dtype == latents.dtype
        seen.append(self.dtype)
        return real(self, latents, **how)

    monkeypatch.setattr(AutoencoderKL, "decode", noted)
    return seen


def drawn(model):
    return model(["a cat"], [""], [1], steps=1, guidance=2.0, size=SIDE)[0]


def test_sdxl_decodes_in_float32_and_stable_diffusion_1_does_not_though_both_say_so(half, decoded_in, monkeypatch):
    from diffusers import StableDiffusionXLPipeline

    monkeypatch.delattr(StableDiffusionXLPipeline, "upcast_vae", raising=False)
    xl, small = half("text_to_image"), half("text_to_image_small")
    assert xl.pipeline.vae.config.force_upcast
    assert small.pipeline.vae.config.force_upcast
    for model, dtype in ((xl, torch.float32), (small, torch.float16)):
        assert drawn(model).std() > 2
        assert decoded_in.pop() == dtype
        assert model.pipeline.vae.dtype == torch.float16


def test_an_autoencoder_that_overflows_decodes_in_float32_from_then_on(half, decoded_in):
    model = half("text_to_image_small")
    with torch.no_grad():
        model.pipeline.vae.decoder.conv_in.weight.mul_(1e5)  # the norm behind it takes it back, if it is finite
    first = drawn(model)
    assert first.std() > 2
    assert decoded_in == [torch.float16, torch.float32]
    assert np.array_equal(drawn(model), first)
    assert decoded_in == [torch.float16, torch.float32, torch.float32]


def test_latents_that_are_no_numbers_are_the_networks_fault(half, decoded_in):
    model = half("text_to_image_small")
    with torch.no_grad():
        model.pipeline.unet.conv_out.weight.fill_(torch.nan)
    assert not drawn(model).any()
    drawn(model)
    assert decoded_in == [torch.float16, torch.float16]
