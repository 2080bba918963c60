"""Recipes. A recipe defines an edition: a source, generators, detectors and deciders, evaluations, the card.

Parsing is strict and happens before any work. An unknown field or component is an error that lists the valid ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator

from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Component, Decider, Detector, Evaluation, Generator, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import KINDS, SECRET, build_component, explain
from variorum.schemas.more import AddsMembers, ChecksColumns, known_columns
from variorum.schemas.sample import Split
from variorum.schemas.secrets import holds_secret

COMPONENT_FIELDS = ("source", "generate", "curate", "evaluate")
NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,95}")
"""Of a dataset: also a folder's name, and the name of a repository on the Hub, which takes 96 characters."""
FIELD = re.compile(r"[a-z][a-z0-9_]{0,95}")
VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){2}(-dev)?")
WARNING = re.compile(r"(?=[^\S\n]*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,500}")
"""Of a recipe: a line of text."""


class Card(BaseModel):
    """The parts of the data card that people write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = "default"
    """Name of one in data_cards/, such as `imagenet_e`, or a file beside the recipe: `./card.md.j2`."""
    title: str = ""
    """The card's heading."""
    summary: str = ""
    """What the set is and what it doesn't say, in a paragraph."""
    citation: str = ""
    """How to cite it, such as a BibTeX entry."""


class Recipe(BaseModel):
    """One dataset at one version.

    All fields but locations of data are hashed, stored and printed, so `parse` refuses secrets in them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    """Name: lower-case letters, digits and underscores."""
    version: str
    """`1.2.3` never changes once sealed; `1.2.3-dev` may."""
    seed: int = Field(default=0, ge=0, lt=2**63, strict=True)
    """All randomness follows from it."""
    samples_per_shard: int = Field(default=32, ge=1, le=100_000, strict=True)
    """Number of source samples per unit; a unit writes one shard per split, or per configuration and split."""
    samples_per_part: int | None = Field(default=None, ge=1, le=100_000, strict=True)
    """Number of source samples that are made at a time, where a unit has more. With many configurations, units can so
    be large and shards few, and a killed run loses no more than these for each worker."""
    max_failure_rate: float = Field(default=0.5, ge=0, le=1, strict=True)
    """Maximum share of the source samples of a unit, or of a part of one, that may fail (bad files, broken edits);
    above it the unit fails."""
    limit: int | None = Field(default=None, ge=1, strict=True)
    """Maximum number of source samples to read."""
    splits: dict[Split, Annotated[float, Field(ge=0, le=1, strict=True)]] = {}
    """Shares of `train`, `validation` and `test`; without `train`, it gets the rest. They are drawn by photograph, so
    copies of one photograph and all that is made of it lie on the same side. Without this, the source says which split
    a picture is of, or else it is `test`."""
    configs: str | None = None
    """A field each of whose values becomes a configuration for loaders: `variant`, a field of the record, a request to
    a generator (`domain`, `attack`) or a field of the source's metadata. Configuration `all` has all pictures."""
    masters: Literal["png", "original"] = "png"
    """`png` writes every picture as PNG. `original` keeps the bytes of pictures that no generator has changed."""
    warning: str | None = None
    """What people may not want to see in the pictures, in a sentence. With one, contact sheets, pages and notebooks
    show blurred pictures only, reviewers see a picture when they ask for it, and the Hub asks for agreement first."""
    source: SerializeAsAny[Source]
    """Where the pictures come from: a component with its fields."""
    generate: tuple[SerializeAsAny[Generator], ...] = ()
    """Generators; each works on the output of the one before it."""
    curate: tuple[SerializeAsAny[Detector] | SerializeAsAny[Decider], ...] = ()
    """Detectors and deciders, in their order; they lead to a ledger, and a ledger to a release."""
    evaluate: tuple[SerializeAsAny[Evaluation], ...] = ()
    """Measures of models on the edition, or of the edition itself."""
    card: Card = Card()
    """What people write in the data card."""

    @field_validator("dataset")
    @classmethod
    def _name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("must be up to 96 lower-case letters, digits and underscores")
        return value

    @field_validator("version")
    @classmethod
    def _version(cls, value: str) -> str:
        if not VERSION.fullmatch(value):
            raise ValueError(
                "must look like 1.2.3, or 1.2.3-dev for a version that may still change; up to 9 ASCII digits each"
            )
        return value

    @field_validator("splits", mode="before")
    @classmethod
    def _shares(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if any(isinstance(share, bool) for share in value.values()):
            raise ValueError("shares must be numbers between 0 and 1")
        known = [share for share in value.values() if isinstance(share, int | float)]
        total = sum(known)
        if value and len(known) == len(value) and (total > 1 + 1e-9 or ("train" in value and abs(total - 1) > 1e-9)):
            rule = "sum to 1" if "train" in value else "sum to 1 at most; train gets the rest"
            raise ValueError(f"the shares sum to {total:g}, and must {rule}")
        return value

    @field_validator("warning")
    @classmethod
    def _warning(cls, value: str | None) -> str | None:
        if value is not None and not WARNING.fullmatch(value):
            raise ValueError("must be a line of 1 to 500 characters; leave it out for pictures that anybody may see")
        return value

    @field_validator("configs")
    @classmethod
    def _field(cls, value: str | None) -> str | None:
        if value is not None and not FIELD.fullmatch(value):
            raise ValueError("must be the name of a field: up to 96 lower-case letters, digits and underscores")
        return value

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Recipe:
        """A recipe from the mapping in a YAML file.

        Raises:
            RecipeError: one line per problem, with its path and the valid choices.
        """
        fields = dict(data)
        if wrong := [key for key in fields if not isinstance(key, str)]:
            raise RecipeError(f"{wrong[0]!r} is no field's name; put it in quotes if it is meant as text")
        source = fields.get("source")
        if not isinstance(source, Mapping):
            raise RecipeError("source: a recipe needs a source with a name")
        fields["source"] = build_component("source", source, "source")
        for part in ("generate", "curate", "evaluate"):
            entries = fields.get(part) or ()
            if not isinstance(entries, list | tuple) or not all(isinstance(entry, Mapping) for entry in entries):
                raise RecipeError(f"{part}: must be a list of {KINDS[part].noun}s, each with a name")
            fields[part] = tuple(build_component(part, entry, f"{part}.{place}") for place, entry in enumerate(entries))
        check_curation(fields["curate"])
        check_evaluations(fields["evaluate"])
        try:
            recipe = cls(**fields)
        except ValidationError as error:
            raise RecipeError(explain(error, "", cls)) from None
        texts = {f"card.{name}": text for name, text in recipe.card}
        for name, value in {**texts, **recipe.model_dump(exclude={*COMPONENT_FIELDS, "card"})}.items():
            if holds_secret(value):
                raise RecipeError(f"{name}: {SECRET}")
        return recipe

    @property
    def samples_at_once(self) -> int:
        """Number of source samples that are made at a time: a unit, or a part of it."""
        return min(self.samples_per_part or self.samples_per_shard, self.samples_per_shard)

    def components(self) -> tuple[Component, ...]:
        """All components, in the order in which they run."""
        return (self.source, *self.generate, *self.curate, *self.evaluate)

    def dump(self) -> dict[str, Json]:
        """The whole recipe as JSON values; `Recipe.parse` reads them back."""
        return {
            **self.model_dump(mode="json", exclude=set(COMPONENT_FIELDS), exclude_none=True),
            "source": self.source.config(),
            "generate": [component.config() for component in self.generate],
            "curate": [component.config() for component in self.curate],
            "evaluate": [component.config() for component in self.evaluate],
        }

    def identity(self) -> dict[str, Json]:
        """The parts that determine the pictures: without curation, evaluations, card and locations of data."""
        return {
            **self.model_dump(mode="json", exclude={*COMPONENT_FIELDS, "card", "max_failure_rate"}, exclude_none=True),
            "source": self.source.identity(),
            "generate": [component.identity() for component in self.generate],
        }

    def fingerprint(self) -> str:
        """Digest of the identity, without the version, and of the components' revisions."""
        identity = {name: value for name, value in self.identity().items() if name != "version"}
        revisions = tuple(component.revision for component in (self.source, *self.generate))
        return digest([identity, revisions])


def check_evaluations(evaluations: Sequence[Evaluation]) -> None:
    """Raise RecipeError if an evaluation occurs twice: the figures are stored and shown by its name."""
    names = [evaluation.component_name() for evaluation in evaluations]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise RecipeError(f"evaluate.{position}: {name} is there already; list each evaluation once")


def check_curation(steps: Sequence[Detector | Decider]) -> None:
    """Raise RecipeError for steps that can't work together.

    One occurs twice, or before a step whose columns it reads; it reads a column that no step gives; or two add the same
    member to the samples.
    """
    names: list[str] = []
    known: dict[str, Mapping[str, str]] = {}
    added: dict[str, str] = {}
    for position, step in enumerate(steps):
        name = step.component_name()
        if name in names:
            raise RecipeError(f"curate.{position}: {name} is there already; list each step once")
        if missing := [need for need in step.needs() if need not in names]:
            raise RecipeError(
                f"curate.{position}: {name} needs {', '.join(missing)} before it; put "
                f"{', '.join(f'`- name: {need}`' for need in missing)} higher up in the list"
            )
        if isinstance(step, Decider):
            if isinstance(step, ChecksColumns):
                step.check_columns(known)
        else:
            if (given := known_columns(step)) is not None:
                known[name] = given
            for member in step.adds if isinstance(step, AddsMembers) else ():
                if other := added.get(member):
                    raise RecipeError(f"curate.{position}: {name} and {other} both add {member}; leave one of them out")
                added[member] = name
        names.append(name)
