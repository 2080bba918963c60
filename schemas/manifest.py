"""Records of finished work: a receipt says that a unit is done, a manifest describes a whole edition.

Only `Receipt.made` may hold a time, host or user; no digest covers it. Records may come from others, so every field has
a pattern or a limit, and what one field says must fit the others; see `variorum.schemas.fields`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
    model_validator,
)

from variorum.schemas.canonical import digest
from variorum.schemas.fields import (
    Alias,
    Column,
    Count,
    Ending,
    Group,
    Line,
    Listing,
    Profile,
    Sha256,
    Step,
    Text,
    Values,
    whole,
)
from variorum.schemas.recipe import NAME, VERSION, WARNING
from variorum.schemas.sample import SPLITS
from variorum.schemas.verdict import Action

FORMAT: Literal[4] = 4
"""Of the editions that are made now. Those of format 3 can be read, verified, curated and released."""
QUARANTINE = "quarantine"
MOST_LISTINGS = 100
"""Of an edition."""
Dataset = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]
Version = Annotated[str, StringConstraints(pattern=rf"^{VERSION.pattern}(-r[0-9]{{1,9}})?$")]
Status = Annotated[
    str,
    StringConstraints(pattern=r"^(accepted|(quarantined|ineligible|failed|dropped)(:(?s:.)+)?|withheld:(?s:.)+)$"),
]
"""A picture's status, with `:reason` unless accepted."""


def is_dev(version: str) -> bool:
    """Return whether it is a -dev version or a release of one, `1.0.0-dev-r1`, which may change its content."""
    return "-dev" in version


class ShardInfo(BaseModel):
    """A file in the store, named by the hash of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    """Of its content; also its name."""
    size: Count
    """Bytes."""
    samples: Count
    """Samples in a shard, rows in a table."""


class Shard(ShardInfo):
    """A shard of an edition. `unit` is the index of the unit that it belongs to; None in editions of format 3."""

    unit: Count | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {name: value for name, value in dumped.items() if value is not None}


class Receipt(BaseModel):
    """Proof that a unit, or a part of one, is finished. Nothing else in the store marks it as done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Sha256
    """The unit's key."""
    start: Count
    """Position of its first sample in the source."""
    stop: Count
    """Position after its last sample."""
    shards: dict[Group, ShardInfo]
    """By group, in the order of the table's rows; of a part, nothing."""
    part: ShardInfo | None = None
    """A part's samples of all groups, in the order of the table's rows; gone once its unit has a receipt."""
    members: list[Ending] = Field(max_length=100)
    """File endings of the samples, sorted; empty without samples. With several for pictures, each sample has one."""
    rows: ShardInfo
    """The unit's table: one row per picture, made or not."""
    made: Values = {}
    """When, where, with which library versions and how fast. Never hashed."""

    @model_validator(mode="after")
    def _fits(self) -> Receipt:
        if self.start > self.stop:
            raise ValueError(f"start {self.start} lies after stop {self.stop}")
        _check_members(self.members)
        return self

    def files(self) -> list[tuple[ShardInfo, str]]:
        """All files it refers to, each with its suffix."""
        part = [(self.part, ".part")] if self.part else []
        return [(self.rows, ".parquet"), *part, *((shard, ".tar") for shard in self.shards.values())]

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {name: value for name, value in dumped.items() if value is not None}


class Tables(BaseModel):
    """Measurements or scores of a part of an edition: one table per component."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: dict[Step, ShardInfo]

    def files(self) -> list[tuple[ShardInfo, str]]:
        """All files it refers to, each with its suffix."""
        return [(info, ".parquet") for info in self.tables.values()]


class Measured(BaseModel):
    """The tables that several detectors made of one shard; see `Store.put_tables`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: dict[Sha256, ShardInfo]
    """By key."""


class Ledger(BaseModel):
    """Result of curating an edition: measurements, verdicts, and the steps and models behind them.

    The ledgers of an edition are numbered. Ledger 2 of edition 1.0.0 leads to release 1.0.0-r2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edition: Sha256
    """Digest of the judged edition's manifest."""
    curate: list[Values]
    """Identities of the steps, in recipe order."""
    models: dict[Alias, Line]
    """Alias to pin, for every model that had a say in what is kept."""
    proposers: dict[Alias, Line] = {}
    """The same for models that only say what people are asked; they may judge a release."""
    measured: dict[Step, list[ShardInfo]]
    """By step, one table per shard, with the key columns id and sha256."""
    scored: dict[Step, ShardInfo]
    """By step, one table of the whole edition, with the same key columns."""
    verdicts: ShardInfo
    """The verdicts of all steps, before conflicts between them are settled."""
    members: dict[Ending, Column] = {}
    """File endings that a release adds to every sample, each with the column that holds the content."""
    copies: list[Column] = []
    """Columns with the id of the picture that each is proved to be a copy of."""
    counts: dict[Action, dict[Text, Count]]
    """By action and reason, the number of pictures after settling."""
    figures: dict[Step, Values]
    """By step, its figures for the card."""
    detectors: Values = {}
    """What the detectors flag, by class, and how far they agree; see `variorum.stages.agreement`."""

    @model_validator(mode="after")
    def _fits(self) -> Ledger:
        for column in (*self.members.values(), *self.copies):
            if column.partition(".")[0] not in {*self.measured, *self.scored}:
                raise ValueError(f"no table has the column {column!r}")
        if missing := [column for column in self.copies if column.partition(".")[0] not in self.scored]:
            raise ValueError(f"copies: {missing[0]!r} isn't of the whole edition")
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Ledgers of older versions have no `copies` and no `proposers`, and keep their digests."""
        dumped: dict[str, Any] = handler(self)
        return {name: value for name, value in dumped.items() if name not in ("copies", "proposers") or value}

    def tables(self) -> list[ShardInfo]:
        """Every parquet file that it names."""
        measured = [info for parts in self.measured.values() for info in parts]
        return [*measured, *self.scored.values(), self.verdicts]

    def digest(self) -> str:
        """Digest of the ledger, which identifies it by content."""
        return digest(self.model_dump(mode="json"))


class Manifest(BaseModel):
    """Description of an edition; its digest covers every byte of the edition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Annotated[Literal[3, 4], BeforeValidator(whole)] = FORMAT
    """Of this file."""
    dataset: Dataset
    """The recipe's name for it."""
    version: Version
    """The recipe's, with `-r1` for a release."""
    fingerprint: Sha256
    """Digest over the unit keys: recipe, source data, model pins."""
    recipe: Values
    """The whole recipe."""
    profile: Profile
    """Table of models."""
    classes: list[tuple[Text, Text]]
    """(id, name) in index order; the `cls` member of a sample holds the index."""
    members: list[Ending] = Field(max_length=100)
    """File endings of the samples, sorted. With several for pictures, each sample has one of these."""
    models: dict[Alias, Line]
    """Alias to pin, for every model that was used to make the edition."""
    filters: list[Line]
    """Pins of the models that decided what was accepted; they may not judge the edition."""
    units: list[Sha256] = Field(min_length=1)
    """Keys of the units, in order."""
    shards: dict[Group, Annotated[list[Shard], Field(min_length=1)]]
    """By group, the shards in the order of their units. A unit has at most one in a group."""
    rows: list[ShardInfo]
    """The tables of the units, in order."""
    plan: ShardInfo | None = None
    """Table of the requested pictures, one row each; None if the generator doesn't plan."""
    listings: dict[Listing, ShardInfo] = Field(default={}, max_length=MOST_LISTINGS)
    """Tables that the last generator draws up over all accepted pictures, such as `episodes`."""
    ledger: Ledger | None = None
    """The ledger behind a release; `ledger.edition` is the digest of the edition that it was made from."""
    counts: dict[Text, dict[Status, Count]]
    """By variant and status (with `:reason` unless accepted), the number of pictures."""
    sources: Count
    """Number of source samples read."""
    sources_edited: Count
    """Number of source samples with at least one accepted picture that isn't a baseline."""
    licences: dict[Text, Count]
    """Licence to number of accepted pictures."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {name: value for name, value in dumped.items() if name != "listings" or value}

    @field_validator("classes")
    @classmethod
    def _differ(cls, value: list[tuple[str, str]]) -> list[tuple[str, str]]:
        for what, names in (("id", [identity for identity, _ in value]), ("name", [name for _, name in value])):
            if len(set(names)) < len(names):
                raise ValueError(f"two classes have the {what} {_twice(names)!r}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Manifest:
        _check_members(self.members)
        _check_recipe(self)
        if len(self.rows) != len(self.units):
            raise ValueError(f"{len(self.units)} units and {len(self.rows)} tables")
        if len(set(self.units)) < len(self.units):
            raise ValueError(f"unit {_twice(self.units)[:12]} is there twice")
        for group, shards in self.shards.items():
            _check_shards(self.format, group, [shard.unit for shard in shards], len(self.units))
        if (self.ledger is None) != ("-r" not in self.version):
            raise ValueError(f"version {self.version} and {'no' if self.ledger is None else 'a'} ledger")
        if self.ledger is None and any(key.startswith("dropped") for found in self.counts.values() for key in found):
            raise ValueError("counts: dropped pictures in an edition that isn't a release")
        return self

    @property
    def warning(self) -> str:
        """Return the recipe's warning of what people may not want to see in the pictures; `""` without one.

        Whoever shows pictures of an edition with a warning blurs them, see `variorum.pixels.blurred`.
        """
        return str(self.recipe.get("warning") or "")

    def accepted(self) -> list[tuple[str, Shard]]:
        """The shards of accepted pictures with their groups, unit by unit: the order of all tables."""
        found = [(group, shard) for group in ordered(self.shards) for shard in self.shards[group]]
        return sorted((pair for pair in found if pair[0] != QUARANTINE), key=lambda pair: pair[1].unit or 0)

    def pictures(self) -> int:
        """Number of accepted pictures."""
        return sum(shard.samples for _, shard in self.accepted())

    def splits(self) -> dict[str, int]:
        """Number of accepted pictures by split."""
        found: dict[str, int] = {}
        for group, shard in self.accepted():
            split = split_of(group)
            found[split] = found.get(split, 0) + shard.samples
        return {split: found[split] for split in SPLITS if split in found}

    def configs(self) -> dict[str, dict[str, int]]:
        """By configuration and split, the number of accepted pictures; empty if the edition has no configurations."""
        found: dict[str, dict[str, int]] = {}
        for group, shard in self.accepted():
            config, split = config_of(group), split_of(group)
            if config:
                found.setdefault(config, {}).setdefault(split, 0)
                found[config][split] += shard.samples
        return found

    def digest(self) -> str:
        """Digest of the manifest, which identifies the edition by content."""
        return digest(self.model_dump(mode="json"))


def group_of(config: str, split: str) -> str:
    """The group of the accepted pictures of a configuration and a split; `config` is `""` where there are none."""
    return f"{config}/{split}" if config else split


def split_of(group: str) -> str:
    """The split of a group of accepted pictures."""
    return group.rpartition("/")[2]


def config_of(group: str) -> str:
    """The configuration of a group of accepted pictures; `""` where there are none."""
    return group.rpartition("/")[0]


def ordered(groups: Iterable[str]) -> list[str]:
    """Groups in the order of a unit's rows: by name, the quarantine last."""
    return sorted(groups, key=lambda group: (group == QUARANTINE, group))


def _check_members(members: Sequence[str]) -> None:
    if list(members) != sorted(set(members)):
        raise ValueError("members: they aren't sorted, or one is there twice")


def _check_recipe(manifest: Manifest) -> None:
    """The fields of a recipe that a report or a release reads; a manifest has them all, or none."""
    recipe, base = manifest.recipe, manifest.version.partition("-r")[0]
    if not recipe:
        return
    named = (recipe.get("dataset"), recipe.get("version"))
    if named != (manifest.dataset, base):
        raise ValueError(f"recipe: it is one of {str(named[0])[:96]}@{str(named[1])[:96]}")
    step = recipe.get("samples_per_shard")
    if not isinstance(step, int) or isinstance(step, bool) or not 1 <= step <= 100_000:
        raise ValueError("recipe.samples_per_shard: must be a number from 1 to 100000")
    makers = recipe.get("generate")
    if not isinstance(makers, list):
        raise ValueError("recipe.generate: must be a list")
    for where, part in (("source", recipe.get("source")), *((f"generate.{k}", part) for k, part in enumerate(makers))):
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"recipe.{where}: must have a component's name")
    if not isinstance(recipe.get("splits", {}), dict):
        raise ValueError("recipe.splits: must be a mapping")
    warning = recipe.get("warning")
    if warning is not None and not (isinstance(warning, str) and WARNING.fullmatch(warning)):
        raise ValueError("recipe.warning: must be a line of 1 to 500 characters")


def _check_shards(format: int, group: str, units: list[int | None], number: int) -> None:
    """A group has at most one shard of a unit, in the units' order; format 3 doesn't say which is whose."""
    if format == 3:
        if len(units) > number or any(unit is not None for unit in units) or "/" in group:
            raise ValueError(f"shards.{group}: they aren't those of {number} units of format 3")
        return
    known = [unit for unit in units if unit is not None and unit < number]
    if len(known) < len(units):
        raise ValueError(f"shards.{group}: a shard that belongs to none of {number} units")
    if known != sorted(set(known)):
        raise ValueError(f"shards.{group}: two shards of one unit, or another order than that of the units")


def _twice(names: Sequence[str]) -> str:
    """The first name that is there twice."""
    return next(name for name, number in Counter(names).items() if number > 1)
