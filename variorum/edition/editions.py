"""Sealed editions in a store: finding one, sealing one, and which release of it is current.

editions/<name>/<version>/manifest.json     the edition; it is sealed if this file exists
editions/<name>/<version>/data/             links to the shards, with names that loaders understand:
                                            test-00000-of-00002.tar, or size_0.05/test-00000-of-00002.tar
editions/<name>/<version>/plan.parquet      a link to the table of requests, if there is one
editions/<name>/<version>/listings/         links to the tables that its generator draws up over the whole edition
editions/<name>/<version>/source.txt        place of the data when the edition was last made; in no digest
editions/<name>/<version>/current.json      the current release

A store at a URL has no links, and copies would double its size. There the manifest alone says which object has which
name. Older versions made copies; they are still verified, and removed when the edition is sealed again.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel

from variorum.edition import bucket
from variorum.edition.records import BARE, to_json
from variorum.edition.store import Store, hash_stream
from variorum.machine.progress import QUIET, Progress
from variorum.schemas.errors import CorruptShard, StoreError, VersionDrift, cut
from variorum.schemas.fields import Number
from variorum.schemas.manifest import FORMAT, Manifest, ShardInfo, is_dev
from variorum.schemas.secrets import shown

SOURCE = "source.txt"
PLAN = "plan.parquet"
LISTINGS = "listings"
MOST_LISTED = 20
"""Names of editions in an error."""
LINKS = 10
"""Attempts to link a file while others seal the same -dev version."""
RELEASE = re.compile(r"(?P<base>.+)-r(?P<number>[0-9]+)")


class Current(BaseModel):
    """The current release of an edition."""

    release: Number


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def editions(store: Store) -> list[tuple[str, str]]:
    """(dataset, version) of every sealed edition, in order of version."""
    pairs = [tuple(path.split("/")[-3:-1]) for path in store.listed("editions/*/*/manifest.json")]
    return sorted(((d, v) for d, v in pairs), key=lambda pair: (pair[0], version_key(pair[1])))


def read_manifest(dataset: str, version: str, store: Store) -> Manifest | None:
    """The manifest of an edition, or None.

    Raises:
        CorruptShard: it can't be read, or belongs to another edition.
    """
    name = f"editions/{dataset}/{version}/manifest.json"
    found = store.read_record(name, Manifest)
    if found and (found.dataset, found.version) != (dataset, version):
        other = f"{found.dataset}@{found.version}"
        raise CorruptShard(f"{store.root}/{name}: it is the manifest of {other}; delete it and run the recipe again")
    return found


def resolve(name: str, store: Store) -> Manifest:
    """The manifest of `dataset@version`, or of the dataset's newest version that isn't a release.

    Raises:
        StoreError: no such edition; the message lists those that exist.
    """
    dataset, _, version = name.partition("@")
    known = editions(store)
    versions = [v for d, v in known if d == dataset]
    if versions and not version:
        version = next((v for v in reversed(versions) if not RELEASE.fullmatch(v)), versions[-1])
    manifest = read_manifest(dataset, version, store) if version in versions else None
    if manifest is None:
        names = [f"{d}@{v}" for d, v in known]
        near = get_close_matches(name, [*names, *(d for d, _ in known)], 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
        listed = f"{', '.join(names[:MOST_LISTED])}{more}" or "none yet"
        raise StoreError(f"no edition {cut(repr(name))} in {shown(store.url)}{hint}; there are: {listed}")
    return manifest


def find(name: str, store: Store) -> Manifest:
    """`dataset@version`, or the current release of a dataset's newest version. Raises StoreError, as `resolve`."""
    manifest = resolve(name, store)
    return manifest if "@" in name else current(manifest, store)


def current(manifest: Manifest, store: Store) -> Manifest:
    """The current release of an edition; the edition itself if it has none, or has changed since the release."""
    pointer = store.read_record(beside(manifest, "current.json"), Current, bare=manifest.format == BARE)
    if pointer is None:
        return manifest
    released = resolve(f"{manifest.dataset}@{release_version(manifest, pointer.release)}", store)
    same = released.ledger is not None and released.ledger.edition == manifest.digest()
    return released if same else manifest


def set_current(manifest: Manifest, number: int, store: Store) -> None:
    """Make a release of an edition the current one, unless it is."""
    name, wanted = beside(manifest, "current.json"), Current(release=number)
    if store.made_record(name, Current) != wanted:
        store.put_record(name, wanted)


def release_version(manifest: Manifest, number: int) -> str:
    """The version of the release made with a ledger: ledger 2 of 1.0.0 makes 1.0.0-r2."""
    return f"{manifest.version}-r{number}"


def release_number(version: str) -> int | None:
    """The ledger's number in a release's version; None for other versions."""
    found = RELEASE.fullmatch(version)
    return int(found["number"]) if found else None


def base_of(manifest: Manifest, store: Store) -> Manifest | None:
    """The edition that a release was made from, if it is in the store as it was then; None for other editions."""
    number = release_number(manifest.version)
    if manifest.ledger is None or number is None:
        return None
    with suppress(StoreError):
        found = read_manifest(manifest.dataset, manifest.version.removesuffix(f"-r{number}"), store)
        if found and found.digest() == manifest.ledger.edition:
            return found
    return None


def before(manifest: Manifest, store: Store) -> Manifest | None:
    """The version that an edition follows, or None: the next lower one in the store that isn't a -dev version.

    A release follows a release and an edition an edition, so that each is compared with its like.

    Raises:
        CorruptShard: the manifest of that version can't be read.
    """
    earlier = [version for dataset, version in editions(store) if dataset == manifest.dataset]
    if manifest.version not in earlier:
        return None
    earlier = earlier[: earlier.index(manifest.version)]
    release = release_number(manifest.version) is not None
    alike = [one for one in earlier if (release_number(one) is not None) == release and not is_dev(one)]
    return read_manifest(manifest.dataset, alike[-1], store) if alike else None


# ── sealing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def seal(manifest: Manifest, store: Store) -> Manifest:
    """Seal an edition and link its shards under readable names; returns the sealed manifest.

    A sealed edition of the same recipe, data and models stays as it is, unless files are missing.

    Raises:
        VersionDrift: the version is sealed already with other content, and isn't a `-dev` version.
    """
    name, data = beside(manifest, "manifest.json"), to_json(manifest)
    check_version(manifest.dataset, manifest.version, manifest.fingerprint, store)
    if not store.put_if_absent(name, data):
        check_version(manifest.dataset, manifest.version, manifest.fingerprint, store)
        sealed = read_manifest(manifest.dataset, manifest.version, store)
        if sealed and sealed.fingerprint == manifest.fingerprint and whole(sealed, store):
            manifest = sealed
        else:
            store.put(name, data)
    linked = manifest
    while True:
        link_data(linked, store)
        if not store.local:
            return manifest
        there = read_manifest(manifest.dataset, manifest.version, store)
        if there is None or there == linked:
            return manifest
        linked = there  # another process sealed the same -dev version meanwhile, and its links may be older than ours


def sealed(dataset: str, version: str, fingerprint: str, store: Store, progress: Progress = QUIET) -> Manifest | None:
    """The edition of this version if it has this fingerprint and all of its files are whole. Missing links are added.

    With this, a run with nothing to do takes a few requests, regardless of the number of units.
    """
    found = read_manifest(dataset, version, store)
    if found is None or found.fingerprint != fingerprint or not whole(found, store, progress):
        return None
    if store.local:
        link_data(found, store)
    return found


def whole(manifest: Manifest, store: Store, progress: Progress = QUIET) -> bool:
    """Return whether every file that the manifest names is there as it was written."""
    return store.whole(files_of(manifest), progress)


def files_of(manifest: Manifest) -> list[tuple[ShardInfo, str]]:
    """Every file that a manifest names, with the file's suffix."""
    shards = [(info, ".tar") for infos in manifest.shards.values() for info in infos]
    return [*shards, *((info, ".parquet") for info in tables_of(manifest))]


def tables_of(manifest: Manifest) -> list[ShardInfo]:
    """Every parquet file that a manifest names: rows, requests, listings and, for a release, its ledger's tables."""
    own = [*manifest.rows, *([manifest.plan] if manifest.plan else []), *manifest.listings.values()]
    return own if manifest.ledger is None else [*own, *manifest.ledger.tables()]


def check_version(dataset: str, version: str, fingerprint: str, store: Store, source: str = "") -> None:
    """Raise VersionDrift if this version is sealed already from another recipe, other data or other models.

    A -dev version may change, but not to another source, because its ledgers and people's answers are about this one.
    """
    found = read_manifest(dataset, version, store)
    if found is None or found.fingerprint == fingerprint:
        return
    if not version.endswith("-dev"):
        made = "was made from another recipe, or with other data, models or watermark keys"
        if found.format != FORMAT:
            made = f"has format {found.format}, and is read as it is; what is made now has format {FORMAT}"
        raise VersionDrift(
            f"{dataset}@{version} is sealed in {shown(store.url)} and {made} (fingerprint {found.fingerprint[:12]}, "
            f"this run {fingerprint[:12]}); give this one a new version (--set version=...), or a -dev version, which "
            f"may move"
        )
    check_source(found, source, store)


def check_source(manifest: Manifest, source: str, store: Store) -> None:
    """Raise VersionDrift if an edition was made from data in another place, as far as known."""
    before = (read_beside(manifest, SOURCE, store) or b"").decode(errors="replace")
    if source and before and source != before:
        raise VersionDrift(
            f"{manifest.dataset}@{manifest.version} in {shown(store.url)} is made from {cut(before)}, and this is "
            f"{source}; give the new edition a name of its own: --set dataset=NAME"
        )


# ── files beside the manifest ────────────────────────────────────────────────────────────────────────────────────────


def folder_of(manifest: Manifest, store: Store) -> str:
    """The edition's folder; `datasets.load_dataset` takes it as it is."""
    return f"{store.root}/editions/{manifest.dataset}/{manifest.version}"


def beside(manifest: Manifest, name: str) -> str:
    """Name of a file in the edition's folder, for `Store.put` and `Store.read_record`."""
    return f"editions/{manifest.dataset}/{manifest.version}/{name}"


def write_beside(manifest: Manifest, name: str, data: bytes, store: Store) -> str:
    """Write a file, such as the card, beside the manifest; returns its path."""
    store.put(beside(manifest, name), data)
    return f"{folder_of(manifest, store)}/{name}"


def read_beside(manifest: Manifest, name: str, store: Store) -> bytes | None:
    """A file beside the manifest, or None."""
    return store.read(beside(manifest, name))


# ── readable names ───────────────────────────────────────────────────────────────────────────────────────────────────


def check_data(manifest: Manifest, store: Store) -> list[str]:
    """Problems with the readable names in `data/`: one line per missing, unknown or differing file."""
    folder, wanted = folder_of(manifest, store), readable(manifest)
    found = _readable_found(folder, store)
    remedy = "run the recipe again to link it" if store.local else "delete it, as a store at a URL needs no copies"
    problems = [f"{folder}/{name}: missing; {remedy}" for name in sorted(set(wanted) - found) if store.local]
    problems += [f"{folder}/{name}: no shard of this edition; delete it" for name in sorted(found - set(wanted))]
    for name, (info, suffix) in wanted.items():
        if name not in found or (store.local and os.path.samefile(store.object(info, suffix), f"{folder}/{name}")):
            continue
        with store.fs.open(f"{folder}/{name}", "rb") as file:
            if hash_stream(file) != info.sha256:
                problems.append(f"{folder}/{name}: content isn't the shard's; {remedy}")
    return problems


def link_data(manifest: Manifest, store: Store) -> None:
    """Link the edition's shards under their readable names. In a store at a URL, remove copies that have such names."""
    folder, wanted = folder_of(manifest, store), readable(manifest)
    with store.explained():
        if not store.local:
            bucket.remove(store.fs, [f"{folder}/{name}" for name in _readable_found(folder, store)])
            return
        store.make_folder(f"{store.root}/objects")  # a link touches the object, so it must be the store's own
        store.make_folder(f"{folder}/data")
        found = _readable_found(folder, store)
        for name in found - set(wanted):
            with suppress(FileNotFoundError):  # another process is sealing the same -dev version
                store.fs.rm_file(f"{folder}/{name}")
            above = Path(folder, name).parent
            if above.parent == Path(folder, "data"):
                with suppress(OSError):  # the folder of a configuration, unless it has other files
                    above.rmdir()
        for name in {"data", *(name.rpartition("/")[0] for name in wanted)}:
            store.make_folder(f"{folder}/{name}")
        for name, (info, suffix) in wanted.items():
            _link(store.object(info, suffix), Path(folder, name), store)


def _link(target: str, name: Path, store: Store) -> None:
    with suppress(FileNotFoundError):
        if os.path.samefile(target, name):
            return
    for _ in range(LINKS):
        store.make_folder(str(name.parent))
        with store.temporary(".link") as link:
            if not (os.path.lexists(target) and stat.S_ISREG(os.lstat(target).st_mode)):
                raise CorruptShard(f"{target}: no such file; run the recipe again to remake it")
            try:
                os.link(target, link, follow_symlinks=False)
            except OSError:  # a file system without hard links
                shutil.copyfile(target, link, follow_symlinks=False)
            with suppress(FileNotFoundError):  # another process has removed the configuration's folder
                link.replace(name)
                os.utime(name)  # loaders that cache by modification time must notice a new edition
                return
    raise StoreError(f"{name}: another process removes its folder again and again; stop it and run the same command")


def shard_name(manifest: Manifest, group: str, number: int) -> str:
    """The readable name of a group's shard, below the edition's folder."""
    return f"data/{group}-{number:05d}-of-{len(manifest.shards[group]):05d}.tar"


def readable(manifest: Manifest) -> dict[str, tuple[ShardInfo, str]]:
    """By readable name in the edition's folder, the store's file that the name means, with its suffix."""
    wanted: dict[str, tuple[ShardInfo, str]] = {
        shard_name(manifest, group, number): (info, ".tar")
        for group, shards in manifest.shards.items()
        for number, info in enumerate(shards)
    }
    listings = {f"{LISTINGS}/{name}.parquet": (info, ".parquet") for name, info in sorted(manifest.listings.items())}
    return {**wanted, **({PLAN: (manifest.plan, ".parquet")} if manifest.plan else {}), **listings}


def _readable_found(folder: str, store: Store) -> set[str]:
    """Readable names found in an edition's folder, whether or not they belong there."""
    data = {str(path)[len(folder) + 1 :] for part in ("data", LISTINGS) for path in store.fs.find(f"{folder}/{part}")}
    return data | ({PLAN} if store.fs.exists(f"{folder}/{PLAN}") else set())


def version_key(version: str) -> tuple[tuple[int, ...], bool, int]:
    """Sorts versions: 1.0.0-dev comes before 1.0.0, and that before its releases."""
    number = release_number(version)
    base = version if number is None else RELEASE.fullmatch(version)["base"]  # type: ignore[index]
    numbers, *marks = base.split("-")
    return tuple(int(part) for part in numbers.split(".") if part.isdecimal()), "dev" not in marks, number or 0
