"""Asks a vision-language model what a picture shows; classes that it names are proposed for review.

One answer per picture, whatever the number of classes: for lists that are too long for a detector of texts. Nothing is
judged: a model that names what isn't there costs a reviewer an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Context, Detector, Use, column_kinds
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

COLUMNS = ("first", "second", "third")
LONGEST = 2000
"""Characters of an answer that are kept."""


class Mentions(Detector):
    """Classes that a vision-language model names when it is asked what a picture shows.

    `candidates` proposes them, with `columns: [mentions.first, mentions.second, mentions.third]`.
    """

    gives: ClassVar[Mapping[str, str]] = column_kinds(texts="answer", others=" ".join(COLUMNS))
    proposes_only: ClassVar[bool] = True

    model: str = "vlm"
    """Alias of the model."""
    question: str = Field(default="List everything that this picture shows, separated by commas.", min_length=1)
    """What it is asked. `vlm_florence` is asked by the mark of a task: `<OD>` or `<DETAILED_CAPTION>`."""
    most_tokens: int = Field(default=64, ge=1, le=1024)
    """Longest answer."""

    def uses(self) -> list[Use]:
        """Return the model."""
        return [Use(self.model)]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """Column `answer`: what the model says of each picture, at most 2,000 characters."""
        images = [sample.image for sample in samples]
        answers = ctx.models.get(self.model)(images, [self.question] * len(images), most_tokens=self.most_tokens)
        yield from ({"answer": answer[:LONGEST]} for answer in answers)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `first`, `second` and `third`: indices of classes that the answer names beside the label, or -1."""
        names = ClassNames(ctx.classes)
        found = np.full((len(table), len(COLUMNS)), -1, np.int32)
        for row, (answer, label) in enumerate(zip(table.column("answer").to_pylist(), table["label"], strict=True)):
            others = [index for index in names.mentioned(answer) if index != label][: len(COLUMNS)]
            found[row, : len(others)] = others
        return dict(zip(COLUMNS, found.T, strict=True))

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count pictures, and those whose own label, or another class, the model names."""
        names = ClassNames(ctx.classes)
        labels, answers = table["label"], table.column("answer").to_pylist()
        own = [label in names.mentioned(answer) for label, answer in zip(labels, answers, strict=True)]
        return {"pictures": len(table), "label_named": sum(own), "other_named": int((table["first"] >= 0).sum())}


class ClassNames:
    """Finds the names of classes in a text: whole words in any case, also with a plural's s; the longest name first.

    Of `tench, Tinca tinca` either name counts, and what stands in parentheses doesn't. Classes that share a name are
    all found.
    """

    def __init__(self, classes: Sequence[ClassInfo]) -> None:
        self._classes: dict[str, list[int]] = {}
        for index, info in enumerate(classes):
            for name in {_plain(part) for part in info.name.split(",")} - {""}:
                self._classes.setdefault(name, []).append(index)
        longest = sorted(self._classes, key=lambda name: (-len(name), name))
        self._pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest)) or '(?!)'})(?:e?s)?(?!\w)")

    def mentioned(self, text: str) -> list[int]:
        """Indices of the classes that a text names, in the order of their first mention."""
        found = self._pattern.finditer(_plain(text))
        return list(dict.fromkeys(index for one in found for index in self._classes[one[1]]))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"\([^()]*\)", " ", text).replace("_", " ").casefold().split())
