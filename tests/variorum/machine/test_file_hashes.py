import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from variorum.machine import file_hashes as hashing
from variorum.machine import retrying as steady
from variorum.machine.file_hashes import file_hashes, forget_hash, pin_files
from variorum.schemas.errors import SourceChanged, TemporaryError


def aged(path: Path, data: bytes, seconds: int = 100) -> Path:
    """A file with a modification time this long ago."""
    path.write_bytes(data)
    os.utime(path, ns=(1_700_000_000_000_000_000 - seconds * 10**9,) * 2)
    return path


def test_hashes_are_cached_until_a_file_changes(tmp_path, own_cache):
    file = aged(tmp_path / "a.png", b"one")
    assert file_hashes(tmp_path, [file]) == [hashlib.sha256(b"one").hexdigest()]
    (entry,) = (own_cache / "hashes").iterdir()
    entry.write_text(entry.read_text().replace(hashlib.sha256(b"one").hexdigest(), "0" * 64))
    assert file_hashes(tmp_path, [file]) == ["0" * 64]  # from the cache, without reading the file
    aged(file, b"two", seconds=50)
    assert file_hashes(tmp_path, [file]) == [hashlib.sha256(b"two").hexdigest()]


def test_a_file_changed_just_now_is_not_cached(tmp_path, own_cache):
    file = tmp_path / "a.png"
    file.write_bytes(b"one")
    file_hashes(tmp_path, [file])
    assert not (own_cache / "hashes").exists()


def test_a_corrupt_or_unwritable_cache_only_costs_time(tmp_path, own_cache):
    file = aged(tmp_path / "a.png", b"one")
    expected = file_hashes(tmp_path, [file])
    (entry,) = (own_cache / "hashes").iterdir()
    earlier = json.dumps({str(file): [3, file.stat().st_mtime_ns, "0" * 64]}).encode()  # without the time of status
    for content in (b"", b"{", b"[1, 2]", b'{"x": 3}', b'{"x": [1, 2]}', b"\xff\xfe", earlier):
        entry.write_bytes(content)
        assert file_hashes(tmp_path, [file]) == expected
    entry.unlink()
    entry.parent.rmdir()
    entry.parent.write_text("a file where the folder should be")
    assert file_hashes(tmp_path, [file]) == expected


def test_a_file_of_1601_is_not_cached(tmp_path, own_cache, monkeypatch):
    file = aged(tmp_path / "a.png", b"one")  # not every file system has such times
    monkeypatch.setattr(hashing, "stamp_of", lambda status: (3, -11_644_473_600 * 10**9, 0, 0))
    assert file_hashes(tmp_path, [file]) == [hashlib.sha256(b"one").hexdigest()]
    assert not (own_cache / "hashes").exists()


def test_a_missing_file_has_no_hash(tmp_path, own_cache):
    assert file_hashes(tmp_path, [tmp_path / "gone.png"]) == [""]


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path, own_cache):
    file = aged(tmp_path / "a.png", b"one")
    file_hashes(tmp_path, [file])
    aged(file, b"two")
    assert file_hashes(tmp_path, [file]) == [hashlib.sha256(b"two").hexdigest()]


def test_a_forgotten_hash_is_computed_again(tmp_path, own_cache):
    files = [aged(tmp_path / name, name.encode()) for name in ("a.png", "b.png")]
    expected = file_hashes(tmp_path, files)
    (entry,) = (own_cache / "hashes").iterdir()
    for sha256 in expected:
        entry.write_text(entry.read_text().replace(sha256, "0" * 64))
    forget_hash(tmp_path, files[1])
    assert file_hashes(tmp_path, files) == ["0" * 64, expected[1]]


def test_why_a_file_has_no_hash(tmp_path, own_cache):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "ring").symlink_to("ring")
    (tmp_path / "dangling").symlink_to("nothing")
    paths = [tmp_path / name for name in ("fifo", "ring", "dangling")]
    pins = pin_files(tmp_path, paths, listed=True)
    assert [pinned.sha256 for pinned in pins] == [""] * 3
    assert [pinned.why for pinned in pins] == [
        "it is a FIFO, not a file",
        "Too many levels of symbolic links",
        "No such file or directory",
    ]


def test_a_listed_file_that_is_gone_is_an_error(tmp_path, own_cache):
    folder = tmp_path / "drive"
    folder.mkdir()
    aged(folder / "b.png", b"two")
    with pytest.raises(SourceChanged, match=r"a\.png"):
        pin_files(folder, [folder / "a.png", folder / "b.png"], listed=True)
    folder.rename(tmp_path / "away")
    with pytest.raises(TemporaryError, match="drive is gone"):
        pin_files(folder, [folder / "a.png", folder / "b.png"], listed=True)


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.ENOMEM])
def test_a_failing_disk_gives_no_hash(tmp_path, own_cache, monkeypatch, code):
    monkeypatch.setattr(steady, "PAUSES", (0.0, 0.0, 0.0))
    file = aged(tmp_path / "a.png", b"one")
    real, left = os.open, [2]

    def flaky(path, *rest, **options):
        if path == file and left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", flaky)
    assert file_hashes(tmp_path, [file]) == [hashlib.sha256(b"one").hexdigest()]
    left[0] = -1
    shutil.rmtree(own_cache / "hashes")
    with pytest.raises(TemporaryError, match=r"a\.png: can't be read now"):
        file_hashes(tmp_path, [file])


def test_a_root_with_a_name_that_is_no_text(tmp_path, own_cache):
    root = tmp_path / os.fsdecode(b"caf\xe9")
    root.mkdir()
    file = aged(root / os.fsdecode(b"\xff.png"), b"one")
    assert file_hashes(root, [file]) == file_hashes(root, [file]) == [hashlib.sha256(b"one").hexdigest()]
