"""Releasing: an edition and a ledger become a release. Members are copied; no picture is decoded.

A release unit is a unit of the edition with its verdicts carried out. A unit without verdicts keeps its receipt, and so
its shards' bytes and names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from variorum.edition.editions import current, editions, release_version, resolve, seal, set_current
from variorum.edition.ledgers import read_ledger
from variorum.edition.samples import encode_record
from variorum.edition.shards import ShardWriter, read_shard
from variorum.edition.store import Store
from variorum.edition.tables import (
    COUNTED,
    counts,
    licences,
    read_rows,
    read_table,
    read_verdicts,
    rows_to_parquet,
    same_members,
    sources_edited,
)
from variorum.machine.progress import Advance
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import CorruptShard, StoreError
from variorum.schemas.manifest import Ledger, Manifest, Receipt, ShardInfo, Split
from variorum.schemas.verdict import Verdict
from variorum.stages.build import SPLITS
from variorum.stages.decide import settle
from variorum.stages.job import Job

FORMAT = 1
"""Increased when the same edition and ledger would give other bytes."""


@dataclass(frozen=True, slots=True)
class ReleaseUnit:
    """A unit of the edition, and the changes to it.

    Attributes:
        receipt: the edition's unit.
        key: of the released unit; the edition's own key if nothing changes.
        verdicts: by id.
        shard: index of its shard, and of the tables measured on it.
        row: index of its first picture in a table of the whole edition.
    """

    receipt: Receipt
    key: str
    verdicts: Mapping[str, Verdict]
    shard: int = 0
    row: int = 0
    samples: int = 1

    def __str__(self) -> str:
        return f"samples {self.receipt.start} to {self.receipt.stop}"


class Release:
    """The units of a release."""

    name = "release"
    doing = "releasing"
    uses_models = False

    def __init__(self, job: Job, manifest: Manifest, ledger: Ledger) -> None:
        self.job = job
        self.manifest = manifest
        self.ledger = ledger

    def parts(self) -> Sequence[ReleaseUnit]:
        """The units of the release. Raises StoreError, as `release_units` does."""
        return release_units(self.manifest, self.ledger, self.job.store)

    def kept(self, part: ReleaseUnit) -> Receipt | None:
        """The receipt of the released unit."""
        return part.receipt if part.key == part.receipt.unit else self.job.store.receipt(part.key)

    def check(self) -> None:
        """Does nothing, because no model is needed."""

    def make(self, part: ReleaseUnit, advance: Advance) -> Receipt:
        """Copy one unit's members, carry out its verdicts, and store the receipt."""
        receipt = make_unit(part, self.manifest, self.ledger, self.job.store)
        advance(part.samples)
        return receipt


def release_units(manifest: Manifest, ledger: Ledger, store: Store) -> list[ReleaseUnit]:
    """The units of a release, each with its verdicts and key.

    Raises:
        StoreError: a verdict names a picture that isn't in the edition, or has changed since.
    """
    settled = settle(read_verdicts(ledger.verdicts, store))
    waiting = {name: verdict for name, verdict in settled.items() if verdict.action != "keep"}
    total = len(waiting)
    content = {
        info.sha256 for step in {c.partition(".")[0] for c in ledger.members.values()} for info in _parts(ledger, step)
    }
    parts, changed, shard, row = [], [], 0, 0
    for unit in manifest.units:
        receipt = store.receipt(unit)
        if receipt is None:
            raise StoreError(f"unit {unit[:12]} of {manifest.dataset}@{manifest.version} is gone; build it again")
        mine = {}
        pictures = _pictures(receipt.rows, store)
        for sample_id, sha256 in pictures:
            if found := waiting.pop(sample_id, None):
                mine[sample_id] = found
                changed += [sample_id] if found.sha256 != sha256 else []
        key = unit
        if mine or (ledger.members and "test" in receipt.shards):
            said: list[Json] = [_said(mine[name]) for name in sorted(mine)]
            classes: list[Json] = [class_id for class_id, _ in manifest.classes]
            added: list[Json] = [dict(ledger.members), [*sorted(content)]]
            key = digest(["release", FORMAT, unit, said, classes, added])
        parts.append(ReleaseUnit(receipt, key, mine, shard, row))
        shard, row = shard + ("test" in receipt.shards), row + len(pictures)
    if waiting or changed:
        raise StoreError(
            f"the ledger has {total} verdicts on {manifest.dataset}@{manifest.version}: {len(waiting)} name pictures "
            f"that aren't in it, {len(changed)} a picture that has changed since (the first: "
            f"{next(iter([*waiting, *changed]))}); curate again: variorum curate {manifest.dataset}"
        )
    return parts


def make_unit(part: ReleaseUnit, manifest: Manifest, ledger: Ledger, store: Store) -> Receipt:
    """Make one released unit and store its receipt, or return the receipt of a process that was first.

    Raises:
        CorruptShard: the edition's unit has lost files; building it again restores them.
    """
    done = store.receipt(part.key)
    if done and store.has(done.files()):
        return done
    rows = read_table(store, [part.receipt.rows]).to_pylist()
    by_id = {row["id"]: row for row in rows}
    index = {class_id: position for position, (class_id, _) in enumerate(manifest.classes)}
    added = added_content(ledger, part, store)
    shards: dict[Split, ShardInfo] = dict(part.receipt.shards)
    endings = part.receipt.members
    for name, said in part.verdicts.items():
        row = by_id[name]
        row.update(action=said.action, by=said.by, why=said.reason, value=said.value, given=row["labels"])
    if source := shards.pop("test", None):
        with store.temporary(".test.tar") as path, ShardWriter(path) as writer:
            for key, members in read_shard(store.path(source)):
                verdict = part.verdicts.get(key)
                row = by_id[key]
                if verdict and verdict.action == "drop":
                    row.update(status="dropped", reason=verdict.reason, start=-1)
                    continue
                if verdict and verdict.action == "relabel":
                    relabel(members, row, verdict, index)
                for ending, content in added.items():
                    members[ending] = content[key]
                row["start"] = writer.write(key, members)
            writer.close()
            if writer.samples:
                shards = {"test": store.keep(path, sha256=writer.sha256, samples=writer.samples), **shards}
                endings = list(writer.members)
    table = store.keep_bytes(rows_to_parquet(rows), ".parquet", samples=len(rows))
    if "test" not in shards and "quarantine" not in shards:
        endings = []
    return store.put_receipt(
        Receipt(
            unit=part.key,
            start=part.receipt.start,
            stop=part.receipt.stop,
            shards=shards,
            members=endings,
            rows=table,
        )
    )


def relabel(members: dict[str, bytes], row: dict[str, Any], verdict: Verdict, index: Mapping[str, int]) -> None:
    """Change a sample's labels in its members and its row. Raises StoreError for an unknown class."""
    unknown = [label for label in verdict.labels if label not in index]
    if unknown or not verdict.labels:
        raise StoreError(f"verdict of {verdict.by} on {verdict.id}: {unknown or 'no label'} is no class of the edition")
    record = json.loads(members["json"])
    record["labels"] = list(verdict.labels)
    members["json"] = encode_record(record)
    members["cls"] = b"%d" % index[verdict.labels[0]]
    row.update(labels=list(verdict.labels), label=index[verdict.labels[0]])


def release_fingerprint(manifest: Manifest, ledger: Ledger) -> str:
    """Identity of the release that a ledger makes of an edition."""
    return digest([FORMAT, manifest.digest(), ledger.digest()])


def seal_release(
    manifest: Manifest, number: int, ledger: Ledger, receipts: Sequence[Receipt], store: Store
) -> Manifest:
    """Seal a release from its units' receipts, in the edition's order, and make it the current one."""
    rows = [receipt.rows for receipt in receipts]
    table = read_table(store, rows, COUNTED)
    shards = {split: [r.shards[split] for r in receipts if split in r.shards] for split in SPLITS}
    released = manifest.model_copy(
        update={
            "version": release_version(manifest, number),
            "fingerprint": release_fingerprint(manifest, ledger),
            "members": same_members(*(receipt.members for receipt in receipts if "test" in receipt.shards)),
            "filters": sorted({*manifest.filters, *ledger.models.values()}),
            "units": [receipt.unit for receipt in receipts],
            "shards": {split: infos for split, infos in shards.items() if infos},
            "rows": rows,
            "ledger": ledger,
            "counts": counts(table),
            "sources_edited": sources_edited(table),
            "licences": licences(table),
        }
    )
    released = seal(released, store)
    set_current(manifest, number, store)
    return released


def rollback(manifest: Manifest, store: Store, number: int | None = None) -> Manifest:
    """Make an older release of an edition the current one. Missing files are rebuilt from its ledger.

    Args:
        manifest: the edition, not a release of it.
        store: its store.
        number: of the release; by default the newest one before the current.

    Raises:
        StoreError: no such release, or the edition has changed since it was made.
    """
    number, ledger = read_ledger(manifest, store, earlier_release(manifest, store, number))
    receipts = [make_unit(unit, manifest, ledger, store) for unit in release_units(manifest, ledger, store)]
    return seal_release(manifest, number, ledger, receipts, store)


def earlier_release(manifest: Manifest, store: Store, number: int | None = None) -> int:
    """The number of the release to go back to; see `rollback`."""
    name = f"{manifest.dataset}@{manifest.version}"
    made = releases(manifest, store)
    digest_now = manifest.digest()
    here = [found for found, released in made.items() if released.ledger and released.ledger.edition == digest_now]
    listed = ", ".join(map(str, here)) or "none"
    if moved := [found for found in made if found not in here]:
        listed += f"; of what {manifest.version} was before it moved: {', '.join(map(str, moved))}"
    if number is None:
        used = current(manifest, store).version
        in_use = next((found for found in here if made[found].version == used), 0)
        earlier = [found for found in here if found < in_use]
        if not earlier:
            raise StoreError(f"{name}: no release before {used}; there are: {listed}")
        number = earlier[-1]
    if number not in made:
        raise StoreError(f"{name} has no release {number}; there are: {listed}")
    if number in moved:
        raise StoreError(
            f"release {number} is of what {name} was before it moved; it is there under its own name, "
            f"{manifest.dataset}@{release_version(manifest, number)}, and can't stand for what {name} is now"
        )
    return number


def releases(manifest: Manifest, store: Store) -> dict[int, Manifest]:
    """The releases of an edition by number, in order. For a -dev edition, those of its earlier content are included."""
    prefix = release_version(manifest, 0)[:-1]
    numbers = sorted(
        int(version.removeprefix(prefix))
        for dataset, version in editions(store)
        if dataset == manifest.dataset and version.startswith(prefix)
    )
    return {number: resolve(f"{manifest.dataset}@{release_version(manifest, number)}", store) for number in numbers}


def added_content(ledger: Ledger, part: ReleaseUnit, store: Store) -> dict[str, dict[str, bytes]]:
    """Content of added members by ending and id, for the samples of one unit."""
    found: dict[str, dict[str, bytes]] = {}
    if "test" not in part.receipt.shards:
        return found
    pictures = _pictures(part.receipt.rows, store)
    for ending, column in ledger.members.items():
        step = column.partition(".")[0]
        measured, scored = ledger.measured.get(step, []), ledger.scored.get(step)
        places = [(measured[part.shard], 0)] if measured else []
        for info, row in [*places, *([(scored, part.row)] if scored else [])]:
            rows = read_rows(store, info, ["id", "sha256", column], row, row + len(pictures))
            if rows is not None:
                *keys, content = (rows.column(name).to_pylist() for name in ("id", "sha256", column))
                if list(zip(*keys, strict=True)) != pictures:
                    raise CorruptShard(
                        f"{store.object(info, '.parquet')}: this table of curate.{step} isn't of the edition's "
                        f"pictures; curate again"
                    )
                found[ending] = dict(zip(keys[0], content, strict=True))
    return found


def _said(verdict: Verdict) -> list[Json]:
    """A verdict as part of a key. The value is text, because a digest can't contain NaN."""
    return [verdict.id, verdict.action, verdict.by, verdict.reason, list(verdict.labels), repr(verdict.value)]


def _parts(ledger: Ledger, step: str) -> list[ShardInfo]:
    return [*ledger.measured.get(step, []), *([ledger.scored[step]] if step in ledger.scored else [])]


def _pictures(rows: ShardInfo, store: Store) -> list[tuple[str, str]]:
    """Id and sha256 of a unit's accepted pictures, in the order of its shard."""
    table = read_table(store, [rows], ["id", "sha256", "status"])
    columns = (table.column(name).to_pylist() for name in ("id", "sha256", "status"))
    return [(sample_id, sha256) for sample_id, sha256, status in zip(*columns, strict=True) if status == "accepted"]
