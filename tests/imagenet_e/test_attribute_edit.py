"""The whole generator on real photographs, with given masks and plates and with the real models."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data

from variorum.generators.imagenet_e.attribute_edit import AttributeEdit
from variorum.models import ModelTable, batch_search
from variorum.models.batch_search import Tried
from variorum.models.roles import Filled
from variorum.pixels import encode_png
from variorum.schemas.annotations import Annotations, LabelState, Object, Text
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import ClassInfo, Context, Models, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import (
    CAPTURED,
    COMPOSITE,
    ENHANCED,
    GENERATED,
    PARTLY_GENERATED,
    Failure,
    Sample,
    source_id,
)
from variorum.schemas.uses import deciding_models, required_models
from variorum.stages.lending import let_through

SIDE = 256
VARIANTS = [
    "original",
    "plate",
    "control",
    "background_random",
    "texture_up",
    "texture_down",
    "size_full",
    "size_0.1",
    "size_0.08",
    "size_0.05",
    "position",
    "direction",
]
GEOMETRIC = VARIANTS[6:]
Made = dict[str, Sample | Failure]


def photo(name: str) -> np.ndarray:
    picture = getattr(skimage.data, name)()
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    side = min(picture.shape[:2])
    return cv2.resize(picture[:side, :side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


PLATES = {name: photo(name) for name in ("coffee", "chelsea", "gravel", "grass", "brick")}


def composite(name: str, on: str, mask: np.ndarray, **more: Any) -> Sample:
    """A cut-out of one photograph on another, with its exact mask and plate."""
    cover = mask[..., None] / 255
    picture = np.rint(cover * PLATES[name] + (1 - cover) * PLATES[on]).astype(np.uint8)
    key = f"{name} on {on}"
    return Sample(source_id("test", key), picture, extras={"mask.png": mask, "plate.png": PLATES[on]}, **more)


def blob(x: int, y: int, a: int, b: int, angle: int = 20) -> np.ndarray:
    return cv2.ellipse(np.zeros((SIDE, SIDE), np.uint8), (x, y), (a, b), angle, 0, 360, 255, -1, cv2.LINE_AA)


SAMPLES = [
    composite("coffee", "chelsea", blob(120, 130, 60, 40)),
    composite("chelsea", "gravel", blob(140, 110, 45, 60)),
    composite("coffee", "grass", blob(100, 140, 34, 27)),
    composite("chelsea", "brick", blob(130, 120, 50, 30)),
]


class Given(Source):
    """The same samples, encoded, as a source of plates."""

    def pin(self, ctx: Context) -> str:
        return "given"

    def size(self, ctx: Context) -> int:
        return len(SAMPLES)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        for sample in SAMPLES[start:stop]:
            extras = {
                name: encode_png(pixels) for name, pixels in sample.extras.items() if not isinstance(pixels, bytes)
            }
            assert not isinstance(sample.image, bytes)
            yield replace(sample, image=encode_png(sample.image), extras=extras)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        return ()


def forgetful(key: str, compute: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    return compute()


class Memo(dict[str, Mapping[str, Any]]):
    def __call__(self, key: str, compute: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        if key not in self:
            self[key] = compute()
        return self[key]


@pytest.fixture(scope="module")
def models() -> Models:
    return ModelTable("embedded")


@pytest.fixture(scope="module")
def ctx(models: Models) -> Context:
    return Context(seed=5, models=models, memo=forgetful, source=let_through(Given(), ()))


BARE = AttributeEdit(classifier=None)
BACKGROUNDS = AttributeEdit(classifier=None, attributes=("background",), backgrounds=("random",))


def by_variant(edit: AttributeEdit, sample: Sample, ctx: Context) -> Made:
    return {item.variant: item for item in edit.generate([sample], ctx)}


@pytest.fixture(scope="module")
def made(ctx: Context) -> list[Made]:
    items = list(BARE.generate(SAMPLES, ctx))
    return [{item.variant: item for item in items if item.parent == sample.id} for sample in SAMPLES]


def reasons(found: Made) -> dict[str, str]:
    return {name: item.reason for name, item in found.items() if item.reason}


def pixels(item: Sample | Failure) -> np.ndarray:
    assert isinstance(item, Sample)
    assert not isinstance(item.image, bytes)
    return item.image


def mask_of(item: Sample | Failure) -> np.ndarray:
    assert isinstance(item, Sample)
    mask = item.extras["mask.png"]
    assert not isinstance(mask, bytes)
    return mask


def test_every_edit_is_there_in_order_and_accounted_for(made: list[Made]) -> None:
    for found in made:
        assert list(found) == VARIANTS
        for item in found.values():
            if isinstance(item, Sample):
                assert pixels(item).shape == (SIDE, SIDE, 3)
                assert mask_of(item).shape == (SIDE, SIDE)
                assert list(item.extras) == ["mask.png"]
                canonical_json({**item.ops[-1]})  # no NaN, no numpy scalar
    assert len({item.id for found in made for item in found.values()}) == len(SAMPLES) * len(VARIANTS)
    accepted = [item for found in made for item in found.values() if isinstance(item, Sample) and not item.reason]
    assert len(accepted) >= 0.8 * len(SAMPLES) * len(VARIANTS), [reasons(found) for found in made]


def test_the_original_is_the_picture_and_with_exact_parts_the_control_is_too(made: list[Made]) -> None:
    for sample, found in zip(SAMPLES, made, strict=True):
        assert np.array_equal(pixels(found["original"]), sample.image)
        assert np.abs(pixels(found["control"]).astype(int) - np.asarray(sample.image)).max() <= 1


def test_background_edits_keep_the_object_bit_for_bit(made: list[Made]) -> None:
    for sample, found in zip(SAMPLES, made, strict=True):
        solid = np.asarray(sample.extras["mask.png"]) == 255
        for name in VARIANTS[2:5]:
            if isinstance(found[name], Sample):
                assert np.array_equal(pixels(found[name])[solid], np.asarray(sample.image)[solid])


def test_sizes_are_what_was_asked_and_nothing_else_moves(made: list[Made]) -> None:
    for found in made:
        for rate in (0.1, 0.08, 0.05):
            item = found[f"size_{rate}"]
            if isinstance(item, Sample):
                assert (mask_of(item) > 127).mean() == pytest.approx(rate, rel=0.05)
                away = mask_of(item) == 0
                plate = np.asarray(next(s for s in SAMPLES if s.id == item.parent).extras["plate.png"])
                assert np.array_equal(pixels(item)[away], plate[away])


def test_position_and_direction_start_from_the_base_size(made: list[Made]) -> None:
    for found in made:
        for name in ("position", "direction"):
            item = found[name]
            assert isinstance(item, Sample)
            assert item.ops[-1]["requested"]["reference"] == "size_0.05"
            assert (mask_of(item) > 127).mean() == pytest.approx(0.05, rel=0.05)
        moved, base = found["position"], found["size_0.05"]
        if isinstance(base, Sample):
            assert (mask_of(moved) > 0).sum() == (mask_of(base) > 0).sum()


def test_ids_follow_from_what_was_asked_not_from_what_came_out(made: list[Made], ctx: Context) -> None:
    darker = replace(SAMPLES[0], image=np.asarray(SAMPLES[0].image) // 2)
    found = by_variant(BARE, darker, ctx)
    assert {name: item.id for name, item in found.items()} == {name: item.id for name, item in made[0].items()}
    for item in found.values():
        if isinstance(item, Sample):
            assert set(item.ops[-1]["requested"]) <= {"rate", "gains", "lenders", "strategy", "angle", "reference"}


def test_any_batch_and_any_order_give_the_same_pictures(made: list[Made], ctx: Context) -> None:
    for batch, samples in ((1, SAMPLES), (3, SAMPLES[::-1])):
        again = list(AttributeEdit(classifier=None, batch=batch).generate(samples, ctx))
        for item in again:
            first = next(found for sample, found in zip(SAMPLES, made, strict=True) if sample.id == item.parent)
            twin = first[item.variant]
            assert type(twin) is type(item)
            if isinstance(item, Sample):
                assert np.array_equal(pixels(item), pixels(twin))
                assert item.ops == twin.ops  # type: ignore[union-attr]
            assert twin.id != item.id  # the batch size is a field, and fields are the identity


def test_upstream_positions_couldn_t_be_repeated(ctx: Context) -> None:
    """Positions depend on the recipe's seed, not on global random states."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = by_variant(BARE, SAMPLES[0], ctx)
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    again = by_variant(BARE, SAMPLES[0], ctx)
    other = by_variant(BARE, SAMPLES[0], replace(ctx, seed=6))
    assert np.array_equal(pixels(first["position"]), pixels(again["position"]))
    assert not np.array_equal(pixels(first["position"]), pixels(other["position"]))


@pytest.mark.parametrize(("fill", "variants"), [(0, VARIANTS[1:]), (255, VARIANTS[1:])], ids=["nothing", "everything"])
def test_upstream_copied_the_original_through_when_something_went_wrong(
    fill: int, variants: list[str], ctx: Context
) -> None:
    mask = np.full((SIDE, SIDE), fill, np.uint8)
    found = by_variant(BARE, replace(SAMPLES[0], extras={"mask.png": mask}), ctx)
    assert isinstance(found["original"], Sample)
    for name in variants:
        item = found[name]
        assert isinstance(item, Failure)
        assert (item.status, item.reason) == ("ineligible", "mask_area")
        assert not item.gates["mask_area"]["passed"]


@pytest.mark.parametrize(("x", "y", "side"), [(20, 130, "left"), (130, 220, "bottom")])
def test_an_object_cut_at_one_side_stays_on_it_and_doesn_t_turn(x: int, y: int, side: str, ctx: Context) -> None:
    found = by_variant(BARE, composite("coffee", "chelsea", blob(x, y, 60, 40)), ctx)
    assert {name: item.reason for name, item in found.items() if isinstance(item, Failure)} == {
        "direction": "truncated"
    }
    assert not reasons(found).keys() - {"direction"}
    for name in GEOMETRIC[:-1]:
        left, top, width, height = cv2.boundingRect((mask_of(found[name]) > 127).astype(np.uint8))
        assert left == 0 if side == "left" else top + height == SIDE, name
        other = (top, SIDE - top - height) if side == "left" else (left, SIDE - left - width)
        assert min(other) >= BARE.margin


def test_an_object_cut_at_two_sides_gets_new_backgrounds_but_stays(ctx: Context) -> None:
    found = by_variant(BARE, composite("coffee", "chelsea", blob(20, 20, 60, 60)), ctx)
    assert isinstance(found["texture_down"], Sample)
    assert {name: item.reason for name, item in found.items() if isinstance(item, Failure)} == dict.fromkeys(
        GEOMETRIC, "truncated"
    )


def test_an_object_that_only_the_frame_cuts_is_moved_as_a_whole(ctx: Context) -> None:
    """A bar of twice the frame's width: the photograph shows all of it, the frame half."""
    wide = np.concatenate([PLATES["gravel"]] * 3, axis=1)
    mask = cv2.ellipse(np.zeros(wide.shape[:2], np.uint8), (384, 128), (256, 30), 0, 0, 360, 255, -1, cv2.LINE_AA)
    wide = np.where(mask[..., None] > 127, np.concatenate([PLATES["coffee"]] * 3, axis=1), wide)
    found = by_variant(BARE, Sample("0" * 32, wide, extras={"mask.png": mask}), ctx)
    left, _, width, height = cv2.boundingRect((mask_of(found["size_full"]) > 127).astype(np.uint8))
    assert (left, width) == (pytest.approx(2, abs=1), pytest.approx(SIDE - 4, abs=2))
    assert width / height == pytest.approx(512 / 60, rel=0.1)
    small = found["size_0.05"]
    assert isinstance(small, Sample)
    assert small.ops[-1]["achieved"]["shown"] == pytest.approx(0.6, abs=0.05)
    assert small.ops[-1]["achieved"]["reference"] == "size_full"


def test_an_object_that_is_too_long_for_a_size_is_refused(ctx: Context) -> None:
    edit = AttributeEdit(classifier=None, sizes=("full", 0.4), base_size=None)
    found = by_variant(edit, composite("coffee", "chelsea", blob(128, 128, 100, 25, 0)), ctx)
    assert (found["size_0.4"].reason, type(found["size_0.4"])) == ("too_large", Failure)


def test_a_ball_that_is_turned_is_a_null_edit(ctx: Context) -> None:
    mask = blob(128, 128, 40, 40)
    plain = np.where(mask[..., None] > 127, np.uint8(200), PLATES["gravel"])
    found = by_variant(BARE, Sample("0" * 32, plain, extras={"mask.png": mask, "plate.png": PLATES["gravel"]}), ctx)
    assert found["direction"].reason == "null_edit"
    assert isinstance(found["position"], Sample)


def test_an_object_moves_on_the_lent_plate_where_too_much_of_its_own_would_be_made_up(ctx: Context) -> None:
    """Edits differ from `background_random` in geometry alone, and it is what sizes are compared with."""
    large = composite("coffee", "chelsea", blob(128, 128, 90, 80))
    found = by_variant(BARE, replace(large, extras={"mask.png": large.extras["mask.png"]}), ctx)
    assert found["plate"].reason == "plate_hole"
    assert not reasons(found).keys() - {"plate", "size_full"}
    start, moved, small = found["background_random"], found["position"], found["size_0.05"]
    assert isinstance(start, Sample)
    assert isinstance(moved, Sample)
    assert isinstance(small, Sample)
    lender = start.ops[-1]["achieved"]["plate_sample"]
    assert {item.ops[-1]["achieved"]["plate_sample"] for item in (moved, small)} == {lender}
    assert small.made_of() == start.made_of() != ()
    assert small.ops[-1]["achieved"]["reference"] == "background_random"
    assert "reference" not in moved.ops[-1]["achieved"]  # it starts from size_0.05, on the same plate
    away = (mask_of(start) == 0) & (mask_of(small) == 0)
    assert np.array_equal(pixels(small)[away], pixels(start)[away])


def test_without_other_pictures_there_is_no_other_plate(ctx: Context) -> None:
    found = by_variant(BARE, SAMPLES[0], replace(ctx, source=None))
    assert (found["background_random"].reason, type(found["background_random"])) == ("no_other_plate", Failure)


def test_a_partner_of_the_same_class_lends_no_plate(ctx: Context) -> None:
    sample = replace(SAMPLES[1], labels=("n1",))
    labels = {SAMPLES[3].id: ("n2",)}

    class Labelled(Given):
        """The same pictures with labels; only `brick` has another class, unless `alike`."""

        alike: bool = False

        def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
            for item in super().read(start, stop, ctx):
                assert isinstance(item, Sample)
                yield replace(item, labels=("n1",) if self.alike else labels.get(item.id, ("n1",)))

        def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
            return ClassInfo("n1", "one"), ClassInfo("n2", "two")

    def partners(source: Source) -> set[Any]:
        drawn, others = set(), let_through(source, ())
        for seed in range(8):
            item = by_variant(BACKGROUNDS, sample, replace(ctx, seed=seed, source=others))["background_random"]
            drawn.add(item.ops[-1]["achieved"]["plate_sample"] if isinstance(item, Sample) else item.reason)
        return drawn

    assert partners(Labelled()) == {SAMPLES[3].id}
    assert partners(Labelled(alike=True)) == {"no_other_plate"}


def test_a_partner_is_of_the_same_split(ctx: Context) -> None:
    """The edit is made of both photographs: one in another split would be on both sides."""

    class Divided(Given):
        """The same pictures, the first and the last of which are for testing."""

        def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
            for place, item in enumerate(super().read(start, stop, ctx), start):
                yield replace(item, split="test" if place in (0, len(SAMPLES) - 1) else "train")

    def partners(split: str, **more: Any) -> set[Any]:
        sample, drawn, others = replace(SAMPLES[1], split=split), set(), let_through(Divided(), ())
        for seed in range(8):
            item = by_variant(BACKGROUNDS, sample, replace(ctx, seed=seed, source=others, **more))["background_random"]
            drawn.add(item.ops[-1]["achieved"]["plate_sample"] if isinstance(item, Sample) else item.reason)
        return drawn

    ends = {SAMPLES[0].id, SAMPLES[-1].id}
    assert partners("test") <= ends
    assert partners("validation") == {"no_other_plate"}
    assert not partners("train") & ends
    assert len(partners("validation", splits={"validation": 1.0})) > 1  # the recipe's shares decide


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"mask.png": b"no picture"}, "not_an_image"),
        ({"mask.png": np.zeros((8, 8), np.uint8)}, "size_mismatch"),
        ({"plate.png": np.zeros((8, 8, 3), np.uint8)}, "size_mismatch"),
    ],
)
def test_unusable_members_fail_their_own_sample_alone(broken: dict[str, Any], reason: str, ctx: Context) -> None:
    bad = replace(SAMPLES[0], id="0" * 32, extras={**SAMPLES[0].extras, **broken})
    items = list(BARE.generate([bad, SAMPLES[1]], ctx))
    assert {(item.status, item.reason) for item in items if isinstance(item, Failure) and item.parent == bad.id} == {
        ("failed", reason)
    }
    assert sum(isinstance(item, Sample) for item in items if item.parent == SAMPLES[1].id) >= 8


def test_wide_pictures_are_framed_and_never_squashed(ctx: Context) -> None:
    wide = np.concatenate([PLATES["gravel"], PLATES["brick"]], axis=1)
    mask = np.zeros((SIDE, 2 * SIDE), np.uint8)
    mask[:, SIDE:] = blob(150, 128, 40, 40)
    found = by_variant(BARE, Sample("0" * 32, wide, extras={"mask.png": mask}), ctx)
    seen = mask_of(found["original"])
    box = cv2.boundingRect((seen > 127).astype(np.uint8))
    assert box[2] == pytest.approx(box[3], abs=1)
    assert (seen > 127).sum() == (mask > 127).sum()


def test_a_large_picture_with_mask_and_plate_is_shrunk_to_one_size(ctx: Context) -> None:
    """The picture is shrunk in two steps: by itself its canvas would be a column wider than that of mask and plate."""
    size = (3861, 2051)
    plate, mask = cv2.resize(PLATES["gravel"], size), cv2.resize(blob(128, 128, 40, 60), size)
    cover = mask[..., None] / np.float32(255)
    picture = np.rint(cover * cv2.resize(PLATES["coffee"], size) + (1 - cover) * plate).astype(np.uint8)
    edit = AttributeEdit(classifier=None, frame=64, attributes=("size",), sizes=(0.05,))
    found = by_variant(edit, Sample("0" * 32, picture, extras={"mask.png": mask, "plate.png": plate}), ctx)
    assert not reasons(found)
    difference = np.abs(pixels(found["control"]).astype(int) - pixels(found["original"]))
    assert difference.mean() < 1


@pytest.mark.parametrize(
    ("before", "original", "edited", "textured"),
    [
        (CAPTURED, CAPTURED, COMPOSITE, ENHANCED),
        ("", "", COMPOSITE, ENHANCED),
        (GENERATED, GENERATED, PARTLY_GENERATED, GENERATED),
    ],
)
def test_what_the_pictures_are_is_said(before: str, original: str, edited: str, textured: str, ctx: Context) -> None:
    found = by_variant(BARE, replace(SAMPLES[1], digital_source_type=before), ctx)
    kinds = {name: item.digital_source_type for name, item in found.items() if isinstance(item, Sample)}
    assert kinds == {
        name: original if name == "original" else textured if name.startswith("texture") else edited for name in kinds
    }
    assert len(kinds) >= 10


def test_a_plate_of_a_model_s_picture_makes_any_picture_the_model_s_in_part(ctx: Context) -> None:
    class Drawn(Given):
        """The same pictures, drawn by a model."""

        def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
            for item in super().read(start, stop, ctx):
                assert isinstance(item, Sample)
                yield replace(item, digital_source_type=GENERATED)

    photograph = replace(SAMPLES[1], digital_source_type=CAPTURED)
    found = by_variant(BARE, photograph, replace(ctx, source=let_through(Drawn(), ())))["background_random"]
    assert isinstance(found, Sample)
    assert found.digital_source_type == PARTLY_GENERATED


def test_objects_are_framed_with_the_picture_and_texts_stay(ctx: Context) -> None:
    wide = np.concatenate([PLATES["gravel"], PLATES["brick"]], axis=1)
    mask = np.zeros((SIDE, 2 * SIDE), np.uint8)
    mask[:, SIDE:] = blob(150, 128, 40, 40)
    known = Annotations(
        (
            Object((366, 88, 80, 80), "ball", id="1"),
            Object((0, 0, 100, 100), "gone"),
            Object((250, 10, 100, 20), "wall", area=1000.0),
        ),
        (Text("a ball"),),
        (LabelState("ball", "correct"),),
    )
    sample = Sample("0" * 32, wide, extras={"mask.png": mask}, annotations=known)
    found = by_variant(AttributeEdit(classifier=None, frame=128), sample, ctx)
    for item in found.values():
        if isinstance(item, Sample):
            assert (item.annotations.texts, item.annotations.labels) == (known.texts, known.labels)
    framed = found["original"]
    assert isinstance(framed, Sample)
    ball, wall = framed.annotations.objects
    box = cv2.boundingRect((mask_of(framed) > 127).astype(np.uint8))
    assert ball.box == pytest.approx(box, abs=1)
    assert (ball.label, ball.id, wall.label) == ("ball", "1", "wall")
    assert (wall.box[1:], wall.area) == ((5, 50, 10), 250)
    plate, moved = found["plate"], found["position"]
    assert isinstance(plate, Sample)
    assert plate.annotations.objects == (wall,)
    assert isinstance(moved, Sample)
    assert moved.annotations.objects[0].box == pytest.approx(
        cv2.boundingRect((mask_of(moved) > 127).astype(np.uint8)), abs=0
    )


def test_objects_on_a_fine_background_are_shown_four_times_at_half_their_size(ctx: Context) -> None:
    stone = Object((10, 20, 40, 60), "stone", 1800.0, id="1")
    found = by_variant(BARE, replace(SAMPLES[1], annotations=Annotations((stone,))), ctx)["texture_up"]
    assert isinstance(found, Sample)
    assert found.ops[-1]["achieved"]["texture"] == "half_scale"
    assert [(item.box, item.area, item.id) for item in found.annotations.objects] == [
        ((5, 10, 20, 30), 450, "1"),
        ((231, 10, 20, 30), 450, ""),
        ((5, 216, 20, 30), 450, ""),
        ((231, 216, 20, 30), 450, ""),
    ]


def test_a_mask_that_isn_t_one_of_the_picture_fails_its_own_sample(ctx: Context) -> None:
    bad = replace(SAMPLES[0], annotations=Annotations((Object((0, 0, 1, 1), id="7", mask="P0"),)))
    items = list(BARE.generate([bad, SAMPLES[1]], ctx))
    failed = [item for item in items if item.parent == bad.id]
    assert {(item.reason, type(item)) for item in failed} == {("bad_mask", Failure)}
    assert isinstance(failed[0], Failure)
    assert "object '7' is no compressed RLE of 256 x 256" in failed[0].detail
    assert any(isinstance(item, Sample) for item in items if item.parent == SAMPLES[1].id)


def test_mirroring_is_an_attribute_of_its_own(ctx: Context) -> None:
    edit = AttributeEdit(classifier=None, attributes=("mirror",))
    found = by_variant(edit, SAMPLES[0], ctx)
    assert list(found) == ["original", "plate", "control", "mirror"]
    assert not reasons(found)


def test_real_models_segment_inpaint_and_judge_a_photograph(models: Models) -> None:
    """Without a given mask u2netp finds the object, patches replace it, and EfficientNet classifies the result."""
    scene = composite("coffee", "grass", blob(128, 128, 45, 38))
    truth = np.asarray(scene.extras["mask.png"]) > 127
    memo = Memo()
    ctx = Context(seed=1, models=models, memo=memo, source=None)
    edit = AttributeEdit(attributes=("background", "position"), backgrounds=("texture_down",), base_size=None)
    first = by_variant(edit, replace(scene, extras={}), ctx)
    found = mask_of(first["original"]) > 127
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    control = first["control"]
    assert isinstance(control, Sample)
    assert set(control.ops[-1]["models"]) == {"segmenter", "inpainter", "classifier_gate"}
    assert control.ops[-1]["gates"]["label_rank"]["limit"] == "recorded"
    moved = first["position"]
    assert isinstance(moved, Sample)
    assert {"plate_clean", "plate_texture", "plate_hole"} <= set(moved.ops[-1]["gates"])
    left = truth & (mask_of(moved) == 0)
    assert np.abs(pixels(moved)[left].astype(int) - np.asarray(scene.image)[left]).mean() > 20  # the object is gone
    kept = len(memo)
    again = by_variant(edit, replace(scene, extras={}), ctx)
    assert len(memo) == kept > 0
    assert all(np.array_equal(pixels(again[name]), pixels(first[name])) for name in first)


def test_on_a_gpu_as_many_photographs_go_together_as_the_inpainter_likes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Filler:
        def __init__(self) -> None:
            self.asked: list[int] = []

        def get(self, alias: str) -> Any:
            def fill(images: Any, holes: Any, seeds: Any, names: Any) -> list[Filled]:
                self.asked.append(len(images))
                return [Filled(image, "diffusion") for image in images]

            return fill

        def pin(self, alias: str) -> str:
            return alias

    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path))
    monkeypatch.setattr(batch_search, "gpu_name", lambda: "a GPU")
    monkeypatch.setattr(batch_search, "sweep", lambda make, **_: [Tried(n, float(n), None) for n in (1, 2) if make(n)])
    filler, masked = Filler(), [replace(one, extras={"mask.png": one.extras["mask.png"]}) for one in SAMPLES[:3]]
    ctx = Context(5, filler, forgetful)  # type: ignore[arg-type]
    made = list(AttributeEdit(classifier=None, attributes=()).generate(masked, ctx))
    assert (len(made), filler.asked[:2], sorted(filler.asked[2:])) == (9, [1, 2], [1, 2])
    list(AttributeEdit(classifier=None, attributes=(), batch=3).generate(masked, ctx))
    assert filler.asked[4:] == [3]


def test_settings_that_contradict_each_other_are_refused() -> None:
    from variorum.schemas.lookup import build_component

    for fields, word in (
        ({"sizes": [0.1]}, "base_size"),
        ({"angles": [5]}, "15 to 180"),
        ({"gates": {"min_aera": 1}}, "min_aera"),
    ):
        with pytest.raises(RecipeError, match=word):
            build_component("generate", {"name": "attribute_edit", **fields}, "generate.0")


def test_aliases_and_filters() -> None:
    assert required_models(AttributeEdit()) == ("segmenter", "inpainter", "classifier_gate", "text_detector")
    assert deciding_models(AttributeEdit()) == ("classifier_gate",)
    assert deciding_models(BARE) == ()
