"""CPU time of hashing what a build reads and what a later run relies on, as a share of the build.

`read` is the comparison of each picture with the hash that was pinned. `again` is a run in a new process of an edition
that is finished: it hashes every object, and with `--trust` none. The peer is `sha256sum` on the same files, the limit
10 % of a build. The recipe is the cheapest there is, with the largest share: an image folder, no generator, the files'
own bytes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from masters import photographs
from timing import ratio, rounds

from variorum.machine.retrying import Pinned, read_pinned
from variorum.pipeline import Job, build
from variorum.schemas.recipe import Recipe

ROUNDS = 5


def recipe(folder: Path, masters: str) -> Recipe:
    """An edition of the folder's pictures as they are."""
    source = {"name": "image_folder", "path": str(folder)}
    return Recipe.parse(
        {"dataset": "d", "version": "1.0.0", "samples_per_shard": 250, "masters": masters, "source": source}
    )


def peer(files: list[Path]) -> float:
    """CPU seconds of `sha256sum`, a new process like each run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["sha256sum", *map(str, files)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(place: Path, masters: str, number: int, side: int) -> dict[str, object]:
    """Shares and ratios for one kind of masters."""
    photos = place / "photos"
    if not photos.exists():
        photographs(photos, number, side)
    files = sorted(photos.rglob("*.jpg"))
    pins = [Pinned(sha) for sha in _hashes(files)]
    what, turns = recipe(photos, masters), iter(range(1000))

    def make() -> None:
        job = Job(what, str(place / f"{masters}-{next(turns)}"))
        job.plan  # noqa: B018 - a cached property; its cost isn't part of the build
        build(job)

    def again(trust: bool) -> None:
        build(Job(what, str(place / f"{masters}-0"), trust=trust))

    timed = rounds(
        {
            "build": make,
            "read_checked": lambda: [read_pinned(file, pin, file) for file, pin in zip(files, pins, strict=True)],
            "read": lambda: [file.read_bytes() for file in files],
            "again": lambda: again(trust=False),
            "again_trusting": lambda: again(trust=True),
        },
        ROUNDS,
    )
    objects = sorted((place / f"{masters}-0" / "objects").iterdir())
    sha256sum = float(np.median([peer(objects) for _ in range(ROUNDS)]))
    build_cpu = float(np.median([turn["build"].cpu for turn in timed]))
    checks = float(np.median([turn["again"].cpu - turn["again_trusting"].cpu for turn in timed]))
    reads = float(np.median([turn["read_checked"].cpu - turn["read"].cpu for turn in timed]))
    return {
        "pictures": len(files),
        "megabytes_stored": round(sum(file.stat().st_size for file in objects) / 1e6, 1),
        "cpu_seconds": {
            "build": round(build_cpu, 3),
            "read_checks": round(reads, 3),
            "object_checks": round(checks, 3),
            "sha256sum_of_the_objects": round(sha256sum, 3),
        },
        "read_checks_share_of_build": round(reads / build_cpu, 4),
        "object_checks_share_of_build": round(checks / build_cpu, 4),
        "object_checks_to_sha256sum": round(checks / sha256sum, 2),
        "again_to_build": ratio(timed, "again", "build"),
        "limit": 0.1,
    }


def _hashes(files: list[Path]) -> list[str]:
    import hashlib

    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def main(number: int = 1500, side: int = 400) -> None:
    """Print one JSON object."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["VARIORUM_CACHE"] = str(Path(name) / "cache")
        found = {masters: compare(Path(name), masters, number, side) for masters in ("original", "png")}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
