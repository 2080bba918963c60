"""What somebody may send to the review server or give to its command, and what must not come of it."""

from __future__ import annotations

import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from served_panels import ADMIN_KEY, JOIN_KEY, Browser, application, make_edition, make_panel, vote_on

from variorum.edition.store import Store
from variorum.flows.cli import main
from variorum.people.panel.panel import open_panel
from variorum.people.server.access import Place
from variorum.people.server.casting import Casting
from variorum.people.server.classes import definitions
from variorum.people.votes.ballots import counted
from variorum.schemas.errors import StoreError, TemporaryError
from variorum.schemas.vote import Vote


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    return make_edition(tmp_path_factory.mktemp("attacks"), pictures=4)


@pytest.fixture(scope="module")
def panel(edition):
    found = make_panel(*edition, "attacked")
    yield found
    found.engine.dispose()


@pytest.fixture
def app(panel):
    return application(panel)


@pytest.mark.parametrize("key", ["%FF", "%F0%9F%98%80", "a%0D%0ASet-Cookie:%20b=c", "k" * 5000])
def test_a_key_that_nobody_needs_leads_to_the_page_and_sets_nothing(app, key):
    answer = Browser(app).get(f"/?key={key}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "set-cookie" not in answer.headers


def test_thirty_people_behind_a_proxy_join_at_once_and_guesses_do_not_lock_them_out(panel):
    place = Place("127.0.0.1", 8765, ("https://review.example.org",))
    app = application(panel, place=place, join_key=JOIN_KEY)
    for number in range(30):
        one = Browser(app, origin="https://review.example.org")
        assert one.get("/", params={"key": JOIN_KEY}).status_code == 303
        assert one.post("/join", {"name": f"proxied {number}"}).status_code == 200
    admin = Browser(app, origin=one.origin)
    assert admin.get("/admin", params={"key": ADMIN_KEY}).status_code == 303
    csrf = {"X-Variorum-Csrf": admin.get("/api/admin").json()["csrf"]}
    link = admin.post("/api/admin/reviewer", {"name": "linked"}, csrf).json()["link"]
    guesses = [Browser(app, origin=one.origin).get(f"/?key=guess{n}").status_code for n in range(21)]
    assert guesses == [403] * 20 + [429]
    for path in (f"/?key={JOIN_KEY}", f"/admin?key={ADMIN_KEY}", link.removeprefix(one.origin)):
        assert Browser(app, origin=one.origin).get(path).status_code == 303
    late = Browser(app, origin=one.origin)
    assert late.post("/join", {"name": "late", "key": "wrong"}).status_code == 429
    assert late.post("/join", {"name": "late", "key": JOIN_KEY}).status_code == 200


def test_a_key_that_is_needed_is_kept(panel):
    app = application(panel, join_key=JOIN_KEY)
    assert JOIN_KEY in Browser(app).get("/", params={"key": JOIN_KEY}).headers["set-cookie"]
    assert Browser(app).get("/?key=%FF").status_code == 403


def test_only_an_address_with_its_hash_is_kept_by_browsers(app):
    ann = Browser(app, "ann of caches")
    picture = ann.next(kind="label")[0]["picture"]
    for name in ("url", "thumbnail"):
        assert "immutable" in ann.get(picture[name]).headers["cache-control"]
        plain = ann.get(picture[name].partition("?")[0])
        assert (plain.status_code, plain.headers["cache-control"]) == (200, "no-store")


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=zz"}, {"Range": "bytes=99999999-"}, {"Range": "bytes=0-1"}])
def test_an_export_leaves_no_file_that_others_could_read(app, panel, tmp_path, monkeypatch, headers):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ann = Browser(app, f"ann of exports {len(headers.get('Range', ''))}")
    ann.cast(vote_on(ann.next(kind="label")[0]))
    admin = Browser(app)
    assert admin.get("/admin", params={"key": ADMIN_KEY}).status_code == 303
    for form in ("csv", "parquet", "label_studio"):
        answer = admin.get(f"/api/admin/export?format={form}", headers=headers)
        assert answer.status_code == 200
        assert len(answer.content) == int(answer.headers["content-length"]) > 0
        assert list(tmp_path.iterdir()) == []


def test_names_are_no_markup_and_no_formulas_in_an_export(app):
    name = "=cmd|' /C calc'!A0 <b>"
    ann = Browser(app, name)
    ann.cast(vote_on(ann.next(kind="label")[0]))
    admin = Browser(app)
    admin.get("/admin", params={"key": ADMIN_KEY})
    lines = admin.get("/api/admin/export?format=csv").text.splitlines()
    assert any(f"'{name}" in line for line in lines)
    assert not any(f",{name}" in line for line in lines)


def test_two_names_that_look_the_same_are_one(app):
    Browser(app, "Bob")
    for name in ("bob", "B\u200bob", "\u202fBOB"):
        assert Browser(app).post("/join", {"name": name}).status_code == 409


def test_the_same_vote_at_the_same_instant_is_one(app, panel):
    ann = Browser(app, "ann of instants")
    task = ann.next(kind="label")[0]
    same, other = vote_on(task), vote_on(task, answer="no")
    browsers = [Browser(app) for _ in range(6)]
    for one in browsers:
        one.client.cookies.update(ann.client.cookies)
        one.csrf = ann.csrf
    start = threading.Barrier(6)

    def send(one, vote):
        start.wait()
        return one.cast(vote)[0]["state"]

    with ThreadPoolExecutor(6) as pool:
        states = list(pool.map(send, browsers, [same, other] * 3))
    rows = [row for row in counted(panel.engine, panel.key).to_pylist() if row["reviewer"] == "ann of instants"]
    assert len(rows) == 1
    kept, lost = (states[0::2], states[1::2])[:: 1 if rows[0]["vote"] == same["vote"] else -1]
    assert sorted(kept) == ["kept", "known", "known"]
    assert lost == ["refused"] * 3


def test_who_waits_for_a_locked_database_hears_of_it_together():
    """Each of twenty would otherwise wait half a minute more than the one before."""
    calls, began, go_on = [], threading.Event(), threading.Event()

    def write(votes):
        calls.append(len(votes))
        if len(calls) == 1:
            began.set()
            assert go_on.wait(30)
        raise TemporaryError("the database is locked")

    casting = Casting(write, threading.Lock())

    def ask(name):
        with pytest.raises(TemporaryError):
            casting.cast([Vote(name, "label", "p", "0" * 64, "cat", "ann", "yes")])

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(ask, "first")
        assert began.wait(30)
        others = [pool.submit(ask, str(number)) for number in range(4)]
        while len(casting._line) < 4:
            pass
        go_on.set()
        for one in (first, *others):
            one.result(30)
    assert calls == [1, 4]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_definitions_as_spreadsheets_write_them(tmp_path, encoding):
    (tmp_path / "d.csv").write_text("class,definition\ncircle,rund ö\n", encoding=encoding)
    assert definitions({"circle": "c"}, tmp_path / "d.csv") == {"circle": "rund ö"}


@pytest.mark.parametrize("text", ["[1]", "5", "null", "[" * 100_000, '"imagenet"', '{"circle": 5}', '{"circle": [1]}'])
def test_classes_that_are_not_collapsed_like_that(edition, tmp_path, capsys, text):
    (tmp_path / "c.json").write_text(text)
    words = ["shapes@1.0.0", "--store", str(edition[1].local), "--name", "collapsed", "--publish-only"]
    with pytest.raises(SystemExit) as ended:
        main(["review", *words, "--collapsed", str(tmp_path / "c.json")])
    assert ended.value.code in (1, 2)
    assert "collapsed" in capsys.readouterr().err
    assert not (Path(edition[1].local) / "panels/shapes/1.0.0/collapsed").exists()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_store_of_somebody_else_writes_no_votes_elsewhere(edition, tmp_path, what):
    manifest, store = edition
    panel = make_panel(manifest, store, f"linked_{what}")
    panel.engine.dispose()
    folder = Path(store.local) / "panels/shapes/1.0.0" / panel.record.name
    (folder / "votes.sqlite").unlink()
    if what == "file":
        (folder / "votes.sqlite").symlink_to(tmp_path / "votes.sqlite")
    else:
        shutil.move(folder, tmp_path / "panel")
        folder.symlink_to(tmp_path / "panel")
    with pytest.raises(StoreError, match="link"):
        open_panel(manifest, Store(str(store.local)), name=panel.record.name)
    assert list(tmp_path.rglob("*.sqlite")) == []
