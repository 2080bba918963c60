"""Verification of all that belongs to an edition: its files, as `variorum.edition.verify` does it, card and index."""

from __future__ import annotations

from variorum.edition.editions import files_of, folder_of, read_beside
from variorum.edition.store import Store
from variorum.edition.verify import verify
from variorum.machine.progress import QUIET, Progress
from variorum.reports.card_check import check_card
from variorum.reports.croissant import FILE, check_croissant
from variorum.reports.hub_types import check_header
from variorum.reports.rows import edition_rows
from variorum.schemas.manifest import Manifest


def verify_edition(manifest: Manifest, store: Store, progress: Progress = QUIET, digest: str = "") -> list[str]:
    """Recompute every hash of an edition; the problems, one line each.

    Args:
        manifest: the edition.
        store: its store.
        progress: receives the bytes read.
        digest: the one that the edition must have, from a trusted source; 64 hexadecimal digits.
    """
    progress.start("checking", sum(info.size for info, _ in files_of(manifest)))
    problems = verify(manifest, store, progress.advance, digest)
    header = check_header(folder_of(manifest, store), manifest)
    if problems or all(read_beside(manifest, name, store) is None for name in ("README.md", FILE)):
        return [*problems, *header]
    rows = edition_rows(manifest, store)
    return [*header, *check_card(manifest, store, rows), *check_croissant(manifest, store, rows)]
