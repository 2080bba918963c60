"""What a worker does apart from its engine: errors that travel, log lines, the stages that it keeps."""

from __future__ import annotations

import errno
import logging
import os
import pickle

import pytest
from tallied import Odd

from variorum.machine.retrying import may_pass
from variorum.runners import worker
from variorum.runners.worker import Outcome, Setup, attempt, loaded, packed, prepare, unpacked
from variorum.schemas.errors import CorruptShard, ModelUnavailable, StoreError, TemporaryError


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as found:
        return found


@pytest.mark.parametrize(
    "error",
    [StoreError("full"), CorruptShard("bad"), TemporaryError("away"), ModelUnavailable("two\nlines"), KeyError("key")],
)
def test_an_error_arrives_as_it_was(error):
    found = unpacked(packed(raised(error, OSError(errno.EIO, "Input/output error"))))
    assert (type(found), str(found)) == (type(error), str(error))
    assert isinstance(found.__cause__, OSError)
    assert may_pass(found.__cause__)
    assert found.frames_there[-1].name == "raised"
    assert "test_worker.py" in found.__notes__[0]


def test_an_error_that_cannot_travel_arrives_in_words():
    found = unpacked(packed(raised(Odd("this", "that"))))
    assert repr(found) == "RuntimeError('tallied.Odd: this and that')"
    holding = raised(ValueError("held"))
    holding.connection = os.scandir(".")  # can't be pickled
    assert str(unpacked(packed(holding))) == "ValueError: held"
    holding.connection.close()


class Doubling:
    """A stage that warns; `unpickled` counts how often it has arrived."""

    unpickled = 0

    def __setstate__(self, state):
        Doubling.unpickled += 1

    def __getstate__(self):
        return {"travels": True}

    def make(self, part, advance):
        advance(3)
        advance(2)
        logging.getLogger("somewhere").warning("part %s", part)
        logging.getLogger("somewhere").debug("not this")
        return 2 * part


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """This process as a worker, and afterwards as it was."""
    monkeypatch.chdir(os.getcwd())
    for name in (*worker.THREADS, *worker.TRAVELLING):
        monkeypatch.setenv(name, "before")
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)
    monkeypatch.setattr(worker, "_setup", None)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Setup("run", str(tmp_path), ("/somewhere/else",), {"VARIORUM_KEYS": "mine"}, 1, logging.WARNING)
    root.handlers[:], root.level = handlers, level
    worker.sys.path.remove("/somewhere/else")
    worker._stage.cache_clear()


def test_a_stage_arrives_once_for_all_its_parts(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(Doubling, "unpickled", 0)
    content = pickle.dumps(("id", Doubling()))
    for part in (1, 2):
        outcome = loaded(attempt(prepared, content, pickle.dumps(part)))
        assert outcome == Outcome(2 * part, (), 5, (("somewhere", logging.WARNING, f"part {part}"),))
    assert Doubling.unpickled == 1
    assert (os.getcwd(), os.environ["VARIORUM_KEYS"], os.environ["OMP_NUM_THREADS"]) == (str(tmp_path), "mine", "1")
    assert "VARIORUM_MODELS" not in os.environ


def test_a_worker_without_the_folder_of_the_command_says_so(prepared):
    elsewhere = Setup("run", "/no/such/folder", (), {}, 1, logging.WARNING)
    with pytest.raises(StoreError, match=r"has no folder /no/such/folder; start the command in .* all machines share"):
        prepare(elsewhere)
    prepare(prepared)
