"""Read the members of a sample: paths into JSON members, labels, captions, licences and metadata."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from variorum.schemas.annotations import Text
from variorum.schemas.canonical import Json
from variorum.sources.exports.objects import written
from variorum.sources.exports.texts import BadText, read_texts, text_of
from variorum.sources.tables.rows import categories_of, plain

INTEGER = re.compile(r"-?[0-9]{1,18}")
INDEX = re.compile(r"[0-9]{1,18}")
BOM = "\ufeff"
NO_LABEL = -1
"""Index that stands for "no label", as in `datasets`."""

Label = int | str


class BadMember(ValueError):
    """A member that can't be used: `reason` is a word for the sample's row, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class MemberPath:
    """A member, or a value in a JSON member.

    Attributes:
        ending: of the member, in lower case.
        keys: the way to the value; empty for the whole member.
    """

    ending: str
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> MemberPath:
        """`cls`, `json.label` or `meta.json.label.name`: what follows the first `json` leads into it.

        Raises:
            ValueError: a part is empty.
        """
        parts = text.split(".")
        if not all(parts):
            raise ValueError(
                f"{text!r} must be a member's ending without its dot, such as cls, or a path such as json.a"
            )
        lower = [part.lower() for part in parts]
        end = lower.index("json") + 1 if "json" in lower else len(parts)
        return cls(".".join(lower[:end]), tuple(parts[end:]))

    @property
    def json(self) -> bool:
        """Return whether the member is JSON."""
        return self.ending.rpartition(".")[2] == "json"

    @property
    def name(self) -> str:
        """Name its value in the metadata: `json.meta.url` is `meta_url`."""
        return "_".join(self.keys) or self.ending.replace(".", "_")

    def __str__(self) -> str:
        return ".".join((self.ending, *self.keys))


class Contents:
    """The members of one sample that were read. A JSON member is parsed once, when a value of it is asked for."""

    def __init__(self, members: Mapping[str, bytes]) -> None:
        self.members = members
        self._parsed: dict[str, Any] = {}

    def value(self, path: MemberPath) -> Any:
        """The bytes of a member or a value of a JSON member; None where there is none.

        Raises:
            BadMember: `bad_json`.
        """
        data = self.members.get(path.ending)
        if data is None or not path.json:
            return data
        if path.ending not in self._parsed:
            self._parsed[path.ending] = parse(path.ending, data)
        value = self._parsed[path.ending]
        for key in path.keys:
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and INDEX.fullmatch(key) and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        return value

    def has(self, path: MemberPath) -> bool:
        """Return whether there is a value other than None, or one that can't be read."""
        try:
            return self.value(path) is not None
        except BadMember:
            return True


def parse(ending: str, data: bytes) -> Any:
    """The value of a JSON member. NaN and infinities, which JSON doesn't have but Python writes, become None.

    Raises:
        BadMember: `bad_json`.
    """
    try:
        text = data.decode(json.detect_encoding(data))
        value = json.loads(text.removeprefix(BOM), parse_constant=lambda _: None, parse_float=_finite)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half of a character that takes two isn't text
    except (ValueError, RecursionError) as error:
        raise BadMember("bad_json", f"its {ending} can't be read: {error}") from None
    return value


def labels(value: Any) -> list[Label]:
    """The labels in a value: a number, a text, a list of those; digits in a member of their own are a number.

    Raises:
        BadMember: `unknown_label`.
    """
    if value is None:
        return []
    if isinstance(value, list):
        return [label for part in value for label in _one_label(part)]
    return _one_label(value)


def categories(value: Any) -> list[Label]:
    """The distinct categories of objects, as far as they can be read; `read_objects` says what is wrong with others."""
    return list(dict.fromkeys(categories_of(value)))


def captions(value: Any) -> tuple[Text, ...]:
    """The captions in a value. Raises BadMember: `bad_text`."""
    try:
        return read_texts(value)
    except BadText as error:
        raise BadMember("bad_text", error.detail) from None


def licence(value: Any) -> str:
    """The licence in a value; `""` for none. Raises BadMember: `bad_text`."""
    try:
        return "" if value is None else text_of(value).strip() if isinstance(value, str | bytes) else str(value)
    except BadText as error:
        raise BadMember("bad_text", f"its licence: {error.detail}") from None


def metadata(value: Any) -> Json:
    """A value to keep; the bytes of a member are text. Raises BadMember: `bad_text`."""
    try:
        return plain(value)
    except BadText as error:
        raise BadMember("bad_text", f"its metadata: {error.detail}") from None


def _one_label(value: Any) -> list[Label]:
    if isinstance(value, bytes):
        try:
            text = value.decode().strip()
        except UnicodeDecodeError:
            raise BadMember("unknown_label", "its label is not UTF-8") from None
        value = int(text) if INTEGER.fullmatch(text) else text
    if isinstance(value, bool):
        value = json.dumps(value)
    if value is None or value == NO_LABEL or value == "":
        return []
    if isinstance(value, int):
        return [value]
    if isinstance(value, str) and value.strip():
        return [value.strip()]
    said = value if isinstance(value, str) else written(value)
    raise BadMember("unknown_label", f"its label is {said[:60]!r}; it must be a number, a name, or a list of those")


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
