"""Checks pictures and labels from Python, and keeps them in one parquet file that the pipeline reads.

The file lies in this machine's cache under the hash of its content, so the same pictures are kept once, and a second
call reuses finished work. Arrays become PNG without loss; files keep their own bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from variorum.api.arguments import path_of
from variorum.api.labels import Labels, read_labels
from variorum.api.one_picture import WHAT, array_of, kind_of, picture
from variorum.machine.cache import cache_dir
from variorum.machine.retrying import why
from variorum.machine.workplace import workplace
from variorum.pixels import encode_png
from variorum.schemas.errors import SourceChanged, SourceError, StoreError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Pixels

FILE = "pictures.parquet"
GROUP = 100
"""Pictures in a row group of the file: a unit that starts inside a group has to read the rows before it too."""


class Pictures(Protocol):
    """Pictures one by one, as they were given."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Given:
    """The input of a call, as a recipe's source.

    Attributes:
        source: its fields, `name` among them.
        dataset: default name of the edition; for a folder only its beginning.
        labels: one per picture; None for a folder, whose pictures the source labels.
        paths: of each picture, where all were given as paths.
    """

    source: Mapping[str, Any]
    dataset: str
    labels: Labels | None
    paths: tuple[str, ...] | None = None


def read_given(pictures: Any, labels: Any = None, names: Sequence[str] | None = None) -> Given:
    """Check pictures and labels, and keep the pictures where the pipeline reads them.

    Args:
        pictures: a folder, a sequence of pictures, one array `[N, H, W, 3]` or `[N, H, W]`, or a `datasets.Dataset`.
        labels: one per picture, or None.
        names: of the classes, by integer label.

    Raises:
        SourceError: something else was given; the message says what and how to convert it.
        StoreError: the cache can't be written.
    """
    if isinstance(pictures, str | os.PathLike):
        return _folder(path_of("curate: pictures", pictures), labels, names)
    if _of_datasets(pictures):
        pictures, labels, names = _hub_columns(pictures, labels, names)
    items = _sequence(pictures)
    known = read_labels(labels, names, len(items))
    digest = _digest(items, known)
    file = _kept(items, known, digest)
    source: dict[str, Any] = {"name": "parquet", "files": str(file), "image": "image", "split": "none"}
    if known.names:
        source["label"] = "label"
    paths = tuple(map(os.fspath, items)) if all(isinstance(item, str | os.PathLike) for item in items) else None
    return Given(source, f"pictures_{digest[:12]}", known, paths)


def _folder(path: Path, labels: Any, names: Any) -> Given:
    if not path.is_dir():
        what = "a file" if path.exists() else "not there"
        raise SourceError(f"curate: {cut(str(path))} is {what}; give a folder, or a list of files")
    if labels is not None or names is not None:
        raise SourceError(
            "curate: a folder's labels are the folders that its pictures lie in; to give labels, give a list of files"
        )
    path = path.absolute()
    name = re.sub("[^a-z0-9]+", "_", path.name.lower()).strip("_")[:60] or "pictures"
    return Given({"name": "image_folder", "path": str(path)}, name, None)


def _sequence(pictures: Any) -> Pictures:
    """The pictures one by one. Raises SourceError for anything but a sequence of pictures."""
    if isinstance(pictures, Iterator):
        raise SourceError("curate: pictures can be read only once, and must be read twice; give list(pictures)")
    ordered = hasattr(pictures, "__len__") and hasattr(pictures, "__iter__") and not isinstance(pictures, Set)
    if isinstance(pictures, Mapping | bytes) or not ordered:
        raise SourceError(f"curate: pictures is {kind_of(pictures)}; it must be {WHAT}")
    if hasattr(pictures, "__array__") and not isinstance(pictures, list | tuple):
        array = array_of(pictures, "pictures")
        if array.dtype != object or array.ndim > 1:  # a pandas Series of paths has one axis, a DataFrame two
            if array.ndim < 3 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4)):
                raise SourceError(
                    f"curate: pictures has shape {list(array.shape)}, one picture or none; several are [N, H, W, 3], "
                    f"[N, H, W], or a list"
                )
            pictures = array
    items = pictures if isinstance(pictures, np.ndarray | _Hub) else list(pictures)
    if not len(items):
        raise SourceError(f"curate: pictures is empty; it must be {WHAT}")
    return items


def _digest(items: Pictures, labels: Labels) -> str:
    """Digest of all pictures and labels."""
    found = _begun(len(items), labels)
    for seen, _ in _hashed(items):
        found.update(seen)
    return str(found.hexdigest())


def _begun(pictures: int, labels: Labels) -> Any:
    """A hash of the labels, to which the pictures are added."""
    found = hashlib.sha256(json.dumps(["pictures", pictures, labels.names]).encode())
    found.update(labels.index.tobytes())
    return found


def _hashed(items: Pictures) -> Iterator[tuple[bytes, Pixels | bytes]]:
    """Each picture with its hash."""
    for number, item in enumerate(items):
        one = picture(item, f"pictures[{number}]")
        if isinstance(one, bytes):
            yield hashlib.sha256(b"file" + one).digest(), one
        else:
            content = np.ascontiguousarray(one)
            yield hashlib.sha256(f"{content.shape}".encode() + content.data).digest(), content


def _kept(items: Pictures, labels: Labels, digest: str) -> Path:
    """The parquet file with these pictures, written unless it is there."""
    folder = cache_dir() / "pictures" / digest[:32]
    file = folder / FILE
    if _whole(file, len(items)):
        return file
    try:
        with workplace(folder) as place:
            fresh = place / FILE
            _write(fresh, items, labels, digest)
            fresh.replace(file)
    except OSError as error:
        raise StoreError(
            f"curate: the pictures can't be kept in {folder.parent}: {why(error)}; set VARIORUM_CACHE to a folder with "
            f"room for them"
        ) from None
    return file


def _whole(file: Path, rows: int) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_metadata(file).num_rows == rows)
    except (OSError, pa.ArrowException):
        return False


def _write(file: Path, items: Pictures, labels: Labels, digest: str) -> None:
    """Write the pictures with their labels as `datasets` writes them, so that it reads the file too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features: dict[str, Any] = {"image": {"_type": "Image"}}
    columns = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    if labels.names:
        features["label"] = {"names": list(labels.names), "_type": "ClassLabel"}
        columns.append(pa.field("label", pa.int64()))
    about = json.dumps({"info": {"features": features}})
    schema = pa.schema(columns, metadata={"huggingface": about})
    found = _begun(len(items), labels)
    with pq.ParquetWriter(file, schema, compression="none") as writer:
        cells: list[dict[str, Any]] = []
        for number, (seen, one) in enumerate(_hashed(items), 1):
            found.update(seen)
            cells.append({"bytes": one if isinstance(one, bytes) else encode_png(one), "path": None})
            if len(cells) == GROUP or number == len(items):
                rows = {"image": cells, "label": labels.index[number - len(cells) : number]}
                arrays = [pa.array(rows[field.name], field.type) for field in columns]
                writer.write_table(pa.table(arrays, schema=schema))
                cells = []
    if found.hexdigest() != digest:
        raise SourceChanged("curate: a picture changed while it was read; start again when nobody writes to it")


# ── datasets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Hub:
    """The pictures of a `datasets.Dataset`, as stored: bytes, or the path of a file."""

    def __init__(self, dataset: Any, column: str) -> None:
        from datasets import Image

        self.rows, self.column = dataset.select_columns([column]).cast_column(column, Image(decode=False)), column

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[bytes | Path]:
        for row in self.rows:
            cell = row[self.column] or {}
            yield cell.get("bytes") or (Path(cell["path"]) if cell.get("path") else b"")


def _of_datasets(pictures: Any) -> bool:
    """Return whether these are rows or a column of the library `datasets`."""
    library = sys.modules.get("datasets")  # whoever has such rows has imported it
    kinds = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    return library is not None and isinstance(pictures, tuple(getattr(library, kind) for kind in kinds))


def _hub_columns(dataset: Any, labels: Any, names: Any) -> tuple[_Hub, Any, Any]:
    """The column of pictures, and the labels and names of the column of classes unless others are given."""
    if isinstance(dataset, Mapping):
        splits = ", ".join(map(str, dataset))
        raise SourceError(
            f"curate: pictures has several splits ({splits}); give one: pictures[{next(iter(dataset))!r}]"
        )
    kinds = {name: type(feature).__name__ for name, feature in (dataset.features or {}).items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    if len(images) != 1 or not hasattr(dataset, "__len__"):
        raise SourceError(
            f"curate: pictures has {len(images)} columns of pictures, of {', '.join(kinds) or 'none'}; give a "
            f"datasets.Dataset with one, which isn't streamed"
        )
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    if labels is None and len(classes) == 1:
        labels, names = list(dataset[classes[0]]), names or dataset.features[classes[0]].names
    return _Hub(dataset, images[0]), labels, names
