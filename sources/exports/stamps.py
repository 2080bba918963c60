"""Tux Paint's stamps: where they lie on this machine, and how to fetch them without root.

They are photographs of single things, cut out by hand, in Debian's package `tuxpaint-stamps-default` (GPL-2). They
aren't part of this project; each machine fetches them by its own package manager.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from variorum.machine.cache import cache_dir
from variorum.machine.retrying import steady
from variorum.machine.workplace import workplace
from variorum.schemas.errors import SourceError, TemporaryError
from variorum.schemas.lookup import cut

log = logging.getLogger(__name__)

PACKAGE = "tuxpaint-stamps-default"
DEBIAN = "usr/share/tuxpaint/stamps"
"""Their folder, from the root of the machine or of the unpacked package."""
COPYRIGHT = f"usr/share/doc/{PACKAGE}/copyright"
SYSTEM = Path("/", DEBIAN)
SIZE = 81_000_000
"""Bytes of the package."""
LICENCE = "GPL-2.0-or-later"
FETCH = "variorum doctor stamps --fetch"
ASKED = ("-qq", "-o", "Dpkg::Use-Pty=0")


def stamps_folder() -> Path | None:
    """The folder of Tux Paint's stamps: `$VARIORUM_STAMPS`, Debian's, or the fetched one; None if there is none."""
    named = os.environ.get("VARIORUM_STAMPS")
    places = [Path(named).expanduser()] if named else [SYSTEM, fetched_folder()]
    return next((place for place in places if place.is_dir()), None)


def fetched_folder() -> Path:
    """Where `fetch_stamps` puts them. The folder may not exist."""
    return cache_dir() / "stamps" / "stamps"


def stamps_there(table: Mapping[str, str], wanted: Literal["auto", "required", "none"], source: str) -> dict[str, str]:
    """The rows of a table, path to class, whose stamp is on this machine; nothing if none are wanted.

    Raises:
        SourceError: they are required and there are none. The message names the source.
    """
    folder = None if wanted == "none" else stamps_folder()
    files = {path: folder / path for path in table} if folder else {}
    found = {path: table[path] for path, file in files.items() if steady(file.is_file, file)}
    if wanted == "auto" and not found:
        _say_once(
            f"{source}: Tux Paint's stamps aren't here, so there are only the few photographs of Python packages; "
            f"fetch the stamps with `{FETCH}`, or name another source, such as a folder of photographs: --source FOLDER"
        )
    if wanted == "required" and not found:
        raise SourceError(
            f"{source}: the Tux Paint stamps are missing; fetch them with `{FETCH}`, set VARIORUM_STAMPS to their "
            "folder, or set stamps to auto"
        )
    return found


@cache
def _say_once(line: str) -> None:
    log.warning("%s", line)


def fetch_stamps() -> Path:
    """The folder of the stamps, which are downloaded into the cache if they are missing.

    apt downloads and verifies the package, and its photographs are unpacked. That needs no root, takes no lock of the
    package manager, and installs nothing.

    Raises:
        SourceError: this system has no apt, or the package can't be had.
        TemporaryError: the download failed.
    """
    if found := stamps_folder():
        return found
    if missing := [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]:
        raise SourceError(
            f"Tux Paint's stamps come by Debian's package manager, and this system has no {missing[0]}; unpack the "
            f"package {PACKAGE} of Debian or Ubuntu elsewhere, and set VARIORUM_STAMPS to its folder {DEBIAN}"
        )
    target = fetched_folder()
    try:
        with workplace(target.parent.parent) as folder:
            package = _downloaded(folder)
            unpacked = folder / "unpacked"
            _call(["dpkg-deb", "-x", str(package), str(unpacked)], folder)
            if not (unpacked / DEBIAN).is_dir():
                raise SourceError(f"{package.name} has no folder {DEBIAN}; install another version of it")
            whole = folder / target.parent.name
            whole.mkdir()
            (unpacked / DEBIAN).rename(whole / target.name)
            if (unpacked / COPYRIGHT).is_file():
                (unpacked / COPYRIGHT).rename(whole / "copyright")
            if not target.is_dir():  # another process may have been first
                whole.rename(target.parent)
    except OSError as error:
        raise SourceError(f"{target} can't be written: {error.strerror or error}") from error
    return target


def _downloaded(folder: Path) -> Path:
    """The package's file, downloaded into a folder. Where the system's lists are missing or old, own ones are made."""
    try:
        _call(["apt-get", *ASKED, "download", PACKAGE], folder)
    except TemporaryError:
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        own = [f"Dir::State::lists={folder}/lists", f"Dir::Cache={folder}", "Debug::NoLocking=1"]
        options = [word for value in own for word in ("-o", value)]
        _call(["apt-get", *ASKED, *options, "update"], folder)
        _call(["apt-get", *ASKED, *options, "download", PACKAGE], folder)
    found = sorted(folder.glob("*.deb"))
    if not found:
        raise TemporaryError(f"apt-get gave no file for {PACKAGE}; run the same command again")
    return found[0]


def _call(command: Sequence[str], folder: Path) -> None:
    """Run a command in a folder. Raises TemporaryError, with the last thing that it says, if it fails."""
    words = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, errors="replace", check=False, cwd=folder, env=words
    )
    if done.returncode:
        lines = done.stderr.splitlines()
        said = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")] or lines or ["it gave no reason"]
        raise TemporaryError(f"{command[0]} can't get {PACKAGE}: {cut(said[0])}")
