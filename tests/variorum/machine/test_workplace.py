import os
import signal
import subprocess
import sys
import time

import pytest

from variorum.machine import workplace as places
from variorum.machine.workplace import sweep, workplace

OWNER = """
import sys, time
from pathlib import Path
from variorum.machine.workplace import workplace
with workplace(Path(sys.argv[1])) as folder:
    (folder / "half").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """Another process with a workplace in the folder."""
    running = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    running.stdout.readline()
    yield running
    running.kill()
    running.wait()
    running.stdout.close()


def test_a_workplace_is_empty_and_leaves_nothing(tmp_path):
    with workplace(tmp_path / "new" / "folder") as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").write_bytes(b"1")
        (folder / "file").rename(tmp_path / "kept")
        (folder / "rest").mkdir()
    with pytest.raises(ZeroDivisionError), workplace(tmp_path / "new" / "folder") as folder:
        1 / 0  # noqa: B018
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_only_a_dead_process_loses_its_workplace(tmp_path, owner):
    (mine,) = tmp_path.glob(f"*{places.SUFFIX}")
    os.utime(mine, (0, 0))  # its age doesn't matter
    sweep(tmp_path)
    assert (mine / "half").exists()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_first_use_of_a_folder_sweeps_it(tmp_path, owner, monkeypatch):
    owner.kill()
    owner.wait()
    monkeypatch.setattr(places, "_SWEPT", set())
    with workplace(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_sweeping_takes_nothing_of_others(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"1")
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("data.part", "photo.jpg", f"young{places.SUFFIX}"):
        (inside / name).write_bytes(b"1")
    (inside / "folder").mkdir()
    (inside / f"link{places.SUFFIX}").symlink_to(outside)
    (inside / f"old{places.SUFFIX}").write_bytes(b"1")
    os.utime(inside / f"old{places.SUFFIX}", (time.time() - 2 * places.STALE,) * 2)
    os.mkfifo(inside / f"fifo{places.SUFFIX}")
    sweep(inside)
    kept = {"data.part", "photo.jpg", f"young{places.SUFFIX}", "folder", f"link{places.SUFFIX}", f"fifo{places.SUFFIX}"}
    assert {path.name for path in inside.iterdir()} == kept
    assert (outside / "precious").exists()
    sweep(tmp_path / "nowhere")
