"""A model of another role than a component's field needs is refused in one line, before any work."""

import pytest

from variorum.models import ModelTable
from variorum.pipeline import Job, build
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.uses import uses_of
from variorum.stages.job import check_roles
from variorum.stages.recipe_files import load_recipe, shipped_recipes

HUB = {"imagenet_g_text", "coco_o_diffusion"}
"""Recipes with models of the profile `hub`."""


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_models_of_shipped_recipes_play_their_roles(name):
    recipe = load_recipe(name)
    table = ModelTable("hub" if name in HUB else "embedded")
    asked = [one for one in uses_of(*recipe.components()) if one.role]
    assert asked  # `intrinsic_properties`, if nothing else
    embeds = {"encoder", "classifier"}  # a classifier's last features are an embedding too
    wanted = {one: embeds if one.role == "embedding" else {one.role} for one in asked}
    every = ModelTable("hub")  # has the models that evaluations do without elsewhere
    there = {one: table if one.alias in table.aliases() else every for one in asked}
    assert [one for one in asked if there[one].role(one.alias) not in wanted[one]] == []


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        (
            "curate",
            {"name": "features", "encoder": "detector"},
            "features.encoder: the model 'detector' isn't an encoder",
        ),
        (
            "evaluate",
            {"name": "accuracy_drop", "classifiers": ["classifier", "encoder"]},
            "accuracy_drop.classifiers: the model 'encoder' isn't a classifier; name one, such as classifier_small",
        ),
        (
            "evaluate",
            {"name": "few_shot_accuracy", "encoder": "segmenter"},
            "few_shot_accuracy.encoder: the model 'segmenter' isn't an encoder",
        ),
        (
            "generate",
            {"name": "natural_transformation", "classifier": "adversary"},
            "natural_transformation.classifier: the model 'adversary' isn't a classifier",
        ),
    ],
)
def test_another_model_is_refused_before_any_work(photos, tmp_path, part, entry, message):
    source = {"name": "image_folder", "path": str(photos)}
    job = Job(Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source, part: [entry]}), str(tmp_path / "s"))
    with pytest.raises(RecipeError) as error:
        build(job, then=(*job.recipe.curate, *job.recipe.evaluate))
    assert str(error.value).startswith(message)
    assert not list((tmp_path / "s").glob("objects/*"))


def test_a_brought_model_and_none_are_not_judged_by_their_names():
    table = ModelTable("embedded")
    assert table.role("timm:resnet50.a1_in1k") is None
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "samples"},
            "evaluate": [{"name": "translation_consistency", "classifiers": ["timm:resnet50.a1_in1k"]}],
        }
    )
    check_roles(recipe.evaluate[0], Job(recipe, "memory://roles").ctx)
