import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.editing.camouflage import CONTRAST, camouflaged, difference, ring
from variorum.generators.editing.geometry import CannotEdit

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
