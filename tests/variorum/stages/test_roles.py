"""A model of another role than a component's field needs is refused in one line, before any work."""

import pytest

from variorum.models import ModelTable
from variorum.pipeline import Job, build
from variorum.schemas.component import Component
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import component_class, component_names, kinds
from variorum.schemas.recipe import Recipe
from variorum.stages.job import check_roles

COMPONENTS = [component_class(part, name) for part in kinds() for name in component_names(part)]
ASKING = [cls for cls in COMPONENTS if issubclass(cls, Component) and cls.roles]


def defaults(cls):
    """The aliases that a component's fields with a role have by default, with the role."""
    for name, role in cls.roles.items():
        value = cls.model_fields[name].default
        yield from ((alias, role) for alias in ((value,) if isinstance(value, str) else value or ()))


def test_components_that_ask_for_classifiers_and_encoders_say_so():
    assert {"accuracy_drop", "features", "few_shot_accuracy"} <= {cls.component_name() for cls in ASKING}
    assert all(set(cls.roles) <= set(cls.model_fields) for cls in ASKING)


@pytest.mark.parametrize("profile", ["embedded", "hub"])
def test_the_defaults_play_their_roles(profile):
    table = ModelTable(profile)
    for cls in ASKING:
        for alias, role in defaults(cls):
            if alias in table.aliases():
                assert table.role(alias) == role, (cls.component_name(), alias)


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
