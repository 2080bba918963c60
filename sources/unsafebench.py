"""UnsafeBench, or a table of its shape: pictures that people judged safe or unsafe in one category each.

After Qu et al., UnsafeBench (CCS 2025, arXiv 2405.03486). A picture was found by a query about one category and judged
by it alone: "safe" says nothing of the other ten. The dataset is gated, so a copy is yours to get.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from variorum.kit.harms.categories import Categories, unsafebench
from variorum.schemas.annotations import Annotations, LabelState
from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import GENERATED, Failure, Sample, source_id
from variorum.sources.exports.texts import BadText, read_texts, split_name
from variorum.sources.tables.labelled_tables import HubTables, LabelledTable, Row, open_table
from variorum.sources.tables.rows import plain
from variorum.sources.web.hub import HubDataset

WARNING = "Pictures that people judged unsafe: hate, violence, nudity, self-harm, gore, crime and more."
LABELS = ("safety_label", "label")
CATEGORY, ORIGIN, SPLIT = "category", "source", "split"
TEXTS = ("text", "caption", "prompt")
SAFE, UNSAFE = "Safe", "Unsafe"
UNKNOWN = "the label is {!r}; it must be Safe or Unsafe"
REFUSED = re.compile(r"gated|authenticat|cannot be accessed|access to|\b40[13]\b", re.IGNORECASE)
"""How errors of the Hub's client say that an account may not read a dataset."""


class Unsafebench(Source):
    """One sample per row, labelled with its category if it is unsafe.

    What was judged stands in the sample's `annotations.labels`: the category, `correct` if unsafe, `wrong` if safe.
    The metadata have `category`, `safety_label`, `source`, `text` and, unless it is turned off, `restricted`.
    """

    location: ClassVar[frozenset[str]] = frozenset({"path"})

    path: Path | None = None
    """A folder with `<split>/images/` and `metadata.jsonl`, as the authors' loader writes it; a folder of parquet
    files; or a table (`.jsonl`, `.csv`, `.parquet`) beside pictures. Null reads `dataset` from the Hub."""
    dataset: str = "yiting/UnsafeBench"
    """On the Hub. It is gated: its authors give access to your account, and the token of `hf auth login` is used."""
    commit: str | None = None
    """Branch, tag or commit of `dataset`; give a commit for data that must not change."""
    categories: Categories = Field(default_factory=unsafebench)
    """UnsafeBench's eleven, or your own."""
    other: Literal["refuse", "keep"] = "refuse"
    """What to do with a category that isn't among them: stop with an error, or make it a class by its name."""
    generated: tuple[str, ...] = ("Lexica",)
    """Values of the column `source` whose pictures were made by a model."""
    restricted: bool = True
    """Whether the pictures may not leave this machine: no remote labeler gets them."""
    licence: str = "unknown"
    """Licence of all pictures: an SPDX id or the terms in a few words."""

    def identity(self) -> dict[str, Json]:
        """The fields, without the dataset where a path, or a local folder in its place, is read; `pin` covers those."""
        found = super().identity()
        return {**found, "dataset": None, "commit": None} if self.path is not None or self._hub.local else found

    def pin(self, ctx: Context) -> str:
        """Digest of tables and pictures, or of the files on the Hub at their commit."""
        self.size(ctx)  # an empty table has no columns either
        for names in (LABELS, (CATEGORY,)):
            self._column(names)
        return self._table.pin()

    def size(self, ctx: Context) -> int:
        """Rows of the table."""
        return self._table.size()

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The categories, then others that the table has if they are kept.

        Raises:
            SourceError: the table has a category that isn't known.
        """
        infos = {one.id: ClassInfo(one.id, one.name) for one in self.categories}
        if self.path is not None or self.other == "keep":
            for value in sorted(self._table.distinct(CATEGORY)):
                if value.strip():
                    infos.setdefault(identity := self._category(value), ClassInfo(identity, value.strip()))
        return tuple(infos.values())

    def captioned(self, ctx: Context) -> bool:
        """Return whether the table has texts."""
        return bool(self._text)

    def annotated(self, ctx: Context) -> bool:
        """Always, as each label is about one category alone."""
        return True

    def warning(self, ctx: Context) -> str:
        """Warn of what the pictures show."""
        return WARNING

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a `Failure` for a row whose picture is missing or can't be read.

        A row without a category or with another label than safe and unsafe goes into quarantine, as `no_category` or
        `unknown_label`.
        """
        for row in self._table.rows(start, stop, self._columns, pictures=True):
            sample = self._bare(row)
            yield sample.failure(*row.problem) if row.problem else replace(sample, image=row.image)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples from the table alone."""
        for row in self._table.rows(start, stop, self._columns, pictures=False):
            yield self._bare(row)

    def place(self) -> str:
        """The path, or the dataset."""
        return place_of(self, ["path"] if self.path is not None else ["dataset", "commit"])

    @property
    def _hub(self) -> HubDataset:
        return HubDataset(self.dataset, None, self.commit, None, "unsafebench")

    @cached_property
    def _table(self) -> LabelledTable:
        if self.path is not None:
            return open_table(self.path.expanduser(), "unsafebench")
        table = HubTables(self._hub, "unsafebench")
        try:
            assert table.columns
        except SourceError as error:
            if not REFUSED.search(str(error)):
                raise
            raise SourceError(
                f"unsafebench: {self.dataset} can't be read with this account. The dataset is gated: ask for access at "
                f"https://huggingface.co/datasets/{self.dataset}, then run `hf auth login` or set HF_TOKEN; or set "
                f"source.path to a copy on this machine"
            ) from None
        return table

    def _column(self, names: tuple[str, ...], *, needed: bool = True) -> str:
        """The first of these columns that the table has."""
        found = next((name for name in names if name in self._table.columns), "")
        if needed and not found:
            there = ", ".join(self._table.columns) or "none"
            raise SourceError(f"unsafebench: the table has no column {' or '.join(names)}; there are: {there}")
        return found

    @cached_property
    def _text(self) -> str:
        return self._column(TEXTS, needed=False)

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        further = (ORIGIN, "id", SPLIT)
        found = [self._column(LABELS), CATEGORY, self._text, *(name for name in further if name in self._table.columns)]
        return tuple(dict.fromkeys(filter(None, found)))

    def _category(self, value: str) -> str:
        """The id of a category, which a table may write as its id or name, in any case.

        Raises:
            SourceError: it isn't known, and others aren't kept.
        """
        identity = slug(value)
        names = {slug(one.name): one.id for one in self.categories} | {one.id: one.id for one in self.categories}
        if identity in names:
            return names[identity]
        if self.other == "keep" and identity:
            return identity
        raise SourceError(
            f"unsafebench: the table has the category {value[:80]!r}, which isn't known; there are: "
            f"{', '.join(one.id for one in self.categories)}. Rename it, list your own in source.categories, or set "
            f"source.other to keep"
        )

    def _bare(self, row: Row) -> Sample:
        """The sample without its picture."""
        sample = Sample(
            source_id("unsafebench", row.key),
            b"",
            origin=row.key,
            licence=self.licence,
            split=split_name(str(row.values.get(SPLIT) or "")) or row.split,
        )
        if row.problem and not row.values:
            return sample
        try:
            return self._described(sample, row.values)
        except BadText as error:
            return replace(sample, reason="bad_text", detail=error.detail, metadata=self._restriction)

    @property
    def _restriction(self) -> dict[str, Json]:
        return {"restricted": True} if self.restricted else {}

    def _described(self, sample: Sample, values: Mapping[str, Any]) -> Sample:
        """The sample with what its row says. Raises BadText for a text that UTF-8 can't hold."""
        origin = str(plain(values.get(ORIGIN)) or "")
        made = origin.casefold() in {name.casefold() for name in self.generated}
        texts = read_texts(values.get(self._text), "prompt" if made else "caption") if self._text else ()
        given = str(plain(values.get(CATEGORY)) or "").strip()
        category = self._category(given) if given else ""
        said = str(plain(values.get(self._column(LABELS))) or "").strip()
        label = said.capitalize()
        metadata: dict[str, Json] = {
            "category": category,
            "safety_label": label,
            "source": origin,
            "text": texts[0].text if texts else "",
            **({"id": plain(values["id"])} if "id" in values else {}),
            **self._restriction,
        }
        sample = replace(
            sample,
            annotations=Annotations(texts=texts),
            metadata=metadata,
            digital_source_type=GENERATED if made else "",
        )
        if label not in (SAFE, UNSAFE):
            return replace(sample, reason="unknown_label", detail=UNKNOWN.format(said[:80]))
        if not category:
            return replace(sample, reason="no_category", detail="the row names no category, so its label says nothing")
        state = LabelState(category, "correct" if label == UNSAFE else "wrong")
        return replace(
            sample,
            labels=(category,) if label == UNSAFE else (),
            annotations=replace(sample.annotations, labels=(state,)),
        )


def slug(name: str) -> str:
    """A category's name as an id: `Self-harm` is `self_harm`; `""` if nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")[:40]
