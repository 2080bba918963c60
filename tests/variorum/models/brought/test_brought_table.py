"""Brought models in a model table and in recipes."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from random_onnx import export

from variorum.models import ModelTable, refuse_filters
from variorum.models.brought import find, from_function
from variorum.pipeline import Job, run
from variorum.schemas.errors import ModelFailed, ModelUnavailable, RecipeError
from variorum.schemas.recipe import Recipe
from variorum.stages.evaluate import read_figures


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tim:resnet50",
            r"unknown prefix 'tim'; there are: timm:, torchvision:, hf:, onnx:, module:; did you "
            r"mean timm:, as in timm:resnet50\.a1_in1k\?",
        ),
        ("resnet50", "'resnet50' has no prefix; there are: timm:"),
        ("https://example.org/a.onnx", "unknown prefix 'https'"),
        ("timm:", r"something is missing after timm:, as in timm:resnet50\.a1_in1k"),
        ("timm:a\nb", r"no model can be named 'timm:a\\nb'"),
        ("onnx:~nobody-here/a.onnx", "model 'onnx:~nobody-here/a.onnx': "),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(name, message):
    with pytest.raises((RecipeError, ModelUnavailable), match=message):
        find(name)


def test_a_table_takes_a_brought_name_wherever_it_takes_an_alias(tmp_path, pictures):
    export(tmp_path / "a.onnx")
    name, table = f"onnx:{tmp_path / 'a.onnx'}", ModelTable("embedded")
    table.check([name, "inpainter"])
    assert table.pin(name).startswith("onnx:a.onnx@sha256:")
    assert table.get(name) is ModelTable("hub").get(name)
    assert table.get(name)(pictures).shape == (7, 5)
    status = table.status(name)
    assert (status.alias, status.state, status.way_out) == (name, "ready", "")
    assert table.fetch(name) == tmp_path / "a.onnx"
    assert table.lock([name]) == {}
    missing = f"onnx:{tmp_path / 'b.onnx'}"
    assert table.status(missing).state == "unavailable"
    with pytest.raises(ModelUnavailable, match="doesn't exist") as raised:
        table.check([missing, name, f"onnx:{tmp_path / 'c.onnx'}"])
    assert len(str(raised.value).splitlines()) == 2
    with pytest.raises(RecipeError, match="unknown prefix 'onx'"):
        table.check(["onx:a"])


def test_a_model_that_changed_since_its_pin_is_refused(tmp_path):
    export(tmp_path / "a.onnx")
    name, table = f"onnx:{tmp_path / 'a.onnx'}", ModelTable("embedded")
    pin = table.pin(name)
    export(tmp_path / "a.onnx", side=48)
    with pytest.raises(
        ModelUnavailable, match=r"a\.onnx has changed since this run took its pin; put it back, or start"
    ):
        table.get(name)
    assert table.pin(name) == pin
    assert ModelTable("embedded").pin(name) != pin


def test_a_repository_that_is_not_here_is_missing_until_it_is_asked_for(hub):
    table = ModelTable("embedded")
    status = table.status("hf:owner/tiny")
    assert (status.state, status.way_out) == (
        "missing",
        "owner/tiny isn't in the Hub's cache; it is downloaded when it is first used",
    )
    with pytest.raises(ModelUnavailable, match="can't be downloaded"):
        table.pin("hf:owner/tiny")


def constant(images):
    return np.full((len(images), 1000), 0.001)


def test_a_table_brings_functions_without_touching_another_one(pictures):
    table = ModelTable("embedded")
    model = from_function(constant, name="mine", revision="1")
    more = table.with_models({"mine": model}).with_models({"other": from_function(constant)})
    assert more.get("mine") is model
    assert more.get("mine")(pictures).shape == (7, 1000)
    assert more.pin("mine").startswith("function:mine@1+brought.")
    assert more.status("other").state == "ready"
    more.check(["mine", "other", "inpainter"])
    with pytest.raises(RecipeError, match="no model alias 'mine'"):
        table.get("mine")
    with pytest.raises(RecipeError, match="'classifier' is an alias of profile embedded; give your model another name"):
        table.with_models({"classifier": model})
    with pytest.raises(RecipeError, match="must be a line of text"):
        table.with_models({" ": model})


def test_a_function_without_a_revision_never_has_the_pin_of_another():
    models = [from_function(constant) for _ in range(3)]
    pins = [ModelTable("embedded").with_models({"mine": model}).pin("mine") for model in [*models, models[0]]]
    assert len(set(pins)) == 3
    assert pins[3] == pins[0]


def test_weights_that_filtered_may_not_judge_under_another_name(tmp_path):
    export(tmp_path / "a.onnx")
    table = ModelTable("embedded")
    name = f"onnx:{tmp_path / 'a.onnx'}"
    content = table.pin(name).partition("@")[2].partition("+")[0]
    with pytest.raises(RecipeError, match="can't judge the result"):
        refuse_filters({name: table.pin(name)}, [f"gate@{content}+image_classification.1"])
    refuse_filters({name: table.pin(name)}, [table.pin("classifier_gate")])
    gate = from_function(constant, name="gate", revision=f"sha256:{table.entry('classifier_gate').wheel.sha256}")
    with pytest.raises(RecipeError, match="'gate' is efficientnet-lite0@sha256"):
        refuse_filters({"gate": table.with_models({"gate": gate}).pin("gate")}, [table.pin("classifier_gate")])


def test_a_judge_of_this_project_says_the_same_of_itself(pictures):
    judge = ModelTable("embedded").get("judge")
    assert len(judge.classes) == judge(pictures[:1]).shape[1] == 10
    assert judge.preprocessing == "Grey, stretched to 28 × 28 px (area), values x / 127.5 - 1."


MODULE = """
    import numpy as np

    classes = ["astronaut", "chelsea", "coffee"]

    def classify(images):
        with open({log!r}, "a") as file:
            file.write("." * len(images))
        return [np.eye(3)[int(image.sum()) % 3] for image in images]

    classify.classes = classes
    classify.preprocessing = "None."
"""


@pytest.fixture
def asked(photos, tmp_path, own_cache):
    import textwrap

    file, seen = tmp_path / "sums.py", tmp_path / "seen"
    file.write_text(textwrap.dedent(MODULE).replace("{log!r}", repr(str(seen))))
    seen.write_text("")
    recipe = {
        "dataset": "d",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": "negative"}],
        "evaluate": [{"name": "accuracy_drop", "bootstrap": 100, "classifiers": [f"module:{file}:classify"]}],
    }
    return recipe, file, seen


def test_a_recipe_names_a_model_and_its_run_resumes_by_pin(asked, tmp_path):
    recipe, file, seen = asked

    def figures():
        ran = run(job := Job(Recipe.parse(recipe), str(tmp_path / "store")))
        manifest = getattr(ran, "manifest", ran)
        return read_figures("accuracy_drop", manifest, job.store)

    kept = figures()
    name = recipe["evaluate"][0]["classifiers"][0]
    assert kept["models"][name].startswith("module:sums.py:classify@sha256:")
    judged = kept["figures"]["classifiers"][name]
    assert (judged["n"], judged["outputs"], judged["preprocessing"]) == (12, 3, "None.")
    measured = len(seen.read_text())
    assert measured == 24  # twelve photographs and their negatives
    figures()
    assert len(seen.read_text()) == measured  # by the pin, nothing is measured again
    file.write_text(file.read_text().replace("% 3", "// 2 % 3"))
    from variorum.stages import job as jobs

    jobs._models.cache_clear()  # as in a new process
    assert figures()["models"][name] != kept["models"][name]
    assert len(seen.read_text()) == 2 * measured


def test_a_recipe_with_a_model_that_cannot_be_had_stops_before_work(asked, tmp_path):
    recipe, *_ = asked
    recipe["evaluate"][0]["classifiers"] = [f"onnx:{tmp_path / 'none.onnx'}"]
    with pytest.raises(ModelUnavailable, match=r"none\.onnx doesn't exist"):
        run(Job(Recipe.parse(recipe), str(tmp_path / "store")))
    assert not list((tmp_path / "store").rglob("*.tar"))


def test_a_model_that_fails_in_a_run_is_named(asked, tmp_path, caplog):
    recipe, file, _ = asked
    file.write_text(file.read_text().replace("for image in images]", "for image in images[1:]]"))
    with pytest.raises(
        ModelFailed, match=r"classify' gave a list of 23 of rows of 3 for 24 pictures; it must give scores \[24, 3\]"
    ):
        run(Job(Recipe.parse(recipe), str(tmp_path / "store")))


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.ERROR, "variorum")
