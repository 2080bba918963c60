"""A double of the Hub's model repositories on loopback, from a folder; the real client talks to it.

A repository lies as in the client's own cache: `models--OWNER--NAME/snapshots/COMMIT/…`. Large files have their sha256
as their tag and come from another address, small ones git's hash. Gates, closed repositories, and faults of single
requests can be asked for.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    import pytest

TOKEN = "hf_" + "aTokenOfThisSuiteOnly" + "5678"
"""The one token that the Hub knows; built from parts, as checks look for tokens in files."""
LARGE = (".safetensors", ".pth", ".bin")
"""Endings of what the Hub keeps apart."""


@dataclass
class ModelHub:
    """State of the double.

    Attributes:
        root: has the repositories.
        url: where it answers.
        gated: repositories that ask for consent, as `OWNER/NAME`.
        consented: whether the token's owner has given it.
        closed: repositories that only the token's owner sees.
        lie: what is wrong with every answer about a file: a status, `content` for other bytes, `short` for fewer,
            `cut` for an answer that ends early, `commit` for another commit, `etag` for a tag that is no hash,
            `no file`, or `echo` for a refusal that repeats the token; `""` for nothing.
        faults: by name of a file, the same for its next requests only, one each.
        given: bytes that were sent, by name of the file.
        asked: requests in order, method and path.
    """

    root: Path
    url: str = ""
    gated: set[str] = field(default_factory=set)
    consented: bool = False
    closed: set[str] = field(default_factory=set)
    lie: str | int = ""
    faults: dict[str, list[str | int]] = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, repo: str, commit: str, files: dict[str, bytes]) -> None:
        """Add files to a commit of a repository."""
        for name, data in files.items():
            path = self._repo(repo) / "snapshots" / commit / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (self._repo(repo) / "refs").mkdir(exist_ok=True)
        (self._repo(repo) / "refs" / "main").write_text(commit)

    def variables(self, home: Path, *, token: str = "") -> dict[str, str]:
        """Variables of a process that talks to this Hub, with a cache below `home`."""
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(home)}
        own |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return own | ({"HF_TOKEN": token} if token else {})

    def _repo(self, repo: str) -> Path:
        return self.root / f"models--{repo.replace('/', '--')}"


@contextmanager
def serving(root: Path) -> Iterator[ModelHub]:
    """A Hub with the repositories of a folder, until the `with` block ends."""
    hub = ModelHub(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def talk_to(hub: ModelHub, cache: Path, monkeypatch: pytest.MonkeyPatch, *, token: str = TOKEN) -> None:
    """Let the client in this process talk to a Hub, with a cache of its own, and try again without a pause."""
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda _: None, time=time.time))
    monkeypatch.setenv("HF_TOKEN", token)


class _Answers(BaseHTTPRequestHandler):
    hub: ModelHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0]).strip("/")
        self.hub.asked.append(f"{self.command} {path}")
        parts = path.split("/")
        if parts[:1] == ["cdn"]:
            self._send_file("/".join(parts[1:3]), parts[3], "/".join(parts[4:]), follow=False)
        elif parts[:2] == ["api", "models"]:
            self._about("/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else "main")
        elif parts[2:3] == ["resolve"]:
            self._send_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), follow=True)
        else:
            self._refuse(404, "Not found")

    def _about(self, repo: str, revision: str) -> None:
        if (folder := self._opened(repo, revision)) is None:
            return
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        about = {"id": repo, "sha": folder.name, "siblings": [{"rfilename": name} for name in names]}
        self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def _opened(self, repo: str, revision: str, *, files: bool = False) -> Path | None:
        """The folder of a commit that who asks may see; None after an answer that says why not."""
        given, place = self.headers.get("Authorization", ""), self.hub._repo(repo)
        commit = (place / "refs" / "main").read_text() if place.is_dir() and revision == "main" else revision
        if given and given != f"Bearer {TOKEN}":
            self._refuse(401, "Invalid credentials in Authorization header")
        elif not place.is_dir() or (repo in self.hub.closed and not given):
            self._refuse(404 if given else 401, "Repository not found", "RepoNotFound")
        elif files and repo in self.hub.gated and not (given and self.hub.consented):
            self._refuse(403 if given else 401, f"Access to model {repo} is restricted", "GatedRepo")
        elif not (place / "snapshots" / commit).is_dir():
            self._refuse(404, "Invalid rev id", "RevisionNotFound")
        else:
            return place / "snapshots" / commit
        return None

    def _send_file(self, repo: str, revision: str, name: str, *, follow: bool) -> None:
        folder = self._opened(repo, revision, files=True)
        if folder is None:
            return
        due = self.hub.faults.get(name)
        fault = due.pop(0) if due and self.command == "GET" else self.hub.lie
        if isinstance(fault, int):
            self._refuse(fault, f"fault {fault}")
        elif fault == "echo":
            self._refuse(403, f"no access with {self.headers['Authorization']}")
        elif fault == "no file" or not (folder / name).is_file():
            self._refuse(404, "Entry not found", "EntryNotFound")
        else:
            self._send_content(folder, name, fault, f"{self.hub.url}/cdn/{repo}/{folder.name}/{name}" * follow)

    def _send_content(self, folder: Path, name: str, fault: str, elsewhere: str) -> None:
        data = (folder / name).read_bytes()
        tag = "some-tag" if fault == "etag" else tag_of(name, data)
        headers = {"X-Repo-Commit": "2" * 40 if fault == "commit" else folder.name, "ETag": f'"{tag}"'}
        sent = bytes(len(data)) if fault == "content" else data[:-10] if fault == "short" else data
        if elsewhere and large(name):
            linked = {"X-Linked-Size": str(len(sent)), "X-Linked-ETag": f'"{tag}"', "Location": elsewhere}
            self._send(302, b"", headers | linked)
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-") or 0)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(sent) - 1}/{len(sent)}"
        self._send(206 if start else 200, sent[start:], headers, name, cut=fault == "cut")

    def _send(self, status: int, data: bytes, headers: dict[str, str], name: str = "", *, cut: bool = False) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        sent = b"" if self.command == "HEAD" else data[: len(data) // 2] if cut else data
        self.wfile.write(sent)
        self.hub.given[name] = self.hub.given.get(name, 0) + len(sent)
        self.close_connection = cut

    def _refuse(self, status: int, message: str, code: str = "") -> None:
        named = {"X-Error-Code": code} if code else {}
        self._send(status, b"", {"X-Error-Message": message, **named})


def large(name: str) -> bool:
    """Return whether the Hub keeps a file apart."""
    return name.endswith(LARGE)


def tag_of(name: str, data: bytes) -> str:
    """The tag that the Hub gives a file: its sha256 or, for a small one, its hash in git."""
    if large(name):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
