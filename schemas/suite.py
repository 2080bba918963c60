"""Suites: which editions a report needs, and the rows that it makes of them. They lie in recipes/suites/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from variorum.schemas.canonical import digest
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.rows import Better

Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Need = Literal["objects", "captions", "reviewed_labels", "embedding", "boxes_of_model", "text", "gradients", "groups"]
"""What pictures or models must have; without it a row is told as not measured, with the reason, before any work."""
OF = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
MOST_ROWS = 20


class Part(BaseModel):
    """A part of a suite: no other fields, and nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SuiteEdition(Part):
    """An edition that a suite needs."""

    recipe: str
    """Name of a recipe, or the path of one."""
    set: Mapping[str, Any] = {}
    """Fields of the recipe that differ, as `--set` takes them; `evaluate` and `source` aren't set here."""
    needs: tuple[Need, ...] = ()
    """What the photographs must have."""
    pictures: int = Field(default=0, ge=0)
    """Pictures that a photograph becomes, at most, itself included; for the plan. 0 if it isn't known before."""
    seconds: float = Field(default=0, ge=0)
    """CPU-seconds that the pictures of a photograph took where they were measured; for the plan. 0 if unknown."""


class RowSpec(Part):
    """A row: its question, and where its answers come from."""

    id: Id
    """What `--fail-below` calls it."""
    title: str
    """What the page calls it."""
    section: str = ""
    """Heading above it; by default the one of the row before."""
    edition: Id
    """Key of `Suite.editions`."""
    of: Annotated[str, StringConstraints(pattern=OF.pattern)]
    """Evaluation and figure: `accuracy_drop.edits`."""
    variants: tuple[str, ...] = ()
    """Patterns of the columns that count, such as `background_*`; all by default."""
    curve: tuple[str, ...] = ()
    """Axis of the curve below the row: one of the axes that the figure's answers have. With a second, a line each."""
    better: Better | None = None
    """Which direction is better, if not as the figure says."""
    chance: Literal["classes", "way", "none"] = "none"
    """What guessing would give: one of the classes, or of an episode's classes."""
    fewest: int = Field(default=10, ge=10)
    """With fewer photographs there is no row."""
    needs: tuple[Need, ...] = ()
    """What the photographs or the models must have."""
    under: tuple[RowSpec, ...] = Field(default=(), max_length=8)
    """The same figure under another condition."""


class Suite(Part):
    """Which editions a report needs, and its rows."""

    suite: Id
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    summary: str = ""
    """What it asks, in a sentence."""
    most: int = Field(default=500, ge=1)
    """Maximum number of photographs, balanced by class and drawn by seed."""
    seed: int = Field(default=1, ge=0, lt=2**63)
    editions: Mapping[Id, SuiteEdition]
    rows: tuple[RowSpec, ...] = Field(min_length=1, max_length=MOST_ROWS)

    @classmethod
    def parse(cls, data: Mapping[str, Any], name: str) -> Suite:
        """A suite from the mapping in a YAML file. Raises RecipeError, which names each wrong field."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise RecipeError(f"suite {name}: " + "; ".join(map(_said, error.errors()))) from None

    def digest(self) -> str:
        """Digest of all that it says."""
        return digest(self.model_dump(mode="json"))


def _said(problem: Mapping[str, Any]) -> str:
    """A problem of a suite's fields, with the place, the value and the choices."""
    place = [str(part) for part in problem["loc"]]
    where, said = cut(".".join(place)), str(problem["msg"])
    if problem["type"] == "extra_forbidden":
        parts: dict[str, type[Part]] = {"editions": SuiteEdition, "rows": RowSpec} if len(place) > 1 else {}
        part = parts.get(place[0], Suite)
        return f"{where}: no such field; there are: {', '.join(part.model_fields)}"
    if problem["type"] == "missing":
        return f"{where}: missing; give it a value"
    return f"{where}: {said[0].lower()}{said[1:]} (got {cut(repr(problem['input']))})"
