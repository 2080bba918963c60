"""Editions that are published in tests: photographs of one licence in two places, in versions 1.0.0 and 1.1.0."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hub_front import Hub
from hub_server import environment

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

WARNING = "Some pictures show a cat."


def recipe(photos: Path, version: str = "1.0.0", **more: Any) -> Recipe:
    """Version 1.1.0 has four pictures more than 1.0.0 and 1.2.0-dev."""
    fields = {
        "dataset": "shots",
        "version": version,
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(photos), "licence": "CC0-1.0"},
        "card": {"title": "Shots", "summary": "A few photographs.", "citation": "Cite the photographers."},
        **({} if version == "1.1.0" else {"limit": 8}),
    }
    return Recipe.parse({**fields, **more})


def made(store: Path, photos: Path, version: str = "1.0.0", **more: Any) -> Manifest:
    """Build an edition with its card."""
    job = Job(recipe(photos, version, **more), str(store))
    run(job)
    return resolve(f"{job.recipe.dataset}@{version}", job.store)


def opened(store: Path) -> Store:
    """A store that is only read."""
    return Store(str(store), writable=False)


def loaded(hub: Hub, home: Path, code: str, *, token: str | None = None) -> Any:
    """What a program in a new Python says as JSON, which has `datasets` and not this project."""
    program = f"import json, sys\n{code}\nassert 'variorum' not in sys.modules\nprint(json.dumps(said))"
    variables = environment(hub, home) if token is None else environment(hub, home, token=token)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**variables, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "USE_TORCH": "0", "PYTHONPATH": ""},
        cwd=os.sep,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
