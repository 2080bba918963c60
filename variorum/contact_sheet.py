"""A picture of an edition for people: a row a source picture, a column a variant, what isn't there with its reason."""

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


def contact_sheet(manifest: Manifest, store: Store, *, rows: int = 12, cell: int = 144) -> bytes:
    """A PNG with up to `rows` source pictures, spread evenly over the edition, in columns of `cell` pixels."""
    from PIL import Image, ImageDraw, ImageFont

    columns = ["source", "variant", "status", "reason", "labels", "origin", "start"]
    records = read_table(store, manifest.rows, columns).to_pylist()
    family: dict[str, dict[str, dict[str, Any]]] = {}
    for record, shards in zip(records, _shards(manifest, store), strict=True):
        record["shard"] = shards.get(record["status"])
        family.setdefault(record["source"], {}).setdefault(record["variant"], record)
    columns_of = variants(manifest, store)
    complete = [group for group in family.values() if any(record["shard"] for record in group.values())]
    chosen = [complete[i] for i in _spread(len(complete), min(rows, max(1, MAX_CELLS // max(1, len(columns_of)))))]
    masks = ["mask"] if "mask.png" in manifest.members else []
    titles = columns_of[:1] + masks + columns_of[1:]
    top, left, gap = 44, 128, 4
    size = (left + len(titles) * (cell + gap) + gap, top + len(chosen) * (cell + gap) + gap)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    names = dict(manifest.classes)
    for column, title in enumerate(titles):
        x = left + column * (cell + gap)
        draw.multiline_text((x, 4), _wrap(title.replace("_", " "), cell // 7, 2), INK, font)
    for row, group in enumerate(chosen):
        y = top + row * (cell + gap)
        first = next(iter(group.values()))
        label = ", ".join(names.get(label, label) for label in first["labels"]) or "unlabelled"
        draw.multiline_text((6, y + 4), _wrap(label, 15, 4), INK, font)
        draw.multiline_text((6, y + 70), _wrap(first["origin"].rsplit("/", 1)[-1], 17, 4), (110, 108, 102), small)
        for column, title in enumerate(titles):
            x = left + column * (cell + gap)
            record = group.get(titles[0] if title == "mask" else title)
            _draw_cell(sheet, draw, small, store, record, (x, y), cell, mask=title == "mask")
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=6)
    return out.getvalue()


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
    record: dict[str, Any] | None,
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


def _picture(store: Store, record: dict[str, Any], *, mask: bool) -> Any:
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
