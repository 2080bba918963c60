import math

import numpy as np
import pytest
from copied_pictures import copy, crops, render
from hypothesis import given
from hypothesis import strategies as st

from variorum.kit.copies.calibration import (
    FALLBACK,
    FLOOR,
    Cut,
    calibrate,
    comparisons,
    cosines,
    edition_cut,
    false_rate,
    negative_pairs,
)
from variorum.kit.copies.join import RADIUS, cosine_pairs
from variorum.kit.copies.pdq import LEAST_QUALITY, pdq
from variorum.stages.job import models


def exponential_tail(share, start=0.2, scale=0.1):
    """Upper `share` quantile of a cosine whose artanh has an exponential tail above its upper 5 %."""
    return math.tanh(start + scale * math.log(0.05 / share))


def sample(n, rng):
    """Cosines with this tail, 5 % of them in it."""
    z = np.where(rng.random(n) < 0.05, 0.2 + rng.exponential(0.1, n), rng.uniform(-0.3, 0.2, n))
    return np.tanh(z)


@pytest.mark.parametrize("comparisons", [1e3, 1e4, 1e6])
def test_an_exponential_tail_is_extrapolated_to_the_rate_a_picture_may_have(comparisons):
    found = sample(200_000, np.random.default_rng(0))
    cut = calibrate(found, comparisons, floor=0)
    assert math.atanh(cut.cosine) == pytest.approx(math.atanh(exponential_tail(0.01 / comparisons)), rel=0.05)
    assert cut.false_rate == pytest.approx(0.01 / comparisons, rel=1e-6)


def test_a_lighter_tail_is_cut_too_strictly_never_too_loosely():
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(20_000, 32))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    first = np.einsum("nd,nd->n", unit[:10_000], unit[10_000:])
    cut = calibrate(first, 100, floor=0)
    many = (unit[:1000] @ unit[5000:].T).ravel()
    assert (many >= cut.cosine).mean() <= cut.false_rate == pytest.approx(1e-4)


def test_a_few_copies_among_the_negatives_do_not_move_the_cut():
    rng = np.random.default_rng(0)
    found = sample(100_000, rng)
    dirty = np.concatenate([found, np.full(100, 0.999)])
    assert calibrate(dirty, 1e4, floor=0).cosine == pytest.approx(calibrate(found, 1e4, floor=0).cosine, abs=0.05)


def test_too_few_negatives_give_the_stated_default():
    cut = calibrate(np.zeros(999), 100)
    assert cut.cosine == FALLBACK
    assert math.isnan(cut.false_rate)


def test_no_cut_is_below_the_floor():
    found = np.random.default_rng(0).normal(0, 0.05, 10_000)
    assert calibrate(found, 1000).cosine == FLOOR


@given(st.floats(-0.9, 0.99), st.floats(1, 1e7))
def test_a_cut_is_a_cosine_and_its_rate_is_what_was_asked_or_less(middle, comparisons):
    found = np.tanh(math.atanh(middle) + np.random.default_rng(0).normal(0, 0.3, 2000))
    cut = calibrate(found, comparisons, floor=-1)
    assert -1 < cut.cosine <= 1
    assert cut.false_rate <= min(0.01, 0.01 / comparisons) * 1.1 + 1e-12
    assert calibrate(found, comparisons * 10, floor=-1).cosine >= cut.cosine


def test_below_the_anchor_the_rate_is_counted():
    found = np.linspace(-0.5, 0.5, 10_001)
    assert false_rate(found, 0.25) == pytest.approx(0.25, abs=0.001)


def test_negative_pairs_are_no_copies_and_the_harder_ones_are_of_one_class():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, -1], [30, 50, 20])
    apart = np.arange(100) // 2
    (i, j), (k, m) = negative_pairs(y, apart, rng, 20_000)
    for first, second in ((i, j), (k, m)):
        assert (first < second).all()
        assert (apart[first] != apart[second]).all()
        assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == len(first)
    assert ((y[i] != y[j]) | (y[i] < 0)).all()
    assert len(i) > 3000
    assert (y[k] == y[m]).all()
    assert (y[k] >= 0).all()
    assert len(k) == 30 * 28 // 2 + 50 * 48 // 2  # all of them


@pytest.mark.parametrize("y", [[], [0], [-1, -1], [0, 0]])
def test_hardly_any_pictures_give_the_default(y):
    y = np.array(y, np.int64)
    vectors = np.ones((len(y), 4), np.float32)
    cut = edition_cut(vectors, y, np.arange(len(y)), np.random.default_rng(0))
    assert cut.cosine == FALLBACK
    assert math.isnan(cut.false_rate)


def classes(n, d=64, seed=0):
    """Embeddings of 10 classes, similar within a class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, n)
    return (rng.normal(size=(10, d))[y] + rng.normal(size=(n, d))).astype(np.float32), y


def test_pictures_of_one_class_make_the_cut_stricter_and_it_keeps_its_promise():
    vectors, y = classes(2000)
    labelled = edition_cut(vectors, y, np.arange(2000), np.random.default_rng(0))
    unlabelled = edition_cut(vectors, np.full(2000, -1), np.arange(2000), np.random.default_rng(0))
    assert labelled.cosine > FLOOR
    assert labelled.false_rate * 2000 <= 0.01
    assert len(cosine_pairs(vectors, labelled.cosine)) <= 0.01 * 2000
    assert len(cosine_pairs(vectors, unlabelled.cosine)) <= 0.01 * 2000


def alike_within(classes, size, cosine=0.83, d=256):
    """Distinct pictures whose cosine is about 0.83 with those of their class and 0 with all others."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(classes), size)
    middle, own = rng.normal(size=(classes, d)), rng.normal(size=(len(y), d))
    middle, own = (found / np.linalg.norm(found, axis=1, keepdims=True) for found in (middle, own))
    return (cosine**0.5 * middle[y] + (1 - cosine) ** 0.5 * own).astype(np.float32), y


@pytest.mark.parametrize(("classes", "size"), [(3, 25), (5, 20), (10, 14), (100, 4)])
def test_few_pictures_a_class_give_the_default_and_no_class_goes_as_copies(classes, size):
    vectors, y = alike_within(classes, size)
    apart = np.arange(len(y))
    between, within = negative_pairs(y, apart, np.random.default_rng(0))
    assert len(within[0]) < 1000 < len(between[0])
    cut = edition_cut(vectors, y, apart, np.random.default_rng(0))
    assert cut.cosine == FALLBACK
    assert math.isnan(cut.false_rate)
    assert not len(cosine_pairs(vectors, cut.cosine))
    chosen = edition_cut(vectors, y, apart, np.random.default_rng(0), 0.7)
    assert chosen.cosine == 0.7
    assert math.isnan(chosen.false_rate)


@pytest.mark.parametrize(("classes", "size"), [(3, 30), (10, 20), (1, 60)])
def test_enough_pictures_a_class_are_calibrated(classes, size):
    vectors, y = alike_within(classes, size)
    cut = edition_cut(vectors, y, np.arange(len(y)), np.random.default_rng(0))
    assert 0.83 < cut.cosine < FALLBACK
    assert cut.false_rate * (len(y) - 1) <= 0.01 + 1e-9
    assert len(cosine_pairs(vectors, cut.cosine)) <= 0.05 * len(y)  # few pairs determine the tail only roughly


def test_a_kind_of_pair_that_there_is_none_of_asks_for_nothing():
    vectors, y = alike_within(60, 1)
    assert edition_cut(vectors, y, np.arange(60), np.random.default_rng(0)).cosine == FLOOR
    # the pictures of a class are variants of one photograph
    vectors, y = alike_within(60, 3)
    assert edition_cut(vectors, y, y, np.random.default_rng(0)).cosine == FLOOR
    assert edition_cut(vectors, y, np.arange(180), np.random.default_rng(0)).cosine == FALLBACK


@pytest.mark.parametrize("seed", range(5))
def test_comparisons_are_counted_without_copies(seed):
    rng = np.random.default_rng(seed)
    y, apart = rng.integers(-1, 3, 40), rng.integers(0, 30, 40)
    same = (y[:, None] == y) & (y >= 0)
    different = apart[:, None] != apart
    between, within = comparisons(y, apart, 7)
    assert within == pytest.approx((same & different).sum() / 40)
    assert between == pytest.approx((~same & different).sum() / 40 + 7)


def test_pictures_outside_count_as_of_the_only_class_there_is():
    assert comparisons(np.zeros(5, np.int64), np.arange(5), 100) == (0, 104)
    assert comparisons(np.full(5, -1), np.arange(5), 100) == (104, 0)


def test_a_chosen_cut_is_taken_and_its_rate_told():
    vectors, y = classes(2000)
    cut = edition_cut(vectors, y, np.arange(2000), np.random.default_rng(0), 0.75)
    assert isinstance(cut, Cut)
    assert cut.cosine == 0.75
    wrong = 2 * len(cosine_pairs(vectors, 0.75)) / 2000  # pairs per picture
    assert wrong / 3 < cut.false_rate * 2000 < wrong * 3


@pytest.mark.slow
def test_an_encoder_finds_copies_that_hashes_miss_and_misses_some_that_hashes_find():
    pictures = [*(picture for picture in crops() if pdq(picture)[1] >= LEAST_QUALITY), *(render(k) for k in range(40))]
    encoder = models("embedded").get("encoder")
    own, n = encoder(pictures), len(pictures)
    hashes = np.array([pdq(picture)[0][0] for picture in pictures])
    by_hash, by_embedding = {}, {}
    for transform in ("crop_90", "rotate_5", "text", "flip", "blur"):
        copies = [copy(picture, transform) for picture in pictures]
        turns = np.array([pdq(picture)[0] for picture in copies])
        by_hash[transform] = (np.bitwise_count(turns ^ hashes[:, None]).sum(axis=2).min(axis=1) <= RADIUS).mean()
        cosine = cosines(np.concatenate([own, encoder(copies)]), np.arange(n), np.arange(n, 2 * n))
        by_embedding[transform] = (cosine >= 0.8).mean()
    assert max(by_hash[name] for name in ("crop_90", "rotate_5")) <= 0.05
    assert min(by_embedding[name] for name in ("crop_90", "rotate_5", "text", "flip")) >= 0.95
    assert by_hash["blur"] >= 0.95
    assert by_embedding["blur"] <= 0.4
