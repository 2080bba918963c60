"""Arms of a photograph: the same frame and compression, the right truth, models that are missing."""

import numpy as np
import pytest
from pydantic import ValidationError

from variorum.generators.ai_detection.detection_arms import DetectionArms
from variorum.schemas.component import Context
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import CAPTURED, ENHANCED, PARTLY_GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import optional_models
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
    generator = DetectionArms(frame=128)
    return {one.variant: one for one in generator.edit(photograph, Edit(generator, photograph, ctx))}


def test_every_arm_has_the_frame_and_its_truth(made):
    assert list(made) == ["original", "denoised_120", "denoised_40", "enhanced", "restyled", "blurred"]
    assert {one.image.shape for one in made.values()} == {(128, 128, 3)}
    truths = {name: one.ops[-1]["requested"]["truth"] for name, one in made.items()}
    assert truths == {
        "original": "real",
        "denoised_120": "reconstructed",
        "denoised_40": "reconstructed",
        "enhanced": "processed",
        "restyled": "processed",
        "blurred": "real",
    }
    assert made["original"].digital_source_type == CAPTURED
    assert made["blurred"].digital_source_type == CAPTURED
    assert made["denoised_120"].digital_source_type == PARTLY_GENERATED
    assert made["restyled"].digital_source_type == ENHANCED


def test_arms_show_the_photograph_and_differ_from_it(made):
    original = made["original"].image.astype(float)
    for name, one in made.items():
        change = np.abs(one.image - original).mean()
        assert (change == 0) == (name == "original")
        assert np.corrcoef(one.image.ravel(), original.ravel())[0, 1] > 0.85, name
    faint, much = (np.abs(made[name].image - original).mean() for name in ("denoised_40", "denoised_120"))
    assert faint < much


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
    generator = DetectionArms(arms=(), class_conditional="class_conditional", frame=None, jpeg_quality=None, black=3)
    label = ctx.models.get("class_conditional").classes[0]
    image = np.full((28, 28, 3), 2, np.uint8)
    sample = Sample(source_id("t", "shirt"), image, (label,))
    original, generated = generator.edit(sample, Edit(generator, sample, ctx))
    assert generated.variant == "generated"
    assert generated.image.shape == (28, 28, 3)
    assert not original.image.any()  # 2 is black
    assert not ((generated.image > 0) & (generated.image <= 3)).any()
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


def test_a_small_picture_is_a_row_for_each_arm(ctx):
    generator, sample = DetectionArms(), Sample("0" * 32, np.zeros((8, 8, 3), np.uint8))
    found = list(generator.edit(sample, Edit(generator, sample, ctx)))
    assert {one.reason for one in found} == {"too_small"}
    assert len(found) == 6


def test_bad_settings(ctx):
    arm = {"name": "original", "truth": "real", "by": {"name": "enhancement"}}
    with pytest.raises(ValidationError, match="two arms are called 'original'"):
        DetectionArms(arms=(arm,))
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
