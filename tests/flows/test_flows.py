"""Prefect as a runner, on a real temporary server: the same edition as threads make, retries, artifacts, GPU slots."""

import json
import os
import re
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
from prefect_places import with_database

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.machine.retrying import hash_content
from variorum.pipeline import Job, Threads, build, curate, release, run
from variorum.schemas.errors import StoreError, TemporaryError, TooManyFailures, VariorumError
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build

pytestmark = [
    pytest.mark.usefixtures("own_cache"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets of the server's client
]


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
        str(path.relative_to(root)): hash_content(path)
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


@pytest.mark.slow
def test_a_flow_makes_what_threads_make(server, photos, tmp_path):
    what = recipe(photos)
    manifest = flow(what, str(tmp_path / "flow"), workers=2)
    plain = run(Job(what, str(tmp_path / "plain")))
    assert manifest.digest() == plain.digest()
    assert tree(str(tmp_path / "flow")) == tree(str(tmp_path / "plain"))
    assert "negative_0" in str(artifacts("counts")[0].data)
    assert "d@1.0.0" in str(artifacts("card")[0].data)
    assert artifacts("units")[-1].data == 100.0
    assert re.fullmatch(r"making pictures: (\d+) of \1, in \d+ s", artifacts("units")[-1].description)
    receipts = {path: path.stat().st_mtime_ns for path in (tmp_path / "flow" / "units").iterdir()}
    assert flow(what, str(tmp_path / "flow")) == manifest
    assert receipts == {path: path.stat().st_mtime_ns for path in (tmp_path / "flow" / "units").iterdir()}


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_deployment_runs_a_recipe_by_file(server, photos, tmp_path):
    from variorum.flows.scheduled_flows import scheduled

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(photos).dump()))
    assert scheduled(str(path), store=str(tmp_path / "store")) == run(Job(recipe(photos), str(tmp_path / "o"))).digest()


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (OSError("passing"), 3),
        (TemporaryError("the drive is away"), 3),
        (MemoryError("short"), 3),
        (TooManyFailures("4 of 4 failed"), 1),
    ],
)
def test_only_what_may_pass_is_tried_again(server, photos, tmp_path, monkeypatch, error, tries):
    what = recipe(photos).model_copy(update={"samples_per_shard": 12})
    calls = attempts(monkeypatch, error)
    with pytest.raises(type(error), match=str(error)):
        flow(what, str(tmp_path / "store"), build)
    assert len(calls) == tries


@pytest.mark.slow
def test_after_an_error_of_the_store_no_other_part_begins(server, photos, tmp_path, monkeypatch):
    what = recipe(photos).model_copy(update={"samples_per_shard": 2})
    calls = attempts(monkeypatch, StoreError("the disk is full"))
    with pytest.raises(StoreError, match="the disk is full"):
        flow(what, str(tmp_path / "store"), build)
    assert len(calls) == 1


@pytest.mark.slow
def test_a_unit_that_fails_costs_no_other(server, photos, tmp_path):
    with pytest.raises(TooManyFailures):
        flow(recipe(photos, fail="astronaut"), str(tmp_path / "store"), build)
    assert len(list((tmp_path / "store" / "units").iterdir())) == 2
    with pytest.raises(StoreError, match="there are: none yet"):
        resolve("d", Store(str(tmp_path / "store")))


@pytest.mark.slow
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


KILLED = """
import time
from prefect import flow, tags, task
from variorum.flows import own_server, stale_runs

@task
def work(seconds: float):
    time.sleep(seconds)

@flow(name="killed")
def killed(seconds: float):
    work(seconds)

with stale_runs.lease(own_server.server_name()) as tag, tags(tag):
    killed(60)
"""


def runs_named(name: str) -> list:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        chosen = {"flow_filter": FlowFilter(name=FlowFilterName(any_=[name]))}
        return [*client.read_flow_runs(**chosen), *client.read_task_runs(**chosen)]


@pytest.mark.slow
def test_the_runs_of_a_killed_process_are_marked_and_no_others(server):
    from prefect.settings import get_current_settings

    from variorum.flows import own_server, stale_runs

    name, kept = own_server.server_name(), server / "variorum"
    environment = {"PREFECT_API_URL": str(get_current_settings().api.url), "PREFECT_HOME": str(server)}
    child = subprocess.Popen([sys.executable, "-c", KILLED], env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 60
        while [run.state_type for run in runs_named("killed")] != ["RUNNING", "RUNNING"]:  # the flow and its task
            assert time.monotonic() < deadline, runs_named("killed")
            time.sleep(0.2)
        assert stale_runs.mark_killed(name) == 0  # it lives
    finally:
        child.kill()
        child.wait()
    assert stale_runs.mark_killed("http://elsewhere/api") == 0
    foreign = kept / "variorum-000000000000"
    foreign.write_text(json.dumps({"server": name, "host": "another", "boot": "another"}))
    with stale_runs.lease(name) as mine:
        assert stale_runs.mark_killed(name) == 1
        assert sorted(path.name for path in kept.glob("variorum-*")) == sorted([foreign.name, mine])
    assert [run.state_type for run in runs_named("killed")] == ["CRASHED", "CRASHED"]
    foreign.unlink()
    assert not list(kept.glob("variorum-*"))


def test_a_run_without_a_place_for_its_lock_goes_on(tmp_path, caplog):
    from prefect.settings import PREFECT_HOME, temporary_settings

    from variorum.flows import stale_runs

    (tmp_path / "file").touch()
    with temporary_settings({PREFECT_HOME: tmp_path / "file"}), stale_runs.lease("") as tag:
        assert stale_runs.mark_killed("") == 0
    assert tag in caplog.text
    assert "can't be written" in caplog.text


@pytest.mark.parametrize("listens", [None, "silent", "other"])
def test_a_server_that_is_none_is_named(tmp_path, monkeypatch, listens):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from variorum.flows import own_server

    monkeypatch.setattr(own_server, "PAUSES", (0.1,))
    monkeypatch.setattr(own_server, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if listens is None:
            listener.close()
        if listens == "other":
            pages = [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"] * 8
            threading.Thread(target=answer_all, args=(listener, pages), daemon=True).start()
        with (
            temporary_settings({PREFECT_API_URL: f"http://user:hunter2@127.0.0.1:{port}/api"}),
            pytest.raises(
                TemporaryError, match=rf"^http://127.0.0.1:{port}/api: no Prefect server .*--runner threads"
            ) as told,
            own_server.api(),
        ):
            pass
    assert "hunter2" not in str(told.value)


def answer_all(listener: socket.socket, pages: list[bytes]) -> None:
    for page in pages:
        try:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(page)
            connection.close()
        except OSError:  # the test is over
            return


def test_a_home_that_cant_be_written_is_named(tmp_path):
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    from variorum.flows import own_server

    (tmp_path / "file").touch()
    given = temporary_settings({PREFECT_HOME: tmp_path / "file" / "x"}, restore_defaults=[PREFECT_API_URL])
    with (
        given,
        pytest.raises(VariorumError, match=r"PREFECT_HOME .*file/x: can't be written .*--runner threads"),
        own_server.api(),
    ):
        pass


@pytest.mark.slow
def test_the_command_on_a_running_server(photos, tmp_path):
    """A flow run that a server of its own, started here on loopback, knows of afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(with_database(tmp_path / "prefect")),
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
