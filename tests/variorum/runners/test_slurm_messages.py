"""The files that a command and its jobs write to each other."""

from __future__ import annotations

import os
import stat

from variorum.machine.workplace import SUFFIX
from variorum.runners.mailbox import Pulse, put
from variorum.runners.settings import setup
from variorum.runners.slurm_jobs import Jobs, Queue, Settings


def test_a_file_appears_whole(tmp_path):
    put(tmp_path / "answer-1", b"x" * 1000)
    put(tmp_path / "answer-1", b"y")
    assert [path.name for path in tmp_path.iterdir()] == ["answer-1"]
    assert (tmp_path / "answer-1").read_bytes() == b"y"


def test_silence_is_measured_by_changes_whatever_the_clocks_say(tmp_path):
    pulse = Pulse(tmp_path / "job")
    assert not pulse.silent(60)
    assert pulse.silent(-1)
    (tmp_path / "job").touch()
    os.utime(tmp_path / "job", (1, 1))  # another machine's clock
    pulse._at -= 100
    assert not pulse.silent(60)
    pulse._at -= 100
    assert pulse.silent(60)


def test_nobody_else_can_read_what_jobs_are_sent(tmp_path):
    killed = tmp_path / "shared" / f".killed{SUFFIX}"
    killed.mkdir(parents=True)
    jobs = Jobs(Settings(cluster="local", folder=str(tmp_path / "shared")), setup(1))
    folder = jobs._made_folder()
    assert not killed.exists()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    jobs.stop()
    assert list((tmp_path / "shared").iterdir()) == []


def test_slurm_is_asked_once_for_all_jobs(tmp_path, monkeypatch):
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/log\necho '7_0 None'; echo '7_1 Priority'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    queue = Queue()
    long_ago = 1.0
    assert queue.has("7_0", long_ago)
    assert not queue.has("6", long_ago)
    assert queue.has("8", since=1e18)  # submitted after the last answer
    assert queue.jobs == {"7_0": "None", "7_1": "Priority"}
    assert (tmp_path / "log").read_text() == "asked\n"
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert Queue().has("9", long_ago)
