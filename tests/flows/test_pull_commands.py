"""`variorum pull`: an edition, other people's tars, and what it says if it can't."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from edition_to_pull import EDITION, RELEASE, make
from served_files import serving
from warm_command import MAIN


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `edition_to_pull`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return make(tmp_path_factory.mktemp("made"))


@pytest.mark.slow
def test_an_edition(made, command):
    with serving(made) as web:
        done = command("pull", f"{web.url}/{RELEASE}", "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (said["edition"], said["kept"], said["card"]) == (RELEASE, 0, "author")
        done = command("pull", f"{web.url}/{RELEASE}", "--digest", said["digest"])
    assert "0.0 MB fetched" in done.stdout
    assert "as expected" in done.stdout
    assert "\x1b" not in done.stdout
    assert command("verify", "street").returncode == 0


@pytest.mark.slow
def test_tars(made, command, tmp_path):
    with serving(made / EDITION) as web:
        url = f"{web.url}/data/{{test,train}}-00000-of-00002.tar"
        done = command("pull", url, "--as", "theirs@2.0.0", "--only-fetch", "--json")
        assert done.returncode == 0, done.stderr
        recipe = Path(json.loads(done.stdout)["recipe"])
        assert recipe.is_relative_to(tmp_path / "store" / "pulled" / "theirs")
        done = command("pull", url, "--as", "theirs@2.0.0")
        assert done.returncode == 0, done.stderr
        assert "members that the edition doesn't have: json" in done.stdout
        assert "theirs@2.0.0" in done.stdout
        # another set of this name and version: a sealed version never changes
        done = command("pull", f"{web.url}/data/test-00000-of-00002.tar", "--as", "theirs@2.0.0")
    assert done.returncode == 1
    assert "--as theirs@2.1.0" in done.stderr
    assert command("verify", "theirs@2.0.0").returncode == 0


def test_what_cannot_be_pulled(made, command, tmp_path):
    for words, code, says in (
        (("nowhere",), 1, "doesn't exist"),
        ((str(tmp_path),), 1, "it names no tars"),
        ((str(made / EDITION), "--digest", "0" * 64), 1, "another edition of this name"),
        ((str(made / EDITION), "--as", "mine"), 2, "its digest covers its name"),
        ((str(made / EDITION), "--revision", "1.0.0"), 1, "only a dataset on the Hub"),
    ):
        done = command("pull", *words)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "store" / "editions" / "street").exists()


@pytest.mark.slow
def test_a_pull_that_is_killed(made, command, tmp_path):
    """Nothing of the edition shows, and the same command continues with the rest of the file."""
    begun, stop = threading.Event(), threading.Event()

    def hang(handler, data):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        handler.wfile.flush()
        begun.set()
        handler.close_connection = True
        return stop.wait(60)

    words = ["pull", "", "--store", str(tmp_path / "store")]
    with serving(made) as web:
        web.faults["train-00000-of-00002.tar"] = hang
        words[1] = f"{web.url}/{EDITION}"
        running = subprocess.Popen([sys.executable, "-c", MAIN, *words], stderr=subprocess.DEVNULL)
        assert begun.wait(60)
        half = hashlib.sha256((made / EDITION / "data" / "train-00000-of-00002.tar").read_bytes()).hexdigest()
        wait_until(lambda: any(path.stat().st_size for path in (tmp_path / "store" / "tmp").glob(f"{half}*")))
        running.send_signal(signal.SIGKILL)
        assert running.wait(20) == -signal.SIGKILL
        stop.set()
        assert command("show").stdout.startswith("no edition")
        web.faults.clear()
        web.asked.clear()
        done = command(*words)
        assert done.returncode == 0, done.stderr
        (headers,) = (headers for path, headers in web.asked if path.endswith("train-00000-of-00002.tar"))
        assert int(headers["Range"][6:-1]) > 0
    assert command("verify", "street").returncode == 0


def wait_until(there):
    """Wait up to ten seconds for something to be there."""
    for _ in range(200):
        if there():
            return
        time.sleep(0.05)
    raise AssertionError("it didn't come")
