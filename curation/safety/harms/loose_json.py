"""Finds JSON objects in the text of a language model, also where they are not quite JSON.

Models put sentences and code fences around what they are asked for, use single quotes, leave commas behind, or run out
of tokens in the middle. Every character is read a bounded number of times, and nothing is evaluated.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

DEEPEST = 6
"""Objects and lists inside one another; what lies deeper isn't read."""
MOST_OBJECTS = 16
"""Objects of a text that are read."""
WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "none": None}
QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
SPACE = re.compile(r"\s*")
BARE = re.compile(r"[^\s,:{}\[\]\"'“”‘’]+")
"""A word without quotes."""
NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,17})?|\.\d{1,17})(?:[eE][+-]?\d{1,3})?")


class Pairs(NamedTuple):
    """An object, in the order of its text; a key may come twice.

    Attributes:
        items: keys and values: `Pairs`, lists, texts, numbers, booleans, None.
        whole: whether its closing brace was there.
    """

    items: list[tuple[str, Any]]
    whole: bool = True


class Unreadable(Exception):
    """No value can be read here."""


def is_json(text: str) -> bool:
    """Return whether a text is one JSON object and nothing else."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def objects(text: str) -> Iterator[Pairs]:
    """The outermost objects of a text that have anything in them, in order."""
    at = found = 0
    while found < MOST_OBJECTS and (at := text.find("{", at)) >= 0:
        reader = Reader(text, at)
        try:
            value = reader.value(0)
        except Unreadable:
            at += 1
            found += 1  # so that a text of nothing but brackets costs no more than a few attempts
            continue
        at, found = max(reader.at, at + 1), found + 1
        if value.items:
            yield value


class Reader:
    """Reads one value from a position on."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at

    def value(self, depth: int) -> Any:
        """The value that begins here. Raises Unreadable."""
        mark = self.next()
        if depth >= DEEPEST:
            raise Unreadable
        if mark == "{":
            return self.object(depth)
        if mark == "[":
            return self.list(depth)
        return self.quoted() if mark in QUOTES else self.bare()

    def object(self, depth: int) -> Pairs:
        """An object; one that breaks off has the pairs before that, without a last value that may be cut."""
        items: list[tuple[str, Any]] = []
        sure = 0
        self.at += 1
        try:
            while (mark := self.next()) != "}":
                if mark == ",":
                    self.at += 1
                    sure = len(items)
                    continue
                key = str(self.quoted() if mark in QUOTES else self.bare())
                if self.next() not in (":", "="):
                    raise Unreadable
                self.at += 1
                items.append((key, self.value(depth + 1)))
        except Unreadable:
            if self.next():
                raise
            return Pairs(items if items and _closed(items[-1][1]) else items[:sure], whole=False)
        self.at += 1
        return Pairs(items)

    def list(self, depth: int) -> list[Any]:
        """A list; one that breaks off has the values before that, without a last one that may be cut."""
        found: list[Any] = []
        sure = 0
        self.at += 1
        try:
            while (mark := self.next()) != "]":
                if mark == ",":
                    self.at += 1
                    sure = len(found)
                    continue
                found.append(self.value(depth + 1))
        except Unreadable:
            if self.next():
                raise
            return found if found and _closed(found[-1]) else found[:sure]
        self.at += 1
        return found

    def quoted(self) -> str:
        """A text in quotes. Raises Unreadable if it doesn't end: a value that breaks off says nothing."""
        end = QUOTES[self.text[self.at]]
        parts: list[str] = []
        self.at += 1
        while self.at < len(self.text):
            letter = self.text[self.at]
            self.at += 1
            if letter == end:
                return "".join(parts)
            if letter == "\\" and self.at < len(self.text):
                letter = self.text[self.at]
                self.at += 1
            parts.append(letter)
        raise Unreadable

    def bare(self) -> Any:
        """A number, a percentage, or a word without quotes. Raises Unreadable."""
        found = BARE.match(self.text, self.at)
        if not found:
            raise Unreadable
        self.at = found.end()
        word = found[0]
        if word.casefold() in WORDS:
            return WORDS[word.casefold()]
        if NUMBER.fullmatch(word):
            return float(word)
        return word

    def next(self) -> str:
        """The next character that isn't white space; `""` at the end."""
        found = SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at : self.at + 1]


def _closed(value: Any) -> bool:
    """Return whether a value at the end of a text that breaks off is known to be whole."""
    return isinstance(value, Pairs | list)


def number_of(text: str) -> float | None:
    """The number in a text such as `0.8`, `80%` or `80 %`; None if it is anything else."""
    bare = text.strip()
    percent = bare.endswith("%")
    found = NUMBER.fullmatch(bare.removesuffix("%").strip())
    if not found:
        return None
    value = float(found[0]) / (100 if percent else 1)
    return value if math.isfinite(value) else None
