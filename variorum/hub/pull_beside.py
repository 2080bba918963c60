"""The files beside a pulled edition's manifest. They are written here, from the manifest, its tables and its pictures.

Only the card's text can be the author's: if its header is the one that the manifest asks for, and nothing in it runs
or loads anything when it is shown. Nothing else that lies beside a published edition is fetched, but for the plots that
such a card shows.
"""

from __future__ import annotations

import io
import logging
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from variorum.edition.editions import write_beside
from variorum.edition.store import Store
from variorum.edition.verify import DIGEST
from variorum.hub.layout import CARD, SHOWN
from variorum.hub.pull_fetch import Wanted, fetch_small
from variorum.hub.pull_places import Place
from variorum.reports.card import write_card
from variorum.reports.hub_types import check_header
from variorum.schemas.canonical import Json
from variorum.schemas.errors import SourceError
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Card, Recipe

log = logging.getLogger(__name__)

LARGEST = 16 << 20
"""Bytes of a card or a plot."""
PLOTS = 60
PIXELS = 40_000_000
FENCE = re.compile(r"(`{3,})[^`]*|(~{3,}).*")
MARKUP = re.compile(r"<[A-Za-z/!?]")
FOLDED = re.compile(r"</?(?:details|summary)>")
"""What folds a part of a card away; without attributes it does nothing else."""
AUTOLINK = re.compile(r"<https?://[^\s<>]+>")
LINK = re.compile(r"\]\(\s*<?([^\s)>]*)|^\s*\[[^\]]+\]:\s*<?([^\s>]*)", re.MULTILINE)
PAGE = re.compile(r"https?://.*|mailto:.*|#.*|[A-Za-z0-9_.-][A-Za-z0-9_./#-]*|")
IMAGE = re.compile(r"!\[[^\n]*?\]\([A-Za-z0-9][A-Za-z0-9_.-]*\.png\)")
"""A picture of the edition's own folder; one of another host would tell that host who looks at the card."""


class Told(Recipe):
    """A manifest's facts about a recipe whose components may not be installed here, and aren't looked up."""

    _identity: dict[str, Json] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest) -> Told:
        """The recipe of an edition, as far as its card needs it."""
        told = cls.model_construct(
            dataset=manifest.dataset,
            version=manifest.version.partition("-r")[0],
            warning=manifest.warning or None,
            card=Card(title=manifest.dataset),
        )
        told._identity = dict(manifest.recipe)
        return told

    def identity(self) -> dict[str, Json]:
        """As the manifest has it."""
        return self._identity

    def dump(self) -> dict[str, Json]:
        """No more than the identity is known."""
        return self._identity


def write_beside_pulled(manifest: Manifest, place: Place, store: Store) -> str:
    """Write card, contact sheet, Croissant and index; returns whose the card's text is: `author` or `manifest`."""
    text = _fetched(place, CARD)
    why = unfit(text, manifest) if text else "there is none"
    write_card(Told.of(manifest), manifest, store)
    if why:
        log.warning("the card of %s@%s is drawn from its manifest: %s", manifest.dataset, manifest.version, why)
        return "manifest"
    drawn = set(store.listed(f"editions/{manifest.dataset}/{manifest.version}/*.png"))
    for name in list(dict.fromkeys(SHOWN.findall(text.decode())))[:PLOTS]:
        if not any(path.endswith(f"/{name}") for path in drawn) and (plot := _picture(_fetched(place, name))):
            write_beside(manifest, name, plot, store)
    write_beside(manifest, CARD, text, store)
    return "author"


def unfit(text: bytes, manifest: Manifest) -> str:
    """Why an author's card can't be shown beside an edition; `""` if it can.

    Loaders take the files and types from its header, so that must be the edition's own. Viewers of Markdown show HTML
    as such, so there may be none but what folds a part away, and links may lead to pages only.
    """
    if {match.decode() for match in DIGEST.findall(text)} != {manifest.digest()}:
        return "it doesn't name this edition's digest"
    try:
        lines = text.decode().split("\n")
        body = "\n".join(lines[lines.index("---", 1) + 1 :])
    except ValueError:
        return "it has no header, or isn't UTF-8"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, CARD).write_bytes(text)
        if check_header(folder, manifest):
            return "its header would have loaders read other files or types"
    prose = FOLDED.sub("", AUTOLINK.sub("", _prose(body)))
    if MARKUP.search(prose):
        return "it has HTML in it"
    if prose.count("![") != len(IMAGE.findall(prose)):
        return "it shows pictures that lie elsewhere"
    if any(not PAGE.fullmatch(found[1] or found[2] or "") for found in LINK.finditer(prose)):
        return "it has a link to something else than a page"
    return ""


def _prose(body: str) -> str:
    """The text without fenced blocks of code, in which nothing is markup.

    Fences that are indented may end with the list or quotation that they are in, so these count as text.
    """
    kept, fence = [], ""
    for line in re.split("\r\n|\r|\n", body):
        if fence:
            left = line.strip()
            if left.startswith(fence) and not left.strip(fence[0]):
                fence = ""
        elif mark := FENCE.fullmatch(line):
            fence = mark[1] or mark[2]
        else:
            kept.append(line)
    return "\n".join(kept)


def _fetched(place: Place, name: str) -> bytes:
    """A small file of a place; nothing if there is none, or if it may not be had."""
    try:
        return fetch_small(place.open(name), Wanted(f"{place.name}/{name}", LARGEST))
    except (FileNotFoundError, SourceError) as error:
        log.debug("%s isn't fetched: %s", name, error)
        return b""


def _picture(data: bytes) -> bytes:
    """A plot drawn anew, without anything else that the file may hold; nothing if it is no PNG of usual size."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                if image.width * image.height > PIXELS:
                    return b""
                plain: Any = image.convert("RGBA" if "A" in image.getbands() else "RGB")
        out = io.BytesIO()
        plain.save(out, "PNG")
    except Exception as error:  # whatever a decoder raises
        log.debug("a plot can't be decoded: %s", error)
        return b""
    return out.getvalue()
