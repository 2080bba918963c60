"""Calls of a model with as many pictures as fit into memory."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from variorum.models.memory import is_out_of_memory

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_parts(
    call: Callable[[Sequence[Item]], Sequence[Made]], items: Sequence[Item], most: int, name: str
) -> tuple[list[Made], int]:
    """Results for the items, in order, `most` per call; half as many from the point where memory runs out.

    Returns:
        The results, and the items per call in the end.

    Raises:
        OutOfMemoryError: PyTorch's, when memory doesn't suffice for one item.
    """
    made: list[Made] = []
    while left := items[len(made) :]:
        part = left[:most]
        try:
            made += call(part)
            continue
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(part) == 1:
                error.add_note(f"{name}, one picture at a time")
                raise
        # outside of `except`, as the error refers to the tensors of the failed call
        sys.modules["torch"].cuda.empty_cache()
        most = len(part) // 2
        log.warning(
            "%s: out of memory with %d pictures, going on with %d; set `batch` to that next time",
            name,
            len(part),
            most,
        )
    return made, most
