"""Folders that don't hold the model of the table: one clear error, whatever the library raises."""

from __future__ import annotations

import json

import pytest
from hub_layouts.clip import clip_large
from tiny_pipelines import save_conditioned

from variorum.models.loaders import find_loader
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

OPTIONS = {
    "diffusion": {"task": "text_to_image"},
    "folded_unet": {"classes": ("a", "b")},
}
LOADERS = (
    "class_diffusion",
    "control_network",
    "detection",
    "diffusion",
    "folded_unet",
    "image_classification",
    "image_embedding",
    "latent_denoiser",
    "pixel_denoiser",
    "safety_checker",
    "tiny_autoencoder",
    "vision_language",
    "zero_shot",
)


def load(loader, folder):
    fields = {"name": "tiny", "loader": loader, "local": {"path": str(folder)}, "licence": "none", "source": "made up"}
    entry = Entry(**fields, options=OPTIONS.get(loader, {}))
    return find_loader(loader).load(entry, folder, {})


@pytest.mark.parametrize("content", [None, b"", b"not JSON"], ids=["no config", "empty config", "no JSON"])
@pytest.mark.parametrize("loader", LOADERS)
def test_a_folder_of_something_else(tmp_path, loader, content):
    (tmp_path / "x.safetensors").write_bytes(b"")
    for name in ("config.json", "model_index.json", "preprocessor_config.json") if content is not None else ():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelUnavailable, match=str(tmp_path)):
        load(loader, tmp_path)


@pytest.fixture
def cut(tmp_path):
    """A model with truncated weights, by loader."""

    def model(loader):
        import diffusers

        if loader == "zero_shot":
            clip_large(tmp_path)
        elif loader == "control_network":
            save_conditioned(tmp_path)
        else:
            diffusers.AutoencoderTiny(
                encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4
            ).save_pretrained(tmp_path)
        folder = tmp_path / "control" if loader == "control_network" else tmp_path
        for path in folder.glob("*.safetensors"):
            path.write_bytes(path.read_bytes()[:-100])
        return folder

    return model


@pytest.mark.parametrize("loader", ["zero_shot", "control_network", "tiny_autoencoder"])
def test_weights_that_end_too_early(cut, loader):
    folder = cut(loader)
    with pytest.raises(ModelUnavailable, match=r"\.safetensors is cut off or damaged .*; fetch or save it again$"):
        load(loader, folder)


def test_a_class_of_another_library_is_no_pipeline(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "SomethingNew"}))
    with pytest.raises(ModelUnavailable, match=r"names the pipeline SomethingNew, which diffusers .* doesn't have"):
        load("diffusion", tmp_path)
