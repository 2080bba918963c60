"""The denoiser that comes with the project does what it is for: on photographs that it wasn't trained on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training import evaluate_photo_denoiser as measure
from variorum.generators.editing import complexity
from variorum.generators.editing.guided_diffusion import Guidance, Wish, guided
from variorum.models import ModelTable


@pytest.fixture(scope="module")
def denoiser():
    return ModelTable("embedded").get("denoiser")


@pytest.fixture(scope="module")
def pictures():
    return measure.held_out(None)


@pytest.mark.parametrize(("level", "ahead"), [(25, 0.0), (100, 0.7)])
def test_it_takes_out_more_noise_than_classical_filters(denoiser, pictures, level, ahead):
    sigma, gains = level / 255, []
    for number, clean in enumerate(pictures):
        noisy = clean + sigma * np.random.default_rng(number).standard_normal(clean.shape, np.float32)
        found = [method(noisy, sigma) for method in (measure.bilateral, measure.non_local_means)]
        best = max(measure.psnr(item, clean) for item in found)
        gains.append(measure.psnr(measure.denoised(denoiser, noisy, sigma), clean) - best)
    assert np.mean(gains) > ahead


def test_by_default_settings_complexity_follows_lambda(denoiser, pictures):
    settings = Guidance()
    plate = (cv2.resize(pictures[1], (128, 128), interpolation=cv2.INTER_AREA) * 255).round().astype(np.uint8)
    keep = cv2.circle(np.zeros((128, 128), np.uint8), (64, 64), 24, 1, -1) > 0
    weights = (settings.down, settings.down / 20, 0.0, settings.up / 20, settings.up)
    made = guided([Wish(plate, plate, keep, ~keep, 3, weight) for weight in weights], denoiser, settings)
    found = [complexity.masked_hf(item, ~keep)[0] for item in made]
    assert found == sorted(found)
    assert found[0] < 0.75 * found[2]
    assert found[4] > found[2] + settings.least
    assert denoiser.known == 320
