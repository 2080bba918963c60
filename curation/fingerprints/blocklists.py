"""Lists of somebody's pictures that hold fingerprints and no picture, to keep a benchmark out of training data."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.fingerprints.evidence import Prints
from curation.fingerprints.grouping import EMBEDDING, FILE, HASH, PIXELS
from curation.fingerprints.join import Ints, cosine_join, hamming_join
from schemas.errors import SourceError
from variorum.columns import arrow_column

if TYPE_CHECKING:
    import pyarrow as pa

WIDTHS = {"pixels": 16, "pdq": 32}
"""Bytes of a fingerprint, by column."""


@dataclass(frozen=True, slots=True)
class Blocklist:
    """What is known of M pictures; a column that the file hasn't is empty.

    Attributes:
        name: of the file, without its ending.
        sha256: of the encoded files `[M]`, hexadecimal.
        pixels: hashes of the pixels `[M, 16]` uint8.
        pdq: hashes `[M, 32]` uint8 of the pictures that show enough.
        embedding: `[M, d]`, of the encoder that the edition's embeddings are of.
    """

    name: str
    sha256: NDArray[Any]
    pixels: NDArray[np.uint8]
    pdq: NDArray[np.uint8]
    embedding: NDArray[Any]

    @classmethod
    def read(cls, path: Path) -> Blocklist:
        """The list in a parquet file with some of the columns `sha256`, `pixels`, `pdq` and `embedding`.

        Raises:
            SourceError: the file can't be read, has none of them, or has one of another type.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise SourceError(f"blocklist {path} can't be read as parquet: {error}") from None
        known = ("sha256", *WIDTHS, "embedding")
        if not set(known) & set(table.column_names):
            raise SourceError(
                f"blocklist {path} has none of the columns {', '.join(known)}; it has {', '.join(table.column_names)}"
            )
        there = {name: table.column(name).drop_null() for name in known if name in table.column_names}
        try:
            sha256 = np.array(there["sha256"].to_pylist() if "sha256" in there else [], dtype=str)
            hashes = {
                name: _bytes(there[name], width) if name in there else _bytes([], width)
                for name, width in WIDTHS.items()
            }
            vectors = there["embedding"].to_pylist() if "embedding" in there else []
            embedding = (
                np.array(vectors, np.float32).reshape(len(vectors), -1) if vectors else np.empty((0, 0), np.float32)
            )
        except (ValueError, TypeError) as error:
            raise SourceError(f"blocklist {path}: a column isn't of one type and length: {error}") from None
        return cls(path.stem, sha256, hashes["pixels"], hashes["pdq"], embedding)


def blocklist(table: pa.Table, *, embedding: bool = False) -> bytes:
    """An edition's fingerprints as a parquet file that others can check their data against.

    It holds `sha256`, `pixels` and `pdq` of every picture and no id, label or pixel. Rows are sorted by hash, so
    their order says nothing.

    Args:
        table: the edition's, with the columns of `duplicates`, and of `features` for `embedding`.
        embedding: whether to add the embeddings. Unlike hashes they tell what a picture shows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    prints = Prints.read(table, embedding=embedding)
    order = np.lexsort((prints.sha256.astype(str), *prints.pixels.T[::-1]))
    own = [
        row.tobytes() if good else None for row, good in zip(prints.turns[order, 0], prints.usable[order], strict=True)
    ]
    columns = {
        "sha256": pa.array(prints.sha256[order].tolist(), pa.string()),
        "pixels": pa.array([row.tobytes() for row in prints.pixels[order]], pa.binary(WIDTHS["pixels"])),
        "pdq": pa.array(own, pa.binary(WIDTHS["pdq"])),
    }
    if prints.embedding is not None:
        columns["embedding"] = arrow_column(prints.embedding[order])
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def matches(
    prints: Prints, exact: Ints, head: Ints, known: Blocklist, cut: float
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The strongest evidence `[N]` that a picture is on the list, 0 for none, and its distance, NaN for none.

    Args:
        prints: of the edition.
        exact: class `[N]` of identical pixels.
        head: row `[C]` of each class.
        known: the list.
        cut: least cosine of a copy's embedding.

    Raises:
        SourceError: the list's embeddings have another length than the edition's.
    """
    layer, distance = np.zeros(len(head), np.int8), np.full(len(head), np.nan, np.float32)
    if prints.embedding is not None and len(known.embedding):
        if known.embedding.shape[1] != prints.embedding.shape[1]:
            raise SourceError(
                f"blocklist {known.name} has embeddings of {known.embedding.shape[1]} numbers, the edition's have "
                f"{prints.embedding.shape[1]}; make it with the same encoder, or set embedding to false"
            )
        near = cosine_join(prints.embedding[head], known.embedding, cut)
        _put(layer, distance, near.i, near.distance, EMBEDDING)
    good = np.flatnonzero(prints.usable[head])
    near = hamming_join(prints.turns[head[good]], known.pdq)
    _put(layer, distance, good[near.i], near.distance, HASH)
    same = np.isin(_keys(prints.pixels[head]), _keys(known.pixels))
    layer[same], distance[same] = PIXELS, 0
    layer, distance = layer[exact], distance[exact]
    same = np.isin(prints.sha256.astype(str), known.sha256)
    layer[same], distance[same] = FILE, 0
    return layer, distance


def _put(layer: NDArray[np.int8], distance: NDArray[np.float32], rows: Ints, found: NDArray[Any], kind: int) -> None:
    best = np.full(len(layer), np.inf, np.float32)
    np.minimum.at(best, rows, found.astype(np.float32))
    layer[rows], distance[rows] = kind, best[rows]


def _bytes(values: Any, width: int) -> NDArray[np.uint8]:
    rows = values if isinstance(values, list) else values.to_pylist()
    if wrong := [len(row) for row in rows if len(row) != width]:
        raise ValueError(f"hashes have {width} bytes, one has {wrong[0]}")
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)


def _keys(hashes: NDArray[np.uint8]) -> NDArray[Any]:
    return np.ascontiguousarray(hashes).view(f"V{hashes.shape[1]}").ravel()
