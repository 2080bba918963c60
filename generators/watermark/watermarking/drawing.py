"""Draws visible marks: short texts and a logo, with an outline of the other colour, so that they show everywhere.

A drawing has two layers of coverage in [0, 1]: the `fill` and the `edge` around it. The typeface is DejaVu Sans Mono
Bold, which comes with matplotlib; its letters are equally wide, so a detector knows where each one stands.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

Ink = Literal["white", "black"]
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Of codes: Crockford's, without letters that are taken for others. A letter is five bits."""
LETTER_BITS = 5
SHARP = 4
"""The logo is drawn this many times as large and shrunk."""


class Drawn(NamedTuple):
    """A drawing: two layers `[h, w]` float32 in [0, 1] that add up to 1 at most."""

    fill: Singles
    edge: Singles

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.fill.shape[0], self.fill.shape[1]

    @property
    def cover(self) -> Singles:
        """Both layers together."""
        return self.fill + self.edge


def code_of(payload: Bools) -> str:
    """The letters that a payload is written in, the first five bits first."""
    weights = 1 << np.arange(LETTER_BITS)[::-1]
    return "".join(ALPHABET[int(number)] for number in payload.reshape(-1, LETTER_BITS) @ weights)


def letter_bits(numbers: list[int]) -> Bools:
    """The bits of letters, given their places in ALPHABET."""
    bits = np.array(numbers)[:, None] >> np.arange(LETTER_BITS)[::-1] & 1
    return np.asarray(bits.ravel(), bool)


def letter_height(width: int, letters: int) -> int:
    """The largest size of the typeface in pixels in which this many letters take at most `width` pixels."""
    height = int(width / letters / 0.55)
    while height > 0 and letters * _letter_width(height) > width:
        height -= 1
    return height


def text(said: str, height: int) -> Drawn:
    """A line of text in a typeface of this size in pixels. All letters, with their outlines, are equally wide."""
    letters = [_letter(one, height) for one in said]
    return Drawn(np.hstack([one.fill for one in letters]), np.hstack([one.edge for one in letters]))


def letter_places(letters: int, drawn: Drawn) -> list[slice]:
    """The columns of each letter of a text that `text` has drawn."""
    wide = drawn.shape[1] // letters
    return [slice(wide * place, wide * (place + 1)) for place in range(letters)]


@lru_cache(maxsize=1024)
def _letter(said: str, height: int) -> Drawn:
    font, stroke = _font(height), _stroke(height)
    ascent, descent = font.getmetrics()
    layers = []
    for width in (0, stroke):
        layer = Image.new("L", (_letter_width(height), ascent + descent + 2 * stroke))
        ImageDraw.Draw(layer).text((stroke / 2, stroke), said, fill=255, font=font, stroke_width=width)
        layers.append(np.asarray(layer, np.float32) / np.float32(255))
    fill, whole = layers
    return Drawn(fill, np.asarray(np.maximum(whole - fill, 0), np.float32))


def _letter_width(height: int) -> int:
    return round(_font(height).getlength("0")) + _stroke(height)


def _stroke(height: int) -> int:
    """Width of the outline in pixels."""
    return max(1, round(height / 16))


@lru_cache(maxsize=64)
def _font(height: int) -> ImageFont.FreeTypeFont:
    file = str(_typeface())
    return ImageFont.truetype(file, max(height, 1), layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=16)
def logo(side: int) -> Drawn:
    """A V in a ring, `side` pixels high and wide."""
    large = side * SHARP
    middle, line = large // 2, max(SHARP, large // 12)
    radius = middle - line
    left, right = (int(middle + sign * 0.52 * radius) for sign in (-1, 1))
    points = np.array(
        [[left, middle - radius // 2], [middle, middle + int(0.62 * radius)], [right, middle - radius // 2]]
    )
    layers = []
    for more in (0, max(SHARP, large // 32)):
        layer = np.zeros((large, large), np.uint8)
        cv2.circle(layer, (middle, middle), radius - line // 2, 255, line + more, cv2.LINE_AA)
        cv2.polylines(layer, [points], False, 255, line + more, cv2.LINE_AA)
        layers.append(cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255)
    fill, whole = layers
    return Drawn(fill, np.asarray(np.maximum(whole - fill, 0), np.float32))


def turned(drawn: Drawn, degrees: float, shape: tuple[int, int]) -> Drawn:
    """A drawing turned to the left about its middle, on an empty page of this height and width."""
    height, width = drawn.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    matrix[:, 2] += (shape[1] - width) // 2, (shape[0] - height) // 2
    return Drawn(*(np.asarray(cv2.warpAffine(layer, matrix, shape[::-1]), np.float32) for layer in drawn))


def page_for(drawn: Drawn, degrees: float) -> tuple[int, int]:
    """Height and width of a page on which a drawing can be turned by up to this angle in [0, 90] to both sides."""
    height, width = drawn.shape
    angles = np.radians(np.linspace(0, degrees, 10))
    high = height * np.cos(angles) + width * np.sin(angles)
    wide = width * np.cos(angles) + height * np.sin(angles)
    return int(np.ceil(high.max())), int(np.ceil(wide.max()))


def pasted(drawn: Drawn, shape: tuple[int, ...], top: int, left: int) -> Drawn:
    """A drawing on an empty page of the shape of a picture; it must fit."""
    high, wide = drawn.shape
    page = np.zeros((2, *shape[:2]), np.float32)
    page[:, top : top + high, left : left + wide] = drawn
    return Drawn(page[0], page[1])


def blended(image: Pixels, drawn: Drawn, opacity: float, ink: Ink) -> Pixels:
    """A picture under a drawing of its size. `ink` is the fill's colour, and the edge has the other."""
    light = np.float32(opacity) * (drawn.fill if ink == "white" else drawn.edge)
    cover = np.float32(opacity) * drawn.cover
    pixels = image * (1 - cover[..., None]) + np.float32(255) * light[..., None]
    return np.asarray(np.rint(pixels), np.uint8)


def mask_of(drawn: Drawn) -> Pixels:
    """Where a drawing covers a picture, `[H, W]` uint8, 255 for in full."""
    return np.asarray(np.rint(255 * np.clip(drawn.cover, 0, 1)), np.uint8)


def _typeface() -> Path:
    spec = find_spec("matplotlib")
    file = Path(spec.origin if spec and spec.origin else "").parent / "mpl-data/fonts/ttf/DejaVuSansMono-Bold.ttf"
    if not file.is_file():
        raise RecipeError(f"visible marks need the typeface {file}, which comes with matplotlib; reinstall matplotlib")
    return file
