"""A small folder of real photographs with planted wrong labels, a recipe that people take part in, and the people."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import skimage.data
import yaml
from PIL import Image

from variorum.people.panel.dispatch import Task, disputed, next_tasks
from variorum.people.panel.panel import Panel
from variorum.people.votes.ballots import cast, join
from variorum.schemas.vote import Vote
from variorum.stages.score import picture_table

CLASSES = ("astronaut", "chelsea", "coffee")
EACH = 8
PLANTED = {"astronaut/c3.png": "coffee", "chelsea/a5.png": "astronaut", "coffee/b1.png": "chelsea"}
"""Wrong ones, and what they show."""
ACCURACY = {"Ann": 0.95, "Bob": 0.95, "Cyd": 0.9, "Dan": 0.9, "Eve": 0.85}
"""How often each person answers rightly."""

GUESS = '''
"""The class whose mean colour is nearest: a small honest detector that proposes other labels."""

import numpy as np

from variorum.schemas.component import Detector


class Guess(Detector):
    """Leave-one-out over the given labels."""

    def measure(self, samples, ctx):
        """Mean colour, and colours of the quarters."""
        for sample in samples:
            height, width = (side // 2 * 2 for side in sample.image.shape[:2])
            quarters = sample.image[:height, :width].reshape(2, height // 2, 2, width // 2, 3).mean((1, 3))
            yield {"colour": quarters.ravel().astype(np.float32)}

    def score(self, table, ctx):
        """`proposed`: index of the class of the three nearest pictures."""
        colour, (label, classes) = table["colour"], table.labels()
        distance = np.linalg.norm(colour[:, None] - colour[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        votes = label[distance.argsort(1, kind="stable")[:, :3]]
        proposed = np.array([np.bincount(row, minlength=len(classes)).argmax() for row in votes])
        return {"proposed": np.asarray(classes)[proposed], "score": distance.min(1)}
'''


def plant(folder: Path) -> Path:
    """Write the folder and a recipe `recipe.yaml` into a folder; returns the recipe's path."""
    for name in CLASSES:
        image = Image.fromarray(getattr(skimage.data, name)())
        for number in range(EACH):
            file = f"{name[0] if name != 'coffee' else 'f'}{number}.png"
            where = next((given for given in PLANTED if _shown(given) == (name, number)), f"{name}/{file}")
            (folder / "photos" / where).parent.mkdir(parents=True, exist_ok=True)
            left, top = 24 * number, 16 * number
            image.crop((left, top, left + 96, top + 64)).save(folder / "photos" / where)
    (folder / "guess.py").write_text(GUESS)
    recipe = {
        "dataset": "people",
        "version": "1.0.0",
        "samples_per_shard": 8,
        "source": {"name": "image_folder", "path": str(folder / "photos")},
        "curate": [{"name": "./guess.py"}, {"name": "consensus"}, {"name": "reviewed"}],
        "evaluate": [{"name": "brightness"}],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def _shown(given: str) -> tuple[str, int]:
    return PLANTED[given], int(Path(given).stem[1:])


def truth(origin: str) -> str:
    """The class that a picture shows, by its path."""
    return PLANTED.get(origin, origin.partition("/")[0])


def vote_all(panel: Panel, people: dict[str, float], *, most: int = 10**9, seed: int = 7) -> int:
    """Everybody answers what they are asked until nothing is left for them, or `most` tasks each; number of votes.

    Whoever is offered no right label types it in. What a picture shows is looked up by its origin.
    """
    origins = _origins(panel)
    given = 0
    for place, (name, accuracy) in enumerate(people.items()):
        rng = np.random.default_rng([seed, place])
        said: set[tuple[str, str]] = set()
        join(panel.engine, panel.key, name, 0.0, again=True)
        for turn in range(most):
            tasks = next_tasks(
                panel.engine, panel.key, name, number=1, now=1000.0 * place + turn, rng_seed=panel.record.settings.seed
            )
            if not tasks:
                break
            votes = []
            for task in tasks:
                for question in task.questions:
                    right = truth(origins[task.id]) == question.subject
                    answer = "yes" if right == (rng.random() < accuracy) else "no"
                    votes.append(_vote(rng, task, question.subject, name, answer))
                shown = truth(origins[task.id])
                said |= {(task.id, vote.subject) for vote in votes}
                if (task.id, shown) not in said:
                    votes.append(_vote(rng, task, shown, name, "yes"))
                    said.add((task.id, shown))
            results = cast(panel.engine, panel.key, votes, 1000.0 * place + turn, classes=CLASSES)
            assert {one.state for one in results} == {"kept"}, results
            given += len(votes)
    return given


def decide_disputes(panel: Panel, name: str) -> int:
    """One person says in the discussion what is right, on every question that isn't unanimous; number of decisions."""
    origins, rng = _origins(panel), np.random.default_rng(9)
    votes = [
        _vote(rng, task, question.subject, name, "yes" if truth(origins[task.id]) == question.subject else "no", 2)
        for task in disputed(panel.engine, panel.key, after=-1, number=1000)
        for question in task.questions
    ]
    assert {one.state for one in cast(panel.engine, panel.key, votes, 9000.0)} <= {"kept"}
    return len(votes)


def _vote(rng: np.random.Generator, task: Task, subject: str, name: str, answer: str, turn: int = 1) -> Vote:
    key = str(uuid.UUID(bytes=rng.bytes(16), version=4))
    return Vote(key, task.kind, task.id, task.sha256, subject, name, answer, turn)


def _origins(panel: Panel) -> dict[str, str]:
    table = picture_table(panel.manifest, panel.store)
    return dict(zip(table["id"].to_pylist(), table["origin"].to_pylist(), strict=True))
