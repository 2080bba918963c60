"""Faults that a process does to itself before it runs the command: kills at a step, limits, disks that fail.

Each is called in the new process, alone or as a `functools.partial`.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import functools
import io
import os
import resource
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = ("replace", "rename", "link", "fsync", "unlink", "remove", "mkdir", "rmdir")
"""Calls of the operating system between which a store changes."""


def killed_at(number: int, after: bool) -> None:
    """End the process as `kill -9` does, before or after its step of this number; the first is 0."""

    def kill(step: int) -> None:
        if step == number:
            os.kill(os.getpid(), signal.SIGKILL)

    _at_each_step(**{"after" if after else "before": kill})


def power_fails(disk: Path) -> None:
    """Stop an ext4 at once, as if the power failed: all that isn't on the disk yet is lost, its journal included."""
    descriptor = os.open(disk, os.O_RDONLY)
    fcntl.ioctl(descriptor, 0x8004587D, struct.pack("I", 2))  # EXT4_IOC_SHUTDOWN, and nothing is flushed
    os.close(descriptor)


def power_fails_at(number: int, after: bool, disk: Path) -> None:
    """`power_fails` before or after the process's step of this number, and the process ends with it."""

    def fail(step: int) -> None:
        if step == number:
            power_fails(disk)
            os.kill(os.getpid(), signal.SIGKILL)

    _at_each_step(**{"after" if after else "before": fail})


def slowed_at(number: int, seconds: float) -> None:
    """Sleep before the step of this number, so that another process gets in between."""
    _at_each_step(before=lambda step: time.sleep(seconds if step == number else 0))


def counted(log: Path) -> None:
    """Write one byte to a file for each step."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _at_each_step(after=lambda _: os.write(descriptor, b"."))


def limited(which: int, most: int) -> None:
    """Set a limit of `resource`."""
    resource.setrlimit(which, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does at its start: writing too much is an error


def failing(part: str, errno: int, times: int, writes: bool = False) -> None:
    """Opening a file whose path contains `part` fails, the first so many times; for reading or for writing."""
    left, lock = [times], threading.Lock()

    def fail(path: str) -> None:
        with lock:
            left[0] -= 1
            if left[0] < 0:
                return
        raise OSError(errno, os.strerror(errno), path)

    _at_each_opening(part, writes, fail)


def slowed_at_opening(part: str, mark: Path, seconds: float) -> None:
    """When a file whose path contains `part` is opened for the first time, make the folder `mark` and sleep."""

    def sleep(_: str) -> None:
        with contextlib.suppress(FileExistsError):
            mark.mkdir()
            time.sleep(seconds)

    _at_each_opening(part, False, sleep)


def years_back(years: float) -> None:
    """Set the clock back, for this process."""
    for name, unit in (("time", 1.0), ("time_ns", 1e9)):
        real = getattr(time, name)
        setattr(time, name, lambda real=real, unit=unit: type(real())(real() - years * 365 * 86400 * unit))


def _at_each_step(
    before: Callable[[int], object] = lambda _: None, after: Callable[[int], object] = lambda _: None
) -> None:
    """Call functions with the number of each step, before and after it."""
    steps, lock = [0], threading.Lock()

    def step(real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with lock:
            number = steps[0]
            steps[0] += 1
        before(number)
        try:
            return real(*args, **kwargs)
        finally:
            after(number)

    for name in STEPS:
        setattr(os, name, functools.partial(step, getattr(os, name)))


def _at_each_opening(part: str, writes: bool, before: Callable[[str], object]) -> None:
    """Call a function before a file whose path contains `part` is opened for reading, or for writing."""

    def check(path: Any, writing: bool) -> None:
        if not isinstance(path, int) and writing == writes and part in os.fsdecode(path):
            before(os.fsdecode(path))

    def open_file(real: Callable[..., Any], path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        check(path, any(letter in mode for letter in "wax+"))
        return real(path, mode, *args, **kwargs)

    def open_descriptor(real: Callable[..., int], path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        check(path, bool(flags & (os.O_WRONLY | os.O_RDWR)))
        return real(path, flags, *args, **kwargs)

    io.open = builtins.open = functools.partial(open_file, builtins.open)  # type: ignore[assignment]
    os.open = functools.partial(open_descriptor, os.open)
