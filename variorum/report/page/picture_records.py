"""Thumbnails and records of a page's rows, read in order with a few chunks prepared ahead."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Any

from variorum.edition.samples import ANNOTATIONS, read_record, read_sample, strict_json
from variorum.edition.shards import sample_at
from variorum.machine.prefetch import batched
from variorum.machine.progress import Progress
from variorum.pixels import UndecodableImage
from variorum.report.figures import UNSEEN, seen
from variorum.report.page.thumbnails import thumbnail
from variorum.schemas.errors import CorruptShard

CHUNK = 100
"""Rows that are handed over at a time."""
WORKERS = 4
ODD = re.compile(rf"{UNSEEN.pattern}|\\u00[01]|\\ud[89a-f]")
"""Found in a record's JSON if one of its texts has characters that could mislead."""
PICTURE = "picture"
"""Key of a record under which it says why there is no thumbnail."""
Small = Callable[[bytes], bytes]
"""Makes the thumbnail of an encoded picture."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies: the shard, its first byte there, its id and the sha256 that its row gives."""

    path: Path
    start: int
    id: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a page.

    Attributes:
        places: of its picture; for a difference, of the picture before and after. None where there is no picture.
        record: what is known besides the pictures' own records.
    """

    places: tuple[Place | None, ...]
    record: Mapping[str, Any] = field(default_factory=dict)


def pictures_and_records(
    entries: Sequence[Entry], side: int, progress: Progress, *, blur: bool = False
) -> tuple[Iterator[list[bytes]], Iterator[list[str]]]:
    """Chunks of thumbnails and of records as JSON text, to be read side by side.

    Args:
        entries: the rows. One with two places has two thumbnails, and a record of both.
        side: of the thumbnails, in pixels.
        progress: gets a step for each row.
        blur: whether nothing is to be recognised in the thumbnails.

    Raises:
        CorruptShard: while they are read; a picture is damaged, or isn't where its row says.
    """
    pictures, records = tee(_chunks(entries, partial(thumbnail, side=side, blur=blur), progress))
    return (chunk for chunk, _ in pictures), (chunk for _, chunk in records)


def _chunks(entries: Sequence[Entry], small: Small, progress: Progress) -> Iterator[tuple[list[bytes], list[str]]]:
    progress.start("making thumbnails", len(entries))
    workers = min(WORKERS, os.cpu_count() or 1)
    waiting = deque[Future[tuple[list[bytes], list[str]]]]()
    with ThreadPoolExecutor(workers, thread_name_prefix="thumbnails") as pool:
        try:
            for chunk in batched(entries, CHUNK):
                waiting.append(pool.submit(_chunk, chunk, small, progress))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _chunk(entries: Sequence[Entry], small: Small, progress: Progress) -> tuple[list[bytes], list[str]]:
    pictures, records = list[bytes](), list[str]()
    for entry in entries:
        made, found = list[bytes](), list[dict[str, Any]]()
        for number, place in enumerate(entry.places):
            if number and place is not None and (before := entry.places[0]) and before.sha256 == place.sha256:
                made.append(made[0])
                found.append(_read(place)[0])
                continue
            picture, record = _shown(place, small) if place else (b"", {})
            made.append(picture)
            found.append(record)
        own = dict(entry.record)
        if len(found) == 1:
            own = {**found[0], **own}
        else:
            own |= {name: record for name, record in zip(("before", "after"), found, strict=True) if record}
        pictures += made
        records.append(_as_text(own))
        progress.advance(1)
    return pictures, records


def _shown(place: Place, small: Small) -> tuple[bytes, dict[str, Any]]:
    """A picture's thumbnail, `b""` if it can't be decoded, and its record."""
    record, image = _read(place)
    try:
        return small(image), record
    except UndecodableImage as error:
        return b"", {PICTURE: f"can't be shown: {error}", **record}


def _read(place: Place) -> tuple[dict[str, Any], bytes]:
    """A picture's record with what is JSON in it read, its annotations, and its bytes. Raises CorruptShard."""
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
    image = sample.image
    assert isinstance(image, bytes)
    return record, image


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
