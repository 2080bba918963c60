"""A real small edition with a panel, and browsers that ask the review server as its pages do."""

from __future__ import annotations

import uuid
from pathlib import Path

from annotated_set import ANNOTATED
from small_store import GENERATOR
from starlette.testclient import TestClient

from variorum.people.panel.panel import Panel, open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.people.server.access import Access, Place
from variorum.people.server.app import create_app
from variorum.people.server.served import Served
from variorum.people.votes.reviewers import by_secret
from variorum.pipeline import Job, run
from variorum.schemas.recipe import Recipe

PLACE = Place("127.0.0.1", 8765)
ORIGIN = "http://127.0.0.1:8765"
ADMIN_KEY, JOIN_KEY = "key of the administrator", "key of the panel"


def make_edition(folder: Path, pictures: int = 8):
    """An edition with objects and a negative of most pictures; returns its manifest and store."""
    (folder / "asked.py").write_text(GENERATOR)
    fields = {
        "dataset": "shapes",
        "version": "1.0.0",
        "samples_per_shard": 8,
        "masters": "original",
        "source": {**ANNOTATED, "pictures": pictures},
        "generate": [{"name": str(folder / "asked.py")}],
        "curate": [
            {"name": "bright", "notes": True},
            {"name": "bright_rules", "relabel": 1, "to": "square", "review": 5},
        ],
    }
    job = Job(Recipe.parse(fields), str(folder / "store"))
    run(job)
    from variorum.edition.editions import resolve

    return resolve("shapes@1.0.0", job.store), job.store


def make_panel(manifest, store, name: str, **settings) -> Panel:
    """A panel of the edition, published and open."""
    asked = {"kinds": ("label", "box", "edit"), "votes": 2, "gold": 0.0, **settings}
    publish(manifest, store, Settings(**asked), name=name)
    return open_panel(manifest, store, name=name)


def application(panel: Panel, *, place: Place = PLACE, join_key: str = "", joining: str = "open", **of):
    """The server of a panel as an ASGI application."""
    served = Served.of(panel, {"circle": "round all over"}, **of)
    find = lambda secret: by_secret(panel.engine, panel.key, secret)  # noqa: E731 - an argument with a name
    return create_app(served, Access(panel.key, place, join_key, ADMIN_KEY, find, joining))


class Browser:
    """A browser with its own cookies. `name` joins."""

    def __init__(self, app, name: str = "", *, origin: str = ORIGIN, address: str = "127.0.0.1", **join) -> None:
        self.client = TestClient(app, base_url=origin, follow_redirects=False, client=(address, 50_000))
        self.origin, self.csrf = origin, ""
        if name:
            answer = self.post("/join", {"name": name, **join})
            assert answer.status_code == 200, answer.text
            self.csrf = self.get("/api/me").json()["csrf"]

    def get(self, path: str, **options):
        """GET with the browser's cookies."""
        return self.client.get(path, **options)

    def post(self, path: str, body, headers=(), **options):
        """POST as a page of the server does it; None among `headers` leaves one out."""
        sent = {"Origin": self.origin, "X-Variorum-Csrf": self.csrf, **dict(headers)}
        sent = {name: value for name, value in sent.items() if value is not None}
        return self.client.post(path, json=body, headers=sent, **options)

    def next(self, **asks):
        """The next tasks."""
        answer = self.post("/api/next", {"mode": "picture", "number": 1, "holding": [], **asks})
        assert answer.status_code == 200, answer.text
        return answer.json()["tasks"]

    def cast(self, *votes):
        """Results of votes."""
        answer = self.post("/api/votes", {"votes": list(votes)})
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]


def vote_on(task, place=0, answer="yes", **others):
    """A vote on a question of a task, as the page sends it."""
    asked = task["questions"][place]
    return {
        "vote": str(uuid.uuid4()),
        "task": task["task"],
        "question": asked["question"],
        "kind": task["kind"],
        "id": task["picture"]["id"],
        "sha256": task["picture"]["sha256"],
        "subject": asked["subject"],
        "answer": answer,
        "seconds": 1.5,
        **others,
    }
