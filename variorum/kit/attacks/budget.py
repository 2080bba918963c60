"""Budgets in whole grey levels, what a change amounts to, and controls that change as much without looking.

A picture is stored with whole levels, so a limit on its change is a whole number of them: half a level would become a
whole one when the picture is rounded. Random signs and specks are the controls that attacks are compared with: what an
attack does beyond them is the work of what it followed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Pixels, Singles
    from variorum.schemas.canonical import Json


def whole_levels(name: str, epsilon: int, strength: float) -> int:
    """The budget at a relative strength: that share of `epsilon`, rounded down to whole grey levels.

    Raises:
        RecipeError: less than one level is left.
    """
    levels = int(np.floor(epsilon * strength + 1e-9))
    if levels < 1:
        raise RecipeError(
            f"{name}: strength {strength:g} of epsilon {epsilon} is {epsilon * strength:g} grey levels, and a budget "
            f"has at least one; take a strength of at least {1 / epsilon:.3g} or a larger epsilon"
        )
    return levels


def inside(image: Pixels, moved: Singles | Floats, levels: int) -> Pixels:
    """A changed picture, rounded and brought back to within `levels` of each pixel of `image` and to 0 to 255."""
    low, high = np.maximum(image.astype(np.int16) - levels, 0), np.minimum(image.astype(np.int16) + levels, 255)
    return np.asarray(np.clip(np.rint(moved), low, high), np.uint8)


class Norms(NamedTuple):
    """How far a picture has moved.

    Attributes:
        linf: the largest change of a value, in grey levels.
        l2: root of the sum of squares, of values in [0, 1].
        l0: number of values that changed.
        squares: sum of squares in grey levels, a whole number.
    """

    linf: int
    l2: float
    l0: int
    squares: int


def norms(image: Pixels, changed: Pixels) -> Norms:
    """Measure the change between two stored pictures."""
    change = changed.astype(np.int64) - image
    squares = int((change**2).sum())
    return Norms(int(np.abs(change).max(initial=0)), math.sqrt(squares) / 255, int(np.count_nonzero(change)), squares)


def measured(change: Norms) -> dict[str, Json]:
    """What a record says of a change."""
    return {"linf": change.linf, "l2": round(change.l2, 6), "l0": change.l0}


def is_grey(image: Pixels) -> bool:
    """Return whether the channels of a picture are equal, so that attacks must keep them so."""
    return bool((image == image[..., :1]).all())


def random_signs(image: Pixels, levels: int, rng: np.random.Generator, where: Bools | None = None) -> Pixels:
    """A picture in which every value moves by `levels` up or down at random, as far as 0 and 255 allow.

    Args:
        image: RGB `[H, W, 3]`.
        levels: of the moves.
        rng: draws the signs.
        where: pixels that move, `[H, W]`; by default all. Where it is given, the channels of a grey picture move alike.
    """
    signs = rng.integers(0, 2, image.shape, np.int8) * 2 - 1
    if where is not None:
        signs = (signs[..., :1] if is_grey(image) else signs) * where[..., None]
    return inside(image, image.astype(np.float32) + levels * signs, levels)


def random_specks(image: Pixels, squares: int, rng: np.random.Generator, where: Bools) -> Pixels:
    """A picture with noise whose squared grey levels sum to `squares`: the same L2 norm as a change has that is stored.

    Values at random move by one level, or all by as many as it takes and some by one more. A value at 0 or 255 moves
    inwards. In a grey picture the three channels move alike, so the sum may be up to two less.

    Args:
        image: RGB `[H, W, 3]`.
        squares: the wanted sum.
        rng: draws which values move, and where to.
        where: pixels that may move, `[H, W]`.
    """
    grey = is_grey(image)
    values: Array = image[where][:, :1] if grey else image[where]
    flat = values.reshape(-1).astype(np.int64)
    wanted = squares // 3 if grey else squares
    base = math.isqrt(wanted // max(len(flat), 1))
    size = np.full(len(flat), base)
    size[rng.permutation(len(flat))[: (wanted - base**2 * len(flat)) // (2 * base + 1)]] += 1
    sign = rng.integers(0, 2, len(flat)) * 2 - 1
    sign = np.where(flat < size, 1, np.where(flat > 255 - size, -1, sign))
    made = image.copy()
    made[where] = (flat + sign * size).clip(0, 255).reshape(values.shape).astype(np.uint8)
    return made
