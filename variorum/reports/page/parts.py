"""Assemble pages: the parts that the page of an edition and that of a difference share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any

from variorum.edition.outgoing import outgoing
from variorum.edition.store import Store
from variorum.machine.progress import Progress
from variorum.reports.figures import seen
from variorum.reports.page.picture_records import Chunk, Entry, Place, Sizes, chunks
from variorum.reports.page.table import distinct
from variorum.reports.page.thumbnails import LARGER, larger_side, thumbnail_side
from variorum.schemas.canonical import Json
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import Manifest, Shard
from variorum.schemas.outgoing import Outgoing

MOST = 10_000
"""Default number of pictures on a page."""
HASH = 16
"""Digits of a picture's sha256 that its larger version is named by."""
LIMIT = 100_000
"""Maximum number of pictures on a page: browsers don't cope with larger files."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The input of `html.write_page`, before any picture is read.

    Attributes:
        facts: about the edition as a whole.
        table: columns, one value for each row.
        entries: where each row's pictures lie, and what its record has besides theirs.
        pictures: number of pictures that are shown.
        warning: what people may not want to see in them; with one, all thumbnails are blurred.
        alone: whether the page is small: no larger versions, no masks.
        first: rows whose pictures have a larger version, where there are too many for all; None for the first ones.
    """

    facts: dict[str, Json]
    table: dict[str, Json]
    entries: Sequence[Entry]
    pictures: int
    warning: str = ""
    alone: bool = False
    first: Sequence[int] | None = None

    def streams(self, progress: Progress, folder: Path | None = None) -> tuple[Iterator[Any], ...]:
        """Thumbnails, records, larger versions and masks in chunks of 100 rows, to be read side by side.

        Args:
            progress: gets a step for each row.
            folder: where larger versions of all pictures are written, instead of into the page; None for the page.

        Raises:
            CorruptShard: while they are read; a picture is damaged, or isn't where its row says.
            OSError: a larger version can't be written.
        """
        sizes = self.sizes if folder is None else replace(self.sizes, larger=LARGER[0][1], enlarged=None)
        read = tee(chunks(self.entries, sizes, progress), len(Chunk._fields))
        pictures, records, larger, masks = map(_column, read, range(len(read)))
        return pictures, records, larger if folder is None else self._beside(larger, folder), masks

    def _beside(self, larger: Iterator[list[bytes]], folder: Path) -> Iterator[list[bytes]]:
        """Write larger versions into a folder, named by the pictures' hashes; nothing is left for the page."""
        places = (place for entry in self.entries for place in entry.places)
        for chunk in larger:
            for data, place in zip(chunk, places, strict=False):  # the chunk first: it doesn't take a place too many
                if data and place is not None:
                    (folder / f"{place.sha256[:HASH]}.webp").write_bytes(data)
            yield [b""] * len(chunk)

    @property
    def side(self) -> int:
        """Longer side of the thumbnails in pixels."""
        side = self.facts["thumbnail"]
        assert isinstance(side, int)
        return side

    @property
    def sizes(self) -> Sizes:
        """Sizes of the pictures on the page."""
        if self.alone:
            return Sizes(self.side, blur=bool(self.warning))
        enlarged = None
        if self.pictures > LARGER[-1][0]:
            rows = range(len(self.entries)) if self.first is None else self.first
            enlarged = frozenset(rows[: LARGER[-1][0]])
        return Sizes(self.side, larger_side(self.pictures), enlarged, masks=True, blur=bool(self.warning))


def _column(read: Iterator[Chunk], number: int) -> Iterator[Any]:
    return (chunk[number] for chunk in read)


class Where:
    """Finds pictures in the shards of an edition; each shard is looked up, or downloaded, once.

    Args:
        manifest: the edition.
        store: its store.
        lenient: whether a missing shard is no error: its pictures aren't shown.
        gate: says which pictures aren't shown; the edition's own by default.
    """

    def __init__(
        self, manifest: Manifest, store: Store, *, lenient: bool = False, gate: Outgoing | None = None
    ) -> None:
        self.manifest, self.store, self.lenient = manifest, store, lenient
        self._paths: dict[str, Path | None] = {}
        self._gate = gate or outgoing(manifest, store)

    def place(self, row: Mapping[str, Any]) -> Place | None:
        """Where the picture of a row of `edition_rows` lies; None if it has none.

        Raises:
            CorruptShard: its shard is missing.
        """
        if row["shard"] < 0:
            return None
        path = self._path(self.manifest.shards[row["group"]][row["shard"]])
        return None if path is None else Place(path, row["start"], row["id"], row["sha256"], self._gate)

    def _path(self, shard: Shard) -> Path | None:
        if shard.sha256 not in self._paths:
            try:
                self._paths[shard.sha256] = self.store.path(shard, check=False)
            except CorruptShard:
                if not self.lenient:
                    raise
                self._paths[shard.sha256] = None
        return self._paths[shard.sha256]


def name_of(manifest: Manifest) -> str:
    """`imagenet_e@3.0.0-r1`."""
    return f"{manifest.dataset}@{manifest.version}"


def class_names(manifest: Manifest) -> Callable[[str], str]:
    """A function from a class's id to its name as it can be shown, a different one for each class."""
    names = dict(zip((one for one, _ in manifest.classes), shown_classes(manifest), strict=True))
    return lambda label: names.get(label) or seen(label)


def shown_classes(manifest: Manifest) -> list[str]:
    """The classes' names as they can be shown, in index order."""
    return distinct([name or identity for identity, name in manifest.classes])


def side_for(entries: Sequence[Entry]) -> tuple[int, int]:
    """Number of pictures in these rows, and the side of their thumbnails."""
    pictures = sum(place is not None for entry in entries for place in entry.places)
    return pictures, thumbnail_side(pictures)
