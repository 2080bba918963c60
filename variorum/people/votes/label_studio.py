"""Panels as tasks of Label Studio, and its exports as votes.

A picture with all its questions is one task; what a reviewer said of it is one annotation, with one choice a question.
Each choice carries its vote in `meta`, so that an export that comes back is exact. The JSON is the one that Label
Studio documents at https://labelstud.io/guide/task_format.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy import Connection, Engine, func, select

from variorum.people.votes.checks import fault
from variorum.people.votes.counters import pieces
from variorum.people.votes.database import questions, reading, tasks, votes
from variorum.people.votes.files import Pictures, Unreadable, filled_in, vote_of, whole_file, whole_number
from variorum.people.votes.tables import of_rows, of_votes, with_place
from variorum.schemas.canonical import short_digest
from variorum.schemas.errors import SourceError, StoreError
from variorum.schemas.vote import ANSWERS, Vote, question_key

CONFIG = """<View>
  <Image name="picture" value="$image" zoom="true"/>
  <Repeater on="$questions" indexFlag="{{idx}}">
    <Text name="question_{{idx}}" value="$questions[{{idx}}].text"/>
    <Choices name="answer_{{idx}}" toName="question_{{idx}}" choice="single" showInline="true">
      <Choice value="yes"/>
      <Choice value="no"/>
      <Choice value="unclear"/>
    </Choices>
  </Repeater>
</View>
"""
"""The labelling configuration of the project that the tasks are imported into."""
TEXTS = {
    "label": "Does the picture show {}?",
    "copy": "Is picture {} a copy of this one?",
    "edit": "Is the edit clean?",
    "box": "Does box {} fit its object?",
    "safe": "Is the picture safe to show?",
    "unsafe": "Is the picture unsafe in this way: {}?",
    "problem": "Can the picture not be judged at all?",
}
OURS = "variorum"
"""Key in a choice's `meta`."""
Place = tuple[int | None, int | None]
"""`task` and `number` of a vote that was exported."""
NOWHERE: Place = (None, None)
LAST = 1 << 63
ANSWER = re.compile(r"answer_([0-9]{1,4})")


def write_export(engine: Engine, panel: str, path: Path, *, images: str, names: Mapping[str, str] | None = None) -> int:
    """Write a panel's questions and the votes that count as tasks for Label Studio, and its configuration beside it.

    The configuration goes into `<name>.xml`. Nobody can tell from the tasks which label was given, or what is gold.

    Args:
        engine: the database.
        panel: key of the panel.
        path: of the JSON file.
        images: address of a picture, with `{id}` and, if wanted, `{sha256}` in it.
        names: of the classes, by id.

    Returns:
        The number of tasks.

    Raises:
        StoreError: `images` has no `{id}`, or the file can't be written.
    """
    if "{id}" not in images:
        raise StoreError(
            f"address of pictures {images!r}: has no {{id}} in it; give for example https://host/{{id}}.png"
        )
    number = _write_tasks(export_tasks(engine, panel, images=images, names=names), path)
    with whole_file(path.with_suffix(".xml")) as file:
        file.write(CONFIG.encode())
    return number


def write_table(table: Any, path: Path, *, images: str = "{id}", names: Mapping[str, str] | None = None) -> int:
    """Write the votes of a table as tasks for Label Studio, with only the questions that somebody has answered.

    Args:
        table: of votes that count.
        path: of the JSON file.
        images: as in `write_export`; by default `image` holds the picture's id.
        names: of the classes, by id.

    Returns:
        The number of tasks.

    Raises:
        StoreError: the file can't be written.
    """
    given: dict[str, list[dict[str, Any]]] = defaultdict(list)
    asked: dict[tuple[str, str], dict[str, dict[str, str]]] = defaultdict(dict)
    for row in table.to_pylist():
        given[row["question"]].append(row)
        one = _question(row["question"], row["kind"], row["subject"], names or {})
        asked[row["id"], row["sha256"]][row["question"]] = one
    people = dict[str, int]()
    made = (
        _task(number, picture, [by_key[key] for key in sorted(by_key)], given, images, people)
        for number, (picture, by_key) in enumerate(asked.items(), start=1)
    )
    return _write_tasks(made, path)


def _write_tasks(made: Iterable[dict[str, Any]], path: Path) -> int:
    number = 0
    with whole_file(path) as file:
        file.write(b"[")
        for number, task in enumerate(made, start=1):
            file.write(b",\n" if number > 1 else b"\n")
            file.write(json.dumps(task, ensure_ascii=False, allow_nan=False).encode())
        file.write(b"\n]\n")
    return number


def export_tasks(
    engine: Engine, panel: str, *, images: str, names: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """The tasks of `write_export`, one by one."""
    number = 0
    people = dict[str, int]()
    with reading(engine) as connection:
        first = func.min(tasks.c.task)
        chosen = select(tasks.c.id, tasks.c.sha256).where(tasks.c.panel == panel)
        chosen = chosen.group_by(tasks.c.id, tasks.c.sha256).order_by(first)
        pictures = [(row.id, row.sha256) for row in connection.execute(chosen)]
        for some in pieces(pictures):
            asked = _asked(connection, panel, some, names or {})
            given = _given(connection, panel, asked)
            for picture in some:
                number += 1
                yield _task(number, picture, asked[picture], given, images, people)


def _asked(
    connection: Connection, panel: str, some: list[Any], names: Mapping[str, str]
) -> dict[tuple[str, str], list[dict[str, str]]]:
    """The questions by picture, in an order that tells nothing; the one about a problem comes last."""
    found: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    here = tasks.c.panel == panel, tasks.c.id.in_([name for name, _ in some])
    both = (questions.c.panel == tasks.c.panel) & (questions.c.task == tasks.c.task)
    chosen = select(tasks.c.id, tasks.c.sha256, questions.c.question, questions.c.kind, questions.c.subject)
    for name, sha256, key, kind, subject in connection.execute(
        chosen.join(questions, both).where(*here).order_by(questions.c.question)
    ):
        found[name, sha256].append(_question(key, kind, subject, names))
    for name, sha256 in some:
        found[name, sha256].append(_question(question_key("problem", name, sha256), "problem", "", names))
    return found


def _question(key: str, kind: str, subject: str, names: Mapping[str, str]) -> dict[str, str]:
    text = TEXTS[kind].format(names.get(subject, subject))
    return {"question": key, "kind": kind, "subject": subject, "text": text}


def _given(
    connection: Connection, panel: str, asked: Mapping[tuple[str, str], list[dict[str, str]]]
) -> dict[str, list[dict[str, Any]]]:
    """The votes that count, by question."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for some in pieces([one["question"] for picture in asked.values() for one in picture]):
        here = votes.c.panel == panel, votes.c.counts, votes.c.question.in_(some)
        rows = connection.execute(select(votes).where(*here).order_by(votes.c.number))
        for row in of_rows([dict(row._mapping) for row in rows]).to_pylist():
            found[row["question"]].append(row)
    return found


def _task(
    number: int,
    picture: tuple[str, str],
    asked: list[dict[str, str]],
    given: Mapping[str, list[dict[str, Any]]],
    images: str,
    people: dict[str, int],
) -> dict[str, Any]:
    name, sha256 = picture
    image = images.replace("{sha256}", sha256).replace("{id}", quote(name, safe=""))
    by_person: dict[tuple[str, int], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for place, one in enumerate(asked):
        for vote in given.get(one["question"], ()):
            by_person[vote["reviewer"], vote["round"]].append((place, vote))
    return {
        "id": number,
        "data": {"image": image, "picture": name, "sha256": sha256, "questions": asked},
        "annotations": [
            _annotation(said, people.setdefault(who, len(people) + 1), number) for (who, _), said in by_person.items()
        ],
        "predictions": [],
    }


def _annotation(said: list[tuple[int, dict[str, Any]]], person: int, task: int) -> dict[str, Any]:
    """One person's answer on one picture, in one round."""
    made = datetime.fromtimestamp(max(vote["at"] for _, vote in said), UTC).isoformat().replace("+00:00", "Z")
    return {
        "id": min(vote["number"] or 0 for _, vote in said),
        "unique_id": str(uuid.UUID(short_digest(["annotation", *sorted(vote["vote"] for _, vote in said)]))),
        "task": task,
        "completed_by": person,
        "created_at": made,
        "updated_at": made,
        "lead_time": sum(vote["seconds"] for _, vote in said if vote["seconds"] == vote["seconds"]),
        "was_cancelled": False,
        "ground_truth": False,
        "result": [
            {
                "id": short_digest(["choice", vote["vote"]])[:10],
                "from_name": f"answer_{place}",
                "to_name": f"question_{place}",
                "type": "choices",
                "value": {"choices": [vote["answer"]]},
                "meta": {OURS: _plain(vote)},
            }
            for place, vote in said
        ],
    }


def _plain(vote: Mapping[str, Any]) -> dict[str, Any]:
    """A vote as JSON, without what says nothing."""
    return {name: value for name, value in vote.items() if value not in (None, "") and value == value}


def candidates(engine: Engine, panel: str) -> Callable[[str], list[str]]:
    """The labels that a panel asks about a picture, by its id; for `read_export`."""

    def of(picture: str) -> list[str]:
        both = (questions.c.panel == tasks.c.panel) & (questions.c.task == tasks.c.task)
        here = tasks.c.panel == panel, tasks.c.id == picture, questions.c.kind == "label"
        with reading(engine) as connection:
            return list(connection.scalars(select(questions.c.subject).join(tasks, both).where(*here)))

    return of


# ── back ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_export(
    path: Path,
    candidates: Callable[[str], Collection[str]] | None = None,
    names: Mapping[str, str] | None = None,
    pictures: Pictures | None = None,
) -> Any:
    """Read the votes from an export of Label Studio, as JSON; of tasks from `write_export` JSON_MIN will do.

    In projects of one's own, a picture's chosen labels are `yes`, and those of its candidates that aren't chosen `no`.
    A choice called yes, no or unclear is the answer to the label that its tag is named after. The picture's id is the
    field `picture` of the task's data, else the name of the file in `image`. An annotation's time is shared out evenly.

    Args:
        path: of the file.
        candidates: the labels that are asked about a picture, by its id. Without them, nothing is `no`.
        names: ids of classes by their names, for projects whose choices are names.
        pictures: finds a picture by its address, before the name of its file is taken for its id.

    Returns:
        A table as `tables.schema` says; `vote` and `sha256` are `""` where they are unknown.

    Raises:
        SourceError: unreadable, not of this form, or with a vote that can't be right; its task is named.
    """
    try:
        whole = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path} can't be read as JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(whole, list):
        raise SourceError(f"{path}: holds no list of tasks; export from Label Studio as JSON")
    found = list[tuple[Vote, Place]]()
    for number, task in enumerate(whole, start=1):
        try:
            new = list(_votes_of(_long(task), candidates, names or {}, pictures))
        except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
            why = f"{type(error).__name__} {str(error)[:80]}"
            raise SourceError(
                f"{path}, task {number}: isn't a task with data and annotations ({why}); export it as JSON"
            ) from None
        except Unreadable as error:
            raise SourceError(f"{path}, task {number}: {error.args[1]}; mend the file, or leave the task out") from None
        for vote, _ in new:
            if wrong := fault(filled_in(vote))[1]:
                raise SourceError(f"{path}, task {number}: {wrong}; mend the file, or leave the task out")
        found += new
    found.sort(key=lambda one: LAST if one[1][1] is None else one[1][1])  # as they were kept
    return with_place(of_votes([vote for vote, _ in found]), [place for _, place in found])


def _votes_of(
    task: dict[str, Any],
    candidates: Callable[[str], Collection[str]] | None,
    names: Mapping[str, str],
    pictures: Pictures | None,
) -> Iterator[tuple[Vote, Place]]:
    """The votes of a task, and their places."""
    data = task["data"]
    picture = {
        "id": str(data.get("picture") or _picture(data["image"], pictures)),
        "sha256": str(data.get("sha256") or ""),
    }
    latest = dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]()
    for annotation in sorted(task["annotations"], key=lambda one: str(one.get("created_at") or "")):
        if annotation.get("was_cancelled"):
            continue
        rest = list[dict[str, Any]]()
        for choice in (one for one in annotation["result"] if one.get("type") == "choices"):
            meta = (choice.get("meta") or {}).get(OURS)
            if isinstance(meta, dict):
                yield _came_back(meta, choice, annotation)
            else:
                rest.append(choice)
        if rest or not annotation["result"]:
            latest[_person(annotation.get("completed_by"))] = annotation, rest
    for who, (annotation, rest) in latest.items():
        said = list(_said(rest, data.get("questions"), names, candidates, picture["id"]))
        seconds = float(annotation.get("lead_time") or "nan") / max(len(said), 1)
        common = {**picture, "reviewer": who, "at": _time(annotation), "seconds": seconds}
        yield from ((vote_of({**common, **one}), NOWHERE) for one in said)


def _came_back(meta: dict[str, Any], choice: dict[str, Any], annotation: dict[str, Any]) -> tuple[Vote, Place]:
    """A vote that was exported; if its answer has been changed in Label Studio, one that replaces it."""
    vote, (answer,) = vote_of(meta), choice["value"]["choices"]
    if answer == vote.answer:
        return vote, (whole_number(meta.get("task"), "task"), whole_number(meta.get("number"), "number"))
    return replace(vote, vote="", answer=answer, replaces=vote.vote, at=_time(annotation)), NOWHERE


def _said(
    choices: list[dict[str, Any]],
    asked: Any,
    names: Mapping[str, str],
    candidates: Callable[[str], Collection[str]] | None,
    picture: str,
) -> Iterator[dict[str, Any]]:
    """Read an annotation: subject and answer, and for questions of ours the kind."""
    chosen = list[str]()
    ours = isinstance(asked, list)
    for choice in choices:
        tag, values = str(choice.get("from_name")), [str(one) for one in choice["value"]["choices"]]
        place = ANSWER.fullmatch(tag)
        if place and isinstance(asked, list):
            question = asked[int(place[1])]
            yield from ({"kind": question["kind"], "subject": question["subject"], "answer": one} for one in values)
        elif len(values) == 1 and values[0] in ANSWERS:
            ours = True
            yield {"subject": names.get(tag, tag), "answer": values[0]}
        else:
            chosen += [names.get(one, one) for one in values]
    yield from ({"subject": one, "answer": "yes"} for one in dict.fromkeys(chosen))
    if not ours and candidates is not None:
        yield from ({"subject": one, "answer": "no"} for one in candidates(picture) if one not in chosen)


def _long(task: Any) -> dict[str, Any]:
    """A task as JSON has it, from one of JSON_MIN, where an annotation's answers stand beside its data."""
    if "annotations" in task or "annotator" not in task:
        return {"data": task["data"], "annotations": task["annotations"]}
    if not isinstance(task.get("questions"), list):
        raise ValueError("JSON_MIN doesn't say which fields are choices")
    answers = {name: value for name, value in task.items() if ANSWER.fullmatch(name)}
    result = [{"type": "choices", "from_name": name, "value": {"choices": [one]}} for name, one in answers.items()]
    common = {name: task.get(name) for name in ("lead_time", "created_at", "updated_at")}
    return {"data": task, "annotations": [{**common, "completed_by": task["annotator"], "result": result}]}


def _person(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return value if isinstance(value, str) and value else f"Label Studio user {value}"


def _time(annotation: Mapping[str, Any]) -> float:
    made = annotation.get("updated_at") or annotation.get("created_at")
    if not made:
        return 0.0
    when = datetime.fromisoformat(str(made).replace("Z", "+00:00"))
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def _picture(image: str, pictures: Pictures | None) -> str:
    return (pictures(image) if pictures else None) or unquote(Path(urlsplit(image).path).stem)
