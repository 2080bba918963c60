"""Textured 3-D objects with a class of ImageNet: a natural view of each, and points on its surface to render others of.

Debian's package `sweethome3d-furniture` has 820 objects, CC0 or CC BY 3.0. `objects_3d.csv` names those that show
exactly one class of ImageNet-1k, each looked at from four sides, with licence and author from the package's catalogues.
"""

from __future__ import annotations

import csv
import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from variorum.kit.surfels import MEMBER, View, render
from variorum.machine.file_hashes import pin_files
from variorum.machine.retrying import Pinned, check_pinned, open_file, read_file, steady
from variorum.models.imagenet_classes import class_infos, is_wnid
from variorum.pixels import encode_png
from variorum.schemas.canonical import Json, derive_seed, digest
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import CREATED, Failure, Sample, source_id
from variorum.sources.meshes.wavefront import read_mesh, sample_surface

if TYPE_CHECKING:
    from variorum.arrays import Array

DEBIAN = Path("/usr/share/sweethome3d/furniture")
COLUMNS = ("id", "wnid", "licence", "author")
NATURAL = View(yaw=30, pitch=20)
SIDE = 256
LARGEST = 128_000_000
"""Bytes of an object's files together, unpacked."""
BROKEN = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What damaged or odd meshes and archives raise."""


class Listed(NamedTuple):
    """A row of the table, the archive that has the OBJ, and the path in it."""

    id: str
    wnid: str
    licence: str
    author: str
    archive: Path
    member: str


class Objects3d(Source):
    """Objects from OBJ and MTL files in zip archives, which are read without unpacking them.

    The y axis points up, and the front shows towards z. Each sample is a view from above, with points on the surface as
    `surfels.npy`, of which `adversarial_viewpoint` renders others. Transparent surfaces are left out.
    """

    location: ClassVar[frozenset[str]] = frozenset({"path", "table"})

    path: Path = DEBIAN
    """Folder with the archives."""
    table: Path | None = None
    """CSV with the columns `id` (an archive below `path` and the OBJ in it, such as `chairs.zip/oak/oak.obj`), `wnid`,
    `licence` and `author`; null for that of the package."""
    surfels: int = Field(default=400_000, ge=1000, le=4_000_000)
    """Points on each object's surface. Too few leave holes in views from near by."""

    def pin(self, ctx: Context) -> str:
        """Digest of the table's rows and of the files."""
        root = self.path.absolute()
        files: list[Json] = [[path.relative_to(root).as_posix(), one.sha256] for path, one in self._pins.items()]
        return digest([[[*row[:4]] for row in self._rows], files])

    def size(self, ctx: Context) -> int:
        """Number of rows of the table."""
        return len(self._rows)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """ImageNet's thousand, so that indices are ImageNet's."""
        return class_infos()

    def place(self) -> str:
        """Its folder and its table."""
        return place_of(self, ["path", "table"])

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The same samples without rendering them."""
        for row in self._rows[start:stop]:
            yield self._sample(row, b"")

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """A natural view of each object with `surfels.npy`; a Failure if its mesh can't be read.

        Raises:
            SourceChanged: a file isn't what was pinned.
            TemporaryError: the disk or the machine failed.
        """
        for row in self._rows[start:stop]:
            try:
                surfels = self._surfels(row)
            except BROKEN as error:
                said = str(error) if isinstance(error, ValueError | OSError) else repr(error)
                yield self._sample(row, b"").failure("unreadable", cut(said), status="failed")
                continue
            member = io.BytesIO()
            np.save(member, surfels, allow_pickle=False)
            picture = encode_png(render(surfels, NATURAL, SIDE).image)
            yield self._sample(row, picture, {MEMBER: member.getvalue()})

    def _sample(self, row: Listed, image: bytes, extras: dict[str, bytes] | None = None) -> Sample:
        return Sample(
            source_id("objects_3d", row.id),
            image,
            (row.wnid,),
            origin=f"{row.id} by {row.author}" if row.author else row.id,
            licence=row.licence,
            extras=extras or {},
            metadata={"author": row.author},
            digital_source_type=CREATED,
        )

    def _surfels(self, row: Listed) -> Array:
        """Points on an object, which gets no file but the members of its archive."""
        inside, left = posixpath.dirname(row.member), LARGEST

        def member(name: str) -> bytes:
            nonlocal left
            path = posixpath.normpath(posixpath.join(inside, name.replace("\\", "/")))
            found = steady(lambda: _unpacked(row.archive, path, left), row.archive, readable=True)
            left -= len(found)
            return found

        check_pinned(row.archive, self._pins[row.archive], row.archive)
        rng = np.random.default_rng(derive_seed("objects_3d", row.id))
        try:
            return sample_surface(read_mesh(member(posixpath.basename(row.member)), member), self.surfels, rng)
        finally:  # whatever was read of it must be of the same archive
            check_pinned(row.archive, self._pins[row.archive], row.archive)

    @cached_property
    def _rows(self) -> list[Listed]:
        table = self.table or Path(__file__).with_name("objects_3d.csv")
        try:
            text = steady(lambda: read_file(table), table).decode()
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"objects_3d: table {table} can't be read ({error})") from None
        found: list[Listed] = []
        for row in rows:
            values = [(row.get(name) or "").strip() for name in COLUMNS]
            name, wnid, licence, author = values
            if not name or not licence or row.get("author") is None:
                raise SourceError(
                    f"objects_3d: {table} must have the columns {', '.join(COLUMNS)}, with id and licence"
                )
            if not is_wnid(wnid):
                raise SourceError(
                    f"objects_3d: {table}: {cut(repr(wnid))} of {cut(name)} isn't the wnid of a class of ImageNet-1k, "
                    "such as n03384352; give one, or leave the object out"
                )
            found.append(Listed(name, wnid, licence, author, *self._located(name)))
        if not found or len({one.id for one in found}) < len(found):
            raise SourceError(f"objects_3d: {table} must have a row, and each object once")
        return found

    def _located(self, name: str) -> tuple[Path, str]:
        """The archive that has an object, and its path in there. Raises SourceError if there is none."""
        parts = PurePosixPath(name).parts
        if ".." not in parts and not name.startswith("/"):
            for number in range(1, len(parts)):
                file = self.path.joinpath(*parts[:number]).absolute()
                if steady(file.is_file, file):
                    return file, "/".join(parts[number:])
        usual = "install Debian's package sweethome3d-furniture, or give path and table of your own objects"
        todo = usual if self.table is None else "an id is a zip archive below path, and the OBJ in it: a.zip/oak.obj"
        raise SourceError(f"objects_3d: {self.path} has no object {cut(name)}; {todo}")

    @cached_property
    def _pins(self) -> dict[Path, Pinned]:
        files = sorted({row.archive for row in self._rows})
        return dict(zip(files, pin_files(self.path, files, listed=True), strict=True))


def _unpacked(archive: Path, name: str, most: int) -> bytes:
    """A member of an archive. Raises ValueError if it isn't there or too large, and what zipfile raises."""
    with open_file(archive) as file, zipfile.ZipFile(file) as opened:
        try:
            info = opened.getinfo(name)
        except KeyError:
            raise ValueError(f"the archive has no {cut(repr(name))}") from None
        if info.file_size > most:
            raise ValueError(
                f"{cut(repr(name))} unpacks to {info.file_size:,} bytes; an object's files have at most {LARGEST:,}"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{cut(repr(name))} is neither stored nor deflated; pack it again with zip")
        with opened.open(info) as member:  # its size may be a lie, and ZipFile.read would unpack the rest too
            return member.read(info.file_size)
