"""A private PostgreSQL server from Debian's programs, in a folder and on a socket of its own, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PASSWORD = "not-for-anybody's-eyes"


def programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, None if there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


@contextmanager
def running_server() -> Iterator[str]:
    """URL of a running server's database, without a password in front: the server asks for `PASSWORD`."""
    where = programs()
    assert where is not None
    folder = Path(tempfile.mkdtemp(prefix="votes-"))  # pytest's own are too long for a socket, and closed to others
    person: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        names = {one.pw_name for one in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        person = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    data, log = folder / "data", folder / "log"
    options = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--username=variorum", "--auth=scram-sha-256"]
    with log.open("w") as out:
        made = subprocess.run(
            [where / "initdb", "-D", data, *options, f"--pwfile={folder / 'password'}"],
            stdout=out, stderr=out, cwd=folder, **person,
        )  # fmt: skip
        assert made.returncode == 0, log.read_text()
        settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        server = subprocess.Popen(
            [where / "postgres", "-D", data, *settings], stdout=out, stderr=out, cwd=folder, **person
        )
    try:
        wait_for(folder, server, log)
        yield f"postgresql://variorum:{PASSWORD}@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)


def wait_for(folder: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server takes connections."""
    import psycopg

    while True:
        assert server.poll() is None, log.read_text()
        try:
            psycopg.connect(host=str(folder), user="variorum", password=PASSWORD, dbname="postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
