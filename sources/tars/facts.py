"""Labels and captions of all samples of a tar, noted when it is read through, so that a plan needs no look at it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from variorum.sources.tars.mapped_arrays import Arrays, Texts
from variorum.sources.tars.members import (
    BadMember,
    Contents,
    Label,
    MemberPath,
    captions,
    categories,
    labels,
)


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
        """The facts with these columns, or None if they don't fit a tar with this many samples."""
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
