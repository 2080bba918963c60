"""Rows of a report for an edition that somebody names, without a suite."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from variorum.edition.store import Store
from variorum.reports.contents import annotation_counts
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Manifest
from variorum.schemas.sample import is_baseline
from variorum.schemas.suite import RowSpec, Suite
from variorum.stages.recipe_files import read_fields, shipped_recipes
from variorum.stages.suite_files import generators_of

BUILT = re.compile(r"(.+)_[0-9a-f]{12}")
"""Name of an edition that was built for a suite: the suite's, the key and a digest."""
MOST_FAMILIES = 6
"""Families of edits that get a row each; more get one row."""
OWN = ("originals", "reviewed", "detection", "retrieval", "calibration")
"""Rows that no family of edits may be called."""
NUMBER = re.compile(r"[-_+]*\d.*")
"""What a variant's name has beyond that of its family: `haze_0.33`, `low_light_4`."""


def rows_for(manifest: Manifest, store: Store, suite: Suite, key: str) -> tuple[RowSpec, ...]:
    """The rows of an edition.

    An edition that was made by the generators of one of the suite's editions gets that edition's rows, as far as it has
    their variants. Any other gets a row for its originals, for each family of edits, for calibration, and for what its
    annotations allow: detection, retrieval, reviewed labels.

    Args:
        manifest: of the edition.
        store: has it.
        suite: whose editions are known, such as `robustness`.
        key: what the rows shall call the edition.

    Raises:
        RecipeError: it was made by another major version of its recipe than the installed one.
    """
    known = known_as(manifest, suite)
    _check_major(manifest, suite.editions[known].recipe if known else manifest.dataset, known)
    variants = {name for name, counts in manifest.counts.items() if counts.get("accepted")}
    found = (row for row in suite.rows if row.edition == known) if known else _own_rows(manifest, store, variants)
    return tuple(row.model_copy(update={"edition": key}) for row in found if _has(variants, row))


def known_as(manifest: Manifest, suite: Suite) -> str:
    """Key of the suite's edition that the same generators make; `""` for none."""
    makers = _makers(manifest)
    return next((name for name, one in suite.editions.items() if makers and makers == generators_of(one)), "")


def _makers(manifest: Manifest) -> list[str]:
    """Names of the generators that made an edition."""
    made: Any = manifest.recipe.get("generate", [])
    return [str(one["name"]) for one in made if isinstance(one, Mapping)]


def _check_major(manifest: Manifest, recipe: str, key: str) -> None:
    """Raise RecipeError if an edition is of another major version than its installed recipe makes."""
    built = BUILT.fullmatch(manifest.dataset)
    named = manifest.dataset == recipe or bool(key and built and built[1].endswith(f"_{key}"))
    if not named or recipe not in shipped_recipes():
        return
    installed = str(read_fields(recipe)["version"])
    if manifest.version.partition(".")[0] != installed.partition(".")[0]:
        raise RecipeError(
            f"{manifest.dataset}@{manifest.version}: its recipe {recipe} is at {installed} now, and another major "
            f"version makes other pictures, whose rows can't be compared; build it again: variorum run {recipe}"
        )


def _has(variants: Collection[str], row: RowSpec) -> bool:
    """Return whether an edition has pictures that a row is about."""
    return not row.variants or any(fnmatchcase(one, pattern) for one in variants for pattern in row.variants)


def _own_rows(manifest: Manifest, store: Store, variants: Collection[str]) -> Iterator[RowSpec]:
    """Rows of an edition that no suite knows."""
    counts, edits = annotation_counts(manifest, store), sorted(name for name in set(variants) if not is_baseline(name))
    if manifest.classes and "original" in variants:
        yield _row("originals", "Originals", "As they are", "accuracy_drop.originals", chance="classes")
    if "labels.json" in manifest.members:
        yield _row("reviewed", "By reviewed labels", "As they are", "multi_label_accuracy.real")
    for name, members in _families(edits).items() if manifest.classes else ():
        title = name.replace("_", " ").capitalize()
        shown = {"variants": members, "curve": ["variant"], "chance": "classes"}
        yield _row(name, title, "One thing changes", "accuracy_drop.edits", **shown)
    if counts.objects.number:
        yield _row("detection", "Detection", "What it finds", "detection_ap.ap", needs=["objects", "boxes_of_model"])
    if counts.captions.number and edits:
        yield _row("retrieval", "Retrieval", "What it finds", "retrieval_robustness.recall", needs=["embedding"])
    if manifest.classes:
        yield _row("calibration", "Calibration", "Its own word", "accuracy_drop.calibration")


def _row(name: str, title: str, section: str, of: str, **more: Any) -> RowSpec:
    given = {"id": name, "title": title, "section": section, "edition": "named", "of": of, **more}
    return RowSpec.model_validate(given)


def _families(edits: Sequence[str]) -> dict[str, Sequence[str]]:
    """Edits by what their names begin with; all together if these are many."""
    found: dict[str, list[str]] = {}
    for one in edits:
        name = re.sub(r"[^a-z0-9]+", "_", NUMBER.sub("", one).lower()).strip("_")
        found.setdefault(f"edit_{name}"[:60] if name in OWN or not name[:1].isalpha() else name[:60], []).append(one)
    return {**found} if len(found) <= MOST_FAMILIES else {"edits": edits}
