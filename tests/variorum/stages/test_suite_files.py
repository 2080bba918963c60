"""Suites by name and by path, and what is wrong with one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from variorum.schemas.errors import RecipeError
from variorum.stages.recipe_files import load_recipe, shipped_recipes
from variorum.stages.suite_files import check_suite, edition_recipe, generators_of, load_suite, suite_names

SUITE: dict[str, Any] = {
    "suite": "own",
    "version": "1.0.0",
    "editions": {"dark": {"recipe": "low_light", "set": {"generate.low_light.exposures": [1, 4]}}},
    "rows": [{"id": "low_light", "title": "Low light", "edition": "dark", "of": "accuracy_drop.edits"}],
}


@pytest.fixture
def written(tmp_path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump({**SUITE, **changes}))
        return path

    return write


@pytest.mark.parametrize("name", ["quick", "robustness", "clip_robustness"])
def test_nothing_is_wrong_with_a_shipped_suite(name):
    assert name in suite_names()
    suite = load_suite(name)
    assert suite.suite == name
    check_suite(suite, name)
    for edition in suite.editions.values():
        recipe = edition_recipe(edition)
        assert generators_of(edition) == [one.component_name() for one in recipe.generate]
        assert recipe.limit is None
        assert recipe.evaluate == ()
        assert edition.pictures
        assert edition.seconds


def test_a_suite_of_ones_own_names_recipes_beside_it(written, tmp_path, monkeypatch):
    path = written(editions={"dark": {"recipe": "mine.yaml"}})
    shutil.copy(Path(__file__).parents[3] / "recipes" / "low_light.yaml", tmp_path / "mine.yaml")
    monkeypatch.chdir("/")
    suite = load_suite(str(path))
    recipe = edition_recipe(suite.editions["dark"], {"dataset": "other"})
    assert (recipe.dataset, recipe.version) == ("other", "1.0.0")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"most": 0}, "most: input should be greater than or equal to 1 (got 0)"),
        ({"rows": [{**SUITE["rows"][0], "colour": 1}]}, "rows.0.colour: no such field; there are: id, title, "),
        (
            {"editions": {"dark": {"recipe": "low_lihgt"}}},
            "editions.dark: no recipe 'low_lihgt'; did you mean low_light",
        ),
        (
            {"editions": {"dark": {"recipe": "low_light", "set": {"generate.low_light.stops": 1}}}},
            "stops: no such field",
        ),
        ({"editions": {"dark": {"recipe": "low_light", "set": {"source.path": "x"}}}}, "source.path can't be set here"),
        (
            {"editions": {**SUITE["editions"], "other": {"recipe": "translation"}}},
            "editions.other: no row is about it",
        ),
        ({"rows": [{**SUITE["rows"][0], "edition": "light"}]}, "there is no edition 'light'; there are: dark"),
        ({"rows": [{**SUITE["rows"][0], "of": "accuracy_dorp.edits"}]}, "no evaluation named 'accuracy_dorp'"),
        ({"rows": [{**SUITE["rows"][0], "of": "accuracy_drop.edit"}]}, "accuracy_drop offers no 'edit'; it offers: "),
        ({"rows": SUITE["rows"] * 2}, "rows.low_light: there are two rows of this id"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(written, changes, said):
    with pytest.raises(RecipeError) as error:
        load_suite(str(written(**changes)))
    (line,) = str(error.value).splitlines()
    assert line.startswith("suite ")
    assert said in line


def test_an_unknown_suite_lists_those_that_there_are(tmp_path):
    with pytest.raises(
        RecipeError,
        match=r"no suite 'robustnes'; did you mean robustness.*: clip_robustness, defences, quick, robustness; or give",
    ):
        load_suite("robustnes")
    with pytest.raises(
        RecipeError, match="no such file; suites that come with Variorum: clip_robustness, defences, quick, robustness"
    ):
        load_suite(str(tmp_path / "missing.yaml"))


def test_a_suite_is_no_recipe_and_a_recipe_no_suite(written):
    recipes = Path(__file__).parents[3] / "recipes"
    assert not {*suite_names()} & {*shipped_recipes()}
    with pytest.raises(RecipeError, match=r"is a suite; use it with: variorum report --suite .*own.yaml"):
        load_recipe(str(written()))
    with pytest.raises(RecipeError, match=r"is a recipe; run it with: variorum run .*low_light.yaml"):
        load_suite(str(recipes / "low_light.yaml"))
