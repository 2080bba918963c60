"""Fetching from a host that lies, breaks off, sends without end, or leads elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from served_files import serving
from small_store import one_line

from variorum.hub import pull_fetch, pull_web
from variorum.hub.pull_fetch import Wanted, fetch, fetch_small, held
from variorum.hub.pull_places import on_the_hub, place_of, web_place
from variorum.hub.pull_web import web_file
from variorum.schemas.errors import SourceError, TemporaryError

DATA = bytes(range(256)) * 4096
SHA = hashlib.sha256(DATA).hexdigest()
SECRET = "Bearer only-for-this-host"


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A server with a file of 1 MiB, and no pauses between attempts."""
    monkeypatch.setattr(pull_fetch, "WAITS", (0.0, 0.0))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(DATA)
    with serving(tmp_path / "www") as served:
        yield served


def wanted(**other) -> Wanted:
    return Wanted(**{"name": "the file", "most": len(DATA), "size": len(DATA), "sha256": SHA, **other})


def fetched(web, folder: Path, headers=None, path="file", **other) -> bytes:
    with held(folder / "partial") as file:
        assert fetch(web_file(f"{web.url}/{path}", headers), file, wanted(**other)) == SHA
    return (folder / "partial").read_bytes()


def head(handler, status=200, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def endless(handler, data, status=200, **headers):
    """An answer without a length that goes on for as long as somebody reads, up to 1 GiB."""
    head(handler, status, Connection="close", **headers)
    handler.close_connection = True
    for _ in range(1024):
        try:
            handler.wfile.write(bytes(1 << 20))
        except OSError:
            break
    return True


def answering(status=200, data=DATA, **headers):
    """A fault that answers so."""
    return lambda handler, _: handler.answer(status, data, {n.replace("_", "-"): v for n, v in headers.items()}) or True


def cut_off(handler, data):
    head(handler, Content_Length=str(len(data)))
    handler.wfile.write(data[:1000])
    handler.close_connection = True
    return True


def wrong_part(handler, data):
    if "Range" not in handler.headers:
        return cut_off(handler, data)
    handler.answer(206, data[5:], {"Content-Range": f"bytes 5-{len(data) - 1}/{len(data)}"})
    return True


LIES = {
    "no end": (endless, "longer than"),
    "more than it must have": (answering(data=DATA + b"x"), "bytes there, and must have"),
    "less than it must have": (answering(data=DATA[:-1]), "bytes there, and must have"),
    "other content": (answering(data=DATA[::-1]), "another file was sent"),
    "packed": (answering(data=gzip.compress(DATA), Content_Encoding="gzip"), "encoding 'gzip'"),
    "packed twice": (answering(Content_Encoding="gzip, br"), "encoding"),
    "a redirect to a file": (answering(302, b"", Location="file:///etc/passwd"), "redirects to"),
    "a redirect to FTP": (answering(302, b"", Location="ftp://127.0.0.1/x"), "redirects to"),
    "a redirect to data": (answering(302, b"", Location="data:text/plain,x"), "redirects to"),
    "a redirect without end": (lambda handler, _: endless(handler, _, 302, Location="file:///etc/passwd"), "redirects"),
    "a redirect to itself": (answering(302, b"", Location="/file"), "redirect"),
    "no login": (answering(401, b""), "login needed"),
    "no access": (answering(403, b""), "no access"),
    "another error": (answering(418, b""), "418"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_host_that_lies(web, tmp_path, what):
    web.faults["file"], says = LIES[what]
    with pytest.raises(SourceError, match=says) as caught:
        fetched(web, tmp_path)
    assert one_line(str(caught.value))
    assert (tmp_path / "partial").stat().st_size <= len(DATA)


PASSING = {
    "it breaks off": (cut_off, "received 1000 bytes"),
    "another part than was asked for": (wrong_part, "begins at byte 5|received 1000 bytes"),
    "a part that doesn't say which": (answering(206), "which one"),
    "an error of the server": (answering(500, b""), "500"),
    "too many requests": (answering(429, b""), "429"),
    "no answer": (
        lambda handler, data: setattr(handler, "close_connection", True) or True,
        "closed|disconnected|reset",
    ),
}


@pytest.mark.parametrize("what", PASSING)
def test_what_may_pass(web, tmp_path, what):
    web.faults["file"], says = PASSING[what]
    with pytest.raises(TemporaryError, match=says) as caught:
        fetched(web, tmp_path)
    assert one_line(str(caught.value))
    web.faults.clear()
    assert fetched(web, tmp_path) == DATA


def test_a_host_that_sends_next_to_nothing(web, tmp_path, monkeypatch):
    def trickle(handler, data):
        head(handler, Content_Length=len(data))
        handler.close_connection = True
        with suppress(OSError):
            for _ in range(200):
                handler.wfile.write(b"a")
                handler.wfile.flush()
                time.sleep(0.02)
        return True

    monkeypatch.setattr(pull_web, "PATIENCE", 0.4)
    web.faults["file"] = trickle
    with pytest.raises(TemporaryError, match=r"it sent [0-9]+ bytes in [0-9] seconds"):
        fetched(web, tmp_path)
    assert len(web.asked) == 3


def dripping(handler, _):
    """Headers that never end, a byte at a time."""
    handler.close_connection = True
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Slow: ")
        for _ in range(500):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.02)
    return True


def always_on(handler, _):
    """`100 Continue` again and again."""
    handler.close_connection = True
    with suppress(OSError):
        for _ in range(500):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.02)
    return True


def leading_to_drips(handler, _):
    handler.answer(302, b"", {"Location": "/drips"})
    return True


@pytest.mark.parametrize("fault", [dripping, always_on, leading_to_drips])
def test_headers_that_never_end(web, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(pull_web, "PATIENCE", 0.3)
    web.faults |= {"file": fault, "drips": dripping}
    with pytest.raises(TemporaryError, match=r"its headers didn't come in 0.3 seconds"):
        fetched(web, tmp_path)
    assert web.paths().count("/file") == 3


def test_a_handshake_that_never_ends(tmp_path, monkeypatch):
    """The client's own limit and ours are the same length here, so either may end it first."""
    monkeypatch.setattr(pull_fetch, "WAITS", ())
    monkeypatch.setattr(pull_web, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            with suppress(OSError), server.accept()[0] as connection:
                connection.sendall(b"\x16\x03\x03\x20\x00")
                for _ in range(500):
                    connection.sendall(b"a")
                    time.sleep(0.02)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TemporaryError, match=r"its headers didn't come|handshake operation timed out"):
            fetch_small(web_file(f"https://127.0.0.1:{server.getsockname()[1]}/file"), wanted())
        thread.join()


def test_the_rest_of_a_file(web, tmp_path):
    (tmp_path / "partial").write_bytes(DATA[:1000])
    assert fetched(web, tmp_path) == DATA
    assert web.asked[0][1]["Range"] == "bytes=1000-"
    (tmp_path / "partial").write_bytes(DATA)
    web.asked.clear()
    assert fetched(web, tmp_path) == DATA
    assert web.asked == []


@pytest.mark.parametrize("start", [b"other" * 10, DATA + b"more"])
def test_a_beginning_that_is_wrong(web, tmp_path, start):
    (tmp_path / "partial").write_bytes(start)
    assert fetched(web, tmp_path) == DATA


def test_without_a_hash_nothing_of_before_is_kept(web, tmp_path):
    (tmp_path / "partial").write_bytes(b"other" * 10)
    assert fetched(web, tmp_path, sha256="") == DATA
    assert "Range" not in web.asked[0][1]


def test_a_file_that_changes_between_two_attempts(web, tmp_path):
    """Without a hash, only the host's version tells that the beginning was of another file."""
    tries = []

    def changing(handler, data):
        tries.append(handler.headers.get("Range"))
        if len(tries) == 1:
            head(handler, Content_Length=str(len(data)), ETag='"old"')
            handler.wfile.write(bytes(1000))
            handler.close_connection = True
        elif handler.headers.get("Range"):
            handler.answer(
                206, data[1000:], {"Content-Range": f"bytes 1000-{len(data) - 1}/{len(data)}", "ETag": '"new"'}
            )
        else:
            handler.answer(200, data, {"ETag": '"new"'})
        return True

    web.faults["file"] = changing
    assert fetched(web, tmp_path, sha256="") == DATA
    assert tries == [None, "bytes=1000-", None]


def test_a_small_file(web):
    small = Wanted("small", 2 << 20)
    assert fetch_small(web_file(f"{web.url}/file"), small) == DATA
    with pytest.raises(FileNotFoundError):
        fetch_small(web_file(f"{web.url}/none"), small)
    web.faults["file"] = endless
    with pytest.raises(SourceError, match="longer than the 1000 bytes"):
        fetch_small(web_file(f"{web.url}/file"), Wanted("small", 1000))


def test_a_token_goes_to_its_host_only(web, tmp_path):
    """A redirect on the same host keeps it, one to another host loses it."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_bytes(DATA)
    with serving(there) as other:
        web.faults["file"] = answering(302, b"", Location=f"{other.url}/file")
        assert fetched(web, tmp_path, {"Authorization": SECRET, "Cookie": "a=b"}) == DATA
        assert web.asked[0][1]["Authorization"] == SECRET
        assert not {"Authorization", "Cookie"} & set(other.asked[0][1])
    (web.folder / "other").write_bytes(DATA)
    web.faults["file"] = answering(302, b"", Location="/other")
    web.asked.clear()
    (tmp_path / "partial").unlink()
    assert fetched(web, tmp_path, {"Authorization": SECRET}) == DATA
    assert [headers["Authorization"] for _, headers in web.asked] == [SECRET, SECRET]


def test_a_login_in_a_url(web, tmp_path):
    with_login = web.url.replace("http://", "http://me:pass-word@")
    place = web_place(f"{with_login}/x/?sig=abcdefgh")
    assert "pass-word" not in place.name
    with pytest.raises(FileNotFoundError, match="/x/a%20b"):
        fetch_small(place.open("a b"), Wanted("x", 10))
    path, headers = web.asked[0]
    assert (path, headers["Authorization"]) == ("/x/a b", "Basic bWU6cGFzcy13b3Jk")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password pass-word\n")
    (tmp_path / ".netrc").chmod(0o600)
    fetched(web, tmp_path)
    assert web.asked[1][1]["Authorization"] == headers["Authorization"]


def test_two_at_once_fetch_a_file_once(web, tmp_path):
    """The second waits, and finds it complete."""
    errors = []

    def one():
        try:
            fetched(web, tmp_path)
        except BaseException as error:
            errors.append(error)

    both = [threading.Thread(target=one) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert errors == []
    assert len(web.asked) == 1


def test_a_link_in_the_place_of_an_unfinished_file(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "partial").symlink_to(precious)
    with pytest.raises(SourceError, match="no regular file"), held(tmp_path / "partial"):
        pass
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("org/name", ("org/name", None, None)),
        ("org/name@1.2.0", ("org/name", "1.2.0", None)),
        ("hf://datasets/org/name@main/data/*.tar", ("org/name", "main", "data/*.tar")),
        ("https://huggingface.co/datasets/org/name", ("org/name", None, None)),
        ("https://huggingface.co/datasets/org/name/tree/v1", ("org/name", "v1", None)),
        ("./org/name", None),
        ("org/name/more", None),
        ("https://example.org/datasets/org/name", None),
        ("hf://datasets/../../etc", None),
    ],
)
def test_what_names_a_dataset_on_the_hub(source, parts):
    found = on_the_hub(source)
    assert (found and (found["id"], found["revision"], found["path"])) == parts


def test_a_folder_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert place_of("org/name").name == str(tmp_path / "org" / "name")
    with pytest.raises(SourceError, match="only a dataset on the Hub has revisions"):
        place_of("org/name", "1.0.0")
