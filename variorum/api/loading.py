"""Loading an edition with `datasets`."""

from __future__ import annotations

import re
from typing import Any

from variorum.edition.editions import folder_of
from variorum.edition.store import Store
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import QUARANTINE, Manifest

ALL = "all"
"""The configuration with every accepted picture."""


def load(manifest: Manifest, store: Store, split: str | None, config: str | None, *, streaming: bool) -> Any:
    """What `datasets` makes of an edition's folder; see `Edition.dataset`."""
    name = f"{manifest.dataset}@{manifest.version}"
    if store.local is None:
        raise StoreError(
            f"{name}: datasets loads folders of this machine only; copy the edition here and load its folder"
        )
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

    folder = folder_of(manifest, store)
    return load_dataset(folder, None if config == ALL else config, split=split, streaming=streaming)
