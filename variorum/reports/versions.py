"""The versions of a dataset in a store, and what each changes against the one before it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from variorum.edition.editions import base_of, before, beside, editions, files_of, find, read_manifest
from variorum.edition.pulled import read_pulled
from variorum.edition.store import Store
from variorum.schemas.errors import CorruptShard, StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest

if TYPE_CHECKING:
    from variorum.reports.ranks import Rank

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Since:
    """The changes of an edition against an earlier one.

    Attributes:
        before: the earlier version.
        rank: how much it changes.
        counts: by kind of change, the number of pictures.
    """

    before: str
    rank: Rank
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Version:
    """One edition of a store.

    Attributes:
        dataset: its dataset.
        version: its version.
        digest: of its manifest; `""` if that can't be read.
        sealed: when its manifest was written in this store, in UTC; None if the file system doesn't say. In no digest.
        pictures: number of accepted pictures.
        withheld: number of pictures of which only a row is left.
        size: bytes of its shards and tables; editions share files, so sizes don't add up.
        current: whether the dataset's name alone means this edition.
        base: for a release, the version that it was made from, if that is in the store as it was.
        since: what it changes against the version before it, if that was asked for.
        was_signed_by: who had signed it when it was pulled; `""` if nobody had. Nothing is checked.
        problem: why its manifest can't be read; `""` if it can.
    """

    dataset: str
    version: str
    digest: str = ""
    sealed: datetime | None = None
    pictures: int = 0
    withheld: int = 0
    size: int = 0
    current: bool = False
    base: str = ""
    since: Since | None = None
    was_signed_by: str = ""
    problem: str = ""


def versions(store: Store, dataset: str = "") -> list[Version]:
    """The editions and releases of a store, in order of dataset and version.

    Args:
        store: the store.
        dataset: only this one, with what each version changes. For all datasets that isn't said, because it reads the
            tables of all editions.

    Raises:
        StoreError: no such dataset.
    """
    known = editions(store)
    if dataset and dataset not in {name for name, _ in known}:
        names = ", ".join(sorted({name for name, _ in known})) or "none yet"
        raise StoreError(f"no dataset {cut(repr(dataset))} in {store}; there are: {names}")
    current = {name: _current(name, store) for name in {name for name, _ in known if dataset in ("", name)}}
    return [_line(name, version, current[name], store, bool(dataset)) for name, version in known if name in current]


def _line(dataset: str, version: str, current: str, store: Store, compare: bool) -> Version:
    try:
        manifest = read_manifest(dataset, version, store)
    except CorruptShard as error:
        return Version(dataset, version, problem=str(error))
    if manifest is None:
        return Version(dataset, version, problem="its manifest is gone")
    base, pulled = base_of(manifest, store), read_pulled(manifest, store)
    return Version(
        dataset=dataset,
        version=version,
        digest=manifest.digest(),
        sealed=_sealed(manifest, store),
        pictures=manifest.pictures(),
        withheld=withheld(manifest),
        size=sum({info.sha256: info.size for info, _ in files_of(manifest)}.values()),
        current=version == current,
        base=base.version if base else "",
        since=since(manifest, store) if compare else None,
        was_signed_by=pulled.signed_by if pulled else "",
    )


def withheld(manifest: Manifest) -> int:
    """Number of pictures of which an edition has only a row."""
    found = ((key, number) for counts in manifest.counts.values() for key, number in counts.items())
    return sum(number for key, number in found if key.startswith("withheld:"))


def since(manifest: Manifest, store: Store) -> Since | None:
    """Compare an edition with the version `before` it; None without one, or if its files are damaged."""
    try:
        if (earlier := before(manifest, store)) is None:
            return None
        from variorum.reports.diff import diff
        from variorum.reports.ranks import rank_of

        changes = diff(earlier, manifest, store)
    except CorruptShard as error:
        log.warning("%s@%s isn't compared with an earlier version: %s", manifest.dataset, manifest.version, error)
        return None
    counts = Counter(change.kind for change in changes)
    return Since(earlier.version, rank_of(earlier, manifest, changes), dict(sorted(counts.items())))


def total_size(found: Iterable[Version], store: Store) -> int:
    """Bytes of the shards and tables of these editions, each file counted once."""
    manifests = (read_manifest(one.dataset, one.version, store) for one in found if not one.problem)
    files = {info.sha256: info.size for manifest in manifests if manifest for info, _ in files_of(manifest)}
    return sum(files.values())


def _current(dataset: str, store: Store) -> str:
    """The version that the dataset's name alone means; `""` if it can't be told."""
    try:
        return find(dataset, store).version
    except StoreError:
        return ""


def _sealed(manifest: Manifest, store: Store) -> datetime | None:
    """When the manifest was written. File systems say it in local or in universal time, or not at all."""
    try:
        found = store.fs.modified(f"{store.root}/{beside(manifest, 'manifest.json')}")
    except (NotImplementedError, OSError, KeyError):
        return None
    if not isinstance(found, datetime):
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
