"""Square windows that move over a larger picture, in whole pixels, and what enters at their edge.

Over a photograph a window shows new content at its edge; the two controls, which classifiers are often tested with,
repeat the window at the other side, or show black.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

Border = Literal["photograph", "cyclic", "zero"]
"""What enters at the edge: the photograph, the window's other side, or black."""
BORDERS: tuple[Border, ...] = get_args(Border)
"""In the order of figures."""
Steps = Literal["square", "axes"]
"""The eight directions, or the four along the axes."""
Shift = tuple[int, int]
"""How many pixels the window moves to the right and down, so that its content moves to the left and up."""


def shifts(radius: int, steps: Steps) -> tuple[Shift, ...]:
    """The shifts by 1, 2, 4 … pixels up to a radius, in each direction; none for radius 0."""
    lengths = [2**power for power in range(radius.bit_length()) if 2**power <= radius]
    signs = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if (x or y) and (steps == "square" or not (x and y))]
    return tuple((length * x, length * y) for length in lengths for x, y in signs)


def window(field: Array, side: int, shift: Shift = (0, 0)) -> Array:
    """The square in the middle of a picture `[H, W, …]`, moved by a shift; a view.

    Raises:
        ValueError: it leaves the picture.
    """
    left, top = corner(field, side, shift)
    if min(left, top) < 0 or left + side > field.shape[1] or top + side > field.shape[0]:
        raise ValueError(f"a window of {side} pixels moved by {list(shift)} leaves the picture")
    return field[top : top + side, left : left + side]


def corner(field: Array, side: int, shift: Shift = (0, 0)) -> tuple[int, int]:
    """Left and top of `window`."""
    height, width = field.shape[:2]
    return (width - side) // 2 + shift[0], (height - side) // 2 + shift[1]


def margin(field: Array, side: int, shift: Shift) -> int:
    """Pixels of the picture between a moved window and the nearest edge; below 0 it leaves the picture."""
    (left, top), (height, width) = corner(field, side, shift), field.shape[:2]
    return int(min(left, top, width - side - left, height - side - top))


def shown(field: Array, side: int, shift: Shift, border: Border) -> Array:
    """Cut a moved window, `[side, side, …]`."""
    if border == "photograph":
        return window(field, side, shift)
    base, (x, y) = window(field, side), shift
    rolled = np.roll(base, (-y, -x), axis=(0, 1))
    if border == "zero":
        rolled[side - y if y > 0 else 0 : side if y > 0 else -y] = 0
        rolled[:, side - x if x > 0 else 0 : side if x > 0 else -x] = 0
    return rolled


def apart(base: Pixels, moved: Pixels, shift: Shift) -> int:
    """Count the values that differ in the content of two windows; the second is the first one moved by the shift."""
    (x, y), (height, width) = shift, base.shape[:2]
    first = base[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
    second = moved[max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)]
    return int(np.count_nonzero(first != second))


def origins(side: int, shift: Shift) -> Singles:
    """Where each pixel of a `cyclic` window comes from in the one that isn't moved, `[side, side, 2]`, as (x, y)."""
    x, y = ((np.arange(side) + step) % side for step in shift)
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)
