"""Cards of released editions that a project keeps beside its recipes, so that its history says what was released."""

from __future__ import annotations

import re
from pathlib import Path

from variorum.reports.card_check import DIGEST
from variorum.schemas.errors import RecipeError, StoreError, VersionDrift
from variorum.schemas.manifest import Manifest, is_dev

PICTURE = re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)")


def keep_card(text: str, manifest: Manifest, folder: Path) -> Path:
    """Write an edition's card to `<folder>/<dataset>-<version>.md`; returns the path.

    Its pictures stay with the edition, and the kept card has their descriptions.

    Raises:
        RecipeError: a -dev version, which isn't sealed.
        VersionDrift: a card of this version is kept already, and it is about another edition.
        StoreError: the folder can't be written.
    """
    name, digest = f"{manifest.dataset}@{manifest.version}", manifest.digest()
    if is_dev(manifest.version):
        raise RecipeError(f"{name} may still change; keep cards of versions without -dev")
    path = folder / f"{manifest.dataset}-{manifest.version}.md"
    try:
        kept = DIGEST.search(path.read_text(errors="replace")) if path.exists() else None
        if kept and kept[1] != digest:
            raise VersionDrift(
                f"{path}: it is the card of another edition (digest {kept[1][:16]}) of this version, and {name} has "
                f"{digest[:16]}; a released version never changes, so give this one another version"
            )
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(PICTURE.sub(r"*\1*", text))
    except OSError as error:
        raise StoreError(f"{path}: can't be written: {error.strerror}") from None
    return path
