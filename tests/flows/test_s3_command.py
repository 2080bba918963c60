"""The command on a store in a bucket of a real S3 server: kills, two machines at once, keys that nobody sees."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from prefect_places import states, with_database
from s3_server import BUCKET, OWNER, STRANGER, Server

CAMPAIGN = Path(__file__).parents[1] / "campaign"
sys.path.append(str(CAMPAIGN))

from buckets import Bucket, killed_at_request  # noqa: E402 - found there
from scene import Scene, stopped, words  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the server that forks must have no threads
    return Scene(tmp_path_factory.mktemp("scene"), sizes=(4, 96))


@pytest.fixture
def bucket(s3_server, tmp_path) -> Bucket:
    return Bucket(s3_server, tmp_path)


def test_a_run_that_is_killed_three_times(scene, bucket):
    asked = words("run", scene.recipe("q"), bucket.url)
    finished: dict[str, bytes] = {}
    for request in (12, 31, 55):
        fault = partial(killed_at_request, request, bool(request % 2))
        assert scene.start(asked, fault=fault, **bucket.server.environment).ended().code == -9
        now = bucket.finished()
        assert finished.items() <= now.items(), "a part that was finished was made again"
        finished = now
    assert finished
    assert not scene.start(asked, **bucket.server.environment).ended().wrong()
    assert finished.items() <= bucket.finished().items()
    assert bucket.differs(scene.after("q", "run")) == ""


def test_two_machines_at_once_and_two_processes_on_one(scene, bucket, tmp_path):
    asked = words("run", scene.recipe("q"), bucket.url)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    caches = [tmp_path / name for name in ("one", "two", "one")]
    runs = [scene.start(asked, cache=cache, **bucket.server.environment) for cache in caches]
    with stopped(runs):
        assert [run.ended().wrong() for run in runs] == ["", "", ""]
    assert bucket.differs(scene.after("q", "run")) == ""


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

NOISY = "import logging; logging.basicConfig(level=logging.DEBUG); from variorum.flows.cli import main; main()"
"""The command, in a program that shows every record of every library."""


def run(tmp_path: Path, own: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", NOISY, *words], cwd=tmp_path, env=own, capture_output=True, text=True, check=False
    )


def environment(server: Server, tmp_path: Path, *, profile: bool) -> dict[str, str]:
    """Variables for a command whose keys lie in the environment, or in a file of profiles."""
    own = {**os.environ, **server.environment, "VARIORUM_CACHE": str(tmp_path / "left" / "cache"), "NO_COLOR": "1"}
    own |= {"PREFECT_HOME": str(tmp_path / "left" / "prefect"), "COLUMNS": "300"}
    if profile:
        (tmp_path / "keys").write_text(
            f"[mine]\naws_access_key_id={server.key.access}\naws_secret_access_key={server.key.secret}\n"
        )
        del own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"]
        own |= {"AWS_PROFILE": "mine", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys")}
    return own


def write_recipe(tmp_path: Path, photos: Path) -> None:
    source = {"name": "image_folder", "path": str(photos)}
    recipe = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 4, "source": source}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def has_key(data: bytes) -> bool:
    return any(word.encode() in data for key in (OWNER, STRANGER) for word in (key.access, key.secret))


def check_left(tmp_path: Path) -> int:
    files = [path for path in (tmp_path / "left").rglob("*") if path.is_file()]
    assert not [path for path in files if has_key(path.read_bytes())]
    return len(files)


def check_stored(server: Server, prefix: str) -> int:
    files = server.files()
    stored = {name: files.cat_file(name) for name in files.find(f"{BUCKET}/{prefix}")}
    assert not [name for name, data in stored.items() if has_key(data)]
    return len(stored)


def test_keys_of_a_profile_are_in_no_output_and_no_file(s3_server, photos, tmp_path):
    write_recipe(tmp_path, photos)
    for server, code in ((s3_server, 0), (s3_server.seen_by(STRANGER), 1)):
        own = environment(server, tmp_path, profile=True)
        asked = ("--debug", "build", "recipe.yaml", "--runner", "threads", "--store", f"s3://{BUCKET}/{tmp_path.name}")
        done = run(tmp_path, own, *asked)
        assert done.returncode == code, done.stderr
        assert not has_key((done.stdout + done.stderr).encode())
        assert "DEBUG:" in done.stderr
        assert ("forbids it; give this key the right s3:ListBucket" in done.stderr) == bool(code)
    assert check_left(tmp_path) >= 3  # the units' tables
    assert check_stored(s3_server, tmp_path.name) > 10


def test_prefect_learns_no_key(s3_server, photos, tmp_path):
    write_recipe(tmp_path, photos)
    (tmp_path / "left").mkdir()
    home = with_database(tmp_path / "left" / "prefect")
    own = environment(s3_server, tmp_path, profile=False) | {"PREFECT_LOGGING_ROOT_LEVEL": "DEBUG"}
    done = run(tmp_path, own, "run", "recipe.yaml", "--store", f"s3://{BUCKET}/{tmp_path.name}")
    assert done.returncode == 0, done.stderr
    assert not has_key((done.stdout + done.stderr).encode())
    assert states(home) == ["COMPLETED"]
    assert check_left(tmp_path) > 3
    assert check_stored(s3_server, tmp_path.name) > 10
