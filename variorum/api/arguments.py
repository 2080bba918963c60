"""Checks of numbers and paths that a call gets: NumPy's integers count as integers, and `~` is the home folder."""

from __future__ import annotations

import os
from operator import index
from pathlib import Path

from variorum.schemas.errors import StoreError, VariorumError
from variorum.schemas.lookup import cut


def whole_number(what: str, value: object, lowest: int, highest: int | None, error: type[VariorumError]) -> int:
    """A whole number in a range; True and False aren't numbers.

    Args:
        what: names the argument in the message.
        value: of any type.
        lowest: the least that is allowed.
        highest: the most that is allowed; None for no limit.
        error: what to raise for anything else.
    """
    try:
        found = None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        found = None
    if found is None or found < lowest or (highest is not None and found > highest):
        span = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise error(f"{what}: must be a whole number {span}, not {cut(repr(value))}")
    return found


def share(what: str, value: object, error: type[VariorumError]) -> float:
    """A number in the open interval (0, 1).

    Args:
        what: names the argument in the message.
        value: of any type.
        error: what to raise for anything else.
    """
    found = None if isinstance(value, str | bytes) else value
    try:
        number = float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = 0.0
    if not 0 < number < 1:
        raise error(f"{what} is {cut(repr(value))}; it must lie between 0 and 1, such as 0.95")
    return number


def path_of(what: str, value: object) -> Path:
    """A path, with the home folder in place of `~`. Raises StoreError for anything else.

    Args:
        what: names the argument in the message.
        value: of any type.
    """
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(found, str):
        raise StoreError(f"{what}: give a path, not {type(value).__name__}")
    if not found or "\0" in found:
        raise StoreError(f"{what}: {cut(repr(found))} can't be a path")
    return Path(os.path.expanduser(found))


def from_here(path: str) -> str:
    """A path or URL as the path from the working folder, if it lies in that; else `""`."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the working folder has been removed
        return ""
    inside = "://" not in path and Path(path).is_relative_to(here)
    return Path(path).relative_to(here).as_posix() if inside else ""
