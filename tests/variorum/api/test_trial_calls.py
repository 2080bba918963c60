"""How answers of models are asked for and compared."""

from __future__ import annotations

import numpy as np
import pytest

from variorum.api.trial_calls import NoCall, Question, caller, differences
from variorum.api.trial_models import proposal
from variorum.models.batch_search import sweep
from variorum.models.roles import Detected


def photographs(number):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(number)]


def test_a_model_is_asked_by_the_names_of_its_parameters():
    def brighter(images, seeds, *, guidance, size, unused=1):
        assert (guidance, size, unused) == (7.5, None, 1)
        return [
            np.clip(image.astype(int) + seed % 7, 0, 255).astype(np.uint8)
            for image, seed in zip(images, seeds, strict=True)
        ]

    ask = caller(brighter, Question(photographs(4)))
    both, alone = ask([1, 3]), ask([3])
    assert np.array_equal(both[1], alone[0])
    assert not np.array_equal(both[0], alone[0])


def test_what_a_trial_does_not_have_is_said():
    with pytest.raises(NoCall, match="weights"):
        caller(lambda images, weights: images, Question(photographs(1)))
    with pytest.raises(NoCall, match="no call"):
        caller(object(), Question(photographs(1)))


def test_findings_are_compared_by_their_scores():
    def found(images, texts):
        return [Detected(np.zeros((len(texts), 4)), np.linspace(0.9, 0.1, len(texts)), np.arange(len(texts)))] * len(
            images
        )

    (scores,) = caller(found, Question(photographs(1)))([0])
    assert scores[0] == pytest.approx(0.9)
    assert scores[-1] == 0


@pytest.mark.parametrize(("changed", "good"), [(0, True), (15, True), (100, False)])
def test_pictures_may_differ_in_two_of_a_hundred_values(changed, good):
    one = np.full((10, 10, 10), 100, np.uint8)
    other = one.copy()
    other.ravel()[:changed] += 9
    agree, said, figures = differences([one], [other], half=True)
    assert agree is good
    assert figures["share_above"] == changed / 1000
    assert "99.9 %" in said
    barely = one.copy()
    barely += 8
    assert differences([one], [barely], half=False)[0], "eight levels are rounding"


def test_numbers_are_compared_by_the_largest():
    one = [np.asarray([1.0, 50.0])]
    assert differences(one, [np.asarray([1.04, 50.0])], half=False)[0]
    assert not differences(one, [np.asarray([1.1, 50.0])], half=False)[0]
    assert differences(one, [np.asarray([1.1, 50.0])], half=True)[0]
    assert not differences(one, [np.asarray([np.nan, 50.0])], half=True, means=True)[0]
    assert not differences(["a cat"] * 2, ["a dog", "a cat"], half=True)[0]


def test_a_sweep_proposes_memory_and_batch():
    import torch

    now = [0.0]

    def make(batch):
        if batch > 8:
            raise torch.OutOfMemoryError("of 10 GiB")
        now[0] += 1 + 0.1 * batch

    tried = sweep(make, most=128, rise=None, clock=lambda: now[0])
    measured = [type(one)(one.batch, one.per_second, 3.42 + 0.75 * one.batch) for one in tried]
    said, figures = proposal(measured, {8: 97.0})
    assert [row["batch"] for row in figures["rows"]] == [1, 2, 4, 8]
    assert figures["proposed"] == {"vram": 4.2, "vram_each": 0.75, "batch": 8}
    assert figures["rows"][-1]["utilisation"] == 97
    assert figures["rows"][0]["utilisation"] is None
    assert "batch 8" in said
