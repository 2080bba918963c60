"""The training scripts on a few made-up pictures; a stopped run continues without a difference."""

from __future__ import annotations

import argparse
import gzip
import math
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training import evaluate_fashion_mnist, fashion_mnist, fashion_mnist_diffusion, fashion_mnist_judge
from variorum.models.loaders.class_conditional import unfolded

WEIGHTS = "diffusion_pytorch_model.fp16.safetensors"


def grey(n):
    return np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fashion-mnist")
    for part, n in (("train", 40), ("t10k", 20)):
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4i", 0x803, n, 28, 28) + grey(n).tobytes())
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">2i", 0x801, n) + bytes(k % 10 for k in range(n)))
    return folder


def test_idx_files_are_read_as_they_were_written(data):
    images, labels = fashion_mnist.read("train", data)
    assert np.array_equal(images, grey(40))
    assert labels.tolist() == [k % 10 for k in range(40)]
    with pytest.raises(SystemExit, match="install dataset-fashion-mnist or name its folder"):
        fashion_mnist.read("train", data / "nowhere")


def test_what_training_folds_sampling_unfolds():
    images = grey(3)
    folded = fashion_mnist_diffusion.folded(images)
    assert folded.shape == (3, 4, 14, 14)
    assert float(folded.abs().max()) <= 1
    assert np.array_equal(unfolded(folded), np.repeat(images[..., None], 3, axis=-1))


def test_a_stopped_run_goes_on_as_if_it_had_not_been(data, tmp_path):
    def run(folder, minutes):
        fashion_mnist_diffusion.train(argparse.Namespace(steps=2, minutes=minutes, seed=1, data=data, out=folder))
        return load_file(folder / "model" / WEIGHTS)

    first = run(tmp_path / "stopped", 1e-9)
    gone_on, straight = run(tmp_path / "stopped", math.inf), run(tmp_path / "straight", math.inf)
    assert all(torch.equal(gone_on[name], straight[name]) for name in straight)
    assert any(not torch.equal(first[name], straight[name]) for name in straight)
    assert {value.dtype for value in straight.values()} == {torch.float16}


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [fashion_mnist_diffusion.learning_rate(step, 300) for step in range(300)]
    assert max(rates) == pytest.approx(fashion_mnist_diffusion.RATE)
    assert rates.index(max(rates)) in (49, 50)
    assert 0 < rates[-1] < 0.01 * max(rates)


def test_a_shift_moves_a_picture_and_lets_black_in():
    batch = torch.full((60, 1, 28, 28), -1.0)
    batch[:, 0, 10, 14] = 1
    moved = fashion_mnist_judge.shifted(batch, torch.Generator().manual_seed(0))
    assert moved.shape == batch.shape
    places = {tuple(place.tolist()) for picture in moved for place in (picture[0] == 1).nonzero()}
    assert {row for row, _ in places} == set(range(8, 13))
    assert {column for _, column in places} == set(range(12, 17))
    assert float(moved.sum()) == float(batch.sum())


def test_a_student_that_is_far_behind_its_teacher_is_not_saved(tmp_path, monkeypatch):
    if not fashion_mnist.DEBIAN.exists():
        pytest.skip("Fashion-MNIST isn't here: make fashion")
    read = fashion_mnist.read
    monkeypatch.setattr(fashion_mnist_judge, "read", lambda *given: tuple(part[:256] for part in read(*given)))
    place = tmp_path / "student"
    asked = argparse.Namespace(seed=0, epochs=1, temperature=100.0, data=fashion_mnist.DEBIAN, out=place)
    with pytest.raises(SystemExit, match="more than 2 points behind its teacher"):
        fashion_mnist_judge.train(asked)
    assert not place.exists()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_would_train_no_student_is_refused(temperature):
    with pytest.raises(SystemExit, match="above 0 and finite"):
        fashion_mnist_judge.train(argparse.Namespace(temperature=temperature))


def test_diversity_and_novelty_by_hand():
    images = np.zeros((4, 28, 28), np.uint8)
    images[1, 0, 0] = images[3, 0, :4] = 255
    labels = np.array([0, 0, 1, 1])
    vectors = evaluate_fashion_mnist.flat(images)
    assert np.sqrt(evaluate_fashion_mnist.squared_distances(vectors, vectors))[2, 3] == pytest.approx(2)
    assert evaluate_fashion_mnist.spread(images, labels) == pytest.approx((1 + 2) / 2)
    assert evaluate_fashion_mnist.nearest(images, vectors[:1]) == pytest.approx((0 + 1 + 0 + 2) / 4)
