"""The editions of a suite on somebody's photographs: planned, built once, told where they can't be made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import variorum as va
from variorum.api.edition_rows import rows_for
from variorum.api.suite_editions import SuiteJob, editions_of, not_measured
from variorum.edition.store import Store
from variorum.pipeline import Threads
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.manifest import Manifest
from variorum.schemas.suite import Suite
from variorum.stages.suite_files import load_suite

SUITE: dict[str, Any] = {
    "suite": "own",
    "version": "1.0.0",
    "most": 6,
    "editions": {
        "dark": {
            "recipe": "low_light",
            "set": {
                "samples_per_shard": 2,
                "generate.low_light.exposures": [1, 4],
                "generate.low_light.noiseless": False,
                "generate.low_light.enhancers": [],
                "generate.low_light.enhanced": [],
                "generate.low_light.frame": 64,
            },
            "pictures": 3,
            "seconds": 2,
        },
        "moved": {
            "recipe": "translation",
            "set": {"generate.translation.frame": 64, "generate.translation.steps": "axes"},
            "pictures": 5,
        },
        "shots": {"recipe": "few_shot"},
        "boxes": {"recipe": "coco_o", "needs": ["objects"]},
    },
    "rows": [
        {"id": "low_light", "title": "Low light", "edition": "dark", "of": "accuracy_drop.edits"},
        {"id": "moved", "title": "Moved", "edition": "moved", "of": "accuracy_drop.edits"},
        {"id": "grouped", "title": "Groups", "edition": "moved", "of": "accuracy_drop.edits", "needs": ["groups"]},
        {"id": "shots", "title": "Shots", "edition": "shots", "of": "accuracy_drop.edits"},
        {"id": "boxes", "title": "Boxes", "edition": "boxes", "of": "accuracy_drop.edits"},
    ],
}


class Stopped(Exception):
    """What ends a run."""


class Stopping(Threads):
    """Makes the first part of a stage, then stops, as a killed run does."""

    def map(self, stage, parts, progress):
        super().map(stage, parts[:1], progress)
        raise Stopped


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of this module's own, which keeps what is drawn."""
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def suite() -> Suite:
    return Suite.parse(SUITE, "own")


def planned(suite: Suite, source: Any, store: Path) -> dict[str, SuiteJob]:
    return {job.key: job for job in editions_of(suite, source, str(store))}


def asked(manifest: Manifest) -> int:
    """Number of pictures that were asked for, made or not."""
    return sum(sum(counts.values()) for counts in manifest.counts.values())


def test_each_edition_is_planned_and_one_that_cannot_be_made_ends_no_other(suite, photos, tmp_path):
    jobs = planned(suite, str(photos), tmp_path / "store")
    assert not (tmp_path / "store").exists()
    told = jobs["dark"].photographs
    assert (told.n, told.classes, told.source, told.left_out) == (6, 3, photos.name, {"not drawn": 6})
    assert [(jobs[key].sealed, jobs[key].pictures, jobs[key].seconds) for key in ("dark", "moved")] == [
        (None, 18, 12),
        (None, 30, None),
    ]
    assert jobs["shots"].why_not.startswith("few_shot_episodes: way is 5, and 0 of 3 classes have the 15 photographs")
    assert jobs["boxes"].why_not == "the photographs have no boxes"
    assert "COCO" in jobs["boxes"].way_out
    with pytest.raises(RecipeError, match="boxes: the photographs have no boxes; give photographs with boxes"):
        jobs["boxes"].build()
    assert [one.id for one in not_measured(suite, list(jobs.values()))] == ["grouped", "shots", "boxes"]


def test_a_run_that_was_killed_goes_on_and_a_second_one_finds_everything(suite, photos, tmp_path):
    at, other = tmp_path / "store", tmp_path / "other"
    with pytest.raises(Stopped):
        planned(suite, photos, at)["dark"].build(Stopping())
    begun = planned(suite, photos, at)["dark"]
    assert begun.sealed is None
    assert begun.seconds is not None
    made = begun.build()
    assert made.digest() == planned(suite, photos, other)["dark"].build().digest()
    assert asked(made) == begun.pictures == 18
    moved = planned(suite, photos, at)["moved"].build()
    again = planned(suite, photos, at)
    assert (again["dark"].sealed, again["moved"].sealed) == (made, moved)
    assert (again["moved"].pictures, again["moved"].seconds) == (30, 0)
    store = Store(str(at))
    drawn = [set(edition_rows(one, store).column("source").to_pylist()) for one in (made, moved)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 6


def test_editions_of_other_photographs_lie_beside_them(suite, photos, tmp_path):
    fewer, store = tmp_path / "photos", tmp_path / "store"
    shutil.copytree(photos, fewer)
    (fewer / "coffee" / "broken.jpg").write_bytes(b"no picture")
    shutil.copy(fewer / "coffee" / "1.jpg", fewer / "chelsea" / "copy.jpg")
    names = {planned(suite, one, store)["moved"].build().dataset for one in (photos, fewer)}
    assert len(names) == 2
    larger = suite.model_copy(update={"most": 500})
    assert planned(larger, fewer, store)["dark"].photographs.left_out == {"unreadable": 1, "copy": 1}


def test_photographs_have_what_one_of_them_has(suite, photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "groups.csv").write_text("file_name,place\n" + "".join(f"coffee/{n}.jpg,bar\n" for n in range(4)))
    jobs = editions_of(suite, folder, tmp_path / "store")
    assert "grouped" not in {one.id for one in not_measured(suite, jobs)}


def test_photographs_may_be_anything_that_run_takes(suite, photos, tmp_path):
    pairs = [(str(file), file.parent.name) for file in sorted(photos.glob("*/*.jpg"))]
    assert planned(suite, pairs, tmp_path / "store")["moved"].photographs.classes == 3
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(photos / "coffee" / "0.jpg", flat / "0.jpg")
    with pytest.raises(SourceError, match=r"source flat: its photographs have no classes, .* a folder of its name"):
        planned(suite, flat, tmp_path / "store")


def test_an_edition_gets_the_rows_of_its_recipe_or_of_what_it_holds(suite, photos, tmp_path):
    known = load_suite("robustness")
    store = Store(str(tmp_path / "store"))
    built = planned(suite, photos, tmp_path / "store")["dark"].build()
    (row,) = rows_for(built, store, known, "mine")
    assert (row.id, row.edition, row.of) == ("low_light", "mine", "accuracy_drop.edits")
    with pytest.raises(
        RecipeError, match=r"recipe low_light is at 1.0.0 now, .* build it again: variorum run low_light"
    ):
        rows_for(built.model_copy(update={"version": "2.0.0"}), store, known, "mine")
    source = {"name": "image_folder", "path": str(photos)}
    own = va.run(dataset="own", version="1.0.0", source=source, generate=[{"name": "negative"}], store=store)
    rows = rows_for(own.manifest, store, known, "own")
    assert [(one.id, one.of, one.variants) for one in rows] == [
        ("originals", "accuracy_drop.originals", ()),
        ("negative", "accuracy_drop.edits", ("negative",)),
        ("calibration", "accuracy_drop.calibration", ()),
    ]


@pytest.mark.parametrize("key", ["corrupted", "dark", "moved"])
def test_a_suite_tells_how_many_pictures_a_photograph_becomes(photos, tmp_path, key):
    quick = load_suite("quick").model_copy(update={"most": 1})
    job = planned(quick, photos, tmp_path / "store")[key]
    made = job.build()
    assert asked(made) == job.pictures
