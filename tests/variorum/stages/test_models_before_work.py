"""Models are looked for once and before any work, whoever asks for them: a run, a curation, an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from variorum.edition.store import Store
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.recipe import Recipe
from variorum.stages.build import build, plan, run_unit
from variorum.stages.context import open_context
from variorum.stages.curate import curate
from variorum.stages.evaluate import check_ready

PROBE = [{"name": "probe"}]
MISSING = r"model 'encoder' .* is missing: fetch it with `variorum doctor encoder --fetch`"


@pytest.fixture(autouse=True)
def _no_weights(own_cache):
    """Nothing is fetched into a cache of the test's own."""
    from variorum.stages.context import models

    models.cache_clear()
    yield
    models.cache_clear()


def recipe(photos: Path, **fields) -> Recipe:
    source = {"name": "image_folder", "path": str(photos)}
    defaults = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 4, "source": source, "generate": PROBE}
    return Recipe.parse({**defaults, **fields})


def made(what: Recipe, store: Store, **options):
    return build(what, open_context(what, "embedded"), store, profile="embedded", **options)


def pictures(store: Store) -> list[Path]:
    return [*Path(store.url).glob("objects/*.tar"), *Path(store.url).glob("units/*")]


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def test_a_generators_models_are_missing_before_a_picture_is_made(photos, store):
    what = recipe(photos, generate=[*PROBE, {"name": "attribute_edit"}])
    with pytest.raises(ModelUnavailable, match=r"'classifier_gate' .*\n.*'segmenter' .* is missing"):
        made(what, store)
    assert pictures(store) == []


def test_so_are_those_of_what_comes_after(photos, store):
    what = recipe(photos, curate=[{"name": "features"}], evaluate=[{"name": "accuracy_drop"}])
    with pytest.raises(ModelUnavailable, match=MISSING) as raised:
        made(what, store, then=(*what.curate, *what.evaluate))
    assert {line.split("'")[1] for line in str(raised.value).splitlines()} > {"encoder", "classifier"}
    assert pictures(store) == []
    made(what, store)  # a build alone needs none
    made(what, store, then=(*what.curate, *what.evaluate))  # nor does one that has nothing to do


def test_a_curation_and_an_evaluation_look_first_too(photos, store, monkeypatch):
    import variorum.stages.curate
    import variorum.stages.evaluate

    what = recipe(photos, curate=[{"name": "bright"}, {"name": "features"}], evaluate=[{"name": "accuracy_drop"}])
    manifest, ctx = made(what, store), open_context(what, "embedded")
    monkeypatch.setattr(variorum.curate, "measure_shard", lambda *_: pytest.fail("began"))
    with pytest.raises(ModelUnavailable, match=MISSING):
        curate(what, manifest, ctx, store)
    with pytest.raises(ModelUnavailable, match=r"'classifier' .* is missing"):
        check_ready(what.evaluate, manifest, ctx, store)


def test_a_curation_that_is_measured_needs_no_model(photos, store, monkeypatch):
    what = recipe(photos, curate=[{"name": "bright"}])
    manifest, ctx = made(what, store), open_context(what, "embedded")
    curate(what, manifest, ctx, store)
    monkeypatch.setattr(type(ctx.models), "check", lambda *_: pytest.fail("asked"))
    curate(what, manifest, ctx, store)


def test_a_unit_that_runs_out_of_memory_says_so_in_a_line(photos, store, monkeypatch):
    from torch import OutOfMemoryError

    what = recipe(photos)
    ctx = open_context(what, "embedded")

    def generate(self, samples, ctx):
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        yield

    monkeypatch.setattr(type(what.generate[0]), "generate", generate)
    with pytest.raises(ModelUnavailable, match=r"the GPU ran out of memory .*2\.00 GiB"):
        run_unit(what, plan(what, ctx).units[0], ctx, store)
