"""The pictures that most deserve a look, for notebooks and as one picture. All text from data is escaped."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.api import html
from variorum.api.notebook_pictures import Picture
from variorum.edition.outgoing import outgoing
from variorum.edition.read_at import stored_sample, with_pixels
from variorum.edition.verdicts import rows_of
from variorum.pixels import blurred
from variorum.reports.figures import seen
from variorum.reports.rows import edition_rows

if TYPE_CHECKING:
    from PIL import Image

    from variorum.api.curated import Curated

MOST = 12
"""Pictures in a notebook."""
SIDE = 112
"""Pixels of the longer side of a thumbnail."""
CELL = 160
GAP = 8
LINE = 14
PAPER, INK, PALE, MUTED = (255, 255, 255), (26, 26, 26), (95, 95, 95), (236, 236, 236)
STYLE = (
    "display:inline-block;width:128px;margin:4px;vertical-align:top;font-size:12px;line-height:1.3;"
    "overflow-wrap:anywhere"
)


def thumbnails(found: Curated, most: int, side: int) -> Iterator[tuple[dict[str, Any], Image.Image | None]]:
    """The first verdicts with small pictures; None where there is no picture that may be shown."""
    import pyarrow as pa
    from PIL import Image

    said = found.verdicts().slice(0, most).to_pylist()
    manifest, store = found.edition.manifest, found.edition.store
    table = edition_rows(manifest, store, ("id", "sha256"))
    wanted = pa.chunked_array([pa.array([found.given.ids[verdict["row"]] for verdict in said], pa.string())])
    rows = table.take(rows_of(table["id"], wanted)).to_pylist()
    gate = outgoing(manifest, store)
    for verdict, row in zip(said, rows, strict=True):
        stored = None
        if row["shard"] >= 0 and verdict["action"] != "withhold":  # the verdicts may be those of an older ledger
            stored = stored_sample(store, manifest.shards[row["group"]][row["shard"]], row)
        if stored is None or gate.why_not(stored.id, stored.metadata):
            yield verdict, None
            continue
        sample = with_pixels(stored)
        image = Image.fromarray(np.asarray(sample.image))
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        if (times := side // max(image.size)) > 1:  # a whole multiple keeps the pixels square
            image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
        yield verdict, blurred(image) if manifest.warning else image


def words(found: Curated, verdict: dict[str, Any]) -> tuple[str, str, str]:
    """The text below a picture: its path or position, its verdict, and its labels."""
    where = verdict.get("path") or f"[{verdict['row']}]"
    labels = verdict["given"] or ""
    if verdict["proposed"]:
        labels = f"{labels or 'no label'} → {verdict['proposed']}"
    return where, f"{verdict['action']}: {verdict['reason'].replace('_', ' ')}", labels


def as_html(found: Curated) -> str:
    """Show the findings with thumbnails: a fragment of HTML without scripts and without links."""
    rows = [
        (action, reason.replace("_", " "), number)
        for action, reasons in found.counts().items()
        for reason, number in sorted(reasons.items(), key=lambda item: -item[1])
    ]
    lines = [html.line(f"{found.release.name}: {found.summary()}")]
    if rows:
        lines.append(html.table(("action", "reason", "pictures"), rows))
    if found.findings:
        lines.append(f"<ul>{''.join(f'<li>{html.text(line)}</li>' for line in found.findings)}</ul>")
    figures = [_figure(words(found, verdict), image) for verdict, image in thumbnails(found, MOST, SIDE)]
    return f"<div>{''.join(lines)}<div>{''.join(figures)}</div></div>"


def _figure(said: tuple[str, str, str], image: Image.Image | None) -> str:
    where, what, labels = said
    picture = ""
    if image is not None:
        out = io.BytesIO()
        image.save(out, "WEBP", quality=80)
        data = base64.b64encode(out.getvalue()).decode()
        about = html.text(", ".join(filter(None, (what, labels))))
        size = f'width="{image.width}" height="{image.height}"'
        picture = f'<img {size} alt="{about}" src="data:image/webp;base64,{data}"><br>'
    below = "<br>".join(html.text(line) for line in (what, labels, where) if line)
    return f'<span style="{STYLE}">{picture}{below}</span>'


def as_sheet(found: Curated, most: int) -> Picture:
    """The same pictures with their captions as one picture, four in a row."""
    from PIL import Image, ImageDraw, ImageFont

    shown = list(thumbnails(found, most, CELL))
    across = min(4, max(1, len(shown)))
    below = 4 * LINE + GAP
    size = (across * (CELL + GAP) + GAP, max(1, -(-len(shown) // across)) * (CELL + below + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    if not shown:
        draw.text((GAP, GAP), "nothing found", INK, font)
    for number, (verdict, image) in enumerate(shown):
        x, y = GAP + number % across * (CELL + GAP), GAP + number // across * (CELL + below + GAP)
        draw.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=MUTED)
        if image is not None:
            sheet.paste(image, (x + (CELL - image.width) // 2, y + (CELL - image.height) // 2))
        where, what, labels = (seen(text) for text in words(found, verdict))
        draw.text((x, y + CELL + 2), textwrap.shorten(what, 27, placeholder="…"), INK, font)
        for line, text in enumerate(textwrap.wrap(labels, 27)[:2], 1):
            draw.text((x, y + CELL + 2 + line * LINE), text, INK, font)
        draw.text((x, y + CELL + 2 + 3 * LINE), where[-27:], PALE, font)
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=6)
    return Picture(out.getvalue(), f"the pictures of {found.edition.name} that most deserve a look")
