"""Ten pictures with a panel's votes, made by hand, for the tests of consensus and of what follows from it.

The classes are `a` (five pictures), `b` (three) and `c` (two); `d` and `e` are no picture's label. Three people answer.

    picture   given   what people say
    0, 1      a       a is right
    2         a       a is wrong, b right                    (b predicted: a hit only for reviewed labels)
    3         a       a is right, b unclear                  (b predicted: accepted)
    4         a       a and c are right                      (c predicted)
    5, 6      b       b is right
    7         b       can't be judged
    8         c       c is right, d wrong: a major mistake   (d predicted)
    9         c       c is right                             (e predicted, which is the same as c to people)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from variorum.people.votes.files import write_votes
from variorum.people.votes.tables import of_votes
from variorum.schemas.canonical import short_digest
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.table import Table
from variorum.schemas.vote import Vote

C, E = "n03642806", "n03832673"
"""ImageNet's two classes of portable computers."""
CLASSES = tuple(ClassInfo(name, name.upper()) for name in ("a", "b", C, "d", E))
CONTEXT = Context(0, None, None, classes=CLASSES)
GIVEN = [["a"]] * 5 + [["b"]] * 3 + [[C]] * 2
PREDICTED = ["a", "a", "b", "b", C, "b", "a", "b", "d", E]
PEOPLE = ("ann", "ben", "cleo")
SAID: Mapping[int, Mapping[str, str]] = {  # answers of the three people: y, n, u
    0: {"a": "yyy"},
    1: {"a": "yyy"},
    2: {"a": "nnn", "b": "yyy"},
    3: {"a": "yyy", "b": "uuu"},
    4: {"a": "yyy", C: "yyy"},
    5: {"b": "yyy"},
    6: {"b": "yyy"},
    7: {"b": "uun"},
    8: {C: "yyy", "d": "nnn"},
    9: {C: "yyy"},
}
WORDS = {"y": "yes", "n": "no", "u": "unclear"}


def picture(number: int) -> tuple[str, str]:
    return f"{number:032x}", f"{number:064x}"


def vote(number: int, kind: str, subject: str, who: str, answer: str, **more: object) -> Vote:
    name, sha256 = picture(number)
    said = [number, kind, subject, who, answer, str(more)]
    return Vote(short_digest(said), kind, name, sha256, subject, who, answer, **more)


def votes() -> list[Vote]:
    found = []
    for number, labels in SAID.items():
        for label, answers in labels.items():
            for who, answer in zip(PEOPLE, answers, strict=True):
                kind = {"category": "fine_grained", "severity": "major"} if (number, label) == (8, "d") else {}
                found.append(vote(number, "label", label, who, WORDS[answer], seconds=4.0, **kind))
    found += [vote(7, "problem", "", who, "yes", reason="collage") for who in PEOPLE[:2]]
    return found


def kept(folder: Path, given: Iterable[Vote], name: str = "votes.parquet") -> Path:
    path = folder / name
    write_votes(of_votes(list(given)), path)
    return path


def table(given=GIVEN, **more: object) -> pa.Table:
    """The edition's table."""
    names = [picture(number) for number in range(len(given))]
    index = {one.id: place for place, one in enumerate(CLASSES)}
    return pa.table(
        {
            "id": pa.array([name for name, _ in names], pa.string()),
            "sha256": pa.array([sha256 for _, sha256 in names], pa.string()),
            "labels": pa.array(given, pa.list_(pa.string())),
            "label": pa.array([index[labels[0]] if labels else -1 for labels in given], pa.int64()),
            **more,
        }
    )


def columns(step, given=None) -> tuple[pa.Table, dict]:
    """The table with the columns of a consensus, as deciders get them, and its figures."""
    edition = table() if given is None else given
    found = step.score(Table(edition, "consensus"), CONTEXT)
    for name, values in found.items():
        if name != "member":
            column = pa.array(values.tolist() if isinstance(values, np.ndarray) else values)
            edition = edition.append_column(f"consensus.{name}", column)
    return edition, dict(found), dict(step.figures(Table(edition, "consensus"), CONTEXT))
