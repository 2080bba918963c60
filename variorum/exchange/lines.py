"""Text files that are written line by line with little memory, however many and long they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HELD = 1 << 20
"""Characters of one file that are held in memory."""


class Lines:
    """Files by path, each written when it has a megabyte, and at the end."""

    def __init__(self) -> None:
        self._held: dict[Path, list[str]] = {}
        self._size: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            for path in self._held:
                self._write(path)

    def add(self, path: Path, text: str) -> None:
        """Add text as it is; the file's folder must be there."""
        self._held.setdefault(path, []).append(text)
        self._size[path] = self._size.get(path, 0) + len(text)
        if self._size[path] > HELD:
            self._write(path)

    def add_json(self, path: Path, value: Mapping[str, Any]) -> None:
        """Add a line of JSON."""
        self.add(path, as_json(value) + "\n")

    def _write(self, path: Path) -> None:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.writelines(self._held[path])
        self._held[path], self._size[path] = [], 0


def as_json(value: Any) -> str:
    """A value on one line, without NaN."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
