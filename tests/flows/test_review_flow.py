"""A recipe with people in it: planted wrong labels are corrected by a panel, and the wait survives every kill."""

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
from pathlib import Path
from typing import Any

import pytest
import yaml
from planted_labels import ACCURACY, PLANTED, decide_disputes, plant, truth, vote_all
from prefect_places import with_database

from variorum.edition.editions import current, folder_of, resolve
from variorum.edition.ledgers import ledger_numbers
from variorum.edition.store import Store
from variorum.flows.people.review_steps import Asking
from variorum.people.panel.collected import keep_votes, standing
from variorum.people.panel.panel import Panel, open_panel
from variorum.people.panel.panel import folder_of as folder_of_panel
from variorum.people.panel.settings import Settings
from variorum.people.votes.ballots import withdraw
from variorum.people.votes.files import read_votes
from variorum.pipeline import Job, build, curate, run
from variorum.schemas.errors import RecipeError, TemporaryError
from variorum.schemas.manifest import Manifest
from variorum.stages.recipe_files import load_recipe
from variorum.stages.score import picture_table

pytestmark = [
    pytest.mark.usefixtures("own_cache"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets of the server's client
]
FIVE = Settings(votes=5)


def labels(edition: Manifest, store: Store) -> dict[str, str]:
    """Labels of an edition's pictures, by path in the folder."""
    table = picture_table(edition, store)
    names = [" ".join(one) for one in table["labels"].to_pylist()]
    return dict(zip(table["origin"].to_pylist(), names, strict=True))


def plain(recipe: Path, store: Path, votes: Path) -> str:
    """Digest of the release that plain commands make, on threads and from nothing: curate, then run with the votes."""
    first = Job(load_recipe(str(recipe)), str(store))
    curate(first, build(first))
    return run(Job(load_recipe(str(recipe), [f"curate.consensus.votes={votes}"]), str(store))).digest()


def finished(store: Path) -> dict[str, int]:
    """When each unit and measurement was finished."""
    return {str(path): path.stat().st_mtime_ns for name in ("units", "measures") for path in (store / name).glob("*")}


@pytest.fixture
def asking(tmp_path) -> Asking:
    return Asking(str(plant(tmp_path)), str(tmp_path / "store"), settings=FIVE)


@pytest.fixture
def panel(asking):
    opened = asking.open(asking.ask(asking.job()))
    yield opened
    opened.engine.dispose()


# ── on threads ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_five_people_correct_the_planted_labels_and_no_others(asking, panel):
    before = labels(panel.manifest, panel.store)
    assert {origin for origin, label in before.items() if label != truth(origin)} == set(PLANTED)
    assert standing(panel).share == 0
    vote_all(panel, ACCURACY)
    assert standing(panel).disputed > 0  # people err
    assert standing(panel).share < 1
    decide_disputes(panel, "Ann")
    assert standing(panel).share == 1
    votes = keep_votes(panel)
    released = run(asking.job(votes))
    after = labels(released, panel.store)
    assert after == {origin: truth(origin) for origin in before}
    assert released.version == "1.0.0-r2"
    assert released.ledger.counts["relabel"] == {"wrong_label": len(PLANTED)}
    card = Path(folder_of(released, panel.store), "README.md").read_text()
    judged = re.search(r"People judged (\d+) labels of (\d+) pictures", card)
    assert judged
    assert len(PLANTED) <= int(judged[2]) < len(before)  # those that nobody doubts aren't asked about
    assert re.search(r"5 reviewers gave \d+ answers", card)


def test_the_same_votes_are_the_same_ledger_and_others_are_another(asking, panel):
    vote_all(panel, ACCURACY)
    votes = keep_votes(panel)
    found = curate(asking.job(votes), panel.manifest)
    assert found[0] == 2
    assert keep_votes(panel) == votes
    done = finished(Path(asking.store))
    assert curate(asking.job(votes), panel.manifest) == found
    assert asking.ask(asking.job()) == panel.manifest  # a second flow finds the panel, though another ledger is newer
    assert open_panel(panel.manifest, panel.store).record == panel.record
    assert ledger_numbers(panel.manifest, panel.store) == [1, 2]
    first = read_votes(votes).slice(0, 1).to_pylist()[0]
    withdraw(panel.engine, panel.key, first["vote"], first["reviewer"], 5000.0, "0" * 8)
    later = keep_votes(panel)
    assert later.name != votes.name
    assert votes.exists()
    assert curate(asking.job(later), panel.manifest)[0] == 3
    assert ledger_numbers(panel.manifest, panel.store) == [1, 2, 3]
    assert done.items() <= finished(Path(asking.store)).items()


def test_votes_of_a_store_elsewhere_are_copied_here(asking, panel, tmp_path):
    vote_all(panel, {"Ann": 1.0})
    here = keep_votes(panel)
    elsewhere = Panel(panel.manifest, Store("memory://panel"), panel.record, panel.engine)
    for path in Path(panel.store.root, folder_of_panel(panel.record)).glob("questions-*"):
        elsewhere.store.put(f"{folder_of_panel(panel.record)}/{path.name}", path.read_bytes())
    copy = keep_votes(elsewhere)
    assert copy.is_relative_to(tmp_path / "cache")
    assert copy.read_bytes() == here.read_bytes()
    assert elsewhere.store.read(f"panels/people/1.0.0/main/{copy.name}") == here.read_bytes()


def test_what_cant_work_is_said_before_any_work(asking, tmp_path, monkeypatch):
    from dataclasses import replace

    from variorum.flows.people.review_flow import review_flow

    given = yaml.safe_load(Path(asking.recipe).read_text())
    given["curate"] = given["curate"][:1]
    lacking = tmp_path / "lacking.yaml"
    lacking.write_text(yaml.safe_dump(given))
    with pytest.raises(
        RecipeError, match=r"lacking.yaml has no step with `votes` in curate, such as consensus.* There are: guess"
    ):
        replace(asking, recipe=str(lacking)).check()
    with pytest.raises(RecipeError, match="VARIORUM_DATABASE") as error:
        replace(asking, database="postgresql://me:hunter2@host/votes").check()
    assert "hunter2" not in str(error.value)
    with pytest.raises(RecipeError, match="lower-case"):
        replace(asking, panel="../x").check()
    with pytest.raises(RecipeError, match="suspend needs a deployment"):
        review_flow.fn(asking.recipe, asking.store, wait="suspend")
    assert not (Path(asking.store) / "editions").exists()


# ── with Prefect ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_a_flow_polls_until_the_votes_are_in(server, asking, tmp_path):
    from variorum.flows.people.review_flow import review_flow

    def people() -> None:
        """They find the panel when it is there, as those at the page do."""
        until(lambda: (Path(asking.store) / "panels/people/1.0.0/main/panel.json").exists(), 60)
        store = Store(asking.store)
        opened = open_panel(resolve("people", store), store)
        vote_all(opened, ACCURACY)
        time.sleep(0.5)
        decide_disputes(opened, "Ann")
        opened.engine.dispose()

    others = threading.Thread(target=people)
    others.start()
    digest = review_flow(asking.recipe, asking.store, settings=FIVE, poll_seconds=0.1, page="http://127.0.0.1:8765")
    others.join()
    votes = next((tmp_path / "store/panels/people/1.0.0/main").glob("votes-*.parquet"))
    assert digest == plain(asking.recipe, tmp_path / "other", votes)
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        shown = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["votes"])))
    assert shown[-1].data == 100.0
    assert "http://127.0.0.1:8765" in shown[-1].description
    with pytest.raises(
        TemporaryError, match=r"panel people@1.0.0/other: 0 of \d+ questions are settled.* run the same"
    ):
        review_flow(asking.recipe, asking.store, panel="other", settings=FIVE, poll_seconds=9, timeout_seconds=0.2)


class Place:
    """A Prefect server that stays and processes that run the flow, all of which can be killed and started again."""

    def __init__(self, folder: Path, asking: Asking) -> None:
        self.folder, self.asking, self.store = folder, asking, Store(asking.store)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/api"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(with_database(folder / "prefect")),
            "PREFECT_API_URL": self.address,
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "VARIORUM_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[1] / "plugins"), os.environ.get("PYTHONPATH", "")]
            ),
        }

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=self.folder, env=self.environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        """A server that answers."""
        server = self.start("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        until(self.answers, 300, self.said)
        return server

    def flow(self, call: str) -> subprocess.Popen[bytes]:
        """A process that calls the flow or one of its methods, such as `review_flow.serve(…)`."""
        program = f"from variorum.flows.people.review_flow import review_flow\nprint('digest', {call}, flush=True)"
        return self.start("-c", program)

    def kill(self) -> None:
        """Kill -9 everything."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def ask(self, path: str, what: object = None) -> Any:
        """The answer of the server's API; with a body, to a POST."""
        body = None if what is None else json.dumps(what).encode()
        request = urllib.request.Request(f"{self.address}{path}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def answers(self) -> bool:
        try:
            return bool(self.ask("/health"))
        except OSError:
            return False

    def panel(self) -> Panel:
        """The panel, once it is published."""
        path = Path(self.asking.store) / "panels/people/1.0.0/main/panel.json"
        until(lambda: path.exists() or "Error: " in self.said(), 300, self.said)
        assert path.exists(), self.said()
        return open_panel(resolve("people", self.store), self.store)


@pytest.fixture
def place(tmp_path, asking):
    place = Place(tmp_path, asking)
    yield place
    place.kill()


def until(condition, seconds: float, what=lambda: "") -> Any:
    """What a condition gives as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what()
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_a_poll_survives_the_death_of_server_and_flow(place):
    arguments = f"{place.asking.recipe!r}, {place.asking.store!r}, settings={{'votes': 5}}, poll_seconds=0.2"
    call = f"review_flow({arguments})"
    place.serve()
    place.flow(call)
    panel = place.panel()
    vote_all(panel, dict(list(ACCURACY.items())[:3]))
    until(lambda: "COMPLETED" in [one["state_type"] for one in place.ask("/flow_runs/filter", {})], 300, place.said)
    done = finished(Path(place.asking.store))
    place.kill()
    vote_all(panel, dict(list(ACCURACY.items())[3:]), seed=8)  # the page needs neither
    decide_disputes(panel, "Ann")
    votes = keep_votes(panel)
    place.serve()
    assert place.flow(call).wait(300) == 0, place.said()
    digest = re.findall(r"^digest (\w+)$", place.said(), re.MULTILINE)[-1]
    assert digest == plain(place.asking.recipe, place.folder / "other", votes)
    assert done.items() <= finished(Path(place.asking.store)).items()
    assert ledger_numbers(panel.manifest, place.store) == [1, 2]
    states = sorted((one["name"], one["state_type"]) for one in place.ask("/flow_runs/filter", {}))
    assert [state for _, state in states].count("CRASHED") == 1  # the flow that was killed while it waited
    assert not {"RUNNING", "PENDING"} & {state for _, state in states}


@pytest.mark.slow
def test_a_suspended_run_survives_the_death_of_server_and_worker(place):
    parameters = {
        "recipe": place.asking.recipe,
        "store": place.asking.store,
        "settings": {"votes": 5},
        "wait": "suspend",
    }
    call = f"review_flow.serve(name='people', parameters={parameters!r}, pause_on_shutdown=False)"
    place.serve()
    place.flow(call)
    (deployment,) = until(lambda: place.ask("/deployments/filter", {}), 300, place.said)
    mine = place.ask(f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})["id"]

    def state() -> str:
        return str(place.ask(f"/flow_runs/{mine}")["state"]["name"])

    def pauses() -> int:
        return len(place.ask(f"/flow_runs/{mine}")["empirical_policy"]["pause_keys"])

    def resume(**given: object) -> None:
        answer = place.ask(f"/flow_runs/{mine}/resume", {"run_input": given})
        assert answer["status"] == "ACCEPT", answer

    until(lambda: state() in ("Suspended", "Failed", "Crashed"), 300, place.said)
    assert state() == "Suspended", place.said()
    done = finished(Path(place.asking.store))
    panel = place.panel()
    vote_all(panel, {"Ann": 1.0, "Bob": 0.9})
    resume()
    until(lambda: pauses() == 2 and state() == "Suspended", 300, place.said)  # too few votes
    place.kill()
    place.serve()
    place.flow(call)
    assert state() == "Suspended"
    resume(enough=True)
    until(lambda: state() in ("Completed", "Failed", "Crashed"), 300, place.said)
    assert state() == "Completed", place.said()
    votes = keep_votes(panel)
    released = current(panel.manifest, place.store)
    assert released.digest() == plain(place.asking.recipe, place.folder / "other", votes)
    assert done.items() <= finished(Path(place.asking.store)).items()
    assert ledger_numbers(panel.manifest, place.store) == [1, 2]
