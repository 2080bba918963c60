"""The labeler `remote` against a real HTTP server on this machine: consent, what is sent, failures, resuming, token."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from variorum.curation.safety.harms import endpoint
from variorum.curation.safety.harms.asking import ask
from variorum.curation.safety.labelers.remote import Remote
from variorum.flows.cli import app
from variorum.kit.harms.categories import unsafebench
from variorum.machine.memo import DiskMemo
from variorum.pipeline import Job, build, curate, run
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelFailed, RecipeError, TemporaryError
from variorum.schemas.recipe import Recipe
from variorum.schemas.safety import Labeler, sent_by
from variorum.schemas.sample import Sample, source_id
from variorum.stages.consent import VARIABLE, agreed, agreeing

TOKEN = "sesame-4711-open"
BARE = {"forms": ["bare"]}


def completion(text="safe", **message):
    usage = {"completion_tokens": 7}
    return 200, {"choices": [{"message": {"content": text, **message}, "finish_reason": "stop"}], "usage": usage}


class Server(ThreadingHTTPServer):
    """Answers as `answer(number, body)` says: status, body and headers; keeps what it got."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got, self.headers, self.given = [], [], Counter()
        self.answer = lambda number, body: completion()
        self.lock = threading.Lock()
        self.host = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.host}/v1/chat/completions"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.server.lock:
            self.server.got.append(data)
            self.server.headers.append(dict(self.headers))
            status, body, *more = self.server.answer(len(self.server.got), json.loads(data))
            self.server.given[data] += status == 200
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (more[0] if more else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def allowed(server, monkeypatch):
    monkeypatch.setenv(VARIABLE, server.host)


class NoModels:
    def why_unavailable(self, alias):
        raise AssertionError(alias)


def context(folder):
    return Context(0, NoModels(), DiskMemo(folder / "memo"))


def labeler(server, **fields):
    return Remote(**{"url": server.url, "model": "eyes-1", "asked": BARE, "batch": 2, **fields})


def pictures(number, **metadata):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (number, 48, 64, 3)).astype(np.uint8)
    return [Sample(source_id("drawn", str(n)), image, metadata=metadata) for n, image in enumerate(images)]


def asked(server, samples, folder, **fields):
    waits = []
    (found,) = ask([labeler(server, **fields)], samples, unsafebench(), context(folder), sleep=waits.append)
    return found.opinions, waits


def job(server, photos, folder):
    recipe = {
        "dataset": "asked",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(photos)},
        "curate": [{"name": "safety", "labelers": [labeler(server).config()]}],
    }
    return Job(Recipe.parse(recipe), str(folder / "store"))


# ── consent ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_sent_or_made_without_consent(server, photos, own_cache, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    work = job(server, photos, tmp_path)
    with pytest.raises(RecipeError, match=f"add --send-pictures-to {server.host}"):
        run(work)
    assert not any((tmp_path / "store").rglob("*.tar"))
    manifest = build(work)
    with pytest.raises(RecipeError, match="up to 12 pictures, shrunk to 512 pixels, with 1 prompt each") as refused:
        curate(work, manifest)
    assert f"to {server.host} as model eyes-1: 12 requests, about 1 MB" in str(refused.value)
    monkeypatch.setenv(VARIABLE, "api.example.org, 127.0.0.1")
    with pytest.raises(RecipeError, match="Nothing is sent"):
        asked(server, pictures(1), tmp_path)
    assert server.got == []


def test_a_run_says_what_it_sends_and_keeps_every_answer(server, photos, own_cache, tmp_path, caplog):
    with agreeing([server.host]), caplog.at_level(logging.WARNING):
        work = job(server, photos, tmp_path)
        manifest = build(work)
        _, ledger = curate(work, manifest)
    assert f"sends up to 12 pictures, shrunk to 512 pixels, with 1 prompt each, to {server.host}" in caplog.text
    assert len(server.got) == 12
    prompt = ledger.figures["safety"]["labelers"]["remote"]["prompts"]["bare"]
    assert prompt["heard"] == {"ok": 12}
    assert prompt["tokens"] == 7 * 12


def test_the_command_names_the_host(server, photos, own_cache, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    recipe = tmp_path / "asked.yaml"
    recipe.write_text(
        f"dataset: asked\nversion: 1.0.0\nsource: {{name: image_folder, path: {photos}}}\n"
        f"curate:\n- {{name: safety, labelers: [{{name: remote, url: '{server.url}', model: eyes-1}}]}}\n"
    )
    words = ["run", str(recipe), "--store", str(tmp_path / "store"), "--runner", "threads", "--limit", "2"]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, RecipeError)
    assert server.got == []
    planned = CliRunner().invoke(app, ["plan", *words[1:4], "--limit", "2"], env={"COLUMNS": "300"})
    assert f"up to 2 pictures, shrunk to 512 pixels, with 5 prompts each, to {server.host}" in planned.stdout
    done = CliRunner().invoke(app, [*words, "--send-pictures-to", server.host])
    assert done.exit_code == 0, done.exception
    assert len(server.got) == 10
    assert VARIABLE not in os.environ


def test_consent_ends_with_the_run(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with agreeing(["A.example", "b.example:8443"]):
        assert agreed() == {"a.example", "b.example:8443"}
        with agreeing(["c.example"]):
            assert agreed() == {"a.example", "b.example:8443", "c.example"}
        with agreeing(()):
            assert "c.example" not in agreed()
    assert VARIABLE not in os.environ


def test_restricted_pictures_stay_here(server, allowed, tmp_path):
    samples = [*pictures(2), *pictures(3, restricted=True)]
    samples[2:] = [Sample(f"{one.id[:-1]}x", 255 - one.image, metadata=one.metadata) for one in samples[2:]]
    opinions, _ = asked(server, samples, tmp_path)
    assert [one.heard for one in opinions] == ["ok", "ok", "not_sent", "not_sent", "not_sent"]
    assert len(server.got) == 2


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pixels_and_a_question_are_sent_and_nothing_else(server, allowed, tmp_path):
    large = np.random.default_rng(1).integers(0, 256, (300, 600, 3)).astype(np.uint8)
    sample = Sample(source_id("private", "mine.jpg"), large, metadata={"place": "nowhere"}, origin="private/mine.jpg")
    asked(server, [sample], tmp_path, side=128)
    (data,) = server.got
    body = json.loads(data)
    assert {*body} == {"model", "messages", "temperature", "max_tokens", "store"}
    assert (body["model"], body["temperature"], body["store"]) == ("eyes-1", 0, False)
    text, picture = body["messages"][0]["content"]
    encoded = picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
    seen = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert (seen.size, {*seen.info} - {"jfif", "jfif_version", "jfif_unit", "jfif_density"}) == ((128, 64), set())
    assert "unsafe" in text["text"]
    assert not any(word in data for word in ("mine", "private", "nowhere", sample.id))
    assert "Authorization" not in server.headers[0]


def test_the_token_is_sent_and_left_nowhere(server, allowed, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("EYES_API_KEY", TOKEN)
    server.answer = lambda number, body: (
        completion(f"safe {TOKEN}") if number == 1 else (401, {"error": {"message": f"wrong key {TOKEN}"}})
    )
    opinions, _ = asked(server, pictures(1), tmp_path, token_variable="EYES_API_KEY")
    assert server.headers[0]["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in opinions[0].text
    with pytest.raises(RecipeError, match=r"status 401.*EYES_API_KEY") as refused:
        asked(server, pictures(2), tmp_path, token_variable="EYES_API_KEY")
    assert TOKEN not in f"{refused.value}{caplog.text}{''.join(capfd.readouterr())}{labeler(server).config()}"
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert kept
    for file in kept:
        with np.load(file) as arrays:
            assert all(TOKEN.encode() not in arrays[name].tobytes() for name in arrays)


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_busy_endpoint_is_asked_again_after_the_pause_it_wants(server, allowed, tmp_path, monkeypatch):
    paused = []
    monkeypatch.setattr(endpoint.time, "sleep", paused.append)
    server.answer = lambda number, body: (429, {}, {"Retry-After": "900"}) if number == 1 else completion("unsafe")
    opinions, waits = asked(server, pictures(1), tmp_path)
    assert dict(opinions[0].scores) == {"any": 1.0}
    assert (paused, waits) == ([60.0], [1.0])


def test_a_run_that_dies_repeats_no_call(server, allowed, tmp_path):
    samples = pictures(7)
    server.answer = lambda number, body: completion() if number <= 4 else (503, {"error": {"message": "down"}})
    with pytest.raises(TemporaryError, match="busy or broken"):
        asked(server, samples, tmp_path)
    answered = sum(server.given.values())
    assert answered == 4
    server.answer = lambda number, body: completion()
    opinions, _ = asked(server, samples, tmp_path)
    assert [one.heard for one in opinions] == ["ok"] * 7
    assert {*server.given.values()} - {0} == {1}
    assert sum(server.given.values()) == 7
    before = len(server.got)
    asked(server, samples, tmp_path, timeout=5)
    asked(server, samples, tmp_path, batch=3)
    assert len(server.got) == before


def test_an_unreachable_endpoint_is_a_temporary_error(server, allowed, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(TemporaryError, match=f"{server.host} can't be reached"):
        asked(server, pictures(1), tmp_path)


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (completion(None, refusal="I can't help with that."), "refusal"),
        ((200, {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}), "refusal"),
        ((400, {"error": {"code": "content_filter", "message": "filtered"}}), "refusal"),
        (completion([{"type": "text", "text": "unsafe"}]), "ok"),
        (completion("Who knows."), "abstain"),
        (completion(""), "abstain"),
    ],
)
def test_refusals_and_silence(server, allowed, tmp_path, answer, heard):
    server.answer = lambda number, body: answer
    opinions, _ = asked(server, pictures(1), tmp_path)
    assert opinions[0].heard == heard
    assert bool(opinions[0].scores) == (heard == "ok")


def test_one_picture_that_cannot_be_judged_is_failed_alone(server, allowed, tmp_path):
    bad = base64.b64encode(b"").decode()
    first = []

    def answer(number, body):
        picture = body["messages"][0]["content"][1]["image_url"]["url"]
        first[:] = first or [picture]
        return (400, {"error": {"message": f"odd picture {bad}"}}) if picture == first[0] else completion()

    server.answer = answer
    opinions, _ = asked(server, pictures(3), tmp_path)
    assert sorted(one.heard for one in opinions) == ["failed", "ok", "ok"]
    server.answer = lambda number, body: (200, ["no completion"])
    with pytest.raises(ModelFailed, match="something else than a chat completion"):
        asked(server, pictures(5)[3:], tmp_path)


def test_no_redirect_is_followed(server, allowed, tmp_path):
    server.answer = lambda number, body: (307, {}, {"Location": f"http://localhost:{server.server_port}/elsewhere"})
    with pytest.raises(RecipeError, match="isn't followed"):
        asked(server, pictures(1), tmp_path)
    assert len(server.got) == 1


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"url": "http://api.example.org/v1"}, "must begin with https"),
        ({"url": "https://me:secret@api.example.org/v1"}, "no user, password"),
        ({"url": "https://api.example.org/v1?key=a"}, "no user, password"),
        ({"url": "file:///etc/passwd"}, "must be a URL"),
        ({"url": "https://api.example.org:no/v1"}, "is no URL"),
        ({"token_variable": "HOME"}, "in its name"),
        ({"model": "a\nb"}, "pattern"),
    ],
)
def test_fields_that_cannot_work(fields, why):
    with pytest.raises(ValidationError, match=why):
        Remote(**{"url": "https://api.example.org/v1/chat/completions", "model": "m", **fields})


def test_where_the_token_lies_decides_nothing():
    fields = {"url": "https://api.example.org/v1/chat/completions", "model": "m"}
    assert Remote(**fields, token_variable="MY_TOKEN", timeout=3).fingerprint() == Remote(**fields).fingerprint()
    assert Remote(**fields, side=256).fingerprint() != Remote(**fields).fingerprint()


class Quiet(Labeler):
    """Is remote, and doesn't say what it sends."""

    remote: ClassVar[bool] = True

    def scored(self):
        return ("hate",)

    def opinions(self, shown, ctx):
        raise NotImplementedError


def test_who_sends_pictures_must_say_what():
    with pytest.raises(RecipeError, match=r"is remote and doesn't say what it sends; define `sends_about`"):
        sent_by((Quiet(),), unsafebench())
