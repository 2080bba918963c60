"""The queue of a panel: from opinions about pictures to a million questions, and from these into the database.

The opinions are simulated: two models, two detectors and a given label, of which each holds with a chance of its own.
Each size runs in its own process. Peer: the same rules for labels in doubt as a plain Python loop over the cells of a
part of the pictures. Limit: writing the finished table of questions as parquet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from timing import measure, peak_mb

from variorum.arrays import arrow_column
from variorum.kit.raters.candidates import candidate_cells
from variorum.machine.progress import QUIET
from variorum.people.panel.askable import Pictures
from variorum.people.panel.loading import load
from variorum.people.panel.panel import parquet_of
from variorum.people.panel.proposals import SURE
from variorum.people.panel.queue import counts, questions_of
from variorum.people.panel.settings import PanelRecord, Settings
from variorum.people.votes.database import open_database
from variorum.schemas.table import Table

CLASSES = 1000
RIGHT = (0.8, 0.85, 0.75, 0.8, 0.9)
"""Chance of each opinion to be the true class: two models, two detectors, the given label."""
SHARE = 10
"""The plain loop takes one picture in so many."""
MOST_SECONDS, MOST_GIB = 60.0, 4.0
"""For a million questions."""


def hexes(rng: np.random.Generator, rows: int, width: int) -> pa.Array:
    """Random texts of `width` hexadecimal digits."""
    digits = rng.bytes(rows * width // 2).hex().encode()
    ends = np.arange(0, len(digits) + 1, width, dtype=np.int32)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(ends), pa.py_buffer(digits))


def table_of(pictures: int) -> pa.Table:
    """Columns of an edition and of its detectors."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES, pictures)
    near = (truth + rng.integers(1, 6, pictures)) % CLASSES
    said = [np.where(rng.random(pictures) < right, truth, near) for right in RIGHT]
    p = rng.uniform(0.6, 1, (2, pictures, 1))
    top = np.stack([np.column_stack([one, np.where(one == truth, near, truth)]) for one in said[:2]])
    cells = candidate_cells(top, np.concatenate([p, 1 - p], axis=2), said[4])
    chances = np.zeros((len(cells), 2))
    for model in range(2):
        for guess in range(2):
            same = top[model, cells.picture, guess] == cells.label
            chances[same, model] = np.concatenate([p, 1 - p], axis=2)[model, cells.picture[same], guess]
    labels, held = np.full((pictures, 3), -1, np.int32), np.full((pictures, 3, 2), np.nan, np.float32)
    place = np.arange(len(cells)) - np.searchsorted(cells.picture, cells.picture)
    labels[cells.picture, place], held[cells.picture, place] = cells.label, chances
    names = [f"n{number:08d}" for number in range(CLASSES)]
    ends = pa.array(np.arange(pictures + 1, dtype=np.int32))
    return pa.table(
        {
            "id": hexes(rng, pictures, 32),
            "sha256": hexes(rng, pictures, 64),
            "label": said[4],
            "labels": pa.ListArray.from_arrays(ends, pa.array(names).take(pa.array(said[4]))),
            "neighbours.proposed": said[2],
            "early_learning.proposed": said[3],
            "candidates.proposals": arrow_column(labels),
            "candidates.chances": arrow_column(held.reshape(pictures, -1)),
        }
    )


def plain_loop(table: pa.Table) -> list[tuple[str, str, float]]:
    """Id, label and worth of the cells of pictures in doubt, the most informative first, evaluated on Python values."""
    sizes: dict[str, int] = defaultdict(int)
    rows = table.to_pylist()
    for row in rows:
        sizes[row["labels"][0]] += 1
    found = []
    for row in rows:
        votes: dict[str, float] = defaultdict(float)
        votes[row["labels"][0]] += 1
        for name in ("neighbours.proposed", "early_learning.proposed"):
            votes[f"n{row[name]:08d}"] += 1
        for place, label in enumerate(row["candidates.proposals"]):
            if label >= 0:
                votes[f"n{label:08d}"] += sum(row["candidates.chances"][2 * place : 2 * place + 2])
        q = {label: value / 5 for label, value in votes.items()}
        if any(1 - SURE < value < SURE for value in q.values()):
            kept = sorted(q, key=lambda label: (label != row["labels"][0], -q[label], label))[:8]
            cells = [(row["id"], label, 4 * q[label] * (1 - q[label]) / max(1, sizes[label]) ** 0.5) for label in kept]
            found.append((max(worth for _, _, worth in cells), cells))
    found.sort(key=lambda task: -task[0])
    return [cell for _, cells in found for cell in cells]


def measured(pictures: int, folder: Path) -> dict[str, Any]:
    """Seconds and memory of one size."""
    table = table_of(pictures)
    names = [(f"n{number:08d}", f"class {number}") for number in range(CLASSES)]
    settings, before = Settings(), peak_mb()
    held: dict[str, Any] = {}
    choosing = measure(lambda: held.update(questions=questions_of(Pictures.of(Table(table), names), settings)))
    questions, after = held["questions"], peak_mb()
    writing = measure(lambda: held.update(data=parquet_of(questions)))
    part = table.slice(0, max(1, pictures // SHARE))
    loop = measure(lambda: plain_loop(part))
    part_alone = measure(lambda: questions_of(Pictures.of(Table(part), names), settings))
    record = PanelRecord(
        name="main",
        dataset="benchmark",
        version="1.0.0",
        edition="0" * 64,
        ledger="",
        gold="",
        settings=settings,
        questions="1" * 64,
        counts=counts(questions),
    )
    engine = open_database(str(folder / "votes.sqlite"))
    before_load = peak_mb()
    loading = measure(lambda: load(engine, record, lambda: questions, QUIET))
    return {
        "pictures": pictures,
        **counts(questions),
        "choose_cpu_s": round(choosing.cpu, 2),
        "choose_wall_s": round(choosing.wall, 2),
        "choose_to_parquet_write": round(choosing.cpu / writing.cpu, 1),
        "loop_to_ours_on_a_part": round(loop.cpu / part_alone.cpu, 1),
        "loop_cells_a_second": round(len(plain_loop(part)) / loop.cpu),
        "cells_a_second": round(len(questions) / choosing.cpu),
        "memory_mb": round(after - before),
        "table_mb": round(table.nbytes / 2**20),
        "parquet_mb": round(len(held["data"]) / 2**20, 1),
        "load_cpu_s": round(loading.cpu, 1),
        "load_wall_s": round(loading.wall, 1),
        "load_memory_mb": round(max(0.0, peak_mb() - before_load)),
        "database_mb": round((folder / "votes.sqlite").stat().st_size / 2**20),
        "cores_used_by_others": round(choosing.others, 2),
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="*", default=[40_000, 400_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measured(arguments.one, Path(folder))))
        return
    found = []
    for pictures in arguments.pictures:
        command = [sys.executable, __file__, "--one", str(pictures)]
        found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    largest = found[-1]
    limits = {
        "choosing a million questions takes less than a minute": largest["choose_cpu_s"]
        / max(1, largest["questions"])
        * 1e6
        < MOST_SECONDS,
        "memory": largest["memory_mb"] / 1024 < MOST_GIB,
    }
    print(json.dumps({"review_queue": found, "within_limits": limits}, indent=2))


if __name__ == "__main__":
    main()
