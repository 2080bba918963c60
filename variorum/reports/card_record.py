"""Records what a card was made of, so that a card that is up to date isn't made again.

cards/<key>.json    the hashes of the files of a card; the key covers all that decides them
"""

from __future__ import annotations

import hashlib
import importlib.resources
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from variorum.edition.editions import before, read_beside
from variorum.edition.store import Store
from variorum.machine.retrying import hash_content
from variorum.reports.templates import card_template, templates_of
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import CorruptShard
from variorum.schemas.fields import Sha256
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.stages.job import code_of, installed_version


class WrittenCard(BaseModel):
    """A card as it was written."""

    files: dict[str, Sha256]
    """By name beside the manifest, the hash of each file."""


def card_key(recipe: Recipe, manifest: Manifest, store: Store) -> str:
    """Digest of all that decides a card: recipe, edition, the one before it, figures, leaderboard, code, templates."""
    names = [f"evaluation-{evaluation.component_name()}.json" for evaluation in recipe.evaluate]
    figures = {name: _hash(read_beside(manifest, name, store)) for name in [*names, "leaderboard.json"]}
    try:
        earlier = before(manifest, store)
    except CorruptShard:  # the card then compares with none
        earlier = None
    compared = f"{earlier.version} {earlier.digest()}" if earlier else ""
    given = (card_template(recipe), *templates_of(recipe).values())
    code = [_code(), *(code_of(type(evaluation)) for evaluation in recipe.evaluate)]
    code += [str(step.identity().get("file", "")) for step in recipe.generate]
    code += [hash_content(file) for file in given if isinstance(file, Path)]
    return digest(["card", recipe.dump(), manifest.digest(), compared, figures, [*code]])


def put_card(key: str, files: dict[str, str], store: Store) -> None:
    """Record the files of a card by name, each with its hash."""
    store.put_record(f"cards/{key}.json", WrittenCard(files=files))


def card_is_kept(recipe: Recipe, manifest: Manifest, store: Store) -> bool:
    """Return whether the card is up to date, and all of its files are as they were written."""
    kept = store.made_record(f"cards/{card_key(recipe, manifest, store)}.json", WrittenCard)
    return kept is not None and all(
        _hash(read_beside(manifest, name, store)) == sha256 for name, sha256 in kept.files.items()
    )


def _hash(data: bytes | None) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""


@cache
def _code() -> str:
    """Digest of the code and the templates of cards."""
    templates = Path(str(importlib.resources.files("variorum.data_cards")))
    files = [*Path(__file__).parent.glob("*.py"), *templates.rglob("*.j2")]
    contents: list[Json] = [[file.name, hash_content(file)] for file in sorted(files)]
    return digest([installed_version("variorum"), contents])
