"""Thumbnails of the pictures that a report's page shows, from the shards of its editions.

A thumbnail is the whole picture as WebP, small enough that the page stays below two megabytes. Those of an edition with
a content warning are blurred.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from variorum.edition.outgoing import outgoing
from variorum.edition.read_at import stored_sample
from variorum.edition.store import Store
from variorum.pixels import UndecodableImage
from variorum.reports.page.thumbnails import thumbnail
from variorum.reports.profile.document import Report
from variorum.reports.profile.page import page
from variorum.reports.rows import edition_rows
from variorum.schemas.manifest import Manifest

PAGE = 2_000_000
"""Bytes of a page, at most."""
MOST = 6_000
"""Bytes of a thumbnail, at most."""
SIDES = (192, 160, 128, 112, 96, 80, 64, 48, 32)
"""Longer sides in pixels: the first that makes the thumbnail small enough is taken. A page shows 70 to 110."""
AROUND = 24
"""Characters that a thumbnail takes on a page besides its base64."""


def thumbnails(report: Report, editions: Mapping[str, tuple[Manifest, Store]]) -> dict[tuple[str, str], bytes]:
    """Make a thumbnail of each picture that the report shows, by key of its edition and id of its sample.

    A picture is left out if it isn't in its edition any more, is withheld or restricted, or can't be decoded.

    Args:
        report: says which pictures.
        editions: manifest and store by the keys that the report's editions have.

    Raises:
        CorruptShard: a shard or a table is damaged.
    """
    shown = [(one.edition, one.id) for row in report.rows for one in row.pictures]
    if not shown:
        return {}
    room = (PAGE - len(page(report, {}))) // len(shown)
    most = min(MOST, max(0, room - AROUND) * 3 // 4)
    found = {}
    for key in dict.fromkeys(edition for edition, _ in shown):
        if key in editions:
            wanted = {sample for edition, sample in shown if edition == key}
            for sample, data in _pictures(*editions[key], wanted).items():
                if small := _small(data, most, blur=bool(editions[key][0].warning)):
                    found[key, sample] = small
    return found


def _pictures(manifest: Manifest, store: Store, wanted: set[str]) -> dict[str, Any]:
    """The encoded pictures of an edition by id, of those that are in it and may leave."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = edition_rows(manifest, store, ("id", "sha256"))
    rows = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(wanted))))
    gate, places = outgoing(manifest, store), [row for row in rows.to_pylist() if row["shard"] >= 0]
    found = [stored_sample(store, manifest.shards[row["group"]][row["shard"]], row) for row in places]
    return {one.id: one.image for one in found if not gate.why_not(one.id, one.metadata)}


def _small(data: bytes, most: int, *, blur: bool) -> bytes:
    """The largest thumbnail with at most so many bytes; `b""` if there is none."""
    with suppress(UndecodableImage):
        for side in SIDES:
            if len(found := thumbnail(data, side, blur=blur)) <= most:
                return found
    return b""
