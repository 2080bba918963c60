"""The categories that labelers are asked about, from `categories.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from variorum.machine.strict_yaml import read_yaml
from variorum.schemas.safety import BESIDE, RESERVED, Category

FILE = Path(__file__).with_name("categories.yaml")


@cache
def unsafebench() -> tuple[Category, ...]:
    """UnsafeBench's eleven categories."""
    return tuple(Category(**one) for one in read_yaml(FILE.read_text("utf-8")))


def _told_apart(categories: tuple[Category, ...]) -> tuple[Category, ...]:
    """The categories. Raises ValueError if there is none, two have one id, or one has a name that is taken."""
    ids = [one.id for one in categories]
    if not categories:
        raise ValueError("must be one or more categories")
    if twice := next((one for one in ids if ids.count(one) > 1), ""):
        raise ValueError(f"two categories have the id {twice!r}")
    if taken := next((one for one in ids if one in (*RESERVED, *BESIDE)), ""):
        raise ValueError(f"no category can have the id {taken!r}")
    return categories


Categories = Annotated[tuple[Category, ...], AfterValidator(_told_apart)]
"""Type of a field with the categories that labelers are asked about."""
