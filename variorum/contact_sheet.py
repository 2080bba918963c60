"""A picture of an edition for people: source pictures in rows, variants in columns, reasons where one isn't there."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from schemas.manifest import Manifest, ShardInfo
from variorum.images import decode, decode_mask
from variorum.shards import sample_at
from variorum.store import Store
from variorum.tables import read_table

INK, PAPER, MUTED, WARN = (28, 30, 34), (250, 249, 246), (228, 226, 220), (176, 44, 32)
MAX_CELLS = 400
ACROSS = 9
"""Cells to a row that are filled with more pictures of the class, where an edition has few variants."""

Record = dict[str, Any]
Group = dict[str, Record]
"""Variant to record, of the pictures that were made of one source picture."""


def contact_sheet(manifest: Manifest, store: Store, *, rows: int = 12, cell: int = 144) -> bytes:
    """A PNG with up to `rows` rows, spread evenly over the edition, in columns of `cell` pixels.

    A row is a source picture. Where there are few variants it is a class, with as many of its pictures as fit.
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = variants(manifest, store)
    masks = ["mask"] if "mask.png" in manifest.members else []
    titles = columns[:1] + masks + columns[1:]
    across = max(1, ACROSS // max(1, len(titles)))
    most = min(rows, max(1, MAX_CELLS // max(1, len(titles) * across)))
    chosen = _chosen(_groups(manifest, store), most, across)
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


def _groups(manifest: Manifest, store: Store) -> list[Group]:
    """The pictures of each source picture of which there are any."""
    columns = ["source", "variant", "status", "reason", "labels", "origin", "start"]
    records = read_table(store, manifest.rows, columns).to_pylist()
    family: dict[str, Group] = {}
    for record, shards in zip(records, _shards(manifest, store), strict=True):
        record["shard"] = shards.get(record["status"])
        family.setdefault(record["source"], {}).setdefault(record["variant"], record)
    return [group for group in family.values() if any(record["shard"] for record in group.values())]


def _chosen(groups: list[Group], rows: int, across: int) -> list[list[Group]]:
    """What stands in each row: one group, or several of a class."""
    if across == 1:
        return [[groups[i]] for i in _spread(len(groups), rows)]
    classes: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        classes.setdefault(tuple(next(iter(group.values()))["labels"]), []).append(group)
    by_class = [classes[labels] for labels in sorted(classes)]
    return [[by_class[i][k] for k in _spread(len(by_class[i]), across)] for i in _spread(len(by_class), rows)]


def variants(manifest: Manifest, store: Store) -> list[str]:
    """The edition's variants in the order in which they were made, those without a picture left out."""
    table = read_table(store, manifest.rows, ["variant", "start"])
    pairs = zip(table.column("variant").to_pylist(), table.column("start").to_pylist(), strict=True)
    return list(dict.fromkeys(variant for variant, start in pairs if start >= 0))


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
        if (times := cell // max(image.size)) > 1:  # pixels of a small picture stay squares
            image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
        if record["status"] != "accepted" and not mask:
            image = Image.blend(image, Image.new("RGB", image.size, PAPER), 0.55)
        sheet.paste(image, (x + (cell - image.width) // 2, y + (cell - image.height) // 2))
    if record["status"] != "accepted" and not mask:
        draw.multiline_text((x + 5, y + 5), _wrap(f"{record['status']}: {record['reason']}", cell // 7, 4), WARN, font)


def _picture(store: Store, record: Record, *, mask: bool) -> Any:
    _, data = sample_at(store.path(record["shard"]), record["start"])
    if not mask:
        return decode(data["png"])
    return np.repeat(decode_mask(data["mask.png"])[..., None], 3, axis=2)


def _shards(manifest: Manifest, store: Store) -> Iterator[dict[str, ShardInfo]]:
    """For every row of the edition's table, the shards of its unit by the status of the pictures in them."""
    for unit, rows in zip(manifest.units, manifest.rows, strict=True):
        receipt = store.receipt(unit)
        assert receipt is not None, f"a sealed edition has a receipt for unit {unit}"
        named = {"accepted": receipt.shards.get("test"), "quarantined": receipt.shards.get("quarantine")}
        yield from [{status: shard for status, shard in named.items() if shard}] * rows.samples


def _spread(total: int, wanted: int) -> Sequence[int]:
    return range(total) if total <= wanted else [round(i * (total - 1) / max(1, wanted - 1)) for i in range(wanted)]


def _wrap(text: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_long_words=True)[:lines])
