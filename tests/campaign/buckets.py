"""Stores in a bucket, for attacks: filled from an undisturbed one, compared with it; and kills at single requests."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from fnmatch import fnmatch
from pathlib import Path
from uuid import uuid4

from s3_server import BUCKET, Server
from scene import Scene, differs

OWN = (".probe",)
"""Files that only a store in a bucket has."""
LINKS = ("editions/*/data/*", "editions/*/listings/*", "editions/*/plan.parquet")
"""Files that only a store in a folder has."""


def is_link(name: str) -> bool:
    """Whether a store in a bucket doesn't have a file of this name."""
    return any(fnmatch(name, pattern) for pattern in LINKS)


class Bucket:
    """A store of its own in the server's bucket, and runs of a scene on it from one machine or several."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.files = server.files()
        self.root = f"{BUCKET}/{uuid4().hex}"
        self.url = f"s3://{self.root}"

    def fill(self, store: Path) -> None:
        """Put the files of a store in a folder there."""
        for path in store.rglob("*"):
            if path.is_file() and not is_link(path.relative_to(store).as_posix()):
                self.files.put_file(str(path), f"{self.root}/{path.relative_to(store).as_posix()}")

    def brought(self) -> Path:
        """Its files in a folder."""
        here = self.folder / "brought"
        shutil.rmtree(here, ignore_errors=True)
        for path in self.files.find(self.root):
            to = here / str(path).removeprefix(f"{self.root}/")
            to.parent.mkdir(parents=True, exist_ok=True)
            self.files.get_file(path, str(to))
        return here

    def differs(self, whole: Path) -> str:
        """How it differs from an undisturbed store in a folder, or ""."""
        here = self.brought()
        copies = [path for path in here.rglob("*") if path.is_file() and is_link(path.relative_to(here).as_posix())]
        return f"{len(copies)} copies ({copies[0].name})" if copies else differs(here, whole, but=(*OWN, *LINKS))

    def finished(self) -> dict[str, bytes]:
        """Every receipt and record of a table to the byte, with the process that made it and when."""
        names = [name for part in ("units", "measures") for name in self.files.find(f"{self.root}/{part}")]
        return {str(name): self.files.cat_file(name) for name in names}

    def remove(self, scene: Scene) -> None:
        """Remove it, and what machines have kept of it."""
        self.files.rm(self.root, recursive=True)
        shutil.rmtree(scene.cache / "stores", ignore_errors=True)


def killed_at_request(number: int, after: bool) -> None:
    """End the process as `kill -9` does, before its request of this number to S3 or when it is answered."""

    def kill(request: int, answered: bool) -> None:
        if request == number and answered == after:
            os.kill(os.getpid(), signal.SIGKILL)

    _at_each_request(kill)


def requests_counted(log: Path) -> None:
    """Write one byte to a file for each request to S3."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _at_each_request(lambda _, answered: None if answered else os.write(descriptor, b"."))


def _at_each_request(call) -> None:  # type: ignore[no-untyped-def]
    """Call a function with the number of each request, before it is sent and when it is answered."""
    from aiobotocore.endpoint import AioEndpoint

    real, numbers = AioEndpoint._send, itertools.count()

    async def send(endpoint, request):  # type: ignore[no-untyped-def]
        number = next(numbers)
        call(number, False)
        answer = await real(endpoint, request)
        call(number, True)
        return answer

    AioEndpoint._send = send
