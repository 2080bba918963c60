"""What is said of an error that nobody foresaw, and with which code the command ends."""

from __future__ import annotations

import errno
import logging
import threading
import warnings

import pytest

from variorum.flows import endings, terminal
from variorum.flows.endings import BUG, ERROR, LATER, STOPPED, ending
from variorum.schemas.errors import RecipeError, SourceError, TemporaryError


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def system(number: int, name: str | None = "/a/b") -> OSError:
    return OSError(number, "why", name)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RecipeError("x: wrong"), ERROR, "error: x: wrong"),
        (TemporaryError("x: not now"), LATER, "error: x: not now"),
        (KeyboardInterrupt(), STOPPED, "stopped; finished work is kept"),
        (MemoryError(), LATER, "not enough memory"),
        (RuntimeError("can't start new thread"), LATER, "not enough memory (can't start new thread)"),
        (ImportError("x.so: failed to map segment from shared object"), LATER, "not enough memory"),
        (system(errno.ENOMEM), LATER, "not enough memory"),
        (system(errno.ENOSPC), ERROR, "error: /a/b: no space left (why); free some: finished work is kept"),
        (system(errno.EDQUOT), ERROR, "no space left"),
        (system(errno.EMFILE), LATER, "error: /a/b: too many open files; raise the limit with `ulimit -n 4096`"),
        (system(errno.EROFS), ERROR, "choose another place"),
        (system(errno.EACCES), ERROR, "change its permissions"),
        (system(errno.ENOENT), ERROR, "/a/b: is gone"),
        (system(errno.EIO), LATER, "/a/b: why; finished work is kept; run the same command again"),
        (system(errno.ENAMETOOLONG, "x" * 5000), ERROR, "choose another place or name"),
        (system(errno.EBUSY, None), LATER, "error: why"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), LATER, "reset"),
        (TimeoutError("timed out"), LATER, "timed out"),
        (OSError("odd"), ERROR, "error: OSError: odd"),
        (ModuleNotFoundError("No module named 'x'"), ERROR, "the installation is incomplete"),
        (ValueError("embedded null byte"), ERROR, "NUL character"),
        (RecursionError("too deep"), BUG, "unexpected RecursionError: too deep (test_endings.py, line"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), BUG, "unexpected UnicodeEncodeError"),
        (ZeroDivisionError("a\nb\nc"), BUG, "unexpected ZeroDivisionError: a (test_endings.py"),
        (KeyError(), BUG, "unexpected KeyError"),
        (AssertionError("x" * 10_000), BUG, "unexpected AssertionError"),
    ],
    ids=repr,
)
def test_every_error_is_one_line_with_a_code(error, code, said):
    text, found = ending(raised(error))
    assert found == code
    assert said in text
    assert "\n" not in text
    assert len(text) < 800
    if code == BUG:
        assert text.endswith("--debug for the traceback and report it")


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (system(errno.EMFILE), LATER),
        (MemoryError(), LATER),
        (ConnectionError("reset"), LATER),
        (system(errno.ENOENT), ERROR),
        (ValueError("x"), ERROR),
        (None, ERROR),
    ],
)
def test_an_error_for_users_may_pass_if_its_cause_may(cause, code):
    assert ending(raised(SourceError("x"), cause)) == ("error: x", code)


def test_a_bug_under_short_memory_is_short_memory():
    assert ending(raised(AttributeError("half imported"), MemoryError())).code == LATER
    assert ending(raised(KeyError("x"), system(errno.EMFILE))).code == LATER


def test_a_long_line_keeps_its_end():
    text, _ = ending(RecipeError(f"{'x' * 9000}; do this"))
    assert len(text) < 1100
    assert text.endswith("x; do this")


@pytest.fixture
def _nothing_remembered(monkeypatch):
    monkeypatch.setattr("variorum.schemas.secrets._remembered", set())


@pytest.fixture
def _one_line_each(monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr("sys.unraisablehook", None)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    factory = logging.getLogRecordFactory()
    endings.one_line_each(debug=False)
    yield
    logging.setLogRecordFactory(factory)


@pytest.mark.usefixtures("_one_line_each", "_nothing_remembered")
def test_what_libraries_say_is_one_line_each(capsys):
    log = logging.getLogger("test_endings")
    shown = logging.StreamHandler()
    log.addHandler(shown)
    try:
        raise ZeroDivisionError("secret detail")
    except ZeroDivisionError:
        log.exception("it failed\nbadly with https://u:hunter22@h/x")
    log.removeHandler(shown)
    assert capsys.readouterr().err == "it failed badly with https://h/x\n"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = endings._warn
        warnings.warn("old\n  thing", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: old thing\n"
    thread = threading.Thread(target=lambda: {}["missing"])
    thread.start()
    thread.join()
    assert capsys.readouterr().err == "warning: a thread ended by KeyError: 'missing'\n"


def test_with_debug_a_record_keeps_its_traceback():
    given = ("x", logging.ERROR, "f", 1, "a\nb", (), (ValueError, ValueError("y"), None))
    assert terminal.DebugRecord(*given).exc_info
    assert terminal.DebugRecord(*given).getMessage() == "a\nb"
    assert terminal.PlainRecord(*given).exc_info is None
    assert terminal.PlainRecord(*given).getMessage() == "a b"
