"""Ledgers: what curation said of an edition, numbered, so that any of them can be followed again.

editions/<name>/<version>/ledgers/0001.json         measurements, verdicts, figures
editions/<name>/<version>/ledgers/0001.review.csv   what people are asked, most suspect first
editions/<name>/<version>/current.json              which release is in use
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from schemas.errors import StoreError
from schemas.manifest import Ledger, Manifest, ShardInfo
from schemas.verdict import Action, Verdict
from variorum.store import Store

STRENGTH: Mapping[Action, int] = {"drop": 5, "review": 4, "relabel": 3, "weight": 2, "audit": 1, "keep": 0}
"""Which action wins where steps differ. People are asked before a label is changed, not before damage is dropped."""


class Current(BaseModel):
    """Which release of an edition is in use."""

    release: int


def settle(verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    """One verdict an id: the strongest action, the first step's where two are alike.

    Steps that propose different labels send the picture to review; weights multiply.
    """
    settled: dict[str, Verdict] = {}
    for verdict in verdicts:
        before = settled.get(verdict.id)
        if before is None or STRENGTH[verdict.action] > STRENGTH[before.action]:
            settled[verdict.id] = verdict
        elif before.action == verdict.action == "relabel" and before.labels != verdict.labels:
            settled[verdict.id] = replace(before, action="review", reason="labels_differ", labels=())
        elif before.action == verdict.action == "weight":
            settled[verdict.id] = replace(before, value=before.value * verdict.value)
    return settled


def action_counts(settled: Mapping[str, Verdict]) -> dict[str, dict[str, int]]:
    """Action to reason to number of pictures."""
    pairs = Counter((verdict.action, verdict.reason) for verdict in settled.values())
    found: dict[str, dict[str, int]] = {}
    for (action, reason), number in sorted(pairs.items()):
        found.setdefault(action, {})[reason] = number
    return found


def keep_verdicts(verdicts: list[Verdict], store: Store) -> ShardInfo:
    """Verdicts as a parquet table, in order of id and, within one, of the steps."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("id", "sha256", "action", "by", "reason")
    schema = pa.schema(
        [*((name, pa.string()) for name in names), ("labels", pa.list_(pa.string())), ("value", pa.float64())]
    )
    rows = sorted(verdicts, key=lambda verdict: verdict.id)
    columns = {name: [getattr(verdict, name) for verdict in rows] for name in schema.names}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
    return store.keep_bytes(sink.getvalue(), ".parquet", samples=len(rows))


def read_verdicts(ledger: Ledger, store: Store) -> list[Verdict]:
    """The verdicts of a ledger, as its steps gave them."""
    import pyarrow.parquet as pq

    rows = pq.read_table(store.path(ledger.verdicts, ".parquet")).to_pylist()
    return [Verdict(**{**row, "labels": tuple(row["labels"])}) for row in rows]


def put_ledger(manifest: Manifest, ledger: Ledger, store: Store) -> int:
    """Number and keep a ledger; one that is there already keeps its number."""
    mine = ledger.digest()
    number = 1
    while (there := _read(manifest, number, store)) is not None:
        if there.digest() == mine:
            return number
        number += 1
    while not store.put_if_absent(_name(manifest, number), ledger.model_dump_json(indent=1).encode()):
        there = _read(manifest, number, store)
        if there is not None and there.digest() == mine:
            return number
        number += 1
    return number


def read_ledger(manifest: Manifest, store: Store, number: int | None = None) -> tuple[int, Ledger]:
    """A ledger of an edition by number, or its newest.

    Raises:
        StoreError: there is none, or it judges what the edition was before it moved.
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


def ledger_numbers(manifest: Manifest, store: Store) -> list[int]:
    """Numbers of the ledgers there are."""
    found = store.fs.glob(f"{store.edition_path(manifest)}/ledgers/*.json")
    return sorted(int(str(path).rsplit("/", 1)[-1].removesuffix(".json")) for path in found)


def release_version(manifest: Manifest, number: int) -> str:
    """The version of what a ledger makes of an edition."""
    return f"{manifest.version}-r{number}"


def find_edition(name: str, store: Store) -> Manifest:
    """`dataset@version`, or what is in use of a dataset's newest version. Raises StoreError naming what there is."""
    manifest = store.resolve(name)
    return manifest if "@" in name else current(manifest, store)


def current(manifest: Manifest, store: Store) -> Manifest:
    """The release of an edition that is in use, or the edition itself when none is or it has moved since."""
    pointer = store.read_json(f"editions/{manifest.dataset}/{manifest.version}/current.json", Current)
    if pointer is None:
        return manifest
    released = store.resolve(f"{manifest.dataset}@{release_version(manifest, pointer.release)}")
    same = released.ledger is not None and released.ledger.edition == manifest.digest()
    return released if same else manifest


def set_current(manifest: Manifest, number: int, store: Store) -> None:
    """Put a release of an edition in use."""
    name = f"editions/{manifest.dataset}/{manifest.version}/current.json"
    store.put(name, Current(release=number).model_dump_json().encode())


def put_queue(manifest: Manifest, number: int, queue: str, store: Store) -> None:
    """Keep what people are asked beside a ledger, once: people may have written their answers into it since."""
    store.put_if_absent(_name(manifest, number).replace(".json", ".review.csv"), queue.encode())


def review_queue(verdicts: Iterable[Verdict], table: Any) -> str:
    """What people are asked, as CSV: a line a picture, most suspect first, with what there is to know of it.

    Numbers behind different reasons can't be compared, so reasons follow one another as the verdicts first give them,
    of each those with the highest value first, and without one as they were given. Pictures on which steps contradict
    each other come before all others, the audit's random sample after them.
    Pictures drawn for the audit are asked about whatever else is done with them, and about the new label of a relabel.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    verdicts = list(verdicts)
    drawn = {verdict.id: verdict for verdict in verdicts if verdict.action == "audit"}
    settled = settle(verdicts)
    wanted = drawn | {name: verdict for name, verdict in settled.items() if verdict.action == "review"}
    names = ["id", "sha256", "variant", "labels", "origin"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "by", "reason", "value", "audit", "new_labels"])
    asked = pc.is_in(table.column("id"), value_set=pa.array(list(wanted), pa.string()))
    rows = table.select(names).filter(asked).to_pylist()
    turn: dict[tuple[str, str], int] = {}
    given: dict[str, int] = {}
    for place, verdict in enumerate(verdicts):
        turn.setdefault((verdict.by, verdict.reason), place)
        given.setdefault(verdict.id, place)

    def order(verdict: Verdict) -> tuple[bool, int, float, int]:
        value = math.inf if math.isnan(verdict.value) else -verdict.value
        return verdict.action == "audit", turn.get((verdict.by, verdict.reason), -1), value, given[verdict.id]

    rows.sort(key=lambda row: order(wanted[row["id"]]))
    for row in rows:
        verdict = wanted[row["id"]]
        value = "" if math.isnan(verdict.value) else f"{verdict.value:.6g}"
        cells = [row["id"], row["sha256"], row["variant"], " ".join(row["labels"] or ()), row["origin"]]
        new = plain(" ".join(settled[row["id"]].labels))
        writer.writerow([*map(plain, cells), verdict.by, verdict.reason, value, int(row["id"] in drawn), new])
    return out.getvalue()


def plain(text: str) -> str:
    """Text that a spreadsheet takes for text, not for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _name(manifest: Manifest, number: int) -> str:
    return f"editions/{manifest.dataset}/{manifest.version}/ledgers/{number:04d}.json"


def _read(manifest: Manifest, number: int, store: Store) -> Ledger | None:
    return store.read_json(_name(manifest, number), Ledger)
