"""Five figures of an edition for the top of its card: how much is kept, of what, and under which licence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from variorum.reports.contents import summary_rows
from variorum.schemas.manifest import Manifest
from variorum.schemas.sample import CREATED, DRAWN, GENERATED

Pair = tuple[str, str]
"""What it is, and the figure."""
MADE = ("accepted", "quarantined", "dropped", "withheld")
NOT_MADE = ("ineligible", "failed")
"""States of pictures that were made, and of those that weren't."""


def glance(manifest: Manifest, rows: Any, classes: Mapping[str, Mapping[str, int]]) -> list[Pair]:
    """The five figures that fit the edition: one that was made, one that was cleaned, or one as it was given."""
    states = Counter[str]()
    for row in summary_rows(manifest):
        states.update({name: number for name, number in row.items() if name in (*MADE, *NOT_MADE)})
    size = sum(shard.size for shards in manifest.shards.values() for shard in shards)
    rest = [("classes", _classes(classes)), ("size", _size(size)), ("licence", _licence(manifest))]
    if manifest.recipe.get("generate"):
        return [("pictures", _kept(states, "made")), _source(manifest, rows), *rest]
    if manifest.ledger:
        counts = Counter({action: sum(of.values()) for action, of in manifest.ledger.counts.items()})
        return [
            ("pictures", _kept(states, "judged")),
            ("dropped", f"{counts['drop'] + counts['withhold']:,}"),
            ("relabelled", f"{counts['relabel']:,}"),
            ("doubtful, so people are asked", f"{counts['review']:,}"),
            ("drawn at random, so people check", f"{counts['audit']:,}"),
        ]
    splits = manifest.splits()
    several = ", ".join(f"{name} {number:,}" for name, number in splits.items()) if len(splits) > 1 else ""
    return [("pictures", _kept(states, "read")), ("splits", several or next(iter(splits), "none")), *rest]


def _kept(states: Mapping[str, int], verb: str) -> str:
    kept, made = states["accepted"], sum(states[name] for name in MADE)
    not_made = sum(states[name] for name in NOT_MADE)
    found = f"{kept:,}" if kept == made else f"{kept:,} kept of {made:,} {verb}"
    return found + (f"; {not_made:,} more not made" if not_made else "")


def _source(manifest: Manifest, rows: Any) -> Pair:
    """Number of sources that were edited; of variants where programs made all pictures by themselves."""
    kinds = set(rows["digital_source_type"].to_pylist()) if "digital_source_type" in rows.column_names else set()
    kinds -= {"", None}
    if kinds in ({GENERATED}, {DRAWN}):
        return "variants", f"{len(manifest.counts):,}"
    edited = f", {manifest.sources_edited:,} of them with an edit" if manifest.sources_edited < manifest.sources else ""
    return "sources" if kinds == {CREATED} else "photographs", f"{manifest.sources:,}{edited}"


def _classes(classes: Mapping[str, Mapping[str, int]]) -> str:
    there = sum(1 for of in classes.values() if any(of.values()))
    if not there:
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
