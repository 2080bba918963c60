"""Questions to people about pictures, and their votes.

Every question can be answered with yes, no or unclear, whatever its kind, so that one consensus weighs them all. A
question names the picture by id and by content: a vote on a picture that has changed since doesn't count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from variorum.schemas.canonical import short_digest

Kind = Literal["label", "copy", "edit", "box", "safe", "unsafe", "problem"]
"""What is asked; the subject of each kind is

    label    a class: does the picture show it?             the class's id
    copy     another picture: is it a copy of this one?     its id
    edit     is the edit clean?                             ""
    box      does the box fit its object?                   index of the object in the picture's annotations
    safe     is the picture safe to show?                   ""
    unsafe   is the picture unsafe in this way?             the category's id
    problem  can the picture not be judged at all?          ""; nobody is asked, people say it by themselves
"""
KINDS: tuple[Kind, ...] = get_args(Kind)

Answer = Literal["no", "unclear", "yes"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
"""In the order of `kit.raters.dawid_skene`: 0, 1, 2."""
TRUTHS = ("", "no", "yes")
"""The answer that a question was published with; `""` for none."""

Why = Literal["asked", "agreed", "gold", "added"]
"""Why a question is in the queue: it is in doubt; nobody doubts it; its answer is known; a reviewer has added it."""

Category = Literal[
    "fine_grained",
    "fine_grained_oov",
    "spurious_correlation",
    "non_prototypical",
    "fine_grained_multi_label",
]
"""Kinds of mistakes (Vasudevan et al. 2022, arXiv 2205.04596)."""
Severity = Literal["major", "minor", "borderline"]
Problem = Literal["no_object", "too_small", "overlay", "collage", "unsafe", "other"]
"""Why a picture can't be judged."""
Flaw = Literal["artefact", "object_changed", "not_applied", "unnatural", "other"]
"""Why an edit isn't clean."""
CATEGORIES: tuple[Category, ...] = get_args(Category)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
PROBLEMS: tuple[Problem, ...] = get_args(Problem)
FLAWS: tuple[Flaw, ...] = get_args(Flaw)
REASONS: Mapping[str, tuple[str, ...]] = {"problem": PROBLEMS, "edit": FLAWS}
"""The reasons that can be given with an answer, by kind of question; other kinds have none."""

BLIND, TOGETHER = 1, 2
"""Rounds: votes that are given alone, and what a discussion decides for all."""


def question_key(kind: str, picture: str, sha256: str, subject: str = "") -> str:
    """Key of a question, 32 hexadecimal digits. The same question has the same key in every panel.

    Args:
        kind: a `Kind`.
        picture: id of the picture.
        sha256: of its encoded image.
        subject: see `Kind`.
    """
    return short_digest(["question", kind, picture, sha256, subject])


@dataclass(frozen=True, slots=True)
class Vote:
    """One answer of one person to one question. Votes are only ever added; a later one can take an earlier one back.

    Attributes:
        vote: id of the vote, made by whoever sends it (a UUID), so that the same vote sent twice is one vote.
        kind: of the question.
        id: id of the picture.
        sha256: of the encoded image that was judged.
        subject: of the question.
        reviewer: name of the person. It is data: shown as text, never logged raw.
        answer: yes, no or unclear.
        round: `BLIND`, or `TOGETHER` for the decision of a discussion.
        category: kind of mistake, for a label that is wrong; `""` for none.
        severity: how wrong; `""` for none.
        reason: of a `problem`, or of an edit that isn't clean; `""` for none.
        comment: free text.
        box: a corrected box, left, top, width and height in pixels; None for none.
        seconds: that the person took; NaN if unknown.
        at: when the server got it, seconds since 1970, by the server's clock.
        replaces: id of the vote of the same person on the same question that this one replaces; `""` for none.
    """

    vote: str
    kind: str
    id: str
    sha256: str
    subject: str
    reviewer: str
    answer: str
    round: int = BLIND
    category: str = ""
    severity: str = ""
    reason: str = ""
    comment: str = ""
    box: tuple[float, float, float, float] | None = None
    seconds: float = float("nan")
    at: float = 0.0
    replaces: str = ""

    @property
    def question(self) -> str:
        """Key of the question."""
        return question_key(self.kind, self.id, self.sha256, self.subject)
