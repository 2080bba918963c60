import numpy as np
import pytest

from variorum.curation.masks.onset import Curve, find_onset, first_rise, fit_curve, onset_epoch, rarity, rise

T = np.arange(1, 41, dtype=float)


@pytest.mark.parametrize(
    ("abc", "ratio", "onset"),
    [
        ((0.9, 1, 0.5), 0.9, 3),
        ((0.9, 1, 1), 0.9, 4),
        ((0.9, 1, 2), 0.9, 6),
        ((0.9, 1, 4), 0.9, 11),
        ((0.9, 1, 0.5), 0.8, 2),
        ((0.9, 1, 1), 0.8, 3),
        ((0.9, 1, 2), 0.8, 5),
        ((0.9, 1, 4), 0.8, 8),
        ((0.9, 0.5, 0.5), 0.9, 4),
        ((0.9, 0.5, 1), 0.9, 6),
        ((0.6, 0.3, 0.5), 0.9, 5),
    ],
)
def test_the_onset_of_known_curves(abc, ratio, onset):
    assert onset_epoch(Curve(*abc, rmse=0.0), ratio, 60) == onset
    # and from points on the curve, through the fit
    found = fit_curve(rise(T, *abc))
    assert found.rmse < 1e-3
    assert onset_epoch(found, ratio, 60) == onset


def test_the_fit_finds_the_parameters_through_noise():
    rng = np.random.default_rng(0)
    found = fit_curve(rise(T, 0.7, 0.8, 3.0) + rng.normal(0, 0.01, len(T)))
    assert (found.a, found.b, found.c) == pytest.approx((0.7, 0.8, 3.0), abs=0.4)
    assert found.rmse == pytest.approx(0.01, abs=0.005)
    assert found.value(T) == pytest.approx(rise(T, 0.7, 0.8, 3.0), abs=0.02)


def test_late_points_weigh_more():
    iou = np.where(T <= 20, 0.3, 0.7)
    found = fit_curve(iou)
    assert abs(found.value(T)[-1] - 0.7) < abs(found.value(T)[5] - 0.3)


def test_the_slope_is_the_derivative():
    curve = Curve(0.8, 0.6, 2.0, 0.0)
    t = np.linspace(1, 20, 50)
    assert curve.slope(t) == pytest.approx((curve.value(t + 1e-6) - curve.value(t - 1e-6)) / 2e-6, rel=1e-4)


def test_a_curve_that_is_still_rising_has_no_onset():
    onset = find_onset(rise(T[:15], 1, 1, 30), 0.9)
    assert (onset.epoch, onset.refusal) == (0, "its IoU is still rising")


def test_a_flat_curve_never_flattens():
    assert onset_epoch(Curve(0.0, 0.5, 1.0, 0.0), 0.9, 20) == 21


def test_the_start_before_the_class_is_found_at_all_does_not_count():
    late = np.concatenate([np.zeros(6), rise(T[:20], 0.9, 1, 1)])
    assert first_rise(late) == 6
    assert find_onset(late, 0.9).epoch == 6 + 4
    assert first_rise(np.full(5, 0.02)) == 5
    assert first_rise(np.array([0.5, 0.52])) == 0


def test_too_short_or_too_erratic_a_history_is_refused():
    assert find_onset(rise(T[:7], 0.9, 1, 1), 0.9).refusal == "7 epochs since its IoU rose, under 8"
    assert find_onset(rise(T[:8], 0.9, 1, 1), 0.9).refusal == ""
    erratic = np.where(T % 2 == 0, 0.3, 0.6)
    assert "misses its history by" in find_onset(erratic, 0.9).refusal
    with pytest.raises(ValueError, match="got 2"):
        fit_curve(np.array([0.1, 0.2]))


def test_rare_classes_are_refused():
    assert rarity(0.0009, 50) == "covers 0.090% of the pixels, under 0.1%"
    assert rarity(0.2, 9) == "in 9 masks, under 10"
    assert rarity(0.001, 10) == ""
