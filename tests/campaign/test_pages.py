"""Pages of other hosts and origins, in Chromium"""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect_places import Idle
from served_panel import join_page, kept_votes
from shapes_to_review import make_shapes, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ("no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run", "disable-background-networking")
REBOUND = "--host-resolver-rules=MAP evil.test 127.0.0.1"
"""What rebinding leads to: the attacker's name is an address of this machine."""
PAGE = """<!doctype html><form method="post" target="frame"></form><iframe name="frame"></iframe><script>
const body = BODY, known = {"Content-Type": "application/json"}
const text = answer => answer.text().then(found => `${answer.status} ${found}`)
const ways = {
  fetch: url => fetch(url).then(text),
  credentials: url => fetch(url, {credentials: "include"}).then(text),
  opaque: url => fetch(url, {mode: "no-cors", credentials: "include"}).then(text),
  post: url => fetch(url, {method: "POST", body, headers: known}).then(text),
  simple: url => fetch(url, {method: "POST", body, mode: "no-cors", credentials: "include"}).then(text),
  patch: url => fetch(url, {method: "PATCH", body, headers: known}).then(text),
  remove: url => fetch(url, {method: "DELETE"}).then(text),
  beacon: async url => (navigator.sendBeacon(url, body), ""),
  request: url => new Promise((done, failed) => {
    const one = new XMLHttpRequest()
    one.open("POST", url); one.withCredentials = true
    one.onload = () => done(`${one.status} ${one.responseText}`); one.onerror = failed
    one.send(body)
  }),
  image: url => new Promise((done, failed) => {
    const one = new Image()
    one.onload = () => done(`200 a picture of ${one.width} pixels`); one.onerror = failed
    one.src = url
  }),
  script: url => new Promise((done, failed) => {
    const one = document.createElement("script")
    one.onload = () => done("200 a script"); one.onerror = failed; one.src = url
    document.body.append(one)
  }),
  frame: url => new Promise(done => {
    const one = document.createElement("iframe")
    one.onload = () => { try { done(`200 ${one.contentDocument.body.innerText}`) } catch { done("") } }
    one.src = url
    document.body.append(one)
    setTimeout(() => done(""), 1500)
  }),
  form: url => new Promise(done => {
    document.forms[0].action = url; document.forms[0].submit()
    setTimeout(() => { try { done(`200 ${frames[0].document.body.innerText}`) } catch { done("") } }, 400)
  }),
  socket: url => new Promise((done, failed) => {
    const one = new WebSocket(url.replace("http", "ws"), "prefect")
    one.onopen = () => done("200 open"); one.onerror = failed
  }),
  events: url => new Promise((done, failed) => {
    const one = new EventSource(url)
    one.onopen = () => done("200 events"); one.onerror = () => (one.close(), failed())
  }),
}
const late = () => new Promise(end => setTimeout(end, 2000, ""))
const tried = (way, url) => Promise.race([ways[way](url).catch(() => ""), late()])
</script>"""


@contextlib.contextmanager
def attacker(page: str) -> Iterator[int]:
    """A web server of somebody else on this machine; gives its port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def rebound() -> Iterator[Browser]:
    """Chromium, for which evil.test is this machine."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = [*(f"--{one}" for one in QUIET), REBOUND]
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=options)
        yield running
        running.close()


def attacks(
    browser: Browser,
    port: int,
    routes: list[str],
    body: str,
    allowed: Callable[[str], bool],
    cookies: Sequence[Any] = (),
) -> Callable[[tuple[str, str, str]], str]:
    """A function that has a page of a host ask a route of the server at a port in one way; what it read."""

    def attack(case: tuple[str, str, str]) -> str:
        host, way, route = case
        with attacker(PAGE.replace("BODY", repr(body))) as other, browser.new_context() as context:
            if cookies:
                context.add_cookies([*cookies])
            page = context.new_page()
            page.goto(f"http://{host}:{other}/")
            name = "evil.test" if host == "evil.test" else "127.0.0.1"
            found = page.evaluate("([way, url]) => tried(way, url)", [way, f"http://{name}:{port}{route}"])
            return "" if not found or allowed(found) else f"it read {found[:200]!r}"

    return attack


def same_origin(browser: Browser, port: int, routes: list[str], body: str) -> Callable[[tuple[str, str]], str]:
    """The same with the page itself at the server's own port, as after a rebinding: its origin is the server's."""

    def attack(case: tuple[str, str]) -> str:
        way, route = case
        with browser.new_context() as context:
            page = context.new_page()
            page.route(
                f"http://evil.test:{port}/mine",
                lambda one: one.fulfill(body=PAGE.replace("BODY", repr(body)), content_type="text/html"),
            )
            page.goto(f"http://evil.test:{port}/mine")  # the attacker's own page, from before the name was changed
            found = page.evaluate("([way, url]) => tried(way, url)", [way, f"http://evil.test:{port}{route}"])
            return "" if not found or refused(found) else f"it read {found[:200]!r}"

    return attack


def refused(found: str) -> bool:
    """Whether an answer refuses a page: 400 and the like, or a frame that shows the same in words."""
    return found[:3] in ("400", "401", "403", "404", "405", "421") or found in ("0 ", "200 ", "200 Invalid host header")


WAYS = ["fetch", "credentials", "opaque", "post", "simple", "patch", "remove", "beacon", "request", "image", "script"]
WAYS += ["frame", "form", "socket", "events"]


def hosts_and_ways(routes: list[str]) -> list[tuple[str, str, str]]:
    return [(host, way, route) for host in ("evil.test", "localhost", "127.0.0.1") for way in WAYS for route in routes]


@pytest.mark.fire
def test_pages_and_the_prefect_server(trials, tmp_path, photos, rebound):
    """No page of another host or origin reads or changes anything of the server that `variorum serve` starts.

    Rebinding (evil.test leads to this machine) and pages of other ports: fetch, XHR, forms, sockets, frames, beacons.
    """
    place = Idle(tmp_path, photos)
    try:
        before = place.known()
        some = before[0]["id"]
        body = '{"pull_steps": [], "paused": true, "state": {"type": "SCHEDULED"}}'
        routes = ["/api/deployments/filter", f"/api/deployments/{some}", f"/api/deployments/{some}/create_flow_run"]

        def held(attack: Callable[[Any], str]) -> Callable[[Any], str]:
            return lambda case: attack(case) or ("" if place.known() == before else "it changed something")

        trials(held(same_origin(rebound, place.port, routes, body)), [(way, route) for way in WAYS for route in routes])
        trials(held(attacks(rebound, place.port, routes, body, refused)), hosts_and_ways(routes[:2]))
    finally:
        place.end()


@pytest.mark.fire
def test_pages_and_the_review_server(trials, tmp_path, rebound):
    """No page of another host or origin reads a picture of a review or votes, also with a reviewer's own browser.

    Rebinding and pages of other ports, in a browser that holds the reviewer's cookie; all that the review's page asks.
    """
    with running(make_shapes(tmp_path), "label", ("label",), tmp_path / "votes.sqlite") as server:
        port = server.port
        with rebound.new_context() as context:
            page = context.new_page()
            asked: list[str] = []
            page.on("request", lambda one: asked.append(one.url))
            page.goto(server.url)
            join_page(page, "Ada")
            page.wait_for_selector(".stage img")
            cookies = context.cookies()
        assert cookies
        picture = next(one for one in asked if "/pictures/" in one or "/thumbnails/" in one)
        routes = [picture.partition(f":{port}")[2], "/api/discussion", "/api/votes"]
        before = kept_votes(server.panel)

        def held(attack: Callable[[Any], str]) -> Callable[[Any], str]:
            return lambda case: attack(case) or ("" if kept_votes(server.panel) == before else "it voted")

        trials(held(same_origin(rebound, port, routes, "{}")), [(way, route) for way in WAYS for route in routes])
        trials(held(attacks(rebound, port, routes, "{}", refused, cookies)), hosts_and_ways(routes[:2]))
