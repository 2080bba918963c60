"""Publishing a panel and opening it: what is stored, what is refused, and what survives a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
import small_store
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.machine.progress import Progress
from variorum.people.panel import loading
from variorum.people.panel.collected import votes_of
from variorum.people.panel.dispatch import next_tasks
from variorum.people.panel.panel import newest_ledger, open_panel, publish, published, read_questions
from variorum.people.panel.settings import Settings
from variorum.people.votes.ballots import cast, join
from variorum.people.votes.database import ADDED, panels, questions, reading, tasks, writing
from variorum.pipeline import Job, run
from variorum.schemas.errors import RecipeError, SourceError, StoreError
from variorum.schemas.recipe import Recipe
from variorum.schemas.vote import Vote, question_key

ALL = Settings(kinds=("label", "copy", "edit", "box", "safe"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return small_store.make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path / "store", symlinks=True)
    return Store(str(tmp_path / "store"))


@pytest.fixture
def small(store):
    return resolve("small@1.0.0", store)


def test_people_are_asked_about_the_edition_and_not_its_release(store):
    with pytest.raises(StoreError, match=r"small@1\.0\.0-r1 is a release; .*: variorum review small@1\.0\.0$"):
        publish(resolve("small@1.0.0-r1", store), store, Settings())


def panel_folder(store):
    return Path(store.root, "panels/small/1.0.0/main")


def held(panel):
    """What the database has: keys of questions by task, and the panel's row."""
    with reading(panel.engine) as connection:
        rows = connection.execute(select(questions.c.task, questions.c.question)).all()
        row = connection.execute(select(panels)).mappings().one()
        number = connection.execute(select(func.count()).select_from(tasks)).scalar_one()
    return sorted(map(tuple, rows)), number, row


def wanted(table):
    return sorted(
        (row["task"], question_key(row["kind"], row["id"], row["sha256"], row["subject"])) for row in table.to_pylist()
    )


def test_published_and_opened(store, small):
    record = publish(small, store, ALL)
    table = read_questions(record, store)
    assert record.key == "small@1.0.0/main"
    assert record.edition == small.digest()
    assert record.ledger == newest_ledger(small, store)[1].digest()
    assert record.counts["questions"] == len(table)
    assert set(table["kind"].to_pylist()) == set(ALL.kinds) - {"copy"}  # no picture has one
    assert published(small, store) == record
    panel = open_panel(small, store)
    assert panel.key == record.key
    found, number, row = held(panel)
    assert found == wanted(table)
    assert number == record.counts["tasks"]
    assert (row["edition"], row["questions"], row["paused"]) == (record.edition, record.questions, False)
    assert (panel_folder(store) / "votes.sqlite").is_file()
    before = held(open_panel(small, store))
    assert before == (found, number, row)  # nothing is loaded twice


def test_the_same_again_is_the_same_to_the_byte(store, small, tmp_path):
    first = publish(small, store, ALL)
    times = {path: path.stat().st_mtime_ns for path in panel_folder(store).iterdir()}
    assert publish(small, store, ALL) == first
    assert {path: path.stat().st_mtime_ns for path in panel_folder(store).iterdir()} == times
    shutil.rmtree(panel_folder(store))
    assert publish(small, store, ALL) == first


def test_other_settings_need_another_name(store, small):
    publish(small, store, ALL)
    with pytest.raises(StoreError, match=r"votes 5 instead of 3.*--name"):
        publish(small, store, ALL.model_copy(update={"votes": 5}))
    other = publish(small, store, ALL.model_copy(update={"votes": 5}), name="five")
    assert other.key == "small@1.0.0/five"
    both = open_panel(small, store, name="five", database=str(panel_folder(store) / "both.sqlite"))
    open_panel(small, store, database=str(panel_folder(store) / "both.sqlite"))
    with reading(both.engine) as connection:
        found = connection.execute(select(tasks.c.panel, tasks.c.wanted).distinct()).all()
    assert sorted(map(tuple, found)) == [("small@1.0.0/five", 5), ("small@1.0.0/main", 3)]


@pytest.mark.parametrize("name", ["", "Main", "../x", "a/b", ".", "a" * 65, "a b", "ä"])
def test_odd_names_are_refused(store, small, name):
    with pytest.raises(RecipeError, match="a name has lower-case letters"):
        publish(small, store, ALL, name=name)


def test_no_panel_yet(store, small):
    assert published(small, store) is None
    with pytest.raises(StoreError, match=r"small@1\.0\.0 has no panel main; publish one with: variorum review"):
        open_panel(small, store)


def test_a_damaged_file_is_refused(store, small):
    record = publish(small, store, ALL)
    (file,) = panel_folder(store).glob("questions-*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    for ask in (read_questions, lambda *_: open_panel(small, store), lambda *_: publish(small, store, ALL)):
        with pytest.raises(StoreError, match="its content has changed since it was published"):
            ask(record, store)
    file.unlink()
    with pytest.raises(StoreError, match="no such file"):
        open_panel(small, store)


@pytest.mark.parametrize("change", [b"{", b"[]", None])
def test_a_damaged_record_is_refused(store, small, change):
    publish(small, store, ALL)
    file = panel_folder(store) / "panel.json"
    if change is None:
        content = json.loads(file.read_text())
        content["settings"]["votes"] = 1
        change = json.dumps(content).encode()
    file.write_bytes(change)
    for ask in (published, open_panel, lambda *_: publish(small, store, ALL)):
        with pytest.raises(StoreError, match=r"panel\.json: .*publish again"):
            ask(small, store)


def test_another_panels_record_is_refused(store, small):
    publish(small, store, ALL)
    publish(small, store, ALL, name="other")
    shutil.copy(panel_folder(store) / "panel.json", panel_folder(store).parent / "other/panel.json")
    with pytest.raises(StoreError, match=r"it is that of panel small@1\.0\.0/main"):
        published(small, store, name="other")


def test_an_edition_that_has_changed_is_refused(store, small):
    publish(small, store, ALL)
    changed = small.model_copy(update={"fingerprint": "0" * 64})
    for ask in (open_panel, lambda *_: publish(changed, store, ALL)):
        with pytest.raises(StoreError, match="another state of the edition"):
            ask(changed, store)


def test_a_database_with_other_questions_is_refused(store, small, tmp_path):
    database = str(tmp_path / "votes.sqlite")
    publish(small, store, ALL)
    open_panel(small, store, database=database)
    shutil.rmtree(panel_folder(store))
    publish(small, store, Settings())
    with pytest.raises(StoreError, match=r"votes\.sqlite has other questions under the name small@1\.0\.0/main"):
        open_panel(small, store, database=database)


def test_a_remote_store_needs_a_database(made, tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(made), "/asked/store", recursive=True)
    remote = Store("memory://asked/store")
    small = resolve("small@1.0.0", remote)
    record = publish(small, remote, ALL)
    assert read_questions(record, remote).num_rows == record.counts["questions"]
    with pytest.raises(StoreError, match=r"panel main can't lie in it; name a database with --database"):
        open_panel(small, remote)
    panel = open_panel(small, remote, database=str(tmp_path / "votes.sqlite"))
    assert held(panel)[0] == wanted(read_questions(record, remote))


def test_nothing_to_ask_says_so(store):
    other = resolve("other@1.0.0", store)
    bare = other.model_copy(update={"classes": [("zebra", "zebra")]})
    with pytest.raises(StoreError, match=r"nothing to ask about label: of its pictures, .*have no label.*unsafe$"):
        publish(bare, store, Settings())


def test_gold_that_is_missing_is_refused(store, small, tmp_path):
    with pytest.raises(SourceError, match=r"gold .*none\.csv can't be read"):
        publish(small, store, ALL, gold=tmp_path / "none.csv")


def test_gold_is_part_of_the_panel(store, small, tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text("origin,label,truth\n1.png,circle,yes\n2.jpg,square,no\n")
    record = publish(small, store, Settings(gold=0.3), gold=gold)
    assert record.counts["gold"] - record.counts["gold_presumed"] == 2
    assert record.counts["gold_yes"] == 1
    assert publish(small, store, Settings(gold=0.3)) == record  # goes on with what it has
    panel = open_panel(small, store)
    asked = read_questions(panel, store).to_pylist()
    said = [
        Vote(str(uuid.uuid4()), one["kind"], one["id"], one["sha256"], one["subject"], "Ann", "unclear")
        for one in asked
    ]
    join(panel.engine, panel.key, "Ann", 1.0)
    cast(panel.engine, panel.key, said, 1.0)
    known = [one["truth"] if one["why"] == "gold" and not one["presumed"] else "" for one in asked]
    assert sorted(filter(None, known)) == ["no", "yes"]
    assert votes_of(panel)["truth"].to_pylist() == known  # in the order in which they were cast
    panel.engine.dispose()
    gold.write_text("origin,label,truth\n1.png,circle,yes\n")
    with pytest.raises(StoreError, match="published with other settings"):
        publish(small, store, Settings(gold=0.3), gold=gold)


def answered(panel):
    """Keys of the questions that ann is asked until there are none; she answers them all."""
    found = set()
    while given := next_tasks(panel.engine, panel.key, "ann", number=50, now=1.0):
        for task in given:
            said = [
                Vote(str(uuid.uuid4()), task.kind, task.id, task.sha256, one.subject, "ann", "yes")
                for one in task.questions
            ]
            assert {one.state for one in cast(panel.engine, panel.key, said, 1.0)} == {"kept"}
            found |= {one.question for one in task.questions}
    return found


def test_a_new_ledger_adds_questions_and_repeats_none(made, tmp_path):
    shutil.copytree(made, tmp_path / "store", symlinks=True)
    store = Store(str(tmp_path / "store"))
    small = resolve("small@1.0.0", store)
    plain = Settings(gold=0, agreed=0)
    first = publish(small, store, plain)
    panel = open_panel(small, store)
    before = held(panel)[0]
    join(panel.engine, panel.key, "ann", 1.0)
    assert {key for _, key in before} == answered(panel)
    with writing(panel.engine, panel.key) as connection:  # made for a label that somebody typed in
        row = connection.execute(select(tasks).limit(1)).mappings().one()
        connection.execute(insert(tasks), {**row, "task": ADDED})
    assert not answered(panel)
    fields = small_store.recipe(made.parent)
    fields["curate"][2]["relabel"] = 5  # to a class that some of them don't have
    run(Job(Recipe.parse(fields), str(tmp_path / "store")))
    assert newest_ledger(small, store)[1].digest() != first.ledger
    second = publish(small, store, plain)
    assert second.earlier == (first.questions,)
    old, new = read_questions(first, store), read_questions(second, store)
    assert new.slice(0, len(old)).equals(old)
    assert len(set(wanted(new))) == len(new)
    assert len(new) > len(old)
    again = open_panel(small, store)
    after = held(again)
    assert after[0] == wanted(new)
    assert answered(again) == {key for _, key in wanted(new.slice(len(old)))}
    assert set(before) <= set(after[0])
    assert after[2]["questions"] == second.questions
    assert publish(small, store, plain) == second


LOADS = """
import sys
from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.machine.progress import Progress
from variorum.people.panel import loading
from variorum.people.panel.dispatch import next_tasks
from variorum.people.panel.panel import open_panel

class Slow(Progress):
    def advance(self, steps):
        print(steps, flush=True)
        sys.stdin.readline()

loading.PIECE = 5
store = Store(sys.argv[1])
open_panel(resolve("small@1.0.0", store), store, progress=Slow())
"""


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_loading_that_is_killed_goes_on(store, small, pieces):
    record = publish(small, store, ALL)
    command = [sys.executable, "-c", LOADS, store.root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(pieces):
            assert int(process.stdout.readline()) >= 5
            process.stdin.write("\n")
            process.stdin.flush()
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    told = []

    class Told(Progress):
        def start(self, what, total, done=0):
            told.append((what, total, done))

    panel = open_panel(small, store, progress=Told())
    assert held(panel)[0] == wanted(read_questions(record, store))
    ((what, total, done),) = told
    assert (what, total) == ("loading questions", record.counts["questions"])
    assert 5 * pieces <= done < total


def test_a_panel_that_is_half_loaded_is_not_taken_for_a_whole_one(store, small, monkeypatch):
    record = publish(small, store, ALL)
    monkeypatch.setattr(loading, "PIECE", 5)
    calls = []

    class Stops(Progress):
        def advance(self, steps):
            calls.append(steps)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_panel(small, store, progress=Stops())
    started = time.time()
    panel = open_panel(small, store)
    found, _, row = held(panel)
    assert found == wanted(read_questions(record, store))
    assert row["made"] >= started - 1


@given(st.lists(st.tuples(*[st.text(max_size=12)] * 4), min_size=1, max_size=5))
def test_keys_made_at_once_are_those_of_single_questions(rows):
    names = ("kind", "id", "sha256", "subject")
    table = pa.table(
        {name: pa.array(column, pa.string()) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )
    assert loading.question_keys(table) == [question_key(*row) for row in rows]


def test_pieces_hold_whole_tasks(store, small, monkeypatch):
    monkeypatch.setattr(loading, "PIECE", 3)
    table = read_questions(publish(small, store, ALL), store)
    parts = list(loading.pieces(table))
    assert sum(map(len, parts)) == len(table)
    assert len(parts) > 3
    for one, other in pairwise(parts):
        assert one["task"][-1] != other["task"][0]


def test_settings_that_cannot_be():
    for fields in ({"kinds": ()}, {"kinds": ("label", "label")}, {"kinds": ("problem",)}, {"votes": 0}, {"gold": 0.5}):
        with pytest.raises(ValueError, match=r"kinds|votes|gold"):
            Settings(**fields)


class BothLookFirst(Store):
    """A store in which two organisers have both seen that there is no panel before either publishes one."""

    looked = threading.Barrier(2)

    def read(self, name):
        found = super().read(name)
        if name.endswith("panel.json") and found is None:
            self.looked.wait(30)
        return found


@pytest.mark.parametrize("votes", [(2, 3), (2, 2)])
def test_of_two_organisers_who_publish_at_once_one_hears_of_the_other(store, votes):
    stores = [BothLookFirst(store.root) for _ in votes]

    def ask(place):
        try:
            return publish(resolve("small@1.0.0", stores[place]), stores[place], Settings(votes=votes[place]))
        except StoreError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(ask, range(2)))
    record = published(resolve("small@1.0.0", store), store)
    assert record in ended
    if votes[0] == votes[1]:
        assert ended == [record, record]
    else:
        (said,) = (one for one in ended if one != record)
        assert f"votes {5 - record.settings.votes} instead of {record.settings.votes}" in said
