"""Releasing: an edition and a ledger become a release. Members are copied; no picture is decoded.

A release unit is a unit of the edition with its verdicts carried out. A unit without verdicts keeps its shards' bytes
and names. Where the recipe has `splits`, photographs that turned out to be copies are brought to the same side.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from variorum.edition.columns import WITHHELD
from variorum.edition.editions import current, editions, link_data, release_version, resolve, seal, set_current
from variorum.edition.ledgers import read_ledger
from variorum.edition.samples import encode_record, read_record
from variorum.edition.shards import PICTURES, alike, read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_rows, read_unit, rows_to_parquet, totals
from variorum.edition.units import edition_units
from variorum.edition.verdicts import OUT, read_verdicts, settle, verdicts_of
from variorum.machine.progress import Advance
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import CorruptShard, StoreError
from variorum.schemas.manifest import QUARANTINE, Ledger, Manifest, Receipt, ShardInfo, group_of, ordered
from variorum.schemas.sample import MADE_OF
from variorum.schemas.verdict import Action, Verdict
from variorum.stages.build import Shards, grouped
from variorum.stages.job import Job
from variorum.stages.splits import moved_splits

log = logging.getLogger(__name__)

FORMAT = {3: 1, 4: 2}
"""By format of the edition. Increased when the same edition and ledger would give other bytes."""
SILENT = ("keep", "note")
"""Actions that a release doesn't carry out or mention."""


@dataclass(frozen=True, slots=True)
class ReleaseUnit:
    """A unit of the edition, and the changes to it.

    Attributes:
        receipt: the edition's unit.
        key: of the released unit; the edition's own key if nothing changes.
        verdicts: by id.
        moves: new split by photograph.
        shard: index of its first shard among the accepted ones, and so of the first table measured on them.
        row: index of its first picture in a table of the whole edition.
    """

    receipt: Receipt
    key: str
    verdicts: Mapping[str, Verdict]
    moves: Mapping[str, str]
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

    def kept(self, parts: Sequence[ReleaseUnit]) -> list[Receipt | None]:
        """The receipts of the released units."""
        there = {part.key: part.receipt for part in parts if part.key == part.receipt.unit}
        there |= self.job.store.receipts(part.key for part in parts if part.key not in there)
        return [there.get(part.key) for part in parts]

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
    import pyarrow as pa
    import pyarrow.compute as pc

    settled = settle(read_verdicts(ledger.verdicts, store))
    loud = settled.filter(pc.invert(pc.is_in(settled["action"], value_set=pa.array(SILENT))))
    waiting = {verdict.id: verdict for verdict in verdicts_of(loud)}
    total = len(waiting)
    content = {
        info.sha256 for step in {c.partition(".")[0] for c in ledger.members.values()} for info in _parts(ledger, step)
    }
    moves = moved_splits(manifest, ledger, waiting, store)
    parts, changed, shard, row = [], [], 0, 0
    for receipt in edition_units(manifest, store):
        mine, moving = {}, dict[str, str]()
        pictures = _pictures(receipt.rows, store, lenders=bool(moves))
        for picture in pictures:
            sample_id, photograph = picture["id"], picture["photograph"]
            if found := waiting.pop(sample_id, None):
                mine[sample_id] = found
                changed += [sample_id] if found.sha256 != picture["sha256"] else []
            if photograph in moves:
                moving[photograph] = moves[photograph]
            if moves and _parted(picture, moves) and (found is None or found.action not in OUT):
                mine[sample_id] = Verdict(sample_id, picture["sha256"], "drop", "splits", "made_of_another_split")
        key, accepted = receipt.unit, [group for group in receipt.shards if group != QUARANTINE]
        if mine or moving or (ledger.members and accepted):
            said: list[Json] = [_said(mine[name]) for name in sorted(mine)]
            classes: list[Json] = [class_id for class_id, _ in manifest.classes]
            added: list[Json] = [dict(ledger.members), [*sorted(content)]]
            moved: list[Json] = [moving] if moving else []
            key = digest(["release", FORMAT[manifest.format], receipt.unit, said, classes, added, *moved])
        parts.append(ReleaseUnit(receipt, key, mine, moving, shard, row))
        shard, row = shard + len(accepted), row + len(pictures)
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
    if done and store.whole(done.files()):
        return done
    rows = read_unit(store, part.receipt.rows, classes=len(manifest.classes)).to_pylist()
    by_id = {row["id"]: row for row in rows if row["start"] >= 0}
    index = {class_id: position for position, (class_id, _) in enumerate(manifest.classes)}
    added = added_content(ledger, part, store)
    for name, said in part.verdicts.items():
        row = by_id[name]
        row.update(action=said.action, by=said.by, why=said.reason, value=said.value, given=row["labels"])
    with Shards(store) as shards:
        for group in ordered(part.receipt.shards):
            if group == QUARANTINE:
                continue
            for key, members in read_shard(store.path(part.receipt.shards[group])):
                verdict, row = part.verdicts.get(key), by_id.get(key)
                if row is None or any(key not in content for content in added.values()):
                    raise CorruptShard(f"{part}: picture {key} is in a shard of {group}, and no table is about it")
                if verdict and verdict.action == "drop":
                    row.update(status="dropped", reason=verdict.reason, start=-1)
                    continue
                if verdict and verdict.action == "withhold":
                    withhold(row, verdict)
                    continue
                if verdict and verdict.action == "relabel":
                    relabel(members, row, verdict, index)
                to = group
                if split := part.moves.get(row.get("photograph", "")):
                    move(members, row, split)
                    to = group_of(row["config"], split)
                for ending, content in added.items():
                    members[ending] = content[key]
                shards.write(to, key, members, row)
        kept, written, endings = shards.kept()
    # the rows of shards come first and in the shards' order, as in the edition
    place = {row["id"]: number for number, row in enumerate(written)}
    for row in rows:
        if row["id"] in place and row["start"] >= 0:
            row["start"] = written[place[row["id"]]]["start"]
    if part.moves:
        last = len(place)
        rows.sort(key=lambda row: place.get(row["id"], last) if row["start"] >= 0 else last)
    if QUARANTINE in part.receipt.shards:
        kept[QUARANTINE] = part.receipt.shards[QUARANTINE]
        endings = endings or part.receipt.members
    info = store.keep_bytes(rows_to_parquet(rows, manifest.format), ".parquet", samples=len(rows))
    return store.put_receipt(
        Receipt(
            unit=part.key,
            start=part.receipt.start,
            stop=part.receipt.stop,
            shards=kept,
            members=endings,
            rows=info,
        )
    )


def quarantined_too(endings: Sequence[str], before: Sequence[str]) -> list[str]:
    """Members of a release with a quarantine, whose pictures may have other formats; all if nothing else stays."""
    return sorted({*endings, *(ending for ending in before if ending in PICTURES)}) if endings else list(before)


def withhold(row: dict[str, Any], verdict: Verdict) -> None:
    """Leave of a row what may be known of a picture that may not be kept: ids, hash, labels, origin and the reason."""
    row.update(dict.fromkeys(row.keys() & set(WITHHELD)))
    row.update(status="withheld", reason=verdict.reason, detail="", start=-1, ops="[]")


def relabel(members: dict[str, bytes], row: dict[str, Any], verdict: Verdict, index: Mapping[str, int]) -> None:
    """Change a sample's labels in its members and its row. Raises StoreError for an unknown class."""
    unknown = [label for label in verdict.labels if label not in index]
    if unknown or not verdict.labels:
        raise StoreError(f"verdict of {verdict.by} on {verdict.id}: {unknown or 'no label'} is no class of the edition")
    record = read_record(members)
    record["labels"] = list(verdict.labels)
    members["json"] = encode_record(record)
    members["cls"] = b"%d" % index[verdict.labels[0]]
    row.update(labels=list(verdict.labels), label=index[verdict.labels[0]])


def move(members: dict[str, bytes], row: dict[str, Any], split: str) -> None:
    """Bring a sample to another split, in its record and its row."""
    record = read_record(members)
    record["split"] = split
    members["json"] = encode_record(record)
    row["split"] = split


def release_fingerprint(manifest: Manifest, ledger: Ledger) -> str:
    """Identity of the release that a ledger makes of an edition."""
    return digest([FORMAT[manifest.format], manifest.digest(), ledger.digest()])


def seal_release(
    manifest: Manifest,
    number: int,
    ledger: Ledger,
    receipts: Sequence[Receipt],
    store: Store,
    listed: Callable[[Manifest], Manifest] = lambda released: released,
) -> Manifest:
    """Seal a release from its units' receipts, in the edition's order, and make it the current one.

    Args:
        manifest: the edition.
        number: of the ledger.
        ledger: says what changes.
        receipts: of the release's units.
        store: has the tables.
        listed: gives the release its own listings in place of the edition's, which name pictures that may be gone.
    """
    rows = [receipt.rows for receipt in receipts]
    name = f"{manifest.dataset}@{manifest.version}"
    shards = grouped(receipts, manifest.format)
    members = alike([receipt.members for receipt in receipts if set(receipt.shards) - {QUARANTINE}], name)
    if QUARANTINE in shards:
        members = quarantined_too(members, manifest.members)
    released = manifest.model_copy(
        update={
            "version": release_version(manifest, number),
            "fingerprint": release_fingerprint(manifest, ledger),
            "members": members,
            "filters": sorted({*manifest.filters, *ledger.models.values()}),
            "units": [receipt.unit for receipt in receipts],
            "shards": shards,
            "rows": rows,
            "listings": {},
            "ledger": ledger,
            **totals(store, rows),
        }
    )
    released = seal(listed(released), store)
    if store.local:
        link_data(manifest, store)  # shards of the same content were written again; its links hold the older files
    set_current(manifest, number, store)
    return released


def rollback(manifest: Manifest, store: Store, number: int | None = None) -> Manifest:
    """Make an older release of an edition the current one.

    Missing files are rebuilt from its ledger, but for its listings, which only the generator can draw up again.

    Args:
        manifest: the edition, not a release of it.
        store: its store.
        number: of the release; by default the newest one before the current.

    Raises:
        StoreError: no such release, or the edition has changed since it was made.
        CorruptShard: a listing is missing or damaged; a run of the recipe draws it up again.
    """
    number, ledger = read_ledger(manifest, store, earlier_release(manifest, store, number))
    if back := _shown_again(manifest, number, ledger, store):
        name = f"{manifest.dataset}@{release_version(manifest, number)}"
        log.warning(
            "%s has %s that a later release withholds", name, "a picture" if back == 1 else f"{back:,} pictures"
        )
    receipts = [make_unit(unit, manifest, ledger, store) for unit in release_units(manifest, ledger, store)]
    made = releases(manifest, store)[number].listings
    return seal_release(
        manifest, number, ledger, receipts, store, lambda one: one.model_copy(update={"listings": made})
    )


def _shown_again(manifest: Manifest, number: int, ledger: Ledger, store: Store) -> int:
    """Count the pictures of a release that later ones of the same edition withhold."""
    later = [
        released.ledger
        for found, released in releases(manifest, store).items()
        if found > number and released.ledger and released.ledger.edition == manifest.digest()
    ]
    return len(set().union(*(_out(one, store, "withhold") for one in later)) - _out(ledger, store, *OUT))


def _out(ledger: Ledger, store: Store, *actions: Action) -> set[str]:
    """Ids of the pictures that end with one of these actions."""
    import pyarrow as pa
    import pyarrow.compute as pc

    settled = settle(read_verdicts(ledger.verdicts, store))
    return set(settled.filter(pc.is_in(settled["action"], value_set=pa.array(actions)))["id"].to_pylist())


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
        if dataset == manifest.dataset and re.fullmatch(re.escape(prefix) + "[1-9][0-9]{0,8}", version)
    )
    return {number: resolve(f"{manifest.dataset}@{release_version(manifest, number)}", store) for number in numbers}


def added_content(ledger: Ledger, part: ReleaseUnit, store: Store) -> dict[str, dict[str, bytes]]:
    """Content of added members by ending and id, for the samples of one unit."""
    found: dict[str, dict[str, bytes]] = {}
    pictures = [(one["id"], one["sha256"]) for one in _pictures(part.receipt.rows, store)]
    sizes = [info.samples for group, info in part.receipt.shards.items() if group != QUARANTINE]
    for ending, column in ledger.members.items() if pictures else ():
        step = column.partition(".")[0]
        measured, scored = ledger.measured.get(step, []), ledger.scored.get(step)
        tables = [[(info, 0, size) for info, size in zip(measured[part.shard :], sizes, strict=False)]]
        tables += [[(scored, part.row, len(pictures))]] if scored else []
        for parts in tables:
            rows = [read_rows(store, info, ["id", "sha256", column], row, row + number) for info, row, number in parts]
            if not rows or any(one is None for one in rows):
                continue
            *keys, content = ([x for one in rows for x in one.column(n).to_pylist()] for n in ("id", "sha256", column))
            if list(zip(*keys, strict=True)) != pictures or not all(isinstance(one, bytes) for one in content):
                raise CorruptShard(
                    f"{store.object(parts[0][0], '.parquet')}: this table of curate.{step} isn't of the edition's "
                    f"pictures; curate again"
                )
            found[ending] = dict(zip(keys[0], content, strict=True))
    return found


def _said(verdict: Verdict) -> list[Json]:
    """A verdict as part of a key. The value is text, because a digest can't contain NaN."""
    return [verdict.id, verdict.action, verdict.by, verdict.reason, list(verdict.labels), repr(verdict.value)]


def _parts(ledger: Ledger, step: str) -> list[ShardInfo]:
    return [*ledger.measured.get(step, []), *([ledger.scored[step]] if step in ledger.scored else [])]


def _pictures(rows: ShardInfo, store: Store, *, lenders: bool = False) -> list[dict[str, Any]]:
    """A unit's accepted pictures, in the order of its shards; with `lenders`, also the steps that name them."""
    import pyarrow.compute as pc

    names = ("id", "sha256", "photograph", "status", "split", MADE_OF)
    table = read_unit(store, rows, names.__contains__)
    if "photograph" not in table.column_names:
        table = table.append_column("photograph", [[""] * len(table)])
    if lenders and MADE_OF in table.column_names:  # the steps are long texts, so they aren't read otherwise
        table = read_unit(store, rows, (*names, "ops").__contains__)
    found: list[dict[str, Any]] = table.filter(pc.equal(table["status"], "accepted")).to_pylist()
    return found


def _parted(row: Mapping[str, Any], moves: Mapping[str, str]) -> bool:
    """Return whether a picture and one that it is made of end in different splits, as one of them moves."""
    if not row.get(MADE_OF):
        return False
    lenders = (one for op in json.loads(row["ops"]) for one in op["achieved"].get(MADE_OF, ()))
    split = moves.get(row["photograph"], row["split"])
    return any(moves.get(one["photograph"], row["split"]) != split for one in lenders)
