"""The learned watermark's training on made-up photographs; a stopped run continues without a difference."""

from __future__ import annotations

import argparse
import json
import math
import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training import evaluate_watermark, watermark
from training.photographs import HELD_OUT, held_out
from variorum.models.loaders.learned_watermark import WEIGHTS
from variorum.models.watermark_network import BITS, BLUE, LUMINANCE, SHARE, box

SMALL = argparse.Namespace(BATCH=2, GROUPS=2, CROP=128)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in vars(SMALL).items():
        monkeypatch.setattr(watermark, name, value)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backgrounds")
    for number, name in enumerate(watermark.PHOTOGRAPHS):
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(file), cv2.resize(coarse, (400, 300)))
    return folder


@pytest.fixture(scope="module")
def pictures(data):
    return watermark.photographs(data)


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return cv2.GaussianBlur(cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC), (0, 0), 1)


def tensor(image):
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None] / 255


# ── photographs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_photographs_are_shrunk_to_the_sides_that_they_have(data, pictures):
    assert len(pictures) == 29
    assert [min(level.shape[:2]) for level in pictures[0]] == [256]
    assert [min(level.shape[:2]) for level in pictures[len(watermark.PHOTOGRAPHS)]] == [256, 320, 448]
    with pytest.raises(SystemExit, match="install budgie-backgrounds and lomiri-wallpapers"):
        watermark.photographs(data / "nowhere")


def test_every_photograph_is_credited_and_free():
    credits = [*watermark.PHOTOGRAPHS.values(), *watermark.SCIKIT_IMAGE.values()]
    assert {text.rpartition(", ")[2] for text in credits} == {"CC0-1.0", "CC-BY-4.0", "public domain"}


def test_crops_depend_on_the_generator_alone(pictures):
    first, second, third = (watermark.crops(pictures, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 3, 128, 128)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert 0 <= first.min() < first.max() <= 1


# ── distortions ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("quality", [35, 50, 90])
def test_differentiable_jpeg_is_close_to_a_real_one(quality):
    image = picture(1)
    values = tensor(image).requires_grad_()
    made = watermark.jpeg(values, quality)
    made.square().sum().backward()
    assert values.grad is not None
    assert values.grad.abs().max() > 0
    ours = (made.detach()[0].permute(1, 2, 0).numpy() * 255).round().clip(0, 255)
    real = evaluate_watermark.jpeg(image, quality).astype(float)
    lost = np.sqrt(np.mean((real - image) ** 2))
    assert np.sqrt(np.mean((ours - real) ** 2)) < max(0.6 * lost, 2)


@pytest.mark.parametrize("kind", sorted(set(watermark.KINDS)))
def test_distortions_keep_size_and_gradient_and_do_nothing_at_strength_0(kind):
    values = tensor(picture(2)).requires_grad_()
    shown = watermark.distorted(values, kind, 1.0, np.random.default_rng(0))
    assert shown.shape == values.shape
    shown.sum().backward()
    assert values.grad is not None
    assert values.grad.abs().sum() > 0
    weak = watermark.distorted(values.detach(), kind, 0.0, np.random.default_rng(0))
    assert (weak - values).abs().mean() < (0.02 if kind == "jpeg" else 1e-4)


def test_rounding_lets_gradients_through():
    values = torch.tensor([0.1234, 0.5, 1.2]).requires_grad_()
    out = watermark.rounded(values)
    out.sum().backward()
    assert torch.allclose(out * 255, (out * 255).round(), atol=1e-4)
    assert values.grad is not None
    assert values.grad.tolist() == [1, 1, 0]


# ── the networks ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_box_is_a_mean_over_reflected_windows():
    values = np.random.default_rng(0).random((20, 24)).astype(np.float32)
    found = box(torch.from_numpy(values)[None, None], 5)[0, 0].numpy()
    assert np.allclose(found, cv2.blur(values, (5, 5), borderType=cv2.BORDER_REFLECT_101), atol=1e-5)


def test_a_mark_has_the_power_that_is_asked_for_and_its_share_of_luminance():
    torch.manual_seed(0)
    model = watermark.Trained()
    shown = torch.cat([tensor(picture(seed)) for seed in (1, 2)])
    bits = torch.ones(2, BITS)
    with torch.no_grad():
        mark = model.residual(shown, bits)
    assert torch.allclose(mark.square().mean((1, 2, 3)), torch.ones(2), atol=0.02)
    luminance = (mark * torch.tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1)
    assert torch.allclose(luminance.square().mean((1, 2)), torch.full((2,), SHARE), atol=1e-3)
    assert sum(a * b for a, b in zip(LUMINANCE, BLUE, strict=True)) == pytest.approx(0, abs=1e-9)


def test_bits_are_read_from_the_start_but_not_from_an_unmarked_picture():
    torch.manual_seed(0)
    model = watermark.Trained()
    shown = torch.cat([tensor(picture(seed)) for seed in range(4)])
    bits = torch.from_numpy(np.random.default_rng(0).integers(2, size=(4, BITS)))
    with torch.no_grad():
        marked = watermark.marked(model, shown, bits * 2.0 - 1, torch.full((4,), 34.0))
        read, unmarked = model.read(marked) > 0, model.read(shown) > 0
    assert ((read == bits.bool()).double().mean()) > 0.97
    assert 0.3 < ((unmarked == bits.bool()).double().mean()) < 0.7


# ── training ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_servo_distorts_first_then_weakens_the_mark():
    assert watermark.moved(34, 0.5, 0.99) == (34, 0.505, 0.99)
    assert watermark.moved(34, 1, 0.99) == (34.02, 1, 0.99)
    assert watermark.moved(watermark.MOST, 1, 0.99) == (watermark.MOST, 1, 0.99)
    assert watermark.moved(36, 1, 0.9) == (36, 1, 0.9)
    assert watermark.moved(36, 1, 0.8) == (35.98, 1, 0.8)
    assert watermark.moved(watermark.LEAST, 1, 0.8) == (watermark.LEAST, 1, 0.8)


def test_fewer_steps_are_a_longer_run_cut_short_but_for_the_end():
    rate = watermark.learning_rate
    assert [rate(step, 2000) for step in range(1600)] == [rate(step, 9000) for step in range(1600)]
    assert rate(2000, 2000) == 0 < rate(1999, 2000) < rate(1600, 2000) == watermark.RATE


def test_a_few_steps_lower_the_loss(pictures, monkeypatch):
    monkeypatch.setattr(watermark, "MOST", 44.0)
    torch.manual_seed(0)
    model = watermark.Trained()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)

    def loss():
        model.servo.copy_(torch.tensor([44.0, 0.0, 0.9]))
        return watermark.loss_of(model, pictures, 7)

    before = loss().item()
    for _ in range(2):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss().item() < 0.9 * before


def test_a_stopped_run_goes_on_as_if_it_had_not_been(data, tmp_path, capsys):
    def run(folder, minutes):
        watermark.train(argparse.Namespace(steps=2, minutes=minutes, seed=1, data=data, out=folder))
        return load_file(folder / "model" / WEIGHTS)

    first = run(tmp_path / "stopped", 1e-9)
    gone_on, straight = run(tmp_path / "stopped", math.inf), run(tmp_path / "straight", math.inf)
    assert all(torch.equal(gone_on[name], straight[name]) for name in straight)
    assert any(not torch.equal(first[name], straight[name]) for name in straight)
    assert "mark at 34.0 dB, distortions 0.0" in capsys.readouterr().out


# ── evaluation ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("model")
    watermark.save(place, watermark.Trained().state_dict())
    return place


def test_evaluation_prints_bits_by_distortion(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_watermark, "DISTORTIONS", {"jpeg 50": evaluate_watermark.DISTORTIONS["jpeg 50"]})
    shown = tmp_path / "shown"
    shown.mkdir()
    for seed in range(2):
        cv2.imwrite(str(shown / f"{seed}.png"), cv2.resize(picture(seed), (160, 140)))
    options = ["--model", str(folder), "--pictures", str(shown), "--side", "128"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *options, "--decibels", "36"])
    evaluate_watermark.main()
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 2
    assert found["36 dB"]["psnr"]["mean"] == pytest.approx(36, abs=0.1)
    assert set(found["36 dB"]["distortions"]) == {"jpeg 50", "unmarked"}
    monkeypatch.setattr(sys, "argv", ["evaluate", *options, "--sheet", str(tmp_path / "sheet.png")])
    evaluate_watermark.main()
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (2 * 256, 4 * 256, 3)


def test_held_out_pictures_are_packaged_squares():
    found = held_out(None, 64)
    assert [image.shape for image in found] == [(64, 64, 3)] * 3
    assert not any(file in watermark.SCIKIT_IMAGE for _, path in HELD_OUT for file in [path[5:]])
