"""The generator of darkened pictures, from photographs to the tables of an edition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from odd_pictures import write_odd_pictures
from PIL import Image

from variorum.annotations import encode_mask
from variorum.edition.editions import tables_of
from variorum.edition.tables import read_table
from variorum.generators.low_light.low_light import LowLight
from variorum.kit.corrupt import low_light
from variorum.kit.corrupt.frames import framed
from variorum.kit.predicted.answers import reference
from variorum.models import ModelTable
from variorum.pipeline import Job, Threads, build
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import Context
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, ENHANCED, PARTLY_GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import required_models

CTX = Context(3, ModelTable("embedded"), None)
SAMPLES = [
    Sample(source_id("test", name), getattr(skimage.data, name)(), digital_source_type=CAPTURED)
    for name in ("chelsea", "coffee")
]
EXPOSURES = tuple(f"low_light_{stops}" for stops in range(1, 7))
ENHANCED_ONES = ("linear_gain_4", "gamma_4", "low_light_enhancer_4")


def made(sample: Sample = SAMPLES[0], ctx: Context = CTX, **fields: Any) -> dict[str, Sample | Failure]:
    return {item.variant: item for item in LowLight(**fields).generate([sample], ctx)}


def samples(found: dict[str, Sample | Failure]) -> Iterator[Sample]:
    for item in found.values():
        assert isinstance(item, Sample), item
        yield item


@pytest.fixture(scope="module")
def whole() -> dict[str, Sample | Failure]:
    return made(noiseless=True)


def test_an_original_and_its_darkened_and_enhanced_pictures(whole):
    assert list(whole) == ["original", *EXPOSURES, *(f"noiseless_{stops}" for stops in range(1, 7)), *ENHANCED_ONES]
    for item in samples(whole):
        assert item.image.shape == (224, 224, 3)
        assert item.reason == ""
        canonical_json(item.ops[-1])
    assert len({item.id for item in whole.values()}) == len(whole)
    np.testing.assert_array_equal(whole["original"].image, framed(SAMPLES[0], 224).image)
    kinds = {name: item.digital_source_type for name, item in whole.items()}
    assert kinds["original"] == CAPTURED
    assert kinds["low_light_4"] == kinds["gamma_4"] == ENHANCED
    assert kinds["low_light_enhancer_4"] == PARTLY_GENERATED


def test_records_say_what_was_asked_for_and_what_came_of_it(whole):
    op = whole["low_light_4"].ops[-1]
    assert op["requested"] == {"exposure": 4, "noise": "sampled", "bits": 12, "frame": 224}
    levels = [whole[name].ops[-1]["achieved"]["mean_level"] for name in ("original", *EXPOSURES)[1:]]
    assert levels == sorted(levels, reverse=True)
    for name in EXPOSURES:
        achieved = whole[name].ops[-1]["achieved"]
        assert achieved["mean_level"] == pytest.approx(whole[name].image.mean(), abs=1e-3)
        assert achieved["black"] == pytest.approx((whole[name].image == 0).mean(), abs=1e-6)
        assert {"psnr", "ssim", "clipped"} <= set(achieved)
    ratios = [whole[name].ops[-1]["achieved"]["snr_db"] for name in EXPOSURES]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > ratios[-1] + 10
    assert len({whole[name].ops[-1]["achieved"]["shot"] for name in EXPOSURES}) == 1
    assert {item.ops[-1]["seed"] for item in whole.values() if item.variant != "original"} == {
        Edit(LowLight(), SAMPLES[0], CTX).seed("sensor")
    }
    assert "snr_db" not in whole["noiseless_4"].ops[-1]["achieved"]
    assert whole["noiseless_4"].ops[-1]["achieved"]["psnr"] > op["achieved"]["psnr"]
    np.testing.assert_array_equal(whole["noiseless_2"].image, made(noise="none", enhancers=())["low_light_2"].image)


def test_enhanced_pictures_are_made_of_the_dark_one_and_say_so(whole):
    dark = whole["low_light_4"].image
    assert [reference(whole[name]) for name in ENHANCED_ONES] == ["low_light_4"] * 3
    assert reference(whole["low_light_4"]) == ""
    np.testing.assert_array_equal(whole["linear_gain_4"].image, low_light.linear_gain(dark, 4))
    np.testing.assert_array_equal(whole["gamma_4"].image, low_light.gamma(dark)[0])
    (bright,) = CTX.models.get("low_light_enhancer")([dark])
    np.testing.assert_array_equal(whole["low_light_enhancer_4"].image, bright)
    pins = {name: list(item.ops[-1]["models"]) for name, item in whole.items() if item.ops[-1]["models"]}
    assert pins == {"low_light_enhancer_4": ["low_light_enhancer"]}
    turned = made(enhancers=("low_light_enhancer", "gamma"))
    assert not turned["gamma_4"].ops[-1]["models"]


def test_bytes_depend_on_seed_and_picture_not_on_the_company():
    fields = {"exposures": (2, 4), "frame": 64, "enhancers": ("low_light_enhancer",)}
    alone = [made(sample, **fields) for sample in SAMPLES]
    together = list(LowLight(**fields).generate(SAMPLES[::-1], CTX))
    for found, chunk in zip(alone[::-1], [together[at : at + 4] for at in (0, 4)], strict=True):
        for before, after in zip(samples(found), chunk, strict=True):
            assert before.id == after.id
            np.testing.assert_array_equal(before.image, after.image)
    fewer = made(exposures=(4,), frame=64, enhanced=())
    np.testing.assert_array_equal(fewer["low_light_4"].image, alone[0]["low_light_4"].image)
    assert not np.array_equal(made(ctx=replace(CTX, seed=4), **fields)["low_light_4"].image, fewer["low_light_4"].image)


def test_objects_and_the_mask_stay():
    mask = np.zeros((300, 451), np.uint8)
    mask[60:200, 100:300] = 255
    box = (100.0, 60.0, 200.0, 140.0)
    sample = replace(
        SAMPLES[0],
        extras={"mask.png": mask},
        annotations=Annotations((Object(box, "cat", mask=encode_mask(mask > 0)),)),
    )
    found = made(sample, exposures=(4,))
    for item in samples(found):
        assert item.annotations == found["original"].annotations
        assert len(item.annotations.objects) == 1
        np.testing.assert_array_equal(item.extras["mask.png"], found["original"].extras["mask.png"])
    whole_size = made(sample, exposures=(4,), frame=None)
    assert all(item.image.shape == (300, 451, 3) for item in samples(whole_size))


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_whatever_a_folder_holds_becomes_pictures_or_rows(tmp_path):
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    photo = Image.fromarray(skimage.data.chelsea()[:120, :160])
    write_odd_pictures(folder, np.asarray(photo))
    photo.point(lambda value: value // 4).save(folder / "dark.png")
    halves = np.full((64, 64, 3), 255, np.uint8)
    halves[:45] = 0
    Image.fromarray(halves).save(folder / "black.png")
    generator = {"name": "low_light", "exposures": [1, 4], "noise": "none", "frame": 64, "bits": 8}
    recipe = Recipe.parse(
        {
            "dataset": "mixed",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(tmp_path / "photos")},
            "generate": [generator],
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    table = read_table(job.store, tables_of(build(job, Threads(1)))).to_pylist()
    rows: dict[str, dict[str, tuple[str, str]]] = {}
    for row in table:
        rows.setdefault(row["origin"].rpartition("/")[2], {})[row["variant"]] = row["status"], row["reason"]
    names = ["original", "low_light_1", "low_light_4", *ENHANCED_ONES]
    for name in ("grey.png", "palette.png", "sixteen.png"):
        assert rows[name] == dict.fromkeys(names, ("accepted", ""))
    assert rows["alpha.png"] == dict.fromkeys(names, ("ineligible", "alpha"))
    assert rows["tiny.png"] == dict.fromkeys(names, ("ineligible", "too_small"))
    assert rows["dark.png"] == {"original": ("accepted", ""), **dict.fromkeys(names[1:], ("ineligible", "dark_input"))}
    assert set(rows["flat.png"].values()) == {("quarantined", "blank")}
    assert rows["black.png"] == {
        "original": ("accepted", ""),
        **dict.fromkeys(names[1:], ("ineligible", "black")),
    }
    assert list(rows["cut.jpg"].values()) == [("failed", "truncated")]


def test_noise_does_not_make_a_picture_of_a_blank_one():
    flat = np.full((64, 64, 3), 90, np.uint8)
    found = made(replace(SAMPLES[0], image=flat), exposures=(1, 4), noise=(0.01, 0.01), enhancers=("gamma",), frame=64)
    assert {variant: item.reason for variant, item in found.items()} == dict.fromkeys(found, "blank")


def test_a_picture_that_does_not_change_is_no_picture():
    bright = np.full((64, 64, 3), 255, np.uint8)
    bright[8:40, 8:40] = 0
    found = made(replace(SAMPLES[0], image=bright), exposures=(0.0001,), noise="none", enhancers=(), frame=None)
    assert (found["low_light_0.0001"].status, found["low_light_0.0001"].reason) == ("ineligible", "unchanged")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exposures": [0]}, "exposures.*greater than 0"),
        ({"exposures": []}, "exposures is empty; name one or more, such as 4"),
        ({"exposures": [4, 4]}, "exposures: value error, must name each once"),
        ({"exposures": [1, 2]}, r"enhanced has 4; name some of exposures \(1, 2\), or \[\] for none"),
        ({"noise": [0, 0]}, r"noise is \[0, 0\]; write none"),
        (
            {"noise": "loud"},
            r"noise: value error, must be sampled, none, or two numbers from 0 to 1: shot and read noise \(got 'loud'",
        ),
        ({"noise": [True, 0.1]}, "noise: value error, must be sampled, none, or two numbers"),
        ({"noise": [-1, 0.1]}, "^here.noise: value error, must be sampled, none, or two numbers from 0 to 1.*$"),
        ({"noise": [float("nan"), 0.1]}, "^here.noise: value error, must be sampled, none, or two numbers from 0 to 1"),
        ({"noise": "none", "noiseless": True}, "noiseless adds what noise: none makes anyway"),
        ({"bits": 17}, "bits.*16"),
        ({"enhancers": ["magic"]}, "enhancers.*low_light_enhancer"),
    ],
)
def test_a_mistake_in_the_recipe_is_one_line_before_any_work(fields, message):
    with pytest.raises(RecipeError, match=message):
        build_component("generate", {"name": "low_light", **fields}, "here")


def test_the_model_is_asked_for_only_where_it_is_used():
    assert required_models(LowLight()) == ("low_light_enhancer",)
    assert required_models(LowLight(enhancers=("gamma",))) == ()
    assert required_models(LowLight(enhanced=())) == ()
    without = Context(3, None, None)  # type: ignore[arg-type]
    assert len(made(ctx=without, enhancers=("gamma",), frame=32)) == 8
