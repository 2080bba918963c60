"""Read `alignment.yaml`: the categories on which each model is scored."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from variorum.machine.strict_yaml import read_yaml

FILE = Path(__file__).with_name("alignment.yaml")


class Aligned(BaseModel):
    """The categories that a model is scored on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    categories: tuple[str, ...] = Field(min_length=1)
    """Ids of categories."""
    apart: bool
    """Whether it has a score for each of them; false if one score stands for all."""
    rule: str
    """When it calls a picture unsafe."""
    source: str
    """Who says so."""


@cache
def alignment() -> Mapping[str, Aligned]:
    """By labeler, or by the alias of a head."""
    return {name: Aligned(**row) for name, row in read_yaml(FILE.read_text("utf-8")).items()}
