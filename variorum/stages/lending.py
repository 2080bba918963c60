"""Gives a generator other pictures of the source as the generators before it let them through.

A picture that they withhold, quarantine or change must not reach other pictures as the source has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic import SerializeAsAny

from variorum.edition.samples import decoded
from variorum.machine.memo import UsedMemo
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import ClassInfo, Context, Generator, Source
from variorum.schemas.sample import Failure, Sample
from variorum.schemas.uses import required_models
from variorum.stages.plan import optional_pins
from variorum.stages.splits import in_splits


class LetThrough(Source):
    """A source whose pictures are what generators make of those of another source.

    A position gives every accepted picture that they make of the picture there, and none if they make none.
    """

    of: SerializeAsAny[Source]
    generators: tuple[SerializeAsAny[Generator], ...]

    def pin(self, ctx: Context) -> str:
        """Digest of the data and of the generators' models."""
        pins: list[Json] = [
            {alias: ctx.models.pin(alias) for alias in required_models(one)} | optional_pins(one, ctx)
            for one in self.generators
        ]
        return digest([self.of.pin(ctx), pins])

    def size(self, ctx: Context) -> int:
        """Positions of the other source."""
        return self.of.size(ctx)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """Those of the other source."""
        return self.of.classes(ctx)

    def captioned(self, ctx: Context) -> bool:
        """As the other source."""
        return self.of.captioned(ctx)

    def annotated(self, ctx: Context) -> bool:
        """As the other source."""
        return self.of.annotated(ctx)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The accepted pictures that are made of these positions, with pixels, split and photograph."""
        for position in range(start, stop):
            yield from self._made(position, ctx)

    def _made(self, position: int, ctx: Context) -> list[Sample]:
        """Delete the masks and plates of a withheld picture that were kept on the way."""
        memo, withheld = UsedMemo(ctx.memo), list[bool]()

        def passing(items: Iterable[Sample | Failure]) -> Iterator[Sample]:
            for item in items:
                if isinstance(item, Failure):
                    withheld.append(item.status == "withheld")
                elif not item.reason:
                    yield item

        with memo.cleared_if(lambda: any(withheld)):
            read = in_splits(decoded(self.of.read(position, position + 1, ctx)), ctx.splits)
            found = passing(read)
            for number, generator in enumerate(self.generators):
                before = let_through(self.of, self.generators[:number])
                found = passing(generator.generate(found, replace(ctx, memo=memo, source=before)))
            return list(found)


def let_through(source: Source, generators: Sequence[Generator]) -> Source:
    """The source of what these generators let through; without any, of all that can be read."""
    return LetThrough(of=source, generators=tuple(generators))
