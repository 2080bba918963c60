"""Prefect's API for the time of a run: the configured server, or one of our own that ends with this process.

The temporary server that Prefect itself starts outlives a parent that is killed. Where it can't work, it is started
again and again.
"""

from __future__ import annotations

import variorum.flows.settings  # noqa: F401 - before Prefect reads its settings

# isort: split

import atexit
import fcntl
import logging
import os
import queue
import re
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_HOME,
    PREFECT_SERVER_API_AUTH_STRING,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
    temporary_settings,
)

from variorum.flows import server_process
from variorum.machine.programs import python
from variorum.schemas.errors import TemporaryError, VariorumError
from variorum.schemas.secrets import remember_values, shown, without_secrets

log = logging.getLogger(__name__)

PAUSES = (0.5, 2.0)
"""Seconds between attempts to reach a configured server."""
PATIENCE = 10.0
"""Seconds that a configured server has for one answer."""
RETRIES = 2
"""Of a request to our own server, within six seconds: it never comes back. Others may be started again meanwhile."""
OTHERWISE = "or use --runner threads, which needs no server"
WHOLE = {
    # the pages send requests to their own server, whatever its port, also through a tunnel
    "PREFECT_SERVER_UI_API_URL": "/api",
    # otherwise a server forgets the leases of runs when it ends, and killed runs keep their places
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
"""Settings of a server with web pages; the user's win."""


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server that this process started. Only this process and its runs know the password, through `settings`."""

    process: subprocess.Popen[bytes]
    url: str
    log: IO[bytes]
    password: str = field(repr=False)

    def settings(self) -> dict[Any, Any]:
        """Prefect's settings with which a client can use it."""
        return {
            PREFECT_API_URL: self.url,
            PREFECT_API_AUTH_STRING: self.password,
            PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: True,
        }

    def stop(self) -> None:
        """End the server and its children, within a few seconds."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(server_process.GRACE)
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group that is gone
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def last_words(self) -> str:
        """The last error in what it wrote, or how it ended."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
        return errors[-1] if errors else f"it ended with code {self.process.poll()}"


@contextmanager
def api() -> Iterator[str]:
    """Inside, Prefect has a server that answers.

    Yields:
        the configured server's URL without secrets, or `""` for our own, which stays until this process ends.

    Raises:
        TemporaryError: the configured server doesn't answer, or ours doesn't start.
        VariorumError: PREFECT_HOME can't be written.
    """
    _refuse_settings_of_the_folder()
    url = get_current_settings().api.url
    if url and not (start.cache_info().currsize and url == start().url):
        reach()
        yield server_name()
        return
    with temporary_settings({**start().settings(), PREFECT_CLIENT_MAX_RETRIES: RETRIES}):
        yield ""


@contextmanager
def served(port: int) -> Iterator[tuple[str, str]]:
    """Inside, Prefect has a server with web pages that starts scheduled runs: the configured one, or our own.

    Args:
        port: of our own, on this machine's loopback address.

    Yields:
        the server's URL without secrets, and the password of our own; `""` for one that the user has set.

    Raises:
        TemporaryError: the configured server doesn't answer, or ours doesn't start.
        VariorumError: the port or PREFECT_HOME can't be used.
    """
    _refuse_settings_of_the_folder()
    if get_current_settings().api.url:
        reach()
        yield server_name(), ""
        return
    home()
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise VariorumError(
            f"port {port} can't be used ({why}); choose another with --port, or if a Prefect server is there, set "
            f"PREFECT_API_URL=http://127.0.0.1:{port}/api"
        ) from None
    server = launch(listener, whole=True)
    try:
        with temporary_settings(server.settings()):
            yield server.url, "" if PREFECT_SERVER_API_AUTH_STRING.value() else server.password
    finally:
        server.stop()


def _refuse_settings_of_the_folder() -> None:
    """Raise VariorumError if Prefect has read settings from the current folder, which may be somebody else's."""
    holds = {
        ".env": r"^\s*(export\s+)?PREFECT_",
        "prefect.toml": r"\S",
        "pyproject.toml": r"^\s*\[+\s*tool\s*\.\s*prefect\b",
    }
    for name, pattern in holds.items():
        with suppress(OSError):
            if re.search(pattern, Path(name).read_text(errors="replace"), re.MULTILINE | re.IGNORECASE):
                raise VariorumError(
                    f"{Path(name).absolute()} has settings of Prefect, which could lead to another server; give "
                    f"them as variables or in a profile (prefect config set), start the command elsewhere, {OTHERWISE}"
                )


def server_name() -> str:
    """The URL of the server in use, without secrets."""
    return shown(get_current_settings().api.url or "")


def reach() -> None:
    """Check that the server answers as Prefect's does. Raises TemporaryError, after half a minute at most."""
    if trouble := trouble_with_server((*PAUSES, None)):
        raise TemporaryError(
            f"{server_name()}: no Prefect server answers there ({trouble}); start it, correct PREFECT_API_URL, "
            f"{OTHERWISE}"
        )


def check_still_there(error: BaseException) -> None:
    """After an error, look whether the server has gone away, and raise TemporaryError if so; but not for Ctrl-C."""
    if isinstance(error, VariorumError) or not (trouble := trouble_with_server()):
        return
    drop_events()
    if isinstance(error, Exception):
        raise TemporaryError(
            f"{server_name()}: the Prefect server is gone ({trouble}); finished work is kept: run the same command "
            f"again, {OTHERWISE}"
        ) from error


def drop_events() -> None:
    """Drop the events that nobody can receive: Prefect would try to send each for ten seconds before the process ends.

    There is no public way. If Prefect changes its names, the process only ends later.
    """
    try:
        from prefect.events.worker import EventsWorker

        instances: dict[Any, Any] = EventsWorker._instances  # type: ignore[misc]
        for worker in list(instances.values()):
            while not worker._queue.empty():
                worker._queue.get_nowait()
    except (ImportError, AttributeError, queue.Empty) as error:
        log.warning("Prefect's events can't be dropped (%s): the end may take minutes", error)


def trouble_with_server(pauses: tuple[float | None, ...] = (None,)) -> str:
    """Why the server doesn't answer, asked once more after each pause; empty if it does."""
    trouble = ""
    for pause in pauses:
        try:
            with (
                temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
                get_client({"timeout": PATIENCE}, sync_client=True) as client,
            ):
                if error := client.api_healthcheck():
                    raise error
                client.raise_for_api_version_mismatch()
            return ""
        except Exception as error:  # of httpx, of JSON, of Prefect: all mean that there is no usable server
            trouble = reason(error.__cause__ or error)
        if pause is not None:
            time.sleep(pause)
    return trouble


def reason(error: BaseException) -> str:
    """The first line of an error, or its name, without secrets."""
    lines = str(error).strip().splitlines()
    return without_secrets(lines[0] if lines else type(error).__name__)


@cache
def start() -> OwnServer:
    """Start a server for this process, once; its database is the one in PREFECT_HOME."""
    with alone(home() / "starting"), socket.create_server(("127.0.0.1", 0)) as listener:
        return launch(listener)


def leave_to_end() -> None:
    """Let our own server end by itself, after this process, which then needn't wait for it."""
    if start.cache_info().currsize:
        atexit.unregister(start().stop)


def launch(listener: socket.socket, *, whole: bool = False) -> OwnServer:
    """Start a server on a listening socket, which it takes over, and wait until it answers.

    Args:
        listener: on a loopback address.
        whole: whether it has web pages and starts scheduled runs; a single run needs neither.

    Raises:
        TemporaryError: it doesn't start.
    """
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    password = str(PREFECT_SERVER_API_AUTH_STRING.value() or secrets.token_urlsafe(24))
    remember_values(password)
    log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server
    words = [str(listener.fileno()), str(os.getpid()), *(["whole"] if whole else [])]
    process = subprocess.Popen(  # noqa: S603
        python(server_process.__file__, *words),
        env={
            **(WHOLE if whole else {}),
            **os.environ,
            **get_current_settings().to_environment_variables(exclude_unset=True),
            "PREFECT_SERVER_API_AUTH_STRING": password,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": origin,
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        },
        pass_fds=[listener.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C of a terminal goes to all of a session, but the end of a run is recorded
    )
    listener.close()
    server = OwnServer(process, f"{origin}/api", log, password)
    atexit.register(server.stop)  # Prefect's threads have sent what they know by then
    wait_for(server)
    return server


def wait_for(server: OwnServer) -> None:
    """Wait until the server answers. Raises TemporaryError if it ends before, or takes too long."""
    seconds = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    end = time.monotonic() + seconds
    with temporary_settings(server.settings()):
        while trouble := trouble_with_server():
            if server.process.poll() is not None:
                why = without_secrets(server.last_words())
                raise TemporaryError(f"Prefect's own server doesn't start ({why}); check PREFECT_HOME, {OTHERWISE}")
            if time.monotonic() > end:
                raise TemporaryError(
                    f"Prefect's own server doesn't answer after {seconds} seconds ({trouble}); set "
                    f"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS to wait longer, {OTHERWISE}"
                )
            time.sleep(0.1)


def home() -> Path:
    """The folder in PREFECT_HOME for files of ours. Raises VariorumError if it can't be written."""
    folder = Path(PREFECT_HOME.value()) / "variorum"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise VariorumError(
            f"PREFECT_HOME {folder.parent}: can't be written ({error.strerror}); set PREFECT_HOME to a folder that "
            f"can, {OTHERWISE}"
        ) from error
    return folder


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock, or give up after the time that a server may take: two that make one database at once fail."""
    end = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    with path.open("w") as file:
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:  # this file system knows no locks
                break
        yield
