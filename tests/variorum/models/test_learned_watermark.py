"""The learned watermark with the weights that training starts from: they read a strong mark already."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training import evaluate_watermark as measure
from training import watermark
from training.photographs import held_out
from variorum.models import ModelTable
from variorum.models.loaders.learned_watermark import LEARNED_WATERMARK
from variorum.schemas.errors import ModelUnavailable


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("watermark")
    watermark.save(place, watermark.Trained().state_dict())
    return place


@pytest.fixture(scope="module")
def model(folder):
    return measure.loaded(folder)


@pytest.fixture(scope="module")
def pictures():
    return held_out(None, 256)


@pytest.fixture(scope="module")
def payloads():
    return np.random.default_rng(1).integers(2, size=(3, 32)).astype(bool)


@pytest.fixture(scope="module")
def marked(model, pictures, payloads):
    return model.embed(pictures, payloads, 36.0)


def test_without_weights_the_table_says_why_and_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status = ModelTable("embedded").status("learned_watermark")
    assert status.state == "unavailable"
    assert "no weights are shipped: at 38 dB all bits survive JPEG at quality 50" in status.way_out
    assert "`python -m training.watermark --steps 2250 --out checkpoints/watermark`" in status.way_out


def test_weights_at_the_tables_path_are_used(folder, tmp_path, monkeypatch):
    (tmp_path / "checkpoints" / "watermark").mkdir(parents=True)
    (tmp_path / "checkpoints" / "watermark" / "model").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    table = ModelTable("embedded")
    assert table.status("learned_watermark").state == "ready"
    assert table.get("learned_watermark").read([np.zeros((64, 64, 3), np.uint8)]).shape == (1, 32)


def test_bits_survive_jpeg_and_distortions_that_keep_the_place(model, marked, payloads):
    for name in ("clean", "jpeg 50", "blur 1", "noise 0.05", "resize 0.5", "brightness 1.3"):
        found = model.read([measure.DISTORTIONS[name](image) for image in marked]) > 0
        assert (found == payloads).mean() >= 0.95, name


def test_unmarked_pictures_give_bits_by_chance(model, pictures, payloads):
    assert 0.25 < ((model.read(pictures) > 0) == payloads).mean() < 0.75


@pytest.mark.parametrize("decibels", [34.0, 42.0])
def test_psnr_is_what_is_asked_for(model, pictures, payloads, decibels):
    found = model.embed(pictures, payloads, decibels)
    assert [measure.psnr(*pair) for pair in zip(found, pictures, strict=True)] == pytest.approx([decibels] * 3, abs=0.1)


def test_a_picture_is_marked_alike_alone_and_among_others_of_other_sizes(model, pictures, payloads, marked):
    small = np.ascontiguousarray(pictures[1][:100, :141])
    together = model.embed([small, pictures[0]], payloads[:2], 36.0)
    assert together[0].shape == small.shape
    assert np.array_equal(together[0], model.embed([small], payloads[:1], 36.0)[0])
    assert np.array_equal(model.read([small, marked[2]])[1], model.read([marked[2]])[0])
    assert ((model.read(together[:1]) > 0) == payloads[0]).mean() > 0.9


def test_no_pictures_give_no_bits(model):
    assert model.read([]).shape == (0, 32)
    assert model.embed([], np.zeros((0, 32), bool), 38.0) == []


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_get_a_mark_that_is_no_stronger(model, payloads, level):
    flat = np.full((96, 96, 3), level, np.uint8)
    (found,) = model.embed([flat], payloads[:1], 38.0)
    assert measure.psnr(found, flat) >= 37.8


def test_other_weights_are_refused(tmp_path):
    entry = ModelTable("embedded").entry("learned_watermark")
    (tmp_path / "model.fp16.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelUnavailable, match="isn't a state dict of the learned watermark"):
        LEARNED_WATERMARK.load(entry, tmp_path, {})
