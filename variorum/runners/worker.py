"""Makes parts in a worker, whatever engine started it.

A worker keeps the job, so a model is loaded once. Log lines, progress and errors of a part come with its result.
Imports are light, because libraries read some variables when they are imported, and `prepare` sets these first.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from variorum.schemas.errors import StoreError, causes
from variorum.schemas.secrets import cleaned_error, without_secrets

Line = tuple[str, int, str]
"""Name of the logger, level and text."""
Packed = tuple[bytes, str]
"""An error, pickled (empty if it can't be), and as text."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables with the number of CPU threads of a library, which reads them once."""
TRAVELLING = (
    *("VARIORUM_MODELS", "VARIORUM_LOCK", "VARIORUM_KEYS", "VARIORUM_SEND_PICTURES_TO"),
    *("VARIORUM_STAMPS", "VARIORUM_BACKGROUNDS", "VARIORUM_STORES"),
)
"""Variables that workers get from the command, also on other machines: paths and hosts, no secrets."""
LONGEST = 5
"""Errors of a chain of causes that are sent."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The facts that a worker needs before its first part.

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


class Outcome(NamedTuple):
    """The end of a part.

    Attributes:
        result: a receipt or tables; None after an error.
        errors: the error and its causes.
        steps: its progress.
        lines: that were logged.
    """

    result: Any
    errors: tuple[Packed, ...]
    steps: int
    lines: tuple[Line, ...]


class _Forward(logging.Handler):
    """Keeps log records for the outcome of the part in work."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # a record whose arguments don't fit
            text = str(record.msg)
        _keep(record.name, record.levelno, text)


_setup: Setup | None = None
_lines: dict[int, list[Line]] = {}
"""Of each part in work, what was logged."""
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
        _stage.cache_clear()
        from variorum.stages.job import reopened

        reopened.cache_clear()
        _setup = setup


def attempt(setup: Setup, stage: bytes, part: bytes) -> bytes:
    """Make a part, and return the pickled `Outcome`. Errors are part of it; only what ends the process is raised.

    Args:
        setup: of this worker; on a cluster, another command may have used the process since.
        stage: pickled, with an id.
        part: pickled; empty to only set the worker up.
    """
    result, errors, steps, lines = None, tuple[Packed, ...](), list[int](), list[Line]()
    _lines[id(lines)] = lines
    try:
        prepare(setup)
        if part:
            result = _stage(stage).make(loaded(part), steps.append)
    except Exception as error:
        errors = packed(error)
    finally:
        del _lines[id(lines)]
    return pickle.dumps(Outcome(result, errors, sum(steps), tuple(lines)))


@lru_cache(maxsize=2)
def _stage(content: bytes) -> Any:
    return loaded(content)[1]


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


def _keep(name: str, level: int, text: str) -> None:
    """Keep a log line for the outcome of the part in work, or write it to stderr if there is none."""
    text = without_secrets(text)
    if at_work := list(_lines.values()):
        at_work[-1].append((name, level, text))
    else:
        sys.stderr.write(f"{text}\n")


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _keep("py.warnings", logging.WARNING, " ".join(str(message).split()))
