"""Read the marks that people set on the page of an edition: whom to ask about, tags and notes.

The file has a line of JSON for the edition, `{"marks": 1, "edition": "street@1.0.0", "digest": "…"}`, and one for each
picture: `{"id": "…", "ask": true, "tags": ["blurry"], "note": "…"}`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variorum.edition.samples import strict_json
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut
from variorum.schemas.secrets import shown

FORMAT = 1
LARGEST = 1 << 26
"""Bytes of a file."""
TAGS, TAG, NOTE = 20, 60, 500
"""Tags of a picture, and characters of a tag and of a note."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody says of a picture.

    Attributes:
        ask: whether people are to be asked about it.
        tags: different from each other, in the order in which they were given.
        note: a sentence or two.
    """

    ask: bool
    tags: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks in a file.

    Attributes:
        edition: whose page they were set on: `street@1.0.0-r1`.
        digest: of that edition.
        by_id: mark by id of the picture, in the file's order.
    """

    edition: str
    digest: str
    by_id: dict[str, Mark]

    @property
    def asked(self) -> list[str]:
        """Ids of the pictures that people are to be asked about."""
        return [identity for identity, mark in self.by_id.items() if mark.ask]

    def check(self, ids: Collection[str], edition: str, where: str) -> None:
        """Refuse marks of pictures that an edition doesn't have.

        Raises:
            SourceError: names some of them, and the edition whose page the marks come from.
        """
        known = set(ids)
        unknown = [identity for identity in self.by_id if identity not in known]
        if unknown:
            some = ", ".join(cut(ascii(one)[1:-1]) for one in unknown[:3])
            raise SourceError(
                f"{where}: {len(unknown)} of {len(self.by_id)} marked pictures aren't in {edition}: {some}"
                f"{' …' if len(unknown) > 3 else ''}; the marks are of {self.edition}"
            )


def read_marks(path: Path, where: str = "marks") -> Marks:
    """The marks in a file that a page of `variorum view` has saved.

    Raises:
        SourceError: the file can't be read, is too large, or a line says something else; the line is named.
    """
    name = f"{where}: {shown(str(path))}"
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise SourceError(f"{name} can't be read ({error.strerror or error})") from None
    if len(data) > LARGEST:
        raise SourceError(f"{name} is larger than {LARGEST >> 20} MB, so it isn't a file of marks")
    lines = [line for line in data.split(b"\n") if line.strip()]
    head = _object(lines[0], f"{name}, line 1") if lines else {}
    if head.get("marks") != FORMAT or not all(isinstance(head.get(one), str) for one in ("edition", "digest")):
        raise SourceError(f"{name} isn't a file of marks; download one on the page of `variorum view`")
    found = dict[str, Mark]()
    for number, line in enumerate(lines[1:], 2):
        where = f"{name}, line {number}"
        entry = _object(line, where)
        identity, mark = entry.get("id"), _mark(entry, where)
        if not isinstance(identity, str) or not identity:
            raise SourceError(f"{where}: it names no picture; each line has an id")
        if identity in found:
            raise SourceError(f"{where}: picture {cut(ascii(identity))} is there already")
        found[identity] = mark
    return Marks(head["edition"], head["digest"], found)


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        entry = strict_json(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: not JSON ({cut(str(error))})") from None
    if not isinstance(entry, dict):
        raise SourceError(f"{where}: not an object of JSON")
    return entry


def _mark(entry: dict[str, Any], where: str) -> Mark:
    ask, tags, note = entry.get("ask", False), entry.get("tags", []), entry.get("note", "")
    if not isinstance(ask, bool):
        raise SourceError(f"{where}: ask is {cut(ascii(ask))}; it is true or false")
    if not isinstance(tags, list) or len(tags) > TAGS or not all(_is_text(tag, TAG) and tag for tag in tags):
        raise SourceError(f"{where}: tags are a list of up to {TAGS} texts of up to {TAG} characters")
    if not _is_text(note, NOTE):
        raise SourceError(f"{where}: a note is a text of up to {NOTE} characters")
    return Mark(ask, tuple(dict.fromkeys(tags)), note)


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest
