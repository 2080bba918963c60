"""The rows of recipes that run whole with further models of profile hub, tiny ones with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.reports.rows import edition_rows
from variorum.stages.recipe_files import load_recipe

COLUMNS = "variant", "status", "ops", "digital_source_type"


def rows_of(folder: Path, recipe: str, limit: int, *settings: str) -> list[dict[str, Any]]:
    """Rows of a recipe's first edition on the embedded profile, without its evaluations."""
    store = Store(str(folder / "store"))
    job = Job(load_recipe(recipe, ["evaluate=[]", *settings], limit), store)
    found: list[dict[str, Any]] = edition_rows(run(job), store, COLUMNS).to_pylist()
    return found
