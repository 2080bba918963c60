"""Refuse what must not be published, before anything leaves this machine: one line each, with the way out.

Terms come first (version, licence, content warning, repository), then everything is read once more: the edition and
its card as `variorum verify` does it, the first rows as `datasets` loads them, and every file that would go up, for
secrets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from variorum.edition.editions import folder_of, read_beside, version_key
from variorum.edition.outgoing import outgoing
from variorum.edition.samples import strict_json
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.hub import signatures
from variorum.hub.layout import NEEDED, Entry
from variorum.hub.published import SHEET
from variorum.hub.repository import Remote
from variorum.hub.secret_bytes import Needle, found_in, suspicious
from variorum.machine.progress import QUIET, Progress
from variorum.picture_facts import has_position
from variorum.reports.class_plot import FILE as CLASSES
from variorum.reports.hub_types import ALL, configurations, features
from variorum.reports.licences import combined, terms_of
from variorum.reports.rows import edition_rows
from variorum.reports.verified import verify_edition
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import QUARANTINE, Manifest, ShardInfo, is_dev
from variorum.schemas.outgoing import Outgoing

MAIN = "main"
EMPTY = re.compile(r"\.gitattributes|\.gitignore|README\.md|(?i:LICEN[CS]E).*")
"""Files of a repository that nothing was published to yet."""
OWN_PICTURES = (SHEET, CLASSES, "funnel.png")
"""Pictures of every card."""
TEXTS = (".md", ".json", ".yaml", ".html")


def refused_terms(manifest: Manifest, branch: str, *, closed: bool, checked: str = "") -> Iterator[str]:
    """List why an edition may not be published at all, or not like this.

    Args:
        manifest: the edition.
        branch: that it would go to.
        closed: whether the repository is, or will be, private or gated.
        checked: who found out, and how, that pictures of unknown licences may be passed on.
    """
    name = f"{manifest.dataset}@{manifest.version}"
    if is_dev(manifest.version) and branch == MAIN:
        yield (
            f"{name}: a -dev version may still change, so it gets no tag and doesn't go to main; publish it to a "
            f"branch of its own with --branch dev, or seal a version without -dev"
        )
    if not manifest.pictures():
        yield f"{name}: it has no accepted picture; look at the reasons with: variorum show {name}"
    terms = terms_of(manifest, checked)
    if not terms.publishable:
        yield f"{name} isn't published: {terms.why} (--licences-checked)"
    if manifest.warning and not closed:
        yield (
            f"{name}: it has the content warning {cut(manifest.warning)!r}, so people have to ask for it: publish it "
            f"with --gated manual, --gated auto or --private"
        )


def refuse_quarantine(manifest: Manifest, store: Store, checked: str = "") -> None:
    """Raise StoreError if a quarantined picture may not be passed on. The manifest's licences are of accepted ones."""
    if QUARANTINE not in manifest.shards:
        return
    name = f"{manifest.dataset}@{manifest.version}"
    table = edition_rows(manifest, store, ("status", "reason", "licence"))
    rows = [row for row in table.select(["status", "reason", "licence"]).to_pylist() if row["status"] == "quarantined"]
    if shown := sum(row["reason"] == "faces_left" for row in rows):
        raise StoreError(
            f"{name}: its quarantine, which is published with it, has {shown} pictures with faces that aren't blurred "
            f"(faces_left); leave them out of the source, and make the edition again"
        )
    licences = Counter(row["licence"] for row in rows)
    terms = combined(licences, changed=manifest.sources_edited > 0, checked=checked)
    if not terms.publishable:
        why = terms.why.partition(";")[0]
        raise StoreError(
            f"{name} isn't published: its quarantine, which is published with it, has {why}; leave them out of the "
            f"source, or say who found out, and how, that they may be passed on (--licences-checked)"
        )


def refuse_repository(manifest: Manifest, remote: Remote, *, replaced: bool) -> None:
    """Raise StoreError if a branch has another dataset, or a newer version of this one."""
    there, name = remote.manifest, f"{manifest.dataset}@{manifest.version}"
    if there is None or there.dataset != manifest.dataset:
        others = [path for path in remote.files if not EMPTY.fullmatch(path)]
        if others and not replaced:
            what = f"the dataset {there.dataset}" if there else f"other files, such as {cut(sorted(others)[0])}"
            raise StoreError(
                f"{remote.repo}: it has {what}, and {name} would replace it; choose another name, or replace it with "
                f"--replace (its history keeps the old files)"
            )
        return
    older = remote.branch == MAIN and version_key(manifest.version) < version_key(there.version)
    if older and manifest.version not in remote.tags:
        raise StoreError(
            f"{remote.repo}: {MAIN} has version {there.version}, and {manifest.version} is older; publish it to a "
            f"branch of its own with --branch v{manifest.version}: it gets its tag there, too"
        )


def refuse_damage(manifest: Manifest, store: Store, progress: Progress = QUIET) -> None:
    """Raise StoreError if there is no card, or `variorum verify` finds a problem in the edition or the card."""
    name = f"{manifest.dataset}@{manifest.version}"
    for file in NEEDED:
        if read_beside(manifest, file, store) is None:
            raise StoreError(f"{name}: it has no {file}; write it with `variorum card`, with the recipe's name")
    if problems := [*verify_edition(manifest, store, progress), *signatures.verified(manifest, store)[1]]:
        more = f" (and {len(problems) - 1} more: variorum verify {name})" if len(problems) > 1 else ""
        raise StoreError(f"{name} isn't published: {problems[0]}{more}")


def refuse_contents(
    manifest: Manifest,
    store: Store,
    entries: Sequence[Entry],
    needles: Sequence[Needle],
    progress: Progress = QUIET,
    *,
    drawn: Collection[str] = (),
    positions: bool = False,
) -> int:
    """Raise StoreError if a file holds a secret, a picture that stays or a position; how many pictures hold one.

    Args:
        manifest: the edition.
        store: its store.
        entries: the files that would go up.
        needles: secrets of this machine that are looked for.
        progress: receives the bytes read.
        drawn: names of pictures that were drawn anew.
        positions: whether pictures may say where they were taken.
    """
    placed, gate = dict[str, None](), outgoing(manifest, store)
    name = f"{manifest.dataset}@{manifest.version}"
    if manifest.warning:
        for entry in entries:
            if entry.path.endswith(".png") and not (entry.path in drawn or _is_plot(entry.path, manifest, store)):
                raise StoreError(
                    f"{name}: {cut(entry.path)} isn't a plot of this edition, and pictures of one with a content "
                    f"warning are shown blurred only; take it out of the card"
                )
    progress.start("looking for secrets", sum(entry.size for entry in entries))
    for entry in entries:
        if why := next(iter(_problems(entry, store, needles, placed, gate)), ""):
            raise StoreError(f"{name}: {cut(entry.path)} {why}")
        progress.advance(entry.size)
    if gate.kept:
        raise StoreError(
            f"{name}: it isn't published, as some of its pictures stay here: {gate.said()}; publish a release in which "
            f"a rule or an opt_out list withholds them"
        )
    if placed and not positions:
        raise StoreError(
            f"{name}: {len(placed)} of its pictures say where they were taken (GPS in EXIF or XMP), such as "
            f"{', '.join(list(placed)[:3])}; make the edition with `masters: png`, which drops metadata, take the "
            f"positions out of the source's files (exiftool -gps:all= -xmp:gps*=), or publish them: --with-positions"
        )
    return len(placed)


def _is_plot(path: str, manifest: Manifest, store: Store) -> bool:
    if path in OWN_PICTURES:
        return True
    evaluation = path.removesuffix(".png").partition("-")[0]
    return bool(re.fullmatch(r"\w+", evaluation)) and (
        read_beside(manifest, f"evaluation-{evaluation}.json", store) is not None
    )


def _problems(
    entry: Entry, store: Store, needles: Sequence[Needle], placed: dict[str, None], gate: Outgoing
) -> Iterator[str]:
    """List what is wrong with a file; `placed` gets pictures that say where they were taken, `gate` is asked of all."""
    if entry.data is not None:
        if entry.path.endswith(".parquet"):
            yield from _in_table(entry.data, needles)
        else:
            yield from _secrets([entry.data], needles, texts=entry.path.endswith(TEXTS))
    elif entry.info and entry.suffix == ".tar":
        yield from _in_shard(entry.info, store, needles, placed, gate)
    elif entry.info:
        yield from _in_table(store.path(entry.info, entry.suffix, check=False).read_bytes(), needles)


def _in_shard(
    info: ShardInfo, store: Store, needles: Sequence[Needle], placed: dict[str, None], gate: Outgoing
) -> Iterator[str]:
    for key, members in read_shard(store.path(info, check=False)):
        record = members.get("json", b"{}")
        metadata = strict_json(record).get("metadata", "{}")
        found = strict_json(metadata) if isinstance(metadata, str) else {}
        gate.why_not(key, found if isinstance(found, dict) else {})
        for ending, content in members.items():
            texts = ending in ("txt", "cls") or ending.endswith("json")
            if not texts and has_position(content):
                placed[str(strict_json(record).get("origin") or key)] = None
            yield from (f"({key}.{ending}) {why}" for why in _secrets([content], needles, texts=texts))


def _in_table(data: bytes, needles: Sequence[Needle]) -> Iterator[str]:
    """Secrets in the texts and binary values of a parquet file, and in its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(data)) as file:
        yield from _secrets([data[-65536:]], needles, texts=False)
        for part in file.iter_batches(batch_size=4096, use_threads=False):
            for column in part.columns:
                values = _texts(column)
                yield from _secrets(values, needles, texts=True)


def _texts(column: Any) -> list[bytes]:
    """The distinct texts and binary values of a column; none of other types."""
    import pyarrow as pa
    import pyarrow.compute as pc

    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_dictionary(column.type):
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column.flatten()
    if pa.types.is_struct(column.type):
        return [text for part in column.flatten() for text in _texts(part)]
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(kind(column.type) for kind in kinds):
        return []
    values = pc.unique(column).to_pylist()
    return [value.encode() if isinstance(value, str) else value for value in values if value is not None]


def _secrets(contents: Iterable[bytes], needles: Sequence[Needle], *, texts: bool) -> Iterator[str]:
    for content in contents:
        if what := found_in(content, needles):
            yield f"holds {what}; take it out and make the edition again"
        elif texts and (what := suspicious(content)):
            yield f"holds {what}; take it out, and write the card or make the edition again"


def load_first(manifest: Manifest, store: Store) -> str:
    """Load the first row of each configuration and split with `datasets`; the version of `datasets`.

    `""` for a store at a URL, whose shards `datasets` can't stream everywhere.

    Raises:
        StoreError: a configuration doesn't load, or has other columns than the card declares.
    """
    from importlib.metadata import version

    from datasets.load import dataset_module_factory, get_dataset_builder_class

    if not store.local:
        return ""
    declared, name, config = features(manifest), f"{manifest.dataset}@{manifest.version}", ALL
    try:
        card = dataset_module_factory(folder_of(manifest, store))  # `load_dataset` would read it for each configuration
        builder = get_dataset_builder_class(card)
        for config in configurations(manifest):
            info = card.dataset_infos.get(config)
            made = builder(config_name=config, hash=card.hash, info=info, **card.builder_kwargs)
            for split, rows in made.as_streaming_dataset().items():
                row = next(iter(rows))
                if rows.features != declared or set(row) != set(declared):
                    raise StoreError(f"{name}: {config}, {split} has other columns than its card declares")
    except (ValueError, TypeError, LookupError, OSError, StopIteration) as error:
        why = cut(" ".join(str(error).split()))
        raise StoreError(f"{name}: `datasets` can't load its configuration {config} ({why})") from error
    return version("datasets")
