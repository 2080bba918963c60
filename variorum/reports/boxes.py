"""Boxes with the names of their classes, drawn on a small picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from variorum.reports.figures import seen
from variorum.schemas.annotations import Box, Object

MOST = 20
"""Boxes that a picture shows, the largest ones."""
LONGEST = 40
"""Characters of a name that are looked at."""
COLOURS = (
    (214, 39, 40),
    (31, 119, 220),
    (240, 190, 20),
    (44, 160, 44),
    (227, 90, 200),
    (255, 127, 14),
    (23, 190, 207),
    (140, 86, 75),
    (148, 80, 220),
    (170, 220, 60),
)
"""Of classes, by turns."""
NO_CLASS = (200, 200, 200)
DARK, LIGHT = (20, 20, 20), (255, 255, 255)

Corners = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, all of them inside."""


def draw_boxes(image: Any, objects: Sequence[Object], scale: float, names: Mapping[str, str], font: Any) -> None:
    """Draw the largest boxes on a picture, small ones over large ones, and their names where they cover no other name.

    Args:
        image: an RGB Pillow image, which is changed.
        objects: with boxes in pixels of the picture before it was scaled.
        scale: width of `image` by the picture's width.
        names: names of the classes by id; their order decides the colours.
        font: of the names.
    """
    from PIL import ImageDraw

    draw, places = ImageDraw.Draw(image), {label: place for place, label in enumerate(names)}
    ordered = sorted(objects, key=lambda one: -one.box[2] * one.box[3])
    found = [(one.label, corners) for one in ordered if (corners := _corners(one.box, scale, image.size))]
    colours = {label: COLOURS[place % len(COLOURS)] for label, place in places.items()}
    shown = [(label, corners, colours.get(label, NO_CLASS)) for label, corners in found[:MOST]]
    for _, corners, colour in shown:
        draw.rectangle(corners, outline=colour, width=2)
    taken: list[Corners] = []
    for label, corners, colour in shown:
        _draw_name(draw, names.get(label, label), corners, colour, image.size, font, taken)
    if len(found) > MOST:
        corner = (image.width, image.height, 0, 0)
        _draw_name(draw, f"{len(found) - MOST} more", corner, NO_CLASS, image.size, font, taken)


def _draw_name(
    draw: Any,
    name: str,
    box: Corners,
    colour: tuple[int, int, int],
    size: tuple[int, int],
    font: Any,
    taken: list[Corners],
) -> None:
    """Write a name above its box, or inside of it where there is no room above."""
    name = seen(name[:LONGEST])
    while name and draw.textlength(name, font) > 0.6 * size[0]:
        name = name[:-2].rstrip() + "…" if len(name) > 2 else ""
    if not name:
        return
    width, height = int(draw.textlength(name, font)) + 5, 13
    left = max(0, min(box[0], size[0] - width))
    for top in (box[1] - height + 1, box[1]):
        tag = (left, min(top, size[1] - height), left + width - 1, min(top, size[1] - height) + height - 1)
        if tag[1] >= 0 and not any(_meet(tag, other) for other in taken):
            draw.rectangle(tag, fill=colour)
            light = sum(part * weight for part, weight in zip(colour, (0.299, 0.587, 0.114), strict=True)) < 140
            draw.text((tag[0] + 3, tag[1]), name, LIGHT if light else DARK, font)
            taken.append(tag)
            return


def _corners(box: Box, scale: float, size: tuple[int, int]) -> Corners | None:
    """A box in pixels of the small picture, cut off at its edges; None where nothing of it lies inside."""
    left, top, right, bottom = (scale * side for side in (box[0], box[1], box[0] + box[2], box[1] + box[3]))
    if right <= 0 or bottom <= 0 or left >= size[0] or top >= size[1]:
        return None
    x, y = int(max(left, 0)), int(max(top, 0))
    return x, y, max(x, int(min(right, size[0])) - 1), max(y, int(min(bottom, size[1])) - 1)


def _meet(one: Corners, other: Corners) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]
