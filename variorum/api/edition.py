"""An edition in Python: its table, its pictures, its contact sheet and page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from variorum.edition.editions import find, folder_of
from variorum.edition.store import Store

if TYPE_CHECKING:
    from variorum.schemas.manifest import Manifest


class Edition:
    """A sealed edition.

    Attributes:
        manifest: all that it holds, to the byte.
        store: where it lies.
    """

    def __init__(self, manifest: Manifest, store: Store) -> None:
        self.manifest, self.store = manifest, store

    @property
    def name(self) -> str:
        """`imagenet_e@1.2.0-r1`."""
        return f"{self.manifest.dataset}@{self.manifest.version}"

    @property
    def digest(self) -> str:
        """Digest of the manifest: two editions with the same digest are the same to the byte."""
        return self.manifest.digest()

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(folder_of(self.manifest, self.store))


def open(name: str, store: str = "store") -> Edition:
    """Open an edition."""
    where = Store(store, writable=False)
    return Edition(find(name, where), where)
