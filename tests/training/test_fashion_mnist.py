"""The training scripts on a few made-up pictures; a stopped run continues without a difference."""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import math
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training import evaluate_fashion_mnist, fashion_mnist, fashion_mnist_diffusion, fashion_mnist_judge
from variorum.models import ModelTable
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


def asked(out, *tricks, start=None, temperature=1.0):
    told = [fashion_mnist_judge.told(trick) for trick in tricks]
    common = {"seed": 0, "epochs": 1, "pictures": None, "data": fashion_mnist.DEBIAN, "out": out}
    return argparse.Namespace(tricks=told, temperature=temperature, **common, **{"from": start})


def few(monkeypatch):
    if not fashion_mnist.DEBIAN.exists():
        pytest.skip("Fashion-MNIST isn't here: make fashion")
    read = fashion_mnist.read
    monkeypatch.setattr(fashion_mnist_judge, "read", lambda *given: tuple(part[:256] for part in read(*given)))


TRICKS = ["noise:.25", "half:1", "adversarial:.1", "consistency:.25", "mixup:1", "cosine:16", "tract:.1"]


@pytest.mark.parametrize("trick", TRICKS)
def test_each_trick_lowers_its_own_loss(trick):
    torch.manual_seed(0)
    name, value = fashion_mnist_judge.told(trick)
    labels = torch.arange(30) % 10
    batch = torch.rand(10, 1, 28, 28)[labels] * 2 - 1
    model = fashion_mnist_judge.network(10)
    model[0].register_forward_pre_hook(lambda layer, given: setattr(layer, "seen", given[0]))
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)

    def loss():
        return fashion_mnist_judge.loss_of(model, batch, labels, {name: value}, torch.Generator().manual_seed(0))

    before = loss().item()
    for _ in range(6):
        optimiser.zero_grad()
        loss().backward()
        if name == "tract":
            fashion_mnist_judge.in_activations(model[0], model[0].seen, value)
        optimiser.step()
    assert loss().item() < 0.85 * before


def test_an_attack_stays_in_its_bound_and_raises_the_loss():
    torch.manual_seed(0)
    model = fashion_mnist_judge.network(10).eval()
    batch, labels = torch.rand(20, 1, 28, 28) * 2 - 1, torch.arange(20) % 10
    how = {"bound": 0.1, "steps": 2, "rate": 0.075}
    found = fashion_mnist_judge.attacked(model, batch, labels, torch.Generator().manual_seed(0), **how)
    assert float((found - batch).abs().max()) <= 0.2 + 1e-6
    assert float(found.abs().max()) <= 1
    loss = torch.nn.functional.cross_entropy
    assert loss(model(found), labels) > loss(model(batch), labels)


def test_a_half_shows_every_other_pixel():
    batch = torch.ones(1, 1, 28, 28)
    halves = [fashion_mnist_judge.shown(batch, half)[0, 0] for half in (0, 1)]
    assert halves[0][0, :2].tolist() == [1, -1]
    assert halves[0][1, :2].tolist() == [-1, 1]
    assert torch.equal(halves[0] + halves[1], torch.zeros(28, 28))


@pytest.mark.parametrize("layer", [torch.nn.Linear(6, 4), torch.nn.Conv2d(2, 4, 3, stride=2, padding=1)])
def test_tract_is_its_formula(layer):
    torch.manual_seed(0)
    seen = torch.randn(5, 6) if isinstance(layer, torch.nn.Linear) else torch.randn(5, 2, 7, 7)
    rows = seen
    if seen.ndim == 4:
        padded = torch.nn.functional.pad(seen, (1, 1, 1, 1))
        places = [(row, column) for row in (0, 2, 4, 6) for column in (0, 2, 4, 6)]
        rows = torch.cat([padded[:, :, row : row + 3, column : column + 3].flatten(1) for row, column in places])
    out = layer(seen)
    slopes = torch.randn_like(out)
    out.backward(slopes)
    plain = layer.weight.grad.flatten(1).clone()
    fashion_mnist_judge.in_activations(layer, seen, 0.1)
    wanted = plain @ torch.linalg.inv(rows.T @ rows / len(rows) + 0.1 * torch.eye(rows.shape[1]))
    torch.testing.assert_close(layer.weight.grad.flatten(1), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [torch.nn.Linear(49, 4), torch.nn.Conv2d(1, 4, 3, stride=2, padding=1)])
def test_tract_is_what_its_authors_package_does(layer):
    oracle = pytest.importorskip("torch_tract")
    torch.manual_seed(0)
    seen = torch.randn(5, 1, 7, 7) if isinstance(layer, torch.nn.Conv2d) else torch.randn(5, 49)
    theirs = oracle.TrAct(copy.deepcopy(layer), l=0.1)
    slopes = torch.randn_like(layer(seen))
    layer(seen).backward(slopes)
    theirs(seen).backward(slopes)
    fashion_mnist_judge.in_activations(layer, seen, 0.1)
    torch.testing.assert_close(layer.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)


def test_shared_layers_stay_and_cosines_are_stored_as_scores(tmp_path, monkeypatch, capsys):
    few(monkeypatch)
    fashion_mnist_judge.train(asked(tmp_path, "shared:1", "noise:.25", "cosine:16", start="judge"))
    found = load_file(tmp_path / fashion_mnist_judge.WEIGHTS)
    start = ModelTable("embedded").read_weights("judge", lambda folder: load_file(folder / fashion_mnist_judge.WEIGHTS))
    same = {name.partition(".")[0] for name in start if torch.equal(start[name], found[name])}
    assert same == {"0", "1", "3", "4", "7", "8"}
    assert not found["17.bias"].any()
    torch.testing.assert_close(found["17.weight"].float().norm(dim=1), torch.full((10,), 16.0), rtol=1e-3, atol=0)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0.5 < printed["test_accuracy"] <= 1
    assert 0.4 < printed["under_noise"] <= 1


@pytest.mark.parametrize(
    ("trick", "why"),
    [
        ("blur:1", "no trick is named 'blur'; there are noise, half"),
        ("noise:3", "noise needs a number from 0.01 to 2, not '3'"),
        ("mixup", "mixup needs a number from 0.01 to 100, not ''"),
        ("half:nan", "half needs a number"),
        ("distil", "distil needs the alias of a teacher"),
    ],
)
def test_a_trick_that_is_not_understood_is_refused(trick, why):
    with pytest.raises(argparse.ArgumentTypeError, match=why):
        fashion_mnist_judge.told(trick)


def test_shared_layers_need_a_network_to_share_them_with():
    with pytest.raises(SystemExit, match="name it with --from"):
        fashion_mnist_judge.train(asked("nowhere", "shared:1"))


def test_the_packaged_networks_hold_what_they_were_trained_for(monkeypatch):
    few(monkeypatch)
    images, labels = (part[:100] for part in fashion_mnist_judge.read("t10k"))
    found = {}
    for alias in ("judge", "judge_noise", "judge_adversarial"):
        model = fashion_mnist_judge.network(10)
        table = ModelTable("embedded")
        model.load_state_dict(table.read_weights(alias, lambda folder: load_file(folder / fashion_mnist_judge.WEIGHTS)))
        found[alias] = fashion_mnist_judge.measured(model, images, torch.from_numpy(labels), {})
    assert found["judge"]["test_accuracy"] > found["judge_noise"]["test_accuracy"] > 0.7
    assert found["judge_noise"]["under_noise"] > found["judge"]["under_noise"] + 0.3
    assert found["judge_adversarial"]["under_attack"] > found["judge"]["under_attack"] + 0.4


def test_a_student_that_is_far_behind_its_teacher_is_not_saved(tmp_path, monkeypatch):
    if not fashion_mnist.DEBIAN.exists():
        pytest.skip("Fashion-MNIST isn't here: make fashion")
    few(monkeypatch)
    place = tmp_path / "student"
    with pytest.raises(SystemExit, match="more than 2 points behind its teacher"):
        fashion_mnist_judge.train(asked(place, "distil:judge", temperature=100.0))
    assert not place.exists()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_would_train_no_student_is_refused(temperature):
    with pytest.raises(SystemExit, match="above 0 and finite"):
        fashion_mnist_judge.train(asked("nowhere", "distil:judge", temperature=temperature))


def test_diversity_and_novelty_by_hand():
    images = np.zeros((4, 28, 28), np.uint8)
    images[1, 0, 0] = images[3, 0, :4] = 255
    labels = np.array([0, 0, 1, 1])
    vectors = evaluate_fashion_mnist.flat(images)
    assert np.sqrt(evaluate_fashion_mnist.squared_distances(vectors, vectors))[2, 3] == pytest.approx(2)
    assert evaluate_fashion_mnist.spread(images, labels) == pytest.approx((1 + 2) / 2)
    assert evaluate_fashion_mnist.nearest(images, vectors[:1]) == pytest.approx((0 + 1 + 0 + 2) / 4)
