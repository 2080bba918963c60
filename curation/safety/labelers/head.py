"""A head over an image encoder's embeddings: Q16, MultiHeaded, LAION's NSFW detector, or a probe of your own.

All heads over one encoder share one embedding per picture, so another head costs next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from variorum.curation.safety.harms.alignment import alignment
from variorum.schemas.component import Context, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.safety import ANY, Labeler, Opinion, Shown


class Head(Labeler):
    """A head's score of each category that it is scored on.

    Q16 and LAION's detector have one score for several categories: they say that something is wrong, not what. As
    UnsafeBench does, the score counts for each of them; set `as_any` to let it count for none.
    """

    sort: ClassVar[str] = "head"

    model: str = "multiheaded"
    """Alias of the head; columns are called by it unless `label` is set."""
    embeddings: str = "clip_embedding"
    """Alias of the encoder that the head was trained on."""
    categories: tuple[str, ...] = Field(default=())
    """Categories that it speaks of. By default those in `alignment.yaml`; a head that isn't listed there needs them."""
    as_any: bool = False
    """Whether a head that can't tell its categories apart scores `any` in their place: unsafe, not in which way."""

    @model_validator(mode="after")
    def _known(self) -> Head:
        if not self.categories and self.model not in alignment():
            raise ValueError(
                f"model {self.model!r} isn't in alignment.yaml, so give the categories that it speaks of; there are: "
                f"{', '.join(alignment())}"
            )
        return self

    @property
    def called(self) -> str:
        """Its label, or its model's alias."""
        return self.label or re.sub(r"[^a-z0-9_]", "_", self.model.lower())[:40]

    def scored(self) -> tuple[str, ...]:
        """The categories of the recipe or of `alignment.yaml`, or `any`."""
        return (ANY,) if self._as_one else self._spoken

    @property
    def _spoken(self) -> tuple[str, ...]:
        return self.categories or alignment()[self.model].categories

    @property
    def _as_one(self) -> bool:
        return self.as_any and not (self.model in alignment() and alignment()[self.model].apart)

    def encoder(self) -> str:
        """The encoder."""
        return self.embeddings

    def uses(self) -> list[Use]:
        """Return the encoder and the head."""
        return [Use(self.embeddings), Use(self.model)]

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """The head's scores.

        Raises:
            RecipeError: the head was trained on another encoder, or has no output for a category.
        """
        assert shown.embeddings is not None
        head = ctx.models.get(self.model)
        try:
            head.fits(ctx.models.pin(self.embeddings))
        except RecipeError as error:
            raise RecipeError(f"labeler {self.called}: {error}") from None
        if missing := [name for name in self._spoken if name not in head.categories]:
            raise RecipeError(
                f"labeler {self.called}: the head has no output for {missing[0]}; it has: {', '.join(head.categories)}"
            )
        places = [head.categories.index(name) for name in self._spoken]
        asked = {one.id for one in shown.categories}
        found = []
        for row in head(shown.embeddings):
            scores = {name: float(row[place]) for name, place in zip(self._spoken, places, strict=True)}
            spoken = {ANY: max(scores.values())} if self._as_one else {k: v for k, v in scores.items() if k in asked}
            found.append(Opinion(spoken))
        return found
