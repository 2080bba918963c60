"""The files of a dataset that `datasets` reads, on this machine or at URLs, compared with what they were at first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from variorum.machine.file_hashes import pin_files
from variorum.machine.retrying import Pinned, check_pinned, printable, read_pinned
from variorum.schemas.secrets import shown
from variorum.sources.folders.folder import is_picture
from variorum.sources.tars.bytes import LARGEST_PICTURE
from variorum.sources.tars.ranges import check_remote, describe
from variorum.sources.web.hosts import host_may_pass, patiently, refused
from variorum.sources.web.urls import one_line

HUB = "hf://"


class HubFiles:
    """Files of the Hub or of a disk. Those on the Hub have a commit in their URL, so they can't change."""

    def __init__(self) -> None:
        self._pins: dict[str, Pinned] = {}
        self._versions: dict[str, tuple[int | None, str]] = {}

    def pin(self, files: Sequence[str]) -> dict[str, str]:
        """sha256 by path of those files that are on this machine; `""` for one that can't be read.

        Raises:
            SourceError: a file at a URL isn't there.
            SourceChanged: a local one is gone since it was listed.
            TemporaryError: the disk, the network, a host or the machine failed.
        """
        local = [Path(file) for file in files if "://" not in file and file not in self._pins]
        self._pins.update(zip(map(str, local), pin_files(folder_of(local), local, listed=True), strict=True))
        for file in files:
            if "://" in file and not file.startswith(HUB) and file not in self._versions:
                self._versions[file] = describe(file)
        return {file: self._pins[file].sha256 for file in files if "://" not in file}

    def check(self, files: Sequence[str]) -> None:
        """Compare files, of which some are read, with what was pinned; pictures are compared when they are read.

        Raises:
            SourceChanged: one is another, or gone.
            TemporaryError: the disk, the network, a host or the machine failed.
        """
        self.pin(files)
        for file in files:
            if file in self._versions:
                check_remote(file, *self._versions[file])
            elif file in self._pins and not is_picture(file):
                self._pins[file] = check_pinned(Path(file), self._pins[file], file)

    def picture(self, path: str) -> bytes:
        """The content of a picture: a file, or a member of an archive (`zip://a.png::file.zip`).

        Raises:
            OSError: it can't be read.
            SourceChanged: it isn't the one that was pinned.
            TemporaryError: the disk, the network, a host or the machine failed.
        """
        if "://" not in path:
            self.pin([path])
            return read_pinned(Path(path), self._pins[path], path)
        from fsspec import open as open_url

        def read() -> bytes:
            with open_url(path, "rb") as file:
                return bytes(file.read(LARGEST_PICTURE + 1))

        try:
            data = patiently(read)
        except Exception as error:  # those of file systems, of clients of the Hub, and of zip files
            if host_may_pass(error) or "::" not in path:
                raise refused(error, path, pinned=True) from None
            raise OSError(f"{printable(shown(path))} can't be read: {one_line(error)}") from None
        if len(data) > LARGEST_PICTURE:
            raise OSError(f"{printable(shown(path))} has more than {LARGEST_PICTURE} bytes")
        return data


def folder_of(paths: Sequence[Path]) -> Path:
    """The folder that all of these files lie in."""
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
