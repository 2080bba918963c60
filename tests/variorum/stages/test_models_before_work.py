"""Models are checked once and before any work, in a run, a curation and an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from variorum.edition.store import Store
from variorum.pipeline import Job, build, curate, evaluate
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build
from variorum.stages.measure import Measure

PROBE = [{"name": "probe"}]
MISSING = r"model 'encoder' .* is missing: fetch it with `variorum doctor encoder --fetch`"


@pytest.fixture(autouse=True)
def _no_weights(own_cache):
    """The test's own cache holds no weights."""
    from variorum.stages.job import _models

    _models.cache_clear()
    yield
    _models.cache_clear()


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def job(photos, store):
    def of(**fields) -> Job:
        source = {"name": "image_folder", "path": str(photos)}
        defaults = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 4, "source": source, "generate": PROBE}
        return Job(Recipe.parse({**defaults, **fields}), store)

    return of


def pictures(store: Store) -> list[Path]:
    return [*Path(store.url).glob("objects/*.tar"), *Path(store.url).glob("units/*")]


def test_a_generators_models_are_missing_before_a_picture_is_made(job, store):
    with pytest.raises(ModelUnavailable, match=r"'classifier_gate' .*\n.*'segmenter' .* is missing"):
        build(job(generate=[*PROBE, {"name": "attribute_edit"}]))
    assert pictures(store) == []


def test_so_are_those_of_what_comes_after(job, store):
    what = job(curate=[{"name": "features"}], evaluate=[{"name": "accuracy_drop"}])
    then = (*what.recipe.curate, *what.recipe.evaluate)
    with pytest.raises(ModelUnavailable, match=MISSING) as raised:
        build(what, then=then)
    assert {line.split("'")[1] for line in str(raised.value).splitlines()} > {"encoder", "classifier"}
    assert pictures(store) == []
    build(what)  # a build alone needs no model
    build(what, then=then)  # nor does a build with nothing to do


def test_a_curation_and_an_evaluation_check_first_too(job, monkeypatch):
    what = job(curate=[{"name": "bright"}, {"name": "features"}], evaluate=[{"name": "accuracy_drop"}])
    manifest = build(what)
    monkeypatch.setattr(Measure, "make", lambda *_: pytest.fail("began"))
    with pytest.raises(ModelUnavailable, match=MISSING):
        curate(what, manifest)
    with pytest.raises(ModelUnavailable, match=r"'classifier' .* is missing"):
        evaluate(what, manifest)


def test_a_curation_that_is_measured_needs_no_model(job, monkeypatch):
    what, other = (job(curate=[{"name": "bright"}, {"name": "bright_rules", "drop": number}]) for number in (1, 2))
    manifest = build(what)
    curate(what, manifest)
    monkeypatch.setattr(type(what.ctx.models), "check", lambda *_: pytest.fail("asked"))
    curate(what, manifest)
    assert curate(other, manifest)[0] == 2  # decided again on the same columns


def test_a_unit_that_runs_out_of_memory_says_so_in_a_line(job, monkeypatch):
    from torch import OutOfMemoryError

    def generate(self, samples, ctx):
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        yield

    what = job()
    monkeypatch.setattr(type(what.recipe.generate[0]), "generate", generate)
    with pytest.raises(ModelUnavailable, match=r"the GPU ran out of memory .*2\.00 GiB"):
        Build(what).make(what.plan.units[0], lambda _: None)
