import hashlib
import os
from pathlib import Path

from variorum.machine.file_hashes import file_hashes


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
    for content in (b"", b"{", b"[1, 2]", b'{"x": 3}', b'{"x": [1, 2]}', b"\xff\xfe"):
        entry.write_bytes(content)
        assert file_hashes(tmp_path, [file]) == expected
    entry.unlink()
    entry.parent.rmdir()
    entry.parent.write_text("a file where the folder should be")
    assert file_hashes(tmp_path, [file]) == expected


def test_a_missing_file_has_no_hash(tmp_path, own_cache):
    assert file_hashes(tmp_path, [tmp_path / "gone.png"]) == [""]
