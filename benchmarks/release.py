"""CPU time of releasing an edition (1 % dropped, 1 % relabelled), compared with copying its shards with sha256.

The limit is the copy: read, hash, write, fsync. Verdicts are spread evenly, so every shard must be rewritten. Separate
processes measure the peak memory of a release at two sizes, one ten times the other, and the CPU time per picture of a
release that adds two members to every sample: one measured shard by shard, the other scored in one table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from timing import peak_mb

from variorum import pipeline
from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.edition.tables import keep_columns, read_table
from variorum.edition.verdicts import keep_verdicts, verdict_table
from variorum.schemas.canonical import digest
from variorum.schemas.manifest import Ledger, Manifest, ShardInfo
from variorum.schemas.recipe import Recipe
from variorum.schemas.verdict import Verdict
from variorum.stages.release import release_units

CLASSES = 10
NOTE = 20_000
"""Size of an added member in bytes."""
UNIT, UNITS = 20, (40, 160, 400)
"""Pictures per unit and numbers of units of the releases that add members."""


def edition(folder: Path, pictures: int, shard: int) -> tuple[Manifest, pipeline.Job]:
    """A sealed edition of 160 x 160 noise; its PNG files are about as large as those of photographs at 224."""
    photos = folder / "photos"
    rng = np.random.default_rng(0)
    for number in range(pictures):
        place = photos / str(number % CLASSES)
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.bmp"), rng.integers(0, 256, (160, 160, 3), dtype=np.uint8))
    job = job_in(folder, shard)
    return pipeline.build(job, pipeline.Threads(2)), job


def job_in(folder: Path, shard: int = 1) -> pipeline.Job:
    """The job that makes the edition in a folder."""
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": shard,
            "source": {"name": "image_folder", "path": str(folder / "photos")},
        }
    )
    return pipeline.Job(recipe, str(folder / "store"))


def ledger(manifest: Manifest, store: Store, salt: str = "", *, adding: bool = False) -> Ledger:
    """A ledger that drops one picture in a hundred and relabels another; `adding` gives every sample two members."""
    table = read_table(store, manifest.rows, ["id", "sha256"])
    tables = [read_table(store, [info], ["id", "sha256"]) for info in manifest.rows] if adding else []
    verdicts = []
    for place, row in enumerate(table.to_pylist()):
        if place % 100 == 7:
            verdicts.append(Verdict(row["id"], row["sha256"], "drop", "bench", f"bad{salt}"))
        elif place % 100 == 57:
            verdicts.append(Verdict(row["id"], row["sha256"], "relabel", "bench", f"wrong{salt}", ("3",)))
    return Ledger(
        edition=manifest.digest(),
        curate=[],
        models={},
        measured={"shards": [notes("shards", part, store) for part in tables]} if adding else {},
        scored={"whole": notes("whole", table, store)} if adding else {},
        members={"one.bin": "shards.note", "two.bin": "whole.note"} if adding else {},
        verdicts=keep_verdicts(verdict_table(verdicts, table), store),
        counts={},
        figures={},
    )


def notes(step: str, table: Any, store: Store) -> ShardInfo:
    """A table with random bytes for every picture."""
    rng = np.random.default_rng(0)
    columns = {name: table.column(name).to_pylist() for name in ("id", "sha256")}
    return keep_columns(step, {**columns, "note": [rng.bytes(NOTE) for _ in range(len(table))]}, len(table), store)


def copy(manifest: Manifest, store: Store, folder: Path) -> None:
    """Copy the shards in pieces of 1 MiB and check their sha256."""
    for shard in manifest.shards["test"]:
        found = hashlib.sha256()
        with store.path(shard).open("rb") as source, (folder / shard.sha256).open("wb") as target:
            while piece := source.read(1 << 20):
                found.update(piece)
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        assert found.hexdigest() == shard.sha256


def alone(pictures: int, shard: int, *, adding: bool = False) -> tuple[float, float]:
    """Peak memory in MB and CPU milliseconds per picture of a process that only releases an existing edition."""
    with tempfile.TemporaryDirectory() as folder:
        manifest, job = edition(Path(folder), pictures, shard)
        made = ledger(manifest, job.store, adding=adding)
        Path(folder, "ledger.json").write_text(made.model_dump_json())
        done = subprocess.run([sys.executable, __file__, "--only", folder], capture_output=True, text=True, check=True)
        memory, seconds = map(float, done.stdout.split())
        return memory, seconds * 1000 / pictures


def only(folder: Path) -> None:
    job = job_in(folder)
    manifest = resolve("d@1.0.0", job.store)
    found = Ledger.model_validate_json((folder / "ledger.json").read_text())
    began = time.process_time()
    pipeline.release(job, manifest, 1, found)
    print(peak_mb(), time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--shard", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", type=Path)
    options = parser.parse_args()
    if options.only:
        only(options.only)
        return
    ratios, times = [], {"release": list[float](), "copy": list[float]()}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        manifest, job = edition(folder, options.pictures, options.shard)
        size = sum(shard.size for shard in manifest.shards["test"])
        for number in range(options.rounds):
            made = ledger(manifest, job.store, str(number))
            assert all(unit.verdicts for unit in release_units(manifest, made, job.store))
            for name in ("release", "copy") if number % 2 else ("copy", "release"):
                (folder / f"copy{number}").mkdir(exist_ok=True)
                began = time.process_time()
                if name == "release":
                    released = pipeline.release(job, manifest, number + 1, made)
                else:
                    copy(manifest, job.store, folder / f"copy{number}")
                times[name].append(time.process_time() - began)
            ratios.append(times["release"][-1] / times["copy"][-1])
            assert sum(shard.samples for shard in released.shards["test"]) == options.pictures * 0.99
    few, many = options.pictures // 4, options.pictures * 5 // 2
    small, large = alone(few, options.shard), alone(many, options.shard)
    units = {number: alone(number * UNIT, UNIT, adding=True) for number in UNITS}
    fewest, most = units[min(UNITS)], units[max(UNITS)]
    report = {
        "what": f"release of {options.pictures} pictures, {size / 1e6:.0f} MB, 1 % dropped, 1 % relabelled",
        "cpu_seconds": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "release_to_copy_with_sha256": round(statistics.median(ratios), 3),
        "peak_MB": {str(few): round(small[0], 1), str(many): round(large[0], 1)},
        "peak_ratio_at_10_times": round(large[0] / small[0], 3),
        "adding_two_members": {
            "units": list(units),
            "cpu_ms_a_picture": [round(cpu, 3) for _, cpu in units.values()],
            "peak_MB": [round(memory, 1) for memory, _ in units.values()],
            "cpu_a_picture_at_most_to_fewest": round(most[1] / fewest[1], 3),
            "peak_at_most_to_fewest": round(most[0] / fewest[0], 3),
        },
        "check": digest([released.counts]),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
