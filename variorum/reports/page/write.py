"""Writes the page of an edition, or of the differences between two, to its place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from variorum.edition.editions import folder_of
from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.machine.workplace import workplace
from variorum.reports.page.diff_page import diff_page
from variorum.reports.page.edition_page import edition_page
from variorum.reports.page.facts import links_of
from variorum.reports.page.html import write_page
from variorum.reports.page.parts import LIMIT, MOST, Parts, name_of
from variorum.reports.page.phrases import check_phrases
from variorum.schemas.component import ClassInfo, Models
from variorum.schemas.errors import StoreError, VariorumError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest
from variorum.schemas.outgoing import Outgoing

PAGE = "view.html"
"""Name of an edition's page in the edition's folder."""
ENDINGS = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class Written:
    """A page that was written.

    Attributes:
        path: of the file; a URL in a store that isn't on this machine.
        rows: of its table, pictures that couldn't be made included.
        pictures: that it shows.
        size: of the file in bytes.
        left_out: number of pictures that may not leave this machine, by reason.
    """

    path: str
    rows: int
    pictures: int
    size: int
    left_out: Mapping[str, int] = field(default_factory=dict)

    def said(self) -> str:
        """All that in a line."""
        missed = "".join(f", {number:,} {reason} left out" for reason, number in self.left_out.items())
        return f"{self.path}: {self.pictures} pictures, {self.size / 1e6:.1f} MB{missed}"


def write_view(
    manifest: Manifest,
    store: Store,
    other: Manifest | None = None,
    other_store: Store | None = None,
    *,
    to: str | Path | None = None,
    most: int = MOST,
    with_map: bool = True,
    blur: bool = False,
    known: Sequence[ClassInfo] = (),
    pictures: bool = False,
    phrases: Sequence[str] = (),
    models: Models | None = None,
    progress: Progress = QUIET,
) -> Written:
    """Write the page of an edition, or of the differences to another one.

    Pictures are read in order, a few at a time, and the file is written as they come. It gets its name only when it is
    complete. Nothing else of the edition changes.

    Args:
        manifest: the edition.
        store: its store.
        other: the later edition of a difference.
        other_store: the store of that, if it is another one.
        to: file to write, ending in `.html`; by default `view.html`, or `diff-<other>.html`, in the edition's folder.
        most: pictures that are shown; of more, a sample is.
        with_map: whether to arrange the pictures by their embeddings, where the edition was curated with some.
        blur: whether pictures are blurred until they are looked at. Those of an edition with a content warning are
            blurred in the file itself.
        known: classes that evaluated models may have in this order, such as ImageNet's: they name answers that are no
            class of the edition.
        pictures: whether larger versions of all pictures are written into a folder beside the page; with `to` only.
        phrases: that the pictures are compared with, so that the page can be sorted by them; not of a difference.
        models: has the model that compares them.
        progress: gets phases and steps.

    Raises:
        VariorumError: `most` is out of range, `to` isn't a page's name, or phrases can't be searched for.
        ModelUnavailable: there are phrases, and no model that compares them.
        StoreError: the file can't be written.
        CorruptShard: a table, shard or picture of the edition is damaged.
    """
    if not 1 <= most <= LIMIT:
        raise VariorumError(f"most is {most}; a page has room for 1 to {LIMIT} pictures")
    check_phrases(phrases, models)
    if pictures and to is None:
        raise VariorumError("pictures are written beside a page of their own: name its file with --to")
    if phrases and other is not None:
        raise VariorumError("search: a page of differences can't be searched by meaning; give one edition")
    place = _Place(manifest, store, other, None if to is None else Path(to))
    if other is None:
        parts = edition_page(
            manifest,
            store,
            progress,
            most=most,
            with_map=with_map,
            blur=blur,
            known=known,
            phrases=phrases,
            available=models,
        )
    else:
        parts = diff_page((manifest, store), (other, other_store or store), most=most, blur=blur)
    if other is None and place.lies_beside():
        parts.facts["links"] = links_of(manifest, store)
    folder = Path(to).with_name(f"{Path(to).stem}-pictures") if pictures and to is not None else None
    if folder is not None:
        parts.facts["beside"] = folder.name
    with place.opened() as file:
        _write(file, parts, progress, folder)
        file.flush()
        size = file.tell()
    kept = Outgoing()
    for gate in {one.gate for entry in parts.entries for one in entry.places if one}:
        kept.kept.update(gate.kept)
    return Written(place.address, len(parts.entries), parts.pictures - len(kept.kept), size, kept.counts())


def _write(file: IO[bytes], parts: Parts, progress: Progress, folder: Path | None) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    write_page(file, parts.facts, parts.table, *parts.streams(progress, folder))


class _Place:
    """The file that a page becomes. Raises StoreError, before any work, if it can't be written."""

    def __init__(self, manifest: Manifest, store: Store, other: Manifest | None, to: Path | None) -> None:
        self.store, self.to = store, to
        self.file = PAGE if other is None else f"diff-{name_of(other)}.html"
        self.folder = folder_of(manifest, store)
        if to is not None:
            if to.suffix.lower() not in ENDINGS:
                raise VariorumError(f"{cut(str(to))}: a page's name ends in .html")
        elif not store.can_write() or (store.local and not os.access(self.folder, os.W_OK)):
            raise self._refused("can't be written")
        elif store.local:
            store.make_folder(self.folder)  # says whether a link leads out of the store
        if (to is not None or store.local) and os.path.isdir(self.name):
            raise StoreError(f"{self.name}: is a folder; name a file with --to")

    @property
    def name(self) -> str:
        """Path, in a store on another machine as its file system has it."""
        return str(self.to) if self.to else f"{self.folder}/{self.file}"

    @property
    def address(self) -> str:
        """Path, or URL in a store on another machine."""
        remote = self.to is None and not self.store.local
        return str(self.store.fs.unstrip_protocol(self.name)) if remote else self.name

    def lies_beside(self) -> bool:
        """Return whether the page lies in the edition's folder, so that it can link to the files there."""
        if self.to is None:
            return True
        return bool(self.store.local) and self.to.absolute().parent.resolve() == Path(self.folder).resolve()

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """A file that gets its name after the `with` block, unless an error ends it."""
        try:
            with self._temporary() as path:
                with path.open("wb") as file:
                    yield file
                if self.to or self.store.local:
                    path.replace(self.name)
                else:
                    self.store.fs.put_file(str(path), self.name)
        except OSError as error:
            if error.filename is None or self._is_mine(Path(error.filename)):
                raise self._refused(error.strerror or str(error)) from error
            raise

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        if self.to is None:
            with self.store.temporary(".html") as path:
                yield path
        else:
            with workplace(self.to.absolute().parent) as folder:
                yield folder / self.to.name

    def _is_mine(self, path: Path) -> bool:
        """Return whether an error is about the page's own file or folder, not about one that is read."""
        final = Path(self.name).absolute()
        return path in (final, *final.parents) or final.parent in path.parents

    def _refused(self, why: str) -> StoreError:
        return StoreError(f"{self.name}: {why}; write the page to another file with --to")
