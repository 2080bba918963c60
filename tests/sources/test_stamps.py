"""Tux Paint's stamps are fetched by the system's package manager, here one that serves a tiny package."""

import os
import shutil
import subprocess

import pytest

from variorum.schemas.errors import SourceError, TemporaryError
from variorum.sources.exports import stamps

APT = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *update*) touch {lists};;
  *download*) [ -e {lists} ] || {{ echo "E: no lists" >&2; exit 100; }}; cp {package} .;;
esac
"""


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A machine without stamps whose apt-get has no lists yet; the file that its calls are written to."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("there is no dpkg-deb")
    tree = tmp_path / "tree"
    for name in (f"{stamps.DEBIAN}/animals/cat.png", stamps.COPYRIGHT, "DEBIAN/control"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: me <m@e>\nDescription: d\n")
    subprocess.run(["dpkg-deb", "-b", tree, tmp_path / "tiny.deb"], check=True, capture_output=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    paths = {"log": tmp_path / "log", "lists": tmp_path / "lists", "package": tmp_path / "tiny.deb"}
    (programs / "apt-get").write_text(APT.format(**paths))
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VARIORUM_STAMPS", raising=False)
    monkeypatch.setattr(stamps, "SYSTEM", tmp_path / "system")
    return tmp_path / "log"


def test_they_are_unpacked_into_the_cache_with_their_licence(apt, tmp_path):
    folder = stamps.fetch_stamps()
    assert folder == stamps.stamps_folder() == tmp_path / "cache" / "stamps" / "stamps"
    assert (folder / "animals" / "cat.png").is_file()
    assert (folder.parent / "copyright").is_file()
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["stamps"]
    calls = len(apt.read_text().splitlines())
    assert calls == 3  # without lists; own lists; with them
    assert stamps.fetch_stamps() == folder
    assert len(apt.read_text().splitlines()) == calls


def test_what_keeps_them_from_being_fetched_is_said(apt, tmp_path, monkeypatch):
    (tmp_path / "tiny.deb").write_bytes(b"")
    with pytest.raises(TemporaryError, match="dpkg-deb can't get tuxpaint-stamps-default"):
        stamps.fetch_stamps()
    assert stamps.stamps_folder() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="this system has no apt-get"):
        stamps.fetch_stamps()
