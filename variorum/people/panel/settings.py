"""Define a panel's settings, and the record of a published panel."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from variorum.people.panel.kinds import ASKED
from variorum.schemas.fields import Count, Sha256
from variorum.schemas.manifest import Dataset, Version
from variorum.schemas.vote import Kind

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""A panel's name is a folder's name and part of a key."""


Name = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]


class Settings(BaseModel):
    """Settings of a panel: what it asks, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[Kind, ...] = ("label",)
    """Kinds of questions, asked in this order."""
    votes: int = Field(default=3, ge=1, le=1000)
    """Independent votes on each question."""
    budget: int | None = Field(default=None, ge=1)
    """Questions of a kind at most, controls not counted. What is in doubt comes first; what nobody doubts is asked only
    if the budget leaves room. None for everything that is in doubt."""
    cap: int = Field(default=8, ge=1, le=100)
    """Questions about one picture that are shown together."""
    gold: float = Field(default=0.1, ge=0, lt=0.5)
    """Least share of questions whose answer is known, if there are enough."""
    agreed: float = Field(default=0.1, ge=0, lt=0.5)
    """Least share of questions that nobody doubts, if there are enough."""
    least: float = Field(default=0.1, ge=0, le=1)
    """A class that isn't a model's first guess is proposed if its probability is above this."""
    collapsed: Literal["imagenet", ""] | dict[str, tuple[str, ...]] = ""
    """Classes that people can't tell apart, which are asked together: class id to class ids, or those of ImageNet."""
    safe_by: str = ""
    """Column of numbers: whether pictures are safe is asked first where it is highest; `""` for a random order."""
    blur: bool = False
    """Whether pictures are blurred until somebody asks to see them; those of an edition with a warning always are."""
    seed: int = 0
    """Of all draws."""

    @field_validator("kinds")
    @classmethod
    def _can_be_asked(cls, value: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if not value or len(set(value)) < len(value) or not set(value) <= set(ASKED):
            raise ValueError(f"must be one or more of {', '.join(ASKED)}, each once")
        return value


class PanelRecord(BaseModel):
    """A published panel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: Name
    dataset: Dataset
    version: Version
    edition: Sha256
    """Digest of the edition's manifest."""
    ledger: Sha256 | Literal[""]
    """Digest of the ledger that the newest questions come from; `""` for none."""
    gold: Sha256 | Literal[""]
    """Content of the file with known answers; `""` for none."""
    settings: Settings
    questions: Sha256
    """Content of the newest questions."""
    earlier: tuple[Sha256, ...] = ()
    """Those before it, which it begins with."""
    counts: dict[str, Count]
    """Numbers of tasks and of questions: `tasks`, `questions`, `asked`, `agreed`, `gold`, `gold_yes`, `gold_no`, and
    `gold_presumed`, whose answer nobody has confirmed; and numbers of pictures: `drawn`, those of the random check, and
    `left_` and the reason (`queue.LEFT`), those that aren't asked about."""

    @property
    def key(self) -> str:
        """The panel's name in a database."""
        return f"{self.dataset}@{self.version}/{self.name}"
