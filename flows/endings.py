"""End the command: every error becomes one line that says what to do, and an exit code.

0    done
1    an error: a wrong recipe, missing data, a damaged or full store
2    wrong usage: an unknown command or option; for `report`, an unknown model, suite or row
3    `known --fail`: a picture is known, or can't be read
4    `report --fail-below` or `--fail-worse`: a model is below a limit; the page is written
70   a bug; the line names the exception, and --debug shows the traceback
75   something failed for now (memory, open files, a network): the same command may succeed later
129, 130, 141, 143   ended by a closed terminal, Ctrl-C, a closed pipe (`| head`), or SIGTERM
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import select
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import typer

from variorum.flows import terminal
from variorum.machine.retrying import may_pass
from variorum.schemas.errors import TemporaryError, VariorumError, causes, cut

DONE, ERROR, USAGE, KNOWN, GUARD, BUG, LATER, STOPPED, CLOSED = 0, 1, 2, 3, 4, 70, 75, 130, 141
LONGEST = 1000
"""Characters of a line."""
AGAIN = "finished work is kept; run the same command again"
MEMORY = (
    *("can't start new thread", "cannot allocate memory", "can't allocate memory", "failed to allocate", "bad_alloc"),
    *("bad allocation", "out of memory", "not enough memory", "unable to allocate", "failed to map segment"),
)
"""What libraries say in errors of their own kinds when memory is short."""
SERVICES = frozenset(
    {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "httpcore", "httpcore2"}
    | {"httpx", "httpx2", "huggingface_hub", "requests", "urllib3"}
)
"""Packages that talk to other machines; their errors have no common base."""


class Ending(NamedTuple):
    """One line for people, and the exit code; without text nothing is printed."""

    text: str
    code: int


def say(error: BaseException, *, debug: bool) -> int:
    """Say on stderr what ended the command; returns the exit code."""
    if hasattr(error, "format_message"):  # typer's and click's errors of usage
        return _misused(error)
    if isinstance(error, SystemExit):
        if not isinstance(error.__context__, BrokenPipeError):
            return error.code if isinstance(error.code, int) else ERROR
        if _of_rich(error):
            return CLOSED
        error = error.__context__  # typer has caught it
    text, code = ending(error)
    if code == CLOSED:
        close_output()
        return code
    with suppress(OSError):  # nobody reads it
        if debug:
            terminal.say("".join(traceback.format_exception(error)), err=True)
        typer.secho(terminal.plain(text), fg="red", err=True)
    return code


def _misused(error: Any) -> int:
    """Say what is wrong with the words of a command line; without any words, the help has been shown."""
    if type(error).__name__ != "NoArgsIsHelpError":
        said = cut(" ".join(terminal.plain(error.format_message()).split())).rstrip(".")
        path = error.ctx.command_path if getattr(error, "ctx", None) else "variorum"
        typer.secho(f"error: {said}; see: {path} --help", fg="red", err=True)
    return USAGE


def ending(error: BaseException) -> Ending:
    """Return the line and the exit code of an error that ends the command."""
    if isinstance(error, KeyboardInterrupt):
        return Ending("stopped; finished work is kept, and the same command continues from there", STOPPED)
    if isinstance(error, BrokenPipeError) and reader_is_gone():
        return Ending("", CLOSED)
    if isinstance(error, VariorumError):
        passing = isinstance(error, TemporaryError) or any(may_pass(cause) for cause in causes(error))
        text = "\n".join(map(_shortened, str(error).splitlines()))
        return Ending(f"error: {text}", LATER if passing else ERROR)
    if any(short_of_memory(one) for one in causes(error)):
        why = cut(_first_line(error))
        return Ending(f"error: not enough memory ({why}); {AGAIN} with more, or with fewer --workers", LATER)
    if found := next((one for one in causes(error) if isinstance(one, OSError) and _no_descriptor(one)), None):
        return _system(found)
    if isinstance(error, OSError) and error.errno is not None:
        return _system(error)
    if isinstance(error, ImportError):
        return Ending(f"error: {cut(_first_line(error))}; the installation is incomplete: install it again", ERROR)
    packages, kind = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}, type(error).__name__
    if "prefect" in packages:
        why = f"{kind}: {cut(_first_line(error))}"
        return Ending(f"error: Prefect failed ({why}); {AGAIN}, or use --runner threads, which needs no server", LATER)
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return Ending("error: a path has a NUL character in it; no file has such a name", ERROR)
    if packages & SERVICES or isinstance(error, OSError) or _of_a_url(error):
        passing = may_pass(error) or any(word in kind for word in ("Connect", "Timeout", "Protocol"))
        way = AGAIN if passing else "check the address, the network and the credentials"
        return Ending(f"error: {kind}: {cut(_first_line(error))}; {way}", LATER if passing else ERROR)
    place, ours = _place(error)
    whose = "; this is a bug: run the same command with --debug for the traceback and report it"
    whose = whose if ours else "; run the same command with --debug for the traceback"
    return Ending(f"error: unexpected {kind}: {cut(_first_line(error))}{place}{whose}", BUG)


def short_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory, address space or threads ran out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = str(error).lower()
    return any(word in said for word in MEMORY)


def _system(error: OSError) -> Ending:
    """An error of the operating system, with its file."""
    name = f"{cut(str(error.filename))}: " if error.filename is not None else ""
    why = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Ending(f"error: {name}no space left ({why}); free some: {AGAIN}", ERROR)
    if _no_descriptor(error):
        return Ending(f"error: {name}too many open files; raise the limit with `ulimit -n 4096`: {AGAIN}", LATER)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Ending(f"error: {name}{why}; change its permissions, or choose another place", ERROR)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return Ending(f"error: {name}is gone ({why}); {AGAIN}, which makes what is missing", ERROR)
    if may_pass(error):
        return Ending(f"error: {name}{why}; {AGAIN}", LATER)
    return Ending(f"error: {name}{why}; choose another place or name", ERROR)


def _no_descriptor(error: OSError) -> bool:
    return error.errno in (errno.EMFILE, errno.ENFILE)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _shortened(line: str) -> str:
    """A line of which the middle is left out if it is too long to read."""
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


def _of_a_url(error: BaseException) -> bool:
    """Return whether an error comes from `fsspec` or a package that talks to other machines."""
    frames = traceback.walk_tb(error.__traceback__)
    packages = {str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in frames}
    return bool(packages & {*SERVICES, "fsspec"})


def _place(error: BaseException) -> tuple[str, bool]:
    """The last line outside of installed packages that led to the error, and whether it is this project's own."""
    project = Path(__file__).resolve().parents[1]
    frames = getattr(error, "frames_there", None) or traceback.extract_tb(error.__traceback__)  # of a worker, or here
    for frame in reversed(frames):
        file = Path(frame.filename).resolve()
        ours = file.is_relative_to(project) and ".venv" not in file.parts
        if ours or not {"site-packages", f"python{sys.version_info[0]}.{sys.version_info[1]}"} & set(file.parts):
            return f" ({file.name}, line {frame.lineno})", ours
    return "", True


def reader_is_gone() -> bool:
    """Return whether the program that reads this one's output has closed it, as `head` does."""
    poll = select.poll()
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream:
                poll.register(stream.fileno(), select.POLLERR)
        except (OSError, ValueError):
            continue
    return bool(poll.poll(0))


def _of_rich(error: BaseException) -> bool:
    """Return whether Rich ends the process because nobody reads its output, which then goes nowhere already."""
    return any(frame.f_code.co_name == "on_broken_pipe" for frame, _ in traceback.walk_tb(error.__traceback__))


def close_output() -> None:
    """Send what is still written to a closed pipe nowhere, so that the interpreter doesn't complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream:
            os.dup2(nowhere, stream.fileno())


def one_line_each(*, debug: bool) -> None:
    """Make what libraries print on their own a line each: warnings, log records, errors of threads and of clean-up.

    Args:
        debug: show them in full.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # closed by the shell: `>&-`
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.setLogRecordFactory(terminal.DebugRecord if debug else terminal.PlainRecord)
    logging.raiseExceptions = debug
    if debug:
        return
    warnings.showwarning = _warn
    sys.unraisablehook = lambda _: None
    threading.excepthook = _thread_ended


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    terminal.say(f"warning: {cut(' '.join(str(message).split()))}", err=True)


def _thread_ended(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None and not isinstance(given.exc_value, SystemExit):
        kind = type(given.exc_value).__name__
        terminal.say(f"warning: a thread ended by {kind}: {cut(_first_line(given.exc_value))}", err=True)


def leave(code: int) -> NoReturn:
    """End this process after all that Python does at its end, but before it takes the interpreter apart.

    Arrow's threads outlive it. One that then frees memory of Python's, as after a table was read from bytes, waits for
    an interpreter that is gone. Python unwinds such a thread, which C++ answers with `terminate called without an
    active exception` and SIGABRT, after the work was done. `multiprocessing` ends its processes in the same way.
    """
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        with suppress(BaseException):  # a second Ctrl-C; a reader that is gone
            step()
    os._exit(code)
