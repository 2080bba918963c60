"""Several sources one after the other: COCO's training and validation sets, real pictures and generated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from pydantic import Field

from variorum.schemas.canonical import digest
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import NestedSource
from variorum.schemas.more import warning_of
from variorum.schemas.sample import Failure, Sample, source_id

Item = TypeVar("Item", Sample, Sample | Failure)


class Concatenated(Source):
    """The samples of all sources, in their order, with what each says of them: labels, splits, annotations.

    Ids are new, as two sources may have pictures of the same name. Copies in two sources share their photograph, so a
    recipe's `splits` keeps them on one side.
    """

    of: tuple[NestedSource, ...] = Field(min_length=1)
    """The sources: mappings with their names and fields."""

    def pin(self, ctx: Context) -> str:
        """Digest of the sources' pins."""
        return digest([source.pin(ctx) for source in self.of])

    def size(self, ctx: Context) -> int:
        """Samples of all sources."""
        return sum(source.size(ctx) for source in self.of)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The classes of the first source, then those that the others add. Classes with the same id are one.

        Raises:
            SourceError: two classes have the same id or the same name, but not both.
        """
        names: dict[str, str] = {}
        ids: dict[str, str] = {}
        for info in (info for source in self.of for info in source.classes(ctx)):
            name, identity = names.setdefault(info.id, info.name), ids.setdefault(info.name.casefold(), info.id)
            if (name, identity) != (info.name, info.id):
                raise SourceError(
                    f"concatenated: there is the class {info.id!r}, named {info.name!r}, and the class {identity!r}, "
                    f"named {name!r}; classes that are the same need the same id and name"
                )
        return tuple(ClassInfo(identity, name) for identity, name in names.items())

    def captioned(self, ctx: Context) -> bool:
        """Return whether a source has captions."""
        return any(source.captioned(ctx) for source in self.of)

    def annotated(self, ctx: Context) -> bool:
        """Return whether a source has annotations."""
        return any(source.annotated(ctx) for source in self.of)

    def warning(self, ctx: Context) -> str:
        """The first content warning of a source."""
        return next((said for source in self.of if (said := warning_of(source, ctx))), "")

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples `start` to `stop - 1` of the sources together."""
        return self._parts(start, stop, ctx, lambda source, low, high: source.read(low, high, ctx))

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The same samples without pictures."""
        return self._parts(start, stop, ctx, lambda source, low, high: source.outline(low, high, ctx))

    def place(self) -> str:
        """The places of the sources."""
        return f"concatenated of={' and '.join(f'({source.place()})' for source in self.of)}"

    def _parts(
        self, start: int, stop: int, ctx: Context, read: Callable[[Source, int, int], Iterator[Item]]
    ) -> Iterator[Item]:
        first = 0
        for number, source in enumerate(self.of):
            size = source.size(ctx)
            low, high = max(start - first, 0), min(stop - first, size)
            if low < high:
                for item in read(source, low, high):
                    yield replace(item, id=source_id("concatenated", f"{number}/{item.id}"))
            first += size
