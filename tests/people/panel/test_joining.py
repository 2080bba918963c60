"""Who takes part: people whom the organiser confirms, people who are invited, and one person under many names."""

from __future__ import annotations

import re
import signal

import pytest
from served_panels import ADMIN_KEY, JOIN_KEY, Browser, application, make_edition, make_panel, vote_on
from sqlalchemy import text
from test_server_process import ends, serving, words

from variorum.people.panel.panel import read_questions
from variorum.people.panel.raters import BESIDE, raters
from variorum.people.server.access import Place, network
from variorum.people.server.state import state
from variorum.people.votes.ballots import counted

LAB = Place("0.0.0.0", 8765)
ORIGIN = "http://10.0.0.1:8765"


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    return make_edition(tmp_path_factory.mktemp("joining"), pictures=6)


@pytest.fixture
def panel(edition, request):
    found = make_panel(*edition, re.sub(r"[^a-z0-9_]", "_", request.node.name)[:60], votes=3)
    yield found
    found.engine.dispose()


@pytest.fixture
def confirmed(panel):
    """A panel in a network, whose organiser confirms everybody."""
    return application(panel, place=LAB, join_key=JOIN_KEY, joining="confirmed")


def stranger(app, name, address="10.0.0.7"):
    """Somebody who has joined and isn't confirmed."""
    one = Browser(app, origin=ORIGIN, address=address)
    told = one.post("/join", {"name": name, "key": JOIN_KEY})
    assert (told.status_code, told.json()) == (200, {"reviewer": name, "waiting": True})
    return one


def organiser(app, origin=ORIGIN):
    one = Browser(app, origin=origin)
    assert one.get("/admin", params={"key": ADMIN_KEY}).status_code == 303
    one.csrf = one.get("/api/admin").json()["csrf"]
    return one


def shown(admin):
    """The reviewers on the administration page by name."""
    return {one["reviewer"]: one for one in admin.get("/api/admin").json()["raters"]}


def test_whoever_joins_sees_nothing_until_they_are_confirmed(confirmed, panel):
    inside = organiser(confirmed)
    ann = stranger(confirmed, "ann")
    picture = read_questions(panel, panel.store)["id"][0].as_py()
    told = ann.get("/api/me")
    assert (told.status_code, told.json()["waiting"], told.json()["error"]) == (401, "ann", "join the panel first")
    for path in ("/api/classes", "/api/subjects", "/api/discussion", f"/pictures/{picture}", "/api/admin"):
        assert ann.get(path).status_code == 401, path
    for path, body in (("/api/next", {"number": 1}), ("/api/votes", {"votes": []}), ("/api/skip", {"task": 0})):
        assert ann.post(path, body).status_code == 401, path
    assert shown(inside)["ann"]["waiting"]
    assert state(panel.engine, panel.key).reviewers == 0
    assert inside.post("/api/admin/admit", {"reviewer": "ann", "admitted": True}).status_code == 200
    ann.csrf = ann.get("/api/me").json()["csrf"]
    assert ann.cast(vote_on(ann.next(kind="label")[0]))[0]["state"] == "kept"
    assert not shown(inside)["ann"]["waiting"]
    assert state(panel.engine, panel.key).reviewers == 1
    again = inside.post("/api/admin/admit", {"reviewer": "ann", "admitted": False})
    assert again.status_code == 404  # nobody who has been confirmed is forgotten
    assert ann.get("/api/me").status_code == 200


def test_whoever_is_refused_is_forgotten_and_the_name_is_free(confirmed):
    inside, ann = organiser(confirmed), stranger(confirmed, "ann")
    assert inside.post("/api/admin/admit", {"reviewer": "ann", "admitted": False}).status_code == 200
    assert ann.get("/api/me").json()["waiting"] is None
    assert shown(inside) == {}
    link = inside.post("/api/admin/reviewer", {"name": "ann"}).json()["link"]
    other = Browser(confirmed, origin=ORIGIN)
    assert other.get(link.partition(":8765")[2]).status_code == 303
    assert other.get("/api/me").json()["reviewer"] == "ann"


def test_a_personal_link_confirms_whoever_waits(confirmed):
    inside = organiser(confirmed)
    stranger(confirmed, "ann")
    inside.post("/api/admin/reviewer", {"name": "ann"})
    assert not shown(inside)["ann"]["waiting"]


def test_only_the_organiser_confirms(confirmed):
    ann = stranger(confirmed, "ann")
    body = {"reviewer": "ann", "admitted": True}
    assert ann.post("/api/admin/admit", body).status_code == 401
    inside = organiser(confirmed)
    assert inside.post("/api/admin/admit", body, {"Origin": "http://evil.example"}).status_code == 403
    assert inside.post("/api/admin/admit", body, {"X-Variorum-Csrf": "x"}).status_code == 403
    assert inside.post("/api/admin/admit", {"reviewer": "nobody\0", "admitted": True}).status_code == 404
    assert shown(inside)["ann"]["waiting"]


def test_one_person_is_not_a_panel(confirmed, panel):
    """200 names from one address have no vote, and are marked."""
    many = [stranger(confirmed, f"sock {number}", "10.0.0.66") for number in range(30)]
    ben = stranger(confirmed, "ben", "10.0.0.8")
    assert [one.post("/api/next", {"number": 1}).status_code for one in many] == [401] * 30
    inside = organiser(confirmed)
    for name in ("sock 0", "ben"):
        inside.post("/api/admin/admit", {"reviewer": name, "admitted": True})
    found = shown(inside)
    assert found["sock 0"]["beside"] == sorted(f"sock {number}" for number in range(1, 30))[:BESIDE]
    assert found["ben"]["beside"] == []
    ben.csrf = ben.get("/api/me").json()["csrf"]
    assert ben.cast(vote_on(ben.next(kind="label")[0]))[0]["state"] == "kept"
    assert {row["reviewer"] for row in counted(panel.engine, panel.key).to_pylist()} == {"ben"}


@pytest.mark.parametrize(
    ("place", "origin"), [(Place("127.0.0.1", 8765), "http://127.0.0.1:8765"),
                          (Place("127.0.0.1", 8765, ("https://review.example.org",)), "https://review.example.org")],
)  # fmt: skip
def test_an_address_that_all_have_says_nothing(panel, place, origin):
    app = application(panel, place=place)
    for name in ("ann", "ben"):
        Browser(app, name, origin=origin)
    assert [one["beside"] for one in shown(organiser(app, origin)).values()] == [[], []]


def test_half_of_an_address_of_ipv6_is_the_same_connection():
    assert network("2001:db8::1") == network("2001:db8::ffff:2") != network("2001:db8:0:1::1")
    assert network("::ffff:10.0.0.1") == "10.0.0.1" == network("10.0.0.1")
    assert network("fe80::1") != network("fe80::2")
    assert network("no address") == "no address"


def test_nobody_joins_where_only_invited_people_take_part(panel):
    app = application(panel, place=LAB, joining="invited")
    mallory = Browser(app, origin=ORIGIN)
    told = mallory.get("/api/me").json()
    assert (told["invited"], told["waiting"]) == (True, None)
    for key in (None, "", "x" * 12):
        assert mallory.post("/join", {"name": "mallory", "key": key}).status_code == 403
    inside = organiser(app)
    assert inside.get("/api/admin").json()["links"] == {"join": None}
    link = inside.post("/api/admin/reviewer", {"name": "ann"}).json()["link"]
    ann = Browser(app, origin=ORIGIN)
    assert ann.get(link.partition(":8765")[2]).status_code == 303
    assert ann.get("/api/me").json()["reviewer"] == "ann"


def test_a_database_of_an_earlier_version_has_nobody_who_waits(panel):
    ann = Browser(application(panel), "ann")
    with panel.engine.begin() as connection:
        connection.execute(text("DROP TABLE arrivals"))
    assert [(one.waiting, one.beside) for one in raters(panel.engine, panel.key)] == [(False, ())]
    assert ann.get("/").status_code == 200


@pytest.mark.slow
def test_links_for_many_are_printed_at_once(edition, tmp_path):
    store = edition[1]
    (tmp_path / "names.txt").write_text("Ann\n\nBen Ölander\n", encoding="utf-8-sig")
    options = ("--name", "printed", "--kind", "label", "--port", "0", "--invited", str(tmp_path / "names.txt"))
    for first in (True, False):
        with serving(store, *options, "--invited", "J. Doe") as (process, _, lines):
            said = "".join(lines)
            links = dict(re.findall(r"^(.+): http://\S+(/as\?secret=\S{40,})$", said, re.M))
            assert "only by the personal links" in said, said
            assert list(links) == (["Ann", "Ben Ölander", "J. Doe"] if first else []), said
            assert said.count("has a link already") == (0 if first else 3)
            assert "?key=" not in said.partition("administration")[0]
            process.send_signal(signal.SIGINT)
            assert "of 3 reviewers" in process.stdout.read()
            assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--host", "0.0.0.0"), "waits until you confirm"),
        (("--host", "0.0.0.0", "--no-confirm"), "can join and vote"),
        (("--address", "https://review.example.org"), "waits until you confirm"),
        (("--confirm",), "waits until you confirm"),
        ((), None),
    ],
)
def test_the_command_says_who_takes_part(edition, options, says):
    with serving(edition[1], "--name", "said", "--kind", "label", "--port", "0", *options) as (_, __, lines):
        said = "".join(lines)
        for one in ("waits until you confirm", "can join and vote"):
            assert (one in said) == (one == says)


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--invited", "none.txt"), 1, "none.txt"),
        (("--invited", "Ann", "--key", "long enough"), 2, "--invited goes with neither"),
        (("--invited", "Ann", "--no-confirm"), 2, "--invited goes with neither"),
    ],
)
def test_invitations_that_cannot_be(edition, capsys, more, code, says):
    ended, out, err = ends(capsys, *words(edition[1], "--name", "wrong", "--port", "0", *more))
    assert (ended, says in err, "is published" in out) == (code, True, False), err


def test_an_empty_list_of_people_is_no_invitation(edition, capsys, tmp_path):
    (tmp_path / "names.txt").write_text("\n")
    ended, _, err = ends(capsys, *words(edition[1], "--name", "wrong", "--invited", str(tmp_path / "names.txt")))
    assert (ended, "it has no name" in err) == (1, True)
