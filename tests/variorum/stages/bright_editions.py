"""Editions of twelve photographs in three units, judged by their brightness: what tests of curation start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acme_components.bright_rules import BrightRules

from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.pipeline import Job, Threads, build, curate, release
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.recipe import Recipe

PLUGINS = str(Path(__file__).parents[2] / "plugins")


def recipe(photos: Path, **fields: Any) -> Recipe:
    """The photographs as they are, measured by `bright`, judged by `bright_rules`; a field goes to who has it."""
    rules = {name: value for name, value in fields.items() if name in BrightRules.model_fields}
    bright = {name: value for name, value in fields.items() if name not in rules}
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 4,
            "source": {"name": "image_folder", "path": str(photos)},
            "curate": [{"name": "bright", **bright}, {"name": "bright_rules", **rules}],
        }
    )


def judged(what: Recipe, store: Store, workers: int = 1, *, force: bool = False) -> tuple[Manifest, int, Ledger]:
    """The edition, with its ledger's number and content."""
    job = Job(what, store)
    manifest = build(job)
    return manifest, *curate(job, manifest, Threads(workers), force=force)


def released(what: Recipe, store: Store) -> tuple[Manifest, Manifest]:
    """The edition and its release."""
    manifest, number, ledger = judged(what, store)
    return manifest, release(Job(what, store), manifest, number, ledger)


def samples(manifest: Manifest, store: Store) -> dict[str, dict[str, bytes]]:
    """The members of all samples, by id."""
    return {key: members for shard in manifest.shards["test"] for key, members in read_shard(store.path(shard))}


def rows(manifest: Manifest, store: Store) -> dict[str, dict[str, Any]]:
    """The edition's table, by id."""
    return {row["id"]: row for row in read_table(store, manifest.rows).to_pylist()}


def nothing(_steps: int) -> None:
    """Progress that nobody hears of."""
