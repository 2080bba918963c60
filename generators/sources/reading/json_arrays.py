"""Large JSON files of the form `{"images": [...], "annotations": [...], ...}`, read one element after another.

Python's own decoder reads each element from a block of the file, so memory is bounded, and it is known at which bytes
each element lies: to read it again, nothing before it has to be read. Bytes are taken as Latin-1 meanwhile, which makes
positions those of bytes, and a text that isn't UTF-8 the matter of the element that has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from variorum.schemas.errors import SourceError

BLOCK = 1 << 20
"""Bytes that are read at a time."""
LARGEST = 1 << 26
"""Bytes of one element, or of a value that is no array."""
SPACE = re.compile(r"[ \t\n\r]*")
BOM = b"\xef\xbb\xbf"

_scan = json.JSONDecoder().raw_decode


class Element(NamedTuple):
    """An element of one of the arrays.

    Attributes:
        array: the key of the array.
        start: position of its first byte in the file.
        length: in bytes.
        value: with texts in Latin-1; `reread` has the true ones.
    """

    array: str
    start: int
    length: int
    value: Any


def elements(path: Path, where: str, *, block: int = BLOCK) -> Iterator[Element]:
    """The elements of all arrays in the object that a JSON file holds, in the order of the file.

    An array that is empty gives one element without length, so that its presence is known. Other values are passed over.

    Args:
        path: of the file.
        where: what errors call it.
        block: bytes to read at a time.

    Raises:
        SourceError: the file can't be read, isn't JSON, is cut short, or holds something else than an object.
    """
    try:
        with path.open("rb") as file:
            text = _Text(file, where, block)
            text.take("{", "it must start with {")
            while text.peek() != "}":
                key, _, _ = text.value()
                if not isinstance(key, str):
                    raise text.error("expected a key in quotes")
                text.take(":", "expected : after a key")
                if text.peek() == "[":
                    yield from _array(text, key)
                else:
                    text.value()
                if text.peek() == ",":
                    text.take(",", "")
                    if text.peek() == "}":
                        raise text.error("expected a key after ,")
                elif text.peek() != "}":
                    raise text.error("expected , or }")
            text.take("}", "")
            if text.peek():
                raise text.error("expected nothing after the last }")
    except OSError as error:
        raise SourceError(f"{where} can't be read: {error.strerror}") from None


def reread(data: bytes) -> Any:
    """An element from its bytes.

    Raises:
        ValueError: a text in it isn't UTF-8, or the bytes are those of another file.
    """
    return json.loads(data.decode("utf-8"))


def _array(text: _Text, key: str) -> Iterator[Element]:
    start = text.take("[", "")
    if text.peek() == "]":
        yield Element(key, start, 0, None)
    while text.peek() != "]":
        value, start, length = text.value()
        yield Element(key, start, length, value)
        if text.peek() == ",":
            text.take(",", "")
            if text.peek() == "]":
                raise text.error("expected a value after ,")
        elif text.peek() != "]":
            raise text.error(f"expected , or ] in {key}")
    text.take("]", "")


class _Text:
    """A window on the file that moves forward."""

    def __init__(self, file: BinaryIO, where: str, block: int) -> None:
        self.where = where
        self._file, self._block = file, block
        self._text, self._at, self._ended = "", 0, False
        self._passed = 0
        """Bytes of the file before the window."""
        self._more()
        if self._text.startswith(BOM.decode("latin-1")):
            self._at = len(BOM)

    def error(self, what: str, at: int | None = None) -> SourceError:
        """A SourceError with the position in the file."""
        at = self._at if at is None else at
        short = ", where it ends: it is cut short" if self._ended and at >= len(self._text.rstrip()) else ""
        return SourceError(f"{self.where} is no valid JSON object at byte {self._passed + at}{short}; {what}")

    def peek(self) -> str:
        """The next character that is no white space; `""` at the end."""
        while True:
            found = SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def take(self, sign: str, otherwise: str) -> int:
        """Pass over a sign and say where it is; if there is another, the error says `otherwise`."""
        if self.peek() != sign:
            raise self.error(otherwise)
        self._at += 1
        return self._passed + self._at - 1

    def value(self) -> tuple[Any, int, int]:
        """The next value, the position of its first byte, and its length."""
        self.peek()
        while True:
            try:
                value, end = _scan(self._text, self._at)
            except RecursionError:
                raise self.error("values are nested too deep") from None
            except ValueError as error:
                if self._ended:
                    message = getattr(error, "msg", str(error))
                    raise self.error(message.lower(), getattr(error, "pos", None)) from None
            else:
                if end < len(self._text) or self._ended:  # a number at the edge may go on
                    start, self._at = self._at, end
                    return value, self._passed + start, end - start
            if len(self._text) - self._at > LARGEST:
                raise self.error(f"no value ends within {LARGEST} bytes, or it has an error")
            self._more()

    def _more(self) -> None:
        """Read on. The window grows by its own size, so that a long element isn't tried in vain too often."""
        rest = self._text[self._at :]
        data = self._file.read(max(self._block, len(rest)))
        self._passed += self._at
        self._text, self._at, self._ended = rest + data.decode("latin-1"), 0, not data
