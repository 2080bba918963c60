"""SDXL-Turbo and -Lightning on tiny checkpoints laid out as the published ones."""

from __future__ import annotations

import hub_layouts
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from variorum.models.loaders.stable_diffusion import DIFFUSION
from variorum.schemas.errors import ModelUnavailable

SIDE = 64


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


def loaded(alias, home, used=None, folder=None, **changes):
    entry = hub_layouts.entries()[alias].model_copy(update={"dtype": "float32", **changes})
    return DIFFUSION.load(entry, folder or hub_layouts.snapshot(alias, home), used or {})


@pytest.fixture(scope="module")
def base(home):
    return loaded("text_to_image", home)


@pytest.fixture(scope="module")
def lightning(home, base):
    return loaded("text_to_image_lightning", home, {"text_to_image": base})


def drawn(model, seeds, steps=2, guidance=1.0, negative=""):
    prompts, negatives = ["a cat"] * len(seeds), [negative] * len(seeds)
    return model(prompts, negatives, seeds, steps=steps, guidance=guidance, size=SIDE)


def test_a_distilled_pipeline_begins_with_pure_noise_and_refuses_what_spoils_it(home):
    model = loaded("text_to_image_turbo", home)
    first, second = drawn(model, [1, 2])
    assert np.abs(first.astype(int) - drawn(model, [1])[0]).max() <= 1  # its sampler draws noise for each picture too
    assert np.abs(first.astype(int) - second).mean() > 2
    model.pipeline.scheduler.set_timesteps(4)
    assert model.pipeline.scheduler.timesteps.tolist() == [999, 749, 499, 249]
    for settings, said in (({"guidance": 7.5}, "a guidance of 1, not 7.5"), ({"steps": 50}, "at most 4 steps, not 50")):
        with pytest.raises(ValueError, match=said):
            drawn(model, [1], **settings)


def test_a_unet_alone_takes_the_place_of_that_of_the_pipeline_it_uses(home, base, lightning):
    file = hub_layouts.snapshot("text_to_image_lightning", home) / "sdxl_lightning_4step_unet.safetensors"
    published = load_file(file)
    held = lightning.pipeline.unet.state_dict()
    assert held.keys() == published.keys()
    assert all(torch.equal(held[name], published[name].float()) for name in held)
    before = drawn(base, [1], steps=4)[0]
    (made,) = drawn(lightning, [1], steps=4)
    assert np.abs(made.astype(int) - before).mean() > 2
    assert np.array_equal(drawn(base, [1], steps=4)[0], before)
    assert base.pipeline.scheduler.config.timestep_spacing == "leading"
    assert lightning.pipeline.vae is not base.pipeline.vae
    lightning.pipeline.scheduler.set_timesteps(4)
    assert lightning.pipeline.scheduler.timesteps.tolist() == [999, 749, 499, 249]


def test_a_unet_alone_is_complete_or_refused(home, base, tmp_path):
    used = {"text_to_image": base}
    file = hub_layouts.snapshot("text_to_image_lightning", home) / "sdxl_lightning_4step_unet.safetensors"
    tensors = load_file(file)
    name = "mid_block.resnets.0.conv1.weight"
    for broken, said in (
        ({key: one for key, one in tensors.items() if key != name}, "has no tensor"),
        ({**tensors, name: tensors[name][:1]}, "has another shape of the tensor"),
        ({**tensors, f"old_{name}": tensors[name].clone()}, "has an unknown tensor old_"),
    ):
        save_file(broken, tmp_path / "unet.safetensors")
        with pytest.raises(ModelUnavailable, match=f"{said} ?{name} of a U-Net"):
            loaded("text_to_image_lightning", home, used, tmp_path)
    (tmp_path / "unet.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelUnavailable, match="isn't the weights of a U-Net"):
        loaded("text_to_image_lightning", home, used, tmp_path)
    (tmp_path / "unet.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="has 0 safetensors files; it must have one"):
        loaded("text_to_image_lightning", home, used, tmp_path)
