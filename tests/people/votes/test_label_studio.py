"""Tasks for Label Studio and its exports. The files in `data` were written by label-studio-sdk's own converter."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from small_panels import CLASSES, NOW, PANEL, ballot, make_panel, question
from test_vote_files import same

from variorum.people.votes.ballots import cast, counted, recount
from variorum.people.votes.database import open_database
from variorum.people.votes.files import import_votes, read_votes, write_votes
from variorum.people.votes.label_studio import candidates, read_export, write_export
from variorum.schemas.errors import SourceError, StoreError

DATA = Path(__file__).parent / "data"
IMAGES = "https://pictures.example/{id}.png?v={sha256}"
NAMES = {"Grey heron": "heron", "White stork": "stork", "Crane": "crane"}
FIELDS = ("id", "kind", "subject", "reviewer", "answer")


def voted(engine) -> list:
    given = [
        ballot("ann", seconds=3.5, comment='=1, "quoted"\nüber'),
        ballot("ann", "stork", "no", category="fine_grained", severity="minor", seconds=2),
        ballot("=ben", answer="unclear"),
        ballot("=ben", "stork", "no"),
        ballot("=ben", "", kind="problem", reason="collage", number=1),
        ballot("ann", "0", "no", kind="box", box=(1, 2, 3.5, 4)),
        ballot("Zoë", "heron", number=2),
        ballot("Zoë", "heron", "no", round=2),
    ]
    results = [*cast(engine, PANEL, given[:-1], NOW), *cast(engine, PANEL, given[-1:], NOW)]
    assert {one.state for one in results} == {"kept"}
    return given


def rows(table, *fields):
    return [tuple(row[name] for name in fields or FIELDS) for row in table.to_pylist()]


def test_an_export_comes_back_exactly(engine, tmp_path):
    given = voted(engine)
    assert write_export(engine, PANEL, tmp_path / "tasks.json", images=IMAGES, names={"heron": "grey heron"}) == 3
    table = read_votes(tmp_path / "tasks.json")
    assert same(table, counted(engine, PANEL))
    again = import_votes(engine, PANEL, table, NOW + 9)
    assert (again.kept, again.known, again.refused) == (0, len(given), {})
    other = open_database(str(tmp_path / "other.sqlite"))
    make_panel(other)
    assert import_votes(other, PANEL, table, NOW + 9).kept == len(given)
    assert recount(other, PANEL) == []
    assert same(counted(other, PANEL), counted(engine, PANEL))
    other.dispose()


def test_a_table_comes_back_exactly(engine, tmp_path):
    voted(engine)
    table = counted(engine, PANEL)
    write_votes(table, tmp_path / "votes.json")
    assert same(read_votes(tmp_path / "votes.json"), table)
    write_votes(table.slice(0, 0), tmp_path / "none.json")
    assert same(read_votes(tmp_path / "none.json"), table.slice(0, 0))


def test_tasks_have_the_documented_form(engine, tmp_path):
    voted(engine)
    write_export(engine, PANEL, tmp_path / "tasks.json", images=IMAGES, names={"heron": "<grey> heron"})
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    config = ET.fromstring((tmp_path / "tasks.xml").read_text())
    choices = config.find(".//Choices")
    answers = [one.get("value") for one in choices]
    assert sorted(answers) == ["no", "unclear", "yes"]
    assert [task["id"] for task in tasks] == [1, 2, 3]
    first = tasks[0]
    assert first["data"]["image"] == f"https://pictures.example/picture0.png?v={'0' * 64}"
    assert "Does the picture show <grey> heron?" in [one["text"] for one in first["data"]["questions"]]
    assert [(one["completed_by"], one["lead_time"], len(one["result"])) for one in first["annotations"]] == [
        (1, 5.5, 3), (2, 0, 2), (3, 0, 1),
    ]  # fmt: skip
    for task in tasks:
        for annotation in task["annotations"]:
            for one in annotation["result"]:
                place = int(one["from_name"].removeprefix("answer_"))
                assert (one["from_name"], one["to_name"]) == (f"answer_{place}", f"question_{place}")
                assert one["type"] == "choices"
                assert one["value"]["choices"][0] in answers
                assert one["meta"]["variorum"].get("subject", "") == task["data"]["questions"][place]["subject"]
    assert "gold" not in (tmp_path / "tasks.json").read_text()


def test_what_the_converter_made_of_an_export_is_read(engine):
    table = read_votes(DATA / "label_studio.json")
    assert rows(table, "vote", "reviewer", "subject", "answer", "seconds")[:2] == [
        ("v1", "ann", "heron", "yes", 3.5), ("v2", "ann", "stork", "no", 2.0),
    ]  # fmt: skip
    assert import_votes(engine, PANEL, table, NOW).kept == 7
    least = read_votes(DATA / "label_studio_min.json")
    assert sorted(rows(least, "id", "kind", "subject", "answer")) == sorted(
        rows(table, "id", "kind", "subject", "answer")
    )
    assert set(least["reviewer"].to_pylist()) == {f"Label Studio user {number}" for number in (1, 2, 3)}


def test_a_project_of_ones_own(engine):
    """Chosen labels are yes, the picture's other candidates no; a skipped annotation says nothing."""
    table = read_export(DATA / "other_project.json", candidates(engine, PANEL), NAMES)
    assert sorted(rows(table)) == [
        ("picture0", "label", "heron", "Label Studio user 7", "yes"),
        ("picture0", "label", "heron", "ben@host.example", "yes"),
        ("picture0", "label", "stork", "Label Studio user 7", "yes"),
        ("picture0", "label", "stork", "ben@host.example", "no"),
        ("picture1", "label", "crane", "ben@host.example", "yes"),
        ("picture1", "label", "heron", "ben@host.example", "no"),
        ("picture1", "label", "stork", "ben@host.example", "no"),
    ]
    assert table["seconds"].to_pylist()[:2] == [2.125, 2.125]
    for kept, known in ((7, 0), (0, 7)):
        done = import_votes(engine, PANEL, table, NOW, classes=CLASSES)
        assert (done.kept, done.known, done.refused) == (kept, known, {})
    assert question(engine, "crane", 1).why == "added"
    assert len(read_export(DATA / "other_project.json", None, NAMES)) == 4


def write(path: Path, *annotations, **data) -> Path:
    task = {"id": 1, "data": {"image": "/data/picture0.png", **data}, "annotations": list(annotations)}
    path.write_text(json.dumps([task]))
    return path


def chosen(*values, tag="bird", **others):
    value = {"from_name": tag, "to_name": "img", "type": "choices", "value": {"choices": list(values)}}
    return {"completed_by": 1, "created_at": "2026-03-09T22:16:00Z", "result": [value], **others}


def test_a_tag_for_each_label(engine, tmp_path):
    path = write(tmp_path / "a.json", chosen("unclear", tag="Grey heron"))
    assert rows(read_export(path, candidates(engine, PANEL), NAMES)) == [
        ("picture0", "label", "heron", "Label Studio user 1", "unclear")
    ]


def test_nothing_chosen_means_none_of_them(engine, tmp_path):
    path = write(tmp_path / "a.json", {"completed_by": 1, "result": []}, picture="picture1")
    assert {one[-1] for one in rows(read_export(path, candidates(engine, PANEL), NAMES))} == {"no"}
    path = write(tmp_path / "b.json", {"completed_by": 1, "result": []}, picture="picture1", questions=[])
    assert len(read_export(path, candidates(engine, PANEL), NAMES)) == 0


def test_the_last_annotation_of_a_person_counts(tmp_path):
    late = chosen("stork", created_at="2026-03-10T00:00:00Z")
    assert [one[2] for one in rows(read_export(write(tmp_path / "a.json", late, chosen("heron"))))] == ["stork"]


def test_an_answer_changed_in_label_studio_replaces_the_vote(engine, tmp_path):
    voted(engine)
    path = tmp_path / "tasks.json"
    write_export(engine, PANEL, path, images=IMAGES)
    tasks = json.loads(path.read_text())
    result = next(one for one in tasks[0]["annotations"][0]["result"] if one["meta"]["variorum"]["subject"] == "heron")
    result["value"]["choices"] = ["no"]
    path.write_text(json.dumps(tasks))
    before = len(counted(engine, PANEL))
    for kept in (1, 0):
        done = import_votes(engine, PANEL, read_votes(path), NOW)
        assert (done.kept, done.refused) == (kept, {})
    assert ("picture0", "label", "heron", "ann", "no") in rows(counted(engine, PANEL))
    assert len(counted(engine, PANEL)) == before
    assert recount(engine, PANEL) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "can't be read as JSON"),
        ("[" * 100_000, "can't be read as JSON"),
        ('{"id": 1}', "holds no list of tasks"),
        ("[7]", "task 1: isn't a task"),
        ('[{"id": 1}]', "task 1: isn't a task"),
        ('[{"data": {"image": 3}, "annotations": []}]', "task 1: isn't a task"),
        ('[{"data": {"image": "a"}, "annotations": [{"result": [{"type": "choices"}]}]}]', "task 1: isn't a task"),
        ('[{"data": {"image": "a"}, "annotations": [{"completed_by": 1, "created_at": "soon", "result": '
         '[{"type": "choices", "from_name": "b", "value": {"choices": ["c"]}}]}]}]', "task 1: isn't a task"),
        ('[{"image": "a", "annotator": 1, "bird": "heron"}]', "JSON_MIN doesn't say which fields are choices"),
        ('[{"data": {"picture": "\\u0000"}, "annotations": [{"completed_by": 1, "result": '
         '[{"type": "choices", "from_name": "b", "value": {"choices": ["c"]}}]}]}]', "id contains the character"),
        ('[{"data": {"picture": "a"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["yes"]}, '
         '"meta": {"variorum": {"vote": "v", "number": "x"}}}]}]}]', "task 1: id is empty"),
        ('[{"data": {"picture": "a"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": [""]}, '
         '"meta": {"variorum": {"vote": "v", "number": "x"}}}]}]}]', "task 1: number is 'x'"),
    ],
)  # fmt: skip
def test_exports_that_are_none(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(SourceError) as error:
        read_votes(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_address_without_a_place_for_the_picture(engine, tmp_path):
    with pytest.raises(StoreError, match=r"has no \{id\} in it"):
        write_export(engine, PANEL, tmp_path / "tasks.json", images="https://host/x.png")
    assert list(tmp_path.glob("*.json")) == []
