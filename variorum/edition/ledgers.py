"""Ledgers: the numbered results of curating an edition, so that each can be carried out again.

editions/<name>/<version>/ledgers/0001.json         measurements, verdicts, figures
editions/<name>/<version>/ledgers/0001.review.csv   the review queue, most suspect first
curations/<key>.json                                the ledger of a curation, so that it isn't repeated
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import BaseModel

from variorum.edition.editions import beside
from variorum.edition.records import BARE, to_json
from variorum.edition.shards import naming
from variorum.edition.store import Store
from variorum.schemas.errors import StoreError
from variorum.schemas.fields import Number, Sha256
from variorum.schemas.manifest import Ledger, Manifest


class Curation(BaseModel):
    """The result of a curation."""

    ledger: Number
    of: Sha256
    """Digest of the ledger. If the edition's folder has been deleted, the number may belong to another ledger."""


def put_ledger(manifest: Manifest, ledger: Ledger, store: Store) -> int:
    """Store a ledger under a new number; returns the number. A ledger with the same content keeps its number."""
    mine = ledger.digest()
    number = 1
    while (there := _read(manifest, number, store)) is not None:
        if there.digest() == mine:
            return number
        number += 1
    while not store.put_if_absent(_name(manifest, number), to_json(ledger)):
        there = _read(manifest, number, store)
        if there is not None and there.digest() == mine:
            return number
        number += 1
    return number


def read_ledger(manifest: Manifest, store: Store, number: int | None = None) -> tuple[int, Ledger]:
    """A ledger of an edition by number, or its newest.

    Raises:
        StoreError: it doesn't exist, or the edition has changed since.
    """
    name = f"{manifest.dataset}@{manifest.version}"
    numbers = ledger_numbers(manifest, store)
    if not numbers:
        raise StoreError(f"{name} has no ledger yet; make one with: variorum curate {manifest.dataset}")
    number = number or numbers[-1]
    ledger = _read(manifest, number, store)
    if ledger is None:
        raise StoreError(f"{name} has no ledger {number}; there are: {', '.join(map(str, numbers))}")
    if ledger.edition != manifest.digest():
        raise StoreError(
            f"ledger {number} of {name} judges another edition ({ledger.edition[:12]}, this is "
            f"{manifest.digest()[:12]}); curate again: variorum curate {manifest.dataset}"
        )
    return number, ledger


def newest_ledger(manifest: Manifest, store: Store) -> tuple[int, Ledger | None]:
    """Number and content of the edition's newest ledger; 0 and None if it has none of its present state."""
    for number in reversed(ledger_numbers(manifest, store)):
        try:
            return read_ledger(manifest, store, number)
        except StoreError:  # of what a -dev edition was before it moved
            continue
    return 0, None


def ledger_numbers(manifest: Manifest, store: Store) -> list[int]:
    """Numbers of the edition's ledgers, in order."""
    names = [path.rsplit("/", 1)[-1] for path in store.listed(beside(manifest, "ledgers/*.json"))]
    return sorted(int(name[:-5]) for name in names if re.fullmatch(r"[0-9]{4,9}\.json", name))


def put_queue(manifest: Manifest, number: int, queue: Iterable[str], store: Store) -> None:
    """Store the review queue of a ledger, given in pieces, but never replace one: it may have answers in it."""
    name = _queue_name(manifest, number)
    if store.has(name):
        return
    with store.temporary(".csv") as path:
        with naming(path), path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(queue)
        store.put_file_if_absent(name, path)


def put_curation(key: str, number: int, ledger: Ledger, store: Store) -> None:
    """Record the ledger of a curation; `key` is the digest of all that decides it."""
    store.put_record(f"curations/{key}.json", Curation(ledger=number, of=ledger.digest()))


def kept_curation(key: str, manifest: Manifest, store: Store) -> tuple[int, Ledger] | None:
    """The recorded ledger of a curation, if the ledger, its queue and all of its tables exist."""
    kept = store.made_record(f"curations/{key}.json", Curation)
    ledger = _read(manifest, kept.ledger, store) if kept else None
    if kept is None or ledger is None or ledger.digest() != kept.of:
        return None
    if not store.has(_queue_name(manifest, kept.ledger)):
        return None
    return (kept.ledger, ledger) if store.whole((info, ".parquet") for info in ledger.tables()) else None


def _name(manifest: Manifest, number: int) -> str:
    return beside(manifest, f"ledgers/{number:04d}.json")


def _queue_name(manifest: Manifest, number: int) -> str:
    return beside(manifest, f"ledgers/{number:04d}.review.csv")


def _read(manifest: Manifest, number: int, store: Store) -> Ledger | None:
    return store.read_record(_name(manifest, number), Ledger, bare=manifest.format == BARE)
