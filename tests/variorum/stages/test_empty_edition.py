"""An edition without an accepted picture: every component takes it, and no model is asked."""

import pytest
from test_measure import REQUIRED

from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component, component_class, component_names
from variorum.schemas.more import NeedsObjects, references_of
from variorum.schemas.recipe import Recipe


class Unasked:
    """Models of any name, none of which can be had."""

    def check(self, aliases):
        pass

    def pin(self, alias):
        return f"{alias}@0"

    def role(self, alias):
        return None

    def why_unavailable(self, alias):
        return ""


@pytest.fixture
def open_job(tmp_path):
    """Jobs over a folder with two broken pictures."""
    for name in ("cat", "dog"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "0.jpg").write_bytes(b"\xff\xd8\xffnot a picture")
    (tmp_path / "opt_out.txt").write_text("")
    source = {"name": "image_folder", "path": str(tmp_path / "broken")}
    common = {"dataset": "d", "version": "1.0.0", "max_failure_rate": 1.0, "source": source, "splits": {"test": 0.5}}

    def opened(**parts):
        recipe = Recipe.parse({**common, **parts})
        ctx = Context(recipe.seed, Unasked(), lambda key, compute: compute(), recipe.source)
        return Job(recipe, Store(str(tmp_path / "store")), ctx=ctx)

    return opened


def test_every_detector_and_decider_takes_an_edition_without_pictures(open_job, tmp_path):
    required = {**REQUIRED, "opt_out": {"list": str(tmp_path / "opt_out.txt")}}
    given = {name: {"name": name, **required.get(name, {})} for name in component_names("curate")}
    order: dict[str, None] = {}

    def add(name):
        for other in build_component("curate", given[name], "curate").needs():
            add(other)
        order[name] = None

    for name in given:
        if name not in ("major_errors", "adversarial_detection"):  # refuses unreviewed labels; looks at a reference
            add(name)
    manifest = run(open_job(curate=[given[name] for name in order]))
    assert manifest.pictures() == 0
    assert (manifest.ledger.counts, manifest.ledger.figures) == ({}, {})
    assert {"quality", "tileability", "duplicates"} <= set(manifest.ledger.scored)


def test_every_evaluation_takes_an_edition_without_pictures(open_job):
    """Those that need objects or other pictures say so instead."""
    built = [
        build_component("evaluate", {"name": name, **REQUIRED.get(name, {})}, "evaluate")
        for name in component_names("evaluate")
        if component_class("evaluate", name).__module__.startswith("variorum.")
    ]
    taken = [one for one in built if not isinstance(one, NeedsObjects) and not references_of(one)]
    assert len(taken) > 8
    manifest = run(
        open_job(evaluate=[{"name": one.component_name(), **REQUIRED.get(one.component_name(), {})} for one in taken])
    )
    assert manifest.pictures() == 0
