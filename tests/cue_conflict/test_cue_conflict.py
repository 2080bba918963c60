"""The whole generator on pictures with known objects."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pyarrow.compute as pc
import pytest
import skimage.data
from odd_pictures import write_odd_pictures
from PIL import Image

from variorum.annotations import encode_mask, region
from variorum.edition.editions import tables_of
from variorum.edition.tables import read_table
from variorum.generators.cue_conflict.bands import low_pass
from variorum.generators.cue_conflict.cue_conflict import CueConflict
from variorum.generators.cue_conflict.partners import in_conflict
from variorum.generators.cue_conflict.stimuli import STIMULI
from variorum.models import ModelTable
from variorum.pipeline import Job, Threads, build
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.licences import all_of
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, COMPOSITE, ENHANCED, PARTLY_GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import required_models
from variorum.stages.lending import let_through

CAT, AIRLINER, ELEPHANT, KNIFE, TENCH = "n02123045", "n02690373", "n02504013", "n03041632", "n01440764"
SIDE = 200


def traffic_light() -> np.ndarray:
    box = np.full((SIDE, SIDE, 3), 25, np.uint8)
    for place, colour in enumerate([(230, 40, 30), (240, 190, 40), (40, 200, 90)]):
        cv2.circle(box, (SIDE // 2, 60 + 40 * place), 14, colour, -1)
    return box


def surface(name: str) -> np.ndarray:
    return np.repeat(getattr(skimage.data, name)()[:SIDE, :SIDE, None], 3, axis=2)


def picture(name: str, label: str, inside: np.ndarray, shape: str = "square") -> Sample:
    """A thing of this surface before a plain wall."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if shape == "square":
        mask[40:160, 40:160] = 255
    elif shape == "scattered":
        for top in range(20, 180, 40):
            mask[top : top + 24, 30:170:1] = 255
    else:
        cv2.ellipse(mask, (100, 100), (80, 40), 30, 0, 360, 255, -1)
    wall = np.full((SIDE, SIDE, 3), (150, 170, 190), np.uint8)
    return Sample(
        source_id("test", name),
        np.where(mask[..., None] > 0, inside, wall),
        (label,),
        origin=name,
        licence=f"terms of {name}",
        extras={"mask.png": mask},
        digital_source_type=CAPTURED,
        photograph=name,
    )


ELLIPSE = picture("ellipse", CAT, surface("brick"), "ellipse")
GRAVEL = picture("gravel", AIRLINER, surface("gravel"))
GRASS = picture("grass", ELEPHANT, surface("grass"))
LIGHT = picture("light", KNIFE, traffic_light())
WRONG = Object((0.0, 0.0, 9.0, 9.0), "thing")


class Pictures(Source):
    """These pictures."""

    def __init__(self, *samples: Sample) -> None:
        super().__init__()
        object.__setattr__(self, "samples", samples)

    def pin(self, ctx):
        return "pictures"

    def size(self, ctx):
        return len(self.samples)

    def classes(self, ctx):
        return tuple(ClassInfo(label, label) for label in dict.fromkeys(one.labels[0] for one in self.samples))

    def read(self, start, stop, ctx):
        yield from self.samples[start:stop]


def made(sample: Sample, *others: Sample, seed: int = 3, **fields: Any) -> list[Sample | Failure]:
    ctx = Context(seed, None, lambda key, compute: compute(), source=let_through(Pictures(sample, *others), ()))
    return list(CueConflict(segmenter=None, **fields).generate([sample], ctx))


@pytest.fixture(scope="module")
def whole() -> dict[str, Sample]:
    return {item.variant: item for item in made(ELLIPSE, GRAVEL, LIGHT)}


# ── what is made ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_original_and_each_stimulus(whole):
    assert list(whole) == [
        "original",
        "grey",
        "low_pass_1",
        "low_pass_3",
        "low_pass_7",
        "high_pass_3",
        "high_pass_1.5",
        "high_pass_0.7",
        "scrambled_4",
        "scrambled_7",
        "edges",
        "silhouette",
        "object",
        "texture_fill",
    ]
    for item in whole.values():
        assert isinstance(item, Sample)
        assert (item.image.shape, item.extras["mask.png"].shape) == ((224, 224, 3), (224, 224))
        assert (item.reason, item.labels) == ("", (CAT,))
        assert item.ops[-1]["gates"]["blank"]["passed"]
    types = {name: item.digital_source_type for name, item in whole.items()}
    assert (types["original"], types["grey"], types["texture_fill"]) == (CAPTURED, ENHANCED, COMPOSITE)
    for name in ("grey", "low_pass_3", "high_pass_3"):
        assert {"psnr", "ssim", "mean_level", "clipped"} <= set(whole[name].ops[-1]["achieved"])


def test_a_filled_shape_has_the_texture_of_another_class(whole):
    item = whole["texture_fill"]
    asked, achieved = item.ops[-1]["requested"], item.ops[-1]["achieved"]
    cues = {"shape_label": CAT, "texture_label": AIRLINER, "texture_id": GRAVEL.id}
    assert cues.items() <= asked.items()
    assert cues.items() <= achieved.items()
    assert item.labels == (CAT,)
    alpha = item.extras["mask.png"]
    assert (item.image[alpha == 0] == 255).all()
    inside, stone = item.image[alpha == 255], surface("gravel")
    assert abs(inside.mean() - stone.mean()) < 15
    assert abs(inside.std() - stone.std()) < 10
    assert set(item.ops[-1]["gates"]) == {
        "mask_area",
        "border_touch",
        "scattered",
        "texture_side",
        "textured",
        "texture_contrast",
        "contour_kept",
        "blank",
    }
    assert item.licence == "terms of ellipse AND terms of gravel"
    assert whole["object"].licence == "terms of ellipse"


def test_the_recorded_seed_makes_the_same_picture(whole):
    for grid in (4, 7):
        op = whole[f"scrambled_{grid}"].ops[-1]
        assert op["achieved"]["order"] == np.random.default_rng(op["seed"]).permutation(grid**2).tolist()
    op = whole["texture_fill"].ops[-1]
    sides = 2 * op["achieved"]["texture_side"]
    assert op["achieved"]["offset"] == np.random.default_rng(op["seed"]).integers(0, sides, 2).tolist()
    assert (
        len({item.ops[-1]["seed"] for item in (whole["scrambled_4"], whole["scrambled_7"], whole["texture_fill"])}) == 3
    )


def test_the_mask_is_scrambled_along_and_the_object_is_where_the_mask_is(whole):
    item = whole["scrambled_4"]
    order = item.ops[-1]["achieved"]["order"]
    assert sorted(order) == list(range(16))
    assert (item.extras["mask.png"] > 0).sum() == (whole["original"].extras["mask.png"] > 0).sum()
    wall = np.abs(item.image.astype(int) - (150, 170, 190)).max(axis=2) < 3
    assert wall[item.extras["mask.png"] == 0].mean() > 0.9
    assert wall[item.extras["mask.png"] == 255].mean() < 0.1


def test_each_shape_gets_several_textures_and_each_seed_its_own():
    fields = {"stimuli": ("texture_fill",), "partners": 3}
    found = made(ELLIPSE, GRAVEL, GRASS, LIGHT, **fields)[1:]
    assert [item.variant for item in found] == ["texture_fill"] * 3
    assert {item.ops[-1]["requested"]["texture_label"] for item in found[:2]} == {AIRLINER, ELEPHANT}
    assert (found[2].status, found[2].reason) == ("ineligible", "no_partner")
    assert "2 have a texture" in found[2].detail
    assert len({item.id for item in found}) == 3
    again = made(ELLIPSE, GRAVEL, GRASS, LIGHT, **fields)[1:]
    np.testing.assert_array_equal(found[0].image, again[0].image)
    first = {
        made(ELLIPSE, GRAVEL, GRASS, seed=seed, stimuli=("texture_fill",))[1].ops[-1]["requested"]["texture_id"]
        for seed in range(8)
    }
    assert first == {GRAVEL.id, GRASS.id}


def test_pictures_of_one_edition_get_different_textures():
    fields = {"stimuli": ("texture_fill",), "frame": 64}
    shapes = [replace(ELLIPSE, id=source_id("test", f"ellipse {number}")) for number in range(6)]
    drawn = [made(shape, GRAVEL, GRASS, **fields)[1].ops[-1]["requested"]["texture_id"] for shape in shapes]
    assert {*drawn} == {GRAVEL.id, GRASS.id}


def test_the_part_of_an_object_that_is_a_texture_can_be_chosen():
    kept = {}

    def memo(key, compute):
        if key not in kept:
            kept[key] = compute()
        return kept[key]

    ctx = Context(3, None, memo, source=let_through(Pictures(ELLIPSE, GRAVEL), ()))
    sides = {}
    for share in (0.5, 1):
        *_, found = CueConflict(segmenter=None, stimuli=("texture_fill",), patch=share).generate([ELLIPSE], ctx)
        sides[share] = found.ops[-1]["achieved"]["texture_side"]
    assert sides == {0.5: 66, 1: 133}


def test_lengths_grow_with_the_frame():
    fields = {"stimuli": ("low_pass",), "low_pass": (3,)}
    (plain, small), (_, large) = (made(ELLIPSE, frame=frame, **fields) for frame in (112, 224))
    assert (small.ops[-1]["requested"]["scale"], large.ops[-1]["requested"]["scale"]) == (0.5, 1.0)
    np.testing.assert_array_equal(small.image, low_pass(plain.image, 1.5))
    half = cv2.resize(large.image, (112, 112), interpolation=cv2.INTER_AREA)
    assert np.abs(half.astype(int) - small.image).mean() < 1


def test_objects_that_vanish_are_no_longer_there():
    objects = tuple(
        Object((float(left), 40.0, float(wide), 120.0), name)
        for name, left, wide in (("it", 40, 120), ("other", 0, 30))
    )
    inside = np.zeros((SIDE, SIDE), bool)
    inside[40:160, 40:160] = True
    objects = (replace(objects[0], mask=encode_mask(inside)), objects[1])
    sample = replace(GRAVEL, annotations=Annotations(objects))
    found = {item.variant: item.annotations.objects for item in made(sample, stimuli=("grey", "scrambled", "object"))}
    assert {name: [one.label for one in there] for name, there in found.items()} == {
        "original": ["it", "other"],
        "grey": ["it", "other"],
        "scrambled_4": [],
        "scrambled_7": [],
        "object": ["it"],
    }
    np.testing.assert_array_equal(region(found["object"][0], 224, 224), made(sample)[0].extras["mask.png"] > 127)


def test_an_object_is_on_white_whatever_the_ground_of_the_others():
    own = {item.variant: item for item in made(ELLIPSE, GRAVEL, ground="own")}
    outside = own["original"].extras["mask.png"] == 0
    for name, ground in (("object", None), ("silhouette", "original"), ("texture_fill", "original")):
        expected = 255 if ground is None else own[ground].image[outside]
        assert (own[name].image[outside] == expected).all()
    assert own["object"].ops[-1]["requested"]["ground"] == "white"
    alone = np.where(ELLIPSE.extras["mask.png"][..., None] > 0, ELLIPSE.image, 255).astype(np.uint8)
    again = made(replace(ELLIPSE, image=alone), stimuli=("object",), frame=SIDE)[1]
    assert (again.status, again.reason) == ("ineligible", "unchanged")


# ── what isn't made ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_traffic_light_lends_no_texture():
    found = made(ELLIPSE, LIGHT)[-1]
    assert (found.variant, found.reason) == ("texture_fill", "no_partner")
    assert "0 have a texture" in found.detail


def test_a_scattered_mask_is_no_shape():
    found = {item.variant: item for item in made(picture("scattered", CAT, surface("brick"), "scattered"), GRAVEL)}
    assert {found[name].reason for name in ("silhouette", "object", "texture_fill")} == {"scattered"}
    assert found["silhouette"].status == "ineligible"
    assert not found["silhouette"].gates["scattered"]["passed"]
    assert isinstance(found["edges"], Sample)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (replace(ELLIPSE, labels=()), "no_label"),
        (replace(ELLIPSE, labels=(CAT, TENCH)), "no_label"),
        (replace(ELLIPSE, extras={}), "no_mask"),
        (replace(ELLIPSE, extras={"mask.png": np.zeros((SIDE, SIDE), np.uint8)}), "mask_area"),
        (replace(ELLIPSE, split="train"), "no_partner"),
        (replace(ELLIPSE, extras={"mask.png": np.zeros((SIDE, SIDE - 1), np.uint8)}), "size_mismatch"),
        (replace(ELLIPSE, extras={"mask.png": b"no picture"}), "not_an_image"),
        (
            replace(ELLIPSE, annotations=Annotations((replace(WRONG, mask=encode_mask(np.ones((9, 9), bool))),))),
            "bad_mask",
        ),
    ],
)
def test_a_shape_that_gets_no_texture_says_why(sample, reason):
    ctx = Context(3, None, lambda key, compute: compute(), source=Pictures(GRAVEL), splits={})
    *_, found = CueConflict(segmenter=None, stimuli=("texture_fill",)).generate([sample], ctx)
    assert (found.status, found.reason) == ("ineligible", reason)


def test_conflicts_are_between_classes_and_categories():
    assert in_conflict(CAT, AIRLINER, "label")
    assert in_conflict(CAT, AIRLINER, "sixteen")
    assert in_conflict(CAT, TENCH, "label")
    assert not in_conflict(CAT, TENCH, "sixteen")  # a tench is in none of them
    assert not in_conflict("n02123045", "n02123597", "label")  # two cats
    assert not in_conflict(CAT, CAT, "label")
    assert not in_conflict("", CAT, "label")
    *_, found = made(replace(ELLIPSE, labels=(TENCH,)), GRAVEL, stimuli=("texture_fill",), categories="sixteen")
    assert found.reason == "no_category"
    assert all_of("A AND B", "B") == all_of("A", "A AND B") == "A AND B"
    assert all_of("A OR B", "C AND A") == "(A OR B) AND A AND C"
    assert all_of("(A AND B) OR C", "") == "((A AND B) OR C) AND unknown"
    assert all_of("(A OR B) AND C", "(A OR B)") == "(A OR B) AND C"
    assert all_of("A OR B", "A OR B") == "A OR B"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stimuli": ["grey", "grey"]}, "stimuli .* names one twice"),
        ({"stimuli": []}, "stimuli"),
        ({"stimuli": ["outline"]}, "stimuli"),
        ({"grids": []}, "grids is empty; leave scrambled out of stimuli instead"),
        ({"low_pass": []}, "low_pass is empty; leave low_pass out of stimuli instead"),
        ({"low_pass": [1, 1.0000001]}, "low_pass .* names one twice"),
        ({"grids": [5]}, "a frame of 224 pixels can't be cut into 5 equal tiles"),
        ({"edges": {"low": 200}}, "edges: .*low is 200, and must be at most high, 120"),
        ({"edges": {"high": float("inf")}}, "edges.high: .*finite"),
        ({"gates": {"least_area": 0.7}}, "gates: .*least_area is 0.7, and must be at most most_area, 0.6"),
        ({"gates": {"most_uneven": float("inf")}}, "gates.most_uneven: .*finite"),
        ({"partners": 17}, "partners"),
        ({"frame": 32}, "frame"),
        ({"high_pass": [0]}, "high_pass"),
    ],
)
def test_a_mistake_in_the_recipe_is_one_line_before_any_work(fields, message):
    with pytest.raises(RecipeError, match=message):
        build_component("generate", {"name": "cue_conflict", **fields}, "here")


def test_a_source_without_conflicts_is_refused_before_any_work():
    one = Context(3, None, None, source=Pictures(ELLIPSE))
    with pytest.raises(RecipeError, match="leave texture_fill and style_transfer out of stimuli"):
        CueConflict().check(one)
    CueConflict(stimuli=("grey",)).check(one)
    cats = Context(3, None, None, source=Pictures(ELLIPSE, replace(GRAVEL, labels=("n02123597",))))
    with pytest.raises(RecipeError, match="of classes that share no category, and there are no two"):
        CueConflict().check(cats)
    two = Context(3, None, None, source=Pictures(replace(ELLIPSE, labels=("tench",)), replace(GRAVEL, labels=("x",))))
    CueConflict().check(two)
    with pytest.raises(RecipeError, match="fewer than two of the sixteen categories"):
        CueConflict(categories="sixteen").check(two)


def test_only_stimuli_that_need_a_mask_need_a_segmenter():
    assert required_models(CueConflict()) == ("segmenter", "classifier_gate")
    assert required_models(CueConflict(stimuli=("grey", "edges"))) == ()
    every = (*STIMULI, "style_transfer")
    assert required_models(CueConflict(stimuli=every, classifier=None)) == ("segmenter", "style_transfer")


def test_whatever_a_folder_holds_becomes_pictures_or_rows(tmp_path):
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    (tmp_path / "photos" / "dog").mkdir()
    photo = Image.fromarray(skimage.data.chelsea()[:120, :160])
    write_odd_pictures(folder, np.asarray(photo))
    photo.save(tmp_path / "photos" / "dog" / "photo.png")
    stimuli = ["grey", "low_pass", "scrambled", "edges", "texture_fill"]
    generate = {"name": "cue_conflict", "stimuli": stimuli, "low_pass": [3], "grids": [4], "frame": 64}
    recipe = Recipe.parse(
        {
            "dataset": "mixed",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(tmp_path / "photos")},
            "generate": [{**generate, "segmenter": None}],
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    table = read_table(job.store, tables_of(build(job, Threads(1))))
    assert pc.count_distinct(table["id"]).as_py() == table.num_rows == 7 * 6 + 1
    rows = [
        (row["origin"].rpartition("/")[2], row["variant"], row["status"], row["reason"]) for row in table.to_pylist()
    ]
    for name in ("palette.png", "photo.png"):
        assert [row[2] for row in rows if row[0] == name].count("accepted") == 5
    for name in ("grey.png", "sixteen.png"):
        assert (name, "grey", "ineligible", "unchanged") in rows  # as many as there are, they don't stop an edition
    for name, reason in (("alpha.png", "alpha"), ("tiny.png", "too_small")):
        assert {row[2:] for row in rows if row[0] == name} == {("ineligible", reason)}
    assert {row[2:] for row in rows if row[0] == "flat.png"} == {
        ("quarantined", "blank"),
        ("ineligible", "unchanged"),
        ("ineligible", "no_mask"),
    }
    assert {row[2:] for row in rows if row[1] == "texture_fill" and row[0] == "photo.png"} == {
        ("ineligible", "no_mask")
    }
    assert [row[2:] for row in rows if row[0] == "cut.jpg"] == [("failed", "truncated")]


@pytest.mark.slow
def test_a_network_repaints_an_object_that_the_segmenter_found():
    coffee = Sample(source_id("test", "coffee"), skimage.data.coffee(), ("n07920052",), digital_source_type=CAPTURED)
    ctx = Context(
        3, ModelTable("embedded"), lambda key, compute: compute(), source=let_through(Pictures(coffee, GRAVEL), ())
    )
    limits = {"most_area": 0.9, "most_border": 1, "least_main_part": 0}
    generator = CueConflict(stimuli=("object", "style_transfer"), gates=limits)
    found = {item.variant: item for item in generator.generate([coffee], ctx)}
    repainted, alone = found["style_transfer"], found["object"]
    op = repainted.ops[-1]
    assert set(op["models"]) == {"segmenter", "classifier_gate", "style_transfer"}
    assert op["achieved"]["mask_source"] == "segmenter"
    assert op["requested"]["texture_id"] == GRAVEL.id
    assert repainted.digital_source_type == PARTLY_GENERATED
    alpha = repainted.extras["mask.png"]
    assert 0.05 < (alpha > 127).mean() < 0.9
    assert (repainted.image[alpha == 0] == 255).all()
    colour = [np.ptp(item.image[alpha == 255], axis=1).mean() for item in (alone, repainted)]
    assert colour[1] < 0.5 * colour[0]  # brown coffee in the style of grey stones
