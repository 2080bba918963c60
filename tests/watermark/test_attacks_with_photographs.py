"""Attacks by somebody who has photographs and a service that marks them: averages, copies, noise, pasting."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from variorum.annotations import resampled
from variorum.generators.watermark.attacks.surrogates.pictures import at_rms, common_energy, fitted
from variorum.generators.watermark.watermarking.keys import read_keys
from variorum.generators.watermark.watermarking.quality import Reference
from variorum.generators.watermark.watermarking.target import Service
from variorum.machine.memo import DiskMemo
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.stages.job import models
from variorum.stages.lending import let_through

SIDE = 128
SPREAD, STDM, SVD = ({"name": name, "keyed": "shared"} for name in ("spread_spectrum", "stdm", "dwt_dct_svd"))
WITH_PHOTOGRAPHS = [
    {"name": "averaging", "photographs": 12},
    {"name": "averaging_forgery", "photographs": 12},
    {"name": "averaging", "photographs": 12, "originals": True},
    {"name": "copied_residual"},
    {"name": "copied_residual", "originals": False},
    {"name": "marked_noise"},
    {"name": "paste"},
    {"name": "overwrite"},
]
IDS = [" ".join(map(str, fields.values())) for fields in WITH_PHOTOGRAPHS]


def crops(name, rows, columns):
    image = getattr(skimage.data, name)()[..., :3]
    return [np.ascontiguousarray(image[y : y + SIDE, x : x + SIDE]) for y in rows for x in columns]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """The attacker's photographs: others than those that are attacked."""
    folder = tmp_path_factory.mktemp("material")
    for name in ("astronaut", "rocket"):
        for number, image in enumerate(crops(name, range(0, 290, 64), range(0, 370, 64))):
            Image.fromarray(image).save(folder / f"{name}_{number}.png")
    return folder


@pytest.fixture(scope="module")
def memo(tmp_path_factory):
    return tmp_path_factory.mktemp("memo")


@pytest.fixture(scope="module")
def pictures():
    return crops("coffee", (20, 150, 270), (60, 250, 430)) + crops("chelsea", (20, 150), (60, 250))


@pytest.fixture
def target(material, memo):
    def made(attack, mark=SPREAD):
        source = build_component("source", {"name": "image_folder", "path": str(material)}, "here")
        ctx = Context(1, models("embedded"), DiskMemo(memo), let_through(source, ()))
        mark, attack = build_component("marks", mark, "here"), build_component("attacks", attack, "here")
        return Service(mark, attack, read_keys(None), ctx, SIDE, source)

    return made


def rngs(number, start=0):
    return [np.random.default_rng(start + place) for place in range(number)]


def applied(service, images, strength=1.0, start=0):
    """Pictures and what was drawn."""
    found = service.attack.apply(images, strength, rngs(len(images), start), service)
    return [getattr(one, "image", one) for one in found], [dict(getattr(one, "drawn", {})) for one in found]


def keys_of(service, number):
    """The edition's keys for so many pictures."""
    label, shared = service.mark.called, service.mark.keyed == "shared"
    return [service.keys.shared(label) if shared else service.keys.of(label, f"{n:032x}") for n in range(number)]


def found_in(service, images):
    """Share of the pictures in which chance would give such a score once in a hundred."""
    detected = service.mark.detect(images, keys_of(service, len(images)), service.ctx)
    return float((detected.p_values <= 0.01).mean())


def marked(service, images):
    return list(service.mark.embed(images, keys_of(service, len(images)), service.ctx))


# ── what holds for all ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("attack", WITH_PHOTOGRAPHS, ids=IDS)
def test_a_picture_is_the_same_alone_and_in_company(attack, target, pictures):
    service = target(attack)
    together, drawn = applied(service, pictures[:3], 0.6)
    for place, image in enumerate(pictures[:3]):
        alone, said = applied(service, [image], 0.6, start=place)
        assert np.array_equal(alone[0], together[place])
        assert said[0] == drawn[place]
        assert alone[0].dtype == np.uint8
        assert alone[0].shape == image.shape


@pytest.mark.parametrize("attack", WITH_PHOTOGRAPHS, ids=IDS)
def test_more_strength_costs_more(attack, target, pictures):
    service = target(attack)
    for image in pictures[::4]:
        before = Reference(image)
        psnrs = [before.quality(applied(service, [image], strength)[0][0])["psnr"] for strength in (0.2, 0.6, 1)]
        assert psnrs[0] > psnrs[1] > psnrs[2]


@pytest.mark.parametrize("attack", WITH_PHOTOGRAPHS, ids=IDS)
def test_pictures_that_are_not_square(attack, target):
    image = skimage.data.chelsea()[20:160, 40:280]
    made, _ = applied(target(attack), [image])
    assert made[0].shape == image.shape
    assert not np.array_equal(made[0], image)


# ── averaging ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_averaging_removes_a_mark_that_is_the_same_everywhere(target, pictures):
    service = target({"name": "averaging", "photographs": 40})
    before = marked(service, pictures)
    after, drawn = applied(service, before)
    assert found_in(service, before) == 1
    assert found_in(service, after) < 0.2
    assert drawn[0]["common_energy"] > 0.5
    assert all(Reference(a).quality(b)["psnr"] > 33.5 for a, b in zip(before, after, strict=True))


def test_averaging_over_pictures_with_keys_of_their_own_finds_nothing(target, pictures):
    service = target({"name": "averaging", "photographs": 40}, {**SPREAD, "keyed": "picture"})
    before = marked(service, pictures)
    after, drawn = applied(service, before)
    assert found_in(service, after) > 0.9
    assert drawn[0]["common_energy"] < 0.05
    forged, _ = applied(target({"name": "averaging_forgery", "photographs": 40}, service.mark.config()), pictures)
    assert found_in(service, forged) < 0.2


def test_quantised_bits_have_little_in_common(target, pictures):
    service = target({"name": "averaging", "photographs": 40}, STDM)
    _, drawn = applied(service, pictures[:1])
    assert drawn[0]["common_energy"] < 0.35
    assert found_in(service, applied(service, marked(service, pictures), 0.4)[0]) > 0.9


def test_common_energy_of_known_residuals():
    rng = np.random.default_rng(5)
    same = rng.standard_normal(2000)
    for share in (0.0, 0.3, 1.0):
        residuals = np.sqrt(share) * same + np.sqrt(1 - share) * rng.standard_normal((30, 2000))
        found = common_energy(residuals.sum(0), float((residuals**2).sum()), len(residuals))
        assert found == pytest.approx(share, abs=0.05)
    assert common_energy(np.zeros(3), 0.0, 5) == 0


def test_a_pattern_at_a_size():
    pattern = np.random.default_rng(1).standard_normal((8, 8, 3)).astype(np.float32)
    assert np.sqrt((at_rms(pattern, 4.0) ** 2).mean()) == pytest.approx(4)
    assert not at_rms(np.zeros_like(pattern), 4.0).any()


# ── spoofing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SPOOFING = [
    {"name": "averaging_forgery", "photographs": 40},
    {"name": "copied_residual"},
    {"name": "copied_residual", "originals": False, "photographs": 40},
    {"name": "marked_noise"},
]


@pytest.mark.parametrize("attack", SPOOFING, ids=[" ".join(map(str, one.values())) for one in SPOOFING])
def test_spoofing_lifts_unmarked_photographs_above_the_threshold(attack, target, pictures):
    """Of one false alarm in a hundred, for a mark with one key in all pictures; not where each has its own."""
    service = target(attack)
    assert service.attack.goal == "spoofing"
    assert found_in(service, pictures) < 0.2
    assert found_in(service, applied(service, pictures)[0]) >= 0.75
    apart = target(attack, {**SPREAD, "keyed": "picture"})
    assert found_in(apart, applied(apart, pictures)[0]) < 0.2


def test_a_residual_copied_into_quantised_bits_says_nothing(target, pictures):
    service = target({"name": "copied_residual"}, STDM)
    assert found_in(service, applied(service, pictures)[0]) < 0.5


def test_the_veil_of_noise_has_its_share(target, pictures):
    service = target({"name": "marked_noise"})
    (light,), (strong,) = (applied(service, pictures[:1], strength)[0] for strength in (0.2, 1.0))
    picture = pictures[0].astype(float)
    assert service.attack.amount(1.0) == {"beta": 0.7}
    slopes = [np.polyfit(picture.ravel(), made.ravel().astype(float), 1)[0] for made in (light, strong)]
    assert slopes == pytest.approx([0.94, 0.7], abs=0.03)


# ── overwriting and pasting ──────────────────────────────────────────────────────────────────────────────────────────


def test_overwriting_many_times_ruins_bits_that_lie_where_every_key_puts_them(target, pictures):
    lost, kept = target({"name": "overwrite"}, SVD), target({"name": "overwrite"}, STDM)
    assert found_in(lost, applied(lost, marked(lost, pictures), 0.05)[0]) == 1
    assert found_in(lost, applied(lost, marked(lost, pictures), 1.0)[0]) < 0.5
    assert found_in(kept, applied(kept, marked(kept, pictures), 0.2)[0]) == 1
    assert [kept.attack.amount(strength)["times"] for strength in (0.05, 0.2, 0.5, 1)] == [1, 3, 8, 16]


def test_a_pasted_thing_covers_its_share_and_the_mark_is_still_found(target, pictures):
    service = target({"name": "paste"}, STDM)
    before = marked(service, pictures)
    for strength in (0.2, 1.0):
        made = service.attack.apply(before, strength, rngs(len(before)), service)
        for image, one in zip(before, made, strict=True):
            assert one.drawn["covered"] == pytest.approx(0.5 * strength, rel=0.1)
            changed = (one.image != image).any(axis=2).mean()
            assert 0.4 * strength < changed < 0.5 * strength + 0.15
    assert found_in(service, [one.image for one in service.attack.apply(before, 0.4, rngs(len(before)), service)]) == 1


def test_what_is_covered_is_no_object_of_the_picture(target, pictures):
    service = target({"name": "paste"})
    (made,) = service.attack.apply(pictures[:1], 1.0, rngs(1), service)
    covered = made.origins[..., 0] < 0
    assert covered.mean() == pytest.approx(0.5, abs=0.02)
    rows, columns = np.nonzero(covered)
    y, x = rows[len(rows) // 2], int(columns[rows == rows[len(rows) // 2]].mean())
    whole = Object((0.0, 0.0, float(SIDE), float(SIDE)), id="whole")
    under = Object((float(x - 5), float(y - 5), 10.0, 10.0), id="under")
    kept = resampled(Annotations((whole, under)), made.origins, (SIDE, SIDE)).objects
    assert [item.id for item in kept] == ["whole"]


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(128, 128), (40, 200), (200, 40), (128, 64), (300, 310)])
def test_a_photograph_fits_without_being_stretched(size):
    """A disc stays a disc in the middle."""
    rows, columns = np.mgrid[:120, :180]
    disc = np.where(((rows - 59.5) ** 2 + (columns - 89.5) ** 2 < 18**2)[..., None], 255, 0).astype(np.uint8)
    made = fitted(np.repeat(disc, 3, axis=2), *size)
    assert made.shape == (*size, 3)
    inside = made[..., 0] > 127
    high, wide = inside.any(1).sum(), inside.any(0).sum()
    if high < size[0] and wide < size[1]:
        assert high == pytest.approx(wide, abs=2)
    middle = np.argwhere(inside).mean(0)
    assert middle == pytest.approx([(size[0] - 1) / 2, (size[1] - 1) / 2], abs=1.5)
