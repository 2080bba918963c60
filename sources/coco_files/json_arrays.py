"""Large JSON files of the form `{"images": [...], "annotations": [...], ...}`, read one element after another.

Python's own decoder reads each element from a block of the file, so memory is bounded, and it is known at which bytes
each element lies: to read it again, nothing before it has to be read. Bytes are decoded as Latin-1 meanwhile, so that
positions are those of bytes, and invalid UTF-8 is reported for its element only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from variorum.machine.retrying import open_file, steady, why
from variorum.schemas.errors import SourceError

BLOCK = 1 << 20
"""Bytes that are read at a time."""
LARGEST = 1 << 26
"""Bytes of one element, or of a value that is no array."""
UNFINISHED = "unterminated string"
"""How an error starts whose position is where a text starts, not where the file ends."""
LONGEST_REST = 3
"""Characters of a number that are no number for themselves, with the digit that makes them one: `e+3`."""
AFTER_NUMBER = " \t\n\r,]}"
SPACE = re.compile(r"[ \t\n\r]*")
NEXT = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")
EDGES = ("", " ", "\t", "\n", "\r")
"""Where a value doesn't start yet."""
BOM = b"\xef\xbb\xbf"

_scan = json.JSONDecoder().raw_decode


class Element(NamedTuple):
    """An element of one of the arrays.

    Attributes:
        array: the key of the array.
        start: position of its first byte in the file.
        length: in bytes.
        text: the bytes, as Latin-1.
        value: what they hold; `exact` is right for texts that aren't ASCII too.
    """

    array: str
    start: int
    length: int
    text: str
    value: Any

    def exact(self) -> Any:
        """The value. Raises ValueError if a text in it isn't UTF-8."""
        return self.value if self.text.isascii() else json.loads(self.text.encode("latin-1").decode("utf-8"))


def elements(path: Path, where: str, *, block: int = BLOCK) -> Iterator[Element]:
    """The elements of all arrays in the object that a JSON file holds, in the order of the file.

    An empty array gives one element without length, so that its presence is known. Other values are passed over.

    Raises:
        SourceError: the file can't be read, isn't JSON, is cut short, or holds something else than an object.
        TemporaryError: the disk, the network or the machine failed.
    """
    try:
        with steady(partial(open_file, path), path) as file:
            text = _Text(file, where, block)
            text.take("{", "a COCO file starts with {, expected it")
            while text.peek() != "}":
                key, _, part = text.value()
                if not isinstance(key, str):
                    raise text.error(f"expected a key in quotes instead of {part[:20]!a}")
                text.take(":", "expected : after a key")
                if text.peek() == "[":
                    yield from text.array(key)
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
                raise text.error("expected the end of the file")
    except OSError as error:
        raise SourceError(f"{where} can't be read: {why(error)}") from None


class _Text:
    """A window on the file that moves forward."""

    def __init__(self, file: BinaryIO, where: str, block: int) -> None:
        self.where = where
        self._file, self._block = file, block
        self._text, self._at, self._ended = "", 0, False
        self._passed = 0
        """Bytes of the file before the window."""
        while len(self._text) < len(BOM) and not self._ended:
            self._more()
        if self._text.startswith(BOM.decode("latin-1")):
            self._at = len(BOM)

    def error(self, what: str, at: int | None = None) -> SourceError:
        """A SourceError with the position in the file."""
        at = self._at if at is None else at
        cut = self._ended and (at >= len(self._text.rstrip()) or what.startswith(UNFINISHED))
        place = f"is cut short: it ends at byte {self._passed + len(self._text)}" if cut else "is no valid JSON"
        return SourceError(f"{self.where} {place}; {what} at byte {self._passed + at}")

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

    def array(self, key: str) -> Iterator[Element]:
        """The elements of an array, from its `[` on."""
        start = self.take("[", "")
        if self.peek() == "]":
            yield Element(key, start, 0, "", None)
            self.take("]", "")
            return
        sign = ","
        while sign == ",":
            value, start, part = self.value()
            yield Element(key, start, len(part), part, value)
            found = NEXT.match(self._text, self._at)
            if found and found.end() < len(self._text):
                sign, self._at = found[1], found.end()
            else:  # at the edge of the window, or something else follows
                sign = self.peek()
                self.take(sign if sign in (",", "]") else ",", f"expected , or ] in the list {key!a}")

    def value(self) -> tuple[Any, int, str]:
        """The next value, the position of its first byte, and its text."""
        if self._text[self._at : self._at + 1] in EDGES:
            self.peek()
        while True:
            try:
                value, end = _scan(self._text, self._at)
                if self._ended or not self._may_go_on(value, end):
                    start, self._at = self._at, end
                    return value, self._passed + start, self._text[start:end]
                at, what = end, ""
            except RecursionError:
                raise self.error("values are nested too deep") from None
            except json.JSONDecodeError as error:
                at, what = error.pos, (error.msg[0].lower() + error.msg[1:]).removesuffix(" at")
            except ValueError as error:  # an integer of thousands of digits
                at, what = self._at, str(error)
            if self._ended:
                raise self.error(what, at)
            if len(self._text) - self._at > LARGEST:
                unfinished = what.startswith(UNFINISHED) or at > len(self._text) - len(UNFINISHED)
                raise self.error(f"a value of more than {LARGEST} bytes" if unfinished else what, at)
            self._more()

    def _may_go_on(self, value: Any, end: int) -> bool:
        """Return whether what follows the window may belong to the value, as `1` may be the start of `1.5e+3`."""
        rest = self._text[end : end + LONGEST_REST]
        if len(rest) == LONGEST_REST:
            return False
        return not rest or (type(value) in (int, float) and rest[0] not in AFTER_NUMBER)

    def _more(self) -> None:
        """Read on. The window grows by its own size, so that a long element isn't tried in vain too often."""
        rest = self._text[self._at :]
        at, size = self._file.tell(), max(self._block, len(rest))

        def read() -> bytes:
            self._file.seek(at)
            return self._file.read(size)

        data = steady(read, self.where)
        self._passed += self._at
        self._text, self._at, self._ended = rest + data.decode("latin-1"), 0, not data
