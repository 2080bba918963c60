"""`imagenet_g_text` by a distilled flow transformer: refused with its own settings, and whole with those that suit."""

from __future__ import annotations

import pytest

from variorum import pipeline
from variorum.pipeline import Job
from variorum.schemas.errors import RecipeError
from variorum.stages.job import open_context
from variorum.stages.recipe_files import load_recipe

MODEL = "generate.0.model=text_to_image_fast"
SMALL = [
    "version=1.1.0-dev",
    "source.per_class=2",
    "source.only=[n01440764, n02119789, n03445777, n04540053]",
    "generate.0.size=64",
    "generate.0.steps=2",
]
HUB = ("text_to_image_fast", "safety_checker", "zero_shot", "encoder", "classifier")


SAID = (
    "text_to_image: the model 'text_to_image_fast' (flux.1-schnell) takes a guidance of 1, not 7.5, and at most "
    "4 steps, not 50"
)


def test_settings_that_spoil_a_distilled_model_are_refused_without_its_weights():
    recipe = load_recipe("imagenet_g_text", [MODEL])
    with pytest.raises(RecipeError) as caught:
        recipe.generate[0].check(open_context(recipe, "hub"))
    assert str(caught.value) == SAID


@pytest.mark.slow
def test_the_recipe_runs_whole(tmp_path, hub_models):
    hub_models(*HUB)
    with pytest.raises(RecipeError, match="takes a guidance of 1"):
        pipeline.run(Job(load_recipe("imagenet_g_text", [MODEL, *SMALL]), str(tmp_path / "store"), "hub"))
    recipe = load_recipe("imagenet_g_text", [MODEL, "generate.0.guidance=[1]", *SMALL])
    job = Job(recipe, str(tmp_path / "store"), "hub")
    manifest = pipeline.run(job)
    assert manifest.version == "1.1.0-dev-r1"
    assert sum(manifest.counts["guidance_1"].values()) == 8
    assert "flux.1-schnell" in manifest.models["text_to_image_fast"]
    assert list((tmp_path / "store").rglob("README.md"))


@pytest.mark.slow
def test_a_size_that_a_transformers_patches_do_not_fill_is_refused(tmp_path, hub_models):
    hub_models("text_to_image_fast")
    odd = [MODEL, "generate.0.guidance=[1]", *SMALL, "generate.0.size=72", "generate.0.safety={checker: null}"]
    with pytest.raises(RecipeError, match="size 72 is no multiple of 16"):
        pipeline.build(Job(load_recipe("imagenet_g_text", odd), str(tmp_path / "store"), "hub"))
