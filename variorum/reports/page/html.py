"""A page to look at, as one self-contained HTML file: shell, style, app and data, written as a stream.

The file needs no server and no network, and opens from a disk. It trusts no text of the data:

- Its Content-Security-Policy allows one style and one script, by their hashes, and pictures that the script makes from
  the page's own bytes. Nothing else is loaded, run or sent.
- Data lies in blocks that a browser doesn't execute. In JSON `<` is escaped, so that no text ends its block; thumbnails
  and records are base64, which has no `<`.
- The app puts data into the page as text, never as markup. Plots of evaluations are SVG that is shown as a picture, in
  which nothing runs.

Facts and table come first and the app after them, so that the page can be used while thumbnails still load. Thumbnails
and records come in blocks of 100 rows: lines of base64, and gzipped JSON that the app unpacks when it is needed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from string import Template
from typing import IO

from variorum.schemas.canonical import Json

SCRIPTS = (
    "elements.js",
    "data.js",
    "thumbnails.js",
    "search.js",
    "marks.js",
    "mark_panel.js",
    "view.js",
    "address.js",
    "card.js",
    "grid.js",
    "ranges.js",
    "filters.js",
    "tree.js",
    "layers.js",
    "stage.js",
    "compare.js",
    "picture.js",
    "record.js",
    "charts.js",
    "figures.js",
    "embedding.js",
    "models.js",
    "head.js",
    "app.js",
)
"""The app's parts in reading order; each may use those before it."""
STYLES = ("style.css", "plots.css", "models.css", "stage.css", "record.css", "marks.css")
CHUNK = 100
"""Rows per block of thumbnails and of records."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "img-src {images}",
        "script-src {script}",
        "style-src {style}",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The page's Content-Security-Policy. Pictures are in the page, or come from its own place if some lie beside it.
Trusted types make the browser refuse markup from text, such as `innerHTML`."""


def write_page(
    file: IO[bytes],
    facts: Mapping[str, Json],
    table: Mapping[str, Json],
    pictures: Iterable[Sequence[bytes]],
    records: Iterable[Sequence[str]],
    larger: Iterable[Sequence[bytes]] | None = None,
    masks: Iterable[Sequence[bytes]] | None = None,
) -> None:
    """Write the page. Memory holds the table and one chunk of 100 rows.

    Args:
        file: where to; it needs no more than `write`.
        facts: about the edition as a whole: title, digest, notes, counts, plots, limits of gates.
        table: `rows`, and `columns` with a value per row: texts as codes of distinct values, numbers and flags.
        pictures: encoded thumbnails, in chunks of 100 rows in the table's order; `b""` where a row has none. On a
            page of a difference each row has two, before and after, which follow each other.
        records: the rows' records, each as JSON text, in the same chunks.
        larger: larger versions in the same chunks as the thumbnails; `b""` where the thumbnail has to do.
        masks: of the pictures, PNG, in the same chunks; `b""` where there is none.

    Raises:
        ValueError: the chunks of pictures and records don't have the same rows, or facts or table hold a number that
            JSON doesn't have, outside the columns of numbers, where it counts as missing.
    """
    images = "data: 'self'" if facts.get("beside") else "data:"
    head, tail = _shell(str(facts.get("title") or "Variorum"), images)
    file.write(head)
    file.write(_block("application/json", "facts", embedded(facts)))
    file.write(_block("application/json", "table", embedded(_finite(table))))
    file.write(f"<script>{script()}</script>\n".encode())
    per_row = 2 if facts.get("kind") == "diff" else 1
    extra = (("larger", larger), ("masks", masks))
    more = [(name, iter(found)) for name, found in extra if found is not None]
    for number, (shown, told) in enumerate(zip(pictures, records, strict=True)):
        if len(shown) != per_row * len(told) or len(told) > CHUNK:
            raise ValueError(f"chunk {number} has {len(shown)} pictures and {len(told)} records")
        file.write(_lines(f"pictures-{number}", shown))
        for name, chunks in more:
            some = next(chunks)
            if len(some) != len(shown):
                raise ValueError(f"chunk {number} has {len(shown)} pictures and {len(some)} of {name}")
            if any(some):
                file.write(_lines(f"{name}-{number}", some))
        packed = gzip.compress(json.dumps(list(told)).encode(), compresslevel=6, mtime=0)
        file.write(_block("text/plain", f"records-{number}", _base64(packed)))
    file.write(tail)


def embedded(value: Json) -> str:
    r"""JSON that is safe in a script element: ASCII, with `<` as `\u003c`, so that no text ends the element.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@cache
def script() -> str:
    """The app: all of `SCRIPTS`, joined."""
    return "\n".join(map(_asset, SCRIPTS))


@cache
def style() -> str:
    """All of `STYLES`, joined."""
    return "\n".join(map(_asset, STYLES))


def hashed(text: str) -> str:
    """Hash an inline script or style as a Content-Security-Policy names it."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"


def _shell(title: str, images: str) -> tuple[bytes, bytes]:
    """The page's markup before and after its data."""
    policy = POLICY.format(images=images, script=hashed(script()), style=hashed(style()))
    page = Template(_asset("page.html")).substitute(
        policy=html.escape(policy), title=html.escape(_plain(title)), style=style(), data="\0"
    )
    head, _, tail = page.partition("\0")
    return head.encode(), tail.encode()


def _plain(text: str) -> str:
    """A text for the title bar, without control characters and halves of surrogate pairs."""
    return "".join(sign for sign in text if sign.isprintable()).encode(errors="replace").decode()[:200]


def _asset(name: str) -> str:
    text = (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")  # browsers hash what they parse, and parsing makes line ends alike


def _lines(name: str, pictures: Sequence[bytes]) -> bytes:
    """A block of pictures, one in each line."""
    return _block("text/plain", name, "\n".join(map(_base64, pictures)))


def _block(kind: str, name: str, text: str) -> bytes:
    return f'<script type="{kind}" id="{name}">\n{text}</script>\n'.encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _finite(table: Mapping[str, Json]) -> dict[str, Json]:
    """The table with null for numbers that JSON doesn't have."""
    return {**table, "columns": list(_columns(table["columns"]))}


def _columns(columns: Json) -> Iterator[Json]:
    assert isinstance(columns, list | tuple)
    for column in columns:
        assert isinstance(column, Mapping)
        values = column["values"]
        if column["kind"] == "number" and isinstance(values, list | tuple):
            known = [None if isinstance(one, float) and not math.isfinite(one) else one for one in values]
            yield {**column, "values": known}
        else:
            yield column
