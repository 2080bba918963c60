"""Lists of the hashes of a set of pictures, without the pictures, to keep a benchmark out of training data."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from variorum.arrays import Array, Ints, Singles, arrow_column
from variorum.kit.copies.evidence import Prints
from variorum.kit.copies.grouping import EMBEDDING, FILE, HASH, PIXELS
from variorum.kit.copies.join import cosine_join, hamming_join
from variorum.kit.copies.pdq import LEAST_QUALITY
from variorum.kit.copies.shipped import or_shipped
from variorum.kit.embeddings.rows import taken
from variorum.machine.parquet_pages import check_pages
from variorum.schemas.errors import SourceError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.kit.copies.file_hashes import Looked

WIDTHS = {"pixels": 16, "pdq": 32}
"""Bytes per hash, by column."""
HEX = 64
"""Digits of a sha256."""
KINDS = {
    "sha256": "text of 64 hexadecimal digits",
    "pixels": "16 bytes",
    "pdq": "32 bytes",
    "embedding": "lists of floats",
}
MOST_ROWS = 50_000_000
"""Rows of a list. Its hashes then take 5 GB of memory."""
BATCH = 1 << 16
"""Rows that are read at a time."""
LONGEST = 200
"""Characters of a file's own words in a message, and of each text that a list says of itself."""
ABOUT = b"variorum.list"
"""Key of a list's metadata."""
LARGEST_ABOUT = 1 << 14
"""Bytes of it that are read."""


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
        """Return which of the columns `sha256`, `pixels`, `pdq` and `embedding` a parquet file has, at least one.

        Raises:
            SourceError: the file can't be read, has none of these columns or one of another type, or has too many rows.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not path.is_file():
            raise SourceError(f"blocklist {path}: no such file; make it with `variorum blocklist`, {or_shipped()}")
        try:
            check_pages(path)
            with pq.ParquetFile(path) as file:
                schema, rows = file.schema_arrow, file.metadata.num_rows
        except (OSError, pa.ArrowException, ValueError) as error:
            raise SourceError(f"blocklist {path} can't be read as parquet: {error}") from None
        known = ("sha256", *WIDTHS, "embedding")
        if not set(known) & set(schema.names):
            others = ", ".join(schema.names)[:LONGEST]
            raise SourceError(f"blocklist {path} has none of the columns {', '.join(known)}; it has {others}")
        if rows > MOST_ROWS:
            raise SourceError(f"blocklist {path} has {rows:,} rows; split it into lists of {MOST_ROWS:,} at most")
        found = [name for name in known if name in schema.names]
        for name in found:
            if schema.names.count(name) > 1 or not _fits(name, schema.field(name).type):
                raise SourceError(
                    f"blocklist {path}: the column {name} must be there once and hold {KINDS[name]}, not "
                    f"{str(schema.field(schema.names.index(name)).type)[:LONGEST]}"
                )
        return found

    @classmethod
    def read(cls, path: Path) -> Blocklist:
        """From a parquet file, with the columns that it has.

        Raises:
            SourceError: as `columns`, or a value isn't a hash.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = cls.columns(path)
        parts: dict[str, list[Any]] = {name: [] for name in names}
        # a text of a gigabyte that a small file repeats a million times is held once as a dictionary
        texts = [name for name in names if name != "embedding"]
        try:
            with pq.ParquetFile(path, read_dictionary=texts) as file:
                for batch in file.iter_batches(BATCH, columns=names):
                    for name in names:
                        parts[name].append(_values(name, batch.column(batch.schema.names.index(name))))
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"blocklist {path} can't be read as parquet: {error}") from None
        except (ValueError, TypeError) as error:
            raise SourceError(f"blocklist {path}: {error}") from None
        columns: dict[str, Array] = {name: np.concatenate(some) for name, some in parts.items() if some}
        return cls(
            path.stem,
            columns.get("sha256", np.array([], dtype=str)),
            columns.get("pixels", np.empty((0, WIDTHS["pixels"]), np.uint8)),
            columns.get("pdq", np.empty((0, WIDTHS["pdq"]), np.uint8)),
            columns.get("embedding", np.empty((0, 0), np.float32)),
        )

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


class ListAbout(BaseModel):
    """What a list says of itself, in its parquet file's metadata. Others may have written it: nothing follows from it.

    Attributes:
        format: of these fields.
        title: the set of pictures, with its version.
        pictures: how many it has.
        licence: of the pictures, in the words of whoever made the list; hashes of them are facts.
        made_by: the program and its version.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal[1] = 1
    title: str = Field(default="", max_length=LONGEST)
    pictures: int = Field(default=0, ge=0)
    licence: str = Field(default="", max_length=LONGEST)
    made_by: str = Field(default="", max_length=LONGEST)

    @classmethod
    def read(cls, path: Path) -> ListAbout | None:
        """Read it from a parquet file; None if it has none, or one that isn't right."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            text = (pq.read_schema(path).metadata or {}).get(ABOUT, b"")
            return cls.model_validate_json(text) if 0 < len(text) <= LARGEST_ABOUT else None
        except (OSError, pa.ArrowException, ValueError):
            return None


def blocklist(table: Table, *, embedding: bool = False, exact: bool = False, about: ListAbout | None = None) -> bytes:
    """An edition's hashes as a parquet file, for others to check their data against.

    It holds `sha256`, `pixels` and `pdq` of every picture, but no ids, labels or pixels. Rows are sorted by hash, so
    their order reveals nothing.

    Args:
        table: of the edition, with the columns of `duplicates`, and of `features` for embeddings.
        embedding: whether to include embeddings. Unlike hashes, they reveal what a picture shows.
        exact: whether to leave out `pdq`, which tells which pictures look alike.
        about: what the list says of itself.
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
    if exact:
        del columns["pdq"]
    if prints.embedding is not None:
        columns["embedding"] = arrow_column(prints.embedding[order])
    sink = io.BytesIO()
    pq.write_table(_told(pa.table(columns), about), sink, compression="zstd")
    return sink.getvalue()


def _told(table: Any, about: ListAbout | None) -> Any:
    return table if about is None else table.replace_schema_metadata({ABOUT: about.model_dump_json().encode()})


def list_bytes(looked: Sequence[Looked], *, exact: bool = False, about: ListAbout | None = None) -> bytes:
    """The same of pictures outside of an edition. Pictures without a file give a list without `sha256`.

    Args:
        looked: pictures that could be decoded.
        exact: whether to leave out `pdq`.
        about: what the list says of itself.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sorted(looked, key=lambda one: (one.sha256, one.pixels))
    columns = {
        "pixels": pa.array([one.pixels for one in rows], pa.binary(WIDTHS["pixels"])),
        "pdq": pa.array(
            [None if one.turns is None else one.turns[0].tobytes() for one in rows], pa.binary(WIDTHS["pdq"])
        ),
    }
    if exact:
        del columns["pdq"]
    if all(one.sha256 for one in rows):
        columns["sha256"] = pa.array([one.sha256.hex() for one in rows], pa.string())
    sink = io.BytesIO()
    pq.write_table(_told(pa.table(columns), about), sink, compression="zstd", use_dictionary=False)
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
        near = cosine_join(taken(prints.embedding, head), known.embedding, cut)
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


def _fits(name: str, kind: Any) -> bool:
    import pyarrow as pa

    if name == "embedding":
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return bool(lists and pa.types.is_floating(kind.value_type))
    if name == "sha256":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    fixed = pa.types.is_fixed_size_binary(kind) and kind.byte_width == WIDTHS[name]
    return bool(fixed or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _values(name: str, column: Any) -> Array:
    """A column of a batch as an array, without empty cells. Raises ValueError for what isn't a hash."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name == "embedding":
        rows = column.drop_null()
        sizes = set(pc.list_value_length(rows).to_pylist())
        if len(sizes) > 1:
            raise ValueError("the column embedding mixes lengths")
        return np.asarray(pc.list_flatten(rows), np.float32).reshape(len(rows), -1) if len(rows) else np.empty((0, 0))
    width = WIDTHS.get(name, HEX)
    if pa.types.is_dictionary(column.type):
        whose = np.asarray(column.indices.drop_null())
        values = column.dictionary
        if len(wrong := pc.unique(pc.filter(pc.binary_length(values), pc.not_equal(pc.binary_length(values), width)))):
            raise ValueError(f"column {name}: hashes must have {width} bytes, one has {wrong[0]}")
        hashes: NDArray[np.uint8] = _buffer(values.cast(pa.large_binary()).cast(pa.binary(width)), width)[whose]
    else:
        hashes = _buffer(column.drop_null(), width)
    if name != "sha256":
        return hashes
    if not np.isin(hashes, np.frombuffer(b"0123456789abcdef", np.uint8)).all():
        raise ValueError("the column sha256 must hold 64 hexadecimal digits in each row, in lower case")
    digits: Array = np.ascontiguousarray(hashes).view(f"S{HEX}").ravel().astype(str)
    return digits


def _buffer(column: Any, width: int) -> NDArray[np.uint8]:
    """The bytes `[M, width]` of a column of a fixed width without empty cells."""
    if not len(column):
        return np.empty((0, width), np.uint8)
    values = np.frombuffer(column.buffers()[1], np.uint8)
    return values[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)


def _keys(hashes: NDArray[np.uint8]) -> Array:
    return np.ascontiguousarray(hashes).view(f"V{hashes.shape[1]}").ravel()
