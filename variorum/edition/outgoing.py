"""The gate of an edition's pixels: `schemas.outgoing` with what the newest ledger withholds."""

from __future__ import annotations

from variorum.edition.editions import base_of
from variorum.edition.ledgers import newest_ledger
from variorum.edition.store import Store
from variorum.edition.verdicts import read_verdicts
from variorum.schemas.manifest import Manifest
from variorum.schemas.outgoing import Outgoing


def outgoing(manifest: Manifest, store: Store) -> Outgoing:
    """The gate that every picture of an edition, or of a release, passes before others may see it.

    Raises:
        CorruptShard: the verdicts are damaged, so that nobody knows what is withheld.
    """
    import pyarrow.compute as pc

    withheld = list[str]()
    for one in filter(None, (manifest, base_of(manifest, store))):
        _, ledger = newest_ledger(one, store)
        if ledger is not None and "withhold" in ledger.counts:
            said = read_verdicts(ledger.verdicts, store)
            withheld += said.filter(pc.equal(said["action"], "withhold"))["id"].to_pylist()
    return Outgoing(withheld)
