"""Opening an edition that must be there, by name or by its folder; a mistyped name gets the most similar one."""

from __future__ import annotations

import os
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from variorum.schemas.errors import StoreError, cut

if TYPE_CHECKING:
    from variorum.edition.store import Store
    from variorum.schemas.manifest import Manifest


def existing(url: str, *, writable: bool = False, trust: bool = False) -> Store:
    """A store that must be there; one that is only read may be on a read-only disk.

    Raises:
        StoreError: no such store; the message names the folder that has the most similar name.
    """
    from variorum.edition.store import Store

    store = Store(url, writable=False)
    if store.local and not store.local.is_dir():
        what = "is a file" if store.local.is_file() else "doesn't exist"
        near = get_close_matches(store.local.name, _folders(store.local.parent), 1)
        folder = store.local.parent if "://" in url else Path(url).parent
        hint = f"; did you mean {folder / near[0]}?" if near else "; make one with: variorum run imagenet_e"
        raise StoreError(f"store {cut(url)}: {what}{hint}")
    return Store(url, trust=trust) if writable else store


def open_edition(name: str, store: Store | str = "store") -> tuple[Manifest, Store]:
    """An edition and its store, which is only read.

    Args:
        name: `dataset` for the current release of its newest version, `dataset@version`, or the path of an edition's
            folder, `.../editions/<dataset>/<version>`, which is in the store that it belongs to.
        store: a store, or its folder or URL; not used if `name` is a path.

    Raises:
        StoreError: no such store, or no such edition in it; the message has the most similar name.
    """
    from variorum.edition.editions import find

    if not name.strip():
        raise StoreError("an edition needs a name: dataset, dataset@version, or the path of its folder")
    if "/" in name or os.sep in name:
        url, name = _split(name)
        store = existing(url)
    elif isinstance(store, str):
        store = existing(store)
    return find(name, store), store


def _split(place: str) -> tuple[str, str]:
    """The store's folder or URL, and the edition's name, of an edition's folder."""
    path = place if "://" in place else os.path.abspath(os.path.expanduser(place))
    url, *parts = path.rstrip("/").rsplit("/", 3)
    if len(parts) != 3 or parts[0] != "editions":
        raise StoreError(
            f"{cut(place)}: no edition's folder, which is .../editions/DATASET/VERSION; or give a name, dataset or "
            f"dataset@version, and the store"
        )
    return url or "/", f"{parts[1]}@{parts[2]}"


def _folders(folder: Path) -> list[str]:
    with suppress(OSError):
        return sorted(one.name for one in folder.iterdir() if one.is_dir())
    return []
