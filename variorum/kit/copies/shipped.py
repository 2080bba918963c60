"""Lists of hashes that come with the project, by name: of public test sets and pictures that packages ship.

`lists.toml` says of each what it is of, its licence and how it was made; `training/shipped_blocklists.py` makes them
anew. They hold hashes only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

HERE = Path(__file__).parent
FOLDER = HERE / "lists"


class ShippedList(BaseModel):
    """The set that a list was made of.

    Attributes:
        title: of the set of pictures.
        pictures: how many there are.
        package: that ships them, with its version.
        licence: of the pictures, an SPDX expression; hashes of them are facts.
        sha256: of the list's file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    pictures: int
    package: str
    licence: str
    sha256: str


@lru_cache(maxsize=1)
def shipped_lists() -> Mapping[str, ShippedList]:
    """The lists by name, in alphabetical order."""
    table = tomllib.loads((HERE / "lists.toml").read_text(encoding="utf-8"))
    return {name: ShippedList.model_validate(table[name]) for name in sorted(table)}


def list_path(given: str | Path) -> Path:
    """The file of a list: a shipped one by its name, or any other by its path, whether or not it is there."""
    if str(given) in shipped_lists():
        return FOLDER / f"{given}.parquet"
    return Path(given).expanduser()


def or_shipped() -> str:
    """The end of a message about a list that isn't there."""
    return f"or name a list that comes with the project: {', '.join(shipped_lists())}"
