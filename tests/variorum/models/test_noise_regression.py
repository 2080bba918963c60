"""The packaged enhancer: what its card says, its results one by one, and files that aren't such a network."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import skimage.data
from safetensors.numpy import load_file, save_file

from variorum.kit.corrupt import low_light
from variorum.models import ModelTable, weights
from variorum.models.loaders.noise_regression import NOISE_REGRESSION, WEIGHTS
from variorum.schemas.errors import ModelUnavailable

FOLDER = weights.PACKAGED / "low_light_enhancer"
ENTRY = ModelTable("embedded").entry("low_light_enhancer")


@pytest.fixture(scope="module")
def enhancer():
    return ModelTable("embedded").get("low_light_enhancer")


@pytest.fixture(scope="module")
def dark():
    return [
        low_light.darkened(getattr(skimage.data, name)()[:240, :300], 4, bits=12).image
        for name in ("chelsea", "coffee", "astronaut")
    ]


def test_dark_pictures_get_middle_grey_and_lose_their_cast(enhancer, dark):
    for before, after in zip(dark, enhancer(dark), strict=True):
        assert after.shape == before.shape
        assert before.mean() < 50 < 115 < after.mean() < 140
        assert np.ptp(after.mean(axis=(0, 1))) < 20
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.4


def test_there_is_no_frame_around_a_result(enhancer):
    flat = np.full((80, 80, 3), 20, np.uint8)
    flat[30:50, 30:50] = 90
    (after,) = enhancer([flat])
    assert (after[0] == after[3]).all()
    assert (after[:, 0] == after[:, 3]).all()


def test_a_result_depends_on_its_picture_alone(enhancer, dark):
    together, alone = enhancer(dark), [enhancer([one])[0] for one in dark]
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))
    assert enhancer([]) == []


def test_flat_grey_and_tiny_pictures_come_through(enhancer):
    for image in (np.zeros((5, 9, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)):
        (after,) = enhancer([image])
        assert after.shape == image.shape


def test_it_computes_what_the_network_that_was_trained_does(enhancer, dark):
    import torch
    from safetensors.torch import load_file as load_tensors

    from training.noiser import HIDDEN, network

    model = network(HIDDEN)
    model.load_state_dict(load_tensors(FOLDER / WEIGHTS))
    assert sum(value.numel() for value in model.parameters()) == 975
    with torch.inference_mode():
        values = torch.from_numpy(dark[0] / np.float32(127.5) - 1).permute(2, 0, 1)[None]
        found = 127.5 * (model(values)[0].permute(1, 2, 0).numpy() + 1)
    assert np.abs(enhancer(dark[:1])[0] - found).max() < 0.51


@pytest.mark.parametrize("change", ["missing", "shape", "scalar", "more", "text"])
def test_another_file_is_refused_in_one_line(tmp_path, change):
    shutil.copytree(FOLDER, tmp_path / "copy")
    file = tmp_path / "copy" / WEIGHTS
    state = load_file(file)
    if change == "missing":
        del state["3.bias"]
    elif change == "shape":
        state["3.weight"] = state["3.weight"][:, :5].copy()
    elif change == "scalar":
        state["0.weight"] = np.ones((), np.float32)
    elif change == "more":
        state["0.bias"] = np.zeros(18, np.float32)
    save_file(state, file)
    if change == "text":
        file.write_text("no tensors")
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors isn't a") as caught:
        NOISE_REGRESSION.load(ENTRY, tmp_path / "copy", {})
    assert "\n" not in str(caught.value)
