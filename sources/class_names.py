"""Samples without pictures, a number of them per class, for generators that start from a class or its name.

Sample k of a class is the same however many there are, so a larger set contains the pictures of a smaller one.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from variorum.machine.retrying import read_file, steady
from variorum.models.imagenet_classes import class_infos
from variorum.schemas.canonical import digest
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample, source_id

CAPTION = "txt"
"""Member with the class's name; WebDataset readers look for a caption there."""


class ClassNames(Source):
    """`per_class` samples without a picture for each class. Classes alternate, so any range of samples has them all."""

    location: ClassVar[frozenset[str]] = frozenset({"table"})

    table: str = "imagenet"
    """`imagenet`, `fashion_mnist`, or the path of a CSV with columns `id` and `name`, in index order."""
    only: tuple[str, ...] = ()
    """Ids or names of the classes to make; empty for all. Indices are always the table's."""
    per_class: int = Field(default=50, ge=1)
    """Samples of each class."""
    licence: str = "unknown"
    """Licence of the pictures that will be made, an SPDX id or the terms in a few words; it depends on the model."""

    def pin(self, ctx: Context) -> str:
        """Digest of the whole table."""
        return digest([[info.id, info.name] for info in self._table])

    def size(self, ctx: Context) -> int:
        """`per_class` times the number of classes."""
        return self.per_class * len(self._chosen)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """All classes of the table, including those that aren't made.

        Raises:
            SourceError: two have the same id or name; their pictures would have the same prompt but different labels.
        """
        return self._table

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with a label and the class's name as `txt`, without a picture."""
        for position in range(start, min(stop, self.size(ctx))):
            number, which = divmod(position, len(self._chosen))
            info = self._chosen[which]
            yield Sample(
                source_id("class_names", f"{info.id}/{number}"),
                b"",
                (info.id,),
                origin=f"{info.id}/{number}",
                licence=self.licence,
                extras={CAPTION: info.name.encode()},
            )

    def place(self) -> str:
        """Its table."""
        return place_of(self, ["table"])

    @cached_property
    def _table(self) -> tuple[ClassInfo, ...]:
        return class_infos() if self.table == "imagenet" else read_classes(self.table)

    @cached_property
    def _chosen(self) -> tuple[ClassInfo, ...]:
        if not self.only:
            return self._table
        found = {key: info for info in self._table for key in (info.name, info.id)}
        if unknown := [key for key in self.only if key not in found]:
            shown = ", ".join(info.id for info in self._table[:10]) + (", …" if len(self._table) > 10 else "")
            raise SourceError(
                f"class_names: only: no class {unknown[0]!r} in the table {self.table}; there are: {shown}"
            )
        return tuple(dict.fromkeys(found[key] for key in self.only))


def read_classes(table: str) -> tuple[ClassInfo, ...]:
    """The classes of the table `fashion_mnist`, or of a CSV file.

    Raises:
        SourceError: the file can't be read, lacks a column or is empty, or two classes have the same id or name.
        TemporaryError: the disk, the network or the machine failed.
    """
    shipped = Path(__file__).with_name("fashion_mnist_classes.csv")
    path = shipped if table == "fashion_mnist" else Path(table).expanduser()
    try:
        text = steady(lambda: read_file(path), path).decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            f"class_names: table {table!r} can't be read ({error}); give imagenet, fashion_mnist, or a CSV file"
        ) from None
    if not rows or any(not (row.get("id") or "").strip() or not (row.get("name") or "").strip() for row in rows):
        raise SourceError(f"class_names: {path} must have the columns id and name, with a value in every row")
    infos = tuple(ClassInfo(row["id"].strip(), row["name"].strip()) for row in rows)
    for what, values in (("id", [info.id for info in infos]), ("name", [info.name.casefold() for info in infos])):
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            raise SourceError(f"class_names: {times} classes of {path} have the {what} {value!r}; it must be unique")
    return infos
