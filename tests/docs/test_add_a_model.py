"""The entries and the loader on docs/guides/add_a_model.md work as they stand, on random weights."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from variorum.models import ModelTable, loaders
from variorum.schemas.errors import ModelUnavailable

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "add_a_model.md").read_text()
FILES = dict(re.findall(r"^```(?:toml|python)\n# (\w+\.\w+)\n((?:.|\n)*?)^```$", PAGE, re.MULTILINE))


def save_beit(folder):
    from transformers import BeitConfig, BeitForImageClassification, BeitImageProcessor

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BeitForImageClassification(BeitConfig(**sizes, image_size=64, patch_size=16, num_labels=1000)).save_pretrained(
        folder
    )
    BeitImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False).save_pretrained(folder)


def save_conditional_detr(folder):
    import torch
    from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection, ConditionalDetrImageProcessor

    widths = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "num_queries": 20, "num_labels": 2}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = ConditionalDetrConfig(
        backbone="test_resnet",
        use_timm_backbone=True,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        id2label={0: "cat", 1: "dog"},
        **widths,
        **heads,
    )
    model = ConditionalDetrForObjectDetection(config)
    torch.nn.init.normal_(model.class_labels_classifier.weight)
    model.save_pretrained(folder)
    ConditionalDetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)


def save_segformer(folder, labels=2):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1] * 4, decoder_hidden_size=8
    )
    config.num_labels = labels
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with the page's tables and room for loaders; the torch generator stays as it was."""
    import torch

    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(loaders, "__path__", [*loaders.__path__, str(tmp_path)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield tmp_path


@pytest.fixture
def pictures():
    from skimage import data

    return [data.chelsea()[:120, :160], data.coffee()[:90, :70]]


def test_the_entries_name_a_classifier_and_a_detector(place, pictures, monkeypatch):
    save_beit(place / "checkpoints" / "beit")
    save_conditional_detr(place / "checkpoints" / "conditional_detr")
    monkeypatch.setenv("VARIORUM_MODELS", "my_models.toml")
    table = ModelTable("embedded")
    assert [table.status(alias).state for alias in ("classifier_beit", "detector_conditional")] == ["ready", "ready"]
    probabilities = table.get("classifier_beit")(pictures)
    assert probabilities.shape == (2, 1000)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert table.role("classifier_beit") == "classifier"
    detector = table.get("detector_conditional")
    assert detector.knows(["a cat", "Dog", "zebu"]) == [True, True, False]
    found = detector(pictures, ["dog", "cat"])
    assert all((one.scores > 0.1).all() and {*one.texts.tolist()} <= {0, 1} for one in found)
    assert sum(len(one.scores) for one in found)


def test_the_loader_makes_a_segmenter(place, pictures, monkeypatch):
    save_segformer(place / "checkpoints" / "segformer")
    monkeypatch.setenv("VARIORUM_MODELS", "my_segmenter.toml")
    monkeypatch.setattr(loaders, "LOADERS", {**loaders.LOADERS, **named(place / "two_class_segmentation.py")})
    table = ModelTable("embedded")
    assert table.status("segmenter").state == "ready"
    assert "two_class_segmentation.1" in table.pin("segmenter")
    together = table.get("segmenter")(pictures)
    for picture, one in zip(pictures, together, strict=True):
        assert one.mask.shape == picture.shape[:2]
        assert 0 <= one.mask.min() <= one.mask.max() <= 1
        assert np.ptp(one.mask) > 0
        assert one.mask == pytest.approx(table.get("segmenter")([picture])[0].mask, abs=1e-5)


def test_the_loader_refuses_a_network_of_more_classes(place, monkeypatch):
    save_segformer(place / "checkpoints" / "segformer", labels=3)
    monkeypatch.setenv("VARIORUM_MODELS", "my_segmenter.toml")
    monkeypatch.setattr(loaders, "LOADERS", {**loaders.LOADERS, **named(place / "two_class_segmentation.py")})
    with pytest.raises(ModelUnavailable, match="my-segformer has 3 classes; this loader needs two"):
        ModelTable("embedded").get("segmenter")


def named(file):
    """The loaders that a file defines, as the package finds those of its own files."""
    importlib.invalidate_caches()
    return {name.lower(): file.stem for name in loaders.PLATE.findall(file.read_text())}
