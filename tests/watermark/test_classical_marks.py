"""The marks without a model on real photographs: quality, robustness, false alarms, and pictures at the limits."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from variorum.generators.watermark.marks.dwt_dct import DwtDct
from variorum.generators.watermark.marks.dwt_dct_svd import DwtDctSvd
from variorum.generators.watermark.marks.spread_spectrum import SpreadSpectrum
from variorum.generators.watermark.marks.stdm import Stdm
from variorum.generators.watermark.watermarking.chance import bits_p_values
from variorum.generators.watermark.watermarking.quality import psnr
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.schemas.watermark import Mark, payload_of, random_of

CTX = Context(0, None, None)
MARKS = [Stdm(), Stdm(bits=64), Stdm(pilot=47), DwtDct(), DwtDctSvd(), SpreadSpectrum()]
every = pytest.mark.parametrize(
    "mark", MARKS, ids=["stdm", "stdm_64", "stdm_pilot", "dwt_dct", "dwt_dct_svd", "spread"]
)


def key_of(*what: object) -> bytes:
    return random_of(bytes(32), repr(what)).bytes(32)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def noise(image: np.ndarray, deviation: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(np.rint(image + rng.normal(0, deviation * 255, image.shape)), 0, 255).astype(np.uint8)


def crop(image: np.ndarray, share: float, top: float, left: float) -> np.ndarray:
    """A part of a picture, as large as the picture again; `top` and `left` in [0, 1] say where it lies."""
    height, width = image.shape[:2]
    high, wide = round(height * share), round(width * share)
    up, across = round((height - high) * top), round((width - wide) * left)
    return cv2.resize(image[up : up + high, across : across + wide], (width, height))


def right(mark: Mark, images: list[np.ndarray], keys: list[bytes]) -> np.ndarray:
    """Share of right bits of each picture."""
    return (mark.detect(images, keys, CTX).bits == mark.payloads(keys)).mean(1)


@pytest.fixture(scope="module")
def marked(photographs, keys):
    return list(Stdm().embed(photographs, keys, CTX))


# ── quality and robustness ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("mark", "worst"),
    [
        (Stdm(decibels=38), 0.7),
        (Stdm(), 0.5),
        (Stdm(decibels=50), 0.7),
        (DwtDctSvd(decibels=38), 1.3),  # black lifts what would be negative
        (DwtDctSvd(), 1),
        (DwtDctSvd(decibels=48), 1),
        (SpreadSpectrum(decibels=38), 0.7),
        (SpreadSpectrum(), 0.7),
    ],
    ids=str,
)
def test_the_psnr_is_the_one_asked_for(mark, worst, photographs, keys):
    made = mark.embed(photographs, keys, CTX)
    found = [psnr(*pair) for pair in zip(photographs, made, strict=True)]
    assert np.median(found) == pytest.approx(mark.decibels, abs=0.3)
    assert min(found) > mark.decibels - worst
    assert max(found) < mark.decibels + (worst if isinstance(mark, SpreadSpectrum) else 3)  # flat ones are changed less


@pytest.mark.parametrize("bits", [32, 64])
def test_stdm_survives_compression_noise_and_blur(bits, photographs, keys):
    mark = Stdm(bits=bits)
    made = mark.embed(photographs, keys, CTX)
    assert right(mark, made, keys).min() == 1
    assert right(mark, [jpeg(image, 50) for image in made], keys).min() >= (1 if bits == 32 else 0.96)
    assert right(mark, [noise(image, 0.05) for image in made], keys).min() >= (1 if bits == 32 else 0.96)
    blurred = right(mark, [cv2.GaussianBlur(image, (0, 0), 1) for image in made], keys)
    assert blurred.mean() >= (0.97 if bits == 32 else 0.95)


def test_stdm_survives_changes_of_contrast_and_size(photographs, keys, marked):
    mark = Stdm()
    for factor, least in ((0.6, 0.99), (1.3, 0.97)):
        made = [np.clip(np.rint(image * factor), 0, 255).astype(np.uint8) for image in marked]
        assert right(mark, made, keys).mean() >= least
    small = [cv2.resize(cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA), (256, 256)) for image in marked]
    assert right(mark, small, keys).mean() >= 0.98


@pytest.mark.parametrize(("top", "left"), [(0.5, 0.5), pytest.param(0.13, 0.92, marks=pytest.mark.slow)])
def test_a_pilot_finds_crops_again(top, left, photographs, keys, marked):
    mark = Stdm(pilot=47)
    cut = [crop(image, 0.9, top, left) for image in mark.embed(photographs, keys, CTX)]
    assert right(mark, cut, keys).mean() >= 0.95
    assert right(Stdm(), [crop(image, 0.9, top, left) for image in marked], keys).mean() < 0.65


def test_spread_spectrum_is_found_after_compression_and_noise(photographs, keys):
    mark = SpreadSpectrum()
    made = mark.embed(photographs, keys, CTX)
    for images in (made, [jpeg(image, 50) for image in made], [noise(image, 0.05) for image in made]):
        found = mark.detect(images, keys, CTX)
        assert np.mean(found.p_values < 0.001) >= 0.93
        np.testing.assert_array_less(0, found.scores)


def test_spread_spectrum_finds_crops_again_and_says_so_honestly(photographs, keys):
    mark, alone = SpreadSpectrum(resync=True), SpreadSpectrum()
    photographs, keys = photographs[:6], keys[:6]
    cut = [crop(image, 0.9, 0.3, 0.8) for image in mark.embed(photographs, keys, CTX)]
    found = mark.detect(cut, keys, CTX)
    assert np.mean(found.p_values < 0.001) > 0.8
    assert (alone.detect(cut, keys, CTX).p_values > 0.001).all()
    unmarked = mark.detect(photographs, keys, CTX)
    assert (unmarked.p_values > 0.01).all()
    assert found.scores.min() > unmarked.scores.max()


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("kind", [Stdm, DwtDctSvd])
def test_flat_pictures_carry_bits_through_a_jpeg(kind, level):
    images = [np.full((256, 256, 3), level, np.uint8)] * 4
    keys = [key_of("flat", place) for place in range(4)]
    mark = kind()
    made = mark.embed(images, keys, CTX)
    assert right(mark, made, keys).min() == 1
    assert right(mark, [jpeg(image, 50) for image in made], keys).min() == 1


@pytest.mark.parametrize(("kind", "most"), [(Stdm, 0.8), (DwtDctSvd, 1.0)])
def test_flat_ground_is_changed_least(kind, most):
    """Sky of one colour above a photograph: blocks of a few levels show there, and in the photograph none does."""
    import skimage.data

    photograph = cv2.resize(skimage.data.coffee(), (256, 256), interpolation=cv2.INTER_AREA)
    photograph[:96] = 180, 200, 230
    keys = [key_of("sky", place) for place in range(4)]
    mark = kind()
    made = mark.embed([photograph] * 4, keys, CTX)
    change = np.array(made)[..., 1].astype(float) - photograph[..., 1]
    flat, busy = change[:, :88], change[:, 104:]
    assert np.sqrt(np.mean(flat**2)) < most < 1.4 < np.sqrt(np.mean(busy**2))
    assert np.abs(flat).max() <= 3
    assert right(mark, [jpeg(image, 50) for image in made], keys).min() == 1


@pytest.mark.parametrize(
    ("method", "digest", "least"), [("dwtDct", "d2d67c38b50a689c", 0.7), ("dwtDctSvd", "fce888850160724a", 1)]
)
def test_the_marks_of_invisible_watermark_are_its_own_to_the_bit(method, digest, least):
    """As its `WatermarkEncoder` has marked this picture."""
    import skimage.data

    mark, key = DwtDct(method=method), key_of("package")
    (made,) = mark.embed([skimage.data.coffee()], [key], CTX)
    assert hashlib.sha256(made.tobytes()).hexdigest()[:16] == digest
    assert right(mark, [made], [key])[0] >= least


# ── false alarms ─────────────────────────────────────────────────────────────────────────────────────────────────────


@every
def test_a_wrong_key_finds_nothing(mark, photographs, keys):
    made = mark.embed(photographs[:8], keys[:8], CTX)
    others = [key_of("wrong", place) for place in range(8)]
    found = mark.detect(made, others, CTX)
    assert found.p_values.min() > 1e-4
    assert np.abs(found.scores - (0.5 if isinstance(mark, DwtDct) else 0)).max() < (
        0.4 if isinstance(mark, DwtDct) else 4
    )
    if found.bits is not None:
        assert right(mark, made, others).mean() == pytest.approx(0.5, abs=0.1)


def test_wrong_keys_give_half_of_the_bits(photographs, keys, marked):
    others = [[key_of("wrong", place, number) for place in range(len(marked))] for number in range(12)]
    shares = np.concatenate([right(Stdm(), marked, some) for some in others])
    assert shares.mean() == pytest.approx(0.5, abs=0.025)  # of 6,144 bits


def test_unmarked_pictures_pass_the_analytic_threshold_as_often_as_it_says(photographs):
    """24 of 32 bits: 0.35 % by the binomial distribution. 60 keys for each of 16 photographs."""
    mark = Stdm()
    tried = [
        (image, key_of("unmarked", place, number)) for place, image in enumerate(photographs) for number in range(60)
    ]
    images, keys = [image for image, _ in tried], [key for _, key in tried]
    found = mark.detect(images, keys, CTX)
    counts = (found.bits == mark.payloads(keys)).sum(1)
    for least in (20, 22, 24):
        chance = binom.sf(least - 1, 32, 0.5)
        low, high = binom.ppf([0.0005, 0.9995], len(tried), chance)
        assert low <= (counts >= least).sum() <= high
    for rate in (0.2, 0.05, 0.01):
        low, high = binom.ppf([0.0005, 0.9995], len(tried), rate)
        assert low <= (found.p_values <= rate).sum() <= high
    assert found.scores.std() == pytest.approx(1, abs=0.08)
    assert bits_p_values(found.bits, mark.payloads(keys))[counts == 24] == pytest.approx(binom.sf(23, 32, 0.5))


def test_the_correlation_of_unmarked_pictures_has_mean_0_and_deviation_1(photographs):
    tried = [(image, key_of("chips", place, number)) for place, image in enumerate(photographs) for number in range(40)]
    found = SpreadSpectrum().detect([image for image, _ in tried], [key for _, key in tried], CTX)
    assert len(found.scores) == 640
    assert abs(found.scores.std() - 1) < 0.08
    assert abs(found.scores.mean()) < 0.15
    low, high = binom.ppf([0.0005, 0.9995], 640, 0.05)
    assert low <= (found.p_values < 0.05).sum() <= high


# ── any picture, any company ─────────────────────────────────────────────────────────────────────────────────────────


@every
def test_a_picture_is_the_same_alone_and_in_company(mark, photographs, keys):
    images = [photographs[2], photographs[4][:, :256], cv2.resize(photographs[6], (301, 271)), photographs[1]]
    together = mark.embed(images, keys[:4], CTX)
    found = mark.detect(together, keys[:4], CTX)
    for place in (3, 0, 2):
        (alone,) = mark.embed([images[place]], [keys[place]], CTX)
        np.testing.assert_array_equal(alone, together[place])
        single = mark.detect([alone], [keys[place]], CTX)
        assert single.scores[0] == found.scores[place]
        assert single.p_values[0] == found.p_values[place]


@every
@settings(max_examples=5)
@given(height=st.integers(96, 400), width=st.integers(96, 400), seed=st.integers(0, 999))
@example(height=97, width=131, seed=0)
@example(height=1000, width=96, seed=0)
def test_any_size_is_marked_or_refused(mark, height, width, seed):
    import skimage.data

    image = cv2.resize(skimage.data.coffee(), (width, height), interpolation=cv2.INTER_AREA)
    before, key = image.copy(), key_of(seed)
    if why := mark.refusal(image):
        assert why[0] == "too_small"
        return
    image.setflags(write=False)
    (made,) = mark.embed([image], [key], CTX)
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    assert (made != image).any()
    found = mark.detect([made], [key], CTX)
    if isinstance(mark, Stdm):
        assert right(mark, [made], [key])[0] == 1
    assert 0 <= found.p_values[0] <= 1


@every
def test_no_pictures_are_no_trouble(mark):
    assert list(mark.embed([], [], CTX)) == []
    found = mark.detect([], [], CTX)
    assert found.scores.shape == found.p_values.shape == (0,)


@pytest.mark.parametrize("mark", [Stdm(), Stdm(pilot=47), DwtDctSvd(), SpreadSpectrum()])
def test_grey_pictures_stay_grey(mark, photographs, keys):
    grey = np.repeat(photographs[8][..., :1], 3, 2)
    (made,) = mark.embed([grey], keys[:1], CTX)
    np.testing.assert_array_equal(made[..., :1].repeat(3, 2), made)


def test_pictures_below_the_least_are_refused():
    assert Stdm().refusal(np.zeros((80, 90, 3), np.uint8)) == (
        "too_small",
        "90 x 80 pixels have 25 tiles of 16 for 32 bits",
    )
    assert Stdm().refusal(np.zeros((96, 96, 3), np.uint8)) is None
    assert Stdm(bits=64).refusal(np.zeros((96, 96, 3), np.uint8))
    assert DwtDctSvd().refusal(np.zeros((40, 40, 3), np.uint8))
    assert SpreadSpectrum().refusal(np.zeros((31, 400, 3), np.uint8))
    assert DwtDct().refusal(np.zeros((255, 256, 3), np.uint8))
    assert DwtDct().refusal(np.zeros((256, 256, 3), np.uint8)) is None


@every
def test_a_picture_too_small_for_it_holds_no_mark(mark):
    found = mark.detect([np.full((32, 32, 3), 90, np.uint8)], [key_of("small")], CTX)
    assert found.p_values[0] > 0.001


@pytest.mark.parametrize("wrong", [29.9, 50.1, 0, -45, float("nan")])
@pytest.mark.parametrize("name", ["stdm", "dwt_dct_svd", "spread_spectrum"])
def test_a_strength_out_of_range_is_refused(name, wrong):
    from variorum.schemas.errors import RecipeError

    with pytest.raises(RecipeError, match=r"here\.decibels"):
        build_component("marks", {"name": name, "decibels": wrong}, "here")


@every
@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_wrong_length_is_refused(mark, length, photographs):
    with pytest.raises(ValueError, match=f"32 bytes, not {length}"):
        mark.embed(photographs[:1], [bytes(length)], CTX)
    with pytest.raises(ValueError, match=f"32 bytes, not {length}"):
        mark.detect(photographs[:1], [bytes(length)], CTX)


def test_the_payload_and_what_hides_it_are_told_apart():
    key = key_of("independent")
    assert payload_of(key, 32).tolist() == payload_of(key, 64)[:32].tolist()
    assert payload_of(key, 32).tolist() != payload_of(key_of("another"), 32).tolist()
    assert random_of(key, "stdm").bytes(8) != random_of(key, "pilot").bytes(8)
