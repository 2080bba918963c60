"""The field of a known pattern has the pattern's direction, and averages along it keep the pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.kit.pictures.flow import average, edge_flow, follow

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


def stripes(height: int, width: int, angle: float, period: float) -> Pixels:
    """Sinusoidal stripes that run at an angle in degrees, clockwise from horizontal, `[H, W]`."""
    y, x = np.mgrid[:height, :width]
    turn = np.deg2rad(angle)
    phase = 2 * np.pi * (y * np.cos(turn) - x * np.sin(turn)) / period
    return np.asarray(127.5 + 100 * np.sin(phase), np.uint8)


def rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=2)


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(0, 180), side=st.sampled_from([120, 160, 320, 500]))
def test_tangents_run_along_stripes(angle: float, side: int) -> None:
    flow = edge_flow(rgb(stripes(side, side + 40, angle, side / 10)))
    inner = flow.tangents[8:-8, 8:-8]
    along = np.asarray([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    assert np.abs(inner @ along).min() > np.cos(np.deg2rad(3))
    assert np.hypot(inner[..., 0], inner[..., 1]) == pytest.approx(1, abs=1e-5)
    assert flow.anisotropy[8:-8, 8:-8].min() > 0.9


def test_edges_without_a_difference_in_luminance_count() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[:, :100] = (120, 60, 60)
    picture[:, 100:] = (60, 91, 60)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    assert int(np.ptp(grey)) <= 1
    flow = edge_flow(picture)
    assert np.abs(flow.tangents[40:120, 79:81, 1]).min() > 0.99
    assert flow.anisotropy[40:120, 79:81].min() > 0.8


def test_flat_areas_and_noise_have_no_direction() -> None:
    assert edge_flow(np.full((90, 200, 3), 77, np.uint8)).anisotropy.max() < 1e-3
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    assert np.median(edge_flow(noise).anisotropy) < 0.4


def test_paths_end_at_their_distance_on_both_sides() -> None:
    picture = rgb(stripes(240, 320, 30, 24))
    paths = follow(edge_flow(picture), (240, 320), 3.0, 2)
    grid = np.stack(np.meshgrid(np.arange(320), np.arange(240)), axis=-1)
    assert [path.distance for path in paths] == [3, 6, 3, 6]
    for path in paths:
        away = (path.ends - grid)[30:-30, 30:-30]
        assert np.hypot(away[..., 0], away[..., 1]) == pytest.approx(path.distance, abs=0.1)
        assert np.abs(away @ (np.cos(np.pi / 6), np.sin(np.pi / 6))).min() > 0.99 * path.distance - 0.1
    assert ((paths[1].ends + paths[3].ends) / 2 - grid)[30:-30, 30:-30] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("angle", [0, 40, 90, 110, 135])
def test_averages_along_stripes_keep_them_and_lose_noise(angle: float) -> None:
    clean = stripes(240, 320, angle, 24)
    noisy = clean.astype(np.float32) + np.random.default_rng(1).normal(0, 20, clean.shape).astype(np.float32)
    paths = follow(edge_flow(rgb(clean)), clean.shape, 2.0, 3)
    smooth = average(noisy, paths, 4.0)

    def error(values: Singles) -> float:
        return float(np.abs(values - clean)[20:-20, 20:-20].mean())

    assert error(average(clean, paths, 4.0)) < 2
    assert error(smooth) < 0.6 * error(noisy)


def test_a_constant_keeps_its_value() -> None:
    picture = rgb(stripes(60, 90, 45, 12))
    paths = follow(edge_flow(picture), (60, 90), 1.5, 3)
    assert average(np.full((60, 90), 9, np.uint8), paths, 2.0) == pytest.approx(9, abs=1e-4)
