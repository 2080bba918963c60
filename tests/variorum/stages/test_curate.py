import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from variorum.edition.ledgers import current, find_edition, plain, read_ledger, read_verdicts, review_queue, settle
from variorum.edition.shards import read_shard
from variorum.edition.store import Store, hash_file
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.report.diff import change_counts, diff
from variorum.schemas.errors import CorruptShard, RecipeError, StoreError
from variorum.schemas.recipe import Recipe
from variorum.schemas.verdict import Verdict
from variorum.stages.build import build
from variorum.stages.context import open_context
from variorum.stages.curate import add_columns, curate, picture_table, score_step
from variorum.stages.evaluate import check_judges
from variorum.stages.measure import measure_key
from variorum.stages.release import added_content, plan_release, release, rollback

pytestmark = pytest.mark.usefixtures("own_cache")


def recipe(photos: Path, **bright) -> Recipe:
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 4,
            "source": {"name": "image_folder", "path": str(photos)},
            "curate": [{"name": "bright", **bright}],
        }
    )


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def built(what: Recipe, store: Store):
    return build(what, open_context(what, "embedded"), store, profile="embedded")


def judged(what: Recipe, store: Store, **options):
    manifest = built(what, store)
    return manifest, *curate(what, manifest, open_context(what, "embedded"), store, **options)


def released(what: Recipe, store: Store, **options):
    manifest, number, ledger = judged(what, store, **options)
    return manifest, release(manifest, number, ledger, store)


def samples(manifest, store: Store) -> dict[str, dict[str, bytes]]:
    return {key: members for shard in manifest.shards["test"] for key, members in read_shard(store.path(shard))}


def rows(manifest, store: Store) -> dict[str, dict]:
    return {row["id"]: row for row in read_table(store, manifest.rows).to_pylist()}


# ── measuring, scoring, deciding ─────────────────────────────────────────────────────────────────────────────────────


def test_columns_are_keyed_by_picture(photos, store):
    what = recipe(photos)
    manifest, _, ledger = judged(what, store)
    assert [info.samples for info in ledger.measured["bright"]] == [4, 4, 4]
    parts = read_table(store, ledger.measured["bright"])
    assert parts.column_names == ["id", "sha256", "bright.mean", "bright.channels"]
    assert parts.schema.field("bright.channels").type == pa.list_(pa.float16(), 3)
    whole = read_table(store, [ledger.scored["bright"]])
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
    judged(recipe(photos, scale=2.0), store)  # a field that only scoring reads
    assert len(log.read_text().split()) == 12
    judged(recipe(photos, channels=2), store)  # and one that measuring reads
    assert len(log.read_text().split()) == 24


def test_the_same_judgement_keeps_its_number_whatever_the_workers(photos, store):
    first = judged(recipe(photos, drop=2), store, workers=1)
    judged(recipe(photos, drop=3), store)
    again = judged(recipe(photos, drop=2), store, workers=3)
    assert again[1:] == first[1:]
    assert first[1] == 1


def test_sums_do_not_depend_on_the_cores(photos, store, monkeypatch):
    from variorum.curation.bright import Bright

    seen, score = [], Bright.score

    def watched(self, table, ctx):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return score(self, table, ctx)

    monkeypatch.setattr(Bright, "score", watched)
    with threadpool_limits(2, user_api="blas"):
        judged(recipe(photos), store)
    assert set(seen) == {1}


def test_one_row_a_sample(photos, store, monkeypatch):
    from variorum.curation.bright import Bright

    monkeypatch.setattr(Bright, "measure", lambda self, samples, ctx: iter([{"mean": 1.0}]))
    with pytest.raises(RecipeError, match="measured 1 of 4 samples"):
        judged(recipe(photos), store)


def flipped(data: bytes) -> bytes:
    """With one bit of the first column's values wrong."""
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def test_a_truncated_side_table(photos, store):
    what = recipe(photos)
    manifest, _, ledger = judged(what, store)
    part = ledger.measured["bright"][1]
    path = store.path(part, ".parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    again = curate(what, manifest, open_context(what, "embedded"), store)  # its size gives it away: measured anew
    assert again[1] == ledger
    assert path.read_bytes() == whole


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("harm", [lambda data: bytes(len(data)), flipped])
def test_a_damaged_side_table_is_named_and_measured_again(photos, store, part, harm):
    what = recipe(photos)
    manifest, _, ledger = judged(what, store)
    path = store.path(ledger.measured["bright"][part], ".parquet")
    whole = path.read_bytes()
    path.write_bytes(harm(whole))  # of the right size
    assert any("content doesn't match" in line for line in verify(release_of(manifest, ledger, store), store))
    with pytest.raises(CorruptShard) as error:
        curate(what, manifest, open_context(what, "embedded"), store)
    assert str(error.value).startswith(f"{path}: was damaged")
    assert curate(what, manifest, open_context(what, "embedded"), store)[1] == ledger
    assert path.read_bytes() == whole


def test_a_damaged_table_of_the_edition(photos, store):
    what = recipe(photos)
    manifest, number, ledger = judged(what, store)
    path = store.path(manifest.rows[0], ".parquet")
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(CorruptShard, match="was damaged"):
        curate(what, manifest, open_context(what, "embedded"), store)
    assert built(what, store) == manifest
    assert path.read_bytes() == whole
    assert judged(what, store) == (manifest, number, ledger)


def release_of(manifest, ledger, store):
    return manifest.model_copy(update={"ledger": ledger})


def test_tables_of_other_pictures_are_refused(photos, store):
    what = recipe(photos)
    manifest, _, ledger = judged(what, store)
    from variorum.stages.curate import Columns

    swapped = Columns({"bright": ledger.measured["bright"][::-1]}, {})
    with pytest.raises(CorruptShard, match=r"this table of curate\.bright isn't of the edition's pictures"):
        score_step(what.curate[0], manifest, swapped, open_context(what, "embedded"), store)
    table = picture_table(manifest, store)
    assert add_columns(table, Columns({}, ledger.scored), "bright", store, vectors=False).num_rows == 12


def test_dropping_everything_is_refused(photos, store):
    with pytest.raises(RecipeError, match=r"would drop all 12 pictures \(bright too_bright: 12\).*--force"):
        judged(recipe(photos, drop=12), store)
    manifest, number, ledger = judged(recipe(photos, drop=12), store, force=True)
    empty = release(manifest, number, ledger, store)
    assert empty.shards == {}
    assert empty.counts == {"original": {"dropped:too_bright": 12}}
    assert verify(empty, store) == []


def test_a_verdict_on_a_picture_that_isnt_there(photos, store, monkeypatch):
    from variorum.curation.bright import Bright

    monkeypatch.setattr(Bright, "decide", lambda self, table: iter([Verdict("f" * 32, "", "drop", "bright", "gone")]))
    with pytest.raises(RecipeError, match=r"curate.bright: gave a verdict on f+, which is no picture"):
        judged(recipe(photos), store)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["bright", "bright"], "bright is there already"),
        (["dependent", "bright"], "dependent needs bright before it; put `- name: bright` higher up"),
    ],
)
def test_steps_come_once_and_after_what_they_read(photos, steps, message):
    data = recipe(photos).dump()
    with pytest.raises(RecipeError, match=message):
        Recipe.parse({**data, "curate": [{"name": name} for name in steps]})


def test_a_step_without_pictures_or_columns(photos, store):
    data = recipe(photos).dump()
    what = Recipe.parse({**data, "curate": [{"name": "bottom_ranked"}]})
    _, number, ledger = judged(what, store)
    assert (number, ledger.counts, ledger.measured, ledger.scored) == (1, {}, {}, {})


# ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_settling():
    def verdict(action, by="a", labels=(), value=0.5):
        return Verdict("1", "s", action, by, "r", labels, value)

    def action(*verdicts):
        return settle(verdicts)["1"].action

    assert action(verdict("keep"), verdict("review"), verdict("drop")) == "drop"
    assert action(verdict("drop"), verdict("review")) == "drop"
    assert action(verdict("relabel", labels=("x",)), verdict("review")) == "review"
    assert action(verdict("relabel", "a", ("x",)), verdict("relabel", "b", ("x",))) == "relabel"
    assert action(verdict("relabel", "a", ("x",)), verdict("relabel", "b", ("y",))) == "review"
    assert settle([verdict("weight"), verdict("weight", "b", value=0.4)])["1"].value == pytest.approx(0.2)
    assert settle([]) == {}


def test_the_review_queue_is_safe_and_in_order():
    table = pa.table(
        {
            "id": ["1", "2", "3", "4"],
            "sha256": ["a", "b", "c", "d"],
            "variant": ["original"] * 4,
            "labels": [["x"], ["y", "z"], None, ["x"]],
            "origin": ["=cmd()", "b,c.jpg", "c.jpg", "d.jpg"],
        }
    )
    verdicts = [
        Verdict("1", "a", "review", "s", "odd", value=0.1),
        Verdict("2", "b", "review", "s", "odd", value=0.9),
        Verdict("3", "c", "drop", "s", "odd"),
        Verdict("3", "c", "audit", "a", "drawn", value=0.5),
        Verdict("1", "a", "audit", "a", "drawn", value=0.5),
        Verdict("4", "d", "relabel", "s", "wrong", ("=y",)),
        Verdict("4", "d", "audit", "a", "drawn", value=0.25),
    ]
    assert {name: verdict.action for name, verdict in settle(verdicts).items()} == {
        "1": "review",
        "2": "review",
        "3": "drop",
        "4": "relabel",
    }
    lines = review_queue(verdicts, table).splitlines()
    assert lines == [
        "id,sha256,variant,labels,origin,by,reason,value,audit,new_labels",
        '2,b,original,y z,"b,c.jpg",s,odd,0.9,0,',
        "1,a,original,x,'=cmd(),s,odd,0.1,1,",
        "3,c,original,,c.jpg,a,drawn,0.5,1,",
        "4,d,original,x,d.jpg,a,drawn,0.25,1,'=y",
    ]
    assert plain("photo.jpg") == "photo.jpg"


def test_what_is_surest_to_be_wrong_is_asked_first():
    """By reason, as the rules stand in the recipe, whatever the numbers behind them are."""
    names = "abcdefgh"
    columns = {"id": list(names), "sha256": ["s"] * 8, "variant": ["v"] * 8, "labels": [["x"]] * 8, "origin": ["o"] * 8}
    verdicts = [
        Verdict("h", "s", "review", "bottom", "low_p"),
        Verdict("g", "s", "review", "bottom", "low_p"),
        Verdict("f", "s", "review", "policy", "two_labels"),
        Verdict("a", "s", "relabel", "policy", "wrong", ("x",)),
        Verdict("b", "s", "review", "policy", "doubtful", value=0.2),
        Verdict("c", "s", "review", "policy", "doubtful", value=0.9),
        Verdict("d", "s", "review", "policy", "foreign", value=53.0),
        Verdict("e", "s", "audit", "audit", "drawn", value=0.5),
        Verdict("a", "s", "relabel", "other", "wrong", ("y",)),
    ]
    lines = review_queue(verdicts, pa.table(columns)).splitlines()[1:]
    assert "".join(line[0] for line in lines) == "ahgfcbde"
    assert "labels_differ" in lines[0]


def test_peoples_answers_outlive_another_run(photos, store):
    """The same ledger again leaves its queue alone; a ledger whose queue was lost gets it back."""
    _, number, ledger = judged(recipe(photos, review=2), store)
    queue = Path(store.root) / "editions/d/1.0.0/ledgers/0001.review.csv"
    asked = queue.read_text()
    assert len(asked.splitlines()) == 3
    answered = asked.replace("\n", ",wrong\n", 1)
    queue.write_text(answered)
    assert judged(recipe(photos, review=2), store)[1:] == (number, ledger)
    assert queue.read_text() == answered
    queue.unlink()
    judged(recipe(photos, review=2), store)
    assert queue.read_text() == asked


# ── releasing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_release_drops_relabels_and_copies_the_rest(photos, store):
    manifest, made = released(recipe(photos, drop=2, relabel=1, review=1), store)
    assert made.version == "1.0.0-r1"
    before, after = samples(manifest, store), samples(made, store)
    old, new = rows(manifest, store), rows(made, store)
    dropped = {name for name, row in new.items() if row["status"] == "dropped"}
    relabelled = {name for name, row in new.items() if row.get("action") == "relabel"}
    assert len(dropped) == 2
    assert len(relabelled) == 1
    assert set(after) == set(before) - dropped
    for name, members in after.items():
        changed = {ending for ending in members if members[ending] != before[name][ending]}
        assert changed <= ({"json", "cls"} if name in relabelled else set())
    (name,) = relabelled
    record = json.loads(after[name]["json"])
    assert record["labels"] == ["chelsea"]
    assert {key: value for key, value in record.items() if key != "labels"} == {
        key: value for key, value in json.loads(before[name]["json"]).items() if key != "labels"
    }
    assert after[name]["cls"] == b"%d" % [class_id for class_id, _ in made.classes].index("chelsea")
    assert new[name]["labels"] == ["chelsea"]
    assert {row["why"] for row in new.values() if row.get("action") == "review"} == {"odd"}
    assert all(new[name]["sha256"] == old[name]["sha256"] for name in old)
    assert made.counts == {"original": {"accepted": 10, "dropped:too_bright": 2}}
    assert sum(made.licences.values()) == 10
    assert verify(made, store) == []
    assert verify(manifest, store) == []


def test_untouched_shards_keep_their_names(photos, store):
    manifest, made = released(recipe(photos, drop=1), store)
    same = [a == b for a, b in zip(manifest.shards["test"], made.shards["test"], strict=True)]
    assert sorted(same) == [False, True, True]
    assert sorted(a == b for a, b in zip(manifest.rows, made.rows, strict=True)) == [False, True, True]


def test_a_release_is_made_once(photos, store):
    manifest, number, ledger = judged(recipe(photos, drop=1), store)
    first = release(manifest, number, ledger, store, workers=1)
    objects = {path: path.stat().st_ino for path in Path(store.root).glob("objects/*")}
    assert release(manifest, number, ledger, store, workers=3) == first
    assert {path: path.stat().st_ino for path in Path(store.root).glob("objects/*")} == objects


def test_members_that_a_step_adds(photos, store):
    manifest, made = released(recipe(photos, notes=True), store)
    assert made.members == sorted([*manifest.members, "note.txt"])
    before, after = samples(manifest, store), samples(made, store)
    assert {members.pop("note.txt") for members in after.values()} == {b"rank %d" % place for place in range(11)}
    assert all(after[name] == before[name] for name in after)
    assert verify(made, store) == []


@pytest.mark.parametrize("measured", [False, True])
def test_a_unit_reads_its_own_stretch_of_what_is_added(photos, store, measured, monkeypatch):
    from variorum.curation.bright import Bright

    if measured:
        kept = Bright.measure

        def measure(self, samples, ctx):
            for sample, row in zip(samples, kept(self, samples, ctx), strict=True):
                yield {**row, "note": sample.id.encode()}

        monkeypatch.setattr(Bright, "measure", measure)
    monkeypatch.setattr("variorum.stages.measure.GROUP", 3)  # units of 4 begin and end within groups
    manifest, number, ledger = judged(recipe(photos, notes=not measured), store)
    assert ledger.members == {"note.txt": "bright.note"}
    for part in plan_release(manifest, ledger, store):
        table = read_table(store, [part.receipt.rows])
        content = added_content(ledger, part, store)["note.txt"]
        assert list(content) == table.column("id").to_pylist()
    made = release(manifest, number, ledger, store)
    notes = {key: members["note.txt"] for key, members in samples(made, store).items()}
    if measured:
        assert notes == {key: key.encode() for key in notes}
    else:
        assert sorted(int(note.split()[1]) for note in notes.values()) == list(range(11))
    assert verify(made, store) == []


def test_what_is_added_comes_with_every_picture_or_with_none(photos, store, monkeypatch):
    from variorum.curation.bright import Bright

    kept = Bright.measure

    def measure(self, samples, ctx):  # of one shard all, of the others none
        for sample, row in zip(samples, kept(self, samples, ctx), strict=True):
            yield {**row, "note": b"x" if sample.labels == ("coffee",) else None}

    monkeypatch.setattr(Bright, "measure", measure)
    with pytest.raises(RecipeError, match="note must have content for every picture, or for none"):
        judged(recipe(photos), store)


def test_stale_verdicts_are_refused(photos, store):
    manifest, _, ledger = judged(recipe(photos, drop=2), store)
    from variorum.edition.ledgers import keep_verdicts

    verdicts = read_verdicts(ledger, store)
    stale = [replace(verdicts[0], sha256="0" * 64), replace(verdicts[1], id="e" * 32)]
    forged = ledger.model_copy(update={"verdicts": keep_verdicts(stale, store)})
    with pytest.raises(StoreError, match=r"2 verdicts on d@1.0.0: 1 name pictures that aren't in it, 1 a picture that"):
        plan_release(manifest, forged, store)


def test_a_label_that_is_no_class(photos, store):
    manifest, number, ledger = judged(recipe(photos, relabel=1, to="unicorn"), store)
    with pytest.raises(StoreError, match=r"\['unicorn'\] is no class of the edition"):
        release(manifest, number, ledger, store)


def test_a_ledger_of_an_edition_that_moved(photos, store, tmp_path):
    what = recipe(photos)
    dev = Recipe.parse({**what.dump(), "version": "1.0.0-dev"})
    judged(dev, store)
    moved = Recipe.parse({**dev.dump(), "limit": 8})
    manifest = built(moved, store)
    with pytest.raises(StoreError, match=r"ledger 1 of d@1\.0\.0-dev judges another edition"):
        read_ledger(manifest, store)
    assert curate(moved, manifest, open_context(moved, "embedded"), store)[0] == 2
    with pytest.raises(StoreError, match="no ledger 7; there are: 1, 2"):
        read_ledger(manifest, store, 7)


def test_models_that_curated_may_not_judge(photos, store):
    manifest, number, ledger = judged(recipe(photos), store)
    pin = open_context(recipe(photos), "embedded").models.pin("classifier_small")
    made = release(manifest, number, ledger.model_copy(update={"models": {"classifier_small": pin}}), store)
    what = Recipe.parse(
        {**recipe(photos).dump(), "evaluate": [{"name": "accuracy_drop", "classifiers": ["classifier_small"]}]}
    )
    ctx = open_context(what, "embedded")
    check_judges(what.evaluate[0], manifest, ctx)
    with pytest.raises(RecipeError, match="classifier_small"):
        check_judges(what.evaluate[0], made, ctx)


# ── going back ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rollback_restores_the_digest(photos, store):
    manifest, first = released(recipe(photos, drop=1), store)
    assert current(manifest, store) == first
    _, second = released(recipe(photos, drop=4), store)
    assert second.version == "1.0.0-r2"
    assert find_edition("d", store) == second
    assert find_edition("d@1.0.0", store) == manifest
    for shard in first.shards["test"]:
        if shard not in manifest.shards["test"] and shard not in second.shards["test"]:
            store.path(shard).unlink()
    assert verify(first, store) != []
    again = rollback(manifest, store)
    assert again.digest() == first.digest()
    assert verify(again, store) == []
    assert find_edition("d", store) == first
    assert rollback(manifest, store, 2) == second
    rollback(manifest, store)
    with pytest.raises(StoreError, match=r"no release before 1.0.0-r1; there are: 1, 2"):
        rollback(manifest, store)
    with pytest.raises(StoreError, match="has no release 5"):
        rollback(manifest, store, 5)


def test_rollback_passes_over_releases_of_what_the_edition_was(photos, store):
    dev = {**recipe(photos).dump(), "version": "1.0.0-dev"}

    def dropping(number: int, **more):
        return Recipe.parse({**dev, **more, "curate": [{"name": "bright", "drop": number}]})

    before = released(dropping(1), store)[1]
    released(dropping(2, limit=8), store)
    manifest, last = released(dropping(3, limit=8), store)
    assert last.version == "1.0.0-dev-r3"
    assert rollback(manifest, store).version == "1.0.0-dev-r2"
    with pytest.raises(StoreError, match=r"no release before 1\.0\.0-dev-r2; there are: 2, 3; of what .* moved: 1$"):
        rollback(manifest, store)
    with pytest.raises(StoreError, match=r"release 1 is of what d@1\.0\.0-dev was .*d@1\.0\.0-dev-r1"):
        rollback(manifest, store, 1)
    assert find_edition("d@1.0.0-dev-r1", store) == before
    assert verify(before, store) == []


def test_diff_says_what_and_why(photos, store):
    manifest, made = released(recipe(photos, drop=2, relabel=1), store)
    changes = diff(manifest, made, store)
    assert change_counts(changes) == [
        ("dropped", "bright: too_bright", 2),
        ("relabelled", "bright: dark_is_a_cat", 1),
    ]
    assert [change.after for change in changes if change.kind == "relabelled"] == [("chelsea",)]
    back = diff(made, manifest, store)
    assert [kind for kind, *_ in change_counts(back)] == ["added", "relabelled"]
    assert {why for kind, why, _ in change_counts(back) if kind == "added"} == {"bright: too_bright"}
    assert diff(made, made, store) == []


# ── exactly once ─────────────────────────────────────────────────────────────────────────────────────────────────────

WORKER = """
import sys
sys.path.append(sys.argv[1])
from pathlib import Path
from variorum.schemas.recipe import Recipe
from variorum.stages.context import open_context
from variorum.stages.curate import curate
from variorum.stages.build import build
from variorum.stages.measure import measure_key
from variorum.stages.release import release
from variorum.edition.store import Store
import json
what = Recipe.parse(json.loads(sys.argv[3]))
store, ctx = Store(sys.argv[2]), open_context(what, "embedded")
manifest = build(what, ctx, store, profile="embedded")
number, ledger = curate(what, manifest, ctx, store, workers=2)
print(release(manifest, number, ledger, store, workers=2).digest())
"""


def command(what: Recipe, url: str) -> list[str]:
    plugins = str(Path(__file__).parents[1] / "plugins")
    return [sys.executable, "-c", WORKER, plugins, url, json.dumps(what.dump())]


def test_killed_at_any_moment_and_run_again(photos, tmp_path):
    what = recipe(photos, drop=2, relabel=2)
    _, made = released(what, Store(str(tmp_path / "whole")))
    url, log = str(tmp_path / "killed"), tmp_path / "log"
    built(what, Store(url))
    environment = {**os.environ, "PROBE_SECONDS": "0.1", "PROBE_LOG": str(log)}
    clock = random.Random(5)
    for _ in range(4):
        process = subprocess.Popen(command(what, url), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not log.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(clock.uniform(0.1, 0.9))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        log.unlink(missing_ok=True)
    manifest, ctx, store = find_edition("d@1.0.0", Store(url)), open_context(what, "embedded"), Store(url)
    shards = manifest.shards["test"]
    left = [shard for shard in shards if not store.measure(measure_key(shard, what.curate[0], ctx))]
    done = subprocess.run(command(what, url), env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == made.digest()
    assert len(log.read_text().split() if log.exists() else []) == sum(shard.samples for shard in left)
    objects = [path for path in Path(url).glob("objects/*") if hash_file(path) != path.name.partition(".")[0]]
    assert objects == []


def test_two_racing_runs_agree(photos, tmp_path):
    what = recipe(photos, drop=2, relabel=2)
    url = str(tmp_path / "raced")
    processes = [subprocess.Popen(command(what, url), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = {process.communicate()[0].strip() for process in processes}
    assert len(digests) == 1
    assert digests == {released(what, Store(str(tmp_path / "alone")))[1].digest()}
