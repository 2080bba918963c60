import cv2
import numpy as np
import pdqhash
import pytest
from skimage import data

from curation.fingerprints.pdq import pdq, pdq_dihedral, smooth_and_pick

PICTURES = {
    "astronaut": data.astronaut,
    "chelsea": data.chelsea,
    "coffee": data.coffee,
    "rocket": data.rocket,
    "retina_third": lambda: cv2.resize(data.retina(), (470, 470), interpolation=cv2.INTER_AREA),
}


def bits(packed):
    return np.unpackbits(packed, axis=-1)


@pytest.mark.parametrize("name", PICTURES)
def test_the_bits_are_the_reference_implementations(name):
    image = np.ascontiguousarray(PICTURES[name]())
    expected, expected_quality = pdqhash.compute(image)
    found, quality = pdq(image)
    assert quality == expected_quality
    assert int((bits(found) != expected).sum()) <= 4


@pytest.mark.parametrize("name", PICTURES)
def test_the_dihedral_hashes_are_the_reference_implementations_in_its_order(name):
    image = np.ascontiguousarray(PICTURES[name]())
    expected, expected_quality = pdqhash.compute_dihedral(image)
    found, quality = pdq_dihedral(image)
    assert quality == expected_quality
    assert found.shape == (8, 32)
    assert (bits(found) != np.array(expected)).sum(axis=1).max() <= 4
    assert (found[0] == pdq(image)[0]).all()


@pytest.mark.parametrize("shape", [(40, 50), (70, 300), (64, 64), (127, 129), (1000, 65)])
def test_any_shape_gives_the_reference_bits(shape):
    rng = np.random.default_rng(sum(shape))
    image = cv2.GaussianBlur(rng.integers(0, 256, (*shape, 3), dtype=np.uint8), (0, 0), 2)
    expected, _ = pdqhash.compute(image)
    assert int((bits(pdq(image)[0]) != expected).sum()) <= 16


def test_a_flat_picture_has_no_quality():
    assert pdq(np.full((100, 80, 3), 90, np.uint8))[1] == 0


@pytest.mark.parametrize("length", [1, 63, 64, 65, 500])
def test_smoothing_keeps_the_mean(length):
    assert np.allclose(smooth_and_pick(length).sum(axis=1), 1, atol=1e-5)
