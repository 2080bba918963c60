"""The measures that guide diffusion equal the recorded ones, and have gradients."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from variorum.generators.imagenet_e.objectives import adm_compat, objective
from variorum.kit.pictures import complexity


def photo(name, height, width):
    picture = getattr(skimage.data, name)()
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def tensor(pictures):
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2)).float() / 255


def around(height, width):
    away = np.ones((height, width), bool)
    away[height // 3 : height // 2, width // 4 : width // 2] = False
    return away


@pytest.mark.parametrize("size", [(256, 256), (160, 128), (128, 121)])
def test_they_agree_with_the_measures_of_pictures(size):
    pictures = [photo(name, *size) for name in ("coffee", "chelsea", "grass")]
    away = [around(*size), np.ones(size, bool), around(*size)]
    found = objective("masked_hf", away, "cpu")(tensor(pictures)).numpy()
    known = [complexity.masked_hf(picture, mask)[0] for picture, mask in zip(pictures, away, strict=True)]
    assert found == pytest.approx(known, abs=1e-4)
    found = objective("adm_compat", away, "cpu")(tensor(pictures)).numpy()
    assert found == pytest.approx([complexity.adm_compat(picture) for picture in pictures], rel=1e-5)


def test_adm_compat_is_the_mean_magnitude_with_the_mean_in_it():
    flat = torch.full((1, 3, 8, 8), 0.5)
    assert float(adm_compat(flat)) == pytest.approx(0.5)  # of 64 frequencies only the mean's, 32, counts
    assert float(adm_compat(torch.zeros(1, 3, 8, 8))) == 0


@pytest.mark.parametrize("name", ["masked_hf", "adm_compat"])
def test_gradients_are_finite_and_point_upwards(name):
    measure = objective(name, [around(64, 64)], "cpu")
    x = tensor([photo("chelsea", 64, 64)]).requires_grad_()
    (slope,) = torch.autograd.grad(measure(x).sum(), x)
    step = 1e-2 * slope / slope.norm()
    below, here, above = (float(measure(item.detach())) for item in (x - step, x, x + step))
    assert below < here < above
    x = torch.full((1, 3, 64, 64), 0.4, requires_grad=True)
    assert torch.isfinite(torch.autograd.grad(measure(x).sum(), x)[0]).all()


def test_masked_hf_sees_nothing_of_the_object():
    away = np.ones((96, 96), bool)
    away[30:66, 30:66] = False
    measure = objective("masked_hf", [away], "cpu")
    x = tensor([photo("coffee", 96, 96)]).requires_grad_()
    (slope,) = torch.autograd.grad(measure(x).sum(), x)
    assert float(slope[..., 31:65, 31:65].abs().max()) == 0
    assert float(slope.abs().max()) > 0


def test_without_a_background_there_is_nothing_to_raise():
    measure = objective("masked_hf", [np.zeros((32, 32), bool)], "cpu")
    x = tensor([photo("coffee", 32, 32)]).requires_grad_()
    (slope,) = torch.autograd.grad(measure(x).sum(), x)
    assert float(measure(x.detach())) == 0
    assert not slope.any()
