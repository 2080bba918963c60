"""The texts of each kind of question: the question, the words for its three answers, and the reasons for a no.

The page shows these texts as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from variorum.schemas.canonical import Json
from variorum.schemas.vote import Category, Flaw, Kind, Problem, Severity


@dataclass(frozen=True, slots=True)
class Asked:
    """A kind of question in words.

    Attributes:
        kind: of the question.
        title: name of the kind, where reviewers choose one.
        ask: the question; `{name}` stands for the class with its article, or for the category and its definition.
        yes: word for the answer.
        no: word for the answer.
        unclear: word for the answer.
        of: what a picture's questions are about, above their list.
        reasons: why the answer is no, as (id, text); empty if no reason is asked for.
        mistakes: whether a no can have a category and a severity.
        grid: whether the grid can ask it about many pictures at once.
        subjects: whether its questions can be taken by subject, such as one class at a time.
        boxes: whether a box can be moved and resized.
    """

    kind: Kind
    title: str
    ask: str
    yes: str
    no: str
    unclear: str = "unclear"
    of: str = ""
    reasons: tuple[tuple[str, str], ...] = ()
    mistakes: bool = False
    grid: bool = True
    subjects: bool = False
    boxes: bool = False

    def as_json(self, *, blur: bool = False) -> dict[str, Json]:
        """Everything but `kind`, for the page.

        Args:
            blur: whether the pictures of all kinds of questions are veiled: blurred until somebody asks to see them.
        """
        return {
            "title": self.title,
            "ask": self.ask,
            "yes": self.yes,
            "no": self.no,
            "unclear": self.unclear,
            "of": self.of,
            "reasons": [list(pair) for pair in self.reasons],
            "mistakes": self.mistakes,
            "grid": self.grid,
            "subjects": self.subjects,
            "boxes": self.boxes,
            "veiled": blur or self.kind in VEILED,
        }


VEILED = frozenset({"safe", "unsafe"})
"""Kinds of questions whose pictures are always veiled."""

FLAWS: Mapping[Flaw, str] = {
    "artefact": "a seam, an edge or another trace of the edit shows",
    "object_changed": "the object itself has changed or lost a part",
    "not_applied": "the edit doesn't show at all",
    "unnatural": "no photograph could look like this",
    "other": "something else",
}
"""Why an edit isn't clean, in words."""

ASKED: Mapping[Kind, Asked] = {
    asked.kind: asked
    for asked in (
        Asked(
            "label",
            title="Labels",
            ask="Does this picture show {name}?",
            yes="right",
            no="wrong",
            of="Which of these does the picture show?",
            mistakes=True,
            subjects=True,
        ),
        Asked(
            "copy",
            title="Copies",
            ask="Do both pictures come from the same original?",
            yes="copy",
            no="different",
            of="Which of these are copies of the picture?",
            grid=False,
        ),
        Asked(
            "edit",
            title="Edits",
            ask="Is the edit clean?",
            yes="clean",
            no="flawed",
            of="Compare the edit with its original.",
            reasons=tuple(FLAWS.items()),
        ),
        Asked(
            "box",
            title="Boxes",
            ask="Does the box fit its object?",
            yes="fits",
            no="doesn't fit",
            of="Look at each box.",
            boxes=True,
        ),
        Asked(
            "safe",
            title="Safety",
            ask="Is this picture safe to show to everyone?",
            yes="safe",
            no="unsafe",
            of="Is this picture safe to show to everyone?",
        ),
        Asked(
            "unsafe",
            title="Unsafe categories",
            ask="Is this picture unsafe in this way: {name}?",
            yes="unsafe",
            no="not unsafe",
            of="In which of these ways is the picture unsafe?",
            grid=False,
        ),
    )
}
"""The kinds of questions; a `problem` is reported unasked."""

PROBLEMS: Mapping[Problem, str] = {
    "no_object": "shows no object at all",
    "too_small": "too small, dark or blurred to judge",
    "overlay": "text or a watermark covers it",
    "collage": "several pictures in one",
    "unsafe": "should not be shown",
    "other": "something else",
}
"""Why a picture can't be judged, in words."""

CATEGORIES: Mapping[Category, tuple[str, str]] = {
    "fine_grained": ("fine-grained", "Both classes are close relatives; a layperson could confuse them."),
    "fine_grained_oov": (
        "fine-grained, no class",
        "The object has no class in the list, and the nearest class was named.",
    ),
    "spurious_correlation": (
        "from the context",
        "The object isn't there; what is around it usually goes with that class.",
    ),
    "non_prototypical": ("unusual example", "The object is there and doesn't look as its class usually does."),
    "fine_grained_multi_label": (
        "fine-grained, several labels",
        "One of several objects was named, and as a close relative of its class.",
    ),
}
"""Kinds of mistakes (Vasudevan et al. 2022, arXiv 2205.04596): name and definition."""

SEVERITIES: Mapping[Severity, tuple[str, str]] = {
    "major": ("major", "Everyone would call the label plainly wrong."),
    "minor": ("minor", "A careful person who is no expert could make this mistake."),
    "borderline": ("borderline", "Hardly wrong; somebody else could defend the label."),
}
"""How wrong a label is: name and definition (as `CATEGORIES`)."""
