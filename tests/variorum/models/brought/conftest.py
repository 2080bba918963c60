"""Checkpoints with random weights, and pictures of several sizes.

What the random networks say means nothing. They test that a checkpoint is loaded as its library loads it, and called
with what the library's own pipeline would give it.
"""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def pictures():
    """Seven crops of photographs: wide, high, smaller than a network's input, one read-only."""
    from skimage import data

    cat, coffee = data.chelsea(), data.coffee()
    found = [cat, coffee, cat[:60, 40:90], cat[:, 100:220], coffee[100:160], cat[::2, ::2], coffee[:300, 10:400]]
    found = [np.ascontiguousarray(one) for one in found]
    found[1].setflags(write=False)
    return found


@pytest.fixture(scope="session")
def timm_folder(tmp_path_factory):
    """A tiny vision transformer of timm for three classes, with their names."""
    import timm
    import torch
    from timm.models._hub import save_for_hf

    folder = tmp_path_factory.mktemp("brought") / "tiny_vit"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = timm.create_model("test_vit", num_classes=3)
    labels = {"label_names": ["cat", "cup", "other"]}
    save_for_hf(network, folder, model_config=labels, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def torchvision_state():
    """State dict of a small network of torchvision for six classes."""
    import torch
    from torchvision.models import get_model

    with torch.random.fork_rng():
        torch.manual_seed(2)
        return get_model("squeezenet1_1", weights=None, num_classes=6).state_dict()


@pytest.fixture(scope="session")
def torchvision_file(tmp_path_factory, torchvision_state):
    """The state dict as safetensors."""
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("brought") / "six.safetensors"
    save_file(torchvision_state, path)
    return path


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory):
    """A tiny ResNet of transformers for three classes with names."""
    import torch
    from transformers import BitImageProcessor, ResNetConfig, ResNetForImageClassification

    folder = tmp_path_factory.mktemp("brought") / "tiny_resnet"
    names = dict(enumerate(["cat", "cup", "other"]))
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=names)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        ResNetForImageClassification(config).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Puts a folder into an empty Hub cache as commit `1111…` of `owner/tiny`; there is no network."""
    import shutil

    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def keep(folder, *, leave_out=()):
        repo = cache / "models--owner--tiny"
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text("1" * 40)
        shutil.copytree(folder, repo / "snapshots" / ("1" * 40), ignore=shutil.ignore_patterns(*leave_out))
        return repo / "snapshots" / ("1" * 40)

    return keep
