"""A detector that the attacker trains, and what following its gradient gains: budgets, directions, the control."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from pydantic import ValidationError

from variorum.generators.watermark.watermarking.keys import read_keys
from variorum.generators.watermark.watermarking.target import Service
from variorum.kit.attacks import budget
from variorum.kit.fitting.network import Detector, train
from variorum.machine.memo import DiskMemo
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.stages.job import models
from variorum.stages.lending import let_through

SIDE = 64
STDM = {"name": "stdm", "keyed": "shared"}
STDM_42 = {**STDM, "decibels": 42}
QUICK = {"photographs": 10, "training_steps": 1, "steps": 2}


def crops(name, rows, columns, side=SIDE):
    image = getattr(skimage.data, name)()[..., :3]
    return [np.ascontiguousarray(image[y : y + side, x : x + side]) for y in rows for x in columns]


def save(folder, names, side, step):
    for name in names:
        for number, image in enumerate(crops(name, range(0, 300 - side // 2, step), range(0, 450 - side, step), side)):
            if image.shape == (side, side, 3):
                Image.fromarray(image).save(folder / f"{name}_{number}.png")
    return folder


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """The attacker's photographs: others than those that are attacked."""
    return save(tmp_path_factory.mktemp("material"), ["rocket"], SIDE, 100)


@pytest.fixture(scope="module")
def memo(tmp_path_factory):
    return tmp_path_factory.mktemp("memo")


@pytest.fixture(scope="module")
def pictures():
    return [*crops("coffee", (100,), (150, 300)), np.full((SIDE, SIDE, 3), 254, np.uint8)]


@pytest.fixture
def target(material, memo):
    def made(attack, mark=STDM, source=material, frame=SIDE):
        source = build_component("source", {"name": "image_folder", "path": str(source)}, "here")
        ctx = Context(1, models("embedded"), DiskMemo(memo), let_through(source, ()))
        mark, attack = build_component("marks", mark, "here"), build_component("attacks", attack, "here")
        return Service(mark, attack, read_keys(None), ctx, frame, source)

    return made


SPREAD = {"name": "spread_spectrum", "keyed": "shared", "decibels": 36}


def applied(service, images, strength=1.0, start=0):
    rngs = [np.random.default_rng(start + place) for place in range(len(images))]
    return service.attack.apply(images, strength, rngs, service)


# ── the detector ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def classes():
    """Photographs with and without a fixed pattern of one grey level."""
    unmarked = crops("astronaut", range(0, 440, 110), range(0, 440, 110))
    pattern = np.random.default_rng(0).integers(-1, 2, (SIDE, SIDE, 3))
    return [np.clip(image + pattern, 0, 255).astype(np.uint8) for image in unmarked], unmarked


def test_a_fixed_pattern_is_found_in_pictures_that_it_was_not_trained_on(classes):
    trained = train(*classes, seed=1, steps=2)
    assert trained.auroc == 1
    others = crops("coffee", (100, 200), (150, 300))
    pattern = classes[0][0].astype(int) - classes[1][0]
    marked = [np.clip(image + pattern, 0, 255).astype(np.uint8) for image in others]
    detector = Detector(trained.arrays)
    assert min(map(detector.answer, marked)) > max(map(detector.answer, others))


def test_training_depends_on_the_seed_alone(classes):
    before = torch.get_rng_state()
    first, again, other = (train(*classes, seed=seed, steps=2) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.arrays.keys() == again.arrays.keys()
    assert all(np.array_equal(first.arrays[name], again.arrays[name]) for name in first.arrays)
    assert not np.array_equal(first.arrays["network.first.weight"], other.arrays["network.first.weight"])


def test_the_gradient_is_that_of_the_answer(classes):
    """Small steps along it and against it change the answer by what it says."""
    detector = Detector(train(*classes, seed=1, steps=4).arrays)
    image = crops("coffee", (150,), (200,))[0].astype(np.float32)
    gradient = detector.towards(1)(image)
    assert np.array_equal(detector.towards(-1)(image), -gradient)
    step = np.float32(0.05 * np.sqrt(gradient.size) / np.linalg.norm(gradient)) * gradient
    rise = (detector._answered(image + step)[0] - detector._answered(image - step)[0]) / 2
    assert rise == pytest.approx(float((gradient * step).sum()), rel=0.05)


# ── along its gradient ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("universal", [False, True])
@pytest.mark.parametrize("name", ["surrogate", "surrogate_spoofing"])
def test_budgets_hold_after_rounding(name, universal, target, pictures):
    service = target({"name": name, "universal": universal, **QUICK}, SPREAD)
    for strength, levels in ((0.2, 2), (0.8, 8)):
        assert service.attack.amount(strength) == {"epsilon": levels}
        for image, made in zip(pictures, applied(service, pictures, strength), strict=True):
            change = made.image.astype(int) - image
            assert np.abs(change).max() == levels
            assert made.drawn["surrogate_auroc"] >= 0


@pytest.mark.parametrize("universal", [False, True])
def test_the_detector_is_led_where_it_should_be(universal, target, pictures):
    """Farther than random signs of the same budget lead it."""
    for name, way in (("surrogate", -1), ("surrogate_spoofing", 1)):
        service = target({"name": name, "universal": universal, **QUICK}, SPREAD)
        detector = Detector(_kept(service))
        for place, (image, made) in enumerate(zip(pictures[:-1], applied(service, pictures[:-1], 0.4), strict=True)):
            said = made.drawn["surrogate"]
            assert said["before"] == pytest.approx(detector.answer(image), abs=1e-3)
            control = detector.answer(budget.random_signs(image, 4, np.random.default_rng(place)))
            assert way * said["after"] > way * said["before"]
            assert way * said["after"] > way * control


def test_a_universal_change_is_one_for_all(target):
    images = [np.full((SIDE, SIDE, 3), level, np.uint8) for level in (90, 120)]
    service = target({"name": "surrogate", "universal": True, **QUICK}, SPREAD)
    first, second = (
        made.image.astype(int) - image for made, image in zip(applied(service, images), images, strict=True)
    )
    assert np.array_equal(first, second)


def test_away_from_what_it_says(target, pictures):
    service = target({"name": "surrogate", "towards": "other", **QUICK}, SPREAD)
    for made in applied(service, pictures, 0.8):
        before, after = made.drawn["surrogate"]["before"], made.drawn["surrogate"]["after"]
        assert (after - before) * (-1 if before > 0 else 1) > 0


@pytest.mark.parametrize("universal", [False, True])
def test_a_picture_is_the_same_alone_and_in_company(universal, target, pictures):
    service = target({"name": "surrogate", "universal": universal, **QUICK}, SPREAD)
    together = applied(service, pictures)
    for place, image in enumerate(pictures):
        (alone,) = applied(service, [image], start=place)
        assert np.array_equal(alone.image, together[place].image)
        assert alone.drawn == together[place].drawn


@pytest.mark.parametrize("against", ["same", "others", "other key"])
def test_what_marked_photographs_are_set_apart_from(against, target):
    service = target({"name": "surrogate", "against": against, **QUICK}, SPREAD)
    own = service.photographs(10)
    marked, other = service.attack.classes(SIDE, SIDE, service)
    assert len(marked) == len(other) == (5 if against == "others" else 10)
    assert np.array_equal(marked[0], service.marked(own)[0])
    if against == "other key":
        assert not any(np.array_equal(one, image) for one, image in zip(other, own, strict=True))
        assert service.mark.detect(other, [service.keys.shared("spread_spectrum")] * 10, service.ctx).scores.max() < 4
    else:
        assert np.array_equal(other[0], own[5 if against == "others" else 0])
    (made,) = applied(service, crops("coffee", (150,), (200,)))
    assert 0 <= made.drawn["surrogate_auroc"] <= 1


def test_one_detector_for_removal_and_spoofing(target, monkeypatch):
    applied(target({"name": "surrogate", **QUICK, "photographs": 11}, SPREAD), crops("coffee", (150,), (200,)))
    monkeypatch.setattr(
        "variorum.generators.watermark.attacks.surrogates.detection.train", None
    )  # nothing is trained again
    applied(target({"name": "surrogate_spoofing", **QUICK, "photographs": 11}, SPREAD), crops("coffee", (150,), (200,)))


def test_a_budget_below_one_level_is_refused():
    attack = build_component("attacks", {"name": "surrogate", "epsilon": 4}, "here")
    with pytest.raises(RecipeError, match=r"surrogate: strength 0\.2 of epsilon 4"):
        attack.amount(0.2)
    with pytest.raises((ValidationError, RecipeError)):
        build_component("attacks", {"name": "surrogate", "epsilon": 0}, "here")


@pytest.mark.slow
def test_the_attack_beats_random_signs_of_the_same_budget(target, tmp_path):
    """Quantised bits with one key: the gradient removes what as much noise leaves."""
    side = 128
    own = save(tmp_path, ["rocket", "astronaut", "hubble_deep_field", "retina", "immunohistochemistry"], side, 100)
    service = target({"name": "surrogate", "training_steps": 80, "photographs": 40}, STDM_42, own, side)
    images = [image for name in ("coffee", "chelsea") for image in crops(name, (0, 140), (0, 150, 300), side)]
    key = [service.keys.shared("stdm")] * len(images)
    marked = service.mark.embed(images, key, service.ctx)

    def right(found):
        return float((service.mark.detect(found, key, service.ctx).bits == service.mark.payloads(key)).mean())

    removed = [made.image for made in applied(service, marked, 0.8)]
    control = [budget.random_signs(image, 8, np.random.default_rng(n)) for n, image in enumerate(marked)]
    assert all(np.abs(a.astype(int) - b).max() <= 8 for a, b in zip(removed, marked, strict=True))
    assert right(marked) == 1
    assert right(control) > 0.95
    assert right(removed) < 0.75


def _kept(service):
    """The arrays of the detector that the attack has trained, which the memo keeps."""
    applied(service, crops("coffee", (150,), (200,)))
    return service.prepared(f"detector {SIDE}x{SIDE}", lambda: pytest.fail("it is kept"))
