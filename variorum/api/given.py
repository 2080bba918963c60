"""Checks pictures and labels from Python, and keeps them in one parquet file that the pipeline reads.

The file lies in this machine's cache under the hash of its content, so the same pictures are kept once, and a second
call reuses finished work. Arrays become PNG without loss; files keep their own bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from variorum.api.arguments import path_of
from variorum.api.edition import Edition
from variorum.api.given_items import hashed, of_items
from variorum.api.given_tables import AUTO, ENDINGS, of_table
from variorum.api.labels import Labels, read_labels
from variorum.api.one_picture import WHAT
from variorum.machine.cache import cache_dir
from variorum.machine.retrying import printable, why
from variorum.machine.workplace import workplace
from variorum.pixels import encode_png
from variorum.schemas.errors import SourceChanged, SourceError, StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.secrets import shown
from variorum.sources.parquet import ORIGIN
from variorum.sources.webdataset import LABEL, Webdataset

if TYPE_CHECKING:
    from variorum.arrays import Pixels

FILE = "pictures.parquet"
GROUP = 100
"""Pictures in a row group of the file: a unit that starts inside a group has to read the rows before it too."""

TABLES = {
    ".parquet": "give datasets.Dataset.from_parquet({!r})",
    ".csv": "give pandas.read_csv({!r}), with a column of paths",
    ".json": "give pandas.read_json({!r}), with a column of paths",
    ".jsonl": "give pandas.read_json({!r}, lines=True), with a column of paths",
}
"""What to give in place of a file that has a table, by its ending."""


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
        paths: of each picture, where all have one.
        unlabelled: whether the pictures shall have no labels.
        note: what is different from what one may expect.
    """

    source: Mapping[str, Any]
    dataset: str
    labels: Labels | None
    paths: tuple[str, ...] | None = None
    unlabelled: bool = False
    note: str = ""


def read_given(pictures: Any, labels: Any = AUTO, names: Sequence[str] | None = None) -> Given:
    """Check pictures and labels, and keep the pictures where the pipeline reads them.

    Args:
        pictures: see `variorum.curate`.
        labels: one per picture; the name of the column that has them; `auto` for those that the pictures come with; or
            None for none.
        names: of the classes, by integer label.

    Raises:
        SourceError: something else was given, or it isn't clear what the labels are; the message says what to give.
        StoreError: the cache can't be written.
    """
    if isinstance(pictures, Edition):
        return _edition(pictures, labels, names)
    if (tars := _tars(pictures)) is not None:
        return _webdataset(tars, labels, names)
    if isinstance(pictures, str | os.PathLike):
        return _folder(path_of("curate: pictures", pictures), labels, names)
    with ExitStack() as held:
        try:
            found = of_table(pictures, labels, names) or of_items(
                pictures, labels, names, cache_dir() / "pictures", held
            )
        except OSError as error:
            raise _unkept(cache_dir() / "pictures", error) from None
        if not len(found.pictures):
            raise SourceError(f"curate: pictures is empty; it must be {WHAT}")
        known = read_labels(found.labels, found.names, len(found.pictures))
        kept = _Kept(found.pictures, known, _origins(found.paths or ()))
        digest = kept.digest()
        file = kept.file(digest)
    source: dict[str, Any] = {"name": "parquet", "files": str(file), "image": "image", "split": "none"}
    if known.names:
        source["label"] = "label"
    return Given(source, f"pictures_{digest[:12]}", known, found.paths, labels is None, found.note)


def _folder(path: Path, labels: Any, names: Any) -> Given:
    if not path.is_dir():
        what = "a file" if path.exists() else "not there"
        way = TABLES.get(path.suffix, "give a folder, or a list of files")
        raise SourceError(f"curate: {cut(str(path))} is {what}; {way.format(cut(str(path)))}")
    if names is not None or not (labels is None or _auto(labels)):
        raise SourceError(
            "curate: a folder's labels are the folders that its pictures lie in; to give labels, give a list of files"
        )
    path = path.absolute()
    source = {"name": "image_folder", "path": str(path), **({"labels": "none"} if labels is None else {})}
    return Given(source, _name(path.name), None, unlabelled=labels is None)


def _edition(edition: Edition, labels: Any, names: Any) -> Given:
    if names is not None or not _auto(labels):
        raise SourceError(f"curate: {edition.name} has labels of its own; leave labels and names out")
    source = {"name": "edition", "edition": edition.name, "store": edition.store.url}
    return Given(source, f"{edition.manifest.dataset}_curated", None)


def _tars(pictures: Any) -> list[str] | None:
    """The paths, patterns or URLs of WebDataset tars; None if these are none."""
    given = [pictures] if isinstance(pictures, str | os.PathLike) else pictures
    if not isinstance(given, list | tuple) or not all(isinstance(one, str | os.PathLike) for one in given):
        return None
    found = [os.fspath(one) for one in given]
    if found and all(urlsplit(one).path.endswith(".tar") for one in found if isinstance(one, str)):
        return [os.path.expanduser(one) for one in found]
    if odd := next((one for one in found if "://" in one or one.startswith("pipe:")), None):
        raise SourceError(
            f"curate: {shown(odd)} can't be read; of URLs those of WebDataset tars can: "
            f"https://example.org/train-{{000..099}}.tar"
        )
    return None


def _webdataset(tars: list[str], labels: Any, names: Any) -> Given:
    """The source of WebDataset tars. Raises SourceError unless it is clear which member has the labels."""
    source: dict[str, Any] = {"name": "webdataset", "shards": tars}
    if labels is not None and not isinstance(labels, str):
        raise SourceError(
            "curate: the labels of tars are in their members; name the member, as in labels='cls' or "
            "labels='json.label', or labels=None for pictures without labels"
        )
    if _auto(labels):
        there = Webdataset(shards=tuple(tars)).endings()
        others = sorted(one for one in there if f".{one}" not in ENDINGS)
        if LABEL not in there and others:
            raise SourceError(
                f"curate: the tars have no member {LABEL!r} with the labels; their members are "
                f"{', '.join(sorted(map(cut, there)))}; name one, as in labels='json.label', or labels=None for "
                f"pictures without labels"
            )
    else:
        source["label"] = labels
    if names is not None:
        source["class_names"] = list(names)
    return Given(
        source, _name(re.split(r"[{*\[]", Path(urlsplit(tars[0]).path).stem)[0]), None, unlabelled=labels is None
    )


def _auto(labels: Any) -> bool:
    return isinstance(labels, str) and labels == AUTO


def _name(name: str) -> str:
    """The beginning of an edition's name."""
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")[:60] or "pictures"


def _origins(paths: Sequence[str]) -> list[str]:
    """Where pictures come from, for people: paths from the folder that all lie in, which doesn't tell where that is."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    except ValueError:  # some are absolute
        return [printable(os.path.basename(path)) for path in paths]
    return [printable(os.path.relpath(path, folder or os.curdir)) for path in paths]


@dataclass(frozen=True)
class _Kept:
    """Pictures and what is known of them, as they are kept in one file."""

    pictures: Pictures
    labels: Labels
    origins: Sequence[str]

    def digest(self) -> str:
        """Digest of all pictures, labels and origins."""
        found = self._begun()
        for seen, _ in self._hashed():
            found.update(seen)
        return str(found.hexdigest())

    def _begun(self) -> Any:
        """A hash of the labels and origins, to which the pictures are added."""
        known = ["pictures", len(self.pictures), self.labels.names, *([self.origins] if self.origins else [])]
        found = hashlib.sha256(json.dumps(known).encode())
        found.update(self.labels.index.tobytes())
        return found

    def _hashed(self) -> Iterator[tuple[bytes, Pixels | bytes]]:
        """Each picture with its hash."""
        for number, item in enumerate(self.pictures):
            yield hashed(item, f"pictures[{number}]")

    def file(self, digest: str) -> Path:
        """The parquet file with these pictures, written unless it is there."""
        folder = cache_dir() / "pictures" / digest[:32]
        file = folder / FILE
        if _whole(file, len(self.pictures)):
            return file
        try:
            with workplace(folder) as place:
                fresh = place / FILE
                self._write(fresh, digest)
                fresh.replace(file)
        except OSError as error:
            raise _unkept(folder.parent, error) from None
        return file

    def _write(self, file: Path, digest: str) -> None:
        """Write the pictures with their labels as `datasets` writes them, so that it reads the file too."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        features: dict[str, Any] = {"image": {"_type": "Image"}}
        columns = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
        if self.labels.names:
            features["label"] = {"names": list(self.labels.names), "_type": "ClassLabel"}
            columns.append(pa.field("label", pa.int64()))
        if self.origins:
            features["origin"] = {"dtype": "string", "_type": "Value"}
            columns.append(pa.field("origin", pa.string(), metadata={ORIGIN: "true"}))
        about = json.dumps({"info": {"features": features}})
        schema = pa.schema(columns, metadata={"huggingface": about})
        found, number = self._begun(), len(self.pictures)
        with pq.ParquetWriter(file, schema, compression="none") as writer:
            cells: list[dict[str, Any]] = []
            for end, (seen, one) in enumerate(self._hashed(), 1):
                found.update(seen)
                cells.append({"bytes": one if isinstance(one, bytes) else encode_png(one), "path": None})
                if len(cells) == GROUP or end == number:
                    part = slice(end - len(cells), end)
                    rows = {"image": cells, "label": self.labels.index[part], "origin": self.origins[part]}
                    arrays = [pa.array(rows[field.name], field.type) for field in columns]
                    writer.write_table(pa.table(arrays, schema=schema))
                    cells = []
        if found.hexdigest() != digest:
            raise SourceChanged("curate: a picture changed while it was read; start again when nobody writes to it")


def _whole(file: Path, rows: int) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_metadata(file).num_rows == rows)
    except (OSError, pa.ArrowException):
        return False


def _unkept(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"curate: the pictures can't be kept in {folder}: {why(error)}; set VARIORUM_CACHE to a folder with room for "
        f"them"
    )
