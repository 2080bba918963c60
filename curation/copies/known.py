"""Whether pictures are known: on lists of hashes, in editions, or in folders, as a set of parts or an index on disk.

An index is a folder with one part for each list and edition, and a few for a folder of pictures. It grows by what it
lacks, and nothing in it is hashed again. A part appears when it is whole, so a process that is killed leaves an index
that the same command completes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.curation.copies.blocklists import Blocklist
from variorum.curation.copies.evidence import Prints
from variorum.curation.copies.grouping import FILE, HASH, LAYERS, PIXELS
from variorum.curation.copies.join import RADIUS
from variorum.curation.copies.looked_at import Hashes, Looked, look_at
from variorum.curation.copies.parts import WIDTHS, About, Part
from variorum.machine.progress import QUIET, Progress
from variorum.schemas.canonical import digest
from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.schemas.table import Table

MARK = {"variorum": "known pictures", "format": 1}
"""Content of the file that tells an index from any other folder."""
BATCH = 4096
"""Pictures of a folder that are kept together; a killed process loses at most so many."""


@dataclass(frozen=True, slots=True)
class Match:
    """A set that a picture is in, with the strongest evidence.

    Attributes:
        about: the set.
        layer: `file`, `pixels` or `hash`.
        distance: bits between the hashes, 0 to 31; 0 for the other layers.
        id: the picture of the set; `""` in a list, which has no names.
    """

    about: About
    layer: str
    distance: int
    id: str


def list_part(path: Path) -> Part:
    """The hashes of a list, without its embeddings. Raises SourceError as `Blocklist.read` does, or if it has none."""
    listed = Blocklist.read(path)
    files = np.frombuffer(bytes.fromhex("".join(listed.sha256)), np.uint8).reshape(-1, WIDTHS["files"])
    hashes = {"files": (files, None), "pixels": (listed.pixels, None), "pdq": (listed.pdq, None)}
    number = max(len(values) for values, _ in hashes.values())
    if not number:
        raise SourceError(f"blocklist {path} has no hashes; pictures are compared by sha256, pixels and pdq")
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return Part.of(About(kind="list", name=path.stem, content=content, pictures=number), hashes)


def edition_part(name: str, edition_digest: str, table: Table) -> Part:
    """The hashes of an edition, from its table with the columns of `duplicates`.

    Args:
        name: `dataset@version`.
        edition_digest: of the manifest.
        table: as `blocklist` takes it.
    """
    prints = Prints.read(table, embedding=False)
    rows, clear = np.arange(len(table)), np.flatnonzero(prints.usable)
    files = np.frombuffer(bytes.fromhex("".join(prints.sha256.tolist())), np.uint8).reshape(-1, WIDTHS["files"])
    hashes = {"files": (files, rows), "pixels": (prints.pixels, rows), "pdq": (prints.turns[clear, 0], clear)}
    about = About(kind="edition", name=name, content=edition_digest, pictures=len(table))
    return Part.of(about, hashes, table["id"].tolist())


def folder_part(name: str, looked: Sequence[Looked]) -> Part:
    """The hashes of pictures in a folder; files that can't be decoded have only that of their bytes."""
    found = Hashes.of(looked)
    hashes = {
        "files": (found.files, found.file_rows),
        "pixels": (found.pixels, found.pixel_rows),
        "pdq": (found.turns[:, 0], found.turn_rows),
    }
    return Part.of(_folder(name, found.files), hashes, [one.name for one in looked])


def _folder(name: str, files: NDArray[np.uint8]) -> About:
    content = hashlib.sha256(np.sort(files.view("V32").ravel()).tobytes()).hexdigest()
    return About(kind="folder", name=name, content=content, pictures=len(files))


def _merged(name: str, parts: Sequence[Part]) -> Part:
    """One part of a folder for several."""
    before = np.cumsum([0, *(len(part.ends) for part in parts)])
    hashes = {
        kind: (
            np.concatenate([part.columns[kind].hashes for part in parts]),
            np.concatenate([part.columns[kind].rows + n for part, n in zip(parts, before, strict=False)]),
        )
        for kind in WIDTHS
    }
    ids = [part.id(row) for part in parts for row in range(len(part.ends))]
    return Part.of(_folder(name, hashes["files"][0]), hashes, ids)


def look_up(looked: Sequence[Looked], parts: Sequence[Part]) -> list[list[Match]]:
    """For each picture the sets that it is in, best evidence first.

    Args:
        looked: pictures, from `look_at`.
        parts: where to look.

    Raises:
        SourceError: a part is damaged.
    """
    asked = Hashes.of(looked)
    found: list[dict[tuple[str, str], Match]] = [{} for _ in looked]
    for part in parts:
        bits, whose = part.near(asked.turns)
        try:
            layers = (
                (HASH, asked.turn_rows, bits <= RADIUS, bits, whose),
                *(
                    (layer, rows, *_with_zero(*part.same(name, values)))
                    for layer, name, values, rows in (
                        (PIXELS, "pixels", asked.pixels, asked.pixel_rows),
                        (FILE, "files", asked.files, asked.file_rows),
                    )
                ),
            )
        except ValueError:
            raise SourceError("x") from None
        for layer, rows, hit, distance, owner in layers:
            for place in np.flatnonzero(hit):
                match = Match(part.about, LAYERS[layer], int(distance[place]), part.id(int(owner[place])))
                at = found[int(rows[place])]
                key = (part.about.kind, part.about.name)
                if key not in at or _strength(match) < _strength(at[key]):
                    at[key] = match
    return [sorted(one.values(), key=_strength) for one in found]


def _strength(match: Match) -> tuple[int, int, str, str]:
    return LAYERS.index(match.layer), match.distance, match.about.name, match.id
