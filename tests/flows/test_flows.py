"""Prefect as a runner, on a real temporary server: the same edition as threads make, retries, artifacts, GPU slots."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
import yaml

from variorum.edition.editions import resolve
from variorum.edition.store import Store, hash_file
from variorum.run import Job, Threads, build, curate, release, run
from variorum.schemas.errors import StoreError, TooManyFailures
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build

pytestmark = [
    pytest.mark.usefixtures("own_cache"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets of the server's client
]


@pytest.fixture(scope="session")
def server():
    from prefect.testing.utilities import prefect_test_harness

    import variorum.flows.settings  # noqa: F401

    with prefect_test_harness(server_startup_timeout=180):
        yield


def recipe(photos: Path, **probe) -> Recipe:
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 4,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "probe", **probe}],
            "evaluate": [{"name": "brightness"}],
        }
    )


def tree(url: str) -> dict[str, str]:
    root = Path(url)
    return {
        str(path.relative_to(root)): hash_file(path)
        for path in [*root.glob("objects/*.tar"), *root.glob("editions/*/*/manifest.json")]
    }


def artifacts(key: str) -> list:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))


def flow(what: Recipe, url: str, work=run, workers: int = 1):
    """Some work on a recipe inside a flow, as the command line does it."""
    from variorum.flows.prefect_runner import in_flow

    return in_flow("test", work, Job(what, url), workers=workers)


def test_a_flow_makes_what_threads_make(server, photos, tmp_path):
    what = recipe(photos)
    manifest = flow(what, str(tmp_path / "flow"), workers=2)
    plain = run(Job(what, str(tmp_path / "plain")))
    assert manifest.digest() == plain.digest()
    assert tree(str(tmp_path / "flow")) == tree(str(tmp_path / "plain"))
    assert "negative_0" in str(artifacts("counts")[0].data)
    assert "d@1.0.0" in str(artifacts("card")[0].data)
    assert artifacts("units")[-1].data == 100.0
    receipts = {path: path.stat().st_mtime_ns for path in (tmp_path / "flow" / "units").iterdir()}
    assert flow(what, str(tmp_path / "flow")) == manifest
    assert receipts == {path: path.stat().st_mtime_ns for path in (tmp_path / "flow" / "units").iterdir()}


def test_curation_in_a_flow_is_that_of_threads(server, photos, tmp_path):
    steps = [{"name": "bright"}, {"name": "bright_rules", "drop": 3}, {"name": "dependent"}]
    what = Recipe.parse({**recipe(photos).dump(), "curate": steps})
    url = str(tmp_path / "flow")
    released = flow(what, url)
    job = Job(what, str(tmp_path / "plain"))
    manifest = build(job)
    number, ledger = curate(job, manifest, Threads(2))
    assert released == release(job, manifest, number, ledger)
    assert released.version == "1.0.0-r1"
    assert tree(url) == tree(str(tmp_path / "plain"))
    assert "too_bright" in str(artifacts("verdicts")[-1].data)
    assert flow(what, url, lambda job, runner, progress: curate(job, manifest, runner, progress)) == (1, ledger)
    made_again = lambda job, runner, progress: release(job, manifest, 1, ledger, runner, progress)  # noqa: E731
    assert flow(what, url, made_again) == released


def test_a_deployment_runs_a_recipe_by_file(server, photos, tmp_path):
    from variorum.flows.prefect_runner import scheduled_flow

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(photos).dump()))
    assert scheduled_flow(str(path), str(tmp_path / "store")) == run(Job(recipe(photos), str(tmp_path / "o"))).digest()


def attempts(monkeypatch, error: Exception) -> list[int]:
    """A list that grows by one whenever a unit is tried; its work raises this error, retries follow at once."""
    from variorum.flows import prefect_runner

    calls = []

    def failing(*_args):
        calls.append(1)
        raise error

    monkeypatch.setattr(Build, "make", failing)
    monkeypatch.setattr(prefect_runner.part_task, "retry_delay_seconds", [0, 0])
    return calls


@pytest.mark.parametrize(("error", "tries"), [(OSError("passing"), 3), (TooManyFailures("4 of 4 failed"), 1)])
def test_only_what_may_pass_is_tried_again(server, photos, tmp_path, monkeypatch, error, tries):
    what = recipe(photos).model_copy(update={"samples_per_shard": 12})
    calls = attempts(monkeypatch, error)
    with pytest.raises(type(error), match=str(error)):
        flow(what, str(tmp_path / "store"), build)
    assert len(calls) == tries


def test_a_unit_that_fails_costs_no_other(server, photos, tmp_path):
    with pytest.raises(TooManyFailures):
        flow(recipe(photos, fail="astronaut"), str(tmp_path / "store"), build)
    assert len(list((tmp_path / "store" / "units").iterdir())) == 2
    with pytest.raises(StoreError, match="there are: none yet"):
        resolve("d", Store(str(tmp_path / "store")))


def test_one_unit_at_a_time_holds_the_gpu(server, photos, tmp_path, monkeypatch):
    """The number of devices is the only thing that is made up here; the limit is the server's own."""
    from prefect.client.orchestration import get_client

    from variorum.flows import prefect_runner

    monkeypatch.setattr(prefect_runner, "gpus", lambda: 1)
    real, active, most, lock = Build.make, [], [], threading.Lock()

    def watched(*args):
        with lock:
            active.append(1)
            most.append(len(active))
        time.sleep(0.2)
        done = real(*args)
        with lock:
            active.pop()
        return done

    monkeypatch.setattr(Build, "make", watched)
    flow(recipe(photos), str(tmp_path / uuid.uuid4().hex), build, workers=3)
    assert most == [1, 1, 1]
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name("gpu")
    assert (limit.limit, limit.active_slots) == (1, 0)


@pytest.mark.parametrize(
    ("url", "shown"),
    [("s3://key:secret@bucket/x", "s3://bucket/x"), ("store", "store"), ("s3://bucket/a@b", "s3://bucket/a@b")],
)
def test_a_flow_shows_no_secret_of_the_store(url, shown):
    from variorum.flows.prefect_runner import without_secrets

    assert without_secrets(url) == shown


@pytest.mark.slow
def test_the_command_on_a_running_server(photos, tmp_path):
    """A flow run that a server of its own, started here on loopback, knows of afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{tmp_path}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(Path(__file__).parents[1] / "plugins"),
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(photos).dump()))
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while not answers(f"{address}/health"):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)
        run = [
            sys.executable,
            "-c",
            "from variorum.flows.cli import main; main()",
            "run",
            "recipe.yaml",
            "--workers",
            "2",
        ]
        environment["PREFECT_API_URL"] = address
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        request = urllib.request.Request(f"{address}/flow_runs/filter", b"{}", {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            runs = json.load(answer)
        assert [(run["name"], run["state_type"]) for run in runs] == [("d 1.0.0", "COMPLETED")]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
