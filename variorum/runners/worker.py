"""Run a worker, whatever engine started it: set up, make parts, and send messages meanwhile.

A worker keeps the job, so a model is loaded once. Its log lines, progress and errors are sent to the command. Imports
are light, because libraries read some variables when they are imported, and `prepare` sets these first.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import sys
import threading
import time
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from variorum.schemas.errors import StoreError, causes
from variorum.schemas.secrets import cleaned_error, without_secrets

Message = tuple[int, str, Any]
"""Number within its part, kind and content: a number of `steps`, or name, level and text of a `log` line."""
Packed = tuple[bytes, str]
"""An error, pickled (empty if it can't be), and as text."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables with the number of CPU threads of a library, which reads them once."""
TRAVELLING = (
    *("VARIORUM_MODELS", "VARIORUM_LOCK", "VARIORUM_KEYS", "VARIORUM_SEND_PICTURES_TO"),
    *("VARIORUM_STAMPS", "VARIORUM_BACKGROUNDS", "VARIORUM_STORES"),
)
"""Variables that workers get from the command, also on other machines: paths and hosts, no secrets."""
OFTEN = 0.2
"""Seconds between two messages of progress."""
LONGEST = 5
"""Errors of a chain of causes that are sent."""
KEPT = 2
"""Stages that a worker keeps open."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker must know before its first part.

    Attributes:
        run: id of the command; a worker of the next command opens the data anew.
        folder: the command's working directory, which relative paths start from.
        path: the command's `sys.path`.
        variables: of the environment.
        threads: CPU threads of one worker.
        level: of log records that are sent.
    """

    run: str
    folder: str
    path: tuple[str, ...]
    variables: Mapping[str, str]
    threads: int
    level: int

    @classmethod
    def here(cls, run: str, threads: int) -> Setup:
        """The setup of workers for this process."""
        variables = {name: os.environ[name] for name in TRAVELLING if name in os.environ}
        level = logging.getLogger().getEffectiveLevel()
        return cls(run, os.getcwd(), tuple(sys.path), variables, threads, level)


@dataclass(frozen=True, slots=True)
class Sent:
    """A stage as it is sent.

    Attributes:
        token: its id; a worker that has the stage needs no content.
        content: the pickled stage.
    """

    token: str
    content: bytes


class Outcome(NamedTuple):
    """How a part ended.

    Attributes:
        result: a receipt or tables; None after an error.
        errors: the error and its causes.
        messages: all of the part.
    """

    result: Any
    errors: tuple[Packed, ...]
    messages: tuple[Message, ...]


@dataclass(slots=True)
class Report:
    """The messages of a part: kept for its outcome, and sent at once if the engine can.

    Attributes:
        send: called with each message, from any thread; None if the engine can't send during a part.
    """

    send: Callable[[Message], None] | None = None
    messages: list[Message] = field(default_factory=list)
    _steps: int = 0
    _said: float = 0.0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def advance(self, steps: int) -> None:
        """Count progress, and send it now and then."""
        with self._lock:
            self._steps += steps
            if time.monotonic() - self._said >= OFTEN:
                self.flush()

    def flush(self) -> None:
        """Send the progress that hasn't been sent."""
        with self._lock:
            if self._steps:
                steps, self._steps, self._said = self._steps, 0, time.monotonic()
                self.say("steps", steps)

    def say(self, kind: str, content: Any) -> None:
        """Keep and send a message."""
        with self._lock:
            message = (len(self.messages), kind, content)
            self.messages.append(message)
            if self.send:
                self.send(message)


class _Forward(logging.Handler):
    """Adds log records to the report of the part in work."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = (record.name, record.levelno, record.getMessage())
        except Exception:  # a record whose arguments don't fit
            said = (record.name, record.levelno, str(record.msg))
        _say_log(said)


_setup: Setup | None = None
_stages: OrderedDict[str, Any] = OrderedDict()
_reports: list[Report] = []
_lock = threading.Lock()


def prepare(setup: Setup) -> None:
    """Make this process a worker of a command. Does nothing if it is one already.

    Raises:
        StoreError: the command's working directory doesn't exist here, so this machine doesn't share its disk.
    """
    global _setup
    with _lock:
        if setup == _setup:
            return
        for name in THREADS:
            os.environ[name] = str(setup.threads)
        for name in TRAVELLING:
            os.environ.pop(name, None)
        os.environ.update(setup.variables)
        sys.path.extend(place for place in setup.path if place not in sys.path)
        if os.getcwd() != setup.folder:
            if not Path(setup.folder).is_dir():
                raise StoreError(
                    f"the worker on {platform.node()} has no folder {setup.folder}; start the command in a folder on a "
                    f"disk that all machines share"
                )
            os.chdir(setup.folder)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(setup.threads)
        root = logging.getLogger()
        if not any(isinstance(handler, _Forward) for handler in root.handlers):
            root.addHandler(_Forward())
        root.setLevel(setup.level)
        warnings.showwarning = _warn
        _stages.clear()
        from variorum.stages.job import reopened

        reopened.cache_clear()
        _setup = setup


def attempt(sent: Sent, part: bytes, report: Report) -> bytes:
    """Make a part, and return the pickled `Outcome`. Errors are part of it; only what ends the process is raised.

    Args:
        sent: the stage; its content may be empty if this process has it.
        part: pickled.
        report: gets the messages.
    """
    result, errors = None, tuple[Packed, ...]()
    with _reporting(report):
        try:
            result = stage(sent).make(loaded(part), report.advance)
        except Exception as error:
            errors = packed(error)
        report.flush()
    return pickle.dumps(Outcome(result, errors, tuple(report.messages)))


def stage(sent: Sent) -> Any:
    """The stage, unpickled once."""
    with _lock:
        if sent.token not in _stages:
            _stages[sent.token] = loaded(sent.content)
            while len(_stages) > KEPT:
                _stages.popitem(last=False)
        return _stages[sent.token]


def loaded(content: bytes) -> Any:
    """Unpickle what this command or one of its workers has pickled; nobody else can write where it comes from."""
    return pickle.loads(content)  # noqa: S301 - see above


def packed(error: BaseException) -> tuple[Packed, ...]:
    """An error and its causes, ready to be sent, without secrets: engines log and keep what they send."""
    found: list[Packed] = []
    error = cleaned_error(error)
    for one in islice(causes(error), LONGEST):
        words = "".join(traceback.format_exception_only(one)).strip()
        one.frames_there = list(traceback.extract_tb(one.__traceback__))  # type: ignore[attr-defined]
        if one is error:
            said = "".join(traceback.format_exception(one))
            one.add_note(f"in process {os.getpid()} on {platform.node()}:\n{said}")
        try:
            found.append((pickle.dumps(one), words))
        except Exception:  # whatever somebody's class raises, or holds
            found.append((b"", words))
    return tuple(found)


def unpacked(errors: tuple[Packed, ...]) -> Exception:
    """The error with its type, text and causes; a RuntimeError with its text if it couldn't be pickled."""
    found: list[Exception] = []
    for content, words in errors:
        try:
            error = loaded(content)
        except Exception:  # its class isn't here, or takes other arguments
            error = None
        error = error if isinstance(error, Exception) else RuntimeError(words)
        if found:
            found[-1].__cause__ = error
        found.append(error)
    return found[0]


@contextmanager
def _reporting(report: Report) -> Iterator[None]:
    with _lock:
        _reports.append(report)
    try:
        yield
    finally:
        with _lock:
            _reports.remove(report)


def _say_log(said: tuple[str, int, str]) -> None:
    """Add a log line to the part in work, or write it to stderr if there is none."""
    said = (said[0], said[1], without_secrets(said[2]))
    reports = list(_reports)
    if reports:
        reports[-1].say("log", said)
    else:
        sys.stderr.write(f"{said[2]}\n")


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _say_log(("py.warnings", logging.WARNING, " ".join(str(message).split())))
