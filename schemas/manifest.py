"""Records of finished work: a receipt says that a unit is done, a manifest describes a whole edition.

Only `Receipt.made` may hold a time, host or user; no digest covers it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, StringConstraints, model_serializer

from variorum.schemas.canonical import digest
from variorum.schemas.sample import SPLITS

FORMAT = 4
"""Of the editions that are made now. Those of format 3 can be read, verified, curated and released."""
QUARANTINE = "quarantine"
CONFIG = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}"
"""What a configuration's name may be: it is a folder's name, and `datasets` reads it in a pattern."""
Group = Annotated[str, StringConstraints(pattern=rf"^(({CONFIG}/)?(train|validation|test)|{QUARANTINE})$")]
"""Pictures that lie in shards of their own: `test`, `size_0.05/test`, or `quarantine`."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A hash that becomes a file's name: nothing else, so that a foreign manifest can't name files outside the store."""


class ShardInfo(BaseModel):
    """A file in the store, named by the hash of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    size: int
    """Bytes."""
    samples: int


class Shard(ShardInfo):
    """A shard of an edition. `unit` is the index of the unit that it belongs to; None in editions of format 3."""

    unit: int | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {name: value for name, value in dumped.items() if value is not None}


class Receipt(BaseModel):
    """Proof that a unit is finished. Nothing but a receipt in the store marks a unit as done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    """The unit's key."""
    start: int
    stop: int
    shards: dict[Group, ShardInfo]
    """By group, in the order of the table's rows."""
    members: list[str]
    """File endings of the samples, sorted; empty without samples. With several for pictures, each sample has one."""
    rows: ShardInfo
    """The unit's table: one row per picture, made or not."""
    made: dict[str, Any] = {}
    """When, where, with which library versions and how fast. Never hashed."""

    def files(self) -> list[tuple[ShardInfo, str]]:
        """All files it refers to, each with its suffix."""
        return [(self.rows, ".parquet"), *((shard, ".tar") for shard in self.shards.values())]


class Tables(BaseModel):
    """What was measured or scored on a part of an edition: one table per component."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: dict[str, ShardInfo]

    def files(self) -> list[tuple[ShardInfo, str]]:
        """All files it refers to, each with its suffix."""
        return [(info, ".parquet") for info in self.tables.values()]


class Ledger(BaseModel):
    """Result of curating an edition: measurements, verdicts, and the steps and models behind them.

    The ledgers of an edition are numbered. Ledger 2 of edition 1.0.0 leads to release 1.0.0-r2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edition: str
    """Digest of the judged edition's manifest."""
    curate: list[dict[str, Any]]
    """Identities of the steps, in recipe order."""
    models: dict[str, str]
    """Alias to pin, for every model that was used."""
    measured: dict[str, list[ShardInfo]]
    """By step, one table per shard, with the key columns id and sha256."""
    scored: dict[str, ShardInfo]
    """By step, one table of the whole edition, with the same key columns."""
    verdicts: ShardInfo
    """The verdicts of all steps, before conflicts between them are settled."""
    members: dict[str, str] = {}
    """File endings that a release adds to every sample, each with the column that holds the content."""
    copies: list[str] = []
    """Columns with the id of the picture that each is proved to be a copy of."""
    counts: dict[str, dict[str, int]]
    """By action and reason, the number of pictures after settling."""
    figures: dict[str, dict[str, Any]]
    """By step, its figures for the card."""
    detectors: dict[str, Any] = {}
    """What the detectors flag, by class, and how far they agree; see `variorum.stages.agreement`."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Ledgers of older versions have no `copies`, and keep their digests."""
        dumped: dict[str, Any] = handler(self)
        return {name: value for name, value in dumped.items() if name != "copies" or value}

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

    format: int = FORMAT
    dataset: str
    version: str
    fingerprint: str
    """Digest over the unit keys: recipe, source data, model pins."""
    recipe: dict[str, Any]
    profile: str
    classes: list[tuple[str, str]]
    """(id, name) in index order; the `cls` member of a sample holds the index."""
    members: list[str]
    """File endings of the samples, sorted. With several for pictures, each sample has one of these."""
    models: dict[str, str]
    """Alias to pin, for every model that was used to make the edition."""
    filters: list[str]
    """Pins of the models that decided what was accepted; they may not judge the edition."""
    units: list[str]
    shards: dict[Group, list[Shard]]
    """By group, the shards in the order of their units. A unit has at most one in a group."""
    rows: list[ShardInfo]
    plan: ShardInfo | None = None
    """Table of the requested pictures, one row each; None if the generator doesn't plan."""
    ledger: Ledger | None = None
    """The ledger behind a release; `ledger.edition` is the digest of the edition that it was made from."""
    counts: dict[str, dict[str, int]]
    """By variant and status (with `:reason` unless accepted), the number of pictures."""
    sources: int
    """Number of source samples read."""
    sources_edited: int
    """Number of source samples with at least one accepted picture that isn't a baseline."""
    licences: dict[str, int]
    """Licence to number of accepted pictures."""

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
