"""Find known pictures: on lists of hashes, in editions, or in folders.

The evidence is that of `duplicates` without embeddings: the same file, the same pixels, or PDQ hashes at most 31 bits
apart in any of eight orientations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.curation.copies.parts import WIDTHS, About, Part
from variorum.kit.copies.blocklists import Blocklist
from variorum.kit.copies.evidence import Prints
from variorum.kit.copies.file_hashes import Hashes, Looked
from variorum.kit.copies.grouping import FILE, HASH, LAYERS, PIXELS
from variorum.kit.copies.join import RADIUS
from variorum.machine.retrying import hash_content
from variorum.schemas.errors import SourceError

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints
    from variorum.schemas.table import Table


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
    about = About(kind="list", name=path.stem, content=hash_content(path), pictures=number)
    return Part.of(about, hashes)


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


def merged(name: str, parts: Sequence[Part]) -> Part:
    """One part of a folder in place of several."""
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

    Raises:
        SourceError: a part is damaged.
    """
    asked = Hashes.of(looked)
    found: list[dict[tuple[str, str], Match]] = [{} for _ in looked]
    for part in parts:
        bits, owner = part.near(asked.turns)
        _note(found, part, HASH, asked.turn_rows, bits <= RADIUS, bits, owner)
        for layer, name, hashes, rows in (
            (PIXELS, "pixels", asked.pixels, asked.pixel_rows),
            (FILE, "files", asked.files, asked.file_rows),
        ):
            same, owner = part.same(name, hashes)
            _note(found, part, layer, rows, same, np.zeros(len(same), np.uint16), owner)
    return [sorted(one.values(), key=_strength) for one in found]


def _note(
    found: list[dict[tuple[str, str], Match]],
    part: Part,
    layer: int,
    rows: Ints,
    hit: Bools,
    distance: NDArray[np.uint16],
    owner: Ints,
) -> None:
    """Add what one layer of one part found, if it is the strongest evidence for this set so far."""
    key = (part.about.kind, part.about.name)
    for place in np.flatnonzero(hit):
        match = Match(part.about, LAYERS[layer], int(distance[place]), part.id(int(owner[place])))
        known = found[int(rows[place])]
        if key not in known or _strength(match) < _strength(known[key]):
            known[key] = match


def _strength(match: Match) -> tuple[int, int, str, str]:
    return LAYERS.index(match.layer), match.distance, match.about.name, match.id
