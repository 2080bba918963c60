"""What can be said of a recipe's column names before any work."""

from __future__ import annotations

from collections.abc import Iterable

from variorum.edition.tables import EDITION_COLUMNS, HIDDEN
from variorum.schemas.errors import RecipeError

OWN = tuple(name for name in EDITION_COLUMNS if name not in HIDDEN)
"""Columns that deciders get of every edition. All others are called `<detector>.<name>` or `gate.<name>`."""


def check_columns(names: Iterable[str], where: str) -> None:
    """Raise RecipeError for a name without a dot that is no column of an edition.

    Whether a detector gives the column after the dot shows only when it has run.

    Args:
        names: as the recipe has them.
        where: what the error begins with, such as `curate.policy.rules.0`.
    """
    for name in names:
        if "." not in name and name not in OWN:
            raise RecipeError(
                f"{where}: an edition has no column {name!r}; it has {', '.join(OWN)}. "
                f"A detector's column has its name in front: quality.{name}"
            )
