"""From a recipe to its units: ranges of source samples, each with a key that covers all that decides its pictures.

The key is a digest of the source's data, the components with their fields and revisions, the model pins and the seed.
So a receipt under a key means that the unit is finished, no matter which process made it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from variorum.models.filters import UNAVAILABLE
from variorum.schemas.canonical import Json, digest, digests
from variorum.schemas.component import ClassInfo, Component, Context
from variorum.schemas.errors import SourceError
from variorum.schemas.more import check_before_work, references_of
from variorum.schemas.recipe import Recipe
from variorum.schemas.uses import deciding_models, optional_models, required_models

FORMAT = 2
"""Increased when the shards or the table of an unchanged recipe would change."""
MOST = 100_000
"""Parts of units that are handed out one by one; beyond that whole units are."""
ALIKE = 32
"""Characters with which the keys of a unit and of its parts begin, so that one listing finds them."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Source samples `start` to `stop - 1`, and the key of the pictures that the recipe makes of them.

    A part of a unit has the key of that in `unit`.
    """

    start: int
    stop: int
    key: str
    unit: str = ""

    @property
    def samples(self) -> int:
        """Number of source samples."""
        return self.stop - self.start

    def __str__(self) -> str:
        return f"samples {self.start} to {self.stop}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The units and the identity of an edition, known before any work."""

    units: tuple[Unit, ...]
    parts: tuple[Unit, ...]
    """What is handed out: units, or parts of them unless there are more than `MOST`."""
    step: int
    """Source samples that are made at a time; a larger unit is made in parts."""
    size: int
    fingerprint: str
    classes: tuple[ClassInfo, ...]
    models: dict[str, str]
    filters: tuple[str, ...]
    keys: frozenset[str]
    """Of the units and of what is handed out."""

    def parts_of(self, unit: Unit) -> tuple[Unit, ...]:
        """The parts of a unit; none if it is made in one go."""
        if unit.samples <= self.step:
            return ()
        ranges = ((start, min(start + self.step, unit.stop)) for start in range(unit.start, unit.stop, self.step))
        return tuple(Unit(*ends, f"{unit.key[:ALIKE]}{digest([unit.key, *ends])[ALIKE:]}", unit.key) for ends in ranges)


def plan(recipe: Recipe, ctx: Context) -> Plan:
    """Units and identity of an edition; no picture is read, no model loaded.

    Raises:
        SourceError: the source is missing or empty.
        RecipeError: an alias is unknown, or a generator can't work on this source.
        ModelUnavailable: a model has no pin yet.
    """
    source = recipe.source
    size = source.size(ctx)
    if size == 0:
        raise SourceError(f"source {source.component_name()}: it has no samples")
    check_before_work(recipe.generate, ctx)
    size = min(size, recipe.limit or size)
    models = {alias: ctx.models.pin(alias) for alias in sorted(required_models(source, *recipe.generate))}
    for generator in recipe.generate:
        models |= optional_pins(generator, ctx)
    filters = sorted({models[alias] for alias in deciding_models(*recipe.generate)} - {UNAVAILABLE})
    classes = source.classes(ctx)
    for what, names in (("id", [info.id for info in classes]), ("name", [info.name for info in classes])):
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SourceError(f"source {source.component_name()}: two classes have the {what} {twice!r}; rename one")
    identity: dict[str, Json] = {
        "format": FORMAT,
        "seed": recipe.seed,
        "source": [source.fingerprint(), source.pin(ctx)],
        "generate": [generator.fingerprint() for generator in recipe.generate],
        "models": models,
        "classes": [info.id for info in classes],
        "splits": {str(split): share for split, share in recipe.splits.items()},
        "configs": recipe.configs,
        "masters": recipe.masters,
    }
    others: list[Json] = [
        [name, other.fingerprint(), other.pin(ctx)]
        for generator in recipe.generate
        for name, other in sorted(references_of(generator).items())
    ]
    if others:
        identity["references"] = others
    if recipe.samples_per_part:
        identity["part"] = recipe.samples_per_part
    step = recipe.samples_per_shard
    ranges = [(start, min(start + step, size)) for start in range(0, size, step)]
    keys = digests(identity, ({"start": start, "stop": stop} for start, stop in ranges))
    units = tuple(Unit(start, stop, key) for (start, stop), key in zip(ranges, keys, strict=True))
    fingerprint = digest([recipe.fingerprint(), [unit.key for unit in units]])
    whole = Plan(units, units, recipe.samples_at_once, size, fingerprint, classes, models, tuple(filters), frozenset())
    parts = units
    if sum(-(-unit.samples // whole.step) for unit in units) <= MOST:
        parts = tuple(part for unit in units for part in whole.parts_of(unit) or (unit,))
    return replace(whole, parts=parts, keys=frozenset(unit.key for unit in (*units, *parts)))


def optional_pins(component: Component, ctx: Context) -> dict[str, str]:
    """Pin by alias, for the models that a component can do without; `unavailable` where one can't be had."""
    return {
        alias: UNAVAILABLE if ctx.models.why_unavailable(alias) else ctx.models.pin(alias)
        for alias in optional_models(component)
    }
