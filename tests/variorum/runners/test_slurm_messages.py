"""The files that a command and its jobs write to each other."""

from __future__ import annotations

import os
import stat

from variorum.machine.workplace import SUFFIX
from variorum.runners.mailbox import Pulse, put, read_said
from variorum.runners.settings import setup
from variorum.runners.slurm_jobs import Jobs, Settings, Watch


def test_only_whole_lines_are_heard_and_each_once(tmp_path):
    heard, file = [], tmp_path / "said"
    assert read_said(file, 0, heard.append) == 0
    file.write_text('[0, "steps", 3]\n[1, "log", ["a", 30, "ü|')
    offset = read_said(file, 0, heard.append)
    assert heard == [(0, "steps", 3)]
    file.write_text('[0, "steps", 3]\n[1, "log", ["a", 30, "ü|"]]\n')
    assert read_said(file, offset, heard.append) == file.stat().st_size
    assert heard[1:] == [(1, "log", ["a", 30, "ü|"])]


def test_a_file_appears_whole(tmp_path):
    put(tmp_path / "outcome-1", b"x" * 1000)
    put(tmp_path / "outcome-1", b"y")
    assert [path.name for path in tmp_path.iterdir()] == ["outcome-1"]
    assert (tmp_path / "outcome-1").read_bytes() == b"y"


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
    watch = Watch()
    long_ago = 1.0
    assert watch.has("7_0", long_ago)
    assert not watch.has("6", long_ago)
    assert watch.has("8", since=1e18)  # submitted after the last answer
    assert (watch.reason("7_0"), watch.reason("7_1"), watch.reason("6")) == ("", " (Priority)", "")
    assert (tmp_path / "log").read_text() == "asked\n"
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert Watch().has("9", long_ago)
