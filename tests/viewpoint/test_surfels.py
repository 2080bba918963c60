"""Views of points on a surface: what lies where, what hides what, and what is measured of a view."""

import numpy as np
import pytest

from variorum.kit.surfels import FIELD, INNER, SURFEL, View, render

RED, BLUE = (200, 0, 0), (0, 0, 200)


def patch(middle, half, colour, *, step=0.004, normal=(0, 0, 127)):
    """A square that faces z, about `middle`."""
    grid = np.arange(-half, half, step)
    found = np.zeros(len(grid) ** 2, SURFEL)
    found["point"][:, :2] = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    found["point"] += np.array(middle, np.float32)
    found["normal"], found["colour"] = normal, colour
    return found


def centre(mask):
    return np.argwhere(mask).mean(axis=0)


def test_a_square_lies_where_it_should():
    shown = render(patch((0.3, 0, 0), 0.5, RED), View(0, 0, distance=4), 128)
    dark = shown.image[..., 2] < 128
    side = 2 * 0.5 / (2 * 4 * FIELD) * 128
    assert dark.sum() == pytest.approx(side**2, rel=0.05)
    assert shown.share == pytest.approx(side**2 / 128**2, rel=0.06)
    assert centre(dark) == pytest.approx([63.5, 63.5 + 0.3 / (4 * FIELD) * 64], abs=0.8)
    assert shown.cut_off == 0
    assert shown.holes == 0


@pytest.mark.parametrize(
    ("view", "rows", "columns"),
    [
        (View(0, 0), 0, 1),
        (View(180, 0), 0, -1),
        (View(0, 0, roll=90), 1, 0),
        (View(0, 0, right=-0.6), 0, -1),
        (View(0, 0, up=0.6), -1, 1),
        (View(0, 60), 0, 1),
    ],
)
def test_the_camera_turns_as_its_angles_say(view, rows, columns):
    """A square to the right of the origin."""
    row, column = centre(render(patch((0.3, 0, 0), 0.1, RED), view, 96).image[..., 2] < 128) - 47.5
    assert [np.sign(round(row / 8)), np.sign(round(column / 8))] == [rows, columns]


def test_the_nearer_surface_hides_the_other_from_either_side():
    both = np.concatenate([patch((0, 0, 0.3), 0.3, RED), patch((0, 0, -0.3), 0.3, BLUE)])
    for yaw, channel in ((0, 0), (180, 2)):
        image = render(both, View(yaw, 0), 64).image
        dark = image.min(axis=-1) < 100
        assert image[dark].argmax(axis=1).mean() == channel


def test_what_classifiers_do_not_see_counts_as_cut_off():
    edge = 4 * FIELD * INNER
    shown = render(patch((edge, 0, 0), 0.2, RED), View(0, 0, distance=4), 64)
    assert shown.cut_off == pytest.approx(0.5, abs=0.02)


def test_gaps_between_points_are_holes_and_a_ring_has_none():
    sparse = patch((0, 0, 0), 0.5, RED)
    kept = np.random.default_rng(0).random(len(sparse)) < 0.2
    assert render(sparse[kept], View(0, 0), 256).holes > 0.005
    ring = sparse[(np.abs(sparse["point"][:, :2]) > 0.2).any(axis=1)]
    assert render(ring, View(0, 0), 256).holes == 0


def test_the_order_of_points_changes_nothing_where_their_depths_differ():
    rng = np.random.default_rng(1)
    cloud = np.zeros(20_000, SURFEL)
    cloud["point"] = rng.uniform(-0.5, 0.5, (20_000, 3))
    cloud["normal"], cloud["colour"] = rng.integers(-127, 128, (20_000, 3)), rng.integers(0, 256, (20_000, 3))
    view = View(33, 21, 7, 4.2, 0.1, -0.1)
    assert (render(cloud, view, 64).image == render(cloud[::-1], view, 64).image).mean() > 0.999
