"""`croissant.json`: an edition in the vocabulary of Croissant 1.1 and of its extension RAI 1.0.

Search engines of datasets and the library `mlcroissant` read it. It says what the manifest, the table and the recipe
say; a field of which they know nothing is left out.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from variorum.edition.columns import check_claims
from variorum.edition.editions import folder_of, read_beside, readable
from variorum.edition.samples import strict_json
from variorum.edition.store import Store
from variorum.machine.parquet_pages import check_pages
from variorum.reports.index_table import FILE as INDEX
from variorum.reports.index_table import encode_index, index_table
from variorum.reports.licences import address
from variorum.reports.record_sets import distribution, record_sets
from variorum.reports.responsible import responsible
from variorum.reports.rows import edition_rows
from variorum.schemas.manifest import Manifest, ShardInfo
from variorum.schemas.recipe import Card

FILE = "croissant.json"
CONFORMS = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
LARGEST = 64 << 20
"""Bytes of a document that are read again."""


def write_croissant(
    card: Card, manifest: Manifest, rows: Any, findings: Sequence[str], write: Callable[[str, bytes], None]
) -> None:
    """Write `index.parquet` and `croissant.json` beside the manifest.

    Args:
        card: title, summary and citation.
        manifest: the edition.
        rows: its `edition_rows`.
        findings: what curation found of the edition as a whole, in sentences.
        write: writes a file beside the manifest.
    """
    table = index_table(manifest, rows)
    data = encode_index(table)
    index = ShardInfo(sha256=hashlib.sha256(data).hexdigest(), size=len(data), samples=len(table))
    there = zip(table["id"].to_pylist(), table["status"].to_pylist(), strict=True)
    lengths = sorted({len(identity) for identity, status in there if status == "accepted"})
    write(INDEX, data)
    write(FILE, encode(croissant(card, manifest, index, lengths, findings)))


def encode(described: Mapping[str, Any]) -> bytes:
    """The document as JSON that may also stand in the `<script>` of a page, as it does in catalogues."""
    return json.dumps(described, indent=1).translate({ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}).encode()


def croissant(
    card: Card, manifest: Manifest, index: ShardInfo, lengths: Sequence[int], findings: Sequence[str] = ()
) -> dict[str, Any]:
    """The document. The same edition and texts give the same one: there is no date in it.

    Args:
        card: title, summary and citation.
        manifest: the edition.
        index: hash and size of `index.parquet`.
        lengths: how many characters the ids of its accepted pictures have.
        findings: what curation found of the edition as a whole, in sentences.
    """
    name = f"{manifest.dataset}@{manifest.version}"
    context = importlib.resources.files("variorum.reports").joinpath("assets/croissant_context.json")
    licences = [licence for licence in manifest.licences if licence.strip()]
    return {
        "@context": json.loads(context.read_text()),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS),
        "name": card.title or manifest.dataset,
        "description": card.summary or f"{name}: {manifest.pictures()} pictures.",
        "version": manifest.version,
        "identifier": manifest.digest(),
        **({"license": [address(one) for one in licences]} if licences else {}),
        **({"citeAs": card.citation} if card.citation else {}),
        **responsible(manifest, findings),
        "distribution": distribution(manifest, index, lengths),
        "recordSet": list(record_sets(manifest)),
    }


def check_croissant(manifest: Manifest, store: Store, rows: Any = None) -> list[str]:
    """Compare `croissant.json` and the index with the edition; the problems, one line each.

    An edition without the document, as older versions made them, is whole.
    """
    data = read_beside(manifest, FILE, store)
    if data is None:
        return []
    folder, remedy = folder_of(manifest, store), "write it again with `variorum card`"
    try:
        digest, said = _stated(data)
    except (ValueError, TypeError, LookupError):
        return [f"{folder}/{FILE}: it describes no edition; {remedy}"]
    if digest != manifest.digest():
        return [f"{folder}/{FILE}: it is about another edition, or another state of this one; {remedy}"]
    index = read_beside(manifest, INDEX, store)
    if index is None:
        return [f"{folder}/{INDEX}: missing; {remedy}"]
    wanted = {name: (info.sha256, str(info.size)) for name, (info, _) in readable(manifest).items()}
    wanted[INDEX] = (hashlib.sha256(index).hexdigest(), str(len(index)))
    if odd := sorted(name for name in {*said, *wanted} if said.get(name) != wanted.get(name)):
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        return [f"{folder}/{FILE}: what it says of {odd[0][:200]!a}{more} isn't true of the edition; {remedy}"]
    rows = edition_rows(manifest, store) if rows is None else rows
    if not _same(index, index_table(manifest, rows)):
        return [f"{folder}/{INDEX}: its rows aren't the edition's; {remedy}"]
    return []


def _stated(data: bytes) -> tuple[str, dict[str, tuple[str, str]]]:
    """The edition's digest and, by file, hash and size, as a document states them."""
    found = strict_json(data[:LARGEST])
    files = [part for part in found["distribution"] if "contentUrl" in part]
    said = {str(part["contentUrl"]): (str(part["sha256"]), str(part["contentSize"])) for part in files}
    return str(found["identifier"]), said


def _same(data: bytes, wanted: Any) -> bool:
    """Return whether an index has these rows; another version of pyarrow may have written it in other bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_pages(io.BytesIO(data))
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            check_claims(file.metadata, ShardInfo(sha256="0" * 64, size=len(data), samples=len(wanted)))
            return bool(file.read(use_threads=False).equals(wanted))
    except (OSError, ValueError, TypeError, NotImplementedError):
        return False
