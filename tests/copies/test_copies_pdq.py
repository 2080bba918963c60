import numpy as np
import pdqhash
import pytest
from copied_pictures import SIDE, TRANSFORMS, copy, crops, render

from variorum.kit.copies.join import RADIUS, hamming_pairs
from variorum.kit.copies.pdq import LEAST_QUALITY, pdq, pixel_digest, thumbnail


@pytest.fixture(scope="module")
def pictures():
    """A hundred photographic crops and forty renders that show enough for a meaningful hash."""
    return [*(picture for picture in crops() if pdq(picture)[1] >= LEAST_QUALITY), *(render(k) for k in range(40))]


@pytest.fixture(scope="module")
def turns(pictures):
    return np.array([pdq(picture)[0] for picture in pictures])


@pytest.fixture(scope="module")
def found(pictures, turns):
    """Transform to bits `[N]` between a picture and its copy: upright, and in the copy's nearest orientation."""
    distances = {}
    for transform in TRANSFORMS:
        copies = np.array([pdq(copy(picture, transform))[0] for picture in pictures])
        bits = np.bitwise_count(copies ^ turns[:, :1]).sum(axis=2)
        distances[transform] = bits[:, 0], bits.min(axis=1)
    return distances


def test_there_are_enough_pictures(pictures):
    assert len(pictures) >= 120


# share of copies within 31 bits: with one query, and with eight
@pytest.mark.parametrize(
    ("transform", "within", "turned"),
    [
        ("jpeg", 1.0, 1.0),
        ("resize", 1.0, 1.0),
        ("brightness", 0.95, 0.95),
        ("blur", 1.0, 1.0),
        ("crop_90", 0.0, 0.0),
        ("crop_70", 0.0, 0.0),
        ("flip", 0.0, 1.0),
        ("turn_90", 0.0, 1.0),
        ("flip_jpeg", 0.0, 1.0),
        ("flip_resize", 0.0, 1.0),
        ("rotate_5", 0.0, 0.0),
        ("padding", 0.0, 0.0),
    ],
)
def test_what_a_hash_survives(found, transform, within, turned):
    one, eight = found[transform]
    assert (one <= RADIUS).mean() == pytest.approx(within, abs=0.05)
    assert (eight <= RADIUS).mean() == pytest.approx(turned, abs=0.05)


def test_what_is_further_away_than_the_radius_is_still_no_stranger(found):
    share = {transform: (eight <= 90).mean() for transform, (_, eight) in found.items()}
    assert min(share[name] for name in ("text", "flip_crop_95")) >= 0.95
    assert 0.5 <= share["crop_90"] < 1
    assert max(share[name] for name in ("crop_70", "padding")) <= 0.15


def test_no_two_of_five_hundred_pictures_are_taken_for_one():
    hashes = np.array([turns for turns, quality in (pdq(render(k, 64)) for k in range(500)) if quality >= 50])
    assert len(hashes) == 500
    own = hashes[:, 0]
    nearest = min(np.bitwise_count(own[k] ^ own[k + 1 :]).sum(axis=1).min() for k in range(499))
    assert nearest > 2 * RADIUS  # 124 750 pairs
    assert len(hamming_pairs(hashes)) == 0


def test_hashes_are_pdqs_own_of_the_thumbnail_and_do_not_depend_on_the_size(pictures):
    for picture in pictures[:20]:
        small = np.repeat(thumbnail(picture)[..., None], 3, axis=2)
        bits, quality = pdqhash.compute_dihedral(small)
        found = pdq(picture)
        assert np.array_equal(np.unpackbits(found[0], axis=1), bits)
        assert found[1] == quality
        twice = np.kron(picture, np.ones((2, 2, 1), np.uint8))
        assert np.bitwise_count(pdq(twice)[0][0] ^ pdq(picture)[0][0]).sum() <= 2


def test_turns_are_the_hashes_of_the_turned_picture(pictures):
    for picture in pictures[:20]:
        turned = [np.rot90(image, k) for image in (picture, picture[:, ::-1]) for k in range(4)]
        hashes = np.array([pdq(np.ascontiguousarray(image))[0][0] for image in turned])
        bits = np.bitwise_count(hashes[:, None] ^ pdq(picture)[0]).sum(axis=2)
        assert sorted(bits.argmin(axis=1)) == list(range(8))
        assert bits.min(axis=1).max() <= 4


@pytest.mark.parametrize("value", [0, 1, 50, 128, 200, 255])
def test_a_flat_picture_shows_nothing(value):
    assert pdq(np.full((SIDE, SIDE, 3), value, np.uint8))[1] == 0


@pytest.mark.parametrize("shape", [(8, 8), (9, 300), (64, 64), (1000, 20)])
def test_any_size_can_be_hashed(shape):
    turns, quality = pdq(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    assert turns.shape == (8, 32)
    assert 0 <= quality <= 100


def test_pixels_and_shape_make_the_digest():
    picture = crops()[0]
    assert pixel_digest(picture).dtype == np.uint8
    assert len(pixel_digest(picture)) == 16
    assert np.array_equal(pixel_digest(picture), pixel_digest(np.asfortranarray(picture)))
    other = picture.copy()
    other[5, 5, 1] ^= 1
    assert not np.array_equal(pixel_digest(picture), pixel_digest(other))
    assert not np.array_equal(pixel_digest(picture), pixel_digest(picture.reshape(80, 320, 3)))
