"""`variorum serve` for real: schedules fire, overlaps and kills repeat no work, failures are told, no socket leaves."""

import http.server
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect_places import COMMAND, Watched, gone, password_of, server_of, until
from watched_sockets import addresses, watch

from variorum.edition.editions import find
from variorum.edition.store import Store

SECRET = "shakennotstirred"
SCREENSHOTS = Path(__file__).parents[2] / ".cache" / "screenshots"
FAST = {
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}


class Serving(Watched):
    """`variorum serve` of two recipes, one of which can't work, and who is told. The first runs are due at once.

    While the file `hold` is there, runs wait before their first picture.
    """

    def __init__(self, folder: Path, photos: Path, *, held: bool) -> None:
        self.hold, self.told = folder / "hold", list[dict[str, str]]()
        if held:
            self.hold.touch()
        hook = self.listen()
        super().__init__(folder, photos, PROBE_HOLD=str(self.hold), VARIORUM_NOTIFY=f"{hook}/{SECRET}", **FAST)
        for name in (
            "PREFECT_SERVER_ANALYTICS_ENABLED",
            "DO_NOT_TRACK",
            "CI",
        ):  # the command itself asks for no telemetry
            self.environment.pop(name, None)
        self.sockets = watch(folder / "sockets")
        self.environment["PYTHONPATH"] = os.pathsep.join([str(self.sockets), self.environment["PYTHONPATH"]])
        self.recipe["curate"] = [{"name": "bright"}, {"name": "bright_rules", "drop": 3}]
        self.recipe["evaluate"] = [{"name": "brightness"}]
        self.recipe["samples_per_shard"] = 6
        (folder / "recipe.yaml").write_text(yaml.safe_dump(self.recipe))
        source = {"name": "webdataset", "shards": f"http://me:{SECRET}@127.0.0.1:9/x.tar?token={SECRET}"}
        (folder / "wrong.yaml").write_text(yaml.safe_dump({"dataset": "w", "version": "1.0.0", "source": source}))
        words = ["serve", "recipe.yaml", "wrong.yaml", "--every", "1h", "--at-once", "3", "--port", str(self.port)]
        self.process = self.start([*COMMAND, *words], "serve")
        self.server = until(lambda: server_of(self.process.pid), 60, lambda: self.said("serve"))
        self.password = until(lambda: password_of(self.server), 60)
        until(self.answers, 180, lambda: self.said("serve"))

    def listen(self) -> str:
        """Take messages on loopback; gives the address."""
        told = self.told

        class Taking(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking)
        threading.Thread(target=self.hook.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.hook.server_port}"

    def runs(self, name: str, *states: str) -> list[str]:
        """Ids of a deployment's runs that are in one of these states, the oldest first."""
        asked = {
            "deployments": {"name": {"any_": [f"{name}-release"]}},
            "flow_runs": {"state": {"type": {"any_": list(states)}}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        return [str(one["id"]) for one in self.ask("/flow_runs/filter", asked)]

    def about(self, run: str) -> list[dict[str, str]]:
        """The messages about a run."""
        return [one for one in self.told if one["message"].endswith(run)]

    def stop(self, sent: signal.Signals) -> int:
        """Send a signal to it and to the runs that it has started, as Ctrl-C does; the exit code."""
        os.killpg(self.process.pid, sent)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def started() -> Iterator[list[Serving]]:
    """Those that this file's tests have started."""
    places: list[Serving] = []
    try:
        yield places
    finally:
        for place in places:
            place.hook.shutdown()
            place.hook.server_close()
            place.process.kill()
            place.process.wait()


@pytest.fixture
def serving(started, tmp_path_factory, photos) -> Serving:
    """The one of the tests before, or another if it has ended: workers run the tests in any order."""
    if not started or started[-1].process.poll() is not None:
        started.append(Serving(tmp_path_factory.mktemp("serving"), photos, held=True))
    return started[-1]


@pytest.fixture
def held(started, serving, tmp_path_factory, photos) -> Serving:
    """One whose first run hasn't begun its first picture."""
    if not serving.hold.exists():
        started.append(Serving(tmp_path_factory.mktemp("serving"), photos, held=True))
    return started[-1]


@pytest.mark.slow
def test_a_schedule_fires_and_overlaps_and_kills_repeat_no_work(held):
    serving = held
    said = lambda: serving.said("serve")  # noqa: E731
    (first,) = until(lambda: serving.runs("d", "RUNNING"), 180, said)
    assert serving.ask(f"/flow_runs/{first}")["auto_scheduled"]
    second = serving.begin("d-release")
    until(lambda: serving.state(second) == "CANCELLED", 120, said)
    os.kill(until(lambda: serving.process_of(first), 60, said), signal.SIGKILL)
    until(lambda: serving.state(first) == "CRASHED", 60, said)
    serving.hold.unlink()
    third = serving.begin("d-release")
    until(lambda: serving.state(third) == "COMPLETED", 180, said)
    store = Store(str(serving.store))
    assert find("d", store).version == "1.0.0-r1"
    assert find("d", store).digest() == serving.digest()
    made = {path: path.stat().st_mtime_ns for path in (serving.store / "units").iterdir()}
    fourth = serving.begin("d-release")
    until(lambda: serving.state(fourth) == "COMPLETED", 180, said)
    assert made == {path: path.stat().st_mtime_ns for path in (serving.store / "units").iterdir()}
    (message,) = until(lambda: serving.about(first), 60, serving.told)
    assert message["title"] == "recipe.yaml: crashed"
    assert "-9" in message["message"]
    assert not any(serving.about(run) for run in (second, third, fourth))


@pytest.mark.slow
def test_a_failure_is_told_once_and_without_secrets(serving):
    failed, *_ = until(lambda: serving.runs("w", "FAILED"), 180, lambda: serving.said("serve"))
    (message,) = until(lambda: serving.about(failed), 60, serving.told)
    assert message["title"] == "wrong.yaml: failed"
    assert "http://127.0.0.1:9/x.tar" in message["message"]
    time.sleep(1)
    assert len(serving.about(failed)) == 1
    assert SECRET not in str(serving.told)
    assert SECRET not in serving.said("serve")
    for path in (serving.home).rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_no_socket_leaves_the_machine(serving):
    """Neither the server, with all of its services, nor runs connect, look up or listen elsewhere than on loopback."""
    completed(serving)
    found = addresses(serving.sockets)
    assert len(list((serving.sockets / "noted").iterdir())) >= 3
    assert found["socket.connect"] == {"127.0.0.1"}
    assert set().union(*found.values()) <= {"127.0.0.1", "localhost", "::1"}, found


def completed(serving: Serving) -> None:
    """Wait for a run; if no test before has seen one to its end, it is the first that is due."""
    serving.hold.unlink(missing_ok=True)
    until(lambda: serving.runs("d", "COMPLETED"), 180, lambda: serving.said("serve"))


@pytest.mark.slow
def test_it_ends_with_its_server(serving):
    completed(serving)
    assert serving.stop(signal.SIGINT) == 0, serving.said("serve")
    assert serving.said("serve").endswith("stopped; finished work is kept")
    until(lambda: gone(serving.server), 60, "the server lives on")


@pytest.mark.slow
def test_pages_of_past_runs_can_be_looked_at_without_running_anything(tmp_path, photos):
    place = Watched(tmp_path, photos)
    process = place.start([*COMMAND, "serve", "--look", "--port", str(place.port)], "look")
    try:
        server = until(lambda: server_of(process.pid), 60, lambda: place.said("look"))
        place.password = until(lambda: password_of(server), 60)
        until(place.answers, 180, lambda: place.said("look"))
        with urllib.request.urlopen(f"{place.address.removesuffix('/api')}/ui-settings", timeout=30) as answer:
            assert json.load(answer)["api_url"] == "/api"  # of this server, whatever its port
        assert place.ask("/deployments/filter", {}) == []
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) in (0, 130), place.said("look")  # 130 while it starts
    finally:
        process.kill()
        process.wait()


@pytest.mark.browser
def test_prefects_pages_show_card_counts_sheet_and_parameters(tmp_path, photos, browser):
    place = Serving(tmp_path, photos, held=False)
    try:
        run, *_ = until(lambda: place.runs("d", "COMPLETED"), 180, lambda: place.said("serve"))
        found = place.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        ids = {one["key"]: one["id"] for one in found}
        assert set(ids) == {"counts", "card", "sheet", "verdicts"}
        with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
            context.set_default_timeout(60_000)  # Prefect's pages are large
            page = context.new_page()
            hosts = set()
            page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
            address = place.address.removesuffix("/api")

            def show(path: str, awaited: str, name: str) -> str:
                page.goto(f"{address}{path}")
                page.get_by_text(awaited).first.wait_for()
                page.wait_for_load_state("networkidle")
                page.screenshot(path=SCREENSHOTS / f"prefect_{name}.png")
                return str(page.inner_text("body"))

            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.goto(address)
            page.locator("input").fill(place.password)
            page.keyboard.press("Enter")
            page.get_by_text("Flow Runs").first.wait_for()
            assert not page.get_by_text("Can't connect").count()
            assert "negative_0" in show(f"/artifacts/artifact/{ids['counts']}", "quarantined", "counts")
            card = show(f"/artifacts/artifact/{ids['card']}", "d@1.0.0-r1", "card")
            assert "task_categories" not in card
            assert "brightness" in card
            show(f"/artifacts/artifact/{ids['sheet']}", "d@1.0.0-r1", "sheet")
            widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
            assert max(widths) > 300
            (deployment,) = place.ask("/deployments/filter", {"deployments": {"name": {"any_": ["d-release"]}}})
            form = show(f"/deployments/deployment/{deployment['id']}/run", "number of parts that are worked on", "form")
            assert "build makes the edition" in form
            assert "Finished in state Completed" in show(f"/runs/flow-run/{run}", "Finished in state", "run")
            page.goto(f"{address}/deployments/deployment/{deployment['id']}/run")
            page.get_by_role("button", name="Submit").click()
            until(lambda: len(place.runs("d", "COMPLETED")) == 2, 60, lambda: place.said("serve"))
            assert hosts == {f"127.0.0.1:{place.port}"}
        assert place.stop(signal.SIGTERM) == 0
    finally:
        place.process.kill()
        place.process.wait()
        place.hook.shutdown()
        place.hook.server_close()
