import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.few_shot.camouflage import CONTRAST, MOST, camouflaged, difference, ring
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


def test_the_object_gets_the_colours_of_its_ring_and_the_ground_stays():
    picture, alpha = scene()
    made = camouflaged(picture, alpha)
    np.testing.assert_array_equal(made[alpha == 0], picture[alpha == 0])
    around, inside = picture[ring(alpha)].astype(float), made[alpha == 255].astype(float)
    assert abs(inside.mean(axis=0) - around.mean(axis=0)).max() < 6
    assert inside.std() < around.std()
    assert inside.mean(axis=1).std() == pytest.approx(CONTRAST * around.mean(axis=1).std(), rel=0.25)
    assert difference(made, alpha) < 0.25 * difference(picture, alpha)
    stripes = [
        np.corrcoef(one[alpha == 255].mean(axis=1), np.sin(X / 5)[alpha == 255])[0, 1] for one in (picture, made)
    ]
    assert min(stripes) > 0.95  # its texture is still there


@settings(max_examples=15)
@given(radius=st.integers(8, 55), colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_any_object_comes_nearer_to_its_ground(radius, colour):
    picture, alpha = scene(radius, colour)
    before, after = difference(picture, alpha), difference(camouflaged(picture, alpha), alpha)
    assert after < max(before, 12)


def test_a_pixel_changes_as_far_as_the_object_covers_it():
    picture, alpha = scene()
    whole, half = (np.where(alpha > 127, level, 0).astype(np.uint8) for level in (255, 128))
    full, part = (camouflaged(picture, one).astype(float) - picture for one in (whole, half))
    np.testing.assert_allclose(part, full * 128 / 255, atol=1)


@pytest.mark.parametrize(("radius", "width"), [(30, 11), (8, 6)])
def test_a_ring_is_as_wide_as_a_fifth_of_the_object_and_keeps_off_its_edge(radius, width):
    distances = np.hypot(X - 60, Y - 66)[ring(disc(radius))] - radius
    assert distances.min() == pytest.approx(2.5, abs=1)
    assert distances.max() == pytest.approx(2.5 + width, abs=1)


@pytest.mark.parametrize(("rough", "spread", "gain"), [(60, 4, MOST), (3, 0.4, 1)])
def test_the_noise_of_a_flat_object_is_not_made_a_texture(rough, spread, gain):
    rng, alpha = np.random.default_rng(0), disc(40)
    grey = np.where(alpha > 0, 120 + spread * rng.standard_normal(alpha.shape), 128 + rough * np.sin(X + Y))
    picture = np.rint(np.repeat(grey[..., None], 3, axis=2)).astype(np.uint8)
    before, after = (one[alpha == 255].astype(float).std() for one in (picture, camouflaged(picture, alpha)))
    assert after == pytest.approx(gain * before, rel=0.35)


def test_a_grey_picture_stays_grey():
    picture = np.repeat(scene()[0].mean(axis=2).astype(np.uint8)[..., None], 3, axis=2)
    made = camouflaged(picture, disc(30))
    assert (made[..., 0] == made[..., 1]).all()
    assert (made[..., 0] == made[..., 2]).all()
    assert not np.array_equal(made, picture)


def test_without_a_ring_there_is_no_camouflage():
    for alpha in (np.full((128, 128), 255, np.uint8), np.zeros((128, 128), np.uint8), disc(3)):
        with pytest.raises(CannotEdit, match="no_ring"):
            camouflaged(GRASS, alpha)
