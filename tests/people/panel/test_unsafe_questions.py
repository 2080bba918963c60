"""Questions about categories of unsafe pictures: from what labelers leave open to people's votes and a release."""

import json
import uuid

import pyarrow as pa
import pytest
from asked_pictures import drawn, pictures_of
from coloured_shapes import recipe, shapes

from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.people.panel.controls import read_gold
from variorum.people.panel.dispatch import next_tasks
from variorum.people.panel.panel import open_panel, publish, read_questions
from variorum.people.panel.queue import questions_of
from variorum.people.panel.settings import Settings
from variorum.people.panel.unsafe import category_names
from variorum.people.server.requests import Next
from variorum.people.server.served import Served
from variorum.people.votes.ballots import cast, counted, join
from variorum.people.votes.files import write_votes
from variorum.people.votes.label_studio import write_table
from variorum.pipeline import Job, build, curate, release
from variorum.schemas.errors import CorruptShard, RecipeError, SourceError
from variorum.schemas.recipe import Recipe
from variorum.schemas.vote import Vote
from variorum.stages.score import curated_table

UNSAFE = Settings(kinds=("unsafe",), gold=0, agreed=0)


def asked(texts, **more):
    columns = {
        **drawn(len(texts), 3, 0),
        "safety.ask": texts,
        "safety.state.red": [""] * len(texts),
        "safety.state.blue": [""] * len(texts),
    }
    return questions_of(pictures_of(columns, 3), Settings(kinds=("unsafe",), gold=0, agreed=0, **more)).to_pylist()


def test_the_questions_are_those_of_the_column_by_worth():
    found = asked(['[["red", 0.3], ["blue", 0.9]]', "[]", '[["red", 1.0], ["gone", 1.0]]', "", '[["blue", 0.5]]'])
    tasks = [[row["subject"] for row in found if row["task"] == task] for task in range(3)]
    assert tasks == [["red"], ["blue", "red"], ["blue"]]
    assert [round(row["worth"], 2) for row in found] == [1.0, 0.9, 0.3, 0.5]
    assert {row["why"] for row in found} == {"asked"}
    assert len(asked(['[["red", 0.3], ["blue", 0.9]]', '[["red", 1.0]]'], budget=1)) == 1


@pytest.mark.parametrize(
    "text", ["red", "[1]", '[["red"]]', '[["red", -1]]', '[["red", "1"]]', '[["red", NaN]]', "[[["]
)
def test_another_text_is_refused(text):
    with pytest.raises(CorruptShard, match=r"the column safety.ask holds something else"):
        asked([text])


def test_known_answers_are_controls(tmp_path):
    columns = {
        **drawn(20, 3, 0),
        "safety.ask": ['[["red", 0.5]]'] * 10 + ["[]"] * 10,
        "safety.state.red": [""] * 20,
        "safety.state.blue": [""] * 20,
    }
    pictures, settings = pictures_of(columns, 3), Settings(kinds=("unsafe",), gold=0.1, agreed=0)
    lines = ["kind,origin,subject,truth", "unsafe,15.jpg,blue,yes", "unsafe,16.jpg,red,no", "label,16.jpg,c1,no"]
    (tmp_path / "gold.csv").write_text("\n".join(lines))
    found = questions_of(pictures, settings, read_gold(tmp_path / "gold.csv")).to_pylist()
    controls = {(row["subject"], row["truth"]) for row in found if row["why"] == "gold"}
    assert controls == {("blue", "yes"), ("red", "no")}
    assert len(found) == 12
    (tmp_path / "gold.csv").write_text("kind,origin,subject,truth\nunsafe,15.jpg,gone,yes")
    with pytest.raises(SourceError, match="'gone' is no subject of a question of kind unsafe"):
        questions_of(pictures, settings, read_gold(tmp_path / "gold.csv"))


def test_an_edition_that_safety_has_not_seen():
    with pytest.raises(RecipeError, match=r"need the column safety.ask, and the edition hasn't been curated"):
        questions_of(pictures_of(drawn(3, 3, 0), 3), UNSAFE)


def test_names_come_from_the_ledger():
    assert category_names(None)["self_harm"].startswith("self-harm (suicide")

    class Ledger:
        curate = ({"name": "safety", "categories": [{"id": "red", "name": "Red", "definition": "d" * 999}, {"id": 1}]},)

    assert category_names(Ledger)["red"].startswith("Red (ddd")
    assert len(category_names(Ledger)["red"]) == 200


def test_from_labels_to_people_to_a_release(tmp_path, monkeypatch):
    monkeypatch.setenv("LOG_OF_CALLS", str(tmp_path / "log"))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    shapes(tmp_path, 9)
    # the second is unsure of blue, and knows nothing red
    labelers = [{"label": "a", "speaks": ["red", "blue"]}, {"label": "b", "speaks": ["blue"], "threshold": 0.99}]
    store = Store(str(tmp_path / "store"))
    job = Job(Recipe.parse(recipe(tmp_path, labelers)), store)
    manifest = build(job)
    _, ledger = curate(job, manifest)
    assert ledger.counts["withhold"] == {"unsafe": 3}
    assert ledger.counts["review"] == {"unclear": 3}
    figures = ledger.figures["safety"]["categories"]
    assert [figures[name]["unsafe"] for name in ("red", "green", "blue")] == [3, 0, 0]
    assert (figures["green"]["unscored"], figures["blue"]["unclear"]) == (9, 3)
    calls = (tmp_path / "log").read_text()

    publish(manifest, store, UNSAFE)
    panel = open_panel(manifest, store)
    assert {(row["subject"], round(row["worth"], 2)) for row in read_questions(panel, store).to_pylist()} == {
        ("blue", 0.81)
    }
    served = Served.of(panel, {})
    join(panel.engine, panel.key, "ann", 1.0)
    (task, *_) = next_tasks(panel.engine, panel.key, "ann", number=1, now=1.0)
    assert served._shown(task)["questions"][0]["name"] == "blue (a shape that is blue)"
    for who in ("bob", "cem"):
        join(panel.engine, panel.key, who, 1.0)
        for one in next_tasks(panel.engine, panel.key, who, number=9, now=1.0):
            votes = [Vote(str(uuid.uuid4()), "unsafe", one.id, one.sha256, "blue", who, "yes")]
            assert [result.state for result in cast(panel.engine, panel.key, votes, 1.0)] == ["kept"]
    table = counted(panel.engine, panel.key)
    write_votes(table, tmp_path / "votes.parquet")
    write_table(table, tmp_path / "tasks.json")
    text = json.loads((tmp_path / "tasks.json").read_text())[0]["data"]["questions"][0]["text"]
    assert text == "Is the picture unsafe in this way: blue?"

    again = recipe(tmp_path, labelers, votes=str(tmp_path / "votes.parquet"))
    job = Job(Recipe.parse(again), store)
    number, ledger = curate(job, manifest)
    assert number == 2
    assert ledger.figures["safety"]["categories"]["blue"]["unsafe"] == 3
    assert ledger.figures["safety"]["pictures"]["policy_only"] == 3
    assert "review" not in ledger.counts
    assert (tmp_path / "log").read_text() == calls  # nobody is asked again
    seen = curated_table(manifest, ledger, ["safety"], store)
    assert sorted(seen["safety.state.blue"].tolist()) == ["not_found"] * 6 + ["unsafe"] * 3
    assert set(seen["safety.state.green"].tolist()) == {"unscored"}

    released = release(job, manifest, number, ledger)
    rows = read_table(store, released.rows, ["id", "status"]).to_pylist()
    assert sum(row["status"] == "withheld" for row in rows) == 3
    members = {}
    for info in (shard for group in released.shards.values() for shard in group):
        for key, sample in read_shard(store.path(info)):
            members[key] = json.loads(sample["safety.json"])
    assert len(members) == 6
    states = pa.array([one["state"] for one in members.values()]).flatten().to_pylist()
    assert states.count("unscored") == 6
    assert sum(one["unsafe"] == ["blue"] and one["policy_only"] for one in members.values()) == 3

    hidden = next(row["id"] for row in rows if row["status"] == "withheld")
    assert Served.of(panel, {}).pictures.row(hidden) is None


def test_a_picture_that_a_newer_ledger_withholds_is_shown_to_nobody_though_it_was_asked_about(tmp_path, monkeypatch):
    monkeypatch.setenv("LOG_OF_CALLS", str(tmp_path / "log"))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    shapes(tmp_path, 9)
    labelers = [{"label": "a", "speaks": ["blue"]}, {"label": "b", "speaks": ["blue"], "threshold": 0.99}]
    fields, store = recipe(tmp_path, labelers), Store(str(tmp_path / "store"))
    job = Job(Recipe.parse(fields), store)
    manifest = build(job)
    curate(job, manifest)
    publish(manifest, store, UNSAFE)
    panel = open_panel(manifest, store)
    asked = read_questions(panel, store)["id"].to_pylist()
    gone = asked[:2]
    hashes = dict(zip(*(read_table(store, manifest.rows)[name].to_pylist() for name in ("id", "sha256")), strict=True))
    (tmp_path / "list.txt").write_text("".join(f"{hashes[one]}\n" for one in gone))
    fields["curate"].append({"name": "opt_out", "list": str(tmp_path / "list.txt")})
    _, ledger = curate(Job(Recipe.parse(fields), store), manifest)
    assert ledger.counts["withhold"] == {"opt_out": 2}

    panel = open_panel(manifest, store)
    served = Served.of(panel, {})
    assert all(served.pictures.row(one) is None for one in gone)
    join(panel.engine, panel.key, "ann", 1.0)
    tasks = served.next("ann", Next(number=1))["tasks"]
    assert [task["picture"]["id"] for task in tasks] == asked[2:]
    assert served.next("ann", Next(number=1, holding=[tasks[0]["task"]]))["tasks"] == []


def test_an_edition_without_pictures_is_curated(tmp_path, monkeypatch):
    monkeypatch.setenv("LOG_OF_CALLS", str(tmp_path / "log"))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    fields = recipe(tmp_path, [{"speaks": ["red"]}]) | {"max_failure_rate": 1}
    job = Job(Recipe.parse(fields), Store(str(tmp_path / "store")))
    manifest = build(job)
    released = release(job, manifest, *curate(job, manifest))
    assert released.counts["original"] == {"failed:truncated": 1}
    assert not (tmp_path / "log").exists()
