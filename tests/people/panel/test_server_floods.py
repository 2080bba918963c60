"""Connections that nobody ends: a real server with few descriptors goes on, and reviewers get in and vote."""

from __future__ import annotations

import contextlib
import http.client
import re
import resource
import socket
import subprocess
import time
import uuid
from functools import partial

import pytest
from served_panels import make_edition
from test_server_process import ENVIRONMENT, Person, words

FEW, MANY = 256, 400
"""Descriptors of the server, and connections of an attacker."""
HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: "
SLOW_BODY = b"POST /join HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
UNREAD_BODY = b"GET / HTTP/1.1\r\nHost: %b\r\nContent-Length: 900\r\n\r\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_edition(tmp_path_factory.mktemp("flooded"), pictures=6)[1]


@pytest.fixture
def server(store, tmp_path, request):
    """Address of a server with few descriptors, and what it has logged."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * MANY)), hard))  # of the attacker
    log = tmp_path / "log"
    command = words(store, "--name", f"flooded{uuid.uuid4().hex[:8]}", "--kind", "label", "--port", "0")
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (FEW, FEW))
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=ENVIRONMENT, preexec_fn=few) as one,
    ):
        try:
            while "Ctrl-C" not in log.read_text():
                assert one.poll() is None, log.read_text()
                time.sleep(0.05)
            yield re.search(r"reviewers:\s+http://([^/\s]+)/", log.read_text())[1], log
        finally:
            one.kill()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def flood(address, begun, source="127.0.0.1", number=MANY):
    """Many connections that send the beginning of a request."""
    host, port = address.split(":")
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(number):
            one = stack.enter_context(socket.socket())
            one.settimeout(5)
            one.bind((source, 0))
            one.connect((host, int(port)))
            with contextlib.suppress(OSError):  # it may have been closed for a later one
                one.sendall(begun)
            found.append(one)
        yield found


def one_votes(address, name):
    """Somebody joins and votes, each request on a connection of its own."""
    person = Person(address, name)
    (task,) = person.ask("/api/next", {"mode": "picture", "number": 1})[0]["tasks"]
    asked, picture = task["questions"][0], task["picture"]
    vote = {"vote": str(uuid.uuid4()), "kind": task["kind"], "id": picture["id"], "sha256": picture["sha256"]}
    vote |= {"task": task["task"], "question": asked["question"], "subject": asked["subject"], "answer": "yes"}
    return person.ask("/api/votes", {"votes": [vote]})[0]["results"][0]["state"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.9"])
@pytest.mark.parametrize("begun", ["half", "body", "unread"])
def test_half_sent_requests_stop_nobody(server, begun, source):
    """Also somebody with the attacker's address, such as that of a proxy, votes."""
    address, log = server
    sent = {"half": HALF, "body": SLOW_BODY, "unread": UNREAD_BODY}[begun].replace(b"%b", address.encode())
    with flood(address, sent, source):
        assert one_votes(address, f"ann {begun}") == "kept"
    said = log.read_text()
    assert "out of system resource" not in said
    assert "Traceback" not in said
    assert said.count("too many connections") == 1


@pytest.mark.slow
def test_a_request_that_does_not_come_is_given_up(server):
    address, log = server
    with flood(address, HALF, number=3) as slow, flood(address, b"", number=1) as silent:
        began = time.monotonic()
        while time.monotonic() - began < 9:
            for one in slow:
                one.sendall(b"a")
            time.sleep(1)
        for one in (*slow, *silent):
            one.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
    assert "too many connections" not in log.read_text()


@pytest.mark.slow
def test_a_browser_may_be_idle_between_two_requests(server):
    address, _ = server
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        for pause in (11, 0):
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, len(answer.read()) > 1000) == (200, True)
            sock = connection.sock
            time.sleep(pause)
            assert connection.sock is sock
    finally:
        connection.close()
