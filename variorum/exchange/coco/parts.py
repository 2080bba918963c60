"""The annotation file of one variant, written a piece at a time, so that no edition has to fit into memory."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from variorum.models.coco import Category

ANNOTATIONS, PICTURES = "annotations/instances_val2017.json", "val2017"
"""Where COCO-O has them in the folder of a domain, so that readers of COCO's validation set find them."""
COMMONS = re.compile(r"CC-(?P<kind>BY[A-Z-]*|PDM)-(?P<version>\d\.\d)|CC0-(?P<zero>\d\.\d)")
"""SPDX ids of the Creative Commons licences without a country."""
ADDRESS = "https://creativecommons.org"


class Part:
    """The annotation file and the folder of pictures of one variant. Ids are 1, 2, 3 in the order of the edition."""

    def __init__(self, folder: Path, info: dict[str, Any], categories: Sequence[Category]) -> None:
        self.folder, self.info, self._categories = folder, info, categories
        self.pictures = self.boxes = self.made = 0
        self._licences: dict[str, int] = {}
        self._lines: dict[str, list[bytes]] = {"images": [], "annotations": []}
        self.file = folder / ANNOTATIONS
        self.file.parent.mkdir(parents=True)
        (folder / PICTURES).mkdir()

    def add(self, name: str, data: bytes, entry: dict[str, Any], licence: str, annotations: Iterable[Any]) -> None:
        """Write a picture and note its entries.

        Args:
            name: of its file.
            data: of its file.
            entry: what `images` says of it besides id, file name and licence.
            licence: an SPDX id or any other text.
            annotations: its objects as `annotations` has them, without their ids.
        """
        (self.folder / PICTURES / name).write_bytes(data)
        self.pictures += 1
        number = self._licences.setdefault(licence, len(self._licences) + 1)
        self._note("images", {"id": self.pictures, "file_name": name, **entry, "license": number})
        for one in annotations:
            self.boxes += 1
            self._note("annotations", {"id": self.boxes, "image_id": self.pictures, **one})

    def _note(self, what: str, value: dict[str, Any]) -> None:
        self._lines[what].append(json.dumps(value, allow_nan=False).encode())

    def flush(self) -> None:
        """Move what was noted from memory to the disk."""
        for what, lines in self._lines.items():
            if lines:
                with self._notes(what).open("ab") as file:
                    file.writelines(line + b"\n" for line in lines)
                lines.clear()

    def _notes(self, what: str) -> Path:
        return self.folder / f".{what}"

    def close(self) -> None:
        """Write the annotation file."""
        self.flush()
        heads = {
            "info": self.info,
            "licenses": [{"id": number, **licence_entry(name)} for name, number in self._licences.items()],
            "categories": [one._asdict() for one in self._categories],
        }
        with self.file.open("wb") as out:
            out.write(b"{")
            for name, value in heads.items():
                out.write(b'"%s": %s,\n' % (name.encode(), json.dumps(value).encode()))
            for what, end in (("images", b",\n"), ("annotations", b"}\n")):
                out.write(b'"%s": [' % what.encode())
                notes = self._notes(what)
                if notes.exists():
                    _join_lines(notes, out)
                    notes.unlink()
                out.write(b"]" + end)
            out.flush()
            os.fsync(out.fileno())


def licence_entry(name: str) -> dict[str, str]:
    """Name and address of a licence; the address is known for those of Creative Commons."""
    found = COMMONS.fullmatch(name)
    if found is None:
        return {"name": name, "url": ""}
    if found["zero"]:
        return {"name": name, "url": f"{ADDRESS}/publicdomain/zero/{found['zero']}/"}
    if found["kind"] == "PDM":
        return {"name": name, "url": f"{ADDRESS}/publicdomain/mark/{found['version']}/"}
    return {"name": name, "url": f"{ADDRESS}/licenses/{found['kind'].lower()}/{found['version']}/"}


def _join_lines(notes: Path, out: Any) -> None:
    """Copy lines with commas between them. JSON without indentation has no line end of its own."""
    with notes.open("rb") as file:
        for number, line in enumerate(file):
            out.write((b",\n" if number else b"\n") + line[:-1])
