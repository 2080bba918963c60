import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.few_shot.camouflage import FAINTEST, MOST, camouflaged, difference, ring, visibility
from variorum.kit.pictures.geometry import CannotEdit

GRASS = np.repeat(skimage.data.grass()[:128, :128, None], 3, axis=2) // np.array([1, 1, 2], np.uint8)
Y, X = np.indices((128, 128))


def disc(radius: int) -> np.ndarray:
    distance = np.hypot(X - 60, Y - 66)
    return np.asarray(np.clip((radius - distance) * 128 + 128, 0, 255), np.uint8)


def scene(radius: int = 30, colour: tuple[int, int, int] = (220, 40, 30)) -> tuple[np.ndarray, np.ndarray]:
    alpha = disc(radius)
    shade = np.array(colour) * (0.7 + 0.3 * np.sin(X / 5))[..., None]
    cover = alpha[..., None] / 255
    return np.rint(GRASS * (1 - cover) + shade * cover).astype(np.uint8), alpha


def stripes(picture: np.ndarray, alpha: np.ndarray) -> float:
    """Correlation of the object with its own stripes."""
    return float(np.corrcoef(picture[alpha == 255].mean(axis=1), np.sin(X / 5)[alpha == 255])[0, 1])


def test_the_object_gets_the_colours_and_the_texture_of_its_ground():
    picture, alpha = scene()
    made = camouflaged(picture, alpha, GRASS)
    np.testing.assert_array_equal(made[alpha == 0], GRASS[alpha == 0])
    around, inside = picture[ring(alpha)].astype(float), made[alpha == 255].astype(float)
    assert abs(inside.mean(axis=0) - around.mean(axis=0)).max() < 12
    assert inside.std() == pytest.approx(around.std(), rel=0.25)
    assert difference(made, alpha) < 0.15 * difference(picture, alpha)
    assert 0.5 < stripes(made, alpha) < 0.95 < stripes(picture, alpha)  # still there, under the grass
    assert visibility(made, alpha, GRASS) > 5 * FAINTEST


def test_above_and_below_it_gets_other_colours():
    plate = np.where((Y < 66)[..., None], [40, 90, 200], [200, 160, 60]).astype(np.uint8)
    alpha = disc(30)
    made = camouflaged(np.where(alpha[..., None] > 127, 120, plate).astype(np.uint8), alpha, plate)
    for rows in (slice(36, 48), slice(90, 96)):
        inside = made[rows][alpha[rows] == 255].mean(axis=0)
        np.testing.assert_allclose(inside, plate[rows][alpha[rows] == 255].mean(axis=0), atol=12)


def test_on_a_smooth_ground_it_can_still_be_seen():
    plate = np.full_like(GRASS, 150)
    picture, alpha = np.where(disc(30)[..., None] > 127, scene()[0], plate), disc(30)
    assert visibility(camouflaged(picture, alpha, plate), alpha, plate) > 0.75 * FAINTEST
    flat = np.where(alpha[..., None] > 127, 20, plate).astype(np.uint8)
    assert visibility(camouflaged(flat, alpha, plate), alpha, plate) < 1  # which a check refuses


@settings(max_examples=15)
@given(radius=st.integers(8, 55), colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_any_object_comes_nearer_to_its_ground(radius, colour):
    picture, alpha = scene(radius, colour)
    before, after = difference(picture, alpha), difference(camouflaged(picture, alpha, GRASS), alpha)
    assert after < max(before, 12)


def test_a_pixel_changes_as_far_as_the_object_covers_it():
    picture, alpha = scene()
    whole, half = (np.where(alpha > 127, level, 0).astype(np.uint8) for level in (255, 128))
    full, part = (camouflaged(picture, one, GRASS).astype(float) - GRASS for one in (whole, half))
    np.testing.assert_allclose(part, full * 128 / 255, atol=1)


@pytest.mark.parametrize(("radius", "width"), [(30, 11), (8, 6)])
def test_a_ring_is_as_wide_as_a_fifth_of_the_object_and_keeps_off_its_edge(radius, width):
    distances = np.hypot(X - 60, Y - 66)[ring(disc(radius))] - radius
    assert distances.min() == pytest.approx(2.5, abs=1)
    assert distances.max() == pytest.approx(2.5 + width, abs=1)


def test_the_noise_of_a_flat_object_is_not_made_a_texture():
    rng, alpha = np.random.default_rng(0), disc(40)
    plate = np.repeat(np.rint(128 + 60 * np.sin(X + Y))[..., None], 3, axis=2).astype(np.uint8)
    noise = 2 * rng.standard_normal(alpha.shape)
    picture = np.where(alpha[..., None] > 0, np.rint(120 + noise)[..., None], plate).astype(np.uint8)
    flat = np.where(alpha[..., None] > 0, 120, plate).astype(np.uint8)
    noisy, smooth = (camouflaged(one, alpha, plate)[alpha == 255].astype(float) for one in (picture, flat))
    assert (noisy - smooth).std() == pytest.approx(MOST * 2, rel=0.3)


def test_a_grey_picture_stays_grey():
    picture, plate = (np.repeat(one.mean(axis=2).astype(np.uint8)[..., None], 3, axis=2) for one in (scene()[0], GRASS))
    made = camouflaged(picture, disc(30), plate)
    assert (made[..., 0] == made[..., 1]).all()
    assert (made[..., 0] == made[..., 2]).all()
    assert not np.array_equal(made, picture)


def test_without_a_ring_there_is_no_camouflage():
    for alpha in (np.full((128, 128), 255, np.uint8), np.zeros((128, 128), np.uint8), disc(3)):
        with pytest.raises(CannotEdit, match="no_ring"):
            camouflaged(GRASS, alpha, GRASS)
