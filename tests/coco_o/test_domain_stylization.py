"""The generator on real photographs: what it asks for, what happens to objects, and what a detector has to say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from variorum.annotations import decode_mask, encode_mask, region
from variorum.generators.coco_o.domain_stylization import DomainStylization
from variorum.generators.coco_o.stylization.domains import DOMAINS, STYLES
from variorum.models import ModelTable, refuse_filters
from variorum.models.roles import Detected
from variorum.pixels import encode_png
from variorum.schemas.annotations import Annotations, LabelState, Object, Text
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import CAPTURED, ENHANCED, PARTLY_GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import deciding_models, required_models

COFFEE = np.ascontiguousarray(cv2.resize(skimage.data.coffee(), (300, 200), interpolation=cv2.INTER_AREA))
CUP = cv2.ellipse(np.zeros((200, 300), np.uint8), (163, 92), (92, 78), 0, 0, 360, 255, -1)
SPOON = np.zeros((200, 300), np.uint8)
SPOON[150:184, 160:220] = 255
WEATHER: dict[str, Any] = {"domains": ("weather",), "segmenter": None}


class Models:
    """The detector is given; whatever else is asked for is embedded."""

    def __init__(self, **own: Any) -> None:
        self._own, self._table = own, ModelTable("embedded")

    def get(self, alias: str) -> Any:
        return self._own[alias] if alias in self._own else self._table.get(alias)

    def pin(self, alias: str) -> str:
        return f"{alias}@own" if alias in self._own else self._table.pin(alias)


def context(**own: Any) -> Context:
    return Context(seed=5, models=Models(**own), memo=lambda key, compute: compute())


def thing(mask: np.ndarray, label: str, *, keep_mask: bool = True, **more: Any) -> Object:
    left, top, width, height = cv2.boundingRect(mask)
    box = (float(left), float(top), float(width), float(height))
    return Object(box, label, float((mask > 0).sum()), mask=encode_mask(mask > 0) if keep_mask else "", **more)


def sample(*objects: Object, image: np.ndarray = COFFEE, **more: Any) -> Sample:
    notes = Annotations(objects, (Text("a cup of coffee"),), (LabelState("cup", "correct"),))
    identity = source_id("test", f"{image.shape} {objects} {sorted(more)}")
    return Sample(identity, image, ("cup",), annotations=notes, digital_source_type=CAPTURED, **more)


SCENE = sample(thing(SPOON, "spoon", id="2"), thing(CUP, "cup", id="1", origin="people"))


def made(given: Sample, ctx: Context | None = None, **fields: Any) -> list[Sample | Failure]:
    return list(DomainStylization(**fields).generate([given], ctx or context()))


def pictures(given: Sample, ctx: Context | None = None, **fields: Any) -> dict[str, Sample]:
    found = made(given, ctx, **fields)
    assert all(isinstance(item, Sample) for item in found), found
    return {item.variant: item for item in found if isinstance(item, Sample)}


# ── what is asked for ────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_picture_of_each_domain_and_view():
    known = [name for name in DOMAINS if STYLES[name] and not any(one.models for one in STYLES[name].values())]
    found = pictures(SCENE, domains=known, segmenter=None)
    scenes = [name for name in known if not all(one.needs_subject for one in STYLES[name].values())]
    assert set(found) == {"original", *scenes, *(f"{name}_isolated" for name in known)}
    for name, item in found.items():
        assert np.asarray(item.image).shape == COFFEE.shape
        assert np.asarray(item.extras["mask.png"]).shape == COFFEE.shape[:2]
        if name == "original":
            np.testing.assert_array_equal(item.image, COFFEE)
            assert item.digital_source_type == CAPTURED
            continue
        op = item.ops[-1]
        domain, _, view = name.partition("_")
        assert (op["requested"]["domain"], op["requested"]["view"]) == (domain, view or "scene")
        assert op["requested"]["style"] in STYLES[domain]
        assert op["achieved"]["synthetic"] is True
        assert item.digital_source_type == ENHANCED
        assert {"blank", "legibility"} <= set(op["gates"])
        assert any(gate.startswith("domain_") for gate in op["gates"])
        json.dumps(op)


def test_the_same_seed_gives_the_same_pictures_whatever_else_is_asked_for():
    alone = pictures(SCENE, **WEATHER)
    for other in (pictures(SCENE, **WEATHER), pictures(SCENE, domains=("sketch", "weather"), segmenter=None)):
        for variant in ("weather", "weather_isolated"):
            np.testing.assert_array_equal(other[variant].image, alone[variant].image)


def test_photographs_get_different_styles():
    seen = set()
    for number in range(12):
        found = pictures(replace(SCENE, id=source_id("test", str(number))), views=("scene",), **WEATHER)
        seen.add(found["weather"].ops[-1]["requested"]["style"])
    assert len(seen) >= 3


def test_all_styles_of_a_domain():
    found = made(SCENE, per_domain="all", views=("scene",), **WEATHER)
    styles = [item.ops[-1]["requested"].get("style") for item in found if isinstance(item, Sample)]
    assert styles == [None, *STYLES["weather"]]
    assert len({item.id for item in found}) == len(found)
    two = made(SCENE, per_domain=2, views=("scene",), **WEATHER)
    assert len(two) == 3


def test_chosen_styles_and_their_key():
    fields = {**WEATHER, "styles": {"weather": ("fog", "night")}}
    styles = {
        item.ops[-1]["requested"].get("style")
        for n in range(8)
        for item in made(replace(SCENE, id=f"{n:032x}"), **fields)
    }  # type: ignore[union-attr]
    assert styles == {None, "fog", "night"}
    every, some = DomainStylization(**WEATHER), DomainStylization(**fields)
    assert every.fingerprint() != some.fingerprint()
    named = DomainStylization(**WEATHER, styles={"weather": tuple(STYLES["weather"])})
    assert named.fingerprint() == every.fingerprint()  # so another style in a later version is another key


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"domains": ("weather", "weather")}, "names one twice"),
        ({"domains": ()}, "at least 1 item"),
        ({"domains": ("photo",)}, "'sketch'"),
        ({"views": ("scene", "scene")}, "names one twice"),
        ({"styles": {"weather": ("hail",)}}, "has no style 'hail'; name each once of fog, rain, snow, night"),
        ({"styles": {"weather": ()}}, "name each once of fog"),
        ({"domains": ("weather",), "styles": {"sketch": ("pencil",)}}, "isn't among domains"),
        ({"domains": ("tattoo",), "views": ("scene",)}, "only isolated pictures"),
        ({"per_domain": 0}, 'it must be 1 or more, or "all"'),
        ({"size": 10}, "greater than or equal to 64"),
        ({"least_confirmed": 1.2}, "less than or equal to 1"),
    ],
)
def test_fields_that_cannot_work(fields, said):
    with pytest.raises(ValidationError, match=said):
        DomainStylization(**fields)


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_scene_keeps_all_objects_and_texts():
    found = pictures(SCENE, views=("scene",), **WEATHER)["weather"]
    assert found.annotations == SCENE.annotations
    assert found.labels == SCENE.labels


def test_an_isolated_picture_keeps_its_object_alone():
    found = pictures(SCENE, **WEATHER)["weather_isolated"]
    (kept,) = found.annotations.objects
    assert kept == SCENE.annotations.objects[1]
    assert found.annotations.texts == SCENE.annotations.texts
    assert found.ops[-1]["achieved"]["boxes_dropped"] == 1
    assert {"mask_area", "border_touch", "mask_components"} <= set(found.ops[-1]["gates"])
    inside = np.asarray(found.extras["mask.png"]) > 127
    assert (inside & (CUP > 0)).sum() > 0.98 * (inside | (CUP > 0)).sum()


def test_a_smaller_size_moves_objects_along():
    found = pictures(SCENE, size=100, **WEATHER)
    for name in ("original", "weather"):
        item = found[name]
        assert np.asarray(item.image).shape == (100, 150, 3)
        for before, after in zip(SCENE.annotations.objects, item.annotations.objects, strict=True):
            assert after.box == pytest.approx([value / 2 for value in before.box], abs=1)
            halved = (
                cv2.resize(
                    decode_mask(before, 200, 300).astype(np.uint8) * 255, (150, 100), interpolation=cv2.INTER_AREA
                )
                > 127
            )
            same = (decode_mask(after, 100, 150) & halved).sum() / halved.sum()
            assert same > 0.95
    assert np.asarray(pictures(SCENE, size=None, **WEATHER)["weather"].image).shape == COFFEE.shape
    assert np.asarray(pictures(SCENE, size=200, **WEATHER)["original"].image).shape == COFFEE.shape


def test_without_an_object_that_can_stand_alone():
    cut_off = np.zeros((200, 300), np.uint8)
    cut_off[60:160, 0:120] = 255
    for before, said in (
        (sample(thing(cut_off, "cup")), "of cup, border_touch"),
        (sample(), "no object has a mask"),
        (sample(thing(CUP, "cup", keep_mask=False)), "no object has a mask"),
        (sample(thing(CUP, "cup", crowd=True)), "no object has a mask"),
    ):
        original, scene, isolated = made(before, **WEATHER)
        assert isinstance(original, Sample)
        assert isinstance(scene, Sample)
        assert isinstance(isolated, Failure)
        assert (isolated.status, isolated.reason) == ("ineligible", "no_subject")
        assert said in isolated.detail
        assert not np.asarray(original.extras["mask.png"]).any()


def test_the_largest_that_passes_is_chosen():
    whole = np.full((200, 300), 255, np.uint8)
    given = sample(thing(SPOON, "spoon"), thing(whole, "table"), thing(CUP, "cup"))
    (kept,) = pictures(given, **WEATHER)["weather_isolated"].annotations.objects
    assert kept.label == "cup"


def test_a_given_mask_belongs_to_the_box_that_it_fits():
    boxes = (thing(SPOON, "spoon", keep_mask=False), thing(CUP, "cup", keep_mask=False))
    found = pictures(sample(*boxes, extras={"mask.png": CUP}), **WEATHER)["weather_isolated"]
    (kept,) = found.annotations.objects
    assert (kept.label, kept.box) == ("cup", boxes[1].box)
    np.testing.assert_array_equal(decode_mask(kept, 200, 300), CUP > 0)
    alone = made(sample(boxes[0], extras={"mask.png": encode_png(CUP)}), **WEATHER)[2]
    assert isinstance(alone, Failure)
    assert alone.reason == "no_subject"


@pytest.mark.parametrize(("longer", "drawn"), [(1.1, True), (1.5, False)])
def test_the_box_of_what_stands_alone_is_of_what_is_drawn(longer, drawn):
    """And what is drawn by half doesn't stand alone."""
    left, top, wide, high = thing(CUP[:, :200], "cup").box
    given = sample(Object((left, top, wide * longer, high), "cup"), extras={"mask.png": CUP * (np.arange(300) < 200)})
    item = made(given, **WEATHER)[2]
    if drawn:
        assert isinstance(item, Sample)
        assert item.annotations.objects[0].box == (left, top, wide, high)
    else:
        assert isinstance(item, Failure)
        assert "of cup, drawn is 0.667 and must be >= 0.85" in item.detail


def test_specks_of_a_mask_are_neither_drawn_nor_in_its_box():
    speckled = CUP.copy()
    speckled[2:8, 2:8] = 255
    found = pictures(sample(thing(speckled, "cup")), **WEATHER)["weather_isolated"]
    (kept,) = found.annotations.objects
    assert kept.box == thing(CUP, "cup").box
    assert not np.asarray(found.extras["mask.png"])[:20, :20].any()


def test_the_segmenter_finds_what_has_no_mask():
    image = cv2.resize(skimage.data.coffee(), (300, 200), interpolation=cv2.INTER_AREA)
    kept: dict[str, Any] = {}

    def memo(key: str, compute: Any) -> Any:
        if key not in kept:
            kept[key] = compute()
        return kept[key]

    ctx = replace(context(), memo=memo)
    bare = pictures(sample(image=image), ctx, domains=("weather",))["weather_isolated"]
    assert set(bare.ops[-1]["models"]) == {"segmenter"}
    around = cv2.boundingRect((np.asarray(bare.extras["mask.png"]) > 127).astype(np.uint8))
    fits, elsewhere = Object(tuple(map(float, around)), "cup"), Object((10.0, 10.0, 60.0, 40.0), "cup")  # type: ignore[arg-type]
    (cup,) = pictures(sample(elsewhere, fits), ctx, domains=("weather",))["weather_isolated"].annotations.objects
    assert (cup.label, cup.box) == ("cup", fits.box)
    refused = made(sample(elsewhere), ctx, domains=("weather",))[2]
    assert isinstance(refused, Failure)
    assert "segmenter finds fits no box" in refused.detail


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_boxes_that_are_nowhere_are_dropped_and_counted():
    nowhere = [
        (-50.0, 0.0, 20.0, 20.0),
        (10.0, 10.0, 0.0, 30.0),
        (10.0, 10.0, -5.0, 30.0),
        (float("nan"), 0.0, 9.0, 9.0),
    ]
    partly = Object((250.0, 150.0, 100.0, 100.0), "no such class")
    given = sample(*(Object(box, "cup") for box in nowhere), partly)
    for size in (None, 100):
        found = pictures(given, views=("scene",), size=size, **WEATHER)
        for item in found.values():
            (kept,) = item.annotations.objects
            height, width = np.asarray(item.image).shape[:2]
            assert kept.box[0] + kept.box[2] <= width
            assert kept.box[1] + kept.box[3] <= height
            assert item.ops[-1]["achieved"]["boxes_dropped"] == 4


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (sample(image=COFFEE[:31]), "too_small"),
        (sample(image=COFFEE[..., 0]), "not_rgb"),
        (sample(image=np.zeros((64, 64, 4), np.uint8)), "not_rgb"),
        (sample(image=COFFEE.astype(np.uint16)), "not_rgb"),
        (sample(replace(thing(CUP, "cup"), mask="nonsense")), "bad_mask"),
        (sample(thing(CUP[:100], "cup")), "bad_mask"),
        (sample(extras={"mask.png": CUP[:100]}), "size_mismatch"),
        (sample(extras={"mask.png": b"no picture"}), "not_an_image"),
    ],
)
def test_a_sample_that_cannot_be_used_is_a_row_for_each_picture(given, reason):
    found = made(given, **WEATHER)
    status = "ineligible" if reason == "too_small" else "failed"
    assert [(item.variant, item.status, item.reason) for item in found if isinstance(item, Failure)] == [
        (variant, status, reason) for variant in ("original", "weather", "weather_isolated")
    ]


box_numbers = st.floats(-400, 400) | st.sampled_from([0.0, float("inf"), float("nan"), 1e-9, 1e9])


@settings(max_examples=40)
@given(
    st.lists(st.tuples(box_numbers, box_numbers, box_numbers, box_numbers), max_size=4),
    st.booleans(),
    st.sampled_from([None, 64]),
)
def test_any_boxes_come_through(boxes, crowd, size):
    small = COFFEE[:72, :90]
    given = sample(*(Object(box, "cup", crowd=crowd) for box in boxes), image=small)
    fields = {**WEATHER, "styles": {"weather": ("fog",)}, "views": ("scene",), "size": size, "detector": "eye"}
    found = made(given, context(eye=Eye()), **fields)
    for item in found:
        assert isinstance(item, Sample)
        assert all(one.crowd == crowd for one in item.annotations.objects)
        height, width = np.asarray(item.image).shape[:2]
        assert all(region(one, height, width).any() for one in item.annotations.objects)


# ── a detector ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Eye:
    """Finds the largest red thing, wherever it is clearly red, and calls it a cup; it knows no other."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def knows(self, texts: Sequence[str]) -> list[bool]:
        return [text == "cup" for text in texts]

    def __call__(self, images: Sequence[np.ndarray], texts: Sequence[str]) -> list[Detected]:
        self.calls.append(len(images))
        assert all(self.knows(texts))
        return [self._seen(image) for image in images]

    def _seen(self, image: np.ndarray) -> Detected:
        red = (image[..., 0].astype(int) - image[..., 2] > 80).astype(np.uint8)
        _, _, parts, _ = cv2.connectedComponentsWithStats(red)
        if len(parts) < 2:
            return Detected(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        left, top, wide, high, _ = max(parts[1:].tolist(), key=lambda part: part[4])
        box = np.array([[left, top, left + wide, top + high]], np.float32)
        return Detected(box, np.ones(1, np.float32), np.zeros(1, np.int64))


RED = np.full((200, 300, 3), 110, np.uint8)
RED[60:140, 100:200] = (220, 30, 30)
RED[80:100, 120:180] = (250, 90, 40)
RED_MASK = np.zeros((200, 300), np.uint8)
RED_MASK[60:140, 100:200] = 255
SEEN = sample(
    thing(RED_MASK, "cup"),
    Object((20.0, 20.0, 40.0, 40.0), "cup"),
    Object((20.0, 120.0, 40.0, 40.0), "fork"),
    Object((100.0, 60.0, 100.0, 80.0), "cup", crowd=True),
    Object((120.0, 80.0, 12.0, 12.0), "cup"),
    image=RED,
)


def test_what_a_detector_says_of_each_box():
    fields: dict[str, Any] = {"detector": "eye", "styles": {"weather": ("fog", "rain")}, "per_domain": "all", **WEATHER}
    eye = Eye()
    found = [item for item in made(SEEN, context(eye=eye), **fields) if isinstance(item, Sample)]
    assert eye.calls == [len(found)]  # one call for all pictures of a photograph
    by_style = {(item.variant, item.ops[-1]["requested"].get("style")): item for item in found}
    rest = ["unconfirmed"] * 4
    assert [item.check for item in by_style["original", None].annotations.objects] == ["confirmed", *rest]
    rain = by_style["weather", "rain"]  # nothing is red in the rain
    assert [item.check for item in rain.annotations.objects] == ["missing", *rest]
    assert rain.reason == "boxes_confirmed"
    assert rain.ops[-1]["gates"]["boxes_confirmed"] == {"value": 0.0, "limit": ">= 0.8", "passed": False}
    assert rain.ops[-1]["achieved"]["missing"] == 1
    isolated = by_style["weather_isolated", "rain"]
    assert [item.check for item in isolated.annotations.objects] == ["missing"]
    assert all(item.ops[-1]["models"]["eye"] == "eye@own" for item in found)


def test_a_picture_is_accepted_if_enough_is_confirmed_and_without_a_share_always():
    sketched = {"detector": "eye", "domains": ("cartoon",), "segmenter": None, "views": ("scene",)}
    found = pictures(SEEN, context(eye=Eye()), **sketched)["cartoon"]
    assert found.annotations.objects[0].check == "confirmed"
    assert found.ops[-1]["gates"]["boxes_confirmed"]["passed"]
    lost = pictures(SEEN, context(eye=Eye()), detector="eye", least_confirmed=0.0, views=("scene",), **WEATHER)[
        "weather"
    ]
    assert lost.annotations.objects[0].check == "missing"
    assert lost.ops[-1]["gates"]["boxes_confirmed"] == {"value": 0.0, "limit": "recorded", "passed": True}
    assert lost.reason == ""


def test_a_photograph_in_which_the_detector_finds_nothing_is_not_judged():
    unseen = sample(Object((20.0, 20.0, 40.0, 40.0), "cup"), Object((30.0, 30.0, 50.0, 50.0), "fork"), image=RED)
    found = pictures(unseen, context(eye=Eye()), detector="eye", views=("scene",), **WEATHER)["weather"]
    assert {item.check for item in found.annotations.objects} == {"unconfirmed"}
    assert "boxes_confirmed" not in found.ops[-1]["gates"]
    assert found.ops[-1]["achieved"]["unconfirmed"] == 2


def test_without_a_detector_nothing_is_said():
    for item in pictures(SEEN, views=("scene",), **WEATHER).values():
        assert {one.check for one in item.annotations.objects} == {""}


@pytest.mark.parametrize("role", ["detector", "segmenter"])
def test_a_model_of_another_role_is_refused(role):
    """What a classifier gives, a row of numbers for each picture, has no masks and no names."""
    ctx, bare = context(odd=lambda pictures: [np.zeros(3) for _ in pictures]), role == "segmenter"
    given = sample() if bare else SCENE
    with pytest.raises(RecipeError, match=f"'odd' is no {role}; name an alias such as"):
        made(given, ctx, **{**WEATHER, role: "odd"})


def test_the_verifying_detector_may_not_judge():
    generator = DomainStylization(detector="detector_gate")
    assert deciding_models(generator) == ("detector_gate",)
    assert "detector_gate" in required_models(generator)
    models = ModelTable("embedded")
    pins = [models.pin(alias) for alias in deciding_models(generator)]
    with pytest.raises(RecipeError, match="detector_gate"):
        refuse_filters({"detector_gate": models.pin("detector_gate")}, pins)
    refuse_filters({"detector": models.pin("detector")}, pins)
    assert deciding_models(DomainStylization()) == ()


@pytest.mark.slow
def test_a_detector_of_open_vocabulary(tmp_path: Path, monkeypatch):
    """OWLv2 with random weights: its answers mean nothing, but they come in the right form."""
    from hub_layouts.detectors import owlv2

    owlv2(tmp_path / "owl", side=64)
    table = tmp_path / "models.toml"
    table.write_text(
        f'[eye]\nname = "tiny/owl"\nloader = "detection"\nlocal = {{ path = "{tmp_path / "owl"}" }}\n'
        'options = { threshold = 0.0 }\nlicence = "none"\nsource = "random weights"\n'
    )
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    ctx = Context(seed=5, models=ModelTable("embedded"), memo=lambda key, compute: compute())
    for item in pictures(SCENE, ctx, detector="eye", views=("scene",), **WEATHER).values():
        assert {one.check for one in item.annotations.objects} <= {"confirmed", "missing", "unconfirmed"}
        assert item.ops[-1]["models"]["eye"]


@pytest.mark.slow
def test_a_real_detector_finds_the_person_in_any_weather():
    models = ModelTable("embedded")
    if models.status("detector").state != "ready":
        pytest.skip("run `variorum doctor detector --fetch`")
    (seen,) = models.get("detector")([skimage.data.astronaut()], ["person"])
    left, top, right, bottom = seen.boxes[0].tolist()
    person = Object((left, top, right - left, bottom - top), "person")
    given = sample(person, Object((10.0, 10.0, 90.0, 90.0), "dragon"), image=skimage.data.astronaut())
    ctx = Context(seed=5, models=models, memo=lambda key, compute: compute())
    found = made(given, ctx, detector="detector", per_domain="all", views=("scene",), size=None, **WEATHER)
    assert [[one.check for one in item.annotations.objects] for item in found if isinstance(item, Sample)] == [
        ["confirmed", "unconfirmed"]
    ] * (1 + len(STYLES["weather"]))


def test_styles_of_networks_are_partly_generated():
    named = [(domain, name) for domain in DOMAINS for name, style in STYLES[domain].items() if style.models]
    domain, name = named[0]
    found = pictures(SCENE, domains=(domain,), styles={domain: (name,)}, views=("scene",), segmenter=None)[domain]
    assert found.digital_source_type == PARTLY_GENERATED
    assert set(found.ops[-1]["models"]) == set(STYLES[domain][name].models)
