"""What a plan will cost, judged by what the same dataset's units cost in this store before; never guessed."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.manifest import Receipt
from variorum.engine import Plan
from variorum.store import Store


@dataclass(frozen=True, slots=True)
class Estimate:
    """Units done already, and the sentence that says what the rest will take."""

    done: int
    text: str


def estimate(dataset: str, planned: Plan, store: Store) -> Estimate:
    """Bytes and time of a plan, from receipts of the dataset's editions in the store."""
    kept = {unit.key: store.receipt(unit.key) for unit in planned.units}
    done = sum(receipt is not None for receipt in kept.values())
    earlier = [receipt for receipt in kept.values() if receipt] or _earlier(dataset, store)
    samples = sum(receipt.stop - receipt.start for receipt in earlier)
    if not samples:
        return Estimate(done, "none: no unit of this dataset was made in this store yet; a run with --limit gives one")
    size = sum(shard.size for receipt in earlier for shard in receipt.shards.values()) / samples
    seconds = sum(float(str(receipt.made.get("seconds", 0))) for receipt in earlier) / samples
    left = sum(unit.stop - unit.start for unit in planned.units if kept[unit.key] is None)
    return Estimate(
        done,
        f"{_bytes(size * planned.size)} in all, {_duration(seconds * left)} to go with one worker "
        f"(from {samples} samples made before)",
    )


def _earlier(dataset: str, store: Store) -> list[Receipt]:
    versions = [version for name, version in store.editions() if name == dataset]
    if not versions:
        return []
    manifest = store.resolve(f"{dataset}@{versions[-1]}")
    return [receipt for unit in manifest.units if (receipt := store.receipt(unit))]


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
