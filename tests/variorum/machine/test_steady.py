import errno
import hashlib
import os
import socket
import stat
from pathlib import Path

import pytest

from variorum.machine import retrying as module
from variorum.machine.retrying import (
    Pinned,
    check_pinned,
    gone,
    hash_content,
    may_pass,
    passing,
    printable,
    read_file,
    read_pinned,
    stamp_of,
    steady,
)
from variorum.schemas.errors import SourceChanged, TemporaryError


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))


def failing(*errors: Exception):
    """A function that raises these, one at a call, and then returns `done`."""
    left = list(errors)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def pinned(path: Path) -> Pinned:
    return Pinned(hashlib.sha256(path.read_bytes()).hexdigest(), stamp_of(path.stat()))


PASSING = [
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.EBUSY,
]
LASTING = [errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO]


@pytest.mark.parametrize("code", PASSING)
def test_errors_that_may_pass_are_tried_again_and_then_raised(code):
    assert may_pass(os_error(code))
    assert steady(failing(os_error(code), os_error(code), os_error(code)), "x") == "done"
    with pytest.raises(TemporaryError, match=r"^a.png: can't be read now .*run the same command again"):
        steady(failing(*[os_error(code)] * 4), "a.png")


@pytest.mark.parametrize("code", LASTING)
def test_errors_that_say_something_of_the_file_are_raised_at_once(code):
    assert not may_pass(os_error(code))
    with pytest.raises(OSError, match=os.strerror(code)):
        steady(failing(os_error(code)), "x")
    assert steady(failing(os_error(code)), "x", readable=True) == "done"
    with pytest.raises(OSError, match=os.strerror(code)):
        steady(failing(*[os_error(code)] * 4), "x", readable=True)


def test_memory_time_and_connections_may_pass():
    for error in (MemoryError(), TimeoutError(), ConnectionResetError()):
        assert may_pass(error)
        assert steady(failing(error), "x") == "done"
    assert not may_pass(ValueError("x"))
    assert not may_pass(OSError("no number, as libraries raise for what a file holds"))


def test_the_way_out_is_named():
    assert "ulimit -n" in str(passing("x", os_error(errno.EMFILE)))
    assert "ulimit" not in str(passing("x", os_error(errno.EIO)))
    assert "remove it or put it back" in str(passing("x", os_error(errno.EIO)))


def test_a_message_stays_in_its_line():
    assert printable("a\nb\x1b[31m\udcffé.png") == "a\\nb\\x1b[31m\\udcffé.png"
    assert "\n" not in str(passing("a\nb", os_error(errno.EIO)))


def test_only_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.open(tmp_path, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
    for path, why in (
        (tmp_path / "fifo", "it is a FIFO, not a file"),
        (tmp_path / "socket", "it is a socket, not a file"),
        (Path("/dev/zero"), "it is a device, not a file"),
        (tmp_path, "Is a directory"),
    ):
        for read in (read_file, hash_content):
            with pytest.raises(OSError, match=why):
                read(path)


def test_a_fifo_that_comes_between_check_and_opening_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "before.png").write_bytes(b"x")
    before = (tmp_path / "before.png").stat()
    assert stat.S_ISREG(before.st_mode)
    monkeypatch.setattr(Path, "stat", lambda _self: before)
    open_files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="FIFO"):
        read_file(tmp_path / "x.png")
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_what_is_read_is_what_was_pinned(tmp_path):
    file = tmp_path / "a" / "x.png"
    file.parent.mkdir()
    file.write_bytes(b"one")
    one = pinned(file)
    assert read_pinned(file, one, file) == b"one"
    before = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    for look in (read_pinned, check_pinned):
        with pytest.raises(SourceChanged, match=r"x.png: it has changed since the run began \(another content\)"):
            look(file, one, file)
    file.unlink()
    (file.parent / "other.png").write_bytes(b"")
    for look in (read_pinned, check_pinned):
        with pytest.raises(SourceChanged, match="No such file"):
            look(file, one, file)


def test_a_folder_that_is_gone_or_empty_may_come_back(tmp_path):
    file = tmp_path / "drive" / "x.png"
    file.parent.mkdir()
    file.write_bytes(b"one")
    one = pinned(file)
    file.unlink()  # as a mount point is when its drive drops out
    with pytest.raises(TemporaryError, match="drive is empty now"):
        read_pinned(file, one, file)
    file.parent.rmdir()
    for look in (read_pinned, check_pinned):
        with pytest.raises(TemporaryError, match="drive is gone"):
            look(file, one, file)


def test_unreadable_stays_unreadable_for_the_same_reason(tmp_path):
    file = tmp_path / "x.png"
    file.symlink_to("x.png")
    (tmp_path / "y").write_bytes(b"y")
    with pytest.raises(OSError, match="symbolic links"):
        read_pinned(file, Pinned("", why=os.strerror(errno.ELOOP)), file)
    with pytest.raises(SourceChanged, match="symbolic links"):
        read_pinned(file, Pinned("", why=os.strerror(errno.EACCES)), file)
    file.unlink()
    file.write_bytes(b"one")
    with pytest.raises(SourceChanged, match="it couldn't be read then"):
        read_pinned(file, Pinned("", why=os.strerror(errno.ELOOP)), file)


def test_a_file_that_was_only_touched_is_the_same(tmp_path, monkeypatch):
    file = tmp_path / "x.tar"
    file.write_bytes(b"one")
    one = pinned(file)
    assert check_pinned(file, one, file) is one
    os.utime(file)
    again = check_pinned(file, one, file)
    assert (again.sha256, again.stamp) == (one.sha256, stamp_of(file.stat()))
    monkeypatch.setattr(module, "hash_content", lambda _path: pytest.fail("it was hashed again"))
    assert check_pinned(file, again, file) is again


def test_a_disk_that_fails_while_the_folder_is_looked_at(tmp_path, monkeypatch):
    def broken(_path):
        raise os_error(errno.EIO)

    monkeypatch.setattr(os, "scandir", broken)
    assert isinstance(gone(tmp_path / "x", "x", os_error(errno.ENOENT)), TemporaryError)
