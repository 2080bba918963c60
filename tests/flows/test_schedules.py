"""What runs when: the shipped datasets' deployments, `variorum serve`'s options, and who is told of a failure."""

import http.server
import importlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
import yaml

from variorum.flows import deployments, notification
from variorum.schemas.errors import RecipeError
from variorum.stages.recipe_files import load_recipe, shipped_recipes

ROOT = Path(__file__).parents[2]
GIVEN = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def flow_of(entrypoint):
    module, _, name = entrypoint.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_file_is_what_the_code_says():
    assert (ROOT / "prefect.yaml").read_text() == deployments.prefect_yaml()


def test_every_dataset_has_its_deployments():
    names = [one["name"] for one in GIVEN]
    assert len(set(names)) == len(names)
    for recipe in shipped_recipes():
        found = {one["name"].rpartition("-")[2]: one for one in GIVEN if one["tags"][0] == recipe}
        small = recipe not in (*deployments.GPU, *deployments.SLOW, *deployments.BY_HAND)
        assert set(found) == {"release", "publish"} | ({"build"} if small else set())
        assert found["release"]["work_pool"] == {"name": "gpu" if recipe in deployments.GPU else "cpu"}
        assert ("schedules" in found["release"]) == (recipe not in deployments.BY_HAND)
        assert found["publish"]["schedules"][0]["active"] is False
        assert found["release"]["parameters"]["until"] == "everything"
        assert bool(load_recipe(recipe).curate) == ("curation" in found["release"]["description"])


@pytest.mark.parametrize("one", GIVEN, ids=lambda one: one["name"])
def test_a_deployment_can_run(one):
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.schema_tools import is_valid_schema, validate

    flow = flow_of(one["entrypoint"])
    flow.validate_parameters(one["parameters"])
    schema = parameter_schema(flow.fn).model_dump()
    is_valid_schema(schema)
    assert not validate(one["parameters"], schema, raise_on_error=False)
    assert validate({**one["parameters"], "store": 3}, schema, raise_on_error=False)
    assert all(field["description"] for field in schema["properties"].values())
    assert one["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    for schedule in one.get("schedules", []):
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])


def test_a_served_deployment_is_the_same():
    for ours in deployments.shipped():
        served = deployments.served(ours)
        file = next(one for one in GIVEN if one["name"] == ours.name)
        assert (served.name, served.entrypoint, served.parameters) == (
            file["name"],
            file["entrypoint"],
            file["parameters"],
        )
        assert [one.schedule.cron for one in served.schedules or []] == [
            one["cron"] for one in file.get("schedules", [])
        ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["imagenet_e", "--cron", "0 3 * * 1", "--every", "1h"], "--cron and --every: give one of them"),
        (["imagenet_e", "--every", "5s"], "isn't a time of 10 seconds or more"),
        (["nosuch"], "no recipe 'nosuch'"),
        (["imagenet_e", "imagenet_e"], "another recipe here has the dataset imagenet_e"),
        (["imagenet_e", "--store", "s3://me:hunter2hunter2@bucket/x"], "so they may hold no secret"),
    ],
)
def test_serve_says_what_is_wrong_before_it_starts_anything(command, words, said, tmp_path):
    done = command("serve", *words, PREFECT_HOME=str(tmp_path / "prefect"))
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "hunter2" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "store").exists()


CHECKED = """
from variorum.flows.serve_commands import check_cron
check_cron("0 3 * * 1")
from variorum.flows import own_server
print(own_server.PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())
"""


def test_a_cron_expression_is_checked_with_our_settings_of_prefect(tmp_path):
    """Prefect reads them once, when it is imported: its server gets 180 seconds to start, and not 20."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    words, home = [sys.executable, "-c", CHECKED], {"PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(words, env={**clean, **home}, capture_output=True, text=True)
    assert done.stdout.split() == ["180"], done.stderr


def test_a_wrong_cron_expression_is_explained():
    from variorum.flows.serve_commands import check_cron

    check_cron(None)
    check_cron("*/5 3 * * mon-fri")
    for wrong in ("0 3 * *", "60 3 * * 1", "mondays", ""):
        with pytest.raises(typer.BadParameter, match="must have minute, hour"):
            check_cron(wrong)


def test_a_taken_port_is_named(command, tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as taken:
        done = command("serve", "imagenet_e", "--port", str(taken.server_port), PREFECT_HOME=str(tmp_path / "prefect"))
        assert done.returncode == 1
        assert f"port {taken.server_port} can't be used (Address already in use)" in done.stderr
        assert f"PREFECT_API_URL=http://127.0.0.1:{taken.server_port}/api" in done.stderr


def test_parameters_with_secrets_are_refused():
    deployments.refuse_secrets("s3://bucket/store", "source.path=photos")
    for secret in ("https://a:hunter2hunter2@host/x", "source.shards=http://host/x?token=hunter2hunter2"):
        with pytest.raises(RecipeError, match="may hold no secret") as told:
            deployments.refuse_secrets("store", secret)
        assert "hunter2" not in str(told.value)


# ── notifications ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hook():
    """A server on loopback that takes messages: its address, and what it got."""
    got = []

    class Taking(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(403 if self.path.startswith("/refuse") else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


RUN = SimpleNamespace(name="photos.yaml everything", id="0a1b", parameters={"recipe": "photos.yaml"})
FAILED = SimpleNamespace(
    name="Failed", message="SourceError: http://me:hunter2hunter2@host/x.tar: is gone\nsecond line"
)


APPRISE = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # while it is imported


@APPRISE
@pytest.mark.parametrize("scheme", ["http", "json"])
def test_a_failure_is_told(hook, monkeypatch, scheme):
    address, got = hook
    monkeypatch.setenv("VARIORUM_NOTIFY", f"{scheme}://{address}/a/room")
    notification.tell(None, RUN, FAILED)
    ((path, message),) = got
    assert path.rstrip("/") == "/a/room"
    assert message["title"] == "photos.yaml: failed"
    assert message["message"].startswith("SourceError: http://host/x.tar: is gone\n")
    assert message["message"].endswith("/runs/flow-run/0a1b")
    assert "hunter2" not in str(message)


@APPRISE
@pytest.mark.parametrize(
    "way", ["http://{}/refuse/sesame_sesame", "json://{}/refuse/sesame_sesame", "nosuch://sesame_sesame"]
)
def test_who_cant_be_told_is_logged_without_the_address(hook, monkeypatch, caplog, way):
    monkeypatch.setenv("VARIORUM_NOTIFY", way.format(hook[0]))
    notification.tell(None, RUN, FAILED)
    assert "the message wasn't sent: photos.yaml: failed" in caplog.text
    assert "sesame" not in caplog.text


def test_without_an_address_nobody_is_told(hook, monkeypatch):
    monkeypatch.delenv("VARIORUM_NOTIFY", raising=False)
    notification.tell(None, RUN, FAILED)
    assert not hook[1]


def test_a_card_for_prefects_pages_holds_its_pictures(tmp_path, photos, own_cache):
    from PIL import Image

    from variorum.flows.prefect_runner import self_contained
    from variorum.pipeline import Job, run
    from variorum.schemas.recipe import Recipe

    source = {"name": "image_folder", "path": str(photos)}
    job = Job(Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source}), str(tmp_path / "store"))
    manifest = run(job)
    Image.new("RGB", (3000, 20), "red").save(tmp_path / "store/editions/d/1.0.0/plot.png")
    pictures = "![Sheet](contact_sheet.png)\n![Plot](plot.png)\n![No](none.png)\n![Up](../x.png)\n"
    card = f"---\nlicense: mit\n---\n\n# d\n\n{pictures}"
    found = self_contained(card, manifest, job.store)
    assert found.startswith("\n# d\n\n\n![Plot](data:image/jpeg;base64,")
    assert found.endswith(")\n\n![Up](../x.png)\n")
    assert len(found) < 5000
