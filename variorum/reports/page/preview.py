"""A small page that is published with an edition: a sample of its pictures, and nothing that isn't part of it."""

from __future__ import annotations

import io

from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.reports.page.edition_page import edition_page
from variorum.reports.page.html import write_page
from variorum.schemas.manifest import Manifest

PICTURES = 120
SIDE = 160
"""Longer side of a thumbnail in pixels. Pages are small because each new version of an edition sends its page anew."""


def preview(manifest: Manifest, store: Store, progress: Progress = QUIET) -> tuple[bytes, int]:
    """The page, and the number of pictures on it.

    It shows what is part of the edition: no verdicts of a ledger, no dropped pictures, no evaluations. Pictures of an
    edition with a content warning are blurred in the file. The same edition gives the same bytes on one machine.

    Raises:
        CorruptShard: a table, shard or picture of the edition is damaged.
    """
    parts = edition_page(manifest, store, progress, most=PICTURES, with_map=False, blur=False, alone=True)
    parts.facts["thumbnail"] = min(parts.side, SIDE)
    file = io.BytesIO()
    write_page(file, parts.facts, parts.table, *parts.streams(progress))
    return file.getvalue(), parts.pictures
