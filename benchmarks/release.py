"""Releasing an edition (1 % dropped, 1 % relabelled) against copying its shards with sha256, in CPU time.

The limit is the copy: read, hash, write, fsync. Verdicts are spread evenly, so that every shard has to be rewritten.
Peak memory of a release is measured in processes of their own, at a size and at ten times that size.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from schemas.canonical import digest
from schemas.manifest import Ledger, Manifest
from schemas.recipe import Recipe
from schemas.verdict import Verdict
from variorum.context import open_context
from variorum.engine import build
from variorum.ledgers import keep_verdicts
from variorum.release import plan_release, release
from variorum.store import Store
from variorum.tables import read_table

CLASSES = 10


def edition(folder: Path, pictures: int, shard: int) -> tuple[Manifest, Store]:
    """A sealed edition of pictures of 160 x 160 noise, whose PNGs are about as large as a photograph's at 224."""
    photos = folder / "photos"
    rng = np.random.default_rng(0)
    for number in range(pictures):
        place = photos / str(number % CLASSES)
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.bmp"), rng.integers(0, 256, (160, 160, 3), dtype=np.uint8))
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": shard,
            "source": {"name": "image_folder", "path": str(photos)},
        }
    )
    store = Store(str(folder / "store"))
    return build(recipe, open_context(recipe, "embedded"), store, profile="embedded", workers=2), store


def ledger(manifest: Manifest, store: Store, salt: str = "") -> Ledger:
    """One verdict in a hundred drops, another relabels."""
    table = read_table(store, manifest.rows, ["id", "sha256"])
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
        measured={},
        scored={},
        verdicts=keep_verdicts(verdicts, store),
        counts={},
        figures={},
    )


def copy(manifest: Manifest, store: Store, folder: Path) -> None:
    """The shards, piece by piece, with their sha256."""
    for shard in manifest.shards["test"]:
        found = hashlib.sha256()
        with store.path(shard).open("rb") as source, (folder / shard.sha256).open("wb") as target:
            while piece := source.read(1 << 20):
                found.update(piece)
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        assert found.hexdigest() == shard.sha256


def peak(pictures: int, shard: int) -> float:
    """Peak memory in MB of a process that only releases an edition that is there."""
    with tempfile.TemporaryDirectory() as folder:
        manifest, store = edition(Path(folder), pictures, shard)
        made = ledger(manifest, store)
        Path(folder, "ledger.json").write_text(made.model_dump_json())
        done = subprocess.run([sys.executable, __file__, "--only", folder], capture_output=True, text=True, check=True)
        return float(done.stdout)


def only(folder: Path) -> None:
    store = Store(str(folder / "store"))
    manifest = store.resolve("d@1.0.0")
    release(manifest, 1, Ledger.model_validate_json((folder / "ledger.json").read_text()), store)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


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
        manifest, store = edition(folder, options.pictures, options.shard)
        size = sum(shard.size for shard in manifest.shards["test"])
        for number in range(options.rounds):
            made = ledger(manifest, store, str(number))
            assert all(part.verdicts for part in plan_release(manifest, made, store))
            for name in ("release", "copy") if number % 2 else ("copy", "release"):
                (folder / f"copy{number}").mkdir(exist_ok=True)
                began = time.process_time()
                if name == "release":
                    released = release(manifest, number + 1, made, store)
                else:
                    copy(manifest, store, folder / f"copy{number}")
                times[name].append(time.process_time() - began)
            ratios.append(times["release"][-1] / times["copy"][-1])
            assert sum(shard.samples for shard in released.shards["test"]) == options.pictures * 0.99
    small, large = peak(options.pictures // 4, options.shard), peak(options.pictures * 5 // 2, options.shard)
    report = {
        "what": f"release of {options.pictures} pictures, {size / 1e6:.0f} MB, 1 % dropped, 1 % relabelled",
        "cpu_seconds": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "release_to_copy_with_sha256": round(statistics.median(ratios), 3),
        "peak_MB": {str(options.pictures // 4): round(small, 1), str(options.pictures * 5 // 2): round(large, 1)},
        "peak_ratio_at_10_times": round(large / small, 3),
        "check": digest([released.counts]),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
