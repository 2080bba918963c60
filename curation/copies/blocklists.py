"""Lists of the hashes of a set of pictures, without the pictures, to keep a benchmark out of training data."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from variorum.arrays import Array, Ints, Singles, arrow_column
from variorum.curation.copies.evidence import Prints
from variorum.curation.copies.grouping import EMBEDDING, FILE, HASH, PIXELS
from variorum.curation.copies.join import cosine_join, hamming_join
from variorum.curation.copies.pdq import LEAST_QUALITY
from variorum.schemas.errors import SourceError
from variorum.schemas.table import Table

WIDTHS = {"pixels": 16, "pdq": 32}
"""Bytes per hash, by column."""


@dataclass(frozen=True, slots=True)
class Blocklist:
    """Hashes and embeddings of M pictures. A missing column is empty.

    Attributes:
        name: file name without its ending, or the name of a reference.
        sha256: `[M]` of the encoded files, hexadecimal.
        pixels: `[M, 16]` uint8, hashes of the pixels.
        pdq: `[≤ M, 32]` uint8, hashes of the pictures that show enough.
        embedding: `[M, d]`, from the same encoder as the edition's embeddings.
    """

    name: str
    sha256: Array
    pixels: NDArray[np.uint8]
    pdq: NDArray[np.uint8]
    embedding: Array

    @staticmethod
    def columns(path: Path) -> list[str]:
        """Which of the columns `sha256`, `pixels`, `pdq` and `embedding` a parquet file has, at least one.

        Raises:
            SourceError: the file can't be read or has none of these columns.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not path.is_file():
            raise SourceError(f"blocklist {path}: no such file; make it with `variorum blocklist`")
        try:
            names = pq.read_schema(path).names
        except (OSError, pa.ArrowInvalid) as error:
            raise SourceError(f"blocklist {path} can't be read as parquet: {error}") from None
        known = ("sha256", *WIDTHS, "embedding")
        if not set(known) & set(names):
            raise SourceError(f"blocklist {path} has none of the columns {', '.join(known)}; it has {', '.join(names)}")
        return [name for name in known if name in names]

    @classmethod
    def read(cls, path: Path) -> Blocklist:
        """From a parquet file, with the columns that it has.

        Raises:
            SourceError: as `columns`, or a column is of the wrong type.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = cls.columns(path)
        try:
            table = pq.read_table(path, columns=names)
        except (OSError, pa.ArrowInvalid) as error:
            raise SourceError(f"blocklist {path} can't be read as parquet: {error}") from None
        columns = {name: table.column(name).drop_null() for name in names}
        try:
            sha256 = np.array(columns["sha256"].to_pylist() if "sha256" in columns else [], dtype=str)
            hashes = {
                name: _bytes(columns[name], width) if name in columns else _bytes([], width)
                for name, width in WIDTHS.items()
            }
            vectors = columns["embedding"].to_pylist() if "embedding" in columns else []
            embedding = (
                np.array(vectors, np.float32).reshape(len(vectors), -1) if vectors else np.empty((0, 0), np.float32)
            )
        except (ValueError, TypeError) as error:
            raise SourceError(f"blocklist {path}: a column mixes types or lengths: {error}") from None
        return cls(path.stem, sha256, hashes["pixels"], hashes["pdq"], embedding)

    @classmethod
    def measured(cls, name: str, table: Table, *, embedding: bool) -> Blocklist:
        """From measured pictures: the columns of `duplicates` and, for embeddings, of `features`."""
        clear = table["duplicates.pdq_quality"] >= LEAST_QUALITY
        return cls(
            name,
            np.array([], dtype=str),
            table["duplicates.pixels"],
            table["duplicates.pdq"][clear],
            table["features.embedding"] if embedding else np.empty((0, 0), np.float16),
        )


def blocklist(table: Table, *, embedding: bool = False) -> bytes:
    """An edition's hashes as a parquet file, for others to check their data against.

    It holds `sha256`, `pixels` and `pdq` of every picture, but no ids, labels or pixels. Rows are sorted by hash, so
    their order reveals nothing.

    Args:
        table: of the edition, with the columns of `duplicates`, and of `features` for embeddings.
        embedding: whether to include embeddings. Unlike hashes, they reveal what a picture shows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    prints = Prints.read(table, embedding=embedding)
    order = np.lexsort((prints.sha256.astype(str), *prints.pixels.T[::-1]))
    unturned = zip(prints.turns[order, 0], prints.usable[order], strict=True)
    own = [row.tobytes() if usable else None for row, usable in unturned]
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


def matches(prints: Prints, exact: Ints, head: Ints, known: Blocklist, cut: float) -> tuple[NDArray[np.int8], Singles]:
    """The layer `[N]` of the strongest evidence that a picture is on the list (0: none), and its distance (NaN: none).

    Args:
        prints: of the edition.
        exact: class `[N]` of identical pixels.
        head: row `[C]` of each class.
        known: the list.
        cut: least cosine between the embeddings of copies.

    Raises:
        SourceError: the list's embeddings have another length than the edition's.
    """
    layer, distance = np.zeros(len(head), np.int8), np.full(len(head), np.nan, np.float32)
    if prints.embedding is not None and len(known.embedding):
        if known.embedding.shape[1] != prints.embedding.shape[1]:
            raise SourceError(
                f"blocklist {known.name} has embeddings of {known.embedding.shape[1]} numbers, the edition of "
                f"{prints.embedding.shape[1]}; make the list with the same encoder, or set embedding to false"
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


def _put(layer: NDArray[np.int8], distance: Singles, rows: Ints, found: Array, kind: int) -> None:
    """Write evidence of one kind, with the least distance found for each row."""
    best = np.full(len(layer), np.inf, np.float32)
    np.minimum.at(best, rows, found.astype(np.float32))
    layer[rows], distance[rows] = kind, best[rows]


def _bytes(values: Any, width: int) -> NDArray[np.uint8]:
    rows = values if isinstance(values, list) else values.to_pylist()
    if wrong := [len(row) for row in rows if len(row) != width]:
        raise ValueError(f"hashes must have {width} bytes, one has {wrong[0]}")
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)


def _keys(hashes: NDArray[np.uint8]) -> Array:
    return np.ascontiguousarray(hashes).view(f"V{hashes.shape[1]}").ravel()
