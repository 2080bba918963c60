"""Calls of models with as many pictures as there is memory for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_parts(
    call: Callable[[Sequence[Item]], Sequence[Made]], items: Sequence[Item], most: int, name: str
) -> tuple[list[Made], int]:
    """What a model makes of the items, in order, `most` at a time; half as many from where memory runs out.

    Args:
        call: one result an item.
        items: for it.
        most: at first, to a call.
        name: of what calls it, for the warning.

    Returns:
        What was made, and how many there was memory for.

    Raises:
        OutOfMemoryError: PyTorch's, when there isn't the memory for one.
    """
    from torch import OutOfMemoryError, cuda

    made: list[Made] = []
    while left := items[len(made) :]:
        part = left[:most]
        try:
            made += call(part)
            continue
        except OutOfMemoryError:
            if len(part) == 1:
                raise
        # here, as the error holds on to what the call had made
        cuda.empty_cache()
        most = len(part) // 2
        log.warning(
            "%s: out of memory with %d pictures, going on with %d; a `batch` of that spares the try",
            name,
            len(part),
            most,
        )
    return made, most
