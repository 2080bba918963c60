"""The denoiser's training on made-up photographs; a stopped run continues without a difference."""

from __future__ import annotations

import argparse
import math

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training import evaluate_photo_denoiser, photo_denoiser, photographs

WEIGHTS = "diffusion_pytorch_model.fp16.safetensors"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wallpapers")
    for number, name in enumerate(photo_denoiser.WALLPAPERS):
        coarse = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name}.jpg"), cv2.resize(coarse, (400, 300)))
    return folder


def test_photographs_are_shrunk_to_every_side_that_they_have(data):
    found = photo_denoiser.photographs(data)
    assert len(found) == len(photo_denoiser.WALLPAPERS) + len(photo_denoiser.SCIKIT_IMAGE)
    assert [min(picture.shape[:2]) for picture in found[0]] == [256]
    assert [min(picture.shape[:2]) for picture in found[len(photo_denoiser.WALLPAPERS)]] == [256, 384]
    with pytest.raises(SystemExit, match="install budgie-backgrounds or name its folder"):
        photo_denoiser.photographs(data / "nowhere")


def test_crops_depend_on_the_generator_alone(data):
    pictures = photo_denoiser.photographs(data)
    first, second, third = (photo_denoiser.crops(pictures, 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (5, 3, photo_denoiser.CROP, photo_denoiser.CROP)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert -1 <= first.min() < first.max() <= 1


def test_fewer_steps_are_a_longer_run_cut_short_but_for_the_end():
    rate = photo_denoiser.learning_rate
    assert rate(0, 1000) == pytest.approx(photo_denoiser.RATE / photo_denoiser.WARM_UP)
    assert [rate(step, 1000) for step in range(600)] == [rate(step, 4000) for step in range(600)]
    falling = [rate(step, 1000) for step in range(photo_denoiser.WARM_UP, 1001)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0 < falling[-2]


def test_a_stopped_run_goes_on_as_if_it_had_not_been(data, tmp_path, monkeypatch):
    monkeypatch.setattr(photo_denoiser, "BATCH", 2)

    def run(folder, minutes):
        photo_denoiser.train(argparse.Namespace(steps=2, minutes=minutes, seed=1, data=data, out=folder))
        return load_file(folder / "model" / WEIGHTS)

    first = run(tmp_path / "stopped", 1e-9)
    gone_on, straight = run(tmp_path / "stopped", math.inf), run(tmp_path / "straight", math.inf)
    assert all(torch.equal(gone_on[name], straight[name]) for name in straight)
    assert any(not torch.equal(first[name], straight[name]) for name in straight)


def test_the_filters_that_it_is_set_against_take_noise_out():
    clean = np.float32(photographs.held_out(None, 256)[1] / 255)
    sigma = 25 / 255
    noisy = clean + sigma * np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    before = evaluate_photo_denoiser.psnr(noisy, clean)
    for method in (evaluate_photo_denoiser.bilateral, evaluate_photo_denoiser.non_local_means):
        assert evaluate_photo_denoiser.psnr(method(noisy, sigma), clean) > before + 3
