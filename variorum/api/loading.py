"""Loading an edition with `datasets`, from a folder or a bucket, and links to its shards for other readers."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

from variorum.edition import bucket
from variorum.edition.editions import folder_of, readable
from variorum.edition.store import Store
from variorum.reports.hub_types import ALL, configurations, features
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import QUARANTINE, Manifest

LONGEST = 7 * 24 * 3600
"""Seconds that a signed link may be valid."""
STREAMED = 12 * 3600
"""Seconds that the links of a stream are valid."""


def load(manifest: Manifest, store: Store, split: str | None, config: str | None, *, streaming: bool) -> Any:
    """Load an edition by `datasets`; see `Edition.dataset`.

    A folder is loaded as it is. Shards in a bucket come to this machine first, or are streamed through signed links:
    `datasets` opens no tar at `s3://`.
    """
    name = f"{manifest.dataset}@{manifest.version}"
    if not manifest.pictures() and config != QUARANTINE:
        raise StoreError(f"{name} has no accepted pictures, so there is nothing to load; its rows are in table()")
    known = {ALL: manifest.splits(), **manifest.configs()}
    if held := manifest.shards.get(QUARANTINE):
        known[QUARANTINE] = {QUARANTINE: sum(shard.samples for shard in held)}
    if config is not None and config not in known:
        raise StoreError(f"{name} has no configuration {cut(repr(config))}; there are: {', '.join(known)}")
    there = known[config or ALL]
    if split is not None and re.split(r"[\[+]", str(split))[0] not in there:
        raise StoreError(f"{name} has no split {cut(repr(split))} there; there are: {', '.join(there) or 'none'}")
    from datasets import load_dataset

    if store.local:
        folder = folder_of(manifest, store)
        return load_dataset(folder, None if config == ALL else config, split=split, streaming=streaming)
    files = {one: _places(manifest, store, one, config, streaming=streaming) for one in there}
    return load_dataset("webdataset", data_files=files, features=features(manifest), split=split, streaming=streaming)


def links(manifest: Manifest, store: Store, split: str, config: str | None, seconds: int) -> list[str]:
    """Where a split's shards can be read; see `Edition.links`."""
    if split not in (there := configurations(manifest).get(config or ALL, {})):
        name = f"{manifest.dataset}@{manifest.version}{f', {cut(repr(config))}' if config else ''}"
        raise StoreError(f"{name} has no split {cut(repr(split))}; there are: {', '.join(there) or 'none'}")
    if not 1 <= seconds <= LONGEST:
        raise StoreError(f"links are valid for 1 to {LONGEST} seconds, which is 7 days, and not for {seconds}")
    names, wanted = _names(manifest, split, config), readable(manifest)
    if store.local:
        return [f"{folder_of(manifest, store)}/{name}" for name in names]
    try:
        return [bucket.link(store.fs, store.object(*wanted[name]), seconds) for name in names]
    except NotImplementedError:
        raise StoreError(f"{store}: it has no links that others can read; load the edition without streaming") from None


def _places(manifest: Manifest, store: Store, split: str, config: str | None, *, streaming: bool) -> list[str]:
    """Signed links to the shards of a split, or their copies on this machine, whose content is what it should be."""
    if streaming:
        return links(manifest, store, split, config, STREAMED)
    wanted = readable(manifest)
    return [str(store.path(*wanted[name])) for name in _names(manifest, split, config)]


def _names(manifest: Manifest, split: str, config: str | None) -> list[str]:
    """The readable names of a split's shards in a configuration."""
    pattern, _ = configurations(manifest)[config or ALL][split]
    return [name for name in readable(manifest) if fnmatchcase(name, pattern)]
