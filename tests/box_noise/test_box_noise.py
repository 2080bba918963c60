"""Boxes with noise: the law of the IoU, how exactly levels are met, and what an edition holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from annotated_set import ANNOTATED
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_pictures import write_odd_pictures
from PIL import Image
from pydantic import ValidationError

from variorum.annotations import box_iou, encode_mask
from variorum.edition.editions import tables_of
from variorum.edition.tables import read_table
from variorum.generators.box_noise.box_noise import BoxNoise
from variorum.generators.box_noise.noise import KINDS, REDRAWS, drawn, noisy, placed, size_of
from variorum.generators.box_noise.truth import FIELDS, TRUTH, name_of, noise_of, ordered, truth_of
from variorum.models import ModelTable
from variorum.pipeline import Job, Threads, build
from variorum.reports.hub_types import features
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, Failure, Sample, source_id

DRAWS = 20_000
MASK = np.zeros((300, 451), bool)
MASK[100:160, 60:200] = True
OBJECTS = (
    Object((60.0, 100.0, 140.0, 60.0), "cat", 8400.0, id="a", mask=encode_mask(MASK)),
    Object((300.0, 200.0, 20.0, 30.0), "dog", 500.0, id="b"),
    Object((0.0, 0.0, 451.0, 300.0), "cat", id="whole"),
    Object((10.0, 10.0, 50.0, 50.0), "dog", crowd=True, id="c"),
    Object((440.0, 290.0, 0.5, 0.5), "dog", id="speck"),
)
PHOTOGRAPH = Sample(
    source_id("test", "chelsea"),
    skimage.data.chelsea(),
    labels=("cat",),
    digital_source_type=CAPTURED,
    annotations=Annotations(OBJECTS, (Text("a cat"),)),
)


class Pets:
    """A source's classes."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        return tuple(ClassInfo(name, name) for name in self._names)

    def component_name(self) -> str:
        return "pets"


CTX = Context(3, ModelTable("embedded"), lambda key, compute: compute(), Pets("cat", "dog", "bird"))  # type: ignore[arg-type]


def made(sample: Sample = PHOTOGRAPH, **fields: Any) -> dict[str, Sample | Failure]:
    return {item.variant: item for item in BoxNoise(**fields).generate([sample], CTX)}


def entries(item: Sample | Failure) -> list[dict[str, Any]]:
    assert isinstance(item, Sample)
    columns = json.loads(item.extras[TRUTH])["objects"]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def columns(**wrong: Any) -> bytes:
    """A member with one object, and something wrong."""
    right: dict[str, Any] = {"gt": [1, 2, 3, 4], "noisy": [1, 2, 3, 4], "iou": 1, "area": 1, "redraws": 0}
    right |= dict.fromkeys(("id", "label", "noisy_label", "bin"), "a")
    found = {name: [right.get(name, False)] for name in FIELDS}
    return json.dumps({"objects": {**found, **wrong}}).encode()


# ── the law ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def shift_iou(shift, length):
    return np.maximum(length - np.abs(shift), 0) / (length + np.abs(shift))


@given(st.floats(-30, 30), st.floats(1, 20), st.floats(1, 20))
def test_the_iou_of_a_shift_along_one_side(shift, length, height):
    shift, length = round(shift, 3), round(length, 3)
    iou = box_iou((50, 5, length, height), (50 + shift, 5, length, height))
    assert float(shift_iou(np.array(shift), length)) == pytest.approx(iou, abs=5e-3)


def test_the_same_error_in_metres_costs_short_boxes_most():
    """σ of 1 m on lengths of 4, 8, 12 and 18 m, and σ of a tenth of the length."""
    shift, lengths = np.random.default_rng(0).standard_normal(DRAWS), np.array([4.0, 8.0, 12.0, 18.0])
    absolute = shift_iou(shift[:, None], lengths)
    assert absolute.mean(axis=0) == pytest.approx([0.69, 0.83, 0.88, 0.92], abs=0.01)
    assert (absolute > 0.7).mean(axis=0) == pytest.approx([0.52, 0.84, 0.97, 1.00], abs=0.01)
    relative = shift_iou(shift[:, None] * 0.1 * lengths, lengths)
    assert relative.mean(axis=0) == pytest.approx([0.858] * 4, abs=0.003)


@st.composite
def framed(draw: st.DrawFn) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """A box in a picture, often at its edges, and the picture's height and width."""
    size = draw(st.integers(32, 700)), draw(st.integers(32, 700))
    left, top = (
        draw(st.just(0.0) | st.floats(0, 0.9).map(lambda share, s=side: round(share * s, 3))) for side in size[::-1]
    )
    room = size[1] - left, size[0] - top
    wide, high = (draw(st.just(one) | st.floats(1, one).map(lambda side: round(side, 3))) for one in room)
    return (left, top, wide, high), size


@settings(max_examples=300)
@given(framed(), st.sampled_from(KINDS), st.sampled_from([0.2, 0.5, 0.7, 0.9, 0.99]), st.integers(0, 2**32))
def test_a_target_iou_is_met_by_every_box_that_counts(where, kind, target, seed):
    box, (height, width) = where
    found, redraws, cut = placed(box, kind, "iou", target, (height, width), np.random.default_rng(seed))
    if found is None:
        assert redraws == REDRAWS
        assert min(box[2:]) < 1.5 / target  # a side would be shorter than a pixel
        return
    assert target <= box_iou(box, found) <= target + 0.01
    left, top, wide, high = found
    assert min(left, top, wide - 1, high - 1) >= 0
    assert left + wide <= width + 2e-3
    assert top + high <= height + 2e-3
    if cut:
        return
    if kind == "shift":
        assert found[2:] == pytest.approx(box[2:], abs=1e-3)
    else:
        assert left + wide / 2 == pytest.approx(box[0] + box[2] / 2, abs=2e-3)
    if kind == "aspect":
        assert wide * high == pytest.approx(box[2] * box[3], rel=1e-2)


def test_boxes_grow_as_often_as_they_shrink_where_there_is_room():
    rng, size = np.random.default_rng(0), (300, 451)

    def grown(box: tuple[float, float, float, float]) -> float:
        found = [placed(box, "scale", "iou", 0.5, size, rng).box for _ in range(400)]
        return float(np.mean([one[2] * one[3] > box[2] * box[3] for one in found]))

    assert grown((200.0, 100.0, 40.0, 40.0)) == pytest.approx(0.5, abs=0.1)
    assert grown((0.0, 0.0, 90.0, 70.0)) == pytest.approx(0.5, abs=0.1)  # in a corner, it grows to the other sides
    assert grown((0.0, 0.0, 451.0, 300.0)) == 0


def test_relative_errors_are_of_the_box_and_absolute_ones_of_the_picture():
    rng = np.random.default_rng(0)
    small, large = (500.0, 500.0, 10.0, 20.0), (500.0, 500.0, 100.0, 200.0)
    for law, level, want in (("relative", 0.1, (1, 10)), ("absolute", 3.0, (3, 3))):
        moved = [
            [noisy(box, "shift", drawn(box, "shift", law, level, rng))[0] - 500 for _ in range(3000)]
            for box in (small, large)
        ]
        assert np.std(moved, axis=1) == pytest.approx(want, rel=0.05)
        scaled = [
            [np.log(noisy(box, "scale", drawn(box, "scale", law, level, rng))[2] / box[2]) for _ in range(3000)]
            for box in (small, large)
        ]
        geometric = [np.sqrt(box[2] * box[3]) for box in (small, large)]
        deviations = [level, level] if law == "relative" else [level / side for side in geometric]
        assert np.std(scaled, axis=1) == pytest.approx(deviations, rel=0.05)


def test_what_leaves_the_picture_is_cut_and_a_box_without_a_pixel_left_is_given_up():
    rng = np.random.default_rng(0)
    corner = [placed((0.0, 0.0, 20.0, 20.0), "shift", "relative", 0.7, (60, 60), rng) for _ in range(200)]
    assert all(one.box is not None and min(one.box[:2]) >= 0 for one in corner)
    assert 0.5 < np.mean([one.cut for one in corner]) < 1
    assert max(one.redraws for one in corner) > 0
    thin = [placed((30.0, 30.0, 1.2, 9.0), "scale", "iou", 0.5, (60, 60), rng).box for _ in range(20)]
    assert all(box is not None and box[2] >= 1 for box in thin)
    assert placed((5.0, 5.0, 1.0, 1.0), "aspect", "iou", 0.5, (60, 60), rng) == (None, REDRAWS, False)
    assert [size_of(area) for area in (1023, 1024, 9215, 9216)] == ["small", "medium", "medium", "large"]


# ── the generator ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def whole() -> dict[str, Sample | Failure]:
    return made(relative=(0.1,), absolute=(8.0,), rates=(1.0,), seeds=2)


def test_one_picture_per_kind_law_level_and_seed(whole):
    assert len(whole) == 1 + 3 * 5 * 2 + 3 * 2
    assert {"original", "shift_iou_0.7_1", "scale_relative_0.1_2", "aspect_absolute_8_1", "drop_1_1"} <= set(whole)
    assert len({item.id for item in whole.values()}) == len(whole)
    for item in whole.values():
        assert item.image is PHOTOGRAPH.image
        assert item.digital_source_type == CAPTURED
        assert (item.labels, item.annotations.texts) == (("cat",), (Text("a cat"),))
    assert whole["original"].annotations.objects == OBJECTS
    odd = replace(PHOTOGRAPH, variant="odd", ops=({"requested": {"kind": "shift", "law": "iou", "level": 10**400}},))
    assert noise_of(odd) == "odd"
    assert noise_of(whole["shift_iou_0.7_2"]) == name_of("shift", "iou", 0.7) == "shift_iou_0.7"
    names = ["drop_1", "other", "shift_absolute_12", "shift_absolute_8", "shift_iou_0.7", "original"]
    assert ordered(names) == ["original", "shift_absolute_8", "shift_absolute_12", "shift_iou_0.7", "drop_1", "other"]


def test_the_objects_are_the_noisy_ones_and_the_member_has_the_true_ones(whole):
    for level in (0.9, 0.7, 0.5):
        item = whole[f"shift_iou_{level:g}_1"]
        first, second, *others = item.annotations.objects
        for one, true in zip((first, second), OBJECTS, strict=False):
            assert level <= box_iou(one.box, true.box) <= level + 0.01
            assert (one.label, one.id, one.mask, one.origin) == (true.label, true.id, "", "box_noise")
            assert one.area == pytest.approx(true.area, rel=1e-4)
        whole_one, *others = others
        assert level <= box_iou(whole_one.box, OBJECTS[2].box) <= level + 0.01  # it fills the picture, so a part is cut
        assert tuple(others) == OBJECTS[3:]  # one is a crowd, one is smaller than a pixel
        told = entries(item)
        assert [one["gt"] for one in told] == [list(one.box) for one in OBJECTS[:4]]
        assert [one["bin"] for one in told] == ["medium", "small", "large", "medium"]
        assert not any(one["kept"] for one in told)
        assert [one.iou == pytest.approx(level, abs=0.01) for one in truth_of(item)] == [True, True, True, False]
        achieved = item.ops[-1]["achieved"]
        assert (achieved["objects"], achieved["kept"], achieved["redraws"]) == (3, 0, 0)
        assert achieved["cut"] >= 1
        assert achieved["mean_iou"] == pytest.approx(level, abs=0.01)
        assert item.ops[-1]["gates"]["inside"] == {"value": 0, "limit": "recorded", "passed": True}
    assert [one.item.box for one in truth_of(whole["drop_1_1"])] == [one.box for one in OBJECTS[:4]]


def test_objects_are_dropped_doubled_and_mistaken(whole):
    assert [one.id for one in whole["drop_1_1"].annotations.objects] == ["c", "speck"]
    doubled = whole["duplicate_1_1"].annotations.objects
    assert [one.id for one in doubled] == ["a", "", "b", "", "whole", "", "c", "speck"]
    assert box_iou(doubled[0].box, doubled[1].box) == pytest.approx(0.8, abs=0.01)
    assert [one["duplicate"] for one in entries(whole["duplicate_1_1"])] == [False, True] * 3 + [False]
    assert len(truth_of(whole["duplicate_1_1"])) == 4
    labels = [one.label for one in whole["label_1_1"].annotations.objects]
    assert all(after != before.label for after, before in zip(labels[:3], OBJECTS, strict=False))
    assert labels[3:] == ["dog", "dog"]
    mistaken = made(kinds=("label",), rates=(1.0,), seeds=12)
    drawn = {item.annotations.objects[0].label for name, item in mistaken.items() if name != "original"}
    assert drawn == {"dog", "bird"}


def test_levels_share_their_directions_and_seeds_do_not(whole):
    def direction(name: str) -> float:
        left, top, *_ = whole[name].annotations.objects[0].box
        return np.arctan2((top - 100) / 60, (left - 60) / 140)

    assert direction("shift_iou_0.9_1") == pytest.approx(direction("shift_iou_0.7_1"), abs=0.01)
    assert direction("shift_iou_0.9_1") != pytest.approx(direction("shift_iou_0.9_2"), abs=0.01)
    again = made(seeds=1, target_iou=(0.7,), kinds=("shift",))
    assert again["shift_iou_0.7_1"].annotations == whole["shift_iou_0.7_1"].annotations


def test_without_boxes_there_is_nothing_to_change():
    for objects in ((), OBJECTS[3:]):  # none; a crowd, and a box smaller than a pixel
        sample = replace(PHOTOGRAPH, annotations=Annotations(objects))
        found = made(sample, kinds=("shift",), target_iou=(0.7,), seeds=1)
        assert found["original"].reason == ""
        assert (found["shift_iou_0.7_1"].status, found["shift_iou_0.7_1"].reason) == ("ineligible", "no_objects")
    tiny = made(replace(PHOTOGRAPH, image=PHOTOGRAPH.image[:20]), kinds=("drop",), rates=(0.5,))
    assert {item.reason for item in tiny.values()} == {"too_small"}


def test_an_area_is_that_of_the_part_in_the_picture():
    """Half of the first box is to the left of the picture; the second one has no class to mistake."""
    objects = (Object((-50.0, 100.0, 100.0, 40.0), "cat", 4000.0, id="a"), Object((60.0, 60.0, 50.0, 50.0), id="b"))
    sample = replace(PHOTOGRAPH, annotations=Annotations(objects))
    found = made(sample, kinds=("scale", "label"), target_iou=(0.5,), rates=(1.0,), seeds=4)
    for item in found.values():
        assert [one["area"] for one in entries(item)] == [2000, 2500]
    areas = {found[f"scale_iou_0.5_{seed}"].annotations.objects[0].area for seed in range(1, 5)}
    assert any(area == pytest.approx(2000 * 0.502, abs=1) for area in areas)
    labelled = found["label_1_1"]
    assert labelled.annotations.objects[0].label != "cat"
    assert labelled.annotations.objects[1] == objects[1]
    assert [one["kept"] for one in entries(labelled)] == [False, False]


def test_fields_say_what_they_take():
    wrong = ({"target_iou": (1.0,)}, {"relative": (0.0,)}, {"absolute": (2000.0,)}, {"rates": (1.5,)}, {"rates": ()})
    for fields in (
        *wrong,
        {"target_iou": (0.3333333, 0.33333334)},
        {"kinds": ()},
        {"kinds": ("shift",), "target_iou": ()},
        {"kinds": ("drop", "drop")},
    ):
        with pytest.raises(ValidationError):
            BoxNoise(**fields)
    with pytest.raises(RecipeError, match="pets has fewer than 2 classes; leave label out of kinds"):
        BoxNoise().check(replace(CTX, source=Pets("cat")))  # type: ignore[arg-type]
    BoxNoise(kinds=("shift",)).check(replace(CTX, source=Pets("cat")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b'{"objects": [{}]}',
        columns(gt=[[1, 2, 3]]),
        columns(gt=[[1, 2, 3, float("nan")]]),
        columns(gt=[[1, 2, 3, 4]] * 2),
        columns(label=[3]),
        columns(kept=[None]),
        columns(area=[10**400]),
    ],
)
def test_a_strange_member_is_one_line(data):
    (one,) = truth_of(replace(PHOTOGRAPH, extras={TRUTH: columns()}))
    assert one.item == Object((1.0, 2.0, 3.0, 4.0), "a", 1.0, id="a")
    with pytest.raises(RecipeError, match=r"boxes\.json isn't what box_noise writes"):
        truth_of(replace(PHOTOGRAPH, extras={TRUTH: data}))


def test_odd_pictures_are_rows_with_a_reason(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    write_odd_pictures(folder, np.asarray(Image.fromarray(skimage.data.chelsea()).resize((96, 64))))
    (folder / "cut.jpg").unlink()  # it can't be read, so it has no box
    boxes = {"bbox": [[5, 5, 12, 12]], "category": ["cat"]}
    lines = [json.dumps({"file_name": file.name, "objects": boxes}) for file in sorted(folder.glob("*.png"))]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = {
        "dataset": "odd",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(folder)},
        "generate": [{"name": "box_noise", "kinds": ["shift"], "target_iou": [0.7], "seeds": 1}],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    table = read_table(job.store, tables_of(build(job, Threads(1)))).to_pylist()
    found: dict[str, set[str]] = {}
    for row in table:
        found.setdefault(row["origin"].rpartition("/")[2], set()).add(row["reason"])
    assert found == {
        "alpha.png": {"alpha"},
        "flat.png": {""},
        "grey.png": {""},
        "palette.png": {""},
        "sixteen.png": {""},
        "tiny.png": {"too_small"},
    }


def test_an_edition_keeps_the_pictures_files_and_rows_say_what_is_wrong(tmp_path):
    recipe = {
        "dataset": "noisy",
        "version": "1.0.0",
        "masters": "original",
        "source": {**ANNOTATED, "pictures": 6},
        "generate": [
            {"name": "box_noise", "kinds": ["shift", "drop"], "target_iou": [0.7], "rates": [0.5], "seeds": 1}
        ],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    manifest = build(job, Threads(1))
    assert TRUTH in manifest.members
    assert set(features(manifest)[TRUTH]["objects"]) == set(FIELDS)
    assert manifest.counts["original"] == {"accepted": 6}
    assert manifest.counts["shift_iou_0.7_1"] == {"accepted": 4, "ineligible:no_objects": 2}
    assert any("jpg" in one for one in manifest.members)  # a picture that was encoded again is a png
