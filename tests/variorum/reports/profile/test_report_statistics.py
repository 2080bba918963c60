"""Intervals that hold what they claim, and tests that don't claim what isn't there."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from asked_rows import answers, asked
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from variorum.reports.profile import statistics
from variorum.reports.profile.measure import measure
from variorum.reports.profile.statistics import Draws, draws_p, least_ratio, percentile, seen, swap_p
from variorum.schemas.rows import Answers, Figure
from variorum.statistics import holm, mean_ratio, wilson_interval

COVERED = 0.93, 0.97
TWINS = "one", "two"


def shares(rng: np.random.Generator, n: int, mean: float, each: int, sets: int) -> np.ndarray:
    """Shares of `each` pictures that a model has right of `n` photographs, some harder than others, `[n, sets]`."""
    easy = rng.beta(2 * mean, 2 * (1 - mean), (n, sets))
    return rng.binomial(each, easy) / each


@pytest.mark.parametrize("n", [40, 100, 400])
def test_intervals_cover_the_truth(n):
    drawn = Draws(n, seed=1).sums(shares(np.random.default_rng(n), n, 0.7, 4, 600)) / n
    ends = np.array([percentile(one, n) for one in drawn.T])
    assert COVERED[0] <= np.mean((ends[:, 0] <= 0.7) & (ends[:, 1] >= 0.7)) <= COVERED[1]


def test_twins_of_200_pages_are_told_apart_on_at_most_5_percent():
    rng, n, rows = np.random.default_rng(3), 60, 8
    pages = []
    for _ in range(200):
        easy = rng.beta(2, 1, n)[:, None]
        pages.append([rng.binomial(each, easy, (n, 2)) / each for each in (1, 1, 3, 4, 4, 5, 20, 75)])
    whole = np.ones((n, 1))
    p = swap_p([(row[:, :1], whole, row[:, 1:], whole) for page in pages for row in page], seed=5)
    claimed = [min(holm(np.array(page))) < statistics.LEVEL for page in np.reshape(p, (200, rows))]
    assert 0 < sum(claimed) <= 10  # some are: chance isn't excluded, only held


ANSWERS = st.integers(2, 6).flatmap(
    lambda n: st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2 * width, max_size=2 * width),
            min_size=n,
            max_size=n,
        )
    )
)


@given(ANSWERS, st.booleans())
def test_swapping_is_exact_with_few_differences(cells, ragged):
    """Against a brute force that really swaps the answers of photographs."""
    top, bottom = np.array([[[cell[0], sum(cell) if ragged else 6] for cell in row] for row in cells], float).transpose(
        2, 0, 1
    )
    width = top.shape[1] // 2
    one, other = (top[:, :width], bottom[:, :width]), (top[:, width:], bottom[:, width:])
    assume(one[1].sum() and other[1].sum())

    def difference(swapped: np.ndarray) -> float:
        sums = [np.where(swapped[:, None], b, a).sum(axis=0) for a, b in zip(one + other, other + one, strict=True)]
        return float(mean_ratio(sums[0], sums[1]) - mean_ratio(sums[2], sums[3]))

    every = [difference(np.array(swapped)) for swapped in product([False, True], repeat=len(cells))]
    assume(np.isfinite(every).all())
    expected = np.mean(np.abs(every) >= abs(every[0]) - 1e-9)
    assert swap_p([(*one, *other)], seed=1)[0] == pytest.approx(expected)


def test_drawn_flips_agree_with_the_sign_test():
    """Models that differ on 30 photographs, by one answer each: flips are binomial."""
    top = np.zeros((50, 2))
    top[:20, 0], top[20:30, 1] = 1, 1
    [p] = swap_p([(top[:, :1], np.ones((50, 1)), top[:, 1:], np.ones((50, 1)))], seed=1)
    assert p == pytest.approx(binomtest(20, 30).pvalue, abs=0.006)
    [surely] = swap_p([(np.ones((50, 1)), np.ones((50, 1)), np.zeros((50, 1)), np.ones((50, 1)))], seed=1)
    assert surely == 1 / (1 + statistics.FLIPS)


def test_flips_of_a_pair_do_not_depend_on_the_pairs_beside_it_if_it_is_exact():
    rng = np.random.default_rng(1)
    few, many = np.zeros((40, 2)), rng.random((40, 2))
    few[:5, 0] = 1
    pairs = [(one[:, :1], np.ones((40, 1)), one[:, 1:], np.ones((40, 1))) for one in (few, many)]
    assert swap_p(pairs, seed=1)[0] == swap_p(pairs[:1], seed=1)[0] == 2 / 2**5


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p, level):
    rejected, left = set(), sorted(range(len(p)), key=lambda place: p[place])
    while left and p[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    assert {place for place, one in enumerate(holm(np.array(p))) if one <= level} == rejected


def test_draws_that_lie_beyond_the_difference_give_p():
    draws = np.array([0.1, 0.2, 0.3, 0.5])
    assert draws_p(0.2, draws) == 0.25  # only .5 is as far from .2 as 0 is
    assert draws_p(0.9, draws + 0.7) == 0.25  # at least 1 / draws
    assert draws_p(0.0, draws * 0) == 1


@pytest.mark.parametrize(("right", "n"), [(0, 20), (96, 96), (30, 40)])
def test_wilson(right, n):
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson_interval(right, n) == pytest.approx((expected.low, expected.high))


def test_draws_choose_photographs_with_replacement():
    counts = Draws(7, seed=3).first(400)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(6 / 7, abs=0.1)
    assert np.array_equal(counts, next(Draws(7, seed=3).counts())[:400])


def rows_of(n: int, rng: np.random.Generator, means: np.ndarray, each: int, *, ragged: bool = False) -> list:
    """Rows of two models with the true accuracies `means [rows, 2]`, at most ⅔ so that no chance is clipped."""
    made = []
    for row, truths in enumerate(means):
        easy = 1.5 * rng.beta(2, 1, (n, 1))  # mean 1
        bottoms = [rng.binomial(each, 0.6, (n, 1)) if ragged else np.full((n, 1), each) for _ in TWINS]
        said = [
            answers(rng.binomial(bottom, easy * mean), bottom) for bottom, mean in zip(bottoms, truths, strict=True)
        ]
        made.append(asked(f"r{row}", dict(zip(TWINS, said, strict=True))))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 100, 400])
@pytest.mark.parametrize(("each", "ragged"), [(1, False), (20, False), (4, True)])
def test_values_and_differences_of_rows_cover_the_truth(n, each, ragged, monkeypatch):
    monkeypatch.setattr(statistics, "FLIPS", 100)  # p isn't looked at
    rng = np.random.default_rng([n, each])
    means = rng.uniform(0.3, 0.66, (1000, 2))
    rows = measure(rows_of(n, rng, means, each, ragged=ragged), TWINS, seed=1)
    for column, name in enumerate(TWINS):
        ends = np.array([(one.low, one.high) for row in rows if (one := row.models[name].figure)]) / 100
        assert COVERED[0] <= np.mean((ends[:, 0] <= means[:, column]) & (ends[:, 1] >= means[:, column])) <= COVERED[1]
    ends = np.array([(one.low, one.high) for row in rows for one in row.differences if one.to == "one"]) / 100
    truth = means[:, 1] - means[:, 0]
    assert COVERED[0] <= np.mean((ends[:, 0] <= truth) & (ends[:, 1] >= truth)) <= COVERED[1]


def error(confidence: np.ndarray, right: np.ndarray):
    """The calibration error of 15 bins as a function of how often each photograph counts."""
    bins = (confidence * 15).astype(int)
    return lambda counts: float(np.abs(np.bincount(bins, counts * (right - confidence), 15)).sum() / counts.sum())


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 400])
def test_figures_of_all_answers_and_least_groups_cover_the_truth(n):
    """Percentiles alone cover a calibration error of 20 % in 78 % of sets of 100, and equal groups' least in 57 %."""
    rng, counts = np.random.default_rng(n), Draws(n, seed=1).first(400)
    groups = np.eye(4)[np.arange(n) % 4]
    covered = []
    for _ in range(600):
        said = rng.uniform(0.3, 0.99, n)
        of = error(said, (rng.random(n) < said - 0.2).astype(float))
        ends = statistics.interval("whole", of(np.ones(n)), np.array([of(one) for one in counts]), n)
        right = (rng.random((n, 1)) < 0.7) * groups
        least = least_ratio(counts @ right, counts @ groups)
        group_ends = statistics.interval("least", float(least_ratio(right.sum(axis=0), groups.sum(axis=0))), least, n)
        covered.append((ends[0] <= 0.2 <= ends[1], group_ends[0] <= 0.7 <= group_ends[1]))
    assert (np.mean(covered, axis=0) >= COVERED[0] - 0.01).all()


def unlike_kinds(n: int, rng: np.random.Generator) -> list:
    """A page of rows of all kinds over the same photographs, by two models that differ by chance."""
    easy = rng.beta(3, 1.5, n)
    groups = np.eye(3)[np.arange(n) % 3]
    told: dict[str, dict[str, Answers]] = {name: {} for name in ("one_each", "four", "error", "least")}
    for model in TWINS:
        said = np.clip(easy + rng.normal(0, 0.05, n), 0.05, 0.99)
        right = (rng.random(n) < said * 0.8).astype(float)
        told["one_each"][model] = answers(right)
        told["four"][model] = answers(rng.random((n, 4)) < easy[:, None])
        told["least"][model] = answers(groups * right[:, None], groups)
        told["error"][model] = Answers("f", model, told["four"][model].photographs, whole=error(said, right))
    kinds = {"error": Figure("ECE", "whole", "lower"), "least": Figure("accuracy", "least")}
    return [asked(name, said, kinds.get(name, Figure("accuracy"))) for name, said in told.items()]


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 150])
def test_pages_about_twins_claim_a_difference_on_at_most_5_percent(n):
    rng = np.random.default_rng(n)
    claimed = 0
    for seed in range(200):
        rows = measure(unlike_kinds(n, rng), TWINS, seed=seed)
        claimed += any(one.verdict in ("better", "worse") for row in rows for one in row.differences)
    assert claimed <= 10


@pytest.mark.slow
def test_a_difference_that_so_many_photographs_see_is_seen_in_4_of_5_draws(monkeypatch):
    monkeypatch.setattr(statistics, "FLIPS", 100)  # p isn't looked at
    rng, n = np.random.default_rng(1), 100
    rows = measure(rows_of(n, rng, np.full((200, 2), 0.6), 4), TWINS, seed=1)
    points = np.mean([row.seen for row in rows if row.seen]) / 100
    rows = measure(rows_of(n, rng, np.tile([0.6, 0.6 - points], (600, 1)), 4), TWINS, seed=1)
    found = [one for row in rows for one in row.differences if one.to == "one"]
    assert 0.7 <= np.mean([one.high < 0 for one in found]) <= 0.9


@given(st.integers(20, 60), st.floats(0.01, 0.2))
@settings(max_examples=10)
def test_more_photographs_see_smaller_differences(n, spread):
    draws = np.random.default_rng(n).normal(0.1, spread, 400)
    assert seen(draws, n) == pytest.approx(2.8 * draws.std(), rel=0.08)
    assert seen(draws / 2, n) == pytest.approx(seen(draws, n) / 2)


def test_photographs_that_share_a_lender_that_matters_tell_less():
    lender = np.arange(60) % 10
    fooled = lender < 2  # two lenders' plates fool one model
    one, other = np.where(fooled, 0.0, 1.0), np.ones(60)
    row = {}
    for lent in (None, lender[:, None], np.full((60, 1), -1), np.arange(60)[:, None]):
        said = {"one": answers(one, lender=lent), "other": answers(other, lender=lent)}
        (found,) = measure([asked("edits", said)], list(said), seed=1)
        row[None if lent is None else int(lent.max())] = found
    assert row[-1] == row[59] == row[None]  # nobody borrows, or each from another
    alone, shared = row[None].models["one"].figure, row[9].models["one"].figure
    assert alone.value == shared.value == 80
    assert shared.high - shared.low > 1.5 * (alone.high - alone.low)
    assert row[None].differences[0].verdict in ("better", "worse")
    assert row[9].differences[0].verdict not in ("better", "worse")
    assert row[9].seen > 1.5 * row[None].seen
