"""A visible line of text with a short code in it, as agencies put it into previews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.drawing import (
    ALPHABET,
    LETTER_BITS,
    Drawn,
    code_of,
    letter_bits,
    letter_height,
    letter_places,
    text,
    turned,
)
from variorum.generators.watermark.watermarking.matching import best_letters, template
from variorum.generators.watermark.watermarking.placed import PlacedMark
from variorum.generators.watermark.watermarking.text_finder import Finder, text_scores
from variorum.schemas.component import Use
from variorum.schemas.watermark import Detected

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels
    from variorum.schemas.component import Context

LETTERS = 4
"""Of the code."""
LEAST_HEIGHT = 9
"""Pixels of the smallest typeface that can be read."""


class TextMark(PlacedMark):
    """Words and a code of four letters, which is the payload of 20 bits; the key turns and moves them a little.

    By default the detector is a matched filter, which knows where to look. With `finder: text_detector` the score comes
    from a network that finds any text and knows no key: it has no p-value, and photographs show text too.
    """

    payload_bits: ClassVar[int] = LETTERS * LETTER_BITS

    words: str = Field(default="© ", pattern=r"^[^\p{Cc}]{0,24}$")
    """Before the code."""
    finder: Finder = "template"
    """Where scores come from: `template` compares with what the key stands for, `text_detector` looks for any text."""

    def uses(self) -> list[Use]:
        """Return the text detector, where it is the finder."""
        return [Use("text_detector")] if self.finder == "text_detector" else []

    def upright(self, width: int, payload: Bools) -> Drawn:
        """The words and the code."""
        said = self.words + code_of(payload)
        return text(said, letter_height(width, len(said)))

    def least_width(self) -> int:
        """Pixels of width below which nobody can read it."""
        letters = len(self.words) + LETTERS
        return text("0" * letters, LEAST_HEIGHT).shape[1]

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """Scores as the field `finder` says, and the code that is read at the key's place."""
        bits = np.array([self._read(image, key) for image, key in zip(images, keys, strict=True)], bool)
        bits = bits.reshape(len(images), self.payload_bits)
        if self.finder == "text_detector":
            return Detected(text_scores(ctx.models.get("text_detector"), images), bits)
        found = super().detect(images, keys, ctx)
        return Detected(found.scores, bits, found.p_values)

    def _read(self, image: Pixels, key: bytes) -> Bools:
        """The code in the picture: of each letter the one that matches best."""
        if self.refusal(image) is not None:
            return np.zeros(self.payload_bits, bool)
        width, size = self._width(image), self._size(image)
        letters = len(self.words) + LETTERS
        height = letter_height(width, letters)
        degrees = self._turned(image, key, np.zeros(self.payload_bits, bool)).degrees
        drawings = [text(self.words + letter * LETTERS, height) for letter in ALPHABET]
        templates = [template(turned(one, degrees, size), self.ink) for one in drawings]
        cells = []
        for columns in letter_places(letters, drawings[0])[-LETTERS:]:
            cell = np.zeros(drawings[0].shape, np.float32)
            cell[:, columns] = 1
            cells.append(turned(Drawn(cell, cell), degrees, size).fill)
        return letter_bits(best_letters(self._window(image, key), templates, cells).tolist())
