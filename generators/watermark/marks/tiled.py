"""A visible pattern all over the picture: a text with a short code, or a logo, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.drawing import (
    ALPHABET,
    LETTER_BITS,
    Drawn,
    Ink,
    blended,
    code_of,
    letter_bits,
    letter_height,
    letter_places,
    logo,
    mask_of,
    pasted,
    text,
)
from variorum.generators.watermark.watermarking.matching import (
    Match,
    best_letters,
    folded,
    judged,
    pattern_places,
    residual,
    template,
    tiled_matches,
)
from variorum.generators.watermark.watermarking.text_finder import Finder, text_scores
from variorum.schemas.component import Use
from variorum.schemas.watermark import Detected, Mark, random_of

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels
    from variorum.schemas.component import Context

LETTERS, DECOYS = 4, 15
LEAST_WIDTH, LEAST_HEIGHT = 16, 9
"""Pixels of the smallest logo and of the smallest typeface."""


class Tiled(Mark):
    """A turned pattern of texts or logos. Its key turns it a little and shifts it; a text also has the key's code.

    The detector adds up all repetitions, so it finds a pattern that is hardly visible. It compares the match with those
    of all other shifts, and for a text of 15 other codes; the p-value is the share that matches as well.
    """

    visible: ClassVar[bool] = True

    content: Literal["text", "logo"] = "text"
    """What is repeated over the picture."""
    words: str = Field(default="© ", pattern=r"^[^\p{Cc}]{0,24}$")
    """Before the code of a text."""
    opacity: float = Field(default=0.25, gt=0, le=1)
    """Of the pattern; at 1 nothing of the picture shows through."""
    ink: Ink = "white"
    """The pattern's colour; its outline has the other."""
    size: float = Field(default=0.3, ge=0.05, le=1)
    """Width of one text or logo as a share of the picture's shorter side."""
    gap: float = Field(default=0.5, ge=0, le=4)
    """Between them, as a share of a text's width or twice a logo's."""
    angle: float = Field(default=30, ge=-90, le=90)
    """By how many degrees the pattern is turned to the left."""
    turn: float = Field(default=5, ge=0, le=45)
    """By how many degrees more or less the key may turn it."""
    finder: Finder = "template"
    """Where scores come from: `template` compares with what the key stands for, `text_detector` looks for any text."""

    @property
    def bits(self) -> int:
        """Of the payload; a logo has none."""
        return LETTERS * LETTER_BITS if self.content == "text" else 0

    def uses(self) -> list[Use]:
        """Return the text detector, where it is the finder."""
        return [Use("text_detector")] if self.finder == "text_detector" else []

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """The marked pictures."""
        return [
            blended(image, self._page(image, key), self.opacity, self.ink)
            for image, key in zip(images, keys, strict=True)
        ]

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """Scores as the field `finder` says, and the code that is read at the key's places."""
        found = [self._found(image, key) for image, key in zip(images, keys, strict=True)]
        bits = np.array([read for _, read in found], bool).reshape(len(found), self.bits) if self.bits else None
        if self.finder == "text_detector":
            return Detected(text_scores(ctx.models.get("text_detector"), images), bits)
        scores = np.array([match.score for match, _ in found], np.float64)
        return Detected(scores, bits, np.array([match.p_value for match, _ in found], np.float64))

    def mask(self, image: Pixels, key: bytes) -> Pixels:
        """Where the pattern covers a picture of this size."""
        return mask_of(self._page(image, key))

    def refusal(self, image: Pixels) -> tuple[str, str] | None:
        """A picture must have room for three repetitions or so, at a size at which they are recognised."""
        height, width = image.shape[:2]
        wide = int(self.size * min(height, width))
        if self.content == "logo":
            large = wide >= LEAST_WIDTH
        else:
            large = letter_height(wide, len(self.words) + LETTERS) >= LEAST_HEIGHT
        if not large:
            return "too_small", f"{width} x {height} pixels leave {wide} for one {self.content}, which is too few"
        return super().refusal(image)

    # ── the pattern ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _tile(self, image: Pixels, payload: Bools) -> Drawn:
        """Return the tile that is repeated, with the gap around it."""
        drawn = self._upright(image, code_of(payload) if self.bits else "")
        high, wide = drawn.shape
        more = round(self.gap * wide) if self.content == "text" else round(2 * self.gap * wide)
        period = [cv2.getOptimalDFTSize(side + more) for side in drawn.shape]
        return pasted(drawn, tuple(period), (period[0] - high) // 2, (period[1] - wide) // 2)

    def _upright(self, image: Pixels, code: str) -> Drawn:
        wide = int(self.size * min(image.shape[:2]))
        if self.content == "logo":
            return logo(wide)
        return text(self.words + code, letter_height(wide, len(self.words) + LETTERS))

    def _laid(self, period: tuple[int, int], key: bytes) -> Laid:
        rng = random_of(key, "pattern")
        degrees = self.angle + float(rng.uniform(-self.turn, self.turn))
        return Laid(degrees, int(rng.integers(period[0])), int(rng.integers(period[1])))

    def _page(self, image: Pixels, key: bytes) -> Drawn:
        """The picture's whole page with the pattern."""
        tile = self._tile(image, self.payloads([key])[0])
        laid = self._laid(tile.shape, key)
        across, down = pattern_places(image.shape, laid.degrees)
        places = (across + laid.column) % tile.shape[1], (down + laid.row) % tile.shape[0]
        layers = (cv2.remap(layer, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP) for layer in tile)
        return Drawn(*(np.asarray(layer, np.float32) for layer in layers))

    # ── finding it ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _found(self, image: Pixels, key: bytes) -> tuple[Match, Bools]:
        """Match the pattern, and read the code."""
        if self.refusal(image) is not None:
            return Match(0.0, 1.0), np.zeros(self.bits, bool)
        tiles = [self._tile(image, self.payloads([key])[0])]
        laid, rng = self._laid(tiles[0].shape, key), random_of(key, "decoys")
        if self.bits:
            tiles += [self._tile(image, rng.random(self.bits) < 0.5) for _ in range(DECOYS)]
        plane = folded(residual(image), laid.degrees, tiles[0].shape)
        matches = tiled_matches(plane, [template(one, self.ink) for one in tiles])
        match = judged(matches, laid.row, laid.column)
        if not self.bits:
            return match, np.zeros(0, bool)
        return match, self._read(image, np.roll(plane, (laid.row, laid.column), (0, 1)), tiles[0].shape)

    def _read(self, image: Pixels, plane: np.ndarray, period: tuple[int, int]) -> Bools:
        """The code in a folded residual whose phase is undone: of each letter the one that matches best."""
        drawn = self._upright(image, ALPHABET[0] * LETTERS)
        top, left = ((side - own) // 2 for side, own in zip(period, drawn.shape, strict=True))
        high, wide = drawn.shape
        templates = [template(self._upright(image, letter * LETTERS), self.ink) for letter in ALPHABET]
        cells = [np.zeros(drawn.shape, np.float32) for _ in range(LETTERS)]
        letters = letter_places(len(self.words) + LETTERS, drawn)[-LETTERS:]
        for cell, columns in zip(cells, letters, strict=True):
            cell[:, columns] = 1
        window = np.asarray(plane[top : top + high, left : left + wide], np.float32)
        return letter_bits(best_letters(window, templates, cells).tolist())


class Laid(NamedTuple):
    """Place of a key's pattern: turned to the left by degrees, and shifted by pixels down and across."""

    degrees: float
    row: int
    column: int
