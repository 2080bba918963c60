"""The flows on a real, temporary Prefect server: the same edition as the plain loop, retries, artifacts, GPU slots."""

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

from variorum.edition.store import Store, hash_file
from variorum.schemas.errors import StoreError, TooManyFailures
from variorum.schemas.recipe import Recipe
from variorum.stages.context import open_context

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


def test_a_flow_makes_what_the_plain_loop_makes(server, photos, tmp_path):
    from variorum.flows.run import run_flow
    from variorum.stages.build import build

    what = recipe(photos)
    manifest = run_flow(what.dump(), "embedded", str(tmp_path / "flow"))
    plain = build(what, open_context(what, "embedded"), Store(str(tmp_path / "plain")), profile="embedded")
    assert manifest.digest() == plain.digest()
    assert tree(str(tmp_path / "flow")) == tree(str(tmp_path / "plain"))
    assert "negative_0" in str(artifacts("counts")[0].data)
    assert "d@1.0.0" in str(artifacts("card")[0].data)
    assert artifacts("units")[-1].data == 100.0
    receipts = {path: path.stat().st_mtime_ns for path in (tmp_path / "flow" / "units").iterdir()}
    assert run_flow(what.dump(), "embedded", str(tmp_path / "flow")) == manifest
    assert receipts == {path: path.stat().st_mtime_ns for path in (tmp_path / "flow" / "units").iterdir()}


def test_curation_in_a_flow_is_that_of_the_plain_loop(server, photos, tmp_path):
    from variorum.flows.curate import curate_flow, release_flow
    from variorum.flows.run import run_flow
    from variorum.stages.build import build
    from variorum.stages.curate import curate
    from variorum.stages.release import release

    what = Recipe.parse({**recipe(photos).dump(), "curate": [{"name": "bright", "drop": 3}, {"name": "dependent"}]})
    url = str(tmp_path / "flow")
    released = run_flow(what.dump(), "embedded", url)
    plain, ctx = Store(str(tmp_path / "plain")), open_context(what, "embedded")
    manifest = build(what, ctx, plain, profile="embedded")
    number, ledger = curate(what, manifest, ctx, plain, workers=2)
    assert released == release(manifest, number, ledger, plain)
    assert released.version == "1.0.0-r1"
    assert tree(url) == tree(str(tmp_path / "plain"))
    assert "too_bright" in str(artifacts("verdicts")[-1].data)
    assert curate_flow(what.dump(), "embedded", url) == 1
    assert release_flow(what.dump(), "embedded", url, number=1) == released


def attempts(monkeypatch, error: Exception) -> list[int]:
    """A list that grows by one whenever a unit is tried; its work raises this error, retries follow at once."""
    import variorum.flows.build

    calls = []

    def failing(*_args):
        calls.append(1)
        raise error

    monkeypatch.setattr(variorum.flows.build, "run_unit", failing)
    monkeypatch.setattr(variorum.flows.build.unit_task, "retry_delay_seconds", [0, 0])
    return calls


@pytest.mark.parametrize(("error", "tries"), [(OSError("passing"), 3), (TooManyFailures("4 of 4 failed"), 1)])
def test_only_what_may_pass_is_tried_again(server, photos, tmp_path, monkeypatch, error, tries):
    from variorum.flows.build import build_flow

    what = recipe(photos).model_copy(update={"samples_per_shard": 12})
    calls = attempts(monkeypatch, error)
    with pytest.raises(type(error), match=str(error)):
        build_flow(what.dump(), "embedded", str(tmp_path / "store"))
    assert len(calls) == tries


def test_a_unit_that_fails_costs_no_other(server, photos, tmp_path):
    from variorum.flows.build import build_flow

    with pytest.raises(TooManyFailures):
        build_flow(recipe(photos, fail="astronaut").dump(), "embedded", str(tmp_path / "store"))
    assert len(list((tmp_path / "store" / "units").iterdir())) == 2
    with pytest.raises(StoreError, match="there are: none yet"):
        Store(str(tmp_path / "store")).resolve("d")


def test_one_unit_at_a_time_holds_the_gpu(server, photos, tmp_path, monkeypatch):
    """The number of devices is the only thing that is made up here; the limit is the server's own."""
    from prefect.client.orchestration import get_client
    from prefect.task_runners import ThreadPoolTaskRunner

    import variorum.flows.build
    import variorum.flows.job
    from variorum.flows.build import build_flow

    monkeypatch.setattr(variorum.flows.job, "gpus", lambda: 1)
    real, active, most, lock = variorum.flows.build.run_unit, [], [], threading.Lock()

    def watched(*args):
        with lock:
            active.append(1)
            most.append(len(active))
        time.sleep(0.2)
        done = real(*args)
        with lock:
            active.pop()
        return done

    monkeypatch.setattr(variorum.flows.build, "run_unit", watched)
    store = str(tmp_path / uuid.uuid4().hex)
    build_flow.with_options(task_runner=ThreadPoolTaskRunner(max_workers=3))(recipe(photos).dump(), "embedded", store)
    assert most == [1, 1, 1]
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name("gpu")
    assert (limit.limit, limit.active_slots) == (1, 0)


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
