"""What holds for every component that is installed, plugins included, and for every recipe that is shipped."""

import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from variorum.pipeline import Job
from variorum.schemas.component import Component, Context, Decider, Detector, Source
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import build_component, component_class, component_names, kinds
from variorum.schemas.recipe import Recipe
from variorum.schemas.safety import Labeler
from variorum.schemas.sample import Sample
from variorum.schemas.uses import required_models, uses_of
from variorum.schemas.watermark import Attack, Mark
from variorum.stages.measure import measures
from variorum.stages.pieces import table_keys
from variorum.stages.recipe_files import load_recipe, shipped_recipes

COMPONENTS = [(part, name) for part in kinds() for name in component_names(part)]
IDS = [f"{part}.{name}" for part, name in COMPONENTS]
every = pytest.mark.parametrize(("part", "name"), COMPONENTS, ids=IDS)

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "image_folder": {"path": "photos"},
    "imagenet": {"path": "photos"},
    "huggingface": {"dataset": "org/name"},
    "webdataset": {"shards": "shards/*.tar"},
    "coco": {"annotations": "instances_val2017.json", "pictures": "val2017"},
    "parquet": {"files": "data/*.parquet"},
    "unsafebench": {"path": "UnsafeBench"},
    "fiftyone": {"path": "export"},
    "label_studio": {"path": "project"},
    "cvat": {"path": "task"},
    "cleanlab": {"path": "audited"},
    "imagenet_e": {"path": "ImageNet-E"},
    "waves": {"path": "WAVES"},
    "head": {"model": "my_probe", "categories": ["hate"]},
    "edition": {"edition": "name@1.0.0", "store": "store"},
    "opt_out": {"list": "opt_out.txt"},
    "remote": {"url": "https://api.example.org/v1/chat/completions", "model": "eyes"},
    "corrupted": {"of": {"name": "image_folder", "path": "photos"}},
    "balanced": {"of": {"name": "image_folder", "path": "photos"}},
    "label_overlap": {"of": {"name": "image_folder", "path": "photos"}},
    "imbalanced": {"of": {"name": "image_folder", "path": "photos"}, "rare": ["cat"]},
    "concatenated": {"of": [{"name": "image_folder", "path": "photos"}, {"name": "image_folder", "path": "more"}]},
    "group_disparity": {"groups": ["region"]},
    "fooling_claims": {
        "train": {"name": "fashion_mnist"},
        "test": {"name": "fashion_mnist", "part": "test"},
    },
    "generated_set": {
        "train": {"name": "image_folder", "path": "photos"},
        "test": {"name": "fashion_mnist", "part": "test", "path": "elsewhere"},
    },
    "adversarial_detection": {"reference": {"name": "fashion_mnist"}},
    "policy": {
        "rules": [{"when": [{"column": "quality.flag", "equals": True}], "action": "review", "reason": "poor"}],
    },
    "sql": {"query": "SELECT id, 'review' AS action, 'poor' AS reason FROM pictures WHERE quality.flag"},
}
"""Values for fields that a user must give; a component that isn't listed works without any."""
HUB = {"imagenet_g_text", "coco_o_diffusion"}
"""Recipes whose models only the profile `hub` has."""
OF_A_RELEASE = {"major_errors"}
"""Recipes whose source is a release that people have reviewed; test_major_errors makes one and runs them."""


@cache
def example(part, name) -> Component:
    return build_component(part, {"name": name, **EXAMPLES.get(name, {})}, "here")


def test_there_are_components():
    assert {"probe", "dark", "brightness", "image_folder"} <= {name for _, name in COMPONENTS}


@every
def test_one_component_a_module_with_a_docstring(part, name):
    cls = component_class(part, name)
    module = sys.modules[cls.__module__]
    assert module.__doc__
    assert cls.__doc__
    assert not inspect.isabstract(cls)
    assert cls.component_name() == name
    known = [item for item in vars(kinds()[part].classes[0]) if not item.startswith(("_", "model_"))]
    own = [getattr(cls, item) for item in known if item in vars(cls)]
    assert all(inspect.getdoc(item) for item in own if inspect.isfunction(item))
    assert isinstance(cls.revision, int)
    assert cls.revision >= 1


@every
def test_its_fields_are_its_configuration(part, name):
    cls = component_class(part, name)
    assert cls.model_config["extra"] == "forbid"
    assert cls.model_config["frozen"]
    required = {field for field, info in cls.model_fields.items() if info.default is PydanticUndefined}
    required = {field for field in required if cls.model_fields[field].default_factory is None}
    assert required <= set(EXAMPLES.get(name, {}))
    assert "name" not in cls.model_fields  # `name` says which component it is
    assert cls.location <= set(cls.model_fields)
    assert getattr(cls, "late", set()) <= set(cls.model_fields)


@every
def test_its_configuration_reads_back(part, name):
    component = example(part, name)
    again = build_component(part, component.config(), "here")
    assert again == component
    assert repr(again) == repr(component)  # 50 and 50.0 are equal, and give pictures of other ids in another process
    assert again.fingerprint() == component.fingerprint()
    assert component.identity()["name"] == name
    assert all(isinstance(one.alias, str) for one in uses_of(component))
    if isinstance(component, Source):
        assert component.place().split()[0] == name


def test_fingerprints_are_the_same_in_another_process():
    code = (
        f"import sys; sys.path += {[str(Path(__file__).parent), str(Path(__file__).parents[1] / 'plugins')]!r}\n"
        "from test_contract import *\nfor part, name in COMPONENTS: print(example(part, name).fingerprint())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [example(part, name).fingerprint() for part, name in COMPONENTS]


# ── another field, another key ───────────────────────────────────────────────────────────────────────────────────────


def others(annotation: object, value: object) -> list[object]:
    """Other values that a field of this type might take; some may be invalid."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return others(arguments[0], value)
    if origin in (Union, UnionType):
        found = [other for argument in arguments for other in others(argument, value)]
        return found + ([None] if value is not None and type(None) in arguments else [])
    if origin is Literal:
        return [choice for choice in arguments if choice != value]
    if origin is tuple or origin is list:
        held = list(value) if isinstance(value, tuple | list) else []
        longer = [[*held, other] for other in others(arguments[0], held[-1] if held else None)]
        whole = [] if origin is list or Ellipsis in arguments else [[others(one, None)[0] for one in arguments]]
        return [held[:-1], *longer, list(reversed(held)), *whole]
    if origin is dict:
        return [{"unflagged/tail/kept": 0.3}, {"train": "a/*", "test": "b/*"}, {"sizes": ["size_*"]}]
    if annotation is bool:
        return [not value]
    if annotation in (int, float):
        number = value if isinstance(value, int | float) else 1
        return [number + 1, number - 1, number * 0.5, number * 2, number + 8, 0.5, 0.25, 0.75, 45, 90, 512]
    if annotation in (str, Path):
        return [f"{value or 'x'}2", "another", "label", "neighbours.proposed", "contrast"]
    if isinstance(annotation, type) and issubclass(annotation, Source):
        return [{"name": "samples"}, {"name": "samples", "masks": False}]
    if isinstance(annotation, type) and issubclass(annotation, Mark | Attack):
        part = "marks" if issubclass(annotation, Mark) else "attacks"
        return [{"name": name, "label": "another"} for name in component_names(part)]
    if isinstance(annotation, type) and issubclass(annotation, Labeler):
        return [{"name": "open_nsfw", "label": "another"}]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        held = value or annotation()
        return [
            {**held.model_dump(mode="json"), field: other}
            for field, info in annotation.model_fields.items()
            for other in others(info.annotation, getattr(held, field))
        ]
    return []


def changed(part: str, component: Component, field: str) -> Component | None:
    """The component with another valid value in a field, or None where none of those tried is valid."""
    info = type(component).model_fields[field]
    for value in others(info.annotation, getattr(component, field)):
        try:
            other = type(component).model_validate({**component.model_dump(mode="json"), field: value})
        except (ValidationError, ValueError):
            continue
        if getattr(other, field) != getattr(component, field):
            return other
    return None


UNCHANGED = {
    ("generate.attribute_edit", "guidance"),  # decides nothing unless a background is guided; test_guided_backgrounds
    ("generate.domain_diffusion", "scale"),  # of another route than the default; test_domain_diffusion
    ("generate.domain_diffusion", "grounded"),  # likewise
    ("generate.domain_stylization", "styles"),  # names of styles by domain; test_domain_stylization
    ("generate.feature_distillation", "attacks"),  # each needs a kind; test_feature_distillation
    ("generate.feature_distillation", "target"),  # needs attacks; test_feature_distillation
    ("generate.feature_distillation", "control"),  # likewise
    ("curate.leakage", "against"),  # content of files stands for their paths; test_leakage
    ("curate.leakage", "splits"),  # needs two at a time with `train` among them; test_leakage
    ("curate.audit", "answers"),  # content of a file; test_audit
    ("generate.watermark", "keys"),  # content of a file stands for its path; test_watermark
    ("generate.watermarked_generation", "keys"),  # likewise; test_watermarked_generation
    ("generate.watermarked_generation", "model"),  # its marks have the same; test_watermarked_generation
    ("generate.watermarked_generation", "names"),  # needs templates; test_watermarked_generation
    ("evaluate.watermark_detection", "keys"),  # likewise; test_watermark_detection
    ("labelers.words", "words"),  # content of a file stands for its path; test_words_labeler
    ("curate.policy", "rules"),  # changed below
    ("attacks.distortion", "kind"),  # one of a table; test_distortion
    ("attacks.codec", "kind"),  # likewise; test_distortion
    ("attacks.denoising", "kind"),  # likewise; test_distortion
    ("source.imagenet", "dataset"),  # goes instead of `path`; test_imagenet
    ("source.coco", "dataset"),  # goes instead of `annotations`; test_coco
    ("source.unsafebench", "dataset"),  # goes instead of `path`; test_unsafebench_source
    ("source.unsafebench", "commit"),  # likewise
}
"""Fields that can't be changed here without more; each has a test of its own."""


class OneModel:
    """Pins by alias alone: the keys need no weights."""

    def pin(self, alias: str) -> str:
        return f"{alias}@pin"

    def why_unavailable(self, alias: str) -> str:
        return ""


CTX = Context(seed=0, models=OneModel(), memo=None)
FIELDS = [
    pytest.param(part, name, field, id=f"{part}.{name}.{field}")
    for part, name in COMPONENTS
    for field in component_class(part, name).model_fields
    if (f"{part}.{name}", field) not in UNCHANGED
]


@pytest.mark.parametrize(("part", "name", "field"), FIELDS)
def test_another_field_is_another_key(part, name, field):
    """A field enters the fingerprint, unless it only says where data lies, and `measure`'s key, unless it is late."""
    component = example(part, name)
    other = changed(part, component, field)
    assert other is not None, f"no valid other value of {field} was found; add one to `others`"
    if field in component.location:
        assert other.fingerprint() == component.fingerprint()
        return
    assert other.fingerprint() != component.fingerprint()
    if measures(component):
        keys = [table_keys(["picture"], [one], CTX)[0][name] for one in (component, other)]
        assert (keys[0] == keys[1]) == (field in component.late)


def test_another_rule_is_another_policy():
    rule = {"when": [{"column": "quality.flag", "equals": False}], "action": "review", "reason": "poor"}
    other = build_component("curate", {"name": "policy", "rules": [rule]}, "here")
    assert other.fingerprint() != example("curate", "policy").fingerprint()


def measuring_without_weights():
    """Detectors and evaluations with late fields that measure without a model: their rows can be compared here."""
    for part, name in COMPONENTS:
        component = example(part, name)
        if measures(component) and not uses_of(component):
            yield from (pytest.param(part, name, field, id=f"{name}.{field}") for field in sorted(component.late))


@pytest.fixture(scope="module")
def pictures():
    """Two real pictures with masks."""
    import skimage.data

    mask = np.zeros((96, 96), np.uint8)
    mask[20:60, 30:70] = 255
    crops = [skimage.data.chelsea()[100:196, 100:196], skimage.data.coffee()[200:296, 200:296]]
    return [Sample(f"{n:032x}", crop, extras={"mask.png": mask}) for n, crop in enumerate(crops)]


@pytest.mark.parametrize(("part", "name", "field"), list(measuring_without_weights()))
def test_a_late_field_measures_the_same(part, name, field, pictures):
    component = example(part, name)
    other = changed(part, component, field)
    rows = [[dict(row) for row in one.measure(pictures, CTX)] for one in (component, other)]
    assert [list(row) for row in rows[0]] == [list(row) for row in rows[1]]
    for before, after in zip(*rows, strict=True):
        for column in before:
            np.testing.assert_array_equal(before[column], after[column], err_msg=column)


# ── recipes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_parses_and_its_models_are_known(name):
    from variorum.stages.job import models

    recipe = load_recipe(name)
    assert Recipe.parse(recipe.dump()) == recipe
    assert recipe.dataset == name
    assert not recipe.version.endswith("-dev")
    assert "intrinsic_properties" in [evaluation.component_name() for evaluation in recipe.evaluate]
    for component in recipe.components():
        for alias in required_models(component):
            assert models("hub" if name in HUB else "embedded").pin(alias)


@pytest.mark.parametrize("name", sorted({*shipped_recipes()} - OF_A_RELEASE))
def test_a_shipped_recipe_plans(name, tmp_path):
    from variorum.stages.plan import plan

    job = Job(load_recipe(name), str(tmp_path), "hub" if name in HUB else "embedded")
    assert isinstance(job.ctx, Context)
    try:
        assert job.plan.units
    except SourceError as error:
        if "install Debian's package" not in str(error):
            raise
        pytest.skip(str(error))
    assert plan(job.recipe, job.ctx) == job.plan


@pytest.mark.parametrize("name", component_names("curate"))
def test_every_detector_and_decider_is_documented(name):
    cls = component_class("curate", name)
    assert issubclass(cls, Detector) != issubclass(cls, Decider)
    if Path(str(sys.modules[cls.__module__].__file__)).resolve().is_relative_to(ROOT / "curation"):
        pages = [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "reference"]
        assert any(re.search(rf"`{name}`|^#+ {name}\b", page.read_text("utf-8"), re.MULTILINE) for page in pages)
