"""A contact sheet of an edition: one row per source picture, one column per variant.

The cell of a missing variant shows the reason.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from variorum.edition.samples import picture_ending
from variorum.edition.shards import sample_at
from variorum.edition.store import Store
from variorum.pixels import decode, decode_mask
from variorum.report.rows import edition_rows, variants
from variorum.schemas.manifest import Manifest

INK, PAPER, MUTED, WARN = (28, 30, 34), (250, 249, 246), (228, 226, 220), (176, 44, 32)
MAX_CELLS = 400
ACROSS = 9
"""Cells per row. With few variants, a row shows several pictures of a class."""

Record = dict[str, Any]
Group = dict[str, Record]
"""Records by variant, for the pictures made from one source picture."""


def contact_sheet(manifest: Manifest, store: Store, table: Any = None, *, rows: int = 12, cell: int = 144) -> bytes:
    """A PNG with up to `rows` rows, spread evenly over the edition.

    A row shows a source picture. With few variants it shows a class, with as many of its pictures as fit.

    Args:
        manifest: the edition.
        store: its store.
        table: its rows (`edition_rows`), if read already.
        rows: maximum number.
        cell: width and height of a cell in pixels.
    """
    from PIL import Image, ImageDraw, ImageFont

    table = edition_rows(manifest, store) if table is None else table
    columns = variants(manifest)
    masks = ["mask"] if "mask.png" in manifest.members else []
    titles = columns[:1] + masks + columns[1:]
    across = max(1, ACROSS // max(1, len(titles)))
    most = min(rows, max(1, MAX_CELLS // max(1, len(titles) * across)))
    chosen = _chosen(_groups(manifest, table), most, across)
    width = max((len(groups) for groups in chosen), default=1)
    top, left, gap, between = 44, 128, 4, 10
    block = len(titles) * (cell + gap) + between
    sheet = Image.new("RGB", (left + width * block - between + gap, top + len(chosen) * (cell + gap) + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    names = dict(manifest.classes)
    for number in range(width):
        for column, title in enumerate(titles):
            x = left + number * block + column * (cell + gap)
            draw.multiline_text((x, 4), _wrap(title.replace("_", " "), cell // 7, 2), INK, font)
    for row, groups in enumerate(chosen):
        y = top + row * (cell + gap)
        first = next(iter(groups[0].values()))
        label = ", ".join(names.get(label, label) for label in first["labels"]) or "unlabelled"
        draw.multiline_text((6, y + 4), _wrap(label, 15, 4), INK, font)
        if across == 1:
            draw.multiline_text((6, y + 70), _wrap(first["origin"].rsplit("/", 1)[-1], 17, 4), (110, 108, 102), small)
        for number, group in enumerate(groups):
            for column, title in enumerate(titles):
                x = left + number * block + column * (cell + gap)
                record = group.get(titles[0] if title == "mask" else title)
                _draw_cell(sheet, draw, small, store, record, (x, y), cell, mask=title == "mask")
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=6)
    return out.getvalue()


def _groups(manifest: Manifest, table: Any) -> list[Group]:
    """The pictures made from each source picture, if there are any."""
    columns = ["source", "variant", "status", "reason", "labels", "origin", "start", "group", "shard"]
    family: dict[str, Group] = {}
    for record in table.select(columns).to_pylist():
        place = record["shard"]
        record["shard"] = manifest.shards[record["group"]][place] if place >= 0 else None
        family.setdefault(record["source"], {}).setdefault(record["variant"], record)
    return [group for group in family.values() if any(record["shard"] for record in group.values())]


def _chosen(groups: list[Group], rows: int, across: int) -> list[list[Group]]:
    """The groups of each row: one, or several of a class."""
    if across == 1:
        return [[groups[i]] for i in _spread(len(groups), rows)]
    classes: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        classes.setdefault(tuple(next(iter(group.values()))["labels"]), []).append(group)
    by_class = [classes[labels] for labels in sorted(classes)]
    return [[by_class[i][k] for k in _spread(len(by_class[i]), across)] for i in _spread(len(by_class), rows)]


def _draw_cell(
    sheet: Any,
    draw: Any,
    font: Any,
    store: Store,
    record: Record | None,
    at: tuple[int, int],
    cell: int,
    *,
    mask: bool,
) -> None:
    from PIL import Image

    x, y = at
    draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=MUTED)
    if record is None:
        return
    if record["shard"]:
        pixels = _picture(store, record, mask=mask)
        image = Image.fromarray(pixels)
        image.thumbnail((cell, cell), Image.Resampling.LANCZOS)
        if (times := cell // max(image.size)) > 1:  # a whole multiple keeps the pixels square
            image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
        if record["status"] != "accepted" and not mask:
            image = Image.blend(image, Image.new("RGB", image.size, PAPER), 0.55)
        sheet.paste(image, (x + (cell - image.width) // 2, y + (cell - image.height) // 2))
    if record["status"] != "accepted" and not mask:
        draw.multiline_text((x + 5, y + 5), _wrap(f"{record['status']}: {record['reason']}", cell // 7, 4), WARN, font)


def _picture(store: Store, record: Record, *, mask: bool) -> Any:
    _, data = sample_at(store.path(record["shard"]), record["start"])
    if not mask:
        return decode(data[picture_ending(data)])
    return np.repeat(decode_mask(data["mask.png"])[..., None], 3, axis=2)


def _spread(total: int, wanted: int) -> Sequence[int]:
    return range(total) if total <= wanted else [round(i * (total - 1) / max(1, wanted - 1)) for i in range(wanted)]


def _wrap(text: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_long_words=True)[:lines])
