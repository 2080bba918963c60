"""What the page of an edition gets: rows, columns, pictures, records, from small real editions."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from variorum.edition.editions import beside, folder_of, resolve
from variorum.edition.pulled import Pulled, put_pulled
from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.pipeline import Job, build, curate, evaluate, release
from variorum.reports.page import preview
from variorum.reports.page.edition_page import edition_page
from variorum.schemas.errors import CorruptShard
from variorum.schemas.lookup import component_class
from variorum.schemas.plot import IntervalPlot, Point
from variorum.schemas.recipe import Recipe
from variorum.stages.evaluate import read_figures

PROBE = {"name": "probe", "copies": 2, "fail": "chelsea/0", "ineligible": "chelsea/1", "quarantine": "coffee/0"}
RULES = {"name": "bright_rules", "drop": 2, "relabel": 2, "review": 1, "to": "coffee"}


def recipe(photos, **more):
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 5,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [PROBE],
            "curate": [{"name": "bright"}, RULES],
            "evaluate": [{"name": "brightness"}],
            **more,
        }
    )


@pytest.fixture(scope="module")
def curated(photos, tmp_path_factory):
    """A store with `d@1.0.0`, which has failed, ineligible and quarantined pictures, and its release."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        job = Job(recipe(photos), str(folder / "store"))
        manifest = build(job)
        released = release(job, manifest, *curate(job, manifest))
        evaluate(job, released)
    return manifest, released, job.store


@pytest.fixture
def own_copy(curated, tmp_path, own_cache):
    """The same in a store of the test's own."""
    base, released, store = curated
    shutil.copytree(store.root, tmp_path / "store")
    return base, released, Store(str(tmp_path / "store"))


def parts_of(manifest, store, *, most=1000, with_map=True, blur=False, progress=QUIET):
    return edition_page(manifest, store, progress, most=most, with_map=with_map, blur=blur)


def columns_of(parts):
    """By name, the values of each column as they are shown."""
    rows, found = parts.table["rows"], {}
    for one in parts.table["columns"]:
        values = one["values"]
        if one["kind"] == "text":
            assert len(set(values)) == len(values)
            values = [None if code < 0 else values[code] for code in one["codes"]]
        assert len(values) == rows
        assert one["name"] not in found
        found[one["name"]] = values
    return found


def shown(parts):
    """All thumbnails and all records."""
    pictures, records = [], []
    for some, told, *_ in zip(*parts.streams(QUIET), strict=True):
        assert len(told) <= 100
        assert len(some) == len(told) * (2 if parts.facts["kind"] == "diff" else 1)
        pictures += some
        records += map(json.loads, told)
    return pictures, records


def test_a_release_shows_each_picture_with_what_was_said_of_it(curated):
    base, released, store = curated
    parts = parts_of(released, store)
    columns, (pictures, records) = columns_of(parts), shown(parts)
    assert columns.keys() >= {"id", "variant", "status", "split", "class", "origin", "licence", "source"}
    counted = {status: columns["status"].count(status) for status in set(columns["status"])}
    assert counted == {"accepted": 28, "dropped": 2, "quarantined": 2, "failed": 2, "ineligible": 2}
    assert sorted(counted.items()) == sorted(map(tuple, parts.facts["counts"]))
    assert [record["id"] for record in records] == columns["id"]
    for status, picture, record in zip(columns["status"], pictures, records, strict=True):
        assert bool(picture) == (status not in ("failed", "ineligible"))
        assert status != "failed" or (record["reason"], record["status"]) == ("asked_for", "failed")
    rows = {key: [row for row, action in enumerate(columns["action"]) if action == key] for key in columns["action"]}
    assert [len(rows[action]) for action in ("drop", "relabel", "review")] == [2, 2, 1]
    assert {columns["by"][row] for row in rows["drop"]} == {"bright_rules"}
    assert {columns["verdict_reason"][row] for row in rows["drop"]} == {"too_bright"}
    assert sorted(columns["value"][row] for row in rows["drop"]) == [28, 29]
    for row in rows["relabel"]:
        assert (columns["class"][row], columns["status"][row]) == ("coffee", "accepted")
        assert columns["given"][row] in ("astronaut", "chelsea", "coffee")
        assert records[row]["verdicts"][0]["reason"] == "dark_is_a_cat"
    assert columns["bright.rank"][rows["drop"][0]] in (28, 29)
    assert "bright.channels" not in columns
    assert columns["gate.mean"].count(None) == 12 + 4
    assert parts.facts["limits"] == {"gate.mean": "any"}
    for row, original in enumerate(columns["source"]):
        assert columns["variant"][original] == "original"
        assert columns["origin"][row] in (columns["origin"][original], None)  # probe's failures don't name theirs
        assert (original == row) == (columns["variant"][row] == "original")
    assert (base.digest(), released.digest()) == (released.ledger.edition, parts.facts["digest"])


def test_thumbnails_are_webp_of_the_right_picture_and_never_larger_than_it(curated):
    _, released, store = curated
    parts = parts_of(released, store)
    assert parts.facts["thumbnail"] == 320
    assert parts.pictures == 32
    pictures, records = shown(parts)
    for picture, record in zip(pictures, records, strict=True):
        if picture:
            image = Image.open(io.BytesIO(picture))
            assert (image.format, image.size) == ("WEBP", (96, 64)) == ("WEBP", (record["width"], record["height"]))
            if record["ops"]:
                mean = record["ops"][-1]["achieved"]["mean"]
                assert abs(np.asarray(image).mean() - mean) < 4


def test_what_was_dropped_has_no_picture_once_the_edition_before_is_gone(own_copy):
    base, released, store = own_copy
    shutil.rmtree(folder_of(base, store))
    parts = parts_of(released, store)
    columns, (pictures, records) = columns_of(parts), shown(parts)
    gone = [row for row, status in enumerate(columns["status"]) if status == "dropped"]
    assert len(gone) == 2
    assert not any(pictures[row] for row in gone)
    assert {records[row]["reason"] for row in gone} == {"too_bright"}
    assert parts.facts["notes"] == [
        "2 dropped pictures aren't shown: the edition that they were in isn't in the store."
    ]


def test_another_edition_in_place_of_the_one_before_isn_t_used(own_copy, photos):
    base, released, store = own_copy
    other = resolve("d@1.0.0", store).model_copy(update={"sources": base.sources + 1})
    store.put_record(beside(base, "manifest.json"), other)
    pictures, _ = shown(parts_of(released, store))
    assert sum(map(bool, pictures)) == 30


def test_a_curated_edition_shows_the_verdicts_that_wait(curated):
    base, _, store = curated
    parts = parts_of(base, store)
    columns = columns_of(parts)
    assert columns["action"].count("drop") == 2
    assert "dropped" not in columns["status"]
    assert "given" not in columns
    assert [columns["proposed"][row] for row, did in enumerate(columns["action"]) if did == "relabel"] == ["coffee"] * 2
    assert ["verdict: drop", 2] in parts.facts["counts"]
    assert parts.facts["notes"] == [
        "The verdicts are those of the newest ledger; this edition is as it was before them."
    ]


def test_an_edition_that_nobody_curated_has_no_verdicts_and_no_map(photos, tmp_path, own_cache):
    job = Job(recipe(photos, generate=[], curate=[], evaluate=[]), str(tmp_path / "store"))
    parts = parts_of(build(job), job.store)
    assert {"action", "value", "map.x"}.isdisjoint(columns_of(parts))
    assert (parts.facts["map"], parts.facts["notes"], parts.facts["limits"]) == (None, [], {})


def test_a_part_of_a_large_edition_keeps_what_was_judged(curated):
    _, released, store = curated
    parts = parts_of(released, store, most=12)
    columns = columns_of(parts)
    made = [status for status in columns["status"] if status not in ("failed", "ineligible")]
    assert len(made) == 12
    assert parts.pictures == 12
    assert parts.table["rows"] == 16
    # two dropped, two quarantined, two relabelled, one to review
    assert [columns["action"].count(action) for action in ("drop", "relabel", "review")] == [2, 2, 1]
    assert columns["status"].count("quarantined") == 2
    assert {"original", "negative_0", "negative_1"} == set(columns["variant"])
    assert parts.facts["notes"][0].startswith("12 of 32 pictures: ")
    assert columns_of(parts_of(released, store, most=12)) == columns


def test_everything_is_json_and_progress_counts_rows(curated):
    _, released, store = curated

    class Counting(Progress):
        total = steps = 0

        def start(self, what, total, done=0):
            self.total = total

        def advance(self, steps):
            self.steps += steps

    seen = Counting()
    parts = parts_of(released, store, with_map=False, blur=True, progress=seen)
    assert json.loads(json.dumps([parts.facts, parts.table], allow_nan=False)) == [parts.facts, parts.table]
    assert parts.facts["blur"] is True
    for _ in zip(*parts.streams(seen), strict=True):
        pass
    assert (seen.total, seen.steps) == (36, 36)


def test_annotations_are_in_the_record_object_by_object(everything):
    job, manifest = everything
    parts = parts_of(manifest, job.store)
    columns, (_, records) = columns_of(parts), shown(parts)
    assert set(columns["split"]) == {"train", "validation", "test"}
    assert "config" in columns
    assert set(columns["class"]) == {"a circle | <b>", None}
    for number, record in zip(columns["objects"], records, strict=True):
        assert len(record["annotations"]["objects"]) == number
        assert all(len(one["bbox"]) == 4 for one in record["annotations"]["objects"])


def test_an_edition_of_format_3_is_shown(format3, own_cache):
    parts = parts_of(resolve("old@1.0.0-r1", format3), format3)
    columns, (pictures, _) = columns_of(parts), shown(parts)
    assert columns["status"].count("dropped") == 2
    assert set(columns["split"]) == {"test"}
    assert all(pictures)


def test_an_edition_without_pictures_has_rows_that_say_why(photos, tmp_path, own_cache):
    nothing = [{"name": "probe", "fail": ".", "originals": False}]
    job = Job(recipe(photos, generate=nothing, curate=[], evaluate=[], max_failure_rate=1.0), str(tmp_path / "store"))
    parts = parts_of(build(job), job.store)
    pictures, records = shown(parts)
    assert (len(records), any(pictures), parts.pictures) == (12, False, 0)
    assert {record["reason"] for record in records} == {"asked_for"}
    assert set(columns_of(parts)["source"]) == {-1}


def test_what_is_published_has_no_dropped_picture_no_verdict_and_no_figure_of_an_evaluation(own_copy):
    base, released, store = own_copy
    data, number = preview.preview(released, store)
    assert (number, preview.preview(released, store)) == (30, (data, 30))
    parts = edition_page(released, store, QUIET, most=1000, with_map=True, blur=False, alone=True)
    columns, (pictures, records) = columns_of(parts), shown(parts)
    said = columns_of(parts_of(released, store)).keys() - columns.keys()
    assert said > {"action", "by", "value", "verdict_reason"}
    assert any(name.startswith("bright.") for name in said)
    assert [plot["kind"] for plot in parts.facts["plots"]] == ["funnel"]
    for status, picture, record in zip(columns["status"], pictures, records, strict=True):
        assert bool(picture) == (status in ("accepted", "quarantined"))
        assert "verdicts" not in record
    dropped = {one for one, status in zip(columns["id"], columns["status"], strict=True) if status == "dropped"}
    assert len(dropped) == 2
    unseen, rows = shown(parts_of(base, store))[0], columns_of(parts_of(base, store))["id"]
    secret = [picture for one, picture in zip(rows, unseen, strict=True) if one in dropped]
    assert all(secret)
    assert not set(secret) & set(pictures)

    shutil.rmtree(Path(store.root, "editions/d/1.0.0"))  # the edition that it was made from, with its ledgers
    assert preview.preview(released, store) == (data, 30)


def test_a_release_that_was_pulled_without_its_ledger_is_shown_without_verdicts(own_copy):
    _, released, store = own_copy
    tables = sorted({info.sha256 for info in released.ledger.tables()})
    for sha256 in tables:
        Path(store.root, "objects", f"{sha256}.parquet").unlink()
    with pytest.raises(CorruptShard):
        parts_of(released, store)
    put_pulled(released, Pulled(place="hf://datasets/lab/d", without=tables), store)
    columns = columns_of(parts_of(released, store))
    assert columns["status"].count("accepted") == 28
    assert "action" not in columns


def test_of_a_large_edition_a_small_even_sample_is_published(curated, monkeypatch):
    _, released, store = curated
    monkeypatch.setattr(preview, "PICTURES", 9)
    monkeypatch.setattr(preview, "SIDE", 32)
    data, number = preview.preview(released, store)
    assert number == 9
    assert b"9 of 30 pictures: evenly from all variants and classes." in data
    parts = edition_page(released, store, QUIET, most=9, with_map=False, blur=False, alone=True)
    pairs = list(zip(columns_of(parts)["variant"], columns_of(parts)["class"], strict=True))
    pictures = [pair for pair, picture in zip(pairs, shown(parts)[0], strict=True) if picture]
    assert len(set(pictures)) == 9  # three variants of three classes
    parts.facts["thumbnail"] = 32
    assert max(max(Image.open(io.BytesIO(one)).size) for one in shown(parts)[0] if one) == 32


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_shard_is_named(own_copy, damage):
    _, released, store = own_copy
    shard = released.shards["test"][0]
    path = store.path(shard, check=False)
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "flipped":
        content[content.find(b"IDAT") + 100] ^= 1
        path.write_bytes(bytes(content))
    with pytest.raises(CorruptShard, match=shard.sha256):
        shown(parts_of(released, store))


def test_evaluations_are_plotted_in_the_order_of_the_variants(own_copy, monkeypatch, caplog):
    _, released, store = own_copy
    assert [plot["kind"] for plot in parts_of(released, store).facts["plots"]] == ["funnel"]

    def plots(self, figures):
        names = tuple(sorted(figures))
        points = tuple(Point(figures[name], figures[name] - 1, figures[name] + 1) for name in names)
        return {"means": IntervalPlot("Brightness", "grey", names, {"all": points})}

    brightness = component_class("evaluate", "brightness")
    monkeypatch.setattr(brightness, "plots", plots)
    funnel, means = parts_of(released, store).facts["plots"]
    assert funnel["stages"][-1] == ["kept by curation", 28]
    assert ["drop", "bright_rules", "too_bright", 2] in funnel["reasons"]
    assert [row for _, row, *_ in means["rows"]] == ["original", "negative_0", "negative_1"]
    figures = read_figures("brightness", released, store)["figures"]
    assert [value for _, _, value, *_ in means["rows"]] == [figures[row] for _, row, *_ in means["rows"]]

    path = Path(folder_of(released, store), "evaluation-brightness.json")
    path.write_text(path.read_text().replace('"original": ', '"original": "x", "y": '))
    assert len(parts_of(released, store).facts["plots"]) == 1
    assert "figures of brightness can't be plotted" in caplog.text
    path.write_text("{")
    assert len(parts_of(released, store).facts["plots"]) == 1
