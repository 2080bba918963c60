"""A small edition and its release, laid out as they are published; a class is called by markup."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.hub.layout import layout
from variorum.pipeline import Job, run
from variorum.reports.card import write_card
from variorum.schemas.recipe import Recipe

CLASSES = ("<img src=x onerror=alert(1)>", "dog")
EDITION, RELEASE = "street@1.0.0", "street@1.0.0-r1"


def make(folder: Path) -> Path:
    """Make the edition and the release in `store`, and lay each out in a folder of its name; returns the folder."""
    for place, name in enumerate(CLASSES):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(3):
            noise = np.random.default_rng(10 * place + number).integers(0, 90 + 40 * number, (40, 48, 3), np.uint8)
            Image.fromarray(noise).save(folder / "photos" / name / f"{number}.jpg")
    recipe = Recipe.parse(
        {
            "dataset": "street",
            "version": "1.0.0",
            "samples_per_shard": 2,
            "masters": "original",
            "splits": {"test": 0.5},
            "source": {"name": "image_folder", "path": str(folder / "photos")},
            "curate": [{"name": "bright"}, {"name": "bright_rules", "drop": 1}],
            "card": {"title": "Streets", "summary": "*Six* pictures of [noise](https://example.org/noise)."},
        }
    )
    job = Job(recipe, str(folder / "store"))
    run(job)
    write_card(recipe, resolve(EDITION, job.store), job.store)
    for name in (EDITION, RELEASE):
        lay_out(name, job.store, folder / name)
    return folder


def lay_out(name: str, store: Store, folder: Path) -> None:
    """Write the files of a published edition into a folder."""
    for entry in layout(resolve(name, store), store):
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        local = entry.local(store)
        path.write_bytes(local.read_bytes() if local else entry.data or b"")
