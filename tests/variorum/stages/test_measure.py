from dataclasses import replace

import pytest

from variorum.curation.ai_image import AiImage
from variorum.curation.bright import Bright
from variorum.curation.class_agreement import ClassAgreement
from variorum.curation.features import Features
from variorum.edition.store import Store
from variorum.schemas.component import CurationStep, component_class, component_names
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import ShardInfo
from variorum.schemas.recipe import Recipe
from variorum.stages.build import build
from variorum.stages.context import open_context
from variorum.stages.curate import curate
from variorum.stages.measure import context_of, measure_key

pytestmark = pytest.mark.usefixtures("own_cache")
SHARD = ShardInfo(sha256="0" * 64, size=1, samples=1)


def recipe(photos, **more) -> Recipe:
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 4,
            "source": {"name": "image_folder", "path": str(photos)},
            **more,
        }
    )


@pytest.fixture
def ctx(photos):
    return open_context(recipe(photos, seed=3), "embedded")


@pytest.fixture
def other_classes(photos, ctx):
    flat = recipe(photos).source.model_copy(update={"labels": "none"})
    return replace(ctx, source=flat)


def test_a_key_covers_the_seed_of_the_steps_that_draw(ctx):
    other = replace(ctx, seed=4)
    assert measure_key(SHARD, AiImage(), ctx) != measure_key(SHARD, AiImage(), other)
    assert measure_key(SHARD, Features(), ctx) == measure_key(SHARD, Features(), other)


def test_a_key_covers_the_classes_of_the_steps_that_ask_for_them(ctx, other_classes):
    assert measure_key(SHARD, ClassAgreement(), ctx) != measure_key(SHARD, ClassAgreement(), other_classes)
    assert measure_key(SHARD, Features(), ctx) == measure_key(SHARD, Features(), other_classes)


def test_a_step_sees_no_more_than_its_key_covers(photos, ctx, monkeypatch, tmp_path):
    seen = []
    kept = Bright.measure
    monkeypatch.setattr(Bright, "measure", lambda self, samples, ctx: seen.append(ctx) or kept(self, samples, ctx))
    what = recipe(photos, seed=3, curate=[{"name": "bright"}])
    store = Store(str(tmp_path / "store"))
    curate(what, build(what, ctx, store, profile="embedded"), ctx, store)
    assert {(one.seed, one.source) for one in seen} == {(0, None)}
    assert context_of(AiImage(), ctx).seed == 3
    assert context_of(ClassAgreement(), ctx).source == ctx.source


@pytest.mark.parametrize("name", component_names(CurationStep))
def test_what_a_step_measures_with_is_there(name):
    assert component_class(CurationStep, name).measured_with <= {"seed", "classes"}


def test_unlabelled_pictures_are_refused_before_any_is_measured(photos, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("PROBE_LOG", str(log))
    monkeypatch.setattr(Bright, "needs_labels", True)
    what = recipe(photos, curate=[{"name": "bright"}])
    flat = what.model_copy(update={"source": what.source.model_copy(update={"labels": "none"})})
    store, ctx = Store(str(tmp_path / "store")), open_context(flat, "embedded")
    manifest = build(flat, ctx, store, profile="embedded")
    with pytest.raises(
        RecipeError, match=r"no picture of d@1\.0\.0 has a label, and bright can't .* --set curate\.bright=null"
    ):
        curate(flat, manifest, ctx, store)
    assert not log.exists()
    monkeypatch.setattr(Bright, "needs_labels", False)
    assert curate(flat, manifest, ctx, store)[0] == 1
