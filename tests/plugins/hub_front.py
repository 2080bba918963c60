"""A double of the Hugging Face Hub on loopback: olah serves repositories, and this front takes what is written.

A repository is a git repository in `<root>/datasets/<org>/<name>`. Big files go through the LFS protocol, as on the
Hub: pointers are committed, contents lie in `.git/lfs/objects`, where olah finds them. The real client talks to it.
Faults can be asked for: a full quota, an upload that hangs, somebody else's commit in between.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

TOKEN = "hf_" + "aTokenOfThisSuiteOnly" + "1234"
"""The one token that may write; built from parts, as checks look for tokens in files."""
LARGE = 10 << 20
"""Bytes from which the Hub wants LFS, whatever the name."""
BIG = (".tar", ".parquet", ".png")
"""Endings that a new dataset's `.gitattributes` gives to LFS."""
ATTRIBUTES = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in BIG)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


@dataclass
class Hub:
    """State of the double: where repositories lie, what was sent, and which faults are due."""

    root: Path
    olah: str
    url: str = ""
    sent: dict[str, int] = field(default_factory=dict)
    """Bytes of LFS objects that were uploaded, by sha256."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    commits: int = 0
    committed: int = 0
    """Bytes of the commits' requests, which hold the small files."""
    uploads_until_full: int | None = None
    """Uploads that still succeed; afterwards the quota is reached."""
    hang: threading.Event | None = None
    """While set, an upload waits for it, after `uploads_until_hang` others."""
    uploads_until_hang: int = 0
    pushes: list[tuple[str, bytes]] = field(default_factory=list)
    """Files that somebody else commits to `main` right before the next commits, one each."""
    instead: Callable[[str], bytes | None] | None = None
    """Called with the path of each request that reads; what it returns is sent in place of the right answer."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fresh(self) -> None:
        """Forget what was sent, and all faults."""
        self.sent, self.commits, self.committed, self.uploads_until_full, self.hang, self.pushes = (
            {},
            0,
            0,
            None,
            None,
            [],
        )
        self.instead = None

    def repo(self, name: str) -> Path:
        """Folder of a repository."""
        return self.root / "datasets" / name

    def git(self, name: str, *arguments: str, data: bytes = b"", **environment: str) -> str:
        """Run git in a repository; returns what it prints."""
        who = {f"GIT_{part}_{what}": "hub" for part in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["git", "-C", str(self.repo(name)), *arguments],
            input=data,
            capture_output=True,
            check=True,
            env={**os.environ, **who, **environment},
        )
        return done.stdout.decode().strip()

    def create(self, name: str, files: dict[str, bytes] | None = None) -> str:
        """Make a repository with a first commit; returns its id."""
        self.repo(name).mkdir(parents=True)
        self.git(name, "init", "-q", "-b", "main")
        return self.commit(name, "main", {".gitattributes": ATTRIBUTES.encode(), **(files or {})}, [], "initial commit")

    def commit(self, name: str, branch: str, files: dict[str, bytes], deleted: list[str], message: str) -> str:
        """Commit contents and deletions to a branch."""
        lfs: dict[str, tuple[str, int]] = {}
        return self._commit(name, branch, files, lfs, deleted, message)

    def _commit(
        self,
        name: str,
        branch: str,
        files: dict[str, bytes],
        lfs: dict[str, tuple[str, int]],
        deleted: list[str],
        message: str,
    ) -> str:
        index = {"GIT_INDEX_FILE": str(self.repo(name) / ".git" / f"index-{threading.get_ident()}")}
        Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)
        parents = self.git(name, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}").split()
        if parents:
            self.git(name, "read-tree", parents[0], **index)
        pointers = {path: POINTER.format(*found).encode() for path, found in lfs.items()}
        lines = [f"0 {'0' * 40}\t{path}" for path in deleted]
        for path, content in {**files, **pointers}.items():
            blob = self.git(name, "hash-object", "-w", "--stdin", data=content)
            lines.append(f"100644 {blob}\t{path}")
        self.git(name, "update-index", "--index-info", data="\n".join([*lines, ""]).encode(), **index)
        tree = self.git(name, "write-tree", **index)
        found = self.git(name, "commit-tree", tree, "-m", message, *(word for one in parents for word in ("-p", one)))
        self.git(name, "update-ref", f"refs/heads/{branch}", found, *(parents or ["0" * 40]))
        return found

    def head(self, name: str, revision: str = "main") -> str:
        """The commit that a revision means."""
        return self.git(name, "rev-parse", f"{revision}^{{commit}}")

    def files(self, name: str, revision: str = "main") -> list[str]:
        """Paths in a revision."""
        return self.git(name, "ls-tree", "-r", "--name-only", revision).split("\n")

    def object(self, name: str, oid: str) -> Path:
        """Where the content of an LFS object lies."""
        return self.repo(name) / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid


def app(hub: Hub) -> Starlette:
    """The front."""
    upstream = httpx.AsyncClient(base_url=hub.olah, timeout=60)

    @asynccontextmanager
    async def until_the_end(_: Starlette) -> AsyncIterator[None]:
        async with upstream:
            yield

    def error(status: int, message: str, **headers: str) -> JSONResponse:
        return JSONResponse({"error": message}, status, {"x-error-message": message, **headers})

    def name_of(request: Request) -> str:
        return f"{request.path_params['org']}/{request.path_params['name']}"

    def refused(request: Request) -> Response | None:
        """The answer to who may not write."""
        given = request.headers.get("authorization", "")
        if not given:
            return error(401, "Invalid username or password.")
        if given != f"Bearer {TOKEN}":
            return error(401, "Invalid credentials in Authorization header")
        if "name" in request.path_params and not hub.repo(name_of(request)).is_dir():
            return error(404, "Repository not found", **{"x-error-code": "RepoNotFound"})
        return None

    async def create(request: Request) -> Response:
        if answer := refused(request):
            return answer
        asked = await request.json()
        if asked["organization"] == "forbidden":
            return error(403, 'You don\'t have the rights to create a dataset under the namespace "forbidden"')
        name = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{hub.url}/datasets/{name}", "name": name}
        if hub.repo(name).is_dir():
            return JSONResponse({**url, "error": "You already created this dataset repo"}, 409)
        await run_in_threadpool(hub.create, name)
        hub.settings[name] = {"private": asked.get("visibility") == "private", "gated": False}
        return JSONResponse(url)

    async def preupload(request: Request) -> Response:
        if answer := refused(request):
            return answer
        asked = (await request.json())["files"]
        modes = {one["path"]: one["path"].endswith(BIG) or one["size"] > LARGE for one in asked}
        files = [
            {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": None}
            for path, lfs in modes.items()
        ]
        return JSONResponse({"files": files})

    async def batch(request: Request) -> Response:
        if answer := refused(request):
            return answer
        name, found = name_of(request), []
        for one in (await request.json())["objects"]:
            about = {"oid": one["oid"], "size": one["size"]}
            if not hub.object(name, one["oid"]).exists():
                about["actions"] = {"upload": {"href": f"{hub.url}/lfs/{name}/{one['oid']}"}}
            found.append(about)
        return JSONResponse({"transfer": "basic", "objects": found})

    async def upload(request: Request) -> Response:
        name, oid = name_of(request), request.path_params["oid"]
        with hub.lock:
            if hub.uploads_until_full is not None:
                hub.uploads_until_full -= 1
                if hub.uploads_until_full < 0:
                    return error(403, "Private repository storage limit reached, please upgrade your plan")
            hub.uploads_until_hang -= 1
            waits = hub.hang if hub.uploads_until_hang < 0 else None
        if waits:
            await run_in_threadpool(waits.wait, 60)
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != oid:
            return error(400, "The content isn't the object's")
        place = hub.object(name, oid)
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_suffix(f".{threading.get_ident()}.{id(request)}")
        part.write_bytes(content)
        part.replace(place)
        hub.sent[oid] = hub.sent.get(oid, 0) + len(content)
        return Response()

    async def commit(request: Request) -> Response:
        if answer := refused(request):
            return answer
        name, branch = name_of(request), request.path_params["revision"]
        body = await request.body()
        lines = [json.loads(line) for line in body.splitlines() if line]
        header = next(line["value"] for line in lines if line["key"] == "header")
        with hub.lock:
            if hub.pushes:
                path, content = hub.pushes.pop(0)
                hub.commit(name, branch, {path: content}, [], "somebody else's")
            if header.get("parentCommit", (head := hub.head(name, branch))) != head:
                return error(412, "A commit has happened since. Please refresh and try again.")
            values = {kind: [one["value"] for one in lines if one["key"] == kind] for kind in KINDS}
            oids = {one["path"]: one["oid"] for one in values["lfsFile"]}
            if missing := [path for path, oid in oids.items() if not hub.object(name, oid).exists()]:
                return error(400, f"No content of {missing[0]}")
            lfs = {path: (oid, hub.object(name, oid).stat().st_size) for path, oid in oids.items()}
            files = {one["path"]: base64.b64decode(one["content"]) for one in values["file"]}
            gone = [one["path"] for one in values["deletedFile"]]
            made = hub._commit(name, branch, files, lfs, gone, header["summary"])
            hub.commits, hub.committed = hub.commits + 1, hub.committed + len(body)
        return JSONResponse({"commitUrl": f"{hub.url}/datasets/{name}/commit/{made}", "commitOid": made})

    async def tag(request: Request) -> Response:
        if answer := refused(request):
            return answer
        name, wanted = name_of(request), (await request.json())["tag"]
        if wanted in hub.git(name, "tag").split():
            return error(409, "Tag reference exists already")
        hub.git(name, "tag", wanted, hub.head(name, request.path_params["revision"]))
        return JSONResponse({})

    async def branch(request: Request) -> Response:
        if answer := refused(request):
            return answer
        name, wanted = name_of(request), request.path_params["revision"]
        start = (await request.json() if await request.body() else {}).get("startingPoint", "main")
        if hub.git(name, "for-each-ref", f"refs/heads/{wanted}"):
            return error(409, "Reference already exists")
        hub.git(name, "branch", wanted, hub.head(name, start))
        return JSONResponse({})

    async def settings(request: Request) -> Response:
        if answer := refused(request):
            return answer
        asked = await request.json()
        if "visibility" in asked:
            asked["private"] = asked.pop("visibility") == "private"
        hub.settings.setdefault(name_of(request), {}).update(asked)
        return JSONResponse({})

    async def validate(request: Request) -> Response:
        return JSONResponse({"errors": [], "warnings": []})

    async def about(request: Request) -> Response:
        """olah's answer with this front's settings."""
        answer = await read(request)
        if answer.status_code != 200 or not isinstance(answer, StreamingResponse):
            return answer
        content = b"".join([piece async for piece in answer.body_iterator])  # type: ignore[misc]
        if answer.background:
            await answer.background()
        return JSONResponse({**json.loads(content), **hub.settings.get(name_of(request), {})})

    async def read(request: Request) -> Response:
        """Whatever is only read comes from olah, unless the repository is closed to who asks."""
        if hub.instead and (content := await run_in_threadpool(hub.instead, request.url.path)) is not None:
            return Response(content)
        name = "/".join(request.url.path.removeprefix("/api").split("/")[2:4])
        closed, given = hub.settings.get(name, {}), request.headers.get("authorization")
        if given and given != f"Bearer {TOKEN}":
            return error(401, "Invalid credentials in Authorization header")
        if closed.get("private") and not given:
            return error(401, "Repository not found", **{"x-error-code": "RepoNotFound"})
        if closed.get("gated") and not given and "/resolve/" in request.url.path:
            return error(401, f"Access to dataset {name} is restricted", **{"x-error-code": "GatedRepo"})
        headers = {key: value for key, value in request.headers.items() if key != "authorization"}
        bare = request.url.path in (f"/api/datasets/{name}", f"/api/models/{name}")
        path = request.url.path + "/revision/main" * bare  # as olah has it
        asked = upstream.build_request(
            request.method, path, params=request.query_params, headers=headers, content=await request.body()
        )
        answer = await upstream.send(asked, stream=True)
        kept = {key: value for key, value in answer.headers.items() if key not in ("transfer-encoding", "connection")}

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in answer.aiter_raw():
                yield piece

        return StreamingResponse(pieces(), answer.status_code, kept, background=BackgroundTask(answer.aclose))

    here, there = "/api/datasets/{org}/{name}", "/datasets/{org}/{name}.git/info/lfs/objects/batch"
    return Starlette(
        routes=[
            Route("/api/repos/create", create, methods=["POST"]),
            Route("/api/validate-yaml", validate, methods=["POST"]),
            Route(f"{here}/preupload/{{revision:path}}", preupload, methods=["POST"]),
            Route(there, batch, methods=["POST"]),
            Route("/lfs/{org}/{name}/{oid}", upload, methods=["PUT"]),
            Route(f"{here}/commit/{{revision:path}}", commit, methods=["POST"]),
            Route(f"{here}/tag/{{revision:path}}", tag, methods=["POST"]),
            Route(f"{here}/branch/{{revision:path}}", branch, methods=["POST"]),
            Route(f"{here}/settings", settings, methods=["PUT"]),
            Route(here, about, methods=["GET"]),
            Route(f"{here}/revision/{{revision:path}}", about, methods=["GET"]),
            Route("/{path:path}", read, methods=["GET", "HEAD", "POST"]),
        ],
        lifespan=until_the_end,
    )


KINDS = ("file", "lfsFile", "deletedFile")
"""Operations of a commit."""
