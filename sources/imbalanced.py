"""Another source in which some classes have fewer pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from variorum.arrays import Ints
from variorum.schemas.canonical import derive_seed, digest
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import Derived, cut
from variorum.schemas.sample import Failure, Sample
from variorum.sources.balanced import runs


class Imbalanced(Derived):
    """The pictures of the source in its order, without most of those of some classes."""

    rare: tuple[str, ...] = Field(min_length=1)
    """Ids of the classes that lose pictures."""
    ratio: float = Field(default=10, ge=1, le=100)
    """How many times fewer they have, at least one; the recipe's seed decides which are kept."""

    def pin(self, ctx: Context) -> str:
        """Digest of the source's pin and of what is kept."""
        return digest([self.of.pin(ctx), self._kept(ctx).tolist()])

    def size(self, ctx: Context) -> int:
        """Number of pictures that are left."""
        return len(self._kept(ctx))

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """The source's samples that are kept."""
        for low, high in runs(self._kept(ctx)[start:stop].tolist()):
            yield from self.of.read(low, high, ctx)

    def _kept(self, ctx: Context) -> Ints:
        """Positions. Raises SourceError for a class that the source doesn't have."""
        if unknown := set(self.rare) - {one.id for one in self.of.classes(ctx)}:
            raise SourceError(f"imbalanced.rare: the source has no class {cut(repr(min(unknown)))}")

        def draw() -> dict[str, Ints]:
            labels = np.array([(*one.labels, "")[0] for one in self.of.outline(0, self.of.size(ctx), ctx)])
            kept = np.ones(len(labels), bool)
            for name in self.rare:
                rng = np.random.default_rng(derive_seed(ctx.seed, "imbalanced", name))
                mine = rng.permutation(np.flatnonzero(labels == name))
                kept[mine[max(1, round(len(mine) / self.ratio)) :]] = False
            return {"kept": np.flatnonzero(kept)}

        return np.asarray(
            ctx.memo(digest(["imbalanced", self.fingerprint(), self.of.pin(ctx), ctx.seed]), draw)["kept"]
        )
