"""Gives a generator other pictures of the source as the generators before it let them through.

A picture that they withhold, quarantine or change must not reach other pictures as the source has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PrivateAttr, SerializeAsAny

from variorum.edition.samples import decoded, photograph_of
from variorum.machine.memo import UsedMemo
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Generator, Source
from variorum.schemas.lookup import Derived
from variorum.schemas.sample import Failure, Sample
from variorum.schemas.uses import required_models
from variorum.stages.plan import optional_pins
from variorum.stages.splits import in_splits, split_of

if TYPE_CHECKING:
    from variorum.arrays import Array


class LetThrough(Derived):
    """A source whose pictures are what generators make of those of another source.

    A position gives every accepted picture that they make of the picture there, and none if they make none.
    """

    generators: tuple[SerializeAsAny[Generator], ...]
    _listed: dict[str, Array] = PrivateAttr(default_factory=dict)
    _kinds: list[tuple[str, ...]] = PrivateAttr(default_factory=list)
    _splits: dict[int, str] = PrivateAttr(default_factory=dict)

    def pin(self, ctx: Context) -> str:
        """Digest of the data and of the generators' models."""
        pins: list[Json] = [
            {alias: ctx.models.pin(alias) for alias in required_models(one)} | optional_pins(one, ctx)
            for one in self.generators
        ]
        return digest([self.of.pin(ctx), pins])

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The accepted pictures that are made of these positions, with pixels, split and photograph."""
        for position in range(start, stop):
            yield from self._made(position, ctx)

    def position(self, identity: str, ctx: Context) -> int | None:
        """Where the other source has the picture with this id; None if it hasn't. The ids are listed once."""
        listed = self._list(ctx)
        ids, order = listed["ids"], listed["order"]
        place = int(np.searchsorted(ids, identity.encode(), sorter=order))
        found = int(order[place]) if place < len(order) else -1
        return found if found >= 0 and ids[found] == identity.encode() else None

    def by_id(self, ctx: Context) -> Array:
        """The positions of the other source's pictures, `[N]`, in the order of their ids."""
        return self._list(ctx)["order"]

    def labels(self, position: int, ctx: Context) -> tuple[str, ...]:
        """The labels that the other source gives the picture at this position."""
        kind = int(self._list(ctx)["kind"][position])
        return self._kinds[kind]

    def split(self, position: int, ctx: Context) -> str:
        """The split of the other source's picture at this position, whatever the generators make of it.

        The picture isn't decoded. Where its bytes decide about its split they are read once.
        """
        if position not in self._splits:
            listed = self._list(ctx)
            photograph, given = (listed[name][position].decode() for name in ("photographs", "splits"))
            if ctx.splits and not photograph:
                for item in self.of.read(position, position + 1, ctx):
                    photograph = photograph_of(item) if isinstance(item, Sample) else item.photograph
            self._splits[position] = split_of(photograph, given, ctx.splits)
        return self._splits[position]

    def _list(self, ctx: Context) -> dict[str, Array]:
        """What the other source says of its pictures without opening them, `[N]` each, and the order of the ids."""
        if not self._listed:
            kept = ctx.memo(
                digest(["listed pictures", self.of.fingerprint(), self.of.pin(ctx)]), lambda: self._read_list(ctx)
            )
            self._kinds = [tuple(labels) for labels in json.loads(kept["kinds"].tobytes())]
            self._listed = {**kept, "order": kept["ids"].argsort(kind="stable")}
        return self._listed

    def _read_list(self, ctx: Context) -> dict[str, Array]:
        found = [(one.id, one.split, one.photograph, one.labels) for one in self.of.outline(0, self.size(ctx), ctx)]
        ids, splits, photographs, labels = zip(*found, strict=True)
        kinds = {one: number for number, one in enumerate(dict.fromkeys(labels))}
        texts = {"ids": ids, "splits": splits, "photographs": photographs}
        return {
            **{name: np.array([text.encode() for text in column], np.bytes_) for name, column in texts.items()},
            "kind": np.array([kinds[one] for one in labels], np.int64),
            "kinds": np.frombuffer(json.dumps([*kinds]).encode(), np.uint8),
        }

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


def let_through(source: Source, generators: Sequence[Generator]) -> LetThrough:
    """The source of what these generators let through; without any, of all that can be read."""
    return LetThrough(of=source, generators=tuple(generators))
