"""The enhancer's training: the same weights for the same seed, and noise comes back as it was, but smoother."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training import evaluate_noiser, noiser
from variorum.models import ModelTable
from variorum.models.loaders.noise_regression import NOISE_REGRESSION, WEIGHTS


def trained(folder, **changed):
    settings = {"steps": 3, "hidden": 4, "padding": "replicate", "seed": 1, "out": folder}
    return noiser.train(argparse.Namespace(**{**settings, **changed}))


def test_a_seed_gives_its_weights_whatever_was_drawn_before(tmp_path):
    trained(tmp_path / "first")
    state = torch.random.get_rng_state()
    torch.rand(7)
    report = trained(tmp_path / "second")
    other = trained(tmp_path / "other", seed=2)
    first, second, third = (load_file(tmp_path / name / WEIGHTS) for name in ("first", "second", "other"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["0.weight"], third["0.weight"])
    assert report["parameters"] == 3 * 4 * 9 + 4 * 3 * 9 + 3
    assert report["loss"] != other["loss"]
    torch.random.set_rng_state(state)


def test_the_loss_is_mean_error_and_squared_slopes():
    noise = torch.zeros(1, 3, 2, 2)
    found = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).expand(1, 3, 2, 2)
    assert float(noiser.loss_of(lambda _: found, noise)) == pytest.approx(0.5 + 2 / 4)


def test_what_was_trained_is_loaded_in_place_of_the_packaged(tmp_path):
    trained(tmp_path, hidden=5)
    entry = ModelTable("embedded").entry("low_light_enhancer")
    model = NOISE_REGRESSION.load(entry, tmp_path, {})
    (found,) = model([np.random.default_rng(0).integers(0, 60, (40, 40, 3), dtype=np.uint8)])
    assert found.shape == (40, 40, 3)


@pytest.mark.slow
def test_it_trains_in_a_minute_of_cpu_time_and_makes_dark_pictures_bright(tmp_path):
    report = trained(tmp_path, hidden=noiser.HIDDEN, steps=2000)
    assert report["cpu_seconds"] < 60
    assert 0.7 < report["loss"] < 0.8  # black gives 0.87; noise of another deviation gives less
    dark = np.random.default_rng(0).integers(0, 30, (64, 64, 3), dtype=np.uint8)
    (found,) = NOISE_REGRESSION.load(ModelTable("embedded").entry("low_light_enhancer"), tmp_path, {})([dark])
    assert found.mean() == pytest.approx(127, abs=10)


def test_the_edge_is_how_far_the_outer_pixels_stand_out():
    image = np.full((9, 12, 3), 90, np.uint8)
    assert evaluate_noiser.edge(image) == 0
    image[0], image[-1], image[:, 0], image[:, -1] = 96, 96, 96, 96
    assert evaluate_noiser.edge(image) == 6


def test_zeros_around_a_picture_leave_a_frame_and_repeated_pixels_do_not(tmp_path):
    flat = np.full((40, 40, 3), 30, np.uint8)
    edges = []
    for padding in ("replicate", "zeros"):
        trained(tmp_path / padding, padding=padding)
        edges.append(evaluate_noiser.edge(evaluate_noiser.enhancer(tmp_path / padding, padding)(flat)))
    assert edges[0] == 0 < 1 < edges[1]
