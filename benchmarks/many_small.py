"""A hundred thousand real small pictures through `curate_folder`: build, curate, release, page; its gates of scale.

Seven of ten pictures are Fashion-MNIST's, three are pieces of packaged photographs at 32 × 32, classed by photograph;
one label in twenty is that of another class. They lie in a folder as PNG, a folder for each class. Each step is a
process of its own, so CPU time includes its imports and memory is its own. Marginal figures compare one size with the
next smaller one, so that what a run costs in any case isn't counted. Memory is what the process can't drop; arrays in
files that are mapped into memory (`variorum.machine.scratch`) count in `peak_mb` alone. Limit: reading and decoding
every file once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rules_decide import photographs
from timing import anonymous_peak, measure, peak_mb

from variorum import pipeline
from variorum.arrays import Pixels
from variorum.edition.editions import beside, find
from variorum.edition.ledgers import read_ledger
from variorum.edition.store import Store
from variorum.reports.page.write import write_view
from variorum.sources.fashion_mnist import DEBIAN, idx_files
from variorum.sources.folders.idx import read_idx
from variorum.stages.job import Job
from variorum.stages.recipe_files import load_recipe

CLOTHES = 0.7
"""Share of Fashion-MNIST."""
SIDE = 32
LARGEST = 128
"""Longest side of a piece of a photograph before it is reduced to `SIDE`."""
PLAIN = 12.0
"""Pieces with a smaller standard deviation are left out: they show nothing."""
WRONG = 0.05
"""Share of wrong labels."""
STEPS = ("decode", "build", "curate", "release", "view", "again")
GROWTH, KB_PICTURE, FILES_UNIT = 1.1, 1.0, 4.0
"""Gates: CPU time of a picture at a size over that at the next smaller one; memory of a picture; files of a unit."""


def pieces(number: int, rng: np.random.Generator) -> tuple[list[Pixels], list[str]]:
    """Square pieces of photographs, reduced to `SIDE`, and the photographs' names."""
    found, names, packaged = list[Pixels](), list[str](), photographs()
    while len(found) < number:
        name = list(packaged)[len(found) % len(packaged)]
        picture, side = packaged[name], int(rng.integers(SIDE, LARGEST + 1))
        top, left = (int(rng.integers(size - side + 1)) for size in picture.shape[:2])
        piece = picture[top : top + side, left : left + side, 2::-1]
        piece = cv2.resize(piece, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        if piece.std() >= PLAIN:
            found.append(piece)
            names.append(name)
    return found, names


def clothes(number: int, folder: Path) -> tuple[list[Pixels], list[str]]:
    """The first pictures of Fashion-MNIST, training set first, and their classes."""
    parts = [[read_idx(file) for file in idx_files(part, folder)] for part in ("train", "t10k")]
    pictures, labels = (np.concatenate(arrays)[:number] for arrays in zip(*parts, strict=True))
    return list(pictures), [f"clothes_{label}" for label in labels.tolist()]


def write(number: int, to: Path, fashion: Path) -> None:
    """Write the pictures into a folder for each class."""
    rng = np.random.default_rng(0)
    some = round(number * CLOTHES)
    pictures, labels = (a + b for a, b in zip(clothes(some, fashion), pieces(number - some, rng), strict=True))
    classes = sorted(set(labels))
    for place in rng.choice(number, round(number * WRONG), replace=False).tolist():
        labels[place] = classes[(classes.index(labels[place]) + int(rng.integers(1, len(classes)))) % len(classes)]
    for name in classes:
        (to / name).mkdir(parents=True)
    for place, turn in enumerate(rng.permutation(number).tolist()):
        cv2.imwrite(str(to / labels[turn] / f"{place:06}.png"), pictures[turn])


def opened(folder: Path) -> Job:
    """The recipe on these pictures, with the small encoder."""
    source = ["source.name=image_folder", f"source.path={folder / 'pictures'}"]
    return Job(load_recipe("curate_folder", [*source, "curate.features.encoder=encoder"]), str(folder / "store"))


def decode(folder: Path) -> dict[str, Any]:
    """Read and decode every file once: the limit."""
    for file in folder.glob("pictures/*/*.png"):
        cv2.imread(str(file))
    return {}


def build(folder: Path) -> dict[str, Any]:
    """Build the edition."""
    manifest = pipeline.build(opened(folder))
    return {"units": len(manifest.units)}


def curate(folder: Path) -> dict[str, Any]:
    """Measure, score, decide, and write ledger and review queue."""
    job = opened(folder)
    manifest = pipeline.build(job)
    number, ledger = pipeline.curate(job, manifest)
    queue = Path(job.store.root) / beside(manifest, f"ledgers/{number:04d}.review.csv")
    settled = {action: sum(reasons.values()) for action, reasons in ledger.counts.items()}
    return {"settled": settled, "queue_mb": round(queue.stat().st_size / 1e6, 2)}


def release(folder: Path) -> dict[str, Any]:
    """Carry the ledger out."""
    job = opened(folder)
    manifest = pipeline.build(job)
    released = pipeline.release(job, manifest, *read_ledger(manifest, job.store))
    return {"pictures": released.pictures()}


def view(folder: Path) -> dict[str, Any]:
    """Write the page, which shows 10,000 pictures."""
    store = Store(str(folder / "store"))
    written = write_view(find("curate_folder", store), store)
    return {"rows": written.rows, "pictures": written.pictures, "mb": round(written.size / 1e6, 1)}


def again(folder: Path) -> dict[str, Any]:
    """Find everything done."""
    job = opened(folder)
    manifest = pipeline.build(job)
    pipeline.release(job, manifest, *pipeline.curate(job, manifest))
    return {}


def step(name: str, folder: Path) -> dict[str, Any]:
    """One step in this process, with its cost. CPU time is that since the process began."""
    work: Callable[[Path], dict[str, Any]] = globals()[name]
    found = list[dict[str, Any]]()
    with anonymous_peak() as kept:
        took = measure(lambda: found.append(work(folder)))
    cost = {"cpu_s": round(time.process_time(), 2), "others_used_cores": round(took.others, 2)}
    return {**found[0], **cost, "memory_mb": round(kept[0] / 2**20, 1), "peak_mb": round(peak_mb(), 1)}


def kept(folder: Path) -> Counter[str]:
    """Number and bytes of the store's files. An edition's links to its shards are no files of their own."""
    files = [file for file in (folder / "store").rglob("*") if file.is_file() and not file.is_symlink()]
    found = Counter[str]()
    for file in {file.stat().st_ino: file for file in files}.values():
        found["files"] += 1
        found["bytes"] += file.stat().st_size
    return found


def sized(number: int, folder: Path, fashion: Path) -> dict[str, Any]:
    """All steps at one size."""
    write(number, folder / "pictures", fashion)
    found = dict[str, Any]()
    for name in STEPS:
        before, command = kept(folder), [sys.executable, __file__, "--step", name, str(folder)]
        found[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        after = kept(folder)
        found[name] |= {what: after[what] - before[what] for what in ("files", "bytes")}
        print(number, name, json.dumps(found[name]), file=sys.stderr, flush=True)
    return found


def grown(sizes: list[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What a further picture and a further unit cost from each size to the next."""
    found = list[dict[str, Any]]()
    for (few, small), (many, large) in pairwise(sizes):
        more, units = many - few, large["build"]["units"] - small["build"]["units"]
        steps = {
            name: {
                "ms_a_picture": round((large[name]["cpu_s"] - small[name]["cpu_s"]) / more * 1000, 3),
                "kb_a_picture": round((large[name]["memory_mb"] - small[name]["memory_mb"]) / more * 1000, 2),
                "files_a_unit": round((large[name]["files"] - small[name]["files"]) / units, 2),
                "bytes_a_picture": round((large[name]["bytes"] - small[name]["bytes"]) / more),
            }
            for name in STEPS
        }
        found.append({"from": few, "to": many, "steps": steps})
    return found


def gates(growing: list[dict[str, Any]]) -> dict[str, Any]:
    """Which of the gates hold, by step, at the largest size."""
    last = growing[-1]["steps"]
    before = growing[-2]["steps"] if len(growing) > 1 else last
    return {
        name: {
            "growth": round(one["ms_a_picture"] / max(before[name]["ms_a_picture"], 1e-9), 2),
            "flat": one["ms_a_picture"] <= GROWTH * before[name]["ms_a_picture"],
            "memory": one["kb_a_picture"] <= KB_PICTURE,
            "files": one["files_a_unit"] <= FILES_UNIT,
        }
        for name, one in last.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--fashion", type=Path, default=DEBIAN, help="folder with Fashion-MNIST's files")
    parser.add_argument("--keep", type=Path, help="folder for pictures and stores, which stay there")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(step(options.step[0], Path(options.step[1]))))
        return
    sizes = list[tuple[int, dict[str, Any]]]()
    with tempfile.TemporaryDirectory() as place:
        for number in sorted(options.pictures):
            folder = (options.keep or Path(place)) / str(number)
            sizes.append((number, sized(number, folder, options.fashion)))
    growing = grown(sizes)
    print(json.dumps({"sizes": dict(sizes), "growth": growing, "gates": gates(growing) if growing else {}}, indent=1))


if __name__ == "__main__":
    main()
