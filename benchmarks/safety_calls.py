"""Labelers' calls: one embedding serves all heads, and a killed run repeats no call.

Five linear heads over the embedded encoder (EfficientNet-Lite, ImageNet) look at cuts of packaged photographs.
Peer: the same heads, where each embeds its pictures itself. Limit: embedding once, and nothing else. Then a
curation with five labelers is killed with SIGKILL in the middle of its calls, and run again: calls are counted in a log
that the labelers write. Times are CPU times, rounds are interleaved, ratios are medians of ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rules_decide import photographs, tiles
from timing import median, ratio, rounds

from variorum.arrays import Pixels, Singles
from variorum.curation.safety.harms.asking import ask
from variorum.models import ModelTable
from variorum.schemas.component import Context, Use
from variorum.schemas.safety import Category, Labeler, Opinion, Shown
from variorum.schemas.sample import Sample
from variorum.stages.job import models

ENCODER = "encoder"
HEADS = 5
BATCH = 32
GOAL = 3.0
CATEGORIES = tuple(
    Category(id=f"way_{number}", name=f"way {number}", definition="something") for number in range(HEADS)
)
CHILD = """
import sys
sys.path.insert(0, {here!r})
import safety_calls
safety_calls.curate({folder!r})
"""
LOGGED = '''
"""The mean of a picture, and a line in a log for each call."""

import os
import signal
from pathlib import Path

from variorum.schemas.safety import Labeler, Opinion


class Logged(Labeler):
    """Logs its calls."""

    def scored(self):
        return ("sexual",)

    def opinions(self, shown, ctx):
        log = Path(os.environ["LOG_OF_CALLS"])
        calls = log.read_text().count("\\n") if log.exists() else 0
        if calls == int(os.environ.get("DIES_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        found = [Opinion({"sexual": float(image.mean()) / 255}) for image in shown.pictures]
        with log.open("a") as file:
            file.write(f"{self.called} {[int(image.sum()) for image in shown.pictures]}\\n")
        return found
'''


class Linear(Labeler):
    """A linear head with random weights, which don't matter for the time."""

    number: int = 0
    alone: bool = False
    """Whether it embeds its pictures itself."""

    def scored(self) -> tuple[str, ...]:
        """One category."""
        return (CATEGORIES[self.number].id,)

    def encoder(self) -> str:
        """The shared one, unless it is alone."""
        return "" if self.alone else ENCODER

    def uses(self) -> list[Use]:
        """Return the encoder, in either case."""
        return [Use(ENCODER)]

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """A logistic function of a random direction."""
        given = ctx.models.get(ENCODER)(shown.pictures) if shown.embeddings is None else shown.embeddings
        weights = np.random.default_rng(self.number).normal(size=given.shape[1])
        return [Opinion({self.scored()[0]: float(one)}) for one in 1 / (1 + np.exp(-given @ weights / 100))]


def nothing_kept(key: str, compute: Callable[[], Mapping[str, np.ndarray[Any, Any]]]) -> Any:
    """A memo that forgets, so that every round does all the work."""
    return compute()


def samples(number: int) -> list[Sample]:
    """Pictures of 224 pixels cut out of packaged photographs."""
    rng, found = np.random.default_rng(0), list[Sample]()
    pictures = [one for one in photographs().values() if min(one.shape[:2]) > 256]
    for place in range(number):
        whole = pictures[place % len(pictures)]
        top, left = (int(rng.integers(size - 224)) for size in whole.shape[:2])
        image: Pixels = np.ascontiguousarray(whole[top : top + 224, left : left + 224])
        found.append(Sample(f"{place}", image))
    return found


def heads(number: int, count: int) -> dict[str, Any]:
    """The time of all heads over one embedding relative to heads that embed themselves, and to the embedding."""
    table: ModelTable = models("embedded")
    ctx, given = Context(0, table, nothing_kept), samples(number)
    shared, alone = ([Linear(label=f"head_{n}", number=n, alone=own) for n in range(HEADS)] for own in (False, True))

    def scores(labelers: Sequence[Labeler]) -> list[list[Mapping[str, float]]]:
        found = [ask(labelers, given[start : start + BATCH], CATEGORIES, ctx) for start in range(0, number, BATCH)]
        return [[one.scores for one in answers.opinions] for batch in found for answers in batch]

    def embedding() -> Singles:
        parts = [
            table.get(ENCODER)([one.image for one in given[start : start + BATCH]]) for start in range(0, number, BATCH)
        ]
        return np.concatenate(parts)

    assert scores(shared) == scores(alone)
    timed = rounds({"shared": lambda: scores(shared), "alone": lambda: scores(alone), "limit": embedding}, count)
    times = ratio(timed, "alone", "shared")
    return {
        "pictures": number,
        "heads": HEADS,
        "cpu_seconds": round(median(timed, "shared"), 3),
        "times_ours": times,
        "goal": GOAL,
        "goal_met": times >= GOAL,
        "times_limit": ratio(timed, "shared", "limit"),
    }


def curate(folder: str) -> None:
    """Build and curate an edition in a folder, and print the ledger's digest."""
    from variorum import pipeline
    from variorum.schemas.recipe import Recipe
    from variorum.stages.job import Job

    place = Path(folder)
    labelers = [{"name": str(place / "logged.py"), "label": f"labeler_{n}", "batch": 8} for n in range(HEADS)]
    recipe = {
        "dataset": "tiles",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(place / "tiles")},
        "curate": [{"name": "safety", "labelers": labelers}],
    }
    job = Job(Recipe.parse(recipe), str(place / os.environ["STORE"]))
    print(pipeline.curate(job, pipeline.build(job))[1].digest())


def killed() -> dict[str, Any]:
    """Calls of a run that is killed twice, and of an undisturbed one."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tiles(place / "tiles")
        (place / "logged.py").write_text(LOGGED)
        code = CHILD.format(here=str(Path(__file__).parent), folder=folder)

        def run(name: str, **more: str) -> tuple[int, str]:
            own = {
                "STORE": name,
                "LOG_OF_CALLS": str(place / f"{name}.log"),
                "VARIORUM_CACHE": str(place / f"{name}.c"),
            }
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, env={**os.environ, **own, **more}, capture_output=True, text=True)
            return done.returncode, done.stdout.strip()

        _, digest = run("undisturbed")
        whole = (place / "undisturbed.log").read_text().splitlines()
        ends = [run("killed", DIES_AT=str(len(whole) * part // 3))[0] for part in (1, 2)]
        _, again = run("killed")
        calls = (place / "killed.log").read_text().splitlines()
        return {
            "calls": len(whole),
            "killed_at": [len(whole) * part // 3 for part in (1, 2)],
            "by_sigkill": ends == [-signal.SIGKILL] * 2,
            "calls_in_all": len(calls),
            "repeated": len(calls) - len(set(calls)),
            "same_digest": bool(digest) and again == digest,
        }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps({"heads": heads(options.pictures, options.rounds), "resume": killed()}, indent=2))


if __name__ == "__main__":
    main()
