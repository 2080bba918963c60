"""`variorum review` as a process: its lines, its errors, and a server that is killed while people vote."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from served_panels import make_edition

from variorum.edition.editions import resolve
from variorum.flows.cli import main
from variorum.people.panel.panel import open_panel, published, read_questions
from variorum.people.votes.ballots import counted
from variorum.reports.rows import edition_rows

VARIORUM = str(Path(sys.executable).with_name("variorum"))
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with an edition, and no panel."""
    return make_edition(tmp_path_factory.mktemp("processes"), pictures=24)[1]


def words(store, *more):
    """A command line."""
    return [VARIORUM, "review", "shapes@1.0.0", "--store", str(store.local), "--no-open", *more]


def ends(capsys, *command) -> tuple[int, str, str]:
    """Exit code and output of a command that ends by itself, run in this process."""
    with pytest.raises(SystemExit) as ended:
        main(command[1:])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@contextmanager
def serving(store, *more) -> Iterator[tuple[subprocess.Popen, str, list[str]]]:
    """A server that runs, its address, and the lines that it has printed so far."""
    command = words(store, *more)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT) as one:
        lines = []
        try:
            for line in one.stdout:
                lines.append(line)
                if "Ctrl-C" in line:
                    break
            else:
                pytest.fail("".join(lines))
            yield one, re.search(r"reviewers:\s+https?://([^/\s]+)/", "".join(lines))[1], lines
        finally:
            one.kill()


class Person:
    """A page that tries again until the server answers, with the same ids."""

    def __init__(self, address: str, name: str) -> None:
        self.address, self.cookie, self.token = address, "", ""
        self.cookie = self.ask("/join", {"name": name})[1]
        self.token = self.ask("/api/me")[0]["csrf"]

    def once(self, path, body=None):
        """One request; the connection may break."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        headers = {"Origin": f"http://{self.address}", "Cookie": self.cookie, "X-Variorum-Csrf": self.token}
        try:
            if body is None:
                connection.request("GET", path, headers=headers)
            else:
                connection.request("POST", path, json.dumps(body), {**headers, "Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
            assert answer.status in (200, 503), (path, answer.status, data)
            cookie = (answer.getheader("Set-Cookie") or "").split(";")[0]
            return (json.loads(data), cookie) if answer.status == 200 else None
        finally:
            connection.close()

    def ask(self, path, body=None):
        """Until it is answered."""
        end = time.monotonic() + 90
        while time.monotonic() < end:
            try:
                if (found := self.once(path, body)) is not None:
                    return found
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} isn't answered")


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@pytest.mark.slow
def test_a_server_that_is_killed_loses_and_doubles_nothing(store):
    port = str(free_port())
    options = ("--name", "killed", "--votes", "4", "--kind", "label", "--kind", "edit", "--port", port)
    sent, acknowledged, states = {}, set(), []
    kills = 2

    def votes(person, name):
        answers = ("yes", "no", "unclear")
        while tasks := person.ask("/api/next", {"mode": "picture", "number": 2})[0]["tasks"]:
            for task in tasks:
                picture = task["picture"]
                cast = [
                    {"vote": str(uuid.uuid4()), "kind": task["kind"], "id": picture["id"], "sha256": picture["sha256"],
                     "task": task["task"], "question": one["question"], "subject": one["subject"],
                     "answer": answers[(len(sent) + place) % 3]}
                    for place, one in enumerate(task["questions"])
                ]  # fmt: skip
                sent.update({one["vote"]: (one["question"], one["answer"], name) for one in cast})
                results = person.ask("/api/votes", {"votes": cast})[0]["results"]
                states.extend(one["state"] for one in results)
                acknowledged.update(one["vote"] for one in results if one["state"] != "refused")

    def wanted(round_):
        return 30 * (round_ + 1)

    threads = []
    for round_ in range(kills + 1):
        with serving(store, *options) as (process, address, lines):
            assert any("is published:" in line for line in lines) == (round_ == 0)
            if not threads:
                people = {name: Person(address, name) for name in ("ann", "ben", "cho", "dee")}
                threads = [threading.Thread(target=votes, args=(one, name)) for name, one in people.items()]
                for thread in threads:
                    thread.start()
            if round_ < kills:
                while len(acknowledged) < wanted(round_) and any(thread.is_alive() for thread in threads):
                    time.sleep(0.002)
                process.send_signal(signal.SIGKILL)
                process.wait()
            else:
                for thread in threads:
                    thread.join(120)
                assert not any(thread.is_alive() for thread in threads)
                process.send_signal(signal.SIGINT)
                rest = process.stdout.read()
                assert process.wait(30) == 0
                assert f"has {len(acknowledged)} votes of 4 reviewers" in rest
    panel = open_panel(resolve("shapes@1.0.0", store), store, name="killed")
    rows = counted(panel.engine, panel.key).to_pylist()
    panel.engine.dispose()
    stored = {row["vote"]: (row["question"], row["answer"], row["reviewer"]) for row in rows}
    assert len(rows) == len(stored)
    assert acknowledged == set(stored)
    assert len(stored) > wanted(kills - 1)
    assert all(sent[vote] == row for vote, row in stored.items())
    assert len({(row["question"], row["reviewer"]) for row in rows}) == len(rows)


def test_a_panel_is_published_once_and_goes_on_with_its_settings(store, capsys):
    code, out, _ = ends(capsys, *words(store, "--name", "twice", "--votes", "2", "--kind", "label", "--publish-only"))
    assert (code, "2 votes each" in out) == (0, True)
    code, out, _ = ends(capsys, *words(store, "--name", "twice", "--publish-only"))
    assert (code, "published already" in out) == (0, True)
    code, _, err = ends(capsys, *words(store, "--name", "twice", "--votes", "5", "--publish-only"))
    assert code == 1
    assert "votes 5 instead of 2" in err
    assert "--name" in err


def test_marked_pictures_are_asked_about_first(store, tmp_path, capsys):
    manifest = resolve("shapes@1.0.0", store)
    ids = edition_rows(manifest, store, ("id",))["id"].to_pylist()
    file = tmp_path / "marks.jsonl"

    def marked(*lines):
        head = {"marks": 1, "edition": "shapes@1.0.0-r1", "digest": "of the release"}
        file.write_text("".join(json.dumps(line) + "\n" for line in (head, *lines)))
        return words(store, "--name", "marked", "--marks", str(file), "--publish-only")

    code, _, err = ends(capsys, *marked({"id": "f" * 32, "ask": True}))
    assert (code, len(err.splitlines())) == (1, 1)
    assert f"1 of 1 marked pictures aren't in shapes@1.0.0: {'f' * 32}; the marks are of shapes@1.0.0-r1" in err
    code, out, _ = ends(capsys, *marked({"id": ids[-1], "ask": True}, {"id": ids[0], "tags": ["x"]}))
    assert code == 0
    assert "1 of 1 marked pictures are asked about, first of all" in out
    table = read_questions(published(manifest, store, name="marked"), store).to_pylist()
    assert next(row["id"] for row in table if row["why"] == "asked") == ids[-1]
    code, out, _ = ends(capsys, *marked({"id": ids[-1], "ask": True}))
    assert "is published already, with the same questions" in out


def test_a_taken_port_is_noticed_before_any_work(store, capsys):
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = str(one.getsockname()[1])
        code, out, err = ends(capsys, *words(store, "--name", "late", "--kind", "label", "--port", port))
    assert code == 75
    assert f"port {port} of 127.0.0.1 is taken" in err
    assert "--port" in err
    assert "published" not in out


@pytest.mark.slow
def test_a_server_says_where_it_is_and_how_far_it_got(store):
    port = str(free_port())
    with serving(store, "--name", "alone", "--kind", "label", "--port", port) as (process, address, lines):
        assert address == f"127.0.0.1:{port}"
        assert not any("key=" in line for line in lines if "reviewers" in line)
        assert any(re.search(r"administration: .*/admin\?key=\S{20,}", line) for line in lines)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0
        assert "stopped; panel shapes@1.0.0/alone has 0 votes" in rest


@pytest.mark.slow
def test_serving_others_needs_a_key_and_says_so(store):
    with serving(store, "--name", "open", "--kind", "label", "--host", "0.0.0.0", "--port", "0") as (process, _, lines):
        said = "".join(lines)
        assert re.search(r"reviewers: .*/\?key=\S{20,}", said)
        assert "doesn't encrypt" in said
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM, 143)


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--kind", "colour"), 2, "--kind"),
        (("--votes", "0"), 2, "--votes"),
        (("--name", "No Name"), 1, "lower-case"),
        (
            ("--name", "bad", "--kind", "label", "--host", "no.such.host.example", "--port", "0"),
            1,
            "no.such.host.example",
        ),
        (("--name", "bad", "--kind", "label", "--address", "review.example.org"), 1, "https://"),
        (("--name", "bad", "--kind", "label", "--key", "short", "--port", "0"), 1, "12 characters"),
        (("--name", "bad", "--kind", "label", "--definitions", "none.csv", "--port", "0"), 1, "none.csv"),
        (("--name", "bad", "--kind", "label", "--collapsed", "none.json"), 1, "none.json"),
    ],
)
def test_wrong_options_end_in_one_line(store, capsys, more, code, says):
    ended, out, err = ends(capsys, *words(store, *more))
    assert ended == code, err
    assert says in err
    assert "Traceback" not in err
    assert "is published" not in out
    assert len([line for line in err.splitlines() if line.startswith("error")]) == 1


def test_a_mistyped_edition_is_named(store, capsys):
    code, _, err = ends(capsys, VARIORUM, "review", "shape@1.0.0", "--store", str(store.local), "--no-open")
    assert code == 1
    assert "did you mean shapes@1.0.0" in err
