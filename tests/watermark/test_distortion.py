"""Distortions of every kind on real photographs: what each changes, how much, and what it draws."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageEnhance, ImageFilter

from variorum.annotations import resampled_mask
from variorum.generators.watermark.attacks.codec import Codec
from variorum.generators.watermark.attacks.combined_distortion import CombinedDistortion
from variorum.generators.watermark.attacks.denoising import Denoising
from variorum.generators.watermark.attacks.distortion import Distortion
from variorum.generators.watermark.watermarking.distortions import GROUPS, KINDS, followed
from variorum.generators.watermark.watermarking.quality import linf, psnr
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component

PHOTOGRAPHS = [
    np.ascontiguousarray(getattr(skimage.data, name)()[40:168, 100:260])
    for name in ("chelsea", "coffee", "astronaut", "rocket")
]
ATTACKS = [cls(kind=kind) for cls in (Distortion, Codec, Denoising) for kind in cls.kinds] + [
    CombinedDistortion(group=group) for group in (*GROUPS, "all")
]
MOVING = {"rotation", "resized_crop", "centre_crop", "stretch", "flip", "shift", "erasing"}
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
every = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.called)


def applied(attack, images, strength, seeds=None):
    rngs = [np.random.default_rng(seed) for seed in (range(len(images)) if seeds is None else seeds)]
    return list(attack.apply(images, strength, rngs, None))


def one(kind, strength, image=PHOTOGRAPHS[0], seed=0, **fields):
    return applied(Distortion(kind=kind, **fields), [image], strength, [seed])[0]


@every
def test_a_picture_loses_more_with_every_strength(attack):
    found = []
    for strength in STRENGTHS:
        made = applied(attack, PHOTOGRAPHS, strength)
        for before, after in zip(PHOTOGRAPHS, made, strict=True):
            assert after.image.shape == before.shape
            assert after.image.dtype == np.uint8
            assert (after.origins is not None) == (
                attack.called in MOVING or attack.called in ("combined_geometric", "combined_all")
            )
        found.append(np.mean([psnr(*pair) for pair in zip(PHOTOGRAPHS, (item.image for item in made), strict=True)]))
    assert found == sorted(found, reverse=True)
    assert found[0] < 50
    if attack.called != "flip":
        assert found[-1] < found[0] - 1


@every
def test_the_same_seed_is_the_same_picture_whatever_the_company(attack):
    together = applied(attack, PHOTOGRAPHS, 0.6, [3, 4, 5, 6])
    assert [image.flags.writeable for image in PHOTOGRAPHS] == [True] * 4
    frozen = PHOTOGRAPHS[1].copy()
    frozen.setflags(write=False)
    (alone,) = applied(attack, [frozen], 0.6, [4])
    np.testing.assert_array_equal(alone.image, together[1].image)
    assert dict(alone.drawn) == dict(together[1].drawn)
    assert not np.shares_memory(alone.image, frozen)


def test_pictures_are_never_written_to():
    before = [image.copy() for image in PHOTOGRAPHS]
    for attack in ATTACKS:
        applied(attack, PHOTOGRAPHS, 1.0)
    for kept, image in zip(before, PHOTOGRAPHS, strict=True):
        np.testing.assert_array_equal(kept, image)


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"flip", "jpeg"}))
def test_hardly_any_strength_is_hardly_any_change(kind):
    assert linf(PHOTOGRAPHS[2], one(kind, 1e-5, PHOTOGRAPHS[2]).image) <= 1


# ── amounts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_amounts_are_linear_between_the_ends_of_waves():
    ends = {
        "rotation": ("degrees", 0, 45),
        "resized_crop": ("area", 1, 0.5),
        "erasing": ("area", 0, 0.25),
        "brightness": ("factor", 1, 2),
        "contrast": ("factor", 1, 2),
        "blur": ("radius", 0, 20),
        "noise": ("deviation", 0, 0.1),
        "jpeg": ("quality", 90, 10),
    }
    assert list(KINDS)[:8] == list(ends)
    for kind, (name, low, high) in ends.items():
        for strength in (0.2, 0.5, 1.0):
            wanted = low + strength * (high - low)
            assert Distortion(kind=kind).amount(strength) == {name: pytest.approx(wanted)}
    assert Distortion(kind="flip").amount(0.4) == {}
    assert isinstance(Distortion(kind="jpeg").amount(0.4)["quality"], int)
    assert Distortion(kind="noise", most=0.16).amount(0.5) == {"deviation": 0.08}  # Saberi et al.


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "rot"}, "kind 'rot' isn't one of: rotation, resized_crop"),
        ({"kind": "jpeg", "most": 0}, "quality 0 of jpeg must be 1 to 100"),
        ({"kind": "jpeg", "most": 95}, "jpeg goes from quality 90 the other way"),
        ({"kind": "flip", "most": 1}, "flip has no amount"),
    ],
)
def test_what_cannot_be_is_refused(fields, said):
    with pytest.raises(RecipeError, match=said):
        build_component("attacks", {"name": "distortion", **fields}, "attacks.0")


def test_another_kind_is_another_attack():
    for cls in (Distortion, Codec, Denoising):
        assert len({cls(kind=kind).fingerprint() for kind in cls.kinds}) == len(cls.kinds)
    assert Distortion(kind="blur").called == "blur"
    assert Distortion(kind="blur", label="soft").called == "soft"


# ── what each does ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_strengths_share_what_is_drawn():
    assert {np.sign(one("rotation", strength, seed=5).drawn["degrees"]) for strength in STRENGTHS} in ({1}, {-1})
    turned = {np.sign(one("rotation", 0.5, seed=seed).drawn["degrees"]) for seed in range(20)}
    assert turned == {1, -1}
    mild, strong = (one("noise", strength).image.astype(float) - PHOTOGRAPHS[0] for strength in (0.4, 0.8))
    inner = (PHOTOGRAPHS[0] > 80) & (PHOTOGRAPHS[0] < 170)
    assert np.corrcoef(mild[inner], strong[inner])[0, 1] > 0.99


def test_a_turn_puts_pixels_where_it_says():
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 80] = 255
    degrees = one("rotation", 1, image, most=90).drawn["degrees"]
    turned = one("rotation", 1, image, most=90).image
    assert tuple(np.argwhere(turned[..., 0] > 128)[0]) == ((20, 50) if degrees > 0 else (80, 50))  # left is up
    assert (one("rotation", 1).image[0, 0] == 0).all()


def test_crops_show_what_pillow_shows():
    image = PHOTOGRAPHS[2]
    height, width = image.shape[:2]
    found = one("centre_crop", 1, image).image
    part = Image.fromarray(image[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4])
    wanted = np.asarray(part.resize((width, height), Image.Resampling.BILINEAR))
    assert linf(wanted[2:-2, 2:-2], found[2:-2, 2:-2]) <= 3  # at its border the part ends, and the picture goes on
    for seed in range(4):
        made = one("resized_crop", 1, image, seed)
        left, top, side = made.drawn["left"], made.drawn["top"], 0.5**0.5
        assert 0 <= left <= width * (1 - side) + 0.01
        assert 0 <= top <= height * (1 - side) + 0.01
        assert made.origins[..., 0].min() == pytest.approx(left - 0.5 + side / 2, abs=0.01)


def test_a_stretch_keeps_rows_and_a_flip_keeps_all():
    rows = np.repeat(np.arange(128, dtype=np.uint8)[:, None, None], 96, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(one("stretch", 1, rows).image, rows)
    np.testing.assert_array_equal(one("flip", 0.2).image, PHOTOGRAPHS[0][:, ::-1])


def test_a_shift_moves_by_whole_pixels_as_far_as_it_says():
    image = PHOTOGRAPHS[3]
    for strength in STRENGTHS:
        made = one("shift", strength, image, seed=8)
        across, down = made.drawn["across"], made.drawn["down"]
        assert np.hypot(across, down) == pytest.approx(16 * strength, abs=0.8)
        height, width = image.shape[:2]
        inner = made.image[max(down, 0) : height + min(down, 0), max(across, 0) : width + min(across, 0)]
        source = image[max(-down, 0) : height + min(-down, 0), max(-across, 0) : width + min(-across, 0)]
        np.testing.assert_array_equal(inner, source)


def test_erasing_blackens_the_area_and_nothing_else():
    image = np.maximum(PHOTOGRAPHS[1], 1)
    for strength in STRENGTHS:
        made = one("erasing", strength, image)
        black = (made.image == 0).all(axis=2)
        assert black.mean() == pytest.approx(0.25 * strength, abs=0.01)
        np.testing.assert_array_equal(made.image[~black], image[~black])
        np.testing.assert_array_equal(resampled_mask(np.ones(black.shape, bool), made.origins), ~black)


def test_light_and_blur_are_those_of_pillow():
    image = Image.fromarray(PHOTOGRAPHS[1])
    brighter = np.asarray(ImageEnhance.Brightness(image).enhance(1.4))
    contrasted = np.asarray(ImageEnhance.Contrast(image).enhance(1.4))
    assert linf(one("brightness", 0.4, PHOTOGRAPHS[1]).image, brighter) <= 1
    assert linf(one("contrast", 0.4, PHOTOGRAPHS[1]).image, contrasted) <= 1
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(8)))
    np.testing.assert_array_equal(one("blur", 0.4, PHOTOGRAPHS[1]).image, blurred)


def test_noise_has_its_deviation():
    grey = np.full((128, 128, 3), 128, np.uint8)
    grey[..., 0] = 127  # else it counts as grey and stays so
    noise = one("noise", 1, grey).image.astype(float) - grey
    assert noise.std() == pytest.approx(25.5, rel=0.02)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03


def test_rescaling_takes_fine_detail_and_leaves_the_rest():
    fine = lambda image: np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean()  # noqa: E731
    small = one("rescale", 1, PHOTOGRAPHS[1]).image
    assert fine(small) < 0.3 * fine(PHOTOGRAPHS[1])
    assert abs(small.mean() - PHOTOGRAPHS[1].mean()) < 1


# ── combined ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_combination_has_all_its_parts_at_one_strength():
    assert GROUPS["degradation"] == ("blur", "noise", "jpeg")
    attack = CombinedDistortion(group="all")
    assert attack.amount(0.5)["each"] == 0.1
    assert attack.amount(0.5)["rotation_degrees"] == 4.5
    assert attack.amount(0.5)["jpeg_quality"] == 82
    assert len(attack.amount(0.5)) == 9
    (made,) = applied(CombinedDistortion(group="photometric", most=1.0), [PHOTOGRAPHS[1]], 0.5)
    wanted = one("contrast", 0.5, one("brightness", 0.5, PHOTOGRAPHS[1]).image).image
    np.testing.assert_array_equal(made.image, wanted)


def test_origins_follow_through_several_steps():
    """A mask that is moved by the origins lies where its pixels went."""
    image = np.zeros((128, 160, 3), np.uint8)
    image[40:90, 50:110] = 255
    mask = np.zeros((128, 160), bool)
    mask[40:90, 50:110] = True
    for seed in range(6):
        (made,) = applied(CombinedDistortion(group="geometric", most=0.6), [image], 1.0, [seed])
        seen, said = made.image[..., 0] > 127, resampled_mask(mask, made.origins)
        assert (seen & said).sum() / (seen | said).sum() > 0.97
    assert followed(None, None) is None


# ── codecs and filters ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", Codec.kinds)
def test_codecs_are_those_of_pillow(kind):
    import io

    stored = io.BytesIO()
    Image.fromarray(PHOTOGRAPHS[2]).save(stored, kind.upper(), quality=50)
    wanted = np.asarray(Image.open(stored).convert("RGB"))
    (made,) = applied(Codec(kind=kind), [PHOTOGRAPHS[2]], 0.5)
    assert Codec(kind=kind).amount(0.5) == {"quality": 50}
    assert psnr(wanted, made.image) > 33  # encoders have other speeds
    assert abs(psnr(PHOTOGRAPHS[2], wanted) - psnr(PHOTOGRAPHS[2], made.image)) < 1


@pytest.mark.parametrize("kind", Denoising.kinds)
def test_filters_take_noise_out(kind):
    clean = cv2.GaussianBlur(PHOTOGRAPHS[1], (0, 0), 1)
    noise = np.random.default_rng(0).normal(0, 10, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
    best = max(psnr(clean, applied(Denoising(kind=kind), [noisy], strength)[0].image) for strength in STRENGTHS)
    assert best > psnr(clean, noisy) + 3
