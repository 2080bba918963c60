import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from bright_editions import PLUGINS, judged, recipe, released

from variorum.edition.editions import find
from variorum.edition.ledgers import read_ledger
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.machine.retrying import hash_content
from variorum.pipeline import Job, Threads, build, curate, run
from variorum.schemas.errors import CorruptShard, RecipeError, StoreError
from variorum.schemas.recipe import Recipe
from variorum.stages.pieces import edition_pieces
from variorum.stages.score import picture_table

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def curated(what: Recipe, manifest, store: Store):
    return curate(Job(what, store), manifest)


# ── measuring, scoring, deciding ─────────────────────────────────────────────────────────────────────────────────────


def test_columns_are_keyed_by_picture(photos, store):
    manifest, _, ledger = judged(recipe(photos), store)
    assert [info.samples for info in ledger.measured["bright"]] == [4, 4, 4]
    parts = read_table(store, ledger.measured["bright"])
    assert parts.column_names == ["id", "sha256", "bright.mean", "bright.channels"]
    assert parts.schema.field("bright.channels").type == pa.list_(pa.float16(), 3)
    whole = read_table(store, [ledger.scored["bright"]])
    assert whole.column_names == ["id", "sha256", "bright.rank", "bright.score"]
    base = picture_table(manifest, store)
    for table in (parts, whole):
        assert table.column("id").to_pylist() == base.column("id").to_pylist()
        assert table.column("sha256").to_pylist() == base.column("sha256").to_pylist()
    assert sorted(whole.column("bright.rank").to_pylist()) == list(range(12))
    assert set(ledger.figures["bright"]) == {"darkest", "brightest"}


def test_another_threshold_reads_no_picture(photos, store, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("PROBE_LOG", str(log))
    _, first, before = judged(recipe(photos), store)
    assert len(log.read_text().split()) == 12
    _, second, after = judged(recipe(photos, drop=3), store)
    assert len(log.read_text().split()) == 12
    assert (first, second) == (1, 2)
    assert before.measured == after.measured
    assert before.scored == after.scored
    assert before.counts == {"drop": {"too_bright": 1}}
    assert after.counts == {"drop": {"too_bright": 3}}
    scaled = judged(recipe(photos, scale=2.0), store)[2]  # a field that only scoring reads
    assert len(log.read_text().split()) == 12
    assert scaled.measured == before.measured
    assert scaled.scored != before.scored
    judged(recipe(photos, channels=2), store)  # and one that measuring reads
    assert len(log.read_text().split()) == 24


def test_the_same_judgement_keeps_its_number_whatever_the_workers(photos, store):
    first = judged(recipe(photos, drop=2), store, workers=1)
    judged(recipe(photos, drop=3), store)
    again = judged(recipe(photos, drop=2), store, workers=3)
    assert again == first
    assert first[1] == 1
    for kept in Path(store.root).glob("curations/*"):
        kept.unlink()
    assert judged(recipe(photos, drop=2), store, workers=3) == first  # also when it is decided again


def test_the_same_again_reads_no_table(photos, store, monkeypatch):
    what = recipe(photos, drop=2)
    manifest, number, ledger = judged(what, store)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", lambda *_, **__: pytest.fail("read a table"))
    assert curated(what, manifest, store) == (number, ledger)
    with pytest.raises(pytest.fail.Exception, match="read a table"):
        curated(recipe(photos, drop=3), manifest, store)


def test_a_store_that_is_no_folder(photos, tmp_path):
    """A run in a remote store comes to the same as one in a folder, and its repeat finds everything."""
    what = Recipe.parse({**recipe(photos, drop=2, notes=True).dump(), "evaluate": [{"name": "brightness"}]})
    remote = Job(what, f"memory://{uuid.uuid4().hex}")
    made = run(remote, Threads(2))
    assert made == run(Job(what, str(tmp_path / "folder")))
    assert run(remote, Threads(2)) == made
    assert verify(made, remote.store) == []


def test_an_edition_whose_folder_was_deleted_numbers_its_ledgers_from_one(photos, store):
    ledgers = [judged(recipe(photos, drop=number), store)[2] for number in (1, 2)]
    shutil.rmtree(Path(store.root) / "editions" / "d")
    assert judged(recipe(photos, drop=2), store)[1:] == (1, ledgers[1])
    assert judged(recipe(photos, drop=1), store)[1:] == (2, ledgers[0])
    assert judged(recipe(photos, drop=2), store)[1:] == (1, ledgers[1])


@pytest.mark.parametrize("change", [{"drop": 2}, {"scale": 2.0}, {"channels": 2}])
def test_another_field_is_another_curation(photos, store, change):
    ledgers = [judged(what, store)[2] for what in (recipe(photos), recipe(photos, **change))]
    assert ledgers[0].curate != ledgers[1].curate


def test_a_step_without_pictures_or_columns(photos, store):
    data = recipe(photos).dump()
    what = Recipe.parse({**data, "curate": [{"name": "bottom_ranked"}]})
    _, number, ledger = judged(what, store)
    assert (number, ledger.counts, ledger.measured, ledger.scored) == (1, {}, {}, {})


def test_an_edition_is_curated_by_a_query(photos, store):
    """From the tables of the store to the verdicts of a ledger."""
    text = """SELECT id, 'drop' AS action, 'brightest' AS reason, bright.score AS value
        FROM pictures WHERE bright.rank >= (SELECT count(*) - 2 FROM pictures)"""
    step = {"name": "sql", "query": text, "min_class_size": 1, "max_share_per_class": 1}
    data = recipe(photos).dump()
    curate = [one for one in data["curate"] if one["name"] == "bright"]
    _, _, ledger = judged(Recipe.parse({**data, "curate": [*curate, step]}), store)
    assert ledger.counts == {"drop": {"brightest": 2}}
    assert ledger.figures["sql"] == {"decided": {"drop brightest": 2}, "untouched": 10}
    ranks = read_table(store, [ledger.scored["bright"]])
    brightest = {
        one for one, rank in zip(ranks["id"].to_pylist(), ranks["bright.rank"].to_pylist(), strict=True) if rank > 9
    }
    assert set(read_table(store, [ledger.verdicts])["id"].to_pylist()) == brightest


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["bright", "bright"], "bright is there already"),
        (["dependent", "bright"], "dependent needs bright before it; put `- name: bright` higher up"),
        (["bright_rules", "bright"], "bright_rules needs bright before it; put `- name: bright` higher up"),
    ],
)
def test_steps_come_once_and_after_what_they_read(photos, steps, message):
    data = recipe(photos).dump()
    with pytest.raises(RecipeError, match=message):
        Recipe.parse({**data, "curate": [{"name": name} for name in steps]})


def test_a_detector_reads_the_columns_of_another(photos, store):
    data = recipe(photos).dump()
    what = Recipe.parse({**data, "curate": [{"name": "bright"}, {"name": "dependent"}]})
    ledger = judged(what, store)[2]
    scores = [read_table(store, [ledger.scored[name]]) for name in ("bright", "dependent")]
    ranks, doubled = scores[0].column("bright.rank").to_pylist(), scores[1].column("dependent.score").to_pylist()
    assert doubled == [2 * rank for rank in ranks]


def test_a_ledger_of_an_edition_that_moved(photos, store):
    dev = Recipe.parse({**recipe(photos).dump(), "version": "1.0.0-dev"})
    judged(dev, store)
    moved = Recipe.parse({**dev.dump(), "limit": 8})
    manifest = build(Job(moved, store))
    with pytest.raises(StoreError, match=r"ledger 1 of d@1\.0\.0-dev judges another edition"):
        read_ledger(manifest, store)
    assert curated(moved, manifest, store)[0] == 2
    with pytest.raises(StoreError, match="no ledger 7; there are: 1, 2"):
        read_ledger(manifest, store, 7)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def flipped(data: bytes) -> bytes:
    """With one bit of the first column's values wrong."""
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def release_of(manifest, ledger):
    return manifest.model_copy(update={"ledger": ledger})


@pytest.mark.parametrize("table", ["measured", "scored", "verdicts"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_lost_or_truncated_side_table(photos, store, table, cut):
    what = recipe(photos)
    manifest, number, ledger = judged(what, store)
    tables = {"measured": ledger.measured["bright"][1], "scored": ledger.scored["bright"], "verdicts": ledger.verdicts}
    path = store.path(tables[table], ".parquet")
    whole = path.read_bytes()
    if cut:
        path.write_bytes(whole[:-100])  # its size gives it away
    else:
        path.unlink()
    assert curated(what, manifest, store) == (number, ledger)
    assert path.read_bytes() == whole


HARMS = [lambda data: bytes(len(data)), flipped]
"""Damage that leaves the size."""


@pytest.mark.parametrize("table", ["measured", "scored", "verdicts"])
@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_side_table_is_made_again_by_the_next_command(photos, store, table, harm):
    what = recipe(photos)
    manifest, number, ledger = judged(what, store)
    tables = {"measured": ledger.measured["bright"][1], "scored": ledger.scored["bright"], "verdicts": ledger.verdicts}
    path = store.path(tables[table], ".parquet")
    whole = path.read_bytes()
    path.write_bytes(harm(whole))
    assert any("content doesn't match" in line for line in verify(release_of(manifest, ledger), store))
    again = Store(store.url)
    assert curated(what, manifest, again) == (number, ledger)
    assert path.read_bytes() == whole
    assert not any("content doesn't match" in line for line in verify(release_of(manifest, ledger), again))
    assert (path.parents[1] / "damaged" / path.name).read_bytes() == harm(whole)


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_table_of_the_edition(photos, store, harm):
    what, other = recipe(photos), recipe(photos, drop=3)
    manifest, number, ledger = judged(what, store)
    path = store.path(manifest.rows[0], ".parquet")
    whole = path.read_bytes()
    path.write_bytes(harm(whole))
    assert any("content doesn't match" in line for line in verify(manifest, store))
    with pytest.raises(CorruptShard, match="run the recipe again"):
        curated(other, manifest, Store(store.url))  # it has no recipe of the edition
    assert build(Job(what, Store(store.url))) == manifest
    assert path.read_bytes() == whole
    assert judged(what, Store(store.url)) == (manifest, number, ledger)
    assert judged(other, Store(store.url))[1] == 2


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_shard_is_made_again_by_the_next_build(photos, store, harm):
    what = recipe(photos)
    manifest, *_ = judged(what, store)
    path = store.path(manifest.shards["test"][0])
    whole = path.read_bytes()
    path.write_bytes(harm(whole))
    assert build(Job(what, Store(store.url))) == manifest
    assert path.read_bytes() == whole
    assert verify(manifest, store) == []


def test_peoples_answers_outlive_another_run(photos, store):
    """The same ledger again leaves its queue alone; a ledger whose queue was lost gets it back."""
    _, number, ledger = judged(recipe(photos, review=2), store)
    queue = Path(store.root) / "editions/d/1.0.0/ledgers/0001.review.csv"
    asked = queue.read_text()
    assert len(asked.splitlines()) == 3
    answered = asked.replace("\n", ",wrong\n", 1)
    queue.write_text(answered)
    assert judged(recipe(photos, review=2), store)[1:] == (number, ledger)
    for kept in Path(store.root).glob("curations/*"):
        kept.unlink()
    assert judged(recipe(photos, review=2), store)[1:] == (number, ledger)
    assert queue.read_text() == answered
    queue.unlink()
    judged(recipe(photos, review=2), store)
    assert queue.read_text() == asked


# ── exactly once ─────────────────────────────────────────────────────────────────────────────────────────────────────

WORKER = """
import json
import sys
sys.path.append(sys.argv[1])
from variorum.pipeline import Job, Threads, build, curate, release
from variorum.schemas.recipe import Recipe
job = Job(Recipe.parse(json.loads(sys.argv[3])), sys.argv[2])
manifest = build(job)
number, ledger = curate(job, manifest, Threads(2))
print(release(job, manifest, number, ledger, Threads(2)).digest())
"""


def command(what: Recipe, url: str) -> list[str]:
    return [sys.executable, "-c", WORKER, PLUGINS, url, json.dumps(what.dump())]


def test_killed_in_the_middle_and_run_again(photos, tmp_path):
    what = recipe(photos, drop=2, relabel=2)
    _, made = released(what, Store(str(tmp_path / "whole")))
    url, log = str(tmp_path / "killed"), tmp_path / "log"
    build(Job(what, url))
    environment = {**os.environ, "PROBE_SECONDS": "0.1", "PROBE_LOG": str(log)}
    process = subprocess.Popen(command(what, url), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(Path(url).glob("measures/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    log.unlink(missing_ok=True)
    job = Job(what, url)
    pieces = edition_pieces(find("d@1.0.0", job.store), [job.component("bright")], job)
    left = [piece for piece in pieces if not job.store.table(piece.keys["bright"])]
    assert len(left) < len(pieces)
    done = subprocess.run(command(what, url), env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == made.digest()
    assert len(log.read_text().split() if log.exists() else []) == sum(piece.samples for piece in left)
    objects = [path for path in Path(url).glob("objects/*") if hash_content(path) != path.name.partition(".")[0]]
    assert objects == []


@pytest.mark.slow  # tests/campaign/test_races.py runs the same three times at once
def test_two_racing_runs_agree(photos, tmp_path):
    what = recipe(photos, drop=2, relabel=2)
    url = str(tmp_path / "raced")
    processes = [subprocess.Popen(command(what, url), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = {process.communicate()[0].strip() for process in processes}
    assert len(digests) == 1
    assert digests == {released(what, Store(str(tmp_path / "alone")))[1].digest()}
