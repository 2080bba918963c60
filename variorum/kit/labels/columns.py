"""Check a recipe's column names before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from variorum.edition.columns import EDITION_COLUMNS
from variorum.edition.tables import HIDDEN
from variorum.schemas.errors import RecipeError

OWN = tuple(name for name in EDITION_COLUMNS if name not in HIDDEN)
"""Columns that deciders get of every edition. All others are called `<detector>.<name>` or `gate.<name>`."""


def check_columns(names: Iterable[str], where: str) -> None:
    """Raise RecipeError for a name without a dot that is no column of an edition.

    Whether a detector gives the column after the dot shows only when it has run.
    """
    for name in names:
        if "." not in name and name not in OWN:
            raise RecipeError(
                f"{where}: an edition has no column {name!r}; it has {', '.join(OWN)}. "
                f"A detector's column has its name in front: quality.{name}"
            )


def kind_of(name: str, known: Mapping[str, Mapping[str, str]], where: str) -> str | None:
    """Return the kind of a detector's column; None if it shows only in the run, or for an edition's own column.

    Args:
        name: as the recipe has it, `<detector>.<name>`.
        known: by detector, its columns and what they hold.
        where: what the error begins with, such as `curate.policy.rules.0`.

    Raises:
        RecipeError: the detector gives no such column.
    """
    step, dot, column = name.partition(".")
    if not dot or step not in known:
        return None
    if column not in known[step]:
        near = get_close_matches(column, known[step], 1)
        hint = f"did you mean {step}.{near[0]}?" if near else f"it gives {', '.join(sorted(known[step]))}"
        raise RecipeError(f"{where}: {step} gives no column {column!r}; {hint}")
    return known[step][column]
