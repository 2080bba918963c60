"""Single pictures of an edition, read at the byte that their row names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from variorum.edition.samples import picture_pixels, read_sample
from variorum.edition.shards import sample_at
from variorum.edition.store import Store
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import ShardInfo
from variorum.schemas.sample import Sample


def stored_sample(store: Store, shard: ShardInfo, row: Mapping[str, Any]) -> Sample:
    """The sample that a row is about, with picture and extras as they are stored.

    Args:
        store: has the shard, of which only this sample is read.
        shard: where it lies.
        row: its `id`, `sha256` and `start`.

    Raises:
        CorruptShard: it isn't there, or is damaged.
    """
    path = store.path(shard, check=False)
    key, members = sample_at(path, row["start"])
    sample, sha256 = read_sample(f"{path}: {key}", members)
    if sha256 != row["sha256"]:
        raise CorruptShard(f"{path}: {key}, at byte {row['start']}, isn't the picture of {row['id']}")
    return sample


def with_pixels(sample: Sample) -> Sample:
    """A stored sample with its picture as RGB `[H, W, 3]`, and its `mask.png` members as `[H, W]`, uint8 each.

    Raises:
        CorruptShard: a picture can't be decoded.
    """
    where = f"sample {sample.id}"
    extras = {
        ending: picture_pixels(f"{where}, {ending}", data, mask=True) if ending.endswith("mask.png") else data
        for ending, data in sample.extras.items()
    }
    return replace(sample, image=picture_pixels(where, sample.image), extras=extras)
