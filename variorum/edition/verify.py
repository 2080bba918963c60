"""Recompute every hash of an edition, and compare all that its manifest says with its tables, shards and files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from variorum.edition.columns import WITHHELD, check_columns, reading
from variorum.edition.editions import check_data, files_of, folder_of, read_beside, tables_of
from variorum.edition.lenders import ITSELF, NAMING, keys_of, names_of
from variorum.edition.pulled import without
from variorum.edition.samples import (
    annotation_digest,
    annotation_fields,
    encode_record,
    picture_ending,
    read_sample,
    strict_json,
)
from variorum.edition.shards import ANNOTATIONS, PICTURES, read_shard, stored_size
from variorum.edition.store import Store
from variorum.edition.tables import read_part, read_table, read_unit, totals
from variorum.edition.units import edition_units, row_groups, with_splits
from variorum.edition.verdicts import MADE_OF_WITHHELD, OUT, read_verdicts, settle
from variorum.machine.progress import Advance
from variorum.schemas.canonical import digest as digest_of
from variorum.schemas.errors import CorruptShard, cut
from variorum.schemas.licences import all_of
from variorum.schemas.manifest import QUARANTINE, Manifest, ShardInfo, config_of, ordered, split_of
from variorum.schemas.sample import MADE_OF, NOTHING, RESTRICTED, Sample

COLUMNS = (
    *("id", "sha256", "annotated", "status", "start", "config", "split", "label", "labels", "variant", "licence"),
    MADE_OF,
)
NO_ANNOTATIONS = encode_record(annotation_fields(NOTHING, {}))
DIGEST = re.compile(rb"digest[ \n]+`?([0-9a-f]{64})")
"""The digest that a card names, in its header and in its text."""
CARD = 64 << 20
"""Bytes of a card that are looked at."""
RELEASES = range(1, 10)
"""Formats of releases; see `variorum.stages.release`."""


@dataclass(slots=True)
class Seen:
    """The content of an edition's shards, for comparison with its manifest."""

    manifest: Manifest
    index: dict[str, int]
    withheld: frozenset[str] = frozenset()
    """sha256 of the pictures that may lie in no shard."""
    not_lent: frozenset[str] = frozenset()
    """Keys of the pictures that no accepted one may be made of; see `lenders.keys_of`."""
    accepted: set[str] = field(default_factory=set)
    quarantined: set[str] = field(default_factory=set)


def verify(manifest: Manifest, store: Store, advance: Advance = lambda _: None, digest: str = "") -> list[str]:
    """Check an edition; returns the problems, one line each.

    Checked are: each shard and table against its name; each picture, its record, class and annotations against each
    other and its row; that no accepted picture is made of a withheld one, and that each has the terms of those that it
    is made of; that each unit's rows and shards have the same pictures, in the same order, places, splits and
    configurations; that no shard has a withheld picture; whatever the manifest says that its parts say too; and the
    files beside it: `data/`, which users load, the card, and the current release.

    Args:
        manifest: the edition.
        store: its store.
        advance: called with the number of bytes read.
        digest: which the edition must have, from somebody who is trusted. Without it, an edition in which everything
            was rewritten to fit can't be told from one that was made so.
    """
    problems = verify_files(manifest, store, advance, digest)
    return problems or [*check_data(manifest, store), *_verify_beside(manifest, store)]


def verify_files(manifest: Manifest, store: Store, advance: Advance = lambda _: None, digest: str = "") -> list[str]:
    """`verify` without the files beside the manifest, which an edition that isn't sealed yet doesn't have.

    The tables that a pulled release came without may be missing. Arguments as for `verify`.
    """
    left_out = without(manifest, store)
    problems = _verify_digest(manifest, digest)
    if irregular := list(_verify_kinds(manifest, store)):
        return problems + irregular
    absent = {info.sha256 for info in tables_of(manifest) if info.sha256 in left_out and not _there(info, store)}
    for info in tables_of(manifest):
        if info.sha256 not in absent:
            problems += _verify_file(store, info, ".parquet", advance)
    if problems:
        return problems
    try:
        units = edition_units(manifest, store)
        problems += _verify_release(manifest, store, absent)
        passed = dict.fromkeys(manifest.shards, 0)
        index = {name: place for place, (name, _) in enumerate(manifest.classes)}
        seen = Seen(manifest, index, *_withheld(manifest, store))
        for unit in units:
            rows, order = _rows(unit.rows, seen, store)
            if manifest.format > 3 and order != ordered(order):
                problems.append(f"table {unit.rows.sha256[:12]}: its rows aren't in the order of the unit's shards")
            for group, info in unit.shards.items():
                passed[group] += 1
                there = rows.pop(group, [])
                problems += _verify_file(store, info, ".tar", advance) or _verify_shard(group, info, there, seen, store)
            problems += [f"picture {row['id']} has a row and no place in a shard" for x in rows.values() for row in x]
        for group, number in passed.items():
            problems += [
                f"shard {x.sha256[:12]}: no row is about its pictures" for x in manifest.shards[group][number:]
            ]
        problems += _verify_numbers(manifest, store)
        problems += _verify_recipe(seen)
    except CorruptShard as error:
        problems.append(str(error))
    return problems


def _verify_digest(manifest: Manifest, digest: str) -> list[str]:
    if not digest or digest.lower() == manifest.digest():
        return []
    name = f"{manifest.dataset}@{manifest.version}"
    if not re.fullmatch("[0-9A-Fa-f]{64}", digest):
        return [f"{name} can't be compared with the digest {digest[:80]!r}: a digest has 64 hexadecimal digits"]
    return [f"{name} has the digest {manifest.digest()}, not {digest}: it is another edition of this name"]


def _verify_kinds(manifest: Manifest, store: Store) -> Iterator[str]:
    """Files that aren't regular files of the store, such as links that lead out of it."""
    if not store.local:
        return
    folder = Path(folder_of(manifest, store))
    for place in (store.local / "objects", store.local / "editions", folder.parent, folder, folder / "data"):
        if place.is_symlink():
            yield f"{place}: it is a link, and a store holds its own files; put the folder there itself"
    for path in [Path(store.object(info, suffix)) for info, suffix in files_of(manifest)]:
        if path.is_symlink() or (path.exists() and not stat.S_ISREG(path.lstat().st_mode)):
            yield f"{path}: it is no regular file; delete it and run the recipe again to remake it"
    for inner, folders, files in os.walk(folder):
        for path in (Path(inner, name) for name in (*folders, *files)):
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                yield f"{path}: it is no regular file; delete it and run the recipe again"


def _verify_numbers(manifest: Manifest, store: Store) -> list[str]:
    """Compare the manifest's numbers with its tables."""
    found, problems = totals(store, manifest.rows), []
    for what, name in (
        ("numbers of pictures", "counts"),
        ("numbers of pictures by licence", "licences"),
        ("number of edited sources", "sources_edited"),
    ):
        if getattr(manifest, name) != found[name]:
            problems.append(f"the manifest's {what} aren't those of its tables")
    step = manifest.recipe.get("samples_per_shard")
    if step and -(-manifest.sources // step) != len(manifest.units):
        problems.append(f"the manifest has {len(manifest.units)} units of {step}, and says {manifest.sources} sources")
    if manifest.listings:
        problems += _verify_listings(manifest, store)
    if manifest.plan:
        import pyarrow.compute as pc

        # a further generator may put pictures with ids of their own in place of those that were asked for
        column = "source" if len(manifest.recipe.get("generate", ())) > 1 else "id"
        asked = read_part(store, manifest.plan, lambda schema: [column])
        with reading(store, manifest.plan):
            check_columns(asked)
        there = read_table(store, manifest.rows, [column]).column(column).combine_chunks()
        if unknown := pc.sum(pc.invert(pc.is_in(asked.column(column), value_set=there))).as_py():
            problems.append(
                f"the plan asks for {unknown} pictures of which no table has a row; it is of another edition"
            )
    return problems


def _verify_listings(manifest: Manifest, store: Store) -> Iterator[str]:
    """A listing's column `id` names accepted pictures, each of which has a row."""
    import pyarrow.compute as pc

    rows = read_table(store, manifest.rows, ["id", "status"])
    accepted = rows.column("id").filter(pc.equal(rows.column("status"), "accepted")).combine_chunks()
    for name, info in manifest.listings.items():
        named = read_part(store, info, lambda schema: [one for one in schema.names if one == "id"])
        with reading(store, info):
            check_columns(named)
        if named.num_columns and (odd := pc.sum(pc.invert(pc.is_in(named["id"], value_set=accepted))).as_py()):
            yield f"the listing {name} has {odd} rows about pictures that aren't accepted; it is of another edition"


def _verify_recipe(seen: Seen) -> Iterator[str]:
    """Compare members, classes and groups with what is in the shards, and with the recipe."""
    manifest, recipe = seen.manifest, seen.manifest.recipe
    said, there = set(manifest.members), seen.accepted | seen.quarantined
    unseen, held = said - there, seen.accepted or seen.quarantined
    if manifest.ledger:  # a picture's format may go with the last picture that has it
        unseen = (said - held) - set(PICTURES)
    if there - said or unseen:
        listed = ", ".join(sorted(there)) or "none"
        yield f"the manifest's members are {', '.join(manifest.members) or 'none'}, and those of its samples {listed}"
    if "cls" in there and not manifest.classes:
        yield "its samples have classes, and the manifest has none"
    if not recipe:
        return
    named = sorted(
        group
        for group in manifest.shards
        if group != QUARANTINE and bool(config_of(group)) != bool(recipe.get("configs"))
    )
    if named:
        yield f"shards lie in {named[0]}, and the recipe's configs are {recipe.get('configs') or 'none'}"
    if recipe.get("masters", "png") == "png" and manifest.format > 3 and there & set(PICTURES) - {"png"}:
        yield f"the recipe makes PNGs, and there are {', '.join(sorted(there & set(PICTURES)))}"
    shares = recipe.get("splits")
    if shares and (
        odd := sorted({split_of(group) for group in manifest.shards if group != QUARANTINE} - {*shares, "train"})
    ):
        yield f"pictures lie in {odd[0]}, which the recipe's splits don't have"


def _there(info: ShardInfo, store: Store) -> bool:
    return bool(store.sound([(info, ".parquet")], check=False))


def _verify_release(manifest: Manifest, store: Store, absent: Set[str]) -> list[str]:
    """Compare the ledger of a release with the release; without its table of verdicts, only what it says itself."""
    import pyarrow.compute as pc

    ledger, problems = manifest.ledger, []
    if ledger is None:
        return []
    made_by = [digest_of([revision, ledger.edition, ledger.digest()]) for revision in RELEASES]
    if manifest.fingerprint not in made_by:
        problems.append("the manifest's fingerprint isn't that of its ledger")
    if missing := sorted(set(ledger.models.values()) - set(manifest.filters)):
        problems.append(f"the manifest's filters lack {missing[0]}, with which it was curated")
    if ledger.verdicts.sha256 in absent:
        return problems
    verdicts = read_verdicts(ledger.verdicts, store)
    settled = settle(verdicts)
    out = {action: settled.filter(pc.equal(settled["action"], action)) for action in OUT}
    said = {action: sum(reasons.values()) for action, reasons in ledger.counts.items()}
    found = (len(settled), *map(len, out.values()))
    if said and (sum(said.values()), *(said.get(action, 0) for action in OUT)) != found:
        problems.append("the ledger's numbers of verdicts aren't those of its table")
    rows = read_table(store, manifest.rows, ["id", "status"])
    gone = rows.filter(pc.equal(rows["status"], "withheld"))["id"].combine_chunks()
    if left := pc.sum(pc.invert(pc.is_in(out["withhold"]["id"], value_set=gone))).as_py():
        problems.append(f"the ledger withholds {left} pictures that the release has no such row of")
    return problems


def _verify_beside(manifest: Manifest, store: Store) -> Iterator[str]:
    """Compare the card and the pointer to the current release with the manifest."""
    from variorum.edition.editions import current
    from variorum.schemas.errors import StoreError

    folder, mine = folder_of(manifest, store), manifest.digest()
    text = (read_beside(manifest, "README.md", store) or b"")[:CARD]
    found = {match.decode() for match in DIGEST.findall(text)}
    if text and found != {mine}:
        others = ", ".join(one[:12] for one in sorted(found - {mine})) or "none"
        yield (
            f"{folder}/README.md: the card names the digest {others}, and the manifest's is {mine[:12]}; write the "
            f"card again with `variorum card`, or get the manifest that belongs to it"
        )
    try:
        released = current(manifest, store)
    except StoreError as error:
        yield f"{folder}/current.json: {error}"
        return
    pointed = read_beside(manifest, "current.json", store)
    if pointed and released is manifest and not manifest.version.endswith("-dev"):
        yield f"{folder}/current.json: it names a release of another edition; delete it, or release again"


def _withheld(manifest: Manifest, store: Store) -> tuple[frozenset[str], frozenset[str]]:
    """The edition's withheld pictures: their hashes, and by what they are named in a picture that is made of them.

    Raises:
        CorruptShard: one of their rows isn't as it must be.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = (*NAMING, "split", "status", "sha256", "reason", "start", "ops", "action")
    found, named = set[str](), set[str]()
    for info in manifest.rows:
        table = with_splits(read_unit(store, info, {*wanted, *WITHHELD}.__contains__))
        table = table.filter(pc.equal(table["status"], "withheld"))
        # pixels of which only the words are another picture's may be shown elsewhere
        found.update(table.filter(pc.not_equal(table["reason"], MADE_OF_WITHHELD))["sha256"].to_pylist())
        judged = (
            pc.is_valid(table["action"])
            if "action" in table.column_names
            else pa.array([False] * len(table), pa.bool_())
        )
        for rows, shown in ((judged, ITSELF), (pc.invert(judged), ())):
            named.update(names_of(table.filter(rows), shown).to_pylist())
    return frozenset(found), frozenset(named)


def _rows(info: ShardInfo, seen: Seen, store: Store) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """The rows of a unit whose pictures are in shards, by group; and the groups in the order of the rows."""
    table = read_unit(store, info, COLUMNS.__contains__, classes=len(seen.index))
    found: dict[str, list[dict[str, Any]]] = {}
    groups = row_groups(table).to_pylist()
    for group, row in zip(groups, table.to_pylist(), strict=True):
        if group:
            found.setdefault(group, []).append(row)
    return found, [group for group, _ in groupby(group for group in groups if group)]


def _verify_shard(group: str, info: ShardInfo, rows: list[dict[str, Any]], seen: Seen, store: Store) -> Iterator[str]:
    """Compare the pictures of a shard with their rows."""
    name, start, samples = f"shard {info.sha256[:12]}", 0, 0
    left = {row["id"]: {**row, "place": place} for place, row in enumerate(rows)}
    try:
        for key, members in read_shard(store.path(info)):
            row, sample = left.pop(key, None), read_sample(f"{name}, sample {key}", members)[0]
            (seen.quarantined if group == QUARANTINE else seen.accepted).update(members)
            if row is None:
                yield f"{name}: picture {key} lies in {group}, and no row of the unit says so"
            else:
                yield from (f"{name}: {why}" for why in _verify_sample(group, key, sample, members, row, seen.index))
                if row["sha256"] in seen.withheld:
                    yield f"{name}: picture {key} has the bytes of one that is withheld"
                if group != QUARANTINE:
                    yield from (f"{name}: picture {key} {why}" for why in _verify_lenders(sample, row, seen))
                if row["start"] != start:
                    yield f"{name}: picture {key} begins at byte {start}, and its row says {row['start']}"
                elif row["place"] != samples:
                    yield f"{name}: picture {key} is number {samples + 1}, and its row is number {row['place'] + 1}"
            start, samples = start + stored_size(members), samples + 1
    except CorruptShard as error:
        yield str(error)
        return
    if samples != info.samples:
        yield f"{name}: it has {samples} pictures, and the manifest says {info.samples}"
    yield from (f"{name}: picture {key} has a row and no place in the shard" for key in left)


def _verify_sample(
    group: str, key: str, sample: Sample, members: dict[str, bytes], row: dict[str, Any], index: dict[str, int]
) -> Iterator[str]:
    """Compare a picture, its record, its class and its annotations with each other and with its row."""
    image, first = members[picture_ending(members)], next(iter(sample.labels), "")
    label = index.get(first, -1)
    if sample.id != key:
        yield f"picture {key} has the record of {sample.id}"
    if sha256(image).hexdigest() != row["sha256"]:
        yield f"picture {key} isn't the one its record and row name"
    if group != QUARANTINE and (sample.split or "test") != split_of(group):
        yield f"picture {key} lies in {group}, and its record says {sample.split}"
    if (group == QUARANTINE) != bool(sample.reason):
        yield f"picture {key} lies in {group}, and its record gives the reason {sample.reason!r}"
    said = (list(sample.labels), sample.variant, sample.licence)
    if said != (row["labels"], row["variant"], row["licence"]):
        yield f"the labels, the variant or the licence of {key} aren't those that its row names"
    if row["label"] != label or members.get("cls", b"%d" % label) != b"%d" % label:
        yield f"picture {key} is of class number {label}, and its `cls` or its row says another"
    if (row.get("annotated") or _without(members)) != annotation_digest(members):
        yield f"the annotations of {key} aren't those that its row names"
    if not _same_categories(members, index):
        yield f"the categories in the annotations of {key} aren't those of their labels"


def _verify_lenders(sample: Sample, row: dict[str, Any], seen: Seen) -> Iterator[str]:
    """Check that a picture may be made of the others that it is made of, and has their terms."""
    lenders = sample.made_of()
    if keys_of(lenders) != (row.get(MADE_OF) or []):
        yield "is made of other pictures than its row names"
    for one in lenders:
        if seen.not_lent & {one["id"], one["source"], one["photograph"]}:
            yield f"is made of {one['id']}, which is withheld"
        if all_of(sample.licence, one["licence"]) != sample.licence:
            yield f"is made of {one['id']}, whose licence {cut(one['licence'])} isn't part of its own"
        if RESTRICTED in one["handling"] and not sample.restricted:
            yield f"is made of {one['id']}, which is restricted, and isn't restricted itself"


def _same_categories(members: dict[str, bytes], index: dict[str, int]) -> bool:
    """Return whether each `category` is the index of the class in `label`."""
    found = strict_json(members.get(ANNOTATIONS, b"{}"))
    parts = [found.get(part, {}) for part in ("objects", "states")]
    return all(part.get("category", []) == [index.get(one, -1) for one in part.get("label", [])] for part in parts)


def _without(members: dict[str, bytes]) -> str:
    """The digest of the annotations of a sample without any."""
    return annotation_digest({ANNOTATIONS: NO_ANNOTATIONS} if ANNOTATIONS in members else {})


def _verify_file(store: Store, info: ShardInfo, suffix: str, advance: Advance) -> list[str]:
    try:
        actual = store.hash(info, suffix, advance)
    except CorruptShard as error:
        return [str(error)]
    if actual != info.sha256:
        name = store.object(info, suffix)
        return [f"{name}: content doesn't match its name; delete it and run the recipe again to remake it"]
    return []
