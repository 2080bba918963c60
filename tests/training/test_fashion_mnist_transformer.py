"""The small transformer: its measure of attention, and what training writes can be loaded."""

from __future__ import annotations

import argparse
import gzip
import struct

import numpy as np
import pytest
import torch

from training import fashion_mnist_transformer
from training.fashion_mnist_transformer import Pooling, Transformer, alike
from variorum.models import ModelTable


def test_likeness_of_equal_rows_is_one_and_of_different_rows_nothing():
    equal = torch.zeros(1, 6, 6)
    equal[:, :, 2] = 1
    assert alike(equal).item() == pytest.approx(1)
    assert alike(torch.eye(6)[None]).item() == 0
    assert alike(torch.full((1, 6, 6), 1 / 6)).item() == 0  # nothing is above twice the mean


def test_likeness_by_hand():
    rows = torch.zeros(1, 4, 4)
    rows[0, :3, 0] = rows[0, 3, 1] = 1  # the mean is (.75, .25, 0, 0), of which .75 is left
    assert alike(rows).item() == pytest.approx(0.75)


def test_pooling_is_a_mean_of_the_tokens_inside_the_grid():
    pooling = Pooling()
    one = torch.zeros(1, 49, 64)
    one[0, 0] = 1  # in a corner
    found = (pooling.means @ one[:, None])[0, :, :, 0]
    assert found[0].tolist() == [1] + 48 * [0]
    assert found[1][[0, 1, 8]].tolist() == pytest.approx([1 / 4, 1 / 6, 1 / 9])
    assert found[3][[0, 24]].tolist() == pytest.approx([1 / 4, 1 / 9])
    assert found[2][1] == 0


@pytest.mark.parametrize("tap", [False, True])
def test_a_few_steps_lower_loss_and_likeness(tap):
    torch.manual_seed(0)
    model, labels = Transformer(tap=tap), torch.arange(20) % 10
    batch = torch.rand(10, 1, 28, 28)[labels] * 2 - 1
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(6):
        loss = torch.nn.functional.cross_entropy(model(batch), labels) + model.likeness()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


def test_what_training_writes_is_a_model_of_reports(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (128, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        with gzip.open(tmp_path / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4i", 0x803, 128, 28, 28) + grey.tobytes())
        with gzip.open(tmp_path / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">2i", 0x801, 128) + bytes(k % 10 for k in range(128)))
    out = tmp_path / "out"
    asked = argparse.Namespace(tap=True, adl=1.0, epochs=1, pictures=None, seed=0, data=tmp_path, out=out)
    assert fashion_mnist_transformer.train(asked)["steps"] == 1
    from variorum.models.brought import module

    found = module.prepared(f"module:{out / 'model.py'}:load", "grey resize=28x28 mean=0.5 std=0.5")
    said = found([np.repeat(one[..., None], 3, -1) for one in grey[:4]])
    network = fashion_mnist_transformer.loaded(out)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(grey[:4])[:, None] / 127.5 - 1).softmax(1)
    np.testing.assert_allclose(said, wanted, atol=1e-4)
    assert found.classes == ModelTable("embedded").get("judge").classes
