"""Intrinsic dimension and label sharpness on points whose values are known."""

import numpy as np
import pytest

from variorum.report.geometry import FEWEST, dimension, geometry


def on_a_plane(n, flat, ambient=64, seed=0):
    """`n` Gaussian points in a plane of `flat` dimensions, turned at random in `ambient` ones."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((ambient, flat)))
    return rng.standard_normal((n, flat)) @ turn.T


def test_the_dimension_of_a_plane():
    assert 4.6 < dimension(on_a_plane(1000, 5)) < 5.4
    assert 1.8 < dimension(on_a_plane(1000, 2)) < 2.2
    # known to say too little in high dimensions: a Gaussian of 20 has about 14.6 at 1000 points
    assert 13.5 < dimension(on_a_plane(1000, 20)) < 15.7


def test_the_dimension_by_hand():
    points = np.array([[0.0], [1.0], [3.0]])
    # neighbours at 1, 3; at 1, 2; at 2, 3: the mean of the logarithms of 3, 2 and 1.5 is ln(9)/3
    assert dimension(points, k=2) == pytest.approx(3 / np.log(9))


def test_sharpness_is_of_the_closest_pair_of_unlike_classes():
    units = np.eye(200) + 1e-4 * np.random.default_rng(0).standard_normal((200, 200))
    classes = np.zeros(200, np.int64)
    classes[100:] = 1
    units[150] = units[0] + 0.2 * units[150]  # close to another class
    units[1] = units[2] + 0.01 * units[1]  # closer still, and of one class
    found = geometry(5 * units, classes, [str(i) for i in range(200)], encoder="e")
    near = units[150] / np.linalg.norm(units[150])
    first = units[0] / np.linalg.norm(units[0])
    assert found.sharpness == pytest.approx(1 / np.linalg.norm(near - first), rel=1e-6)
    assert found.typical == pytest.approx(1 / np.sqrt(2), rel=0.01)
    assert found.pairs == 100 * 100


def test_copies_and_edits_of_a_photograph_count_once():
    points = on_a_plane(300, 6).astype(np.float32)
    plain = geometry(points, np.zeros(300, np.int64), [str(i) for i in range(300)], encoder="e")
    more = np.concatenate([points, points[:50], points + 1e-3])
    photographs = [str(i) for i in range(300)] + [f"copy {i}" for i in range(50)] + [str(i) for i in range(300)]
    found = geometry(more, np.zeros(650, np.int64), photographs, encoder="e")
    assert (found.photographs, found.copies) == (300, 50)
    assert found.dimension == pytest.approx(plain.dimension, rel=0.1)
    assert found.low <= found.dimension <= found.high
    assert found.sharpness is None  # one class


def test_points_that_are_equally_far_apart_have_no_dimension():
    found = geometry(np.eye(200, dtype=np.float32), np.arange(200), [str(i) for i in range(200)], encoder="e")
    assert found.why == "photographs are all equally far apart"


def test_too_few_photographs_give_a_reason_and_no_figures():
    broken = np.full((300, 8), np.nan, np.float32)
    broken[: FEWEST - 1] = np.random.default_rng(0).standard_normal((FEWEST - 1, 8))
    found = geometry(broken, np.zeros(300, np.int64), [str(i) for i in range(300)], encoder="e")
    assert found.why == "99 photographs are too few; it takes 100"
    assert found.sharpness is None
