"""Large files that are read in parts: pinned by content, and compared with that before and after a unit's reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from variorum.machine.file_hashes import pin_files
from variorum.machine.retrying import Pinned, check_pinned
from variorum.schemas.errors import SourceError

T = TypeVar("T")


class PinnedFiles:
    """Files by their absolute paths, as they were when they were pinned. Threads may share it."""

    def __init__(self, where: str) -> None:
        self.pins: dict[str, Pinned] = {}
        self._where = where

    def pin(self, root: Path, paths: Sequence[Path]) -> list[str]:
        """sha256 of each file.

        Raises:
            SourceError: one can't be read.
            SourceChanged: one is gone since it was listed.
            TemporaryError: the disk, the network or the machine failed.
        """
        for path, pinned in zip(paths, pin_files(root, paths, listed=True), strict=True):
            if not pinned.sha256:
                raise SourceError(f"{self._where}: {path} can't be read: {pinned.why}")
            self.pins[str(path)] = pinned
        return [self.pins[str(path)].sha256 for path in paths]

    def check(self, paths: Iterable[str]) -> None:
        """Compare files with their pins.

        Raises:
            SourceChanged: one has another content, or is gone.
            TemporaryError: the disk, the network or the machine failed, or a folder is gone.
        """
        for path in paths:
            self.pins[path] = check_pinned(Path(path), self.pins[path], path)

    def through(self, paths: Sequence[str], items: Iterable[T]) -> Iterator[T]:
        """Items that are read from these files; see `guarded`. Raises as `check` does."""
        return guarded(lambda: self.check(paths), items)


def guarded(check: Callable[[], object], items: Iterable[T]) -> Iterator[T]:
    """Items that are read from files, which are checked before the first and before the last one is given.

    So who takes all of them has none of a file that was changed meanwhile.

    Args:
        check: raises an error if a file isn't the one that was pinned.
        items: they are read while they are taken; none is None.
    """
    check()
    last: T | None = None
    try:
        for item in items:
            if last is not None:
                yield last
            last = item
    except SourceError:
        check()  # what is wrong may be the change
        raise
    check()
    if last is not None:
        yield last
