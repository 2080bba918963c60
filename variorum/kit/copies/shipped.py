"""Lists of hashes that come with the project, by name: of public test sets and pictures that packages ship.

`lists.toml` says of each what it is of, its licence and how it was made; `training/shipped_blocklists.py` makes them
anew. They hold hashes only.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from variorum.machine.cache import cache_dir
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut, names_file, or_file
from variorum.schemas.secrets import shown

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
    """The file of a list, whether or not it is there.

    Args:
        given: name of a shipped list, path of another one, or URL of one that `variorum known` has fetched.

    Raises:
        SourceError: there is none of this name, or a list at a URL hasn't been fetched.
    """
    if str(given) in shipped_lists():
        return FOLDER / f"{given}.parquet"
    if not is_url(given):
        if isinstance(given, str) and not names_file(given):
            raise SourceError(f"no blocklist {cut(given)!r}; give a file, {or_shipped()}{or_file(given)}")
        return Path(given).expanduser()
    if not (path := fetched_path(str(given))).is_file():
        raise SourceError(f"blocklist {shown(str(given))}: fetch it first, once: variorum known --blocklist URL")
    return path


def is_url(given: str | Path) -> bool:
    """Return whether a list is at a web server."""
    return str(given).startswith(("https://", "http://"))


def fetched_path(url: str) -> Path:
    """The file of the cache that a list at a URL is kept in; its name is that of the URL's file."""
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(urlsplit(url).path).stem)[:64] or "list"
    return cache_dir() / "lists" / hashlib.sha256(url.encode()).hexdigest()[:16] / f"{name}.parquet"


def or_shipped() -> str:
    """The end of a message about a list that isn't there."""
    return f"or name a list that comes with the project: {', '.join(shipped_lists())}"
