"""Texts and names of splits as datasets write them."""

from __future__ import annotations

import re
from typing import Any, Literal

from variorum.schemas.annotations import Text
from variorum.schemas.sample import Split

SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What Hugging Face's `datasets` takes for the name of a split, with the split that is meant."""


WORD = re.compile(r"[^\W\d_]+")


class BadText(ValueError):
    """A value isn't a text; `detail` says why, in a sentence."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NoValue:
    """In place of a value of a table that Python has no form for; `why` says what is wrong with it."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"a value that can't be read ({self.why})"


def read_texts(value: Any, role: str = "caption") -> tuple[Text, ...]:
    """The texts in a value, in their order: a string, its UTF-8 bytes, or a list of those; nothing in None.

    None and empty texts in a list are left out, as is white space around a text.

    Raises:
        BadText: bytes that aren't UTF-8, a string that UTF-8 can't hold, or a value of another type.
    """
    parts = list(value) if isinstance(value, list | tuple) else [value]
    texts = (text_of(part).strip() for part in parts if part is not None)
    return tuple(Text(text, role) for text in texts if text)


def split_name(text: str) -> Split | Literal[""]:
    """The split that a name stands for: `val` is `validation`; `""` if it names none. Case doesn't matter."""
    return SPLIT_NAMES.get(text.casefold(), "")


def split_of_path(name: str) -> Split | Literal[""]:
    """The split in the words of a file's name (`instances_train2017.json`), else in the nearest folder that names one.

    `""` if none does, or if the name has two (`train_test`).
    """
    *folders, file = name.split("/")
    for part in (file.partition(".")[0], *reversed(folders)):
        if found := {split for word in WORD.findall(part) if (split := split_name(word))}:
            return found.pop() if len(found) == 1 else ""
    return ""


def is_utf8(text: str) -> bool:
    """Return whether UTF-8 can hold a text: it can't hold half of a character that takes two in UTF-16."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_of(value: Any) -> str:
    """A string, or UTF-8 bytes, as a string.

    Raises:
        BadText: as `read_texts`.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadText(f"a text is not UTF-8: {error.reason} at byte {error.start}") from None
    if not isinstance(value, str):
        raise BadText(f"a text is {type(value).__name__}; it must be a string, or a list of strings")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadText(f"a text has a character that UTF-8 can't hold, at position {error.start}") from None
    return value
