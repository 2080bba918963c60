"""Copies of pictures for code that may write into them, in memory that is used again.

Fresh memory for every copy costs ten times as much as the copying itself. A buffer is used again only if nothing refers
to it any more, so a function that keeps its pictures keeps them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels

KEPT = 4 * 2**20
"""Bytes of the largest buffer that is kept; for larger pictures copying is the least of the work."""


class Copies:
    """Makes copies of pictures and takes them back."""

    def __init__(self) -> None:
        self._spare: list[Pixels] = []

    def make(self, images: Sequence[Pixels]) -> tuple[list[Pixels], list[Pixels]]:
        """Copies of the pictures, and the buffers that they lie in, for `take_back`."""
        buffers, copies = [], []
        for image in images:
            buffer = self._buffer(image.size)
            copy = buffer[: image.size].reshape(image.shape)
            np.copyto(copy, image)
            buffers.append(buffer)
            copies.append(copy)
        return copies, buffers

    def _buffer(self, size: int) -> Pixels:
        try:
            buffer = self._spare.pop()
        except IndexError:  # there is none; a check beforehand is no use, as other threads take some too
            buffer = None
        return buffer if buffer is not None and buffer.size >= size else np.empty(size, np.uint8)

    def take_back(self, buffers: list[Pixels]) -> None:
        """Keep those of the buffers that only this list refers to."""
        free = [count <= ALONE for count in references(buffers)]
        self._spare = [one for one, unused in zip(buffers, free, strict=True) if unused and one.size <= KEPT]


def references(arrays: list[Pixels]) -> list[int]:
    """Count the references of each array, as Python does here."""
    return [sys.getrefcount(array) for array in arrays]


ALONE = references([np.empty(1, np.uint8)])[0]
"""References to an array that only a list has; it depends on the version of Python."""
