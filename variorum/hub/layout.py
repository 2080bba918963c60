"""The files of a published repository: which file of an edition lies where in a dataset's repository on the Hub.

`main` has the newest published version, and a tag for each version has that version, so that
`load_dataset("org/name", revision="1.2.0")` reads it. Publishing writes this layout, and pulling reads it.

    README.md, manifest.json, croissant.json, index.parquet, recipe.yaml, plan.parquet
    edition.sig, edition.sigstore.json            who published the edition, if it is signed
    *.png                                         the pictures that the card shows
    view.html                                     a page to look at a sample of the pictures, which nobody needs to pull
    LICENSE.md                                    the pictures' licences, where no single one covers all
    data/<config>/<split>-00000-of-00002.tar      the shards, as beside the manifest
    listings/<name>.parquet                       tables that the generator draws up over the whole edition
    tables/<sha256>.parquet                       the rows of the units, so that the edition can be opened again

A release's tables of measurements, scores and verdicts aren't published.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from variorum.edition.editions import LISTINGS, PLAN, read_beside, readable
from variorum.edition.store import Store
from variorum.schemas.manifest import Manifest, ShardInfo

CARD = "README.md"
MANIFEST = "manifest.json"
CROISSANT = "croissant.json"
INDEX = "index.parquet"
RECIPE = "recipe.yaml"
BESIDE = (CARD, MANIFEST, CROISSANT, INDEX, RECIPE)
"""Small files of an edition's folder that are published."""
SIGNED_BY_KEY, SIGNED_BY_IDENTITY = "edition.sig", "edition.sigstore.json"
SIGNATURES = (SIGNED_BY_KEY, SIGNED_BY_IDENTITY)
"""Files of an edition that was pulled, which are published with it."""
NEEDED = (CARD, MANIFEST)
"""Those of them without which nothing is published."""
PAGE = "view.html"
LICENCE = "LICENSE.md"
"""Not among `OURS`: it may be somebody else's."""
TABLES = "tables"
"""Folder of the units' rows."""
SHOWN = re.compile(r"\]\(([A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.png)\)")
"""A picture that a card shows."""
OURS = re.compile(
    rf"(?:{'|'.join(map(re.escape, (*BESIDE, *SIGNATURES, PLAN)))}|contact_sheet\.c2pa|view\.html"
    rf"|[A-Za-z0-9][A-Za-z0-9_.-]*\.png"
    rf"|data/(?:[^/]+/)?[a-z]+-[0-9]{{5}}-of-[0-9]{{5}}\.tar|{TABLES}/[0-9a-f]{{64}}\.parquet|{LISTINGS}/[a-z][a-z0-9_]{{0,63}}\.parquet)"
)
"""Paths that this layout gives out; any other file of a repository is somebody else's, and stays."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a repository: an object of the store, or content in memory.

    Attributes:
        path: in the repository.
        sha256: of the content, in hexadecimal digits.
        size: bytes.
        info: of the object; None for content in memory.
        suffix: of the object.
        data: the content; None for an object.
    """

    path: str
    sha256: str
    size: int
    info: ShardInfo | None = None
    suffix: str = ""
    data: bytes | None = None

    def local(self, store: Store) -> Path | None:
        """The object as a local file, downloaded first from a remote store; None for content in memory."""
        return store.path(self.info, self.suffix, check=False) if self.info else None


def objects(manifest: Manifest) -> dict[str, tuple[ShardInfo, str]]:
    """By path in the repository, the objects of the store, with their suffixes: shards, plan, listings, rows.

    This needs only the manifest, so whoever pulls a repository reads `manifest.json` first and knows from it which
    object each file is.
    """
    tables = {f"{TABLES}/{info.sha256}.parquet": (info, ".parquet") for info in manifest.rows}
    return {**readable(manifest), **tables}


def layout(manifest: Manifest, store: Store, more: Mapping[str, bytes] | None = None) -> list[Entry]:
    """The files of a repository that has this edition, sorted by path.

    Args:
        manifest: the edition.
        store: its store.
        more: content by path, in place of the file beside the manifest or in addition to it.
    """
    small = {name: data for name in (*BESIDE, *SIGNATURES) if (data := read_beside(manifest, name, store)) is not None}
    small |= more or {}
    for name in SHOWN.findall(small.get(CARD, b"").decode(errors="replace")):
        data = small.get(name) or read_beside(manifest, name, store)
        if data is not None:
            small[name] = data
    found = [in_memory(path, data) for path, data in small.items()]
    found += [
        Entry(path, info.sha256, info.size, info=info, suffix=suffix)
        for path, (info, suffix) in objects(manifest).items()
    ]
    return sorted(found, key=lambda entry: entry.path)


def in_memory(path: str, data: bytes) -> Entry:
    """An entry with its content."""
    return Entry(path, hashlib.sha256(data).hexdigest(), len(data), data=data)
