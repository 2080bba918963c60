"""Where a pulled edition came from, `pulled.json` beside its manifest. No digest covers it.

A published release comes without the tables of its ledger: what was measured and judged stays with its author. The
record names them, so that they aren't missed.
"""

from __future__ import annotations

from collections.abc import Set

from pydantic import BaseModel, ConfigDict, Field

from variorum.edition.editions import beside
from variorum.edition.store import Store
from variorum.schemas.fields import Sha256, Text
from variorum.schemas.manifest import Manifest

FILE = "pulled.json"
NOTHING: frozenset[str] = frozenset()


class Pulled(BaseModel):
    """The origin of an edition that was made elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: Text
    """URL or folder, without secrets."""
    revision: Text = ""
    """The commit, on the Hub."""
    tag: Text = ""
    """The revision that was asked for, on the Hub."""
    signed_by: Text = ""
    """Who signed it, as was checked when it came; `""` if nobody did. See `variorum.hub.signatures`."""
    without: list[Sha256] = Field(default=[], max_length=10_000_000)
    """sha256 of the tables that it came without."""


def read_pulled(manifest: Manifest, store: Store) -> Pulled | None:
    """Where an edition came from; None if it was made in this store. Raises CorruptShard for an unreadable record."""
    return store.read_record(beside(manifest, FILE), Pulled)


def put_pulled(manifest: Manifest, found: Pulled, store: Store) -> None:
    """Note where an edition came from."""
    store.put_record(beside(manifest, FILE), found)


def without(manifest: Manifest, store: Store) -> Set[str]:
    """sha256 of the tables of a release's ledger that it came without; none for an edition that was made here."""
    found = read_pulled(manifest, store) if manifest.ledger else None
    if found is None or manifest.ledger is None:
        return NOTHING
    return set(found.without) & {info.sha256 for info in manifest.ledger.tables()}
