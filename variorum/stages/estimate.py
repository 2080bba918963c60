"""The cost of a run, from the receipts of the same dataset's earlier units in this store."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass

from variorum.edition.editions import editions, resolve
from variorum.edition.store import Store
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Receipt
from variorum.stages.job import Job

SHARE = 0.5
"""Of the estimated size, this share must be free, as pictures differ."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of a run, as far as it is known before.

    Attributes:
        done: number of finished units, or of parts of them where they are made in parts.
        units: number of all.
        measured_on: number of source samples in the earlier units; if 0, the rest is None.
        disk_bytes: size of the finished edition's shards and tables, without releases.
        peak_bytes: highest memory use of a process so far.
        gpu_peak_bytes: highest use of a GPU's memory so far.
        seconds: remaining time with one worker.
    """

    done: int
    units: int
    measured_on: int = 0
    disk_bytes: int | None = None
    peak_bytes: int | None = None
    gpu_peak_bytes: int | None = None
    seconds: float | None = None

    @property
    def text(self) -> str:
        """The estimate in a sentence."""
        if self.disk_bytes is None or self.seconds is None:
            return "none: no unit of this dataset was made in this store yet; a run with --limit gives one"
        gpu = f" and {_bytes(self.gpu_peak_bytes)} of a GPU's" if self.gpu_peak_bytes else ""
        memory = f", {_bytes(self.peak_bytes)} of memory{gpu} at most" if self.peak_bytes else ""
        return (
            f"{_bytes(self.disk_bytes)} on disk{memory}, {_duration(self.seconds)} to go with one worker "
            f"(from {self.measured_on} samples made before)"
        )


def estimate(job: Job) -> Estimate:
    """Size, memory and time of a run, from receipts of the dataset's editions in the store."""
    store, plan = job.store, job.plan
    wanted = dict.fromkeys(key for part in plan.parts for key in (part.unit, part.key) if key)
    receipts = store.receipts(wanted)
    there = store.sound((file for receipt in receipts.values() for file in receipt.files()), check=False)
    kept = {
        key: receipt
        for key, receipt in receipts.items()
        if all(info.sha256 + suffix in there for info, suffix in receipt.files())
    }
    left = [part for part in plan.parts if part.key not in kept and part.unit not in kept]
    done = len(plan.parts) - len(left)
    earlier = list(kept.values()) or _earlier(job.recipe.dataset, store)
    samples = sum(receipt.stop - receipt.start for receipt in earlier)
    if not samples:
        return Estimate(done, len(plan.parts))
    size = sum(info.size for receipt in earlier for info, _ in receipt.files()) / samples
    seconds = sum(_number(receipt, "seconds") for receipt in earlier) / samples
    memory, of_gpu = (max(_number(receipt, name) for receipt in earlier) for name in ("peak_memory", "gpu_peak_memory"))
    return Estimate(
        done=done,
        units=len(plan.parts),
        measured_on=samples,
        disk_bytes=int(size * plan.size),
        peak_bytes=int(memory) or None,
        gpu_peak_bytes=int(of_gpu) or None,
        seconds=seconds * sum(part.samples for part in left),
    )


def check_room(job: Job) -> None:
    """Check that the store's disk has room for what is left to make, as far as earlier units or the source tell.

    A source's pictures tell it if nothing is made of them.

    Raises:
        StoreError: less than half of that is free.
    """
    if not job.store.local:
        return
    recipe, plan, guess = job.recipe, job.plan, estimate(job)
    whole = guess.disk_bytes or 0
    if not whole and not recipe.generate:
        whole = recipe.source.stored_bytes(job.ctx) * plan.size // max(1, recipe.source.size(job.ctx))
    left = whole * (guess.units - guess.done) // max(1, guess.units)
    disk = job.store.local
    while not disk.exists():  # a plan's store may not be there yet
        disk = disk.parent
    free = shutil.disk_usage(disk).free
    if free < SHARE * left:
        raise StoreError(
            f"{job.store}: no space left for this: about {_bytes(left)} are to be written, and {_bytes(free)} are "
            f"free; free some, make less with --limit, or choose another place with --store"
        )


def _number(receipt: Receipt, name: str) -> float:
    """A number that a receipt notes; 0 if it has none."""
    value: object = receipt.made.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    return 0.0


def _earlier(dataset: str, store: Store) -> list[Receipt]:
    versions = [version for name, version in editions(store) if name == dataset]
    if not versions:
        return []
    manifest = resolve(f"{dataset}@{versions[-1]}", store)
    return list(store.receipts(manifest.units).values())


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
