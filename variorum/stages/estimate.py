"""The cost of a run, from the receipts of the same dataset's earlier units in this store."""

from __future__ import annotations

from dataclasses import dataclass

from variorum.edition.editions import editions, resolve
from variorum.edition.store import Store
from variorum.schemas.manifest import Receipt
from variorum.stages.job import Job


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of a run, as far as it is known before.

    Attributes:
        done: number of finished units.
        units: number of all units.
        measured_on: number of source samples in the earlier units; if 0, the rest is None.
        disk_bytes: size of the finished edition's shards and tables, without releases.
        peak_bytes: highest memory use of a process so far.
        seconds: remaining time with one worker.
    """

    done: int
    units: int
    measured_on: int = 0
    disk_bytes: int | None = None
    peak_bytes: int | None = None
    seconds: float | None = None

    @property
    def text(self) -> str:
        """The estimate in a sentence."""
        if self.disk_bytes is None or self.seconds is None:
            return "none: no unit of this dataset was made in this store yet; a run with --limit gives one"
        memory = f", {_bytes(self.peak_bytes)} of memory at most" if self.peak_bytes else ""
        return (
            f"{_bytes(self.disk_bytes)} on disk{memory}, {_duration(self.seconds)} to go with one worker "
            f"(from {self.measured_on} samples made before)"
        )


def estimate(job: Job) -> Estimate:
    """Size, memory and time of a run, from receipts of the dataset's editions in the store."""
    store, plan = job.store, job.plan
    receipts = {unit.key: receipt for unit in plan.units if (receipt := store.receipt(unit.key))}
    there = store.sound((file for receipt in receipts.values() for file in receipt.files()), check=False)
    kept = {
        key: receipt
        for key, receipt in receipts.items()
        if all(info.sha256 + suffix in there for info, suffix in receipt.files())
    }
    earlier = list(kept.values()) or _earlier(job.recipe.dataset, store)
    samples = sum(receipt.stop - receipt.start for receipt in earlier)
    if not samples:
        return Estimate(len(kept), len(plan.units))
    size = sum(info.size for receipt in earlier for info, _ in receipt.files()) / samples
    seconds = sum(_made(receipt, "seconds") for receipt in earlier) / samples
    left = sum(unit.samples for unit in plan.units if unit.key not in kept)
    peak = int(max(_made(receipt, "peak_memory") for receipt in earlier))
    return Estimate(len(kept), len(plan.units), samples, int(size * plan.size), peak or None, seconds * left)


def _made(receipt: Receipt, name: str) -> float:
    return float(str(receipt.made.get(name, 0)))


def _earlier(dataset: str, store: Store) -> list[Receipt]:
    versions = [version for name, version in editions(store) if name == dataset]
    if not versions:
        return []
    manifest = resolve(f"{dataset}@{versions[-1]}", store)
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
