"""Tokens planted wherever a user may put them are in no byte that a command prints, stores, caches or gives to Prefect.

The pictures lie on a server of the test's own, which wants a password and a token.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import stat
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from prefect_places import states, with_database
from warm_command import run_command

PLUGINS = Path(__file__).parents[1] / "plugins"
USER, PASSWORD, TOKEN = "agent0007", "shakennotstirred", "licencetokill77"
ENVIRONMENT = {"HF_TOKEN": "hf_moneypennymoneypenny", "AWS_SECRET_ACCESS_KEY": "goldfingergoldfinger"}
STORE = "diamondsareforever"
PLANTED = (PASSWORD, TOKEN, STORE, *ENVIRONMENT.values())


class Guarded(SimpleHTTPRequestHandler):
    """Gives files to who knows the password and the token."""

    def do_GET(self) -> None:
        if self.allowed():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self.allowed():
            super().do_HEAD()

    def allowed(self) -> bool:
        right = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {right}" and f"token={TOKEN}" in self.path:
            return True
        self.send_error(401)
        return False

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(photos, tmp_path) -> Iterator[str]:
    """`127.0.0.1:port` of a server that has `x.tar`."""
    folder = tmp_path / "served"
    folder.mkdir()
    with tarfile.open(folder / "x.tar", "w") as tar:
        for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
            for ending, data in (("jpg", path.read_bytes()), ("cls", b"%d" % (number % 3))):
                info = tarfile.TarInfo(f"{number:03d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def write_recipe(tmp_path: Path, source: dict[str, str]) -> None:
    rules = [{"when": [{"column": "quality.score", "above": 5.0}], "action": "review", "reason": "odd"}]
    data = {
        "dataset": "d",
        "version": "1.0.0-dev",
        "samples_per_shard": 4,
        "source": source,
        "generate": [{"name": "probe"}],
        "curate": [{"name": "quality"}, {"name": "policy", "rules": rules}],
        "evaluate": [{"name": "brightness"}],
        "card": {"title": "Photographs"},
    }
    (tmp_path / "recipes").mkdir(exist_ok=True)
    (tmp_path / "recipes" / "recipe.yaml").write_text(yaml.safe_dump(data))


def call(tmp_path: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit code and all output of the command."""
    own = {"VARIORUM_CACHE": str(tmp_path / "left" / "cache"), "COLUMNS": "300", "NO_COLOR": "1", **ENVIRONMENT}
    own |= {"PREFECT_HOME": str(tmp_path / "left" / "prefect"), "HF_HUB_OFFLINE": "1"}
    own["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(PLUGINS)])
    done = run_command(words, tmp_path, {**os.environ, **own, **environment})
    return done.returncode, done.stdout + done.stderr


def found_in(text: bytes) -> list[str]:
    return [word for word in (*PLANTED, f"{USER}:") if word.encode() in text]


def check_files(tmp_path: Path) -> int:
    """How many files a run left; none has a planted word in its content or its name."""
    files = list((tmp_path / "left").rglob("*"))
    for path in files:
        assert not found_in(str(path.relative_to(tmp_path)).encode()), path
        if path.is_file():
            assert not found_in(path.read_bytes()), path
    return len(files)


def hidden(outcome: tuple[int, str], code: int = 0) -> str:
    found, text = outcome
    assert found == code, text
    assert not found_in(text.encode()), text
    return text


def test_no_byte_that_a_command_leaves_has_a_secret(address, tmp_path):
    write_recipe(tmp_path, {"name": "webdataset", "shards": f"http://{USER}:{PASSWORD}@{address}/x.tar?token={TOKEN}"})
    store, recipe = ("--store", "left/store"), "recipes/recipe.yaml"
    hidden(call(tmp_path, "run", recipe, "--runner", "threads", *store))
    hidden(call(tmp_path, "plan", recipe, *store))
    said = hidden(call(tmp_path, "curate", recipe, "--runner", "threads", *store))
    assert "to carry it out: variorum release" in said
    for words in (("show", "d"), ("verify", "d"), ("card", recipe), ("show", "d", "--json")):
        hidden(call(tmp_path, *words, *store))
    place = (tmp_path / "left/store/editions/d/1.0.0-dev/source.txt").read_text()
    assert place == f"webdataset shards=http://{address}/x.tar"
    wrong = f"source.shards=http://{USER}:{PASSWORD}@{address}/y.tar?token={TOKEN}"
    assert "y.tar" in hidden(call(tmp_path, "plan", recipe, *store, "--set", wrong), 1)
    assert "Traceback" in hidden(call(tmp_path, "--debug", "plan", recipe, *store, "--set", wrong), 1)
    refused = f"source.shards=http://{USER}:{STORE}@{address}/x.tar?token={TOKEN}"
    hidden(call(tmp_path, "plan", recipe, *store, "--set", refused), 1)
    assert check_files(tmp_path) > 30


@pytest.mark.parametrize(
    ("url", "codes"),
    [
        (f"s3://{USER}:{STORE}@bucket/x", (1, 75)),
        (f"ftp://{USER}:{STORE}@127.0.0.1:9/x", (1, 75)),
        (f"http://{USER}:{STORE}@127.0.0.1:9/x?token={TOKEN}", (1, 75)),
        (f"memory://{USER}:{STORE}@box/x", (0,)),
        (f"nosuch://{USER}:{STORE}@box/x", (1,)),
    ],
)
def test_the_credentials_of_a_store_are_not_told(url, codes, photos, tmp_path):
    write_recipe(tmp_path, {"name": "image_folder", "path": str(photos)})
    for words in (("run", "recipes/recipe.yaml", "--runner", "threads", "--store", url), ("show", "--store", url)):
        code, text = call(tmp_path, *words)
        assert code in codes
        assert not found_in(text.encode()), text
    code, text = call(tmp_path, "show", VARIORUM_STORE=url)
    assert code in codes
    assert not found_in(text.encode()), text
    check_files(tmp_path)


@pytest.mark.slow
def test_prefect_learns_no_secret(address, tmp_path):
    url = f"http://{USER}:{PASSWORD}@{address}/x.tar?token={TOKEN}"
    write_recipe(tmp_path, {"name": "webdataset", "shards": url})
    (tmp_path / "left").mkdir()
    home = with_database(tmp_path / "left" / "prefect")
    hidden(call(tmp_path, "run", "recipes/recipe.yaml", "--store", "left/store"))
    bad = {"name": "webdataset", "shards": url.replace("x.tar", "y.tar")}
    (tmp_path / "recipes" / "wrong.yaml").write_text(
        yaml.safe_dump({"dataset": "wrong", "version": "1.0.0", "source": bad})
    )
    text = hidden(call(tmp_path, "run", "recipes/wrong.yaml", "--store", "left/store"), 1)
    assert "y.tar" in text
    assert "COMPLETED" in states(home)
    assert check_files(tmp_path) > 30


RUNNERS = {
    "threads": "sys",
    "prefect": "sys",
    "processes": "sys",
    "ray": "ray",
    "dask": "distributed",
    "slurm": "submitit",
}


@pytest.mark.slow
@pytest.mark.parametrize("runner", RUNNERS)
def test_exceptions_are_kept_without_secrets(runner, photos, tmp_path):
    """Engines log, pickle and store what a component raises: Prefect in its database, others in files."""
    pytest.importorskip(RUNNERS[runner])
    source = {"name": "image_folder", "path": str(photos)}
    recipe = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 4, "source": source}
    (tmp_path / "recipe.yaml").write_text(
        yaml.safe_dump({**recipe, "generate": [{"name": str(PLUGINS / "telling.py")}]})
    )
    with tempfile.TemporaryDirectory() as short:  # Ray's sockets need a short path
        own = {"TMPDIR": str(tmp_path / "left"), "RAY_TMPDIR": short, "PREFECT_LOGGING_LEVEL": "DEBUG"}
        (tmp_path / "left").mkdir()
        if runner == "prefect":
            with_database(tmp_path / "left" / "prefect")
        words = ["run", "recipe.yaml", "--runner", runner, "--workers", "2", "--store", "left/store"]
        words += ["--runner-set", "cluster=local"] if runner == "slurm" else []
        text = hidden(call(tmp_path, *words, **own), 70)
        assert "refused with ***" in text
        assert "the token is ***" in text
        shutil.copytree(
            short, tmp_path / "left" / "ray", symlinks=True, ignore=lambda place, names: sockets(place, names)
        )
    assert check_files(tmp_path) > 3


def sockets(place: str, names: list[str]) -> list[str]:
    return [name for name in names if stat.S_ISSOCK((Path(place) / name).lstat().st_mode)]
