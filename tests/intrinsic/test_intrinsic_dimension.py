"""Intrinsic dimension and label sharpness of points whose values are known."""

import numpy as np
import pytest

from variorum.evaluation.intrinsic.dimension import distinct, maximum_likelihood, neighbours, two_nearest
from variorum.evaluation.intrinsic.sharpness import label_sharpness
from variorum.evaluation.intrinsic.spaces import FEWEST, dimensions, sharpness


def on_a_plane(n, flat, ambient=64, seed=0):
    """`n` Gaussian points in a plane of `flat` dimensions, turned at random in `ambient` ones."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((ambient, flat)))
    return (rng.standard_normal((n, flat)) @ turn.T).astype(np.float32)


def estimate(points, k=20):
    return maximum_likelihood(neighbours(points, k)[1])


def test_the_dimension_of_a_plane():
    assert 4.6 < estimate(on_a_plane(1000, 5)) < 5.4
    assert 1.8 < estimate(on_a_plane(1000, 2)) < 2.2
    assert 4.5 < two_nearest(neighbours(on_a_plane(1000, 5), 2)[1]) < 5.5


def test_it_says_too_little_in_high_dimensions_and_more_so_at_few_points():
    assert 14 < estimate(on_a_plane(1000, 20)) < 15.2
    assert 11.8 < estimate(on_a_plane(200, 20)) < 13


def test_the_dimension_by_hand():
    found, distances = neighbours(np.array([[0.0], [1.0], [3.0]], np.float32), 2)
    assert found.tolist() == [[1, 2], [0, 2], [1, 0]]
    assert distances.tolist() == [[1, 3], [1, 2], [2, 3]]
    # the mean of the logarithms of 3, 2 and 1.5 is ln(9)/3
    assert maximum_likelihood(distances) == pytest.approx(3 / np.log(9))
    # TwoNN leaves out the largest ratio: ln 1.5 at -ln(1 - 1/3), ln 2 at -ln(1 - 2/3)
    x, y = np.log([1.5, 2]), -np.log([2 / 3, 1 / 3])
    assert two_nearest(distances) == pytest.approx((x @ y) / (x @ x))


def test_two_nearest_leaves_out_a_tenth():
    ratios = np.array([1.1, 1.2, 1.3, 1.5, 1.8, 2.0, 2.5, 3.0, 4.0, 1000.0])
    x, y = np.log(ratios[:9]), -np.log(1 - np.arange(1, 10) / 10)
    assert two_nearest(np.stack([np.full(10, 2.0), 2 * ratios], axis=1)) == pytest.approx((x @ y) / (x @ x))


def test_neighbours_far_from_the_origin_are_those_near_it():
    points = on_a_plane(300, 5)
    found, distances = neighbours(points + 1000, 10)
    near, exact = neighbours(points, 10)
    np.testing.assert_array_equal(found[:, 0], near[:, 0])
    np.testing.assert_allclose(distances, exact, rtol=1e-3)


def test_copies_have_one_point_however_many_there_are():
    points = np.concatenate([on_a_plane(100, 4), np.zeros((60, 64), np.float32), np.full((40, 64), 9, np.float32)])
    found, distances = neighbours(points, 10)
    assert distinct(found, distances, 1e-6).tolist() == [*range(101), 160]


def test_all_figures_of_a_set():
    found, kept = dimensions(np.concatenate([on_a_plane(300, 6), on_a_plane(50, 6)]), 20, 1000, 0)
    plain, _ = dimensions(on_a_plane(300, 6), 20, 1000, 0)
    assert (found["n"], found["copies"], kept.tolist()) == (300, 50, list(range(300)))
    assert {**found, "copies": 0} == plain
    dimension, part = found["dimension"], found["dimension"]["subsamples"]
    assert part["size"] == 150
    assert part["low"] < part["median"] < part["high"] < dimension["value"] < 6
    assert abs(dimension["gaussian"] - dimension["value"]) < 0.5  # of a Gaussian of 5 or 6 dimensions


@pytest.mark.parametrize(("n", "k", "least"), [(99, 20, 100), (20, 20, 100), (1, 5, 100), (160, 80, 161)])
def test_too_few_photographs_give_a_reason_and_no_figures(n, k, least):
    found, _ = dimensions(on_a_plane(n, 3), k, 1000, 0)
    why = f"{n} photographs are too few; it takes {least}"
    assert found == {"n": n, "copies": 0, "dimension": {"why_not": why}}
    assert "value" in dimensions(on_a_plane(least, 3), k, 1000, 0)[0]["dimension"]


@pytest.mark.parametrize("n", [2, 15, 20, 21, 60])
def test_copies_are_found_among_few_points_too(n):
    points = on_a_plane(n, 3)
    found, kept = dimensions(np.concatenate([points, points[1:2] * (1 + 1e-6)]), 20, 1000, 0)
    assert (found["n"], found["copies"], kept.tolist()) == (n, 1, list(range(n)))


def test_copies_that_leave_too_few():
    found, _ = dimensions(np.concatenate([on_a_plane(99, 3)] * 2), 20, 1000, 0)
    assert (found["n"], found["copies"]) == (99, 99)
    assert found["dimension"] == {"why_not": "99 photographs are too few; it takes 100"}
    assert dimensions(np.ones((150, 3), np.float32), 20, 1000, 0)[0]["n"] == 1


def test_points_whose_two_nearest_are_equally_far_away_have_no_two_nearest_estimate():
    grid = np.stack(np.meshgrid(*[np.arange(15, dtype=np.float32)] * 2), axis=-1).reshape(-1, 2)
    found = dimensions(grid, 20, 1000, 0)[0]["dimension"]
    assert found["two_nearest"] is None
    assert 1.5 < found["value"] < 3


def test_points_that_are_equally_far_apart_have_no_dimension():
    found, _ = dimensions(np.eye(200, dtype=np.float32), 20, 1000, 0)
    assert found["dimension"] == {"why_not": "all pictures are equally far apart"}


# ── label sharpness ──────────────────────────────────────────────────────────────────────────────────────────────────

A, B = ("a",), ("b",)


def test_sharpness_of_two_pairs_by_hand():
    points = np.array([[0, 0], [3, 4], [0, 1], [100, 0]])
    # the closest pair of all, at 1, has one label; unlike ones are at 5, √18, and far away
    found = label_sharpness(points, [A, B, A, A])
    assert found.value == pytest.approx(1 / np.sqrt(18))
    assert (found.pairs, found.points) == (3, 4)
    assert label_sharpness(points, [A, B, B, A]).value == 1  # now they are unlike
    assert label_sharpness(points, [A, B, A, A], 1 / 2).value == pytest.approx(2 / np.sqrt(18))


def test_sharpness_of_pixels_is_exact_over_all_blocks():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (150, 400), np.uint8)
    pixels[140] = pixels[3] ^ 1  # 400 pixels that differ by one level
    labels = [A if row % 2 else B for row in range(150)]
    found = label_sharpness(pixels, labels, 1 / 255)
    assert found.value == pytest.approx(255 / 20, rel=1e-12)
    assert found.pairs == 75 * 75
    differences = pixels[1::2, None].astype(float) - pixels[None, ::2]
    near = 255 / np.sqrt((differences**2).sum(axis=2))
    assert found.high == pytest.approx(np.quantile(near, 0.99), rel=1e-4)


def test_pictures_that_share_a_label_are_alike_and_unlabelled_ones_do_not_count():
    points = np.array([[0.0], [1.0], [10.0], [0.1]])
    assert label_sharpness(points, [("a", "b"), ("b", "c"), ("d",), ()]).value == pytest.approx(1 / 9)
    assert label_sharpness(points, [A, A, A, ()]) is None
    assert label_sharpness(points[:0], []) is None
    assert sharpness(points, [A] * 4) == {"why_not": "there are no two pictures with different labels"}


def test_sharpness_takes_twenty_labelled_points():
    points = np.arange(40.0)[:, None]
    few = [A, B, *[A] * (FEWEST - 3), *[()] * 21]
    assert sharpness(points, few) == {"why_not": "19 labelled photographs are too few; it takes 20"}
    found = sharpness(points, [*few[:-1], A])
    assert (found["n"], found["pairs"], found["value"]) == (20, 19, 1)
