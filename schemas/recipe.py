"""A recipe says what an edition is: one source, the techniques applied, the judgements, the measures, the card.

Parsing is strict and happens before any work: an unknown field or component fails with the choices there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator

from schemas.canonical import Json, digest
from schemas.component import (
    PACKAGES,
    Component,
    CurationStep,
    Evaluation,
    Generator,
    Source,
    build_component,
    explain,
)
from schemas.errors import RecipeError

NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
COMPONENT_FIELDS = ("source", "generate", "curate", "evaluate")
VERSION = re.compile(r"\d+\.\d+\.\d+(-dev)?")


class Card(BaseModel):
    """What the data card says that no run can know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = "default"
    """File name in data_cards/ without `.md.j2`."""
    title: str = ""
    summary: str = ""
    citation: str = ""


class Recipe(BaseModel):
    """One dataset at one version.

    Components may carry secrets nowhere: all that is here is hashed, stored and printed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    version: str
    seed: int = Field(default=0, ge=0, lt=2**63)
    samples_per_shard: int = Field(default=32, ge=1, le=100_000)
    """Source samples that one unit reads; a unit writes one shard per split."""
    max_failure_rate: float = Field(default=0.5, ge=0, le=1)
    """Share of a unit's source samples that may fail (bad files, broken edits) before the unit itself fails."""
    limit: int | None = Field(default=None, ge=1)
    """Read only the first so many source samples."""
    source: SerializeAsAny[Source]
    generate: tuple[SerializeAsAny[Generator], ...] = ()
    curate: tuple[SerializeAsAny[CurationStep], ...] = ()
    evaluate: tuple[SerializeAsAny[Evaluation], ...] = ()
    card: Card = Card()

    @field_validator("dataset")
    @classmethod
    def _name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("must be lower-case letters, digits and underscores")
        return value

    @field_validator("version")
    @classmethod
    def _version(cls, value: str) -> str:
        if not VERSION.fullmatch(value):
            raise ValueError("must look like 1.2.3, or 1.2.3-dev for one that may still move")
        return value

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Recipe:
        """A recipe from a YAML file's mapping.

        Raises:
            RecipeError: one line a problem, each naming its path and the choices.
        """
        fields = dict(data)
        source = fields.get("source")
        if not isinstance(source, Mapping):
            raise RecipeError("source: a recipe needs a source with a name")
        fields["source"] = build_component(Source, source, "source")
        lists: dict[str, type[Component]] = {
            "generate": Generator,
            "curate": CurationStep,
            "evaluate": Evaluation,
        }
        for key, kind in lists.items():
            entries = fields.get(key) or ()
            if not isinstance(entries, list | tuple) or not all(isinstance(entry, Mapping) for entry in entries):
                raise RecipeError(f"{key}: must be a list of {PACKAGES[kind][1]}s, each with a name")
            fields[key] = tuple(
                build_component(kind, entry, f"{key}.{position}") for position, entry in enumerate(entries)
            )
        check_curation(fields["curate"])
        try:
            return cls(**fields)
        except ValidationError as error:
            raise RecipeError(explain(error, "", cls)) from None

    def components(self) -> tuple[Component, ...]:
        """All components, in the order in which they work."""
        return (self.source, *self.generate, *self.curate, *self.evaluate)

    def dump(self) -> dict[str, Json]:
        """The whole recipe as JSON values; `Recipe.parse` reads it back."""
        return {
            **self.model_dump(mode="json", exclude=set(COMPONENT_FIELDS), exclude_none=True),
            "source": self.source.config(),
            "generate": [component.config() for component in self.generate],
            "curate": [component.config() for component in self.curate],
            "evaluate": [component.config() for component in self.evaluate],
        }

    def identity(self) -> dict[str, Json]:
        """What decides the pictures: not the curation, the evaluations or the card, and not where data lies."""
        return {
            **self.model_dump(mode="json", exclude={*COMPONENT_FIELDS, "card", "max_failure_rate"}, exclude_none=True),
            "source": self.source.identity(),
            "generate": [component.identity() for component in self.generate],
        }

    def fingerprint(self) -> str:
        """Digest of the identity and the components' revisions, whatever version it is given out as."""
        identity = {name: value for name, value in self.identity().items() if name != "version"}
        revisions = tuple(component.revision for component in (self.source, *self.generate))
        return digest([identity, revisions])


def check_curation(steps: Sequence[CurationStep]) -> None:
    """Every step comes once, and after the steps whose columns it reads. Raises RecipeError naming what to add."""
    names: list[str] = []
    for position, step in enumerate(steps):
        name = step.component_name()
        if name in names:
            raise RecipeError(f"curate.{position}: {name} is there already; a step's columns go by its name")
        if missing := [need for need in step.needs() if need not in names]:
            raise RecipeError(
                f"curate.{position}: {name} needs {', '.join(missing)} before it; put "
                f"{', '.join(f'`- name: {need}`' for need in missing)} higher up in the list"
            )
        names.append(name)
