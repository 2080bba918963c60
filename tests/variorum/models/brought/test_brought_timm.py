"""Models of timm, with random weights: the same as timm's own pipeline gives."""

from __future__ import annotations

import json

import numpy as np
import pytest

from variorum.models.brought import find
from variorum.models.brought.names import look_up
from variorum.schemas.errors import ModelUnavailable, RecipeError


def by_timm(folder, pictures):
    import timm
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config

    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        return network(torch.stack([transform(Image.fromarray(one)) for one in pictures])).softmax(-1).numpy()


def test_a_folder_gives_what_timm_gives(timm_folder, pictures):
    model = find(f"timm:local-dir:{timm_folder}")
    found = model(pictures)
    assert found == pytest.approx(by_timm(timm_folder, pictures), abs=1e-6)
    assert found.std(axis=0).max() > 1e-3  # pictures differ
    assert model.classes == ("cat", "cup", "other")
    assert model.preprocessing == (
        "Shorter side to 168 px (bicubic), centre 160 × 160 px, values (x / 255 - mean) / std, mean 0.5 0.5 0.5, "
        "std 0.5 0.5 0.5 (timm's transform)."
    )
    assert model.revision.startswith("sha256:")
    alone = np.concatenate([model([picture]) for picture in pictures])
    assert found == pytest.approx(alone, abs=1e-6)


def test_a_repository_in_the_hubs_cache_is_read_without_a_network(timm_folder, hub, pictures):
    hub(timm_folder)
    model = find("timm:hf-hub:owner/tiny")
    assert model.revision == f"git:{'1' * 40}"
    assert model(pictures) == pytest.approx(by_timm(timm_folder, pictures), abs=1e-6)
    assert look_up(f"timm:hf-hub:owner/tiny@{'1' * 40}").pin == f"timm:owner/tiny@git:{'1' * 40}+brought.1"


def test_a_name_of_timm_is_read_from_its_repository(timm_folder, hub, pictures, monkeypatch):
    """`test_vit.r160_in1k` stands for a repository of the Hub; the cache has other, random weights in its place."""
    import timm
    from safetensors.torch import save_file

    network = timm.create_model("test_vit")
    save_file(network.state_dict(), timm_folder.parent / "thousand.safetensors")
    folder = hub(timm_folder, leave_out=["model.safetensors"])
    (folder / "model.safetensors").write_bytes((timm_folder.parent / "thousand.safetensors").read_bytes())
    config = timm.models.get_pretrained_cfg("test_vit.r160_in1k")
    monkeypatch.setattr(config, "hf_hub_id", "owner/tiny")
    monkeypatch.setattr(timm.models, "get_pretrained_cfg", lambda name: config)
    from timm.models import _registry

    for known in (_registry._model_pretrained_cfgs, getattr(_registry, "_model_default_cfgs", {})):
        if "test_vit.r160_in1k" in known:
            monkeypatch.setitem(known, "test_vit.r160_in1k", config)
    model = find("timm:test_vit.r160_in1k")
    assert (model.classes, model.outputs) == ((), 1000)
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    transform = create_transform(**resolve_data_config(pretrained_cfg=config.to_dict()))
    with torch.inference_mode():
        batch = torch.stack([transform(Image.fromarray(one)) for one in pictures])
        assert model(pictures) == pytest.approx(network.eval()(batch).softmax(-1).numpy(), abs=1e-6)


@pytest.mark.parametrize(("outputs", "first", "last"), [(21841, "n00004475", "n15102894"), (12, None, None)])
def test_classes_of_a_larger_imagenet_are_its_wnids(outputs, first, last):
    from variorum.models.brought.timm import class_names

    found = class_names({}, outputs)
    assert len(found) == (outputs if first else 0)
    assert not first or (found[0], found[-1]) == (first, last)
    assert class_names({"label_names": {"1": "b", "0": "a"}}, 2) == ("a", "b")
    assert class_names({"label_names": ["a", "b", "c"]}, 2) == ()


def test_a_checkpoint_as_a_pickle_is_refused(timm_folder, tmp_path):
    import timm
    from timm.models._hub import save_for_hf

    network = timm.create_model("test_vit", num_classes=3)
    save_for_hf(network, tmp_path / "pickled")
    with pytest.raises(
        ModelUnavailable, match=r"its pytorch_model.bin is a pickle, .*safe_serialization=True\) writes"
    ):
        find(f"timm:local-dir:{tmp_path / 'pickled'}")


def test_wrong_folders_and_names_are_named(timm_folder, tmp_path, hub):
    with pytest.raises(RecipeError, match=r"no architecture 'resnet5'; did you mean timm:resnet50"):
        find("timm:resnet5")
    with pytest.raises(RecipeError, match=r"no weights 'a9' for resnet10t; there are: c3_in1k"):
        find("timm:resnet10t.a9")
    with pytest.raises(RecipeError, match="has no classes: it returns features; take weights of a classifier"):
        find("timm:vit_small_patch14_dinov2.lvd142m")
    with pytest.raises(ModelUnavailable, match="the path of its folder is missing"):
        find("timm:local-dir:")
    with pytest.raises(RecipeError, match="after timm: give a name of timm, hf-hub:owner/name or local-dir:FOLDER"):
        find("timm:file:x")
    with pytest.raises(ModelUnavailable, match=r"missing doesn't exist; a path is relative to the current folder"):
        find(f"timm:local-dir:{tmp_path / 'missing'}")
    with pytest.raises(ModelUnavailable, match=r"config.json isn't a folder"):
        find(f"timm:local-dir:{timm_folder / 'config.json'}")
    with pytest.raises(ModelUnavailable, match=r"it has no config.json, which timm.models.save_for_hf writes"):
        find(f"timm:local-dir:{tmp_path}")
    (tmp_path / "config.json").write_bytes((timm_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelUnavailable, match="its weights have 10 bytes"):
        find(f"timm:local-dir:{tmp_path}")
    config = json.loads((timm_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_args": {"num_classes": 4}}))
    (tmp_path / "model.safetensors").write_bytes((timm_folder / "model.safetensors").read_bytes())
    with pytest.raises(ModelUnavailable, match="says 3 classes in one place and 4 in another"):
        find(f"timm:local-dir:{tmp_path}")
    with pytest.raises(
        ModelUnavailable, match=r"owner/tiny isn't in the Hub's cache and can't be downloaded .*`hf down"
    ):
        find("timm:hf-hub:owner/tiny")
    with pytest.raises(RecipeError, match="owner/name"):
        find("timm:hf-hub:tiny")


def test_without_timm_the_way_to_install_it_is_named(monkeypatch):
    from variorum.schemas import extras

    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(ModelUnavailable, match="needs the package timm: pip install timm"):
        find("timm:resnet50")
