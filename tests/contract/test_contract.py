"""What holds for every component that is installed and for every recipe that is shipped."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from variorum.schemas.component import (
    PACKAGES,
    Context,
    CurationStep,
    build_component,
    component_class,
    component_names,
)
from variorum.schemas.recipe import Recipe
from variorum.stages.recipe_files import load_recipe, shipped_recipes

COMPONENTS = [(kind, name) for kind in PACKAGES for name in component_names(kind)]
IDS = [f"{PACKAGES[kind][0]}.{name}" for kind, name in COMPONENTS]
every = pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=IDS)

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "image_folder": {"path": "photos"},
    "imagenet": {"path": "photos"},
    "huggingface": {"dataset": "org/name"},
    "edition": {"edition": "name@1.0.0", "store": "store"},
    "corrupted": {"of": {"name": "image_folder", "path": "photos"}},
    "generated_set": {
        "train": {"name": "image_folder", "path": "photos"},
        "test": {"name": "fashion_mnist", "part": "test", "path": "elsewhere"},
    },
    "policy": {
        "rules": [{"when": [{"column": "quality.flag", "equals": True}], "action": "review", "reason": "poor"}],
    },
}
"""Values for fields that a user must give; a component that isn't listed works without any."""
HUB = {"imagenet_g_text"}
"""Recipes whose models only the profile `hub` has."""


def example(kind, name):
    return build_component(kind, {"name": name, **EXAMPLES.get(name, {})}, "here")


def test_there_are_components():
    assert {"probe", "dark", "brightness", "image_folder"} <= {name for _, name in COMPONENTS}


@every
def test_one_component_a_module_with_a_docstring(kind, name):
    cls = component_class(kind, name)
    module = sys.modules[cls.__module__]
    assert module.__doc__
    assert cls.__doc__
    assert not inspect.isabstract(cls)
    assert cls.component_name() == name
    abstract = {attribute for base in cls.__mro__ for attribute in getattr(base, "__abstractmethods__", ())}
    assert all(inspect.getdoc(getattr(cls, attribute)) for attribute in abstract)
    assert isinstance(cls.revision, int)
    assert cls.revision >= 1


@every
def test_its_fields_are_its_configuration(kind, name):
    cls = component_class(kind, name)
    assert cls.model_config["extra"] == "forbid"
    assert cls.model_config["frozen"]
    required = {field for field, info in cls.model_fields.items() if info.default is PydanticUndefined}
    required = {field for field in required if cls.model_fields[field].default_factory is None}
    assert required <= set(EXAMPLES.get(name, {}))
    assert "name" not in cls.model_fields  # `name` says which component it is
    assert cls.whereabouts <= set(cls.model_fields)


@every
def test_its_configuration_reads_back(kind, name):
    component = example(kind, name)
    again = build_component(kind, component.config(), "here")
    assert again == component
    assert again.fingerprint() == component.fingerprint()
    assert component.identity()["name"] == name
    assert all(isinstance(alias, str) for alias in component.aliases())
    if hasattr(component, "filters"):
        assert set(component.filters()) <= set(component.aliases())


def test_fingerprints_are_the_same_in_another_process():
    code = (
        f"import sys; sys.path += {[str(Path(__file__).parent), str(Path(__file__).parents[1] / 'plugins')]!r}\n"
        "from test_contract import *\nfor kind, name in COMPONENTS: print(example(kind, name).fingerprint())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [example(kind, name).fingerprint() for kind, name in COMPONENTS]


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_parses_and_its_models_are_known(name):
    from variorum.stages.context import models

    recipe = load_recipe(name)
    assert Recipe.parse(recipe.dump()) == recipe
    assert recipe.dataset == name
    assert not recipe.version.endswith("-dev")
    for component in recipe.components():
        for alias in component.aliases():
            assert models("hub" if name in HUB else "embedded").pin(alias)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_plans(name):
    from variorum.stages.build import plan
    from variorum.stages.context import open_context

    recipe = load_recipe(name)
    ctx = open_context(recipe, "hub" if name in HUB else "embedded")
    assert isinstance(ctx, Context)
    planned = plan(recipe, ctx)
    assert planned.units
    assert plan(recipe, ctx) == planned


@pytest.mark.parametrize("name", component_names(CurationStep))
def test_every_curation_step_does_something_and_is_documented(name):
    cls = component_class(CurationStep, name)
    own = [hook for hook in ("measure", "score", "decide") if getattr(cls, hook) is not getattr(CurationStep, hook)]
    assert own
    assert cls.measured_by | cls.scored_by <= set(cls.model_fields)
    if Path(str(sys.modules[cls.__module__].__file__)).is_relative_to(ROOT / "curation"):
        assert (ROOT / "docs" / "curation" / f"{name}.md").is_file()
