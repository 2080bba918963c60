"""Arms of a photograph: the same frame and compression, the right truth, models that are missing."""

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from variorum.generators.ai_detection import region
from variorum.generators.ai_detection.detection_arms import Arm, DetectionArms
from variorum.schemas.component import Context
from variorum.schemas.edit import Edit
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.schemas.sample import CAPTURED, ENHANCED, PARTLY_GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import optional_models
from variorum.schemas.watermark import Attack
from variorum.stages.job import models


@pytest.fixture(scope="module")
def ctx():
    return Context(seed=3, models=models("embedded"), memo=lambda key, compute: compute())


@pytest.fixture(scope="module")
def photograph():
    import skimage.data

    return Sample(source_id("t", "coffee"), skimage.data.coffee(), digital_source_type=CAPTURED)


@pytest.fixture(scope="module")
def made(ctx, photograph):
    try:
        ctx.models.fetch("enlarger")
    except ModelUnavailable as error:
        pytest.skip(str(error))
    generator = DetectionArms(frame=128)
    return {one.variant: one for one in generator.edit(photograph, Edit(generator, photograph, ctx))}


def test_every_arm_has_the_frame_and_its_truth(made):
    truths = {name: one.ops[-1]["requested"]["truth"] for name, one in made.items()}
    assert truths == {
        "original": "real",
        "denoised_120": "reconstructed",
        "denoised_120_counter": "real",
        "super_resolved": "reconstructed",
        "enlarged": "real",
        "region_denoised": "partly_generated",
        "region_restyled": "partly_generated",
        "restyled": "processed",
        "enhanced": "processed",
        "blurred": "real",
    }
    assert {one.image.shape for one in made.values()} == {(128, 128, 3)}
    assert {made[name].digital_source_type for name, truth in truths.items() if truth == "real"} == {CAPTURED}
    assert made["denoised_120"].digital_source_type == made["region_restyled"].digital_source_type == PARTLY_GENERATED
    assert made["restyled"].digital_source_type == ENHANCED


def test_arms_show_the_photograph_and_differ_from_it(made):
    original = made["original"].image.astype(float)
    for name, one in made.items():
        change = np.abs(one.image - original).mean()
        assert (change == 0) == (name == "original")
        assert np.corrcoef(one.image.ravel(), original.ravel())[0, 1] > 0.85, name


def test_masks_are_white_where_a_model_made_the_picture(made):
    white = {name: (one.extras["mask.png"] == 255).mean() for name, one in made.items()}
    assert {name for name, share in white.items() if share == 1} == {"denoised_120", "super_resolved"}
    assert {name for name, share in white.items() if 0 < share < 1} == {"region_denoised", "region_restyled"}


def test_counter_arms_name_their_arms(made):
    named = {name: one.ops[-1]["requested"].get("counter_of") for name, one in made.items()}
    assert {name: arm for name, arm in named.items() if arm} == {
        "denoised_120_counter": "denoised_120",
        "enlarged": "super_resolved",
    }


def test_a_matched_arm_has_the_tones_of_its_photograph_and_a_counter_arm_those_of_its_arm(ctx, photograph):
    by = {"name": "enhancement"}
    arms = ({"name": "plain", "truth": "processed", "by": by, "counter": True},)
    arms += ({"name": "matched", "truth": "processed", "by": by, "matched": True},)
    generator = DetectionArms(arms=arms, frame=128, jpeg_quality=None)
    original, plain, counter, matched = generator.edit(photograph, Edit(generator, photograph, ctx))
    levels = {one.variant: np.sort(one.image, axis=None).astype(int) for one in (original, plain, counter, matched)}
    assert np.abs(levels["plain"] - levels["original"]).mean() > 4
    assert np.abs(levels["matched"] - levels["original"]).mean() < 1.5
    assert np.abs(levels["plain_counter"] - levels["plain"]).mean() < 1.5


def test_outside_of_its_region_an_arm_is_the_photograph(ctx, photograph):
    arm = {"name": "part", "truth": "partly_generated", "by": {"name": "restyling"}, "region": True}
    generator = DetectionArms(arms=(arm,), frame=128, jpeg_quality=None)
    original, part = generator.edit(photograph, Edit(generator, photograph, ctx))
    mask = part.extras["mask.png"]
    assert not original.extras["mask.png"].any()
    assert part.ops[-1]["achieved"]["area"] == pytest.approx((mask == 255).mean(), abs=1e-4)
    far = cv2.dilate(mask, np.ones((13, 13), np.uint8)) == 0
    assert np.array_equal(part.image[far], original.image[far])
    deep = cv2.erode(mask, np.ones((13, 13), np.uint8)) == 255
    assert np.abs(part.image[deep].astype(int) - original.image[deep]).mean() > 10


def test_regions_lie_evenly_over_the_frame():
    """Where a tile lies doesn't tell whether it is inside: the AUROC of any order of places is near a half."""
    regions = np.stack([region.drawn(np.random.default_rng(seed), 64, 64) for seed in range(400)])
    assert all(0.1 <= one.mean() <= 0.4 for one in regions)
    share = regions.mean(axis=0)  # a tile that is inside as often as all others
    tiles = share.reshape(8, 8, 8, 8).mean(axis=(1, 3))
    middle, border = tiles[2:6, 2:6].mean(), (tiles.sum() - tiles[2:6, 2:6].sum()) / 48
    assert abs(middle - border) < 0.03
    assert tiles.std() < 0.035


def test_all_arms_end_in_the_same_jpeg(ctx, photograph):
    """What the last step gives is what compressing the finished picture gives: nothing comes after it."""
    from variorum.kit.corrupt.digital import as_jpeg

    generator = DetectionArms(frame=128, jpeg_quality=60)
    for one in generator.edit(photograph, Edit(generator, photograph, ctx)):
        again = np.abs(as_jpeg(one.image, 60).astype(int) - one.image)
        assert again.mean() < 1.5, one.variant
    plain = DetectionArms(frame=128, jpeg_quality=None, arms=())
    (image,) = (one.image for one in plain.edit(photograph, Edit(plain, photograph, ctx)))
    assert np.abs(as_jpeg(image, 60).astype(int) - image).mean() > 2


def test_the_same_picture_in_any_order(ctx, photograph, made):
    generator = DetectionArms(frame=128)
    again = {one.variant: one for one in generator.generate(iter([photograph]), ctx)}
    assert all(np.array_equal(again[name].image, one.image) for name, one in made.items())
    assert {name: one.id for name, one in again.items()} == {name: one.id for name, one in made.items()}


def test_a_class_conditional_model_adds_pictures_of_the_class(ctx):
    generator = DetectionArms(
        arms=(), class_conditional="class_conditional", frame=None, jpeg_quality=None, same_tones=True
    )
    label = ctx.models.get("class_conditional").classes[0]
    image = np.zeros((28, 28, 3), np.uint8)
    image[8:20, 8:20] = np.arange(144).reshape(12, 12, 1) + 60
    sample = Sample(source_id("t", "shirt"), image, (label,))
    original, generated = generator.edit(sample, Edit(generator, sample, ctx))
    assert generated.variant == "generated"
    assert np.array_equal(np.sort(generated.image, axis=None), np.sort(original.image, axis=None))
    assert not np.array_equal(generated.image, original.image)
    unknown = Sample(source_id("t", "dog"), image, ("dog",))
    _, failure = generator.edit(unknown, Edit(generator, unknown, ctx))
    assert isinstance(failure, Failure)
    assert failure.reason == "unknown_class"


def test_a_missing_model_is_a_row_with_the_reason(ctx, photograph):
    arm = {"name": "edited", "truth": "generated", "by": {"name": "purification", "denoiser": "denoiser_nowhere"}}
    generator = DetectionArms(arms=(arm,))
    _, failure = generator.edit(photograph, Edit(generator, photograph, ctx))
    assert isinstance(failure, Failure)
    assert failure.reason == "unavailable"
    assert "denoiser_nowhere" in failure.detail
    assert optional_models(generator) == ("denoiser_nowhere",)


class Cropped(Attack):
    """The upper left quarter."""

    family = "distortion"

    def apply(self, images, strength, rngs, target):
        return [image[: len(image) // 2, : image.shape[1] // 2] for image in images]


def test_a_technique_that_changes_the_size_has_no_region(ctx, photograph):
    arm = Arm(name="cut", truth="processed", by=Cropped(), region=True, counter=True)
    generator = DetectionArms(arms=(arm,), frame=None)
    found = list(generator.edit(photograph, Edit(generator, photograph, ctx)))
    assert [one.variant for one in found] == ["original", "cut", "cut_counter"]
    assert [one.reason for one in found[1:]] == ["size_mismatch", "size_mismatch"]


def test_a_small_picture_is_a_row_for_each_arm(ctx):
    generator, sample = DetectionArms(), Sample("0" * 32, np.zeros((8, 8, 3), np.uint8))
    found = list(generator.edit(sample, Edit(generator, sample, ctx)))
    assert {one.reason for one in found} == {"too_small"}
    assert len(found) == len({one.variant for one in found}) == 10


def test_bad_settings(ctx):
    arm = {"name": "original", "truth": "real", "by": {"name": "enhancement"}}
    with pytest.raises(ValidationError, match="two arms are called 'original'"):
        DetectionArms(arms=(arm,))
    by = {"name": "enhancement"}
    with pytest.raises(ValidationError, match="two arms are called 'a_counter'"):
        DetectionArms(
            arms=({"name": "a", "truth": "processed", "by": by, "counter": True}, {**arm, "name": "a_counter"})
        )
    with pytest.raises(ValidationError, match="counter_of names 'b', and there is no such arm"):
        DetectionArms(arms=({**arm, "name": "a", "counter_of": "b"},))
    with pytest.raises(ValidationError, match="a counter-arm must have `truth: real`"):
        DetectionArms(arms=({"name": "a", "truth": "processed", "by": by, "counter_of": "b"},))
    about_a_mark = {"name": "a", "truth": "real", "by": {"name": "overwrite"}}
    with pytest.raises(RecipeError, match="works on watermarks"):
        DetectionArms(arms=(about_a_mark,)).check(ctx)


def test_the_techniques_are_part_of_the_key():
    one, other = (
        DetectionArms(arms=({"name": "a", "truth": "generated", "by": {"name": "purification", "t": t}},))
        for t in (40, 41)
    )
    assert one.fingerprint() != other.fingerprint()
    assert one.identity() != other.identity()
