"""What the members of a sample say: paths into JSON members, labels, captions, and a table of these for a whole tar."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from variorum.generators.sources.reading.rows import categories_of, plain
from variorum.generators.sources.reading.tar_tables import Arrays, Texts
from variorum.generators.sources.reading.texts import BadText, read_texts, text_of
from variorum.schemas.annotations import Text
from variorum.schemas.canonical import Json

INTEGER = re.compile(r"-?[0-9]{1,18}")
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
        """Whether the member is JSON."""
        return self.ending.rpartition(".")[2] == "json"

    @property
    def name(self) -> str:
        """What its value is called in the metadata: `json.meta.url` is `meta_url`."""
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
            elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        return value

    def has(self, path: MemberPath) -> bool:
        """Whether there is a value other than None, or one that can't be read."""
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
        value = json.loads(data, parse_constant=lambda _: None, parse_float=_finite)
        if b"\\u" in data:
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


@dataclass(frozen=True, slots=True)
class FactPaths:
    """Where labels, objects and captions are; None for what isn't wanted."""

    label: MemberPath | None
    objects: MemberPath | None
    caption: MemberPath | None

    def endings(self) -> frozenset[str]:
        """Endings of the members that they lie in."""
        return frozenset(path.ending for path in (self.label, self.objects, self.caption) if path)

    def __str__(self) -> str:
        return f"{self.label} {self.objects} {self.caption}"


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and captions of all samples of a tar, so that a plan needs no look at it.

    Attributes:
        codes: position of each sample's labels in `values` `[N]`.
        values: distinct labels and categories, as JSON: `[[labels], [categories]]`. The first has none of either.
        texts: each sample's captions, as a JSON list `[N]`; empty without captions.
    """

    codes: NDArray[np.int32]
    values: Texts
    texts: Texts

    def labels(self, start: int, stop: int) -> list[list[Label]]:
        """The labels of the samples `start` to `stop - 1`."""
        codes = self.codes[start:stop].tolist()
        known = {code: json.loads(self.values[code])[0] for code in set(codes)}
        return [known[code] for code in codes]

    def captions(self, start: int, stop: int) -> list[list[str]]:
        """Their captions."""
        if not len(self.texts):
            return [[] for _ in range(start, stop)]
        return [json.loads(text) for text in self.texts.part(start, stop)]

    def distinct(self) -> tuple[set[Label], set[Label]]:
        """All labels, and all categories of objects."""
        used = [json.loads(self.values[code]) for code in np.unique(self.codes).tolist()]
        return {label for pair in used for label in pair[0]}, {label for pair in used for label in pair[1]}

    def arrays(self) -> Arrays:
        """The columns as arrays to keep; `of` reads them back."""
        values, texts = self.values, self.texts
        return {
            "codes": self.codes,
            "values": values.data,
            "value_ends": values.ends,
            "texts": texts.data,
            "text_ends": texts.ends,
        }

    @classmethod
    def of(cls, arrays: Arrays, samples: int) -> Facts | None:
        """The facts with these columns, or None if they don't fit a tar with so many samples."""
        try:
            values = Texts(arrays["values"], arrays["value_ends"])
            texts = Texts(arrays["texts"], arrays["text_ends"])
            codes = arrays["codes"]
        except KeyError:
            return None
        fits = len(codes) == samples and len(texts) in (0, samples)
        return cls(codes, values, texts) if fits else None


class FactsBuilder:
    """Collects the facts of a tar, sample by sample. What can't be read counts as missing; that shows in `read`."""

    def __init__(self, paths: FactPaths) -> None:
        self.paths = paths
        self._codes: list[int] = []
        self._values: dict[str, int] = {"[[],[]]": 0}
        self._texts: list[str] = []

    def collect(self, members: Mapping[str, bytes]) -> None:
        """Add a sample with these members."""
        contents, paths = Contents(members), self.paths
        found = [_or_none(labels, contents, paths.label), _or_none(categories, contents, paths.objects)]
        value = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
        self._codes.append(self._values.setdefault(value, len(self._values)))
        if paths.caption:
            texts = [text.text for text in _or_none(captions, contents, paths.caption)]
            self._texts.append(json.dumps(texts, separators=(",", ":"), ensure_ascii=False))

    def facts(self, flaws: NDArray[np.uint8]) -> Facts:
        """The finished table. Samples with a flaw have no labels: their members may be cut, or another's."""
        codes = np.where(flaws > 0, 0, np.array(self._codes, np.int32)).astype(np.int32)
        return Facts(codes, Texts.of(self._values), Texts.of(self._texts))


def _or_none(read: Any, contents: Contents, path: MemberPath | None) -> Sequence[Any]:
    try:
        return read(contents.value(path)) if path else []
    except BadMember:
        return []


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
    raise BadMember(
        "unknown_label", f"its label is {str(value)[:60]!r}; it must be a number, a name, or a list of those"
    )


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
