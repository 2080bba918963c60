"""A real panel on real pictures, and the real server in front of it, for browsers to talk to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from variorum.people.panel.panel import Panel, open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.pipeline import Job, build, curate
from variorum.schemas.recipe import Recipe

SHAPES = '''
import io
import numpy as np
from PIL import Image, ImageDraw
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.canonical import digest
from variorum.schemas.component import ClassInfo, Source
from variorum.schemas.sample import Sample, source_id

NAMES = ("circle", "square", "triangle", "bar", "cross", "ring")

class Shapes(Source):
    """Pictures of one shape each, some of them labelled as another one; of the first ones there are copies."""

    pictures: int = 12
    copies: int = 0

    def pin(self, ctx):
        return digest(["shapes to review"])

    def size(self, ctx):
        return self.pictures + self.copies

    def classes(self, ctx):
        return tuple(ClassInfo(name, "ring <b>" if name == "ring" else name) for name in NAMES)

    def annotated(self, ctx):
        return True

    def read(self, start, stop, ctx):
        for number in range(start, stop):
            k, again = number % self.pictures, number >= self.pictures
            shape = k % len(NAMES)
            rng = np.random.default_rng(k)
            ground = np.linspace(40, 90, 320)[:, None, None] + rng.integers(0, 12, (320, 480, 3))
            image = Image.fromarray(ground.astype(np.uint8))
            draw, left, top = ImageDraw.Draw(image), 90 + 15 * (k % 5), 50 + 10 * (k % 4)
            box, colour = (left, top, left + 180, top + 180), ((230, 160, 60), (90, 180, 220), (210, 110, 150))[k % 3]
            if shape in (0, 5):
                draw.ellipse(box, fill=colour)
            elif shape == 2:
                draw.polygon([(left, top + 180), (left + 90, top), (left + 180, top + 180)], fill=colour)
            else:
                draw.rectangle(box, fill=colour)
            if shape == 5:
                draw.ellipse((left + 50, top + 50, left + 130, top + 130), fill=(60, 60, 60))
            out = io.BytesIO()
            image.save(out, "JPEG", quality=70 if again else 90)
            label = NAMES[(shape + (k % 4 == 3)) % len(NAMES)]
            yield Sample(
                id=source_id("shapes", str(number)),
                image=out.getvalue(),
                labels=(label,),
                origin=f"{number}.jpg",
                licence="CC0-1.0",
                annotations=Annotations((Object((left - 10, top - 5, 200, 190), label, origin="a person"),)),
            )
'''
NEGATIVE = '''
from variorum.schemas.component import Generator

class Negative(Generator):
    """The negative of each picture."""

    keeps_objects = True

    def edit(self, sample, of):
        yield sample
        yield of.made(255 - sample.image, variant="negative", requested={})
'''
GROUPS = {"circle": ("square", "triangle"), "bar": ("cross", "ring")}
"""Classes that are asked together: three questions a picture."""


def make_shapes(folder: Path, *, pictures: int = 12, copies: int = 0) -> tuple[Any, Any]:
    """An edition of shapes and their negatives in a folder: its manifest and store. Its copies are known as such."""
    (folder / "shapes.py").write_text(SHAPES)
    (folder / "negative.py").write_text(NEGATIVE)
    recipe: dict[str, Any] = {
        "dataset": "shapes",
        "version": "1.0.0",
        "masters": "original",
        "source": {"name": str(folder / "shapes.py"), "pictures": pictures, "copies": copies},
        "generate": [{"name": str(folder / "negative.py")}],
    }
    if copies:
        recipe["curate"] = [{"name": "duplicates", "embedding": False}]
    job = Job(Recipe.parse(recipe), str(folder / "store"))
    manifest = build(job)
    if copies:
        curate(job, manifest)
    return manifest, job.store


class Running:
    """A server that answers in a thread of this process. It can be stopped and started again at the same address."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """The reviewers' page."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def engine(self) -> Any:
        """The panel's database."""
        return self.panel.engine

    def start(self) -> None:
        """Start, at the same port as before."""
        import uvicorn

        from variorum.people.server.access import Access, Place
        from variorum.people.server.app import create_app
        from variorum.people.server.serve import listening
        from variorum.people.server.served import Served
        from variorum.people.votes.reviewers import by_secret

        panel = self.panel
        self._listening = listening("127.0.0.1", self.port)
        taken = self._listening.__enter__()
        self.port = taken.getsockname()[1]
        definitions = {name: f"A plain {name}, as in a book of geometry." for name in dict(panel.manifest.classes)}
        access = Access(
            panel.key,
            Place("127.0.0.1", self.port),
            "",
            "administrator-key",
            find=lambda secret: by_secret(panel.engine, panel.key, secret),
        )
        app = create_app(Served.of(panel, definitions), access)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=1, access_log=False
            )
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [taken]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop answering; nothing listens at the address any more."""
        self._server.should_exit = True
        self._thread.join(10)
        self._listening.__exit__(None, None, None)


@contextmanager
def running(
    edition: tuple[Any, Any],
    name: str,
    kinds: tuple[Any, ...],
    database: Path,
    groups: Mapping[str, tuple[str, ...]] = GROUPS,
) -> Iterator[Running]:
    """A server for a panel with a name of its own and a new database; `groups` are classes that are asked together."""
    publish(*edition, Settings(votes=2, kinds=kinds, collapsed=dict(groups), gold=0.0), name=name)
    panel = open_panel(*edition, name=name, database=f"sqlite:///{database}")
    server = Running(panel)
    try:
        yield server
    finally:
        server.stop()
        panel.engine.dispose()
