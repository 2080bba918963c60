"""Every address of the review server, on a real edition with a real panel, and every refusal."""

from __future__ import annotations

import io
import json
import uuid
from dataclasses import dataclass
from itertools import count

import pyarrow.parquet as pq
import pytest
from PIL import Image
from served_panels import ADMIN_KEY, JOIN_KEY, ORIGIN, Browser, application, make_edition, make_panel, vote_on
from sqlalchemy import select, update

from variorum.people.server.access import Place
from variorum.people.server.requests import LARGEST
from variorum.people.votes.ballots import counted, recount
from variorum.people.votes.database import questions, tasks, writing
from variorum.schemas.vote import question_key

numbers = count()


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    return make_edition(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture
def panel(edition):
    """A panel of its own for a test."""
    found = make_panel(*edition, f"panel{next(numbers)}")
    yield found
    found.engine.dispose()


@pytest.fixture
def app(panel):
    return application(panel)


@dataclass
class Shared:
    """A server for tests in which no vote is kept, with a person who has joined and a task of theirs."""

    app: object
    panel: object
    ann: Browser
    task: dict


@pytest.fixture(scope="module")
def shared(edition):
    panel = make_panel(*edition, "shared")
    app = application(panel)
    ann = Browser(app, "ann")
    yield Shared(app, panel, ann, ann.next(kind="label")[0])
    panel.engine.dispose()


def stored(panel):
    """The votes that count, as rows."""
    return counted(panel.engine, panel.key).to_pylist()


# ── the reviewer's way ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_person_joins_votes_and_is_known_again(app, panel):
    ann = Browser(app, "ann")
    me = ann.get("/api/me").json()
    assert me["reviewer"] == "ann"
    assert me["panel"]["edition"] == "shapes@1.0.0"
    assert set(me["panel"]["kinds"]) == {"label", "box", "edit"}
    assert me["panel"]["votes"] == 2
    assert me["panel"]["paused"] is False
    assert me["progress"]["answered"] == 0
    (task,) = ann.next(kind="label")
    vote = vote_on(task, category="", reason="", comment="a note", box=None)
    assert ann.cast(vote) == [{"vote": vote["vote"], "state": "kept", "why": ""}]
    (row,) = stored(panel)
    sent = {name: vote[name] for name in ("vote", "kind", "id", "sha256", "subject", "answer", "seconds", "comment")}
    assert {name: row[name] for name in sent} == sent
    assert row["reviewer"] == "ann"
    assert ann.get("/api/me").json()["progress"]["answered"] == 1


def test_tasks_give_away_neither_the_given_label_nor_what_is_known(app, panel):
    ann = Browser(app, "ann")
    for kind in ("label", "box", "edit"):
        for task in ann.next(kind=kind, number=50, mode="grid"):
            assert task.keys() == {"task", "kind", "veiled", "picture", "questions"}
            for question in task["questions"]:
                assert question.keys() - {"box", "other"} == {"question", "subject", "name", "phrase"}
            text = json.dumps(task)
            assert not any(word in text for word in ("truth", "gold", "agreed", "why", "proposed", "given"))
            if kind == "label":
                assert all(one["label"] == one["name"] == "" for one in task["picture"]["objects"])


def test_questions_of_each_kind_have_what_they_need(app):
    ann = Browser(app, "ann")
    (label,) = ann.next(kind="label")
    assert all(one["name"] in ("a circle | <b>", "square") for one in label["questions"])
    (box,) = ann.next(kind="box")
    asked = box["questions"][0]
    assert len(asked["box"]) == 4
    assert asked["box"] == box["picture"]["objects"][int(asked["subject"])]["box"]
    assert asked["name"] in ("a circle | <b>", "square")
    (edit,) = ann.next(kind="edit")
    assert edit["picture"]["original"]["id"] != edit["picture"]["id"]
    assert ann.get(edit["picture"]["original"]["url"]).status_code == 200


def test_the_same_vote_sent_twice_is_one(app, panel):
    ann = Browser(app, "ann")
    (task,) = ann.next(kind="label")
    vote = vote_on(task)
    assert [ann.cast(vote)[0]["state"] for _ in range(3)] == ["kept", "known", "known"]
    assert ann.cast(vote, vote)[1]["state"] == "known"
    assert len(stored(panel)) == 1


def test_two_tabs_of_one_person_make_one_vote(app, panel):
    ann = Browser(app, "ann")
    tab = Browser(app)
    tab.client.cookies, tab.csrf = ann.client.cookies, ann.csrf
    (task,) = ann.next(kind="label")
    first, second = vote_on(task, answer="yes"), vote_on(task, answer="no")
    assert ann.cast(first)[0]["state"] == "kept"
    refused = tab.cast(second)[0]
    assert refused["state"] == "refused"
    assert first["vote"] in refused["why"]
    assert tab.cast({**second, "replaces": first["vote"]})[0]["state"] == "kept"
    (row,) = stored(panel)
    assert (row["vote"], row["answer"]) == (second["vote"], "no")


def test_tabs_get_different_tasks(app):
    ann = Browser(app, "ann")
    first = ann.next(kind="label", number=2)
    held = [task["task"] for task in first]
    more = ann.next(kind="label", number=2, holding=held)
    assert not {task["task"] for task in more} & set(held)


def test_a_vote_is_taken_back(app, panel):
    ann = Browser(app, "ann")
    (task,) = ann.next(kind="label")
    vote = vote_on(task)
    ann.cast(vote)
    body = {"votes": [{"vote": vote["vote"], "by": str(uuid.uuid4())}]}
    answer = ann.post("/api/withdraw", body).json()
    assert [one["state"] for one in answer["results"]] == ["kept"]
    assert answer["progress"]["answered"] == 0
    assert ann.post("/api/withdraw", body).json()["results"][0]["state"] == "known"
    assert stored(panel) == []
    ben = Browser(app, "ben")
    ben_vote = vote_on(task)
    assert ben.cast(ben_vote)[0]["state"] == "kept"
    mine = [{"vote": ben_vote["vote"], "by": str(uuid.uuid4())}]
    assert ann.post("/api/withdraw", {"votes": mine}).json()["results"][0]["state"] == "refused"


def test_many_votes_are_taken_back_together(app, panel):
    ann = Browser(app, "ann")
    tasks = ann.next(kind="label", number=5)
    votes = [vote_on(task) for task in tasks]
    ann.cast(*votes)
    pairs = [{"vote": vote["vote"], "by": str(uuid.uuid4())} for vote in votes]
    strange = {"vote": str(uuid.uuid4()), "by": str(uuid.uuid4())}
    answer = ann.post("/api/withdraw", {"votes": [*pairs[:2], strange, *pairs[2:], pairs[0]]}).json()
    states = [one["state"] for one in answer["results"]]
    assert states == ["kept", "kept", "refused", *["kept"] * (len(pairs) - 2), "known"]
    assert stored(panel) == []
    assert recount(panel.engine, panel.key) == []


def test_what_a_closed_page_left_comes_first_if_asked_for(app):
    ann = Browser(app, "ann")
    left = [task["task"] for task in ann.next(kind="label", number=3)]
    other = [task["task"] for task in ann.next(kind="label", number=2, holding=left)]
    assert not set(left) & set(other)
    again = ann.next(kind="label", number=4, holding=other, resume=True)
    assert [task["task"] for task in again][:3] == sorted(left)
    assert not {task["task"] for task in again} & set(other)


def test_a_skipped_task_comes_back_last(app):
    ann = Browser(app, "ann")
    (task,) = ann.next(kind="label")
    assert ann.post("/api/skip", {"task": task["task"]}).json() == {}
    (other,) = ann.next(kind="label")
    assert other["task"] != task["task"]


def test_a_label_that_nobody_asks_about_is_added_from_the_classes(app, panel):
    ann = Browser(app, "ann")
    tasks = ann.next(kind="label", number=50, mode="grid")
    task = next(task for task in tasks if len(task["questions"]) == 1)
    subject = "square" if task["questions"][0]["subject"] == "circle" else "circle"
    added = vote_on(task, subject=subject, question=None)
    assert ann.cast({**added, "subject": subject, "question": None})[0]["state"] == "kept"
    assert (
        ann.cast({**added, "vote": str(uuid.uuid4()), "subject": "hexagon", "question": None})[0]["state"] == "refused"
    )
    assert [row["subject"] for row in stored(panel)] == [subject]


def test_a_problem_of_the_picture_is_kept(app, panel):
    ann = Browser(app, "ann")
    (task,) = ann.next(kind="label")
    vote = vote_on(task, kind="problem", subject="", question=None, reason="too_small")
    assert ann.cast({**vote, "kind": "problem", "subject": "", "question": None})[0]["state"] == "kept"
    assert stored(panel)[0]["reason"] == "too_small"


def test_votes_that_differ_come_up_for_discussion_and_are_decided(app, panel):
    ann, ben = Browser(app, "ann"), Browser(app, "ben")
    assert ann.get("/api/discussion").json() == {"tasks": [], "left": 0}
    (task,) = ann.next(kind="label")
    mine, theirs = vote_on(task, answer="yes"), vote_on(task, answer="no", comment="<script>alert(1)</script>")
    ann.cast(*[vote_on(task, place, "yes") for place in range(len(task["questions"]))])
    assert ann.get("/api/discussion").json()["left"] == 0
    ben.cast(*[vote_on(task, place, "no", comment=theirs["comment"]) for place in range(len(task["questions"]))])
    told = ben.get("/api/discussion", params={"after": -1}).json()
    assert told["left"] == 1
    question = told["tasks"][0]["questions"][0]
    assert {one["reviewer"]: one["answer"] for one in question["votes"]} == {"ann": "yes", "ben": "no"}
    assert theirs["comment"] in [one["comment"] for one in question["votes"]]
    assert ann.get("/api/me").json()["discussion"] == 1
    decisions = [vote_on(told["tasks"][0], place, "no", round=2) for place in range(len(told["tasks"][0]["questions"]))]
    assert {result["state"] for result in ann.cast(*decisions)} == {"kept"}
    assert ann.get("/api/discussion").json()["left"] == 0
    assert mine["question"]


def test_an_open_question_is_not_decided_together(app):
    ann = Browser(app, "ann")
    (task,) = ann.next(kind="label")
    assert ann.cast(vote_on(task, round=2))[0]["state"] == "refused"


def test_classes_subjects_and_examples(app):
    ann = Browser(app, "ann")
    classes = ann.get("/api/classes").json()["classes"]
    assert classes == [["circle", "a circle | <b>"], ["square", "square"]]
    told = ann.get("/api/class", params={"id": "circle"}).json()
    assert told["definition"] == "round all over"
    assert told["examples"]
    assert ann.get(told["examples"][0]["thumbnail"]).status_code == 200
    assert ann.get("/api/class", params={"id": "hexagon"}).status_code == 404
    subjects = ann.get("/api/subjects", params={"kind": "label"}).json()["subjects"]
    assert {subject for subject, *_ in subjects} <= {"circle", "square"}
    assert [left for _, _, left, _ in subjects] == sorted((left for _, _, left, _ in subjects), reverse=True)
    grid = ann.next(mode="grid", number=60, kind="label", subject=subjects[0][0])
    assert grid
    assert all([one["subject"] for one in task["questions"]] == [subjects[0][0]] for task in grid)


def test_pictures_and_thumbnails_are_sent_by_id(app):
    ann = Browser(app, "ann")
    (task,) = ann.next(kind="label")
    picture = task["picture"]
    whole, small = ann.get(picture["url"]), ann.get(picture["thumbnail"])
    assert Image.open(io.BytesIO(whole.content)).size == (picture["width"], picture["height"])
    assert small.headers["content-type"] == "image/jpeg"
    for answer in (whole, small):
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert ann.get(f"/masks/{picture['id']}").status_code == 404
    assert ann.get(picture["url"].split("?")[0]).status_code == 200
    assert ann.get(picture["url"].split("?")[0] + "?v=0123456789abcdef").status_code == 404


def test_leaving_forgets_the_browser(app):
    ann = Browser(app, "ann")
    assert ann.post("/leave", {}).json() == {}
    assert ann.get("/api/me").status_code == 401


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

ASKED = ("/api/me", "/api/classes", "/api/class?id=circle", "/api/subjects", "/api/discussion")
TOLD = ("/api/next", "/api/votes", "/api/withdraw", "/api/skip", "/leave")
GOVERNED = ("/api/admin/reviewer", "/api/admin/pause")


@pytest.mark.parametrize("path", ASKED)
def test_nobody_is_told_anything_without_joining(shared, path):
    assert Browser(shared.app).get(path).status_code == 401
    stranger = Browser(shared.app)
    cookie = next(iter(shared.ann.client.cookies))
    stranger.client.cookies.set(cookie, "made up")
    assert stranger.get(path).status_code == 401


def test_pictures_are_only_for_those_who_have_joined(shared):
    task = shared.task
    for name in ("url", "thumbnail"):
        assert Browser(shared.app).get(task["picture"][name]).status_code == 401


@pytest.mark.parametrize("path", TOLD)
def test_nothing_is_changed_without_cookie_token_and_origin(shared, path):
    ann = shared.ann
    assert Browser(shared.app).post(path, {}).status_code == 401
    for headers in (
        {"X-Variorum-Csrf": None},
        {"X-Variorum-Csrf": ""},
        {"X-Variorum-Csrf": ann.csrf[:-1]},
        {"X-Variorum-Csrf": "é".encode("latin-1")},
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8766"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = ann.post(path, {}, headers)
        assert answer.status_code == 403, headers
        assert answer.json().keys() == {"error"}
    assert ann.get(path).status_code in (404, 405)
    assert stored(shared.panel) == []


def test_a_token_of_somebody_else_is_worth_nothing(shared):
    ben = Browser(shared.app, "ben")
    body, headers = {"mode": "one", "number": 1}, {"X-Variorum-Csrf": ben.csrf}
    assert shared.ann.post("/api/next", body, headers).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8765.evil.example", ""]
)
def test_other_hosts_get_nothing(shared, host):
    ann = shared.ann
    for path in ("/", "/api/me", "/admin"):
        answer = ann.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert answer.json().keys() == {"error"}


@pytest.mark.parametrize(
    "path",
    ["/pictures/../panel.json", "/pictures/..%2f..%2fetc%2fpasswd", "/pictures/%2e%2e%2f", "/pictures/",
     "/pictures/a%00b", "/pictures/{id}%00", "/pictures/{id}/..", "/thumbnails/{id}.jpg", "/pictures/{id}%2f..%2f{id}",
     "/pictures//{id}", "/assets/../app.py", "/static/x", "/pictures/" + "a" * 5000, "/pictures/%ff%fe", "/etc/passwd"],
)  # fmt: skip
def test_no_path_leads_to_a_file(shared, path):
    ann = shared.ann
    task = shared.task
    answer = ann.get(path.replace("{id}", task["picture"]["id"]))
    assert answer.status_code in (401, 404)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b'{"votes": [NaN]}', 400), (b'{"votes": [1e999]}', 400),
        (b"[" * 100_000, 400), (b'{"votes": [[[[[[[[]]]]]]]]}', 400), (b"[]", 422), (b'{"votes": {}}', 422),
        (b'{"votes": [{}]}', 422), (b'{"votes": [], "more": 1}', 422), (b'{"votes": [null]}', 422),
        (b'{"votes": [' + b"{}," * 600 + b"{}]}", 422), (b" " * (LARGEST + 1), 413), (b'{"votes": "\\ud800"}', 400),
    ],
)  # fmt: skip
def test_bodies_that_are_none(shared, data, status):
    ann = shared.ann
    headers = {"Origin": ORIGIN, "X-Variorum-Csrf": ann.csrf, "Content-Type": "application/json"}
    answer = ann.client.post("/api/votes", content=data, headers=headers)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert stored(shared.panel) == []


def test_a_large_body_that_hides_its_size_is_cut_off(shared):
    ann = shared.ann
    headers = {"Origin": ORIGIN, "X-Variorum-Csrf": ann.csrf, "Content-Type": "application/json"}
    parts = (b" " * 65536 for _ in range(64))
    assert ann.client.post("/api/votes", content=parts, headers=headers).status_code == 413


def test_forms_of_other_sites_are_no_json(shared):
    ann = shared.ann
    headers = {"Origin": ORIGIN, "X-Variorum-Csrf": ann.csrf, "Content-Type": "text/plain"}
    assert ann.client.post("/api/votes", content=b'{"votes": []}', headers=headers).status_code == 415


WRONG = {
    "vote": ["", 7, None, "x" * 65, "a b", "<b>"],
    "task": ["1", -1, 1.5, True, 2**40],
    "question": ["0" * 32, "x" * 33, 7],
    "kind": ["", "labels", None, 3],
    "id": ["", "nothing", "../x", 5, None],
    "sha256": ["", "0" * 64, "x" * 64, None],
    "subject": ["hexagon", 3, "x" * 501],
    "answer": ["", "maybe", "YES", True, None],
    "round": [0, 3, "1", True, None],
    "category": ["major", 3],
    "severity": ["bad", 3],
    "reason": ["because", 3],
    "comment": ["x" * 4001, "\x00", "\x1b[2J", 3],
    "box": [[1, 2, 3], [1, 2, 3, "4"], [1, 2, -3, 4], [0, 0, 0, 0], {}, "box"],
    "seconds": [-1, "2", 1e12],
    "replaces": ["nothing", 3],
}


@pytest.mark.parametrize("field", WRONG)
def test_fields_of_votes_that_cannot_be_are_refused_and_nothing_is_kept(shared, field):
    ann = shared.ann
    task = shared.task
    for value in WRONG[field]:
        answer = ann.post("/api/votes", {"votes": [{**vote_on(task), field: value}]})
        if answer.status_code == 200:
            result = answer.json()["results"][0]
            assert result["state"] == "refused", value
            assert result["why"]
        else:
            assert answer.status_code == 422, value
            assert answer.json()["error"].startswith(f"votes.0.{field}")
    assert stored(shared.panel) == []


def test_a_vote_on_a_changed_picture_is_refused_and_says_so(shared):
    ann = shared.ann
    task = shared.task
    other = "1" * 64
    key = question_key("label", task["picture"]["id"], other, task["questions"][0]["subject"])
    result = ann.cast(vote_on(task, sha256=other, question=key))[0]
    assert result["state"] == "refused"
    assert "changed" in result["why"]
    assert stored(shared.panel) == []


def test_a_refused_vote_takes_no_other_with_it(app, panel):
    ann = Browser(app, "ann")
    first, second = ann.next(kind="label", number=2)
    good, bad, last = vote_on(first), vote_on(second), vote_on(second)
    bad["question"] = first["questions"][0]["question"]
    results = ann.cast(good, bad, last)
    assert [one["state"] for one in results] == ["kept", "refused", "kept"]
    assert [one["vote"] for one in results] == [good["vote"], bad["vote"], last["vote"]]
    assert {row["vote"] for row in stored(panel)} == {good["vote"], last["vote"]}


def test_a_vote_cannot_claim_another_reviewer(shared):
    ann = shared.ann
    task = shared.task
    assert ann.post("/api/votes", {"votes": [{**vote_on(task), "reviewer": "ben"}]}).status_code == 422
    assert stored(shared.panel) == []


@pytest.mark.parametrize(
    "body",
    [{"mode": "all", "number": 1}, {"mode": "one", "number": 0}, {"mode": "one", "number": 10**6}, {"number": "1"},
     {"mode": "one", "number": 1, "holding": [-1]}, {"mode": "one", "number": 1, "holding": list(range(500))},
     {"mode": "one", "number": 1, "kind": 3}],
)  # fmt: skip
def test_questions_for_tasks_that_cannot_be(shared, body):
    assert shared.ann.post("/api/next", body).status_code == 422


@pytest.mark.parametrize("query", ["after=x", "after=1e3", "after=99999999999", "after=--1", "after=٣"])
def test_places_in_the_discussion_that_are_none(shared, query):
    assert shared.ann.get(f"/api/discussion?{query}").status_code == 400


# ── names are data ───────────────────────────────────────────────────────────────────────────────────────────────────

MARKUP = "<img src=x onerror=alert(1)>"


def test_markup_in_a_name_stays_a_name(app, panel, caplog):
    odd = Browser(app, MARKUP)
    assert odd.get("/api/me").json()["reviewer"] == MARKUP
    (task,) = odd.next(kind="label")
    odd.cast(vote_on(task))
    assert stored(panel)[0]["reviewer"] == MARKUP
    assert MARKUP not in odd.get("/").text
    assert odd.get("/api/me").headers["content-type"] == "application/json"
    assert MARKUP not in caplog.text


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\x00b", "a\nb", "\u202egnp.exe", "\ud800"])
def test_names_that_are_refused(shared, name):
    data = json.dumps({"name": name}).encode()
    answer = Browser(shared.app).client.post(
        "/join", content=data, headers={"Origin": ORIGIN, "Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 409)
    assert answer.json()["error"]


def test_a_name_is_taken_once(shared):
    answer = Browser(shared.app).post("/join", {"name": " ann "})
    assert answer.status_code == 409
    assert "ann" in answer.json()["error"]


# ── cookies, keys ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(app):
    answer = Browser(app).post("/join", {"name": "ann"})
    (cookie,) = answer.headers.get_list("set-cookie")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    secret = cookie.partition("=")[2].partition(";")[0]
    assert secret not in answer.text


@pytest.fixture
def guarded(panel):
    """The server on every address of the machine, behind a proxy."""
    return application(panel, place=Place("0.0.0.0", 8765, ("https://review.example.org",)), join_key=JOIN_KEY)


def test_joining_needs_the_key_elsewhere(guarded):
    proxied = {"origin": "https://review.example.org"}
    stranger = Browser(guarded, **proxied)
    told = stranger.get("/api/me")
    assert (told.status_code, told.json()["key"]) == (401, True)
    assert stranger.post("/join", {"name": "ann"}).status_code == 403
    assert stranger.post("/join", {"name": "ann", "key": "no"}).status_code == 403
    assert Browser(guarded, "ann", key=JOIN_KEY, **proxied).get("/api/me").status_code == 200
    assert stranger.get("/?key=no").status_code == 403
    link = stranger.get(f"/?key={JOIN_KEY}")
    assert (link.status_code, link.headers["location"]) == (303, "/")
    assert "secure" in link.headers["set-cookie"].lower()
    assert stranger.get("/api/me").json()["key"] is False
    assert stranger.post("/join", {"name": "ben"}).status_code == 200


def test_attempts_are_limited_elsewhere(guarded):
    stranger = Browser(guarded, origin="http://10.0.0.1:8765", address="10.0.0.9")
    states = [stranger.post("/join", {"name": "x", "key": f"guess {n}"}).status_code for n in range(40)]
    assert states[0] == 403
    assert states[-1] == 429
    other = Browser(guarded, origin="http://10.0.0.1:8765", address="10.0.0.8")
    assert other.post("/join", {"name": "x", "key": "guess"}).status_code == 403


def test_origins_of_the_proxy_and_of_the_server_do_not_mix(guarded):
    ann = Browser(guarded, "ann", origin="https://review.example.org", key=JOIN_KEY)
    answer = ann.post("/api/next", {"mode": "one", "number": 1}, {"Origin": "http://10.0.0.1:8765"})
    assert answer.status_code == 403


# ── the administrator ────────────────────────────────────────────────────────────────────────────────────────────────


def administrator(app):
    """A browser that has opened the administrator's link."""
    admin = Browser(app)
    answer = admin.get("/admin", params={"key": ADMIN_KEY})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")
    admin.csrf = admin.get("/api/admin").json()["csrf"]
    return admin


def test_the_administrator_sees_reviewers_and_coverage(app):
    ann, ben = Browser(app, "ann"), Browser(app, "ben")
    (task,) = ann.next(kind="label")
    ann.cast(vote_on(task))
    ben.cast(vote_on(task))
    told = administrator(app).get("/api/admin").json()
    assert {one["reviewer"] for one in told["raters"]} == {"ann", "ben"}
    assert told["coverage"]
    assert told["agreement"].keys() >= {"alpha", "ac1"}
    assert told["links"] == {"join": ORIGIN + "/"}
    assert told["panel"]["counts"]["questions"] > 0
    assert all(line.startswith(("Not asked: ", "Random check: ")) for line in told["panel"]["notes"])
    assert told["panel"]["notes"]


def test_only_the_administrator_governs(app):
    ann = Browser(app, "ann")
    for path in ("/api/admin", "/api/admin/export"):
        assert ann.get(path).status_code == 401
    for path in GOVERNED:
        assert ann.post(path, {}).status_code == 401
    assert ann.get("/admin?key=guess").status_code == 403
    admin = administrator(app)
    for path in GOVERNED:
        assert admin.post(path, {}, {"X-Variorum-Csrf": ann.csrf}).status_code == 403
        assert admin.post(path, {}, {"Origin": "http://evil.example"}).status_code == 403
        assert admin.post(path, {}).status_code == 422
    assert admin.post("/api/votes", {"votes": []}).status_code == 401


def test_the_administrator_sees_pictures(app):
    (task,) = Browser(app, "ann").next(kind="label")
    assert administrator(app).get(task["picture"]["thumbnail"]).status_code == 200


def test_a_personal_link_signs_in_and_replaces_a_lost_cookie(app):
    admin = administrator(app)
    link = admin.post("/api/admin/reviewer", {"name": "ann"}).json()["link"]
    assert link.startswith(ORIGIN + "/as?secret=")
    ann = Browser(app)
    answer = ann.get(link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert ann.get("/api/me").json()["reviewer"] == "ann"
    new = admin.post("/api/admin/reviewer", {"name": "ann"}).json()["link"]
    assert ann.get("/api/me").status_code == 401
    assert ann.get(link).status_code == 403
    ann.get(new)
    assert ann.get("/api/me").json()["reviewer"] == "ann"


def test_who_is_paused_cannot_vote_until_they_go_on(app, panel):
    admin, ann = administrator(app), Browser(app, "ann")
    (task,) = ann.next(kind="label")
    assert admin.post("/api/admin/pause", {"reviewer": "ann", "paused": True}).json() == {"paused": True}
    assert ann.get("/api/me").json()["panel"]["paused"] is True
    assert ann.cast(vote_on(task))[0]["state"] == "refused"
    assert ann.next(kind="label") == []
    admin.post("/api/admin/pause", {"reviewer": "ann", "paused": False})
    admin.post("/api/admin/pause", {"paused": True})
    assert ann.cast(vote_on(task))[0]["state"] == "refused"
    admin.post("/api/admin/pause", {"paused": False})
    assert ann.cast(vote_on(task))[0]["state"] == "kept"
    assert admin.post("/api/admin/pause", {"reviewer": "nobody", "paused": True}).status_code == 404
    assert len(stored(panel)) == 1


def test_votes_are_exported(app, panel):
    ann, admin = Browser(app, "ann"), administrator(app)
    for task in ann.next(kind="label", number=3):
        ann.cast(vote_on(task))
    parquet = admin.get("/api/admin/export?format=parquet")
    assert parquet.headers["content-disposition"].startswith("attachment")
    table = pq.read_table(io.BytesIO(parquet.content))
    assert table.column("vote").to_pylist() == [row["vote"] for row in stored(panel)]
    assert len(admin.get("/api/admin/export?format=csv").text.splitlines()) == 4
    assert isinstance(admin.get("/api/admin/export?format=label_studio").json(), list)
    assert admin.get("/api/admin/export?format=pickle").status_code == 400


# ── pages, headers, trouble ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/", "/admin"])
def test_pages_need_no_cookie_and_have_a_strict_policy(shared, path):
    answer = Browser(shared.app).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"


def test_all_answers_have_the_headers_that_bind_browsers(shared):
    ann = shared.ann
    for path in ("/", "/api/me", "/api/none", "/pictures/x", "/admin?key=x", "/favicon.ico"):
        headers = ann.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_a_database_that_does_not_answer_is_not_the_end(app, panel, monkeypatch):
    import sqlite3

    from variorum.people.votes import database

    ann = Browser(app, "ann")
    (task,) = ann.next(kind="label")
    vote = vote_on(task)
    panel.engine.dispose()
    monkeypatch.setattr(database, "BUSY_SECONDS", 0)  # of connections that are made from now on
    lock = sqlite3.connect(panel.engine.url.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    answer = ann.post("/api/votes", {"votes": [vote]})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "try again" in answer.json()["error"]
    assert str(panel.engine.url.database) not in answer.text
    lock.execute("ROLLBACK")
    lock.close()
    assert stored(panel) == []
    assert ann.cast(vote)[0]["state"] == "kept"
    panel.engine.dispose()


# ── keys pressed without a look ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return make_edition(tmp_path_factory.mktemp("large"), 30)


@pytest.mark.parametrize(("pause_below", "stopped"), [pytest.param(0, False, marks=pytest.mark.slow), (1, True)])
def test_keys_pressed_without_a_look_are_warned_of_and_paused_if_the_organiser_wants_it(large, pause_below, stopped):
    panel = make_panel(*large, f"hasty{pause_below}", kinds=("label",), gold=0.4)
    with writing(panel.engine, panel.key) as connection:  # most questions have a known answer, half of them a no
        mine = connection.scalars(select(tasks.c.task).where(tasks.c.task % 4 > 0)).all()
        connection.execute(update(tasks).where(tasks.c.task.in_(mine)).values(why="gold"))
        for truth, odd in (("yes", 0), ("no", 1)):
            here = questions.c.task.in_(mine), questions.c.task % 2 == odd
            connection.execute(update(questions).where(*here).values(why="gold", truth=truth))
    app = application(panel, pause_below=pause_below)
    ann = Browser(app, "ann")
    Browser(app, "eva")
    said = []
    while found := ann.next():
        votes = [vote_on(found[0], place, seconds=0.4) for place in range(len(found[0]["questions"]))]
        answer = ann.post("/api/votes", {"votes": votes}).json()
        if any(one["state"] != "kept" for one in answer["results"]):
            break
        said.append(answer.get("warning", ""))
    assert said[0] == ""
    assert "guesses" in said[-1]
    assert ("You are paused" in said[-1]) is stopped
    assert ann.get("/api/me").json()["panel"]["paused"] is stopped
    admin = Browser(app)
    admin.get("/admin", params={"key": ADMIN_KEY})
    told = admin.get("/api/admin").json()
    seen = {one["reviewer"]: one for one in told["raters"]}
    assert (seen["ann"]["suspect"], seen["ann"]["paused"], seen["eva"]["suspect"]) == (True, stopped, False)
    if stopped:
        admin.csrf = told["csrf"]
        assert admin.post("/api/admin/pause", {"reviewer": "ann", "paused": False}).status_code == 200
        (task,) = ann.next()
        assert ann.cast(vote_on(task, seconds=0.4))[0]["state"] == "kept"
        assert ann.get("/api/me").json()["panel"]["paused"] is False
    panel.engine.dispose()
