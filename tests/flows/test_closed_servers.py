"""Prefect servers that commands start answer only the command, its runs and whoever has the password.

Strangers are pages of other origins, names that lead to this machine, and its other users. `VARIORUM_KNOCK=600` has
them try every route for ten minutes.
"""

from __future__ import annotations

import http.server
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import knocking
import pytest
from prefect_places import SOME, Guarded, Idle
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from variorum.flows.server_process import Door

log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("VARIORUM_KNOCK", "0"))
REFUSED = {"400", "401", "403", knocking.CLOSED}
ANOTHER_USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
PYTHON = "/usr/bin/python3"
"""An interpreter that other users can run too."""


def test_the_door_opens_for_the_password_on_this_machine_alone():
    client = TestClient(Door(PlainTextResponse("open"), "secret", pages=False), "http://localhost:9")
    right = {"Authorization": "Basic c2VjcmV0"}

    def ask(path: str = "/api/x", **headers: str) -> int:
        return client.post(path, headers=headers).status_code

    assert ask(**right) == 200
    assert ask(**right, Origin="http://localhost:9") == 200
    for origin in (
        "http://evil.example",
        "http://localhost",
        "http://localhost:99",
        "http://localhost:9.evil",
        "null",
        "",
    ):
        assert ask(**right, Origin=origin) == 403
    for given in ({}, {"Authorization": ""}, {"Authorization": "Basic c2VjcmVU"}, {"Authorization": "secret"}):
        assert ask(**given) == 401
        assert ask("/assets/x.js", **given) == 401
    assert client.post("/", headers={"Authorization": b"Basic \xff"}).status_code == 401


def test_files_of_the_pages_need_no_password():
    client = TestClient(Door(PlainTextResponse("open"), "secret", pages=True), "http://localhost:9")
    assert {client.get(path).status_code for path in ("/", "/assets/x.js", "/ui-settings")} == {200}
    assert client.post("/").status_code == 401
    for path in ("/api", "/api/healthy", "/api/health/", "/api/admin/settings", "/docs", "/openapi.json", "/redoc"):
        assert client.get(path).status_code == 401


def test_the_pages_ask_without_the_password_whether_the_server_is_there():
    for pages, code in ((True, 200), (False, 401)):
        client = TestClient(Door(PlainTextResponse("open"), "secret", pages=pages), "http://localhost:9")
        assert client.get("/api/health").status_code == code
        assert client.post("/api/health").status_code == 401
        assert client.get("/api/health", headers={"Origin": "http://evil.example"}).status_code == 403


class Running(Guarded):
    """`variorum run` under Prefect, which waits before its first picture."""

    def __init__(self, folder: Path, photos: Path) -> None:
        hold = folder / "hold"
        hold.touch()
        super().__init__(folder, photos, PROBE_HOLD=str(hold))
        self.process = self.run()
        self.find()


@pytest.fixture(scope="module", params=[Idle, Running], ids=["serve", "run"])
def guarded(request, tmp_path_factory, photos) -> Iterator[Guarded]:
    place = request.param(tmp_path_factory.mktemp("guarded"), photos)
    try:
        yield place
    finally:
        place.end()


@pytest.mark.slow
def test_strangers_get_nothing_from_any_route(guarded):
    """They are another user where the tests run as root; to a socket of loopback all users are alike."""
    before, routes = guarded.known(), guarded.routes()
    other = os.getuid() == 0 and shutil.which("setpriv") and Path(PYTHON).exists()
    words = [*ANOTHER_USER, PYTHON] if other else [sys.executable]
    done = subprocess.run(
        [*words, "-c", Path(knocking.__file__).read_text(), str(guarded.port), str(SECONDS)],
        input=json.dumps(routes), capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = Counter(json.loads(done.stdout))
    log.info("%d routes, %d requests: %s", len(routes), counts.total(), dict(counts))
    assert counts.total() >= len(routes) * len(knocking.WAYS)
    assert {one.partition(": ")[2] for one in counts} <= REFUSED, counts
    assert guarded.known() == before


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {"Host": "evil.example"}], ids=str)
def test_strangers_run_no_command(guarded, headers, tmp_path):
    """The requests with which any web page could once run a command."""
    before, known = guarded.known(), guarded.headers(changing=True)
    step = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {tmp_path}/here"}}
    some = next((one["id"] for one in before if isinstance(one, dict)), SOME)
    for method, path, body in (
        ("POST", "/deployments/filter", {}),
        ("PATCH", f"/deployments/{some}", {"pull_steps": [step]}),
        ("POST", f"/deployments/{some}/create_flow_run", {"state": {"type": "SCHEDULED"}}),
    ):
        given = {**(known if headers else {"Content-Type": "application/json"}), **headers}  # even with the password
        request = urllib.request.Request(guarded.address + path, json.dumps(body).encode(), given, method=method)
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request)
        assert raised.value.code == {"Origin": 403, "Host": 400}.get(next(iter(headers), ""), 401)
        assert "Access-Control-Allow-Origin" not in raised.value.headers
        raised.value.close()
    assert guarded.known() == before


@pytest.mark.slow
def test_the_password_is_shown_once_and_kept_nowhere(guarded):
    said, password = guarded.said(), guarded.password
    assert len(password) >= 32
    if isinstance(guarded, Idle):
        assert f"their password, until then: {password}" in said
    assert said.count(password) == isinstance(guarded, Idle)
    for path in guarded.folder.rglob("*"):
        assert path.name == "log" or not path.is_file() or password.encode() not in path.read_bytes(), path
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert password.encode() not in words.read_bytes(), words


ELSEWHERE_PAGE = """
<img src="API/health"><form method="post" action="API/deployments/filter" target="frame"></form><iframe name="frame">
</iframe><script>
const found = [], path = "API/deployments/", body = JSON.stringify({pull_steps: []})
const ways = [{}, {method: "POST", body: "{}"}, {method: "POST", body: "{}", mode: "no-cors"},
  {method: "PATCH", body, headers: {"Content-Type": "application/json"}},
  {method: "POST", body: "{}", headers: {"Content-Type": "application/json", Authorization: "Basic YTpi"}}]
function socket(place) {
  return new Promise(done => {
    const one = new WebSocket("API".replace("http", "ws") + place, "prefect")
    one.onopen = () => done("open")
    one.onerror = () => done("refused")
  })
}
async function all() {
  document.forms[0].submit()
  for (const way of ways)
    for (const place of ["filter", "SOME", "SOME/create_flow_run"])
      found.push(await fetch(path + place, way).then(answer => `${answer.type} ${answer.status}`, () => "refused"))
  for (const place of ["/events/in", "/events/out", "/logs/out"]) found.push(await socket(place))
  return found
}
</script>
"""


@pytest.mark.browser
def test_a_page_of_another_origin_can_do_nothing(tmp_path, photos, browser):
    place = Idle(tmp_path, photos)
    before = place.known()
    html = ELSEWHERE_PAGE.replace("API", place.address).replace("SOME", before[0]["id"]).encode()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            found = page.evaluate("all()")
            assert set(found) == {"refused", "opaque 0"}
            assert found.count("opaque 0") == 3  # sent without asking first; the page sees no answer
        assert place.known() == before
    finally:
        server.shutdown()
        server.server_close()
        place.end()
