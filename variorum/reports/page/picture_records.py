"""Thumbnails, larger versions, masks and records of a page's rows, read in order with a few chunks prepared ahead."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from variorum.edition.samples import read_record, read_sample, strict_json
from variorum.edition.shards import ANNOTATIONS, sample_at
from variorum.machine.prefetch import batched
from variorum.machine.progress import Progress
from variorum.pixels import UndecodableImage
from variorum.reports.figures import UNSEEN, seen
from variorum.reports.page.thumbnails import larger, small_mask, thumbnail
from variorum.schemas.errors import CorruptShard
from variorum.schemas.outgoing import MEANING, Outgoing

CHUNK = 100
"""Rows that are handed over at a time."""
WORKERS = 4
ODD = re.compile(rf"{UNSEEN.pattern}|\\u00[01]|\\ud[89a-f]")
"""Found in a record's JSON if one of its texts has characters that could mislead."""
PICTURE = "picture"
"""Key of a record under which it says why there is no thumbnail."""
MASK = "mask.png"
"""Member of a sample with the mask of its object."""
MASK_SIDE = 512
"""Longer side of a mask, at most, in pixels: its outline is smooth enough over a larger picture."""


class Chunk(NamedTuple):
    """What a page has of up to 100 rows.

    Attributes:
        pictures: thumbnails; `b""` where there is no picture.
        records: as JSON text.
        larger: versions for looking at one picture; `b""` where the thumbnail has to do.
        masks: as PNG of one bit a pixel; `b""` where there is none.
    """

    pictures: list[bytes]
    records: list[str]
    larger: list[bytes]
    masks: list[bytes]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How pictures are shown.

    Attributes:
        side: longer side of thumbnails, pixels.
        larger: that of the larger versions; 0 for none.
        enlarged: rows that have a larger version; None for all.
        masks: whether masks are shown.
        blur: whether nothing is to be recognised; then there is neither a larger version nor a mask.
    """

    side: int
    larger: int = 0
    enlarged: frozenset[int] | None = None
    masks: bool = False
    blur: bool = False

    def larger_of(self, row: int) -> int:
        """Longer side of a row's larger version; 0 for none."""
        return self.larger if not self.blur and (self.enlarged is None or row in self.enlarged) else 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies: the shard, its first byte there, its id, the sha256 that its row gives, and its gate."""

    path: Path
    start: int
    id: str
    sha256: str
    gate: Outgoing


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a page.

    Attributes:
        places: of its picture; for a difference, of the picture before and after. None where there is no picture.
        record: what is known besides the pictures' own records.
    """

    places: tuple[Place | None, ...]
    record: Mapping[str, Any] = field(default_factory=dict)


def chunks(entries: Sequence[Entry], sizes: Sizes, progress: Progress) -> Iterator[Chunk]:
    """Read the pictures of a page's rows, 100 rows at a time. A row with two places has two of each, and one record.

    Raises:
        CorruptShard: a picture is damaged, or isn't where its row says.
    """
    progress.start("making thumbnails", len(entries))
    workers = min(WORKERS, os.cpu_count() or 1)
    waiting = deque[Future[Chunk]]()
    with ThreadPoolExecutor(workers, thread_name_prefix="thumbnails") as pool:
        try:
            for some in batched(list(enumerate(entries)), CHUNK):
                waiting.append(pool.submit(_chunk, some, sizes, progress))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _chunk(entries: Sequence[tuple[int, Entry]], sizes: Sizes, progress: Progress) -> Chunk:
    chunk = Chunk([], [], [], [])
    for row, entry in entries:
        found = list[_Shown]()
        for number, place in enumerate(entry.places):
            if number and place is not None and (before := entry.places[0]) and before.sha256 == place.sha256:
                record, image, _ = read_place(place)
                found.append(found[0]._replace(record=record) if image else _Shown(record=record))
            else:
                found.append(_shown(place, sizes, row) if place else _Shown())
        own = dict(entry.record)
        if len(found) == 1:
            own = {**(found[0].record or {}), **own}
        else:
            own |= {name: one.record for name, one in zip(("before", "after"), found, strict=True) if one.record}
        chunk.pictures.extend(one.small for one in found)
        chunk.larger.extend(one.larger for one in found)
        chunk.masks.extend(one.mask for one in found)
        chunk.records.append(_as_text(own))
        progress.advance(1)
    return chunk


class _Shown(NamedTuple):
    """A picture as a page has it."""

    small: bytes = b""
    larger: bytes = b""
    mask: bytes = b""
    record: dict[str, Any] | None = None


def _shown(place: Place, sizes: Sizes, row: int) -> _Shown:
    """A picture with nothing but its record if it can't be decoded."""
    record, image, mask = read_place(place)
    if not image:
        return _Shown(record=record)
    side = sizes.larger_of(row)
    try:
        small = thumbnail(image, sizes.side, blur=sizes.blur)
        large = larger(image, side, than=sizes.side) if side else b""
        drawn = (
            small_mask(mask, min(max(side, sizes.side), MASK_SIDE)) if mask and sizes.masks and not sizes.blur else b""
        )
        return _Shown(small, large, drawn, record)
    except UndecodableImage as error:
        return _Shown(record={PICTURE: f"can't be shown: {error}", **record})


def read_place(place: Place) -> tuple[dict[str, Any], bytes, bytes]:
    """A picture's record with what is JSON in it read, its annotations, its bytes and its mask.

    One that may not leave this machine has no bytes, and its record says why.

    Raises:
        CorruptShard: it is damaged, or isn't where its row says.
    """
    key, members = sample_at(place.path, place.start)
    where = f"{place.path}: {key}"
    sample, sha256 = read_sample(where, members)
    if sha256 != place.sha256 or sample.id != place.id:
        raise CorruptShard(f"{where}, at byte {place.start}, isn't the picture of {place.id}")
    record = read_record(members)
    record["ops"] = strict_json(record["ops"])
    if "metadata" in record:
        record["metadata"] = strict_json(record["metadata"])
    if ANNOTATIONS in members:
        record["annotations"] = _as_list(strict_json(members[ANNOTATIONS]))
    record["members"] = {ending: len(data) for ending, data in members.items()}
    if why := place.gate.why_not(sample.id, sample.metadata):
        return {PICTURE: f"isn't shown: {why}, {MEANING[why]}", **record}, b"", b""
    image = sample.image
    assert isinstance(image, bytes)
    return record, image, bytes(members.get(MASK, b""))


def _as_list(annotations: Any) -> Any:
    """Annotations with a list of objects, texts and states, where the file has a list of each of their fields."""
    return {
        part: [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
        for part, fields in annotations.items()
        if isinstance(fields, dict) and all(isinstance(values, list) for values in fields.values())
    }


def _as_text(record: dict[str, Any]) -> str:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    return json.dumps(_seen(record), ensure_ascii=False, allow_nan=False) if ODD.search(text) else text


def _seen(value: Any) -> Any:
    """A value whose texts have no characters that mislead; they keep their line breaks."""
    if isinstance(value, str):
        return "\n".join(map(seen, value.split("\n"))) if UNSEEN.search(value) else value
    if isinstance(value, dict):
        return {_seen(name): _seen(item) for name, item in value.items()}
    return [_seen(item) for item in value] if isinstance(value, list | tuple) else value
