"""Words in the picture: its text is read and compared with a list of words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from variorum.curation.safety.harms.word_list import FILE, found_in, plain, read_list, weighed
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Use
from variorum.schemas.safety import Labeler, Opinion, Shown

LONGEST = 500
"""Characters of the text that is kept."""


class Words(Labeler):
    """Scores the words that it reads in a picture, by the weights of a list; it knows nothing else of the picture.

    Without a listed word it abstains, or scores 0 where a category is a matter of text and there is enough of it: no
    word about weapons is no evidence that a picture isn't violent.
    """

    location: ClassVar[frozenset[str]] = frozenset({"words"})
    sort: ClassVar[str] = "text"
    writes: ClassVar[bool] = True

    words: Path | None = None
    """CSV of your own list in place of the shipped one, with the columns `category`, `words`, `weight` and `language`.
    The shipped one has words for spam and for weapons, in English, and none for hate."""
    textual: tuple[str, ...] = ("spam",)
    """Categories that are a matter of text."""
    enough: int = Field(default=3, ge=1)
    """Words of text from which the lack of listed ones says something."""
    model: str = "text_reader"
    """Alias of the reader."""

    def identity(self) -> dict[str, Json]:
        """Holds the list's sha256 in place of its path. Raises RecipeError if the list can't be used."""
        content, _ = read_list(self.words or FILE, self._where)
        return {**super().identity(), "words_sha256": hashlib.sha256(content).hexdigest()}

    def scored(self) -> tuple[str, ...]:
        """The categories of the list in use."""
        return tuple(dict.fromkeys(phrase.category for phrase in read_list(self.words or FILE, self._where)[1]))

    def uses(self) -> list[Use]:
        """Return the reader."""
        return [Use(self.model)]

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """The words found, weighed by category, and the lines that were read."""
        _, phrases = read_list(self.words or FILE, self._where)
        silent = {name: 0.0 for name in self.scored() if name in self.textual}
        found = []
        for lines in ctx.models.get(self.model)(shown.pictures):
            text = "\n".join(line.text for line in lines)
            kept = "".join(sign for sign in text if sign == "\n" or sign.isprintable())[:LONGEST]
            scores = weighed(found_in(text, phrases))
            if len(plain(text).split()) >= self.enough:
                scores = silent | scores
            found.append(Opinion(scores, "ok" if scores else "abstain", kept))
        return found

    @property
    def _where(self) -> str:
        return f"labeler {self.called}: words"
