"""Five figures of an edition for the top of its card: how much is kept, of what, and under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from variorum.edition.tables import summary_rows
from variorum.schemas.manifest import Manifest
from variorum.schemas.sample import GENERATED

Pair = tuple[str, str]
"""What it is, and the figure."""
MADE = ("accepted", "quarantined", "dropped", "withheld")
"""States of pictures that were made."""


def glance(manifest: Manifest, rows: Any, classes: Mapping[str, Mapping[str, int]]) -> list[Pair]:
    """The five figures that fit the edition: one that was made, one that was cleaned, or one as it was given.

    Args:
        manifest: the edition.
        rows: its `edition_rows`.
        classes: by class, the number of accepted pictures by split.
    """
    counted = summary_rows(manifest)
    made = sum(row.get(state, 0) for row in counted for state in MADE)
    kept = manifest.pictures()
    pictures = ("pictures", f"{kept:,} of {made:,} {{}}" if made > kept else f"{kept:,}")
    size = sum(shard.size for shards in manifest.shards.values() for shard in shards)
    rest = [("classes", _classes(classes)), ("size", _size(size)), ("licence", _licence(manifest))]
    if manifest.recipe.get("generate"):
        return [_filled(pictures, "made"), _source(manifest, rows), *rest]
    if manifest.ledger:
        counts = {action: sum(of.values()) for action, of in manifest.ledger.counts.items()}
        return [
            _filled(pictures, "judged"),
            ("dropped", f"{counts.get('drop', 0) + counts.get('withhold', 0):,}"),
            ("relabelled", f"{counts.get('relabel', 0):,}"),
            ("doubtful, people are asked", f"{counts.get('review', 0):,}"),
            ("drawn at random, to check", f"{counts.get('audit', 0):,}"),
        ]
    splits = manifest.splits()
    several = ", ".join(f"{name} {number:,}" for name, number in splits.items()) if len(splits) > 1 else ""
    return [_filled(pictures, "read"), ("splits", several or next(iter(splits), "none")), *rest]


def _filled(pair: Pair, verb: str) -> Pair:
    return pair[0], pair[1].format(verb)


def _source(manifest: Manifest, rows: Any) -> Pair:
    """Number of photographs that were edited; of variants where a model made all pictures by itself."""
    kinds = set(rows["digital_source_type"].to_pylist()) if "digital_source_type" in rows.column_names else set()
    if kinds - {"", None} == {GENERATED}:
        return "variants", f"{len(manifest.counts):,}"
    return "photographs", f"{manifest.sources:,}"


def _classes(classes: Mapping[str, Mapping[str, int]]) -> str:
    there = sum(1 for of in classes.values() if any(of.values()))
    if not classes:
        return "none"
    return f"{there:,}" if there == len(classes) else f"{there:,} of {len(classes):,}"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _licence(manifest: Manifest) -> str:
    """The licence of most pictures, and how many others there are."""
    found = sorted(manifest.licences.items(), key=lambda pair: (-pair[1], pair[0]))
    if not found:
        return "none given"
    others = len(found) - 1
    return (found[0][0] or "none given") + (f" and {others} other{'s' if others > 1 else ''}" if others else "")
