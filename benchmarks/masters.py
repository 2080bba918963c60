"""CPU time of building an edition that keeps the files' own bytes, against copying the files with their sha256.

The pictures are decoded once, to find those that can't be: `decode_share` is the part of the time that this takes, and
`ratio` compares what is left. The limit is the sha256 of every byte three times: of the file for the source's identity,
of the picture and of the shard.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import skimage.data
from PIL import Image

import variorum.edition.samples as samples
from variorum.pipeline import Job, build
from variorum.schemas.recipe import Recipe


def photographs(folder: Path, number: int, side: int) -> int:
    """Write JPEGs of one class each folder; returns their size together."""
    rng = np.random.default_rng(0)
    whole = Image.fromarray(skimage.data.astronaut()).resize((1024, 1024), Image.Resampling.BICUBIC)
    for place in range(number):
        left, top = rng.integers(0, 1024 - side, 2).tolist()
        (folder / f"class_{place % 4}").mkdir(parents=True, exist_ok=True)
        part = np.asarray(whole.crop((left, top, left + side, top + side))).astype(np.int16)
        noisy = np.clip(part + rng.normal(0, 12, part.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"class_{place % 4}" / f"{place:05d}.jpg", quality=92)
    return sum(file.stat().st_size for file in folder.rglob("*.jpg"))


def copied(folder: Path, target: Path) -> float:
    """CPU seconds of copying all files, synced, with the sha256 of each."""
    began = time.process_time()
    for file in sorted(folder.rglob("*.jpg")):
        data = file.read_bytes()
        hashlib.sha256(data).hexdigest()
        to = target / file.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("wb") as out:
            out.write(data)
            os.fsync(out.fileno())
    return time.process_time() - began


def hashed(folder: Path) -> float:
    """CPU seconds of the sha256 of every byte."""
    began = time.process_time()
    for file in folder.rglob("*.jpg"):
        hashlib.sha256(file.read_bytes()).hexdigest()
    return time.process_time() - began


def built(folder: Path, store: Path) -> tuple[float, float, float]:
    """CPU seconds of the plan (which hashes every file) and of the build, and those of decoding within it."""
    source = {"name": "image_folder", "path": str(folder)}
    what = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 500, "masters": "original", "source": source}
    decoding = 0.0
    real = samples.decode

    def decode(data: bytes) -> np.ndarray:
        nonlocal decoding
        began = time.thread_time()
        try:
            return real(data)
        finally:
            decoding += time.thread_time() - began

    with mock.patch.object(samples, "decode", decode):
        job = Job(Recipe.parse(what), str(store))
        began = time.process_time()
        job.plan  # noqa: B018 - a cached property
        planned = time.process_time() - began
        manifest = build(job)
        total = time.process_time() - began
    stored = sum(info.size for infos in manifest.shards.values() for info in infos)
    print(f"stored {stored} bytes", file=sys.stderr)
    return planned, total - planned, decoding


def main(number: int = 1500, side: int = 400) -> None:
    """Print one JSON object."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["VARIORUM_CACHE"] = str(folder / "cache")
        size = photographs(folder / "photos", number, side)
        hashed(folder / "photos")  # into the page cache
        copies = [copied(folder / "photos", folder / f"copy{k}") for k in range(3)]
        sha = min(hashed(folder / "photos") for _ in range(3))
        runs = []
        for k in range(3):
            os.environ["VARIORUM_CACHE"] = str(folder / f"cache{k}")
            runs.append(built(folder / "photos", folder / f"store{k}"))
    copy = min(copies)
    planned, building, decoding = min(runs, key=lambda run: run[0] + run[1] - run[2])
    print(
        json.dumps(
            {
                "pictures": number,
                "megabytes": round(size / 1e6, 1),
                "cpu_seconds": {
                    "copy_with_sha256": round(copy, 3),
                    "plan": round(planned, 3),
                    "build": round(building, 3),
                    "decode": round(decoding, 3),
                    "sha256_three_times": round(3 * sha, 3),
                },
                "decode_share": round(decoding / (planned + building), 3),
                "ratio_to_copy": round((planned + building - decoding) / copy, 2),
                "ratio_of_build_to_copy": round((building - decoding) / copy, 2),
                "ratio_with_decoding": round((planned + building) / copy, 2),
                "times_the_limit": round((planned + building - decoding) / (3 * sha), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
