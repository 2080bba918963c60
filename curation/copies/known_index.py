"""An index of known pictures on disk, which grows by lists, editions and folders, and hashes nothing twice.

It is a folder with a part for each list and edition, and a few parts for each folder of pictures. A part appears when
it is whole, so a process that is killed leaves an index that the same command completes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from variorum.curation.copies.known import folder_part, merged
from variorum.curation.copies.parts import ABOUT, About, Part
from variorum.kit.copies.file_hashes import Looked, look_at
from variorum.machine.file_hashes import file_hashes
from variorum.machine.prefetch import batched
from variorum.machine.progress import QUIET, Progress
from variorum.machine.retrying import may_pass, passing, why
from variorum.schemas.canonical import digest
from variorum.schemas.errors import SourceError, StoreError

MARK = {"variorum": "known pictures", "format": 1}
"""Content of the file that tells an index from any other folder."""
BATCH = 4096
"""Pictures of a folder that are kept together; a process that is killed loses at most this many."""


class KnownIndex:
    """The index in a folder. Many processes may read it, and one at a time adds to it."""

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        """Open it.

        Args:
            folder: of the index.
            make: whether to make it, in a new or empty folder, if it doesn't exist.

        Raises:
            SourceError: there is no index, or the folder holds something else.
            StoreError: it can't be made.
        """
        self.folder = folder
        mark = folder / "index.json"
        try:
            there = json.loads(mark.read_bytes()) if mark.is_file() else None
        except (OSError, ValueError):
            there = "damaged"
        if there is None and make:
            with self._writing():
                folder.mkdir(parents=True, exist_ok=True)
                others = [one.name for one in folder.iterdir() if not one.name.startswith(f".{mark.name}")]
                if others and not mark.is_file():  # another process may be making it
                    raise SourceError(f"index {folder}: the folder holds other files; name a new folder")
                part = folder / f".{mark.name}-{os.getpid()}"
                part.write_text(json.dumps(MARK), encoding="utf-8")
                part.replace(mark)
        elif there is None:
            raise SourceError(f"index {folder}: there is none; make it with --blocklist, --edition or --folder")
        elif there != MARK:
            raise SourceError(f"index {folder}: index.json isn't of this version; name a new folder")

    def parts(self) -> list[Part]:
        """All parts, in the order of their names.

        Raises:
            SourceError: one is damaged.
        """
        return [part for _, part in self._parts()]

    def has(self, about: About) -> bool:
        """Return whether the list or edition is in it, with this content."""
        return (self._at(about) / ABOUT).is_file()

    def add(self, part: Part) -> bool:
        """Add a list or an edition, in place of an older one of its name. Returns whether there was one.

        Raises:
            StoreError: the disk is full or can't be written.
        """
        with self._alone():
            part.save(self._at(part.about))
            own = self._at(part.about)
            older = [at for at, _ in self._of(part.about.kind, part.about.name) if at != own]
            self._drop(older)
        return bool(older)

    def add_folder(self, name: str, files: Mapping[str, Path], progress: Progress = QUIET) -> tuple[int, list[Looked]]:
        """Add the pictures of a folder that it lacks. What it has of the folder stays, also if the file is gone.

        Returns:
            How many were new, and those of them that can't be read or decoded.

        Raises:
            StoreError: the disk is full or can't be written.
            TemporaryError: a disk, the network or the machine failed.
        """
        root = Path(os.path.commonpath([path.parent for path in files.values()])) if files else Path()
        with self._alone():
            had = {row.tobytes() for _, part in self._of("folder", name) for row in part.columns["files"].hashes}
            progress.start("hashing files", len(files))
            hashes = file_hashes(root, list(files.values()))
            progress.advance(len(files))
            new: dict[str, tuple[str, Path]] = {}
            for (one, path), sha256 in zip(files.items(), hashes, strict=True):
                if not sha256 or bytes.fromhex(sha256) not in had:
                    new.setdefault(sha256 or one, (one, path))
            progress.start("hashing pictures", len(new))
            bad: list[Looked] = []
            for some in batched(new.values(), BATCH):
                looked = []
                for few in look_at(some):
                    looked += few
                    progress.advance(len(few))
                bad += [one for one in looked if one.problem]
                if readable := [one for one in looked if one.sha256]:
                    part = folder_part(name, readable)
                    part.save(self._at(part.about))
            self._merge(name)
        return len(new), bad

    def _merge(self, name: str) -> None:
        """Replace small parts of a folder by one, so that their number grows with the logarithm of the pictures."""
        found = sorted(self._of("folder", name), key=lambda pair: pair[1].about.pictures)
        some: list[tuple[Path, Part]] = []
        total = 0
        for at, part in found:
            if some and part.about.pictures > 2 * total:
                break
            some.append((at, part))
            total += part.about.pictures
        if len(some) > 1:
            whole = merged(name, [part for _, part in some])
            whole.save(self._at(whole.about))
            self._drop([at for at, _ in some if at != self._at(whole.about)])

    def _parts(self) -> list[tuple[Path, Part]]:
        while True:
            places = [at for at in sorted((self.folder / "parts").glob("*")) if not at.name.startswith(".")]
            with suppress(FileNotFoundError):  # another process replaced one meanwhile
                return [(at, Part.load(at)) for at in places]

    def _of(self, kind: str, name: str) -> list[tuple[Path, Part]]:
        return [(at, part) for at, part in self._parts() if (part.about.kind, part.about.name) == (kind, name)]

    def _drop(self, places: Iterable[Path]) -> None:
        """Take parts away, each at once, so that no reader finds half of one."""
        for at in places:
            gone = at.with_name(f".part-{at.name}")
            at.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _at(self, about: About) -> Path:
        return self.folder / "parts" / digest([about.kind, about.name, about.content])[:32]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process adds. What one left that was killed is removed."""
        with self._writing(), (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in (self.folder / "parts").glob(".part-*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if may_pass(error):
                raise passing(self.folder, error) from error
            raise StoreError(f"index {self.folder} can't be written: {why(error)}") from error
