"""The papers of a finished edition: receipts say that a unit is done, the manifest names the whole.

Nothing here holds a clock, a host or a user except `Receipt.made`, which no digest covers.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from schemas.canonical import digest

Split = Literal["test", "quarantine"]


class ShardInfo(BaseModel):
    """A file in the store, named by its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size: int
    """Bytes."""
    samples: int


class Receipt(BaseModel):
    """Proof that a unit is finished; its existence in the store is the only "done" there is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    """The unit's key."""
    start: int
    stop: int
    shards: dict[Split, ShardInfo]
    members: list[str]
    """File endings that every sample of the shards has, sorted; empty when there is no sample."""
    rows: ShardInfo
    """The unit's table: one row a picture made or not made."""
    made: dict[str, Any] = {}
    """When, where, with which library versions and in what time. Never hashed."""


class Ledger(BaseModel):
    """What curation found in an edition: its measurements, its verdicts, and what they were made with.

    An edition's ledgers are numbered, and `1.0.0-r2` is what ledger 2 makes of 1.0.0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edition: str
    """Digest of the manifest that it judges."""
    curate: list[dict[str, Any]]
    """The steps, by identity, in the order in which they worked."""
    models: dict[str, str]
    """Alias to pin, for every model that had a part in it."""
    measured: dict[str, list[ShardInfo]]
    """Step to its table of each shard, keyed by (id, sha256)."""
    scored: dict[str, ShardInfo]
    """Step to its table of the whole edition, keyed likewise."""
    verdicts: ShardInfo
    """What every step said, before it was settled."""
    members: dict[str, str] = {}
    """File endings that a release adds to every sample, and the column that holds their content."""
    counts: dict[str, dict[str, int]]
    """Action to reason to number of pictures, settled."""
    figures: dict[str, dict[str, Any]]
    """Step to its figures for the card."""
    detectors: dict[str, Any] = {}
    """What the steps flag, by class, and how far they agree: `variorum.detectors`."""

    def digest(self) -> str:
        """The ledger's name by content."""
        return digest(self.model_dump(mode="json"))


class Manifest(BaseModel):
    """An edition: what it is made of, to the byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 3
    dataset: str
    version: str
    fingerprint: str
    """Digest over the unit keys: recipe, source data, model pins."""
    recipe: dict[str, Any]
    profile: str
    classes: list[tuple[str, str]]
    """(id, name) in index order; the index is the `cls` member of the shards."""
    members: list[str]
    """File endings that every sample has, sorted."""
    models: dict[str, str]
    """Alias to pin, for every model that had a part in the making."""
    filters: list[str]
    """Pins of the models that decided what was accepted; they may not judge the edition."""
    units: list[str]
    shards: dict[Split, list[ShardInfo]]
    rows: list[ShardInfo]
    plan: ShardInfo | None = None
    """The table of what was asked for, a row a picture; None where the generator works without a plan."""
    ledger: Ledger | None = None
    """Of a release: the ledger that it followed; `ledger.edition` is the digest of the edition it was made from."""
    counts: dict[str, dict[str, int]]
    """variant to status (with `:reason` unless accepted) to number of pictures."""
    sources: int
    """Source samples that were read."""
    sources_edited: int
    """Those of them with an accepted picture that isn't a baseline."""
    licences: dict[str, int]
    """Licence to number of accepted pictures."""

    def digest(self) -> str:
        """The edition's name by content."""
        return digest(self.model_dump(mode="json"))
