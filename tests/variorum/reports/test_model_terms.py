"""Which models a recipe needs in profile hub, and what their licences ask, before a model is fetched or loaded."""

from __future__ import annotations

import pytest

from variorum.models import ModelTable
from variorum.reports.model_terms import model_terms, terms_of_job, warnings_of_job
from variorum.schemas.recipe import Recipe
from variorum.stages.job import Job
from variorum.stages.needs import needs_of
from variorum.stages.recipe_files import load_recipe

DIT = {
    "dataset": "d",
    "version": "1.0.0",
    "source": {"name": "class_names", "per_class": 1},
    "generate": [{"name": "class_conditional", "model": "class_conditional_imagenet"}],
    "evaluate": [{"name": "accuracy_drop"}],
}


@pytest.fixture(scope="module")
def hub():
    return ModelTable("hub")


def test_what_a_recipe_needs_is_told_from_what_it_can_do_without(hub):
    needs = needs_of(load_recipe("imagenet_e_guided"), hub)
    assert {"segmenter", "salience", "denoiser", "latent_preview", "classifier"} <= {*needs.required}  # uses included
    assert needs.optional == ("encoder",)
    assert "denoiser" in needs.makers
    assert "classifier" not in needs.makers
    assert needs_of(load_recipe("watermark"), ModelTable("embedded")).required == ()  # image_to_image isn't there


def test_non_commercial_weights_are_said_before_work(tmp_path):
    job = Job(Recipe.parse(DIT), str(tmp_path), "hub")
    (line,) = warnings_of_job(job)
    assert line.startswith("non-commercial: class_conditional_imagenet (CC-BY-NC-4.0): its weights allow no commercial")
    assert "`source.licence`" in line
    said = terms_of_job(job)
    assert ("licence", "CC-BY-NC-4.0: class_conditional_imagenet") in said
    assert ("licence", "Apache-2.0: classifier_small, classifier") in said
    assert warnings_of_job(Job(load_recipe("imagenet_e"), str(tmp_path), "hub")) == []


@pytest.mark.parametrize(
    ("licence", "what"),
    [
        ("Apache-2.0", None),
        ("CreativeML OpenRAIL-M", None),
        ("Stability AI Non-Commercial Research Community License", "non-commercial"),
        ("CC-BY-NC-SA-4.0", "non-commercial"),
        ("unknown", "licence unclear"),
        ("", "licence unclear"),
    ],
)
def test_a_licence_that_isnt_for_every_use_is_named(tmp_path, monkeypatch, licence, what):
    fields = f'name = "m"\nloader = "u2net"\nlicence = "{licence}"\nsource = "me"\nlocal = {{ path = "w" }}'
    (tmp_path / "mine.toml").write_text(f"[mine]\n{fields}")
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "mine.toml"))
    lines = model_terms(ModelTable("embedded"), ["mine"])
    assert [kind for kind, _ in lines if kind != "licence"] == ([what] if what else [])
