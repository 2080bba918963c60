"""Budgets in whole grey levels hold for the stored picture, whatever the gradient says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from variorum.generators.watermark.attacks.adversarial_embedding import AdversarialEmbedding
from variorum.generators.watermark.attacks.random_signs import RandomSigns
from variorum.kit.attacks.ascent import ascend
from variorum.kit.attacks.budget import inside, random_signs, whole_levels
from variorum.schemas.errors import RecipeError

PICTURES = arrays(np.uint8, (4, 5, 3))
LEVELS = st.integers(1, 64)
SEEDS = st.integers(0, 2**32)


def farthest(image, other):
    return int(np.abs(image.astype(int) - other.astype(int)).max())


@given(PICTURES, LEVELS, SEEDS)
def test_random_signs_move_every_value_by_the_budget_as_far_as_black_and_white_allow(image, levels, seed):
    moved = random_signs(image, levels, np.random.default_rng(seed))
    change = np.abs(moved.astype(int) - image)
    assert moved.dtype == np.uint8
    assert change.max() <= levels
    assert (change[(moved > 0) & (moved < 255)] == levels).all()


@given(PICTURES, LEVELS, SEEDS, st.floats(0.01, 1), st.integers(1, 6))
def test_an_ascent_stays_within_the_budget_after_rounding(image, levels, seed, step, steps):
    directions = np.random.default_rng(seed + 1)
    found = ascend(
        image,
        levels,
        lambda state: directions.normal(size=state.shape).astype(np.float32),
        np.random.default_rng(seed),
        steps=steps,
        step=step,
    )
    assert found.dtype == np.uint8
    assert farthest(image, found) <= levels


@given(PICTURES, LEVELS)
def test_an_ascent_along_one_sign_goes_all_the_way(image, levels):
    up = ascend(image, levels, lambda state: np.ones_like(state), np.random.default_rng(0), steps=3, step=1.0)
    assert np.array_equal(up, np.minimum(image.astype(int) + levels, 255))


def test_a_flat_gradient_moves_nothing_beyond_the_start():
    image = np.full((8, 8, 3), 100, np.uint8)
    for steps in (1, 5):
        found = ascend(image, 4, np.zeros_like, np.random.default_rng(0), steps=steps, step=0.5)
        start = np.random.default_rng(0).uniform(-4, 4, image.shape).astype(np.float32)
        assert np.array_equal(found, inside(image, image + start, 4))


@pytest.mark.parametrize(
    ("epsilon", "strength", "levels"), [(10, 0.2, 2), (10, 0.6, 6), (10, 1, 10), (8, 0.2, 1), (1, 1, 1)]
)
def test_a_budget_is_rounded_down_to_whole_levels(epsilon, strength, levels):
    assert whole_levels("x", epsilon, strength) == levels
    assert AdversarialEmbedding(epsilon=epsilon).amount(strength) == {"epsilon": levels}
    assert RandomSigns(epsilon=epsilon).amount(strength) == {"epsilon": levels}


@pytest.mark.parametrize("cls", [AdversarialEmbedding, RandomSigns])
def test_half_a_level_is_refused(cls):
    with pytest.raises(ValidationError, match="valid integer"):
        cls(epsilon=0.5)
    with pytest.raises(RecipeError, match=r"strength 0.1 of epsilon 5 is 0.5 grey levels"):
        cls(epsilon=5).amount(0.1)


def test_each_picture_has_signs_of_its_own_in_any_batch():
    images = list(np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8))
    attack, target = RandomSigns(), SimpleNamespace(mark=None, ctx=None)

    def rngs(*numbers):
        return [np.random.default_rng(number) for number in numbers]

    together = attack.apply(images, 0.4, rngs(0, 1, 2), target)
    alone = [attack.apply([image], 0.4, rngs(number), target)[0] for number, image in enumerate(images)]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert not np.array_equal(together[0], attack.apply(images[:1], 0.4, rngs(5), target)[0])
