"""Purification by the packaged denoisers: of photographs, and of small grey pictures."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio as psnr

from variorum.generators.watermark.attacks.purification import Purification
from variorum.generators.watermark.marks.stdm import Stdm
from variorum.generators.watermark.watermarking.regenerating import purified
from variorum.models import ModelTable
from variorum.models.device import has_driver
from variorum.models.diffusion.images import fitted, restored
from variorum.models.roles import Denoised
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.watermark import Refused


@pytest.fixture(scope="module")
def target():
    return SimpleNamespace(mark=None, ctx=Context(seed=0, models=ModelTable("embedded"), memo=None))


def rngs(*numbers):
    return [np.random.default_rng(number) for number in numbers]


def crops(number, side=256):
    """Squares of real photographs, at different places."""
    photographs = [getattr(skimage.data, name)() for name in ("coffee", "chelsea", "astronaut", "rocket")]
    found = []
    for place in range(number):
        image = photographs[place % 4]
        height, width = image.shape[:2]
        top, left = (height - 300) * (place // 4) // 4, (width - 300) * (place // 4) // 4
        found.append(cv2.resize(image[top : top + 300, left : left + 300], (side, side), interpolation=cv2.INTER_AREA))
    return found


def right(mark, images, keys, target):
    """Share of right bits, `[N]`."""
    return (mark.detect(images, keys, target.ctx).bits == mark.payloads(keys)).mean(axis=1)


# ── photographs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_needs_no_pytorch_on_a_machine_without_a_gpu():
    if has_driver():
        pytest.skip("on a GPU the model is PyTorch's")
    code = """
import sys
from types import SimpleNamespace
import numpy as np
from variorum.generators.watermark.attacks.purification import Purification
from variorum.models import ModelTable
from variorum.schemas.component import Context
target = SimpleNamespace(ctx=Context(seed=0, models=ModelTable("embedded"), memo=None))
(made,) = Purification().apply([np.full((24, 32, 3), 99, np.uint8)], 0.1, [np.random.default_rng(0)], target)
print(*{"torch", "diffusers", "transformers"} & set(sys.modules), np.shape(made))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(24, 32, 3)\n"


def test_more_noise_leaves_less_of_picture_and_mark(target):
    mark, keys = Stdm(), [b"k" * 32]
    marked = list(mark.embed(crops(1), keys, target.ctx))
    kept, bits = [], []
    for strength in (0.1, 0.4, 1.0):
        (found,) = Purification().apply(marked, strength, rngs(1), target)
        kept.append(psnr(marked[0], found))
        bits.append(right(mark, [found], keys, target)[0])
    assert kept[0] > 30 > kept[1] > kept[2] > 18
    assert bits[0] >= 30 / 32
    assert bits[0] > bits[2]
    assert bits[2] < 24 / 32


def test_pictures_are_the_same_alone_and_among_others(target):
    images, attack = crops(3, 64), Purification(steps=2, eta=1)
    together = attack.apply(images, 0.5, rngs(0, 1, 2), target)
    alone = [attack.apply([image], 0.5, rngs(number), target)[0] for number, image in enumerate(images)]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert not np.array_equal(together[0], attack.apply(images[:1], 0.5, rngs(7), target)[0])


@pytest.mark.parametrize("fields", [{"steps": 3}, {"steps": 3, "eta": 1}, {"times": 2}, {"t": 200}])
def test_each_field_changes_the_picture(fields, target):
    images = crops(1, 64)
    plain = Purification().apply(images, 0.5, rngs(0), target)[0]
    other = Purification(**fields).apply(images, 0.5, rngs(0), target)[0]
    assert not np.array_equal(plain, other)
    assert psnr(images[0], other) > 18


@pytest.mark.parametrize("size", [(45, 70), (33, 32), (64, 100)])
def test_any_size_is_kept(size, target):
    image = cv2.resize(skimage.data.coffee(), size[::-1], interpolation=cv2.INTER_AREA)
    (found,) = Purification().apply([image], 0.1, rngs(0), target)
    assert found.shape == image.shape
    assert psnr(image, found) > 24


def test_amounts_are_steps_of_the_diffusion():
    assert [Purification().amount(strength)["t"] for strength in (0.1, 0.2, 0.4, 1)] == [30, 60, 120, 300]
    assert Purification(t=2).amount(0.1) == {"t": 1, "times": 1}


def test_more_noise_than_the_model_knows_is_refused(target):
    with pytest.raises(RecipeError, match="knows only the first 320 of its 1000 steps; t 320 is too much"):
        Purification(t=320).apply(crops(1, 64), 1, rngs(0), target)


class Oracle:
    """A denoiser that knows the clean picture, and notes how much noise there is at each step that it is asked for."""

    signal = np.linspace(0.999, 0.1, 100)
    known, shrink, multiple, size, tf32, device, fixed = 100, 1, 8, 1, False, "cpu", None

    def __init__(self):
        self.seen = []

    def encode(self, images):
        self.clean = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).float() / 127.5 - 1
        return self.clean

    def predict(self, state, step):
        share = self.signal[step]
        self.seen.append((step, float(((state - share**0.5 * self.clean) / (1 - share) ** 0.5).std())))
        return Denoised(self.clean, None)

    def decode(self, state):
        return list(((state + 1) * 127.5).round().permute(0, 2, 3, 1).numpy().astype(np.uint8))


@pytest.mark.parametrize("eta", [0, 0.5, 1])
def test_every_step_has_the_noise_of_its_time(eta):
    image, oracle = crops(1, 96)[0], Oracle()
    found = purified(image, oracle, np.random.default_rng(0), t=80, steps=4, eta=eta)
    assert np.array_equal(found, image)
    assert [step for step, _ in oracle.seen] == [80, 60, 40, 20]
    assert all(abs(spread - 1) < 0.02 for _, spread in oracle.seen)


def test_a_picture_smaller_than_the_model_s_is_enlarged_for_it_and_comes_back():
    image, oracle = crops(1, 96)[0], Oracle()
    oracle.size = 128
    found = purified(image, oracle, np.random.default_rng(0), t=80)
    assert oracle.clean.shape == (1, 3, 128, 128)
    assert found.shape == image.shape
    assert psnr(image, found) > 30


def test_more_steps_than_there_are_become_one_for_each():
    oracle = Oracle()
    purified(crops(1, 32)[0], oracle, np.random.default_rng(0), t=3, steps=50)
    assert [step for step, _ in oracle.seen] == [3, 2, 1]


@pytest.mark.parametrize(("height", "width", "multiple", "least"), [(45, 70, 8, 1), (64, 64, 8, 1), (45, 70, 16, 96)])
def test_a_fitted_picture_comes_back(height, width, multiple, least):
    image = cv2.resize(skimage.data.coffee(), (width, height), interpolation=cv2.INTER_AREA)
    inside = fitted(image, multiple, least)
    assert all(side % multiple == 0 for side in inside.shape[:2])
    assert min(inside.shape[:2]) >= least
    back = restored(inside, image.shape[:2], least)
    assert back.shape == image.shape
    assert psnr(image, back) > 30 if least > 1 else np.array_equal(back, image)


# ── small grey pictures ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def clothes(target):
    """Pictures that the packaged model made of three classes, 28 x 28."""
    model = target.ctx.models.get("class_conditional")
    return list(model([0, 1, 7], [1, 2, 3], guidance=1.5, steps=5, sampler="dpm++"))


def test_small_grey_pictures_stay_grey_and_themselves(clothes, target):
    attack = Purification(denoiser="denoiser_small", t=500)
    kept = []
    for strength in (0.1, 0.4, 1.0):
        found = attack.apply(clothes, strength, rngs(0, 1, 2), target)
        assert all((image == image[..., :1]).all() for image in found)
        kept.append(np.mean([psnr(a, b) for a, b in zip(clothes, found, strict=True)]))
    assert kept[0] > 25 > kept[2] > 15
    assert kept[0] > kept[1] > kept[2]


def test_pictures_that_a_model_does_not_know_are_refused_one_by_one(clothes, target):
    coloured = clothes[0].copy()
    coloured[5, 5] = 200, 0, 0
    found = Purification(denoiser="denoiser_small").apply([coloured, clothes[1]], 0.2, rngs(0, 1), target)
    assert found[0] == Refused("unknown_to_model", "the denoiser knows grey pictures, and this one has colours")
    assert found[1].shape == (28, 28, 3)
    (large,) = Purification(denoiser="denoiser_small").apply(crops(1, 32), 0.2, rngs(0), target)
    assert large.detail == "the denoiser knows pictures of 28 x 28 pixels, not 32 x 32"


# ── figures on more photographs ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_bits_of_stdm_fall_with_the_noise(target):
    """On 16 photographs: whole at t 30, at the edge at t 120, gone at t 250."""
    mark, keys = Stdm(decibels=44), [bytes([number]) * 32 for number in range(16)]
    marked = list(mark.embed(crops(16), keys, target.ctx))
    bits = {}
    for t in (30, 60, 120, 250):
        found = Purification(t=t).apply(marked, 1, rngs(*range(16)), target)
        bits[t] = right(mark, found, keys, target)
    assert bits[30].mean() > 0.97
    assert bits[30].mean() >= bits[60].mean() > bits[120].mean() > bits[250].mean()
    assert bits[250].mean() < 0.7
    assert (bits[250] >= 24 / 32).mean() < 0.3
