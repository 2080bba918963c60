"""A contact sheet of an edition: one row per source picture, one column per variant; several rows for many variants.

The cell of a missing variant shows the reason, as does that of a picture that may not leave this machine. Cells show
boxes, captions and splits where the edition has them. The pictures and masks of an edition with a content warning are
blurred.
"""

from __future__ import annotations

import io
import textwrap
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from variorum.edition.outgoing import outgoing
from variorum.edition.read_at import stored_sample
from variorum.edition.samples import CAPTION, picture_pixels
from variorum.edition.store import Store
from variorum.pixels import blurred
from variorum.reports.boxes import draw_boxes
from variorum.reports.contents import contents
from variorum.reports.figures import seen
from variorum.reports.rows import edition_rows, variants
from variorum.reports.words import words_of_reason
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import Manifest
from variorum.schemas.outgoing import MEANING, Outgoing
from variorum.schemas.sample import Sample

INK, PAPER, MUTED, WARN, PALE = (28, 30, 34), (250, 249, 246), (228, 226, 220), (176, 44, 32), (110, 108, 102)
MAX_CELLS = 400
ACROSS = 9
"""Cells per row. With few variants, a row shows several pictures of a class."""
WIDEST = 12
"""Columns that fit. With more variants a picture has several rows, each below its own titles."""
MOST_VARIANTS = 40
"""With more, a picture would have too many rows: of variants that differ in a last number alone, such as `fog_1` to
`fog_5`, the middle one is shown."""
LARGER, FEWER = 1.5, 6
"""Factor of the size of cells with boxes or captions, and their number per row; with more variants they stay small."""
SPARSE = 2
"""Rows by class are given up if rows of any class show more than this many times as many pictures."""
LINE = 14
"""Height of a line below a cell."""
LONGEST = 300
"""Characters of a text that are looked at."""

NOT_THERE = {"quarantined": "failed a check", "ineligible": "can't be made", "failed": "error"}
"""Words for states of pictures that aren't part of the edition."""

Record = dict[str, Any]
Group = dict[str, Record]
"""Records by variant, for the pictures made from one source picture."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The canvas of a contact sheet, and what all its cells share.

    Attributes:
        image: a Pillow image.
        draw: its drawing.
        small: font of everything but titles.
        cell: width and height of a cell in pixels.
        names: of classes by id.
        captioned: whether cells have captions below.
        split: whether cells have their split below.
        named: whether cells have their class below.
        blurred: whether pictures are blurred.
        gate: says which pictures aren't shown.
    """

    image: Any
    draw: Any
    small: Any
    cell: int
    names: dict[str, str]
    captioned: bool
    split: bool
    named: bool
    blurred: bool
    gate: Outgoing


def contact_sheet(manifest: Manifest, store: Store, table: Any = None, *, rows: int = 12, cell: int = 144) -> bytes:
    """A PNG with up to `rows` rows, spread evenly over the edition.

    A row shows a source picture. With few variants it shows a class, with as many of its pictures as fit. Where most
    classes have few pictures, rows are filled with pictures of any class, with its name below each.

    Args:
        manifest: the edition.
        store: its store.
        table: its rows (`edition_rows`), if read already.
        rows: maximum number; fewer source pictures where each has several rows.
        cell: width and height of a cell in pixels, without boxes and captions.

    Raises:
        CorruptShard: a picture that is shown is damaged, or isn't where its row says.
    """
    from PIL import Image, ImageDraw, ImageFont

    table = edition_rows(manifest, store) if table is None else table
    columns = shown_variants(variants(manifest))
    masks = ["mask"] if "mask.png" in manifest.members else []
    titles = columns[:1] + masks + columns[1:]
    found, captioned, split = contents(table), CAPTION in manifest.members, len(manifest.splits()) > 1
    across = ACROSS
    if (captioned or found.objects.number) and len(titles) <= FEWER:
        cell, across = int(LARGER * cell), FEWER
    across = max(1, across // max(1, len(titles)))
    lines = -(-len(titles) // WIDEST) or 1
    wide = -(-len(titles) // lines)
    most = max(1, min(rows // lines, MAX_CELLS // max(1, len(titles) * across)))
    chosen = _chosen(_groups(manifest, table, columns), most, across)
    width = max((len(groups) for groups in chosen), default=1)
    named = across > 1 and any(_label(group) != _label(groups[0]) for groups in chosen for group in groups)
    top, left, gap, between = 44, 8 if named else 128, 4, 10
    block, below = wide * (cell + gap) + between, LINE * (split + named + 2 * captioned)
    tall, titled = cell + below + gap, top if lines > 1 else 0
    size = left + width * block - between + gap, top + len(chosen) * lines * (tall + titled) - titled + gap
    image = Image.new("RGB", size, PAPER)
    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    names = dict(manifest.classes)
    draw, gate = ImageDraw.Draw(image), outgoing(manifest, store)
    sheet = Sheet(image, draw, small, cell, names, captioned, split, named, bool(manifest.warning), gate)
    for row, groups in enumerate(chosen):
        y = top + row * lines * (tall + titled)
        first = next(iter(groups[0].values()))
        labels = first["labels"] if across == 1 else first["labels"][:1]
        label = ", ".join(sheet.names.get(label, label)[:LONGEST] for label in labels[:LONGEST])
        label = "" if named else label or ("unlabelled" if found.labelled else "")
        sheet.draw.multiline_text((6, y + 4), _wrap(label, 15, 4), INK, font)
        if across == 1:
            sheet.draw.multiline_text((6, y + 70), _wrap(first["origin"].rsplit("/", 1)[-1], 17, 4), PALE, small)
        for number in range(width):
            for column, title in enumerate(titles):
                line, place = divmod(column, wide)
                at = left + number * block + place * (cell + gap), y + line * (tall + titled)
                if titled or not row:
                    said = _wrap(title.replace("_", " "), cell // 7, 2)
                    sheet.draw.multiline_text((at[0], at[1] - top + 4), said, INK, font)
                if number < len(groups):
                    mask = title == "mask"
                    _draw_cell(sheet, store, groups[number].get(titles[0] if mask else title), at, mask=mask)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=6)
    return out.getvalue()


def shown_variants(names: Sequence[str]) -> list[str]:
    """The variants that a sheet has columns for."""
    if len(names) <= MOST_VARIANTS:
        return list(names)
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.rstrip("0123456789.").rstrip("_"), []).append(name)
    return [same[len(same) // 2] for same in alike.values()][:MOST_VARIANTS]


def _groups(manifest: Manifest, table: Any, shown: Sequence[str]) -> list[Group]:
    """The pictures of the shown variants that were made from each source picture, if there are any."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = ["id", "sha256", "source", "variant", "status", "reason", "labels", "origin", "split", "start"]
    columns += ["group", "shard"]
    family: dict[str, Group] = {}
    among = pc.is_in(table["variant"], value_set=pa.array(shown, pa.string()))
    for record in table.select(columns).filter(among).to_pylist():
        place = record["shard"]
        record["shard"] = manifest.shards[record["group"]][place] if place >= 0 else None
        family.setdefault(record["source"], {}).setdefault(record["variant"], record)
    return [group for group in family.values() if any(record["shard"] for record in group.values())]


def _chosen(groups: list[Group], rows: int, across: int) -> list[list[Group]]:
    """The groups of each row: one, or several of a class; of any class if there is one, or if their rows stay empty."""
    if across == 1:
        return [[groups[i]] for i in _spread(len(groups), rows)]
    classes: dict[str, list[Group]] = {}
    for group in groups:
        classes.setdefault(_label(group), []).append(group)
    by_class = [classes[label] for label in sorted(classes)]
    found = [[by_class[i][k] for k in _spread(len(by_class[i]), across)] for i in _spread(len(by_class), rows)]
    few = min(len(groups), rows * across) > SPARSE * sum(map(len, found))
    if len(by_class) > 1 and not few:
        return found
    picked = [groups[i] for i in _spread(len(groups), rows * across)]
    return [picked[k : k + across] for k in range(0, len(picked), across)]


def _label(group: Group) -> str:
    """The first label of the pictures made from one source picture."""
    labels = next(iter(group.values()))["labels"]
    return labels[0] if labels else ""


def _draw_cell(sheet: Sheet, store: Store, record: Record | None, at: tuple[int, int], *, mask: bool) -> None:
    from PIL import Image

    (x, y), cell = at, sheet.cell
    sheet.draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=MUTED)
    if record is None:
        return
    sample = stored_sample(store, record["shard"], record) if record["shard"] else None
    kept = sheet.gate.why_not(sample.id, sample.metadata) if sample else ""
    if sample and not kept:
        pixels = _pixels(sample, mask=mask)
        image = Image.fromarray(pixels)
        image.thumbnail((cell, cell), Image.Resampling.LANCZOS)
        if (times := cell // max(image.size)) > 1:  # a whole multiple keeps the pixels square
            image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
        if sheet.blurred:
            image = blurred(image)
        if record["status"] != "accepted" and not mask:
            image = Image.blend(image, Image.new("RGB", image.size, PAPER), 0.55)
        if not mask:
            draw_boxes(image, sample.annotations.objects, image.width / pixels.shape[1], sheet.names, sheet.small)
            _write_below(sheet, record, sample.annotations.caption(), at)
        sheet.image.paste(image, (x + (cell - image.width) // 2, y + (cell - image.height) // 2))
    if (record["status"] != "accepted" or kept) and not mask:
        said = _wrap(f"{kept}: {MEANING[kept]}" if kept else _why_not(record), cell // 7, 5)
        left, top, right, bottom = sheet.draw.multiline_textbbox((x + 5, y + 5), said, sheet.small)
        sheet.draw.rectangle((left - 3, top - 2, right + 2, bottom + 2), fill=MUTED)  # over names of boxes
        sheet.draw.multiline_text((x + 5, y + 5), said, WARN, sheet.small)


def _why_not(record: Record) -> str:
    """Why a picture isn't part of the edition, in words: those of its reason, or the reason itself."""
    status, reason = record["status"], record["reason"]
    said = words_of_reason(status, reason) or reason.replace("_", " ")
    return f"{NOT_THERE.get(status, status)}: {said}"


def _write_below(sheet: Sheet, record: Record, caption: str, at: tuple[int, int]) -> None:
    """Write a picture's class, its split and the beginning of its caption below its cell."""
    x, y = at[0] + 1, at[1] + sheet.cell
    if sheet.named:
        label = next(iter(record["labels"]), "")
        (name,) = _lines(sheet, sheet.names.get(label, label) or "unlabelled", 1) or [""]
        sheet.draw.text((x, y), name, INK, sheet.small)
        y += LINE
    if sheet.split:
        sheet.draw.text((x, y), record["split"], PALE, sheet.small)
        y += LINE
    if sheet.captioned:
        for number, line in enumerate(_lines(sheet, caption, 2)):
            sheet.draw.text((x, y + LINE * number), line, INK, sheet.small)


def _pixels(sample: Sample, *, mask: bool) -> Any:
    if mask and "mask.png" not in sample.extras:
        raise CorruptShard(f"sample {sample.id}: it has no mask.png, which the manifest says that each has")
    pixels = picture_pixels(f"sample {sample.id}", sample.extras["mask.png"] if mask else sample.image, mask=mask)
    return np.repeat(pixels[..., None], 3, axis=2) if mask else pixels


def _spread(total: int, wanted: int) -> Sequence[int]:
    return range(total) if total <= wanted else [round(i * (total - 1) / max(1, wanted - 1)) for i in range(wanted)]


def _wrap(text: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(seen(text[:LONGEST]), width, break_long_words=True)[:lines])


def _lines(sheet: Sheet, text: str, most: int) -> list[str]:
    """The beginning of a text in lines no wider than a cell, with … at the end if there is more."""

    def width(length: int) -> int:
        return int(sheet.draw.textlength(left[:length] + "…", sheet.small))

    left, found = seen(text[:LONGEST]), list[str]()
    while left and len(found) < most:
        last = len(found) == most - 1
        stop = max(1, bisect_right(range(len(left) + 1), sheet.cell, key=width) - 1)
        if stop < len(left) and " " in left[1 : stop + 1] and not last:
            stop = left[: stop + 1].rindex(" ")
        found.append(left[:stop].rstrip() + ("…" if last and stop < len(left) else ""))
        left = left[stop:].lstrip()
    return found
