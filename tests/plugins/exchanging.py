"""Editions that tests export, and what comes back of an export when a source reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from annotated_set import ANNOTATED

from variorum.edition.samples import read_sample
from variorum.edition.shards import read_shard
from variorum.pipeline import Job, run
from variorum.schemas.lookup import build_component
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample
from variorum.stages.job import open_context

EDIT = '''"""A darker picture, with the same objects."""

import numpy as np

from variorum.schemas.component import Generator


class Darker(Generator):
    """Two thirds as bright."""

    keeps_objects = True

    def edit(self, sample, of):
        yield sample
        yield of.made((sample.image * (2 / 3)).astype(np.uint8), variant="dark <half>", requested={})
'''


def shapes(folder: Path, *, edits: bool = True, **fields: object) -> tuple[Job, Manifest]:
    """An edition of `annotated_set` in JPEG, PNG and WebP; with `edits` each picture also darker."""
    (folder / "darker.py").write_text(EDIT)
    recipe = Recipe.parse(
        {
            "dataset": "shapes",
            "version": "1.0.0",
            "masters": "original",
            "source": {**ANNOTATED, "formats": ["jpg", "png", "webp"], **fields},
            "generate": [{"name": str(folder / "darker.py")}] if edits else [],
        }
    )
    job = Job(recipe, str(folder / "store"))
    return job, run(job)


def samples_of(job: Job, manifest: Manifest) -> dict[str, Sample]:
    """The accepted samples of an edition by id."""
    found = {}
    for _, shard in manifest.accepted():
        for key, members in read_shard(job.store.path(shard)):
            sample, _ = read_sample(key, members)
            found[sample.id] = sample
    return found


def come_back(name: str, **fields: Any) -> tuple[Any, list[Any]]:
    """A source with these fields, opened: its context, and all of its samples and failures."""
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in fields.items()}
    source = build_component("source", {"name": name, **plain}, "here")
    ctx = open_context(Recipe(dataset="back", version="1.0.0", source=source), "embedded")
    assert len(source.pin(ctx)) == 64
    found = list(source.read(0, source.size(ctx), ctx))
    outlined = list(source.outline(0, source.size(ctx), ctx))
    assert [(one.id, one.labels) for one in outlined] == [(one.id, one.labels) for one in found]
    return source.classes(ctx), found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
