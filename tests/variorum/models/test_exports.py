"""Exports to ONNX: used only if they are whole and of these weights, whatever else lies beside them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from variorum.machine import workplace
from variorum.models import onnx, weights
from variorum.models.loaders import efficientnet_lite
from variorum.schemas.errors import ModelUnavailable

MADE_OF = {"weights": "ab" * 32, "revision": 2}


@pytest.fixture
def network(tmp_path):
    """Weights, and an exporter that notes its calls."""

    class Network:
        file, calls = tmp_path / "w.pth", 0

        def export(self, target):
            self.calls += 1
            target.write_bytes(b"network")

        def content(self, made_of=MADE_OF):
            return onnx.exported(self.file, made_of, self.export)

        def kept(self):
            return sorted(tmp_path.glob("*.onnx*"))

    Network.file.write_bytes(b"weights")
    return Network()


@pytest.mark.parametrize("damage", ["content", "cut", "empty", "seal", "no seal", "no content", "checksum"])
def test_a_damaged_export_is_made_again(network, caplog, damage):
    for _ in range(2):
        assert network.content() == b"network"
    assert network.calls == 1
    path, seal = network.kept()
    status = path.stat()
    if damage in ("content", "checksum"):
        path.write_bytes(b"netw0rk")
    if damage == "checksum":  # somebody, or a tool, makes the checksum fit what is there
        seal.write_text(hashlib.sha256(b"netw0rk").hexdigest())
    elif damage in ("cut", "empty"):
        path.write_bytes(b"net" if damage == "cut" else b"")
    elif damage == "seal":
        seal.write_bytes(b"")
    elif damage.startswith("no"):
        (seal if damage == "no seal" else path).unlink()
    if path.exists():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(2):
        assert network.content() == b"network"
    assert network.calls == 2
    assert network.kept() == [path, seal]
    assert ("is damaged and is exported again" in caplog.text) == (not damage.startswith("no"))


def test_an_export_of_something_else_is_not_used(network, monkeypatch):
    network.content()
    for number, made_of in enumerate([MADE_OF | {"weights": "cd" * 32}, MADE_OF | {"revision": 3}], 2):
        network.content(made_of)
        assert network.calls == number
    first, first_seal, other, other_seal = network.kept()[:4]
    shutil.copy(other, first)  # under the name of another, with its seal
    shutil.copy(other_seal, first_seal)
    for made_of in (MADE_OF, MADE_OF | {"weights": "cd" * 32}, MADE_OF | {"revision": 3}):
        network.content(made_of)
    assert network.calls == 4
    monkeypatch.setattr(onnx, "_version", lambda package: "99")
    network.content()
    assert network.calls == 5


def test_exports_that_this_version_cannot_use_go_after_a_month(network):
    folder = network.file.parent
    old, recent, others = folder / "w.export2.onnx", folder / "w.export-00.onnx.seal", folder / "x.export2.onnx"
    for path in (old, recent, others):
        path.write_bytes(b"")
    for path in (old, others):
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    network.content()
    assert not old.exists()
    assert recent.exists()
    assert others.exists()


def test_what_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nothing of the kind")
    for model in (tmp_path / "x.onnx", tmp_path / "none.onnx", b"nothing", b""):
        with pytest.raises(ModelUnavailable, match="can't be opened as ONNX"):
            onnx.open_session(model, 1, "" if isinstance(model, Path) else "mine")


@pytest.mark.slow
def test_exporting_leaves_the_network_in_evaluation_mode_and_no_half_file(table, tmp_path):
    file = tmp_path / "w.pth"
    shutil.copy(table.fetch("classifier_gate"), file)
    first = efficientnet_lite.EFFICIENTNET_LITE.load(table.entry("classifier_gate"), file, {})
    assert {"".join(item.suffixes).partition("-")[0] for item in tmp_path.iterdir()} == {".pth", ".export"}
    assert len(list(tmp_path.iterdir())) == 3
    picture = [np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)]
    assert np.array_equal(first(picture), table.get("classifier_gate")(picture))


def test_flipped_bits_in_a_real_export_change_no_answer(table, tmp_path, cat, caplog, monkeypatch):
    """Six bits, size and time kept, and a checksum that fits the damage; before a start, and right after the check."""
    real = weights.locate(table.entry("classifier_gate"), table.cache)
    file = tmp_path / real.name
    shutil.copy(real, file)
    table.get("classifier_gate")  # makes the export
    for path in real.parent.glob(f"{real.stem}.export-*"):
        shutil.copy(path, tmp_path)
    load = lambda: efficientnet_lite.EFFICIENTNET_LITE.load(table.entry("classifier_gate"), file, {})  # noqa: E731
    before = load()([cat])
    assert "damaged" not in caplog.text

    def damage():
        for path in tmp_path.glob("*.onnx"):  # there may be those of other versions of the packages too
            data, status = bytearray(path.read_bytes()), path.stat()
            for part in range(1, 7):
                data[len(data) * part // 8] ^= 64
            path.write_bytes(data)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            path.with_name(f"{path.name}.seal").write_text(hashlib.sha256(data).hexdigest())

    damage()
    assert np.array_equal(load()([cat]), before)
    assert caplog.text.count("is damaged and is exported again") == 1
    opened = efficientnet_lite.open_session
    monkeypatch.setattr(efficientnet_lite, "open_session", lambda *args: [damage(), opened(*args)][1])
    assert np.array_equal(load()([cat]), before)


# ── several processes, kills, disks ──────────────────────────────────────────────────────────────────────────────────

PROCESS = """
import os, sys, time
from pathlib import Path
from variorum.models import onnx
real, done = os.replace, []
def replace(*places):
    if len(done) == {kill}:
        os.kill(os.getpid(), 9)
    done.append(1)
    return real(*places)
os.replace = replace
def export(target):
    if {kill} == -2:
        os.kill(os.getpid(), 9)
    time.sleep(0.05)
    target.write_bytes(b"network" * 1000)
assert onnx.exported(Path({file!r}), {made_of!r}, export) == b"network" * 1000
"""


def process(file, kill=-1):
    """A process that exports; killed in the export (-2), or before its n-th rename."""
    code = PROCESS.format(kill=kill, file=str(file), made_of=MADE_OF)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kill", [-2, 0, 1])
def test_a_killed_export_is_made_by_the_next_process(tmp_path, monkeypatch, kill):
    file = tmp_path / "w.pth"
    killed = process(file, kill)
    _, said = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said
    assert list(tmp_path.glob(f".*{workplace.SUFFIX}"))
    monkeypatch.setattr(workplace, "_SWEPT", set())
    made = []
    for _ in range(2):
        content = onnx.exported(file, MADE_OF, lambda path: (made.append(1), path.write_bytes(b"network"))[1])
        assert content == b"network"
    assert len(made) == 1
    assert len(list(tmp_path.iterdir())) == 2  # nothing is left of the killed one


def test_several_processes_export_at_once(tmp_path):
    file = tmp_path / "w.pth"
    running = [process(file) for _ in range(4)]
    for one in running:
        _, said = one.communicate()
        assert one.returncode == 0, said
    assert onnx.exported(file, MADE_OF, lambda path: 1 / 0) == b"network" * 1000
    assert len(list(tmp_path.iterdir())) == 2


def test_a_read_only_cache_exports_into_the_temporary_folder(tmp_path):
    """On a really read-only mount; a chmod wouldn't stop root."""
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("needs unshare")
    place = tmp_path / "cache"
    place.mkdir()
    code = PROCESS.format(kill=-1, file=str(place / "w.pth"), made_of=MADE_OF)
    mount = f"mount --bind {place} {place} && mount -o remount,bind,ro {place} && exec {sys.executable} -c '{code}'"
    code = code.replace("'", '"')
    mount = f"mount --bind {place} {place} && mount -o remount,bind,ro {place} && exec {sys.executable} -c '{code}'"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "can't be kept (Read-only file system), so it is exported at every start" in done.stderr
    assert not list(place.iterdir())


def test_no_room_anywhere_is_one_line(network):
    def full(_target):
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelUnavailable, match=r"neither beside it nor in .*: No space left on device"):
        onnx.exported(network.file, MADE_OF, full)
    assert network.kept() == []
