"""A small real store for tests that tamper with it: two editions, a release, ledgers, a plan, cards, figures."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from annotated_set import ANNOTATED

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.edition.verify import verify
from variorum.pipeline import Job, run
from variorum.reports.card import write_card
from variorum.schemas.canonical import digest
from variorum.schemas.errors import VariorumError
from variorum.schemas.recipe import Recipe

GENERATOR = '''
from variorum.schemas.component import Generator
from variorum.schemas.sample import child_id

class Asked(Generator):
    """The negative, with a row of the plan; that of every fifth picture is quarantined."""

    keeps_objects = True

    def requests(self, samples, ctx):
        for sample in samples:
            made = child_id(sample.id, self.fingerprint(), "negative", {"k": 1})
            yield {"id": made, "source": sample.id, "variant": "negative", "k": 1}

    def edit(self, sample, of):
        yield sample
        reason = "asked_for" if sample.origin.startswith("4") else ""
        yield of.made(255 - sample.image, variant="negative", requested={"k": 1}, reason=reason)
'''
NAMES = ("small@1.0.0", "small@1.0.0-r1", "other@1.0.0")


def recipe(folder: Path, name: str = "small", pictures: int = 6) -> dict[str, Any]:
    """The recipe of an edition of the store."""
    return {
        "dataset": name,
        "version": "1.0.0",
        "samples_per_shard": 3,
        "masters": "original",
        "configs": "place",
        "splits": {"test": 0.5},
        "source": {**ANNOTATED, "pictures": pictures},
        "generate": [{"name": str(folder / "asked.py")}],
        "curate": [
            {"name": "bright", "notes": True},
            {"name": "duplicates", "embedding": False},
            {"name": "bright_rules", "relabel": 1, "to": "square", "review": 1},
        ],
        "evaluate": [{"name": "brightness"}],
    }


def make(folder: Path) -> Path:
    """Make the store and the recipe's file in a folder; returns the store's folder."""
    (folder / "asked.py").write_text(GENERATOR)
    for name, pictures in (("small", 6), ("other", 4)):
        fields = recipe(folder, name, pictures)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(fields))
        job = Job(Recipe.parse(fields), str(folder / "store"))
        run(job)
        write_card(job.recipe, resolve(f"{name}@1.0.0", job.store), job.store)
    return folder / "store"


def rewrite(path: Path, change: Callable[[Any], Any], *, restate: bool = True) -> None:
    """Change a JSON record. It then states the digest of what it has become, or none, as those of older versions."""
    content = json.loads(path.read_text())
    content.pop("digest", None)
    change(content)
    if restate:
        content = {"digest": digest(content), **content}
    path.write_text(json.dumps(content))


def problems(store: Path, name: str, expected: str = "") -> list[str]:
    """What is said of an edition when it is opened and verified."""
    try:
        opened = Store(str(store), writable=False)
        return verify(resolve(name, opened), opened, digest=expected)
    except VariorumError as error:
        return [str(error)]


def snapshot(folder: Path, leave_out: Path | None = None) -> dict[str, tuple[Any, ...]]:
    """Kind, size, time of change and content of all in a folder, except Python's caches and one folder of it."""
    found: dict[str, tuple[Any, ...]] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) != leave_out and name != "__pycache__"]
        for path in (Path(place, name) for name in (*folders, *files)):
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            times = (status.st_size, status.st_mtime_ns) if path.is_file() else ()
            found[str(path.relative_to(folder))] = (status.st_mode, *times, content)
    return found


def one_line(text: str) -> bool:
    """Whether a message is one line that says something."""
    return bool(text.strip()) and "\n" not in text.strip() and len(text) < 2000
