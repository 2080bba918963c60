"""Reads pictures and labels one by one: of lists, PyTorch's datasets, streams of pairs and webdataset's pipelines.

What can be read only once is kept in the cache as it comes, so memory doesn't grow with the number of pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.api.given_tables import (
    AUTO,
    Found,
    given,
    hub_kinds,
    hub_names,
    kind_of_value,
    label_column,
    of_datasets,
    path_in,
    paths_of,
    picture_column,
    picture_in,
    undecoded,
)
from variorum.api.one_picture import WHAT, array_of, kind_of, picture
from variorum.machine.workplace import workplace
from variorum.pixels import encode_png
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Pixels

SPOOL = 64
"""Pictures that are in memory at a time while a stream is read."""
FILE_LOADERS = ("default_loader", "pil_loader", "accimage_loader")
"""torchvision's functions that read a picture's file, and nothing else."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture that has been read: its hash, and its bytes or those of a PNG."""

    seen: bytes
    data: bytes


def hashed(item: Any, where: str) -> tuple[bytes, Pixels | bytes]:
    """The hash of a picture, and the picture. Raises SourceError if it is none."""
    if isinstance(item, Stored):
        return item.seen, item.data
    one = picture(item, where)
    if isinstance(one, bytes):
        return hashlib.sha256(b"file" + one).digest(), one
    content = np.ascontiguousarray(one)
    return hashlib.sha256(f"{content.shape}".encode() + content.data).digest(), content


def of_items(pictures: Any, labels: Any, names: Any, cache: Path, held: ExitStack) -> Found:
    """Find pictures and labels in anything that isn't a table.

    Args:
        pictures: anything.
        labels: `auto`, the key of a row, a label per picture, or None.
        names: of the classes, or None.
        cache: folder in which a stream is kept while it is read.
        held: closes what is kept there.

    Raises:
        SourceError: these are no pictures; the message says what they are and what to give.
    """
    if type(pictures).__name__.endswith("DataLoader"):
        raise SourceError(
            "curate: pictures is a DataLoader, which gives batches of tensors; give its dataset, loader.dataset, "
            "without a transform"
        )
    if (files := _files(pictures)) is not None:
        values = [label for _, label in files] if _own(labels) else _per_picture(labels)
        paths = tuple(path for path, _ in files)
        note = "the dataset's transform isn't applied: the files are read as they are" if _changes(pictures) else ""
        return Found(list(paths), values, names or (class_names(pictures) if _own(labels) else None), paths, note)
    if isinstance(pictures, list | tuple) and pictures and all(_is_pair(one) for one in pictures):
        found = [one for one, _ in pictures]
        values = [label for _, label in pictures] if _own(labels) else _per_picture(labels)
        return _told(found, values, names)
    refused = isinstance(pictures, Mapping | bytes | str | Set)
    rows = isinstance(pictures, list | tuple) and bool(pictures) and isinstance(pictures[0], Mapping)
    if not rows and (hasattr(pictures, "__array__") or (isinstance(pictures, Sequence) and not refused)):
        return _told(_sequence(pictures), _per_picture(labels), names)
    by_position = hasattr(pictures, "__getitem__") and hasattr(pictures, "__len__")
    if refused or not (by_position or isinstance(pictures, Iterable)):
        raise SourceError(f"curate: pictures is {kind_of(pictures)}; it must be {WHAT}")
    return _spooled(pictures, labels, names, cache, held)


def _own(labels: Any) -> bool:
    """Return whether the labels are those that the pictures come with."""
    return isinstance(labels, str) and labels == AUTO


def _per_picture(labels: Any) -> Any:
    """Labels for pictures that come without a table: one per picture, or None."""
    if isinstance(labels, str) and labels != AUTO:
        raise SourceError(
            f"curate: labels is the text {cut(repr(labels))}, and these pictures have no columns; give a list, one "
            f"label per picture"
        )
    return given(labels)


def _told(pictures: Any, labels: Any, names: Any) -> Found:
    return Found(pictures, labels, names, paths_of(pictures) if isinstance(pictures, list) else None)


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2


def _sequence(pictures: Any) -> Any:
    """A list of pictures, or one array of several. Raises SourceError for one picture alone or none."""
    if hasattr(pictures, "__array__") and not isinstance(pictures, list | tuple):
        array = array_of(pictures, "pictures")
        if array.dtype != object or array.ndim > 1:  # a Series of paths has one axis
            if array.ndim < 3 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4)):
                raise SourceError(
                    f"curate: pictures has shape {list(array.shape)}, one picture or none; several are [N, H, W, 3], "
                    f"[N, H, W], or a list"
                )
            pictures = array
    return pictures if isinstance(pictures, np.ndarray) else list(pictures)


# ── datasets of PyTorch ──────────────────────────────────────────────────────────────────────────────────────────────


def _files(dataset: Any) -> list[tuple[str, Any]] | None:
    """Path and label of each picture of torchvision's `ImageFolder`, or of a `Subset` of one.

    None of other things, and of one whose labels are changed as they are read.
    """
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        inner = _files(dataset.dataset)
        return None if inner is None else [inner[int(place)] for place in dataset.indices]
    found, loader = getattr(dataset, "samples", None), getattr(dataset, "loader", None)
    if not isinstance(found, list) or getattr(loader, "__name__", "") not in FILE_LOADERS:
        return None
    if getattr(dataset, "target_transform", None):
        return None
    return found if all(_is_pair(one) and isinstance(one[0], str) for one in found) else None


def _changes(dataset: Any) -> bool:
    """Return whether a dataset, or the one that it is a part of, has a transform."""
    own = getattr(dataset, "transform", None) or getattr(dataset, "transforms", None)
    return bool(own) or (hasattr(dataset, "dataset") and _changes(dataset.dataset))


def class_names(dataset: Any) -> list[str] | None:
    """Names of a dataset's classes by number, or None. ImageNet's are its wnids, as two classes share a name."""
    while not hasattr(dataset, "classes") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    found = getattr(dataset, "wnids", None) or getattr(dataset, "classes", None)
    usable = isinstance(found, list | tuple) and all(isinstance(one, str) for one in found)
    return list(found) if usable and found else None


# ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Spool:
    """Pictures of a stream, kept in a file so that they can be read again."""

    def __init__(self, file: Path, pictures: int) -> None:
        self.file, self.pictures = file, pictures

    def __len__(self) -> int:
        return self.pictures

    def __iter__(self) -> Iterator[Stored]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.file) as kept:
            for group in range(kept.num_row_groups):  # iter_batches would hold all that it has read
                yield from (Stored(row["seen"], row["data"]) for row in kept.read_row_group(group).to_pylist())


@dataclass(frozen=True, slots=True)
class _Form:
    """How the items of a stream hold a picture and its label: as pairs, as rows with these keys, or as neither.

    Attributes:
        pair: whether they are pairs.
        picture: key of the picture, `""` unless they are rows.
        label: key of the label, or None.
    """

    pair: bool = False
    picture: str = ""
    label: str | None = None

    def parts(self, item: Any, where: str) -> tuple[Any, Any, str | None]:
        """The picture, its label and where it comes from. Raises SourceError for an item of another form."""
        if self.picture:
            if not isinstance(item, Mapping) or self.picture not in item:
                raise SourceError(f"curate: {where} isn't a row with {self.picture!r}, as those before it are")
            cell, label = item[self.picture], item.get(self.label) if self.label else None
            place = [one for one in (item.get("__url__"), item.get("__key__")) if isinstance(one, str)]
            return picture_in(cell), _plain(label), "/".join(place) or path_in(cell)
        if self.pair != _is_pair(item) and not (self.pair and isinstance(item, list) and len(item) == 2):
            raise SourceError(
                f"curate: {where} is {kind_of(item)}; items must all be pairs of picture and label, or none"
            )
        one, label = item if self.pair else (item, None)
        return one, label, path_in(one)


def _plain(label: Any) -> Any:
    """A label that a tar holds as bytes, as the number or the text that it is."""
    if not isinstance(label, bytes):
        return label
    text = label.decode(errors="replace").strip()
    return int(text) if text.lstrip("-").isdecimal() else text


def _form(first: Any, stream: Any, labels: Any) -> _Form:
    if isinstance(first, Mapping):
        rows = {name: value for name, value in first.items() if not str(name).startswith("__")}
        if "__key__" in first:  # webdataset: `mask.png` isn't the sample's picture
            rows = {name: value for name, value in rows.items() if "." not in name}
        kinds = hub_kinds(stream, rows) if of_datasets(stream) else {k: kind_of_value(v) for k, v in rows.items()}
        key = picture_column(kinds)
        return _Form(picture=key, label=label_column(kinds, key, labels))
    if isinstance(first, tuple | list) and len(first) == 2:
        return _Form(pair=True)
    return _Form()


def _spooled(stream: Any, labels: Any, names: Any, cache: Path, held: ExitStack) -> Found:
    """Read a stream once, and keep its pictures in a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = undecoded(stream) if of_datasets(stream) else stream
    items = _items(rows)
    first = next(items, None)
    form = _form(first, rows, labels)
    if first and rows is not stream and "://" in (path_in(first[form.picture]) or ""):
        items = _items(stream)  # `datasets` opens what lies in an archive or on another machine
        first = next(items, None)
    if not form.picture:
        _per_picture(labels)  # names no column
    file = held.enter_context(workplace(cache)) / "stream.parquet"
    schema = pa.schema([("seen", pa.binary()), ("data", pa.binary())])
    read, paths, number = list[Any](), list[Any](), 0
    with pq.ParquetWriter(file, schema, compression="none") as writer:
        cells = list[dict[str, bytes]]()
        for number, item in enumerate(() if first is None else chain([first], items), 1):
            where = f"pictures[{number - 1}]"
            one, label, path = form.parts(item, where)
            if type(one).__module__.startswith("torch") and hasattr(one, "dtype"):
                raise SourceError(
                    f"curate: {where} is a tensor of {one.dtype} {list(one.shape)}, which a transform has made; give "
                    f"the dataset without one: dataset.transform = None"
                )
            seen, content = hashed(one, where)
            cells.append({"seen": seen, "data": content if isinstance(content, bytes) else encode_png(content)})
            read.append(label)
            paths.append(path)
            if len(cells) == SPOOL:
                writer.write_table(pa.Table.from_pylist(cells, schema))
                cells = []
        writer.write_table(pa.Table.from_pylist(cells, schema))
    values = labels
    if isinstance(labels, str):
        values = read if form.pair or form.label else None
        declared = hub_names(rows, form.label) if of_datasets(rows) else class_names(stream)
        names = names or (declared if values else None)
    return Found(Spool(file, number), values, names, tuple(paths) if paths and all(paths) else None)


def _items(stream: Any) -> Iterator[Any]:
    """The items of a stream, or of a dataset that gives them by position only."""
    if not hasattr(stream, "__iter__"):
        return (stream[place] for place in range(len(stream)))
    return iter(stream)
