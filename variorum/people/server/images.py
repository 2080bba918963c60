"""Pictures of an edition by id, for browsers: the picture, a thumbnail, a blurred one, its mask, and what is known.

What people may not want to see is sent blurred, and as it is only when somebody asks for it.

A request names a picture by its id and by nothing else. Where the picture lies is looked up in arrays, sorted by id, so
that an edition of a million pictures takes some 200 MB and no dictionary.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from variorum.arrays import Array, Bools, Ints
from variorum.bare_pictures import without_metadata
from variorum.edition.outgoing import outgoing
from variorum.edition.read_at import stored_sample
from variorum.edition.samples import picture_pixels
from variorum.edition.store import Store
from variorum.pixels import UndecodableImage, encode_png, upright_size
from variorum.reports.page.thumbnails import quick_thumbnail
from variorum.reports.rows import edition_rows
from variorum.schemas.canonical import Json
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import Manifest, ShardInfo
from variorum.schemas.sample import Sample

COLUMNS = ("id", "sha256", "variant", "labels", "photograph", "width", "height", "objects")
ORIGINAL = "original"
"""The variant of pictures that no generator has changed."""
MASK = "mask.png"
SIDE = 256
"""The longer side of thumbnails in pixels."""
CACHED = 96 << 20
"""Bytes of thumbnails that are kept in memory, and of blurred ones."""
SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"RIFF", "image/webp"),
)
"""How files begin that browsers show. Pictures of other formats are sent as PNG."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to send: content and its media type."""

    data: bytes
    kind: str


class Pictures:
    """The accepted pictures of an edition. Rows are numbered in the order of their ids.

    Args:
        manifest: the edition.
        store: its store.
        afar: whether other machines can reach the server; restricted pictures are shown to nobody then.

    Raises:
        CorruptShard: a table is damaged, or a picture has no shard.
    """

    def __init__(self, manifest: Manifest, store: Store, *, afar: bool = False) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.manifest, self._store = manifest, store
        rows = edition_rows(manifest, store, COLUMNS)
        rows = rows.filter(pc.equal(rows["status"], "accepted")).combine_chunks()
        rows = rows.take(pc.sort_indices(rows["id"]))

        def numbers(name: str) -> Ints:
            if name not in rows.column_names:  # editions of format 3 lack it
                return np.zeros(len(rows), np.int64)
            values: Ints = pc.fill_null(rows[name], 0).to_numpy().astype(np.int64)
            return values

        self.ids: Array = np.array(pc.cast(rows["id"], pa.binary()).to_numpy(), dtype=np.bytes_)
        self._sha256: Array = np.array(pc.cast(rows["sha256"], pa.binary()).to_numpy(), dtype="S64")
        self._start, self._width, self._height = numbers("start"), numbers("width"), numbers("height")
        self._objects: Bools = numbers("objects") > 0
        self._shards, self._shard = _shards(manifest, rows)
        self._codes: Ints = np.zeros(len(rows), np.int64)
        self.original: Bools = pc.equal(rows["variant"], ORIGINAL).to_numpy(zero_copy_only=False)
        self.photograph = _codes(rows["photograph"])
        self.label = _labels(rows["labels"], [identity for identity, _ in manifest.classes])
        self._original_of = _originals(_codes(rows["source"]), self.original)
        self._gate, self._afar = outgoing(manifest, store), afar
        self._free: Bools = np.zeros(len(rows), bool)
        self._masks = MASK in manifest.members
        self._names = dict(manifest.classes)
        self._thumbnails = Recent(CACHED, partial(self._make_thumbnail, blur=False))
        self._blurred = Recent(CACHED, partial(self._make_thumbnail, blur=True))
        self._makers = ThreadPoolExecutor(os.cpu_count() or 1, "thumbnails")

    def __len__(self) -> int:
        return len(self.ids)

    def veiled(self, row: int) -> bool:
        """Return whether a picture may not leave this machine: here it is blurred until somebody asks to see it."""
        identity = bytes(self.ids[row]).decode()
        if not self._free[row] and identity not in self._gate.kept:
            with suppress(CorruptShard):  # who asks for the picture is told
                self._gate.why_not(identity, self._sample(row).metadata)
                self._free[row] = identity not in self._gate.kept
        return identity in self._gate.kept

    def hidden(self, row: int) -> bool:
        """Return whether nobody is shown a picture: it is withheld, or restricted and the server can be reached."""
        return self.veiled(row) and (self._afar or bytes(self.ids[row]).decode() in self._gate.withheld)

    def row(self, identity: str) -> int | None:
        """The row of the picture with this id; None if there is none, or a hidden one. Any text may be asked for."""
        try:
            wanted = np.bytes_(identity.encode("ascii"))
        except UnicodeEncodeError:
            return None
        if not len(self.ids) or not wanted or "\0" in identity:  # NumPy drops null characters at the end
            return None
        found = int(np.searchsorted(self.ids, wanted))
        there = found < len(self.ids) and self.ids[found] == wanted and not self.hidden(found)
        return found if there else None

    def sha256(self, row: int) -> str:
        """Of the encoded picture."""
        return bytes(self._sha256[row]).decode()

    def described(self, row: int, *, named: bool = False, alone: bool = False) -> dict[str, Json]:
        """A picture as the page gets it: ids, addresses, size in pixels, objects, and the original of an edit.

        Args:
            row: of the picture.
            named: whether objects say which class they are. Where the class is what people are asked, they don't.
            alone: without objects and original, for pictures that are only shown.
        """
        identity, sha256 = bytes(self.ids[row]).decode(), self.sha256(row)
        width, height = int(self._width[row]), int(self._height[row])
        if not width:
            height, width = upright_size(self.picture(row).data)
        short = sha256[:16]
        original, veiled = int(self._original_of[row]), self.veiled(row)
        if original >= 0 and self.hidden(original):
            original = -1
        return {
            "id": identity,
            "sha256": sha256,
            "url": f"/pictures/{identity}?v={short}",
            "thumbnail": f"/{'blurred' if veiled else 'thumbnails'}/{identity}?v={short}",
            "blurred": f"/blurred/{identity}?v={short}",
            "veiled": veiled,
            "mask": f"/masks/{identity}?v={short}" if self._masks and not alone else None,
            "width": width,
            "height": height,
            "objects": [] if alone else self.objects(row, named=named),
            "original": self.described(original, alone=True) if original not in (-1, row) and not alone else None,
        }

    def objects(self, row: int, *, named: bool) -> list[Json]:
        """Boxes of the objects in a picture in pixels, with their classes or without; see `described`."""
        if not self._objects[row]:
            return []
        return [
            {
                "box": list(map(float, one.box)),
                "label": one.label if named else "",
                "name": self._names.get(one.label, one.label) if named else "",
            }
            for one in self._sample(row).annotations.objects
        ]

    def picture(self, row: int) -> File:
        """The picture without its metadata, or as PNG where browsers don't show its format.

        Raises:
            CorruptShard: it is damaged.
        """
        data = self._sample(row).image
        assert isinstance(data, bytes)
        return _as_stored(data) or File(encode_png(picture_pixels(self._named(row), data)), "image/png")

    def thumbnail(self, row: int) -> File:
        """A small JPEG version, from memory if it has been asked for lately.

        Raises:
            CorruptShard: the picture is damaged.
        """
        return File(self._thumbnails.get(row), "image/jpeg")

    def ready_thumbnail(self, row: int) -> File | None:
        """The thumbnail if it is in memory; else None."""
        data = self._thumbnails.kept(row)
        return None if data is None else File(data, "image/jpeg")

    def blurred(self, row: int) -> File:
        """A small JPEG version in which nothing can be recognised, from memory if it has been asked for lately.

        Raises:
            CorruptShard: the picture is damaged.
        """
        return File(self._blurred.get(row), "image/jpeg")

    def ready_blurred(self, row: int) -> File | None:
        """The blurred version if it is in memory; else None."""
        data = self._blurred.kept(row)
        return None if data is None else File(data, "image/jpeg")

    def prepare(self, rows: Iterable[int], *, blur: bool = False) -> None:
        """Make thumbnails that are going to be asked for, on threads of their own. Damaged pictures are told later."""
        wanted = self._blurred if blur else self._thumbnails
        for row in rows:
            if wanted.kept(row) is None:
                self._makers.submit(wanted.get, row)

    def _make_thumbnail(self, row: int, *, blur: bool) -> bytes:
        data = self._sample(row).image
        assert isinstance(data, bytes)
        try:
            return quick_thumbnail(data, SIDE, blur=blur)
        except UndecodableImage as error:
            raise CorruptShard(f"{self._named(row)} can't be decoded ({error})") from None

    def mask(self, row: int) -> File | None:
        """The picture's mask as PNG; None if the edition has no masks.

        Raises:
            CorruptShard: the picture or the mask is damaged.
        """
        data = self._sample(row).extras.get(MASK) if self._masks else None
        if data is None:
            return None
        stored = _as_stored(data) if isinstance(data, bytes) else None
        if stored is None or stored.kind != "image/png":
            stored = File(encode_png(picture_pixels(self._named(row), data, mask=True)), "image/png")
        return stored

    def _sample(self, row: int) -> Sample:
        where: Mapping[str, Any] = {
            "id": bytes(self.ids[row]).decode(),
            "sha256": self.sha256(row),
            "start": int(self._start[row]),
        }
        return stored_sample(self._store, self._shards[self._shard[row]], where)

    def _named(self, row: int) -> str:
        return f"sample {bytes(self.ids[row]).decode()}"


class Recent:
    """The files that have been asked for last."""

    def __init__(self, most: int, make: Callable[[int], bytes]) -> None:
        self._most, self._size, self._make = most, 0, make
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._making: dict[int, Future[bytes]] = {}
        self._lock = Lock()

    def kept(self, row: int) -> bytes | None:
        """The file of a row if it is kept."""
        with self._lock:
            if row in self._kept:
                self._kept.move_to_end(row)
            return self._kept.get(row)

    def get(self, row: int) -> bytes:
        """The file of a row, made if it isn't kept. Who asks while another thread makes it waits for that."""
        with self._lock:
            if row in self._kept:
                self._kept.move_to_end(row)
                return self._kept[row]
            coming = self._making.get(row)
            if coming is None:
                mine = self._making[row] = Future[bytes]()
        if coming is not None:
            return coming.result()
        try:
            made = self._make(row)
        except BaseException as error:
            with self._lock:
                del self._making[row]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._making[row]
            self._size += len(made)
            self._kept[row] = made
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
        mine.set_result(made)
        return made


def _as_stored(data: bytes) -> File | None:
    """A picture with its stored pixels and nothing else; None if browsers don't show its format, or it is damaged."""
    kind = _kind(data)
    bare = without_metadata(data) if kind else None
    return None if bare is None else File(bare, kind)


def _kind(data: bytes) -> str:
    """The media type of a picture whose pixels browsers get as they are stored; `""` for others."""
    found = next((kind for start, kind in SIGNATURES if data.startswith(start)), "")
    return found if found != "image/webp" or data[8:12] == b"WEBP" else ""


def _codes(column: Any) -> Ints:
    """Whole numbers that stand for the distinct texts of a column."""
    codes: Ints = column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _labels(column: Any, classes: list[str]) -> Ints:
    """Index of each picture's first label, -1 for none or one that isn't a class."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = column.combine_chunks()
    some = pc.greater(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    found = np.full(len(lists), -1, np.int64)
    if some.any():
        first = pc.list_element(lists.filter(pa.array(some)), 0)
        index = pc.fill_null(pc.index_in(first, value_set=pa.array(classes, pa.string())), -1)
        found[some] = index.to_numpy(zero_copy_only=False)
    return found


def _originals(source: Ints, original: Bools) -> Ints:
    """For each picture, the row of its source's original; -1 for none."""
    first = np.full(int(source.max(initial=-1)) + 1, -1, np.int64)
    rows = np.flatnonzero(original)[::-1]
    first[source[rows]] = rows
    return first[source] if len(source) else source


def _shards(manifest: Manifest, rows: Any) -> tuple[list[ShardInfo], Ints]:
    """All shards, and for each row the index of its own."""
    shards, group, number = list[ShardInfo](), rows["group"].to_pylist(), rows["shard"].to_numpy()
    first = dict[str, int]()
    for name, infos in manifest.shards.items():
        first[name] = len(shards)
        shards += infos
    if len(number) and number.min() < 0:
        raise CorruptShard(f"{manifest.dataset}@{manifest.version} has accepted pictures that are in no shard")
    begin = np.fromiter((first[name] for name in group), np.int64, len(group))
    return shards, begin + number
