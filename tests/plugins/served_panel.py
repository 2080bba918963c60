"""A panel on a small edition of real photographs, served as `variorum review` does it, for tests in a browser."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import skimage.data
import uvicorn
from PIL import Image

from variorum.edition.store import Store
from variorum.people.panel.dispatch import Task, next_tasks
from variorum.people.panel.panel import Panel, open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.people.server.access import Access, Joining, Place
from variorum.people.server.app import create_app
from variorum.people.server.serve import listening
from variorum.people.server.served import Served
from variorum.people.votes.ballots import cast
from variorum.people.votes.reviewers import by_secret, join
from variorum.pipeline import Job, run
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.schemas.vote import Vote

CLASSES = ("chelsea", "coffee")
ADMIN_KEY = "the administrator's key of the tests"
DEFINITIONS = {"chelsea": "A cat with green eyes.", "coffee": "A cup of espresso on a wooden table, with a spoon."}

BOTH = {"chelsea": ("coffee",)}
"""Classes that are asked together: every picture then has a question about each."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A panel and the address at which it is served."""

    panel: Panel
    url: str


def make_edition(folder: Path, each: int = 75) -> tuple[Manifest, Store]:
    """An edition with `each` crops of two photographs."""
    for name in CLASSES:
        photograph = Image.fromarray(getattr(skimage.data, name)())
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(each):
            left, top = 7 * (number % 15), 17 * (number // 15)
            crop = photograph.crop((left, top, left + 240, top + 180)).resize((96, 72))
            crop.save(folder / "photos" / name / f"{number:03}.png")
    recipe = {
        "dataset": "served",
        "version": "1.0.0",
        "samples_per_shard": 2 * each,
        "source": {"name": "image_folder", "path": str(folder / "photos")},
    }
    job = Job(Recipe.parse(recipe), str(folder / "store"))
    return run(job), job.store


def write_gold(path: Path, number: int = 12) -> Path:
    """Known answers to both labels of some pictures of each class."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", "origin", "subject", "truth"])
        for shown in CLASSES:
            for at in range(number):
                for subject in CLASSES:
                    writer.writerow(["label", f"{shown}/{at:03}.png", subject, "yes" if shown == subject else "no"])
    return path


@contextmanager
def serving(
    manifest: Manifest,
    store: Store,
    settings: Settings,
    name: str = "main",
    gold: Path | None = None,
    joining: Joining = "open",
) -> Iterator[Serving]:
    """Publish a panel and serve it on this machine, on any free port."""
    publish(manifest, store, settings, name=name, gold=gold)
    panel = open_panel(manifest, store, name=name)

    def find(secret: str) -> str | None:
        return by_secret(panel.engine, panel.key, secret)

    with listening("127.0.0.1", 0) as taken:
        place = Place("127.0.0.1", taken.getsockname()[1])
        app = create_app(Served.of(panel, DEFINITIONS), Access(panel.key, place, "", ADMIN_KEY, find, joining))
        config = uvicorn.Config(app, access_log=False, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            yield Serving(panel, place.url)
        finally:
            server.should_exit = True
            thread.join()
            panel.engine.dispose()


def kept_votes(panel: Panel) -> list[dict[str, Any]]:
    """Rows of the votes that count, in the order in which they came."""
    from sqlalchemy import select

    from variorum.people.votes.database import reading, votes

    asked = select(votes).where(votes.c.panel == panel.key, votes.c.counts).order_by(votes.c.number)
    with reading(panel.engine) as connection:
        return [dict(row) for row in connection.execute(asked).mappings()]


def join_page(page: Any, name: str) -> None:
    """Join the panel in a page that asks for a name."""
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Join").click()
    page.wait_for_selector("#modes:not([hidden])")


def answer(panel: Panel, name: str, how: Callable[[Task, str], str], number: int = 200, now: float = 0.0) -> int:
    """One person, who joins if need be, answers `number` tasks at most by a function of task and subject."""
    join(panel.engine, panel.key, name, now, again=True)
    given = 0
    while number > 0:
        found = next_tasks(panel.engine, panel.key, name, number=min(20, number), now=now, rng_seed=0)
        votes = [
            Vote(str(uuid4()), task.kind, task.id, task.sha256, one.subject, name, how(task, one.subject), seconds=3.0)
            for task in found
            for one in task.questions
        ]
        if not votes:
            break
        assert {one.state for one in cast(panel.engine, panel.key, votes, now)} == {"kept"}
        given, number, now = given + len(votes), number - len(found), now + 60
    return given
