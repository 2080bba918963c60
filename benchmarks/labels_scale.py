"""Scoring a million and more pictures by the detectors of `curate_folder` that read vectors: time and memory.

The edition is that of `rules_decide.py`, with 99 classes and embeddings: those of tiles of packaged photographs, moved
by an offset of each class and by noise. A fifth of the labels is wrong. Each detector scores in a process of its own
and reads what those before it scored. Memory is what the process can't drop: arrays in files that are mapped into
memory (`variorum.machine.scratch`) are written to disk and dropped if memory gets short.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rules_decide import MOST_GIB, Enlarged, tiles
from timing import anonymous_peak, measure

from variorum import pipeline
from variorum.arrays import Ints, arrow_column
from variorum.schemas.manifest import Ledger, Manifest, ShardInfo
from variorum.stages.job import Job
from variorum.stages.recipe_files import load_recipe
from variorum.stages.score import Columns, Score, Scoring

DETECTORS = (
    "neighbours",
    "probabilities",
    "training_dynamics",
    "small_loss",
    "early_learning",
    "confident_learning",
    "out_of_distribution",
    "linear_separation",
    "new_label",
    "suspicion",
)
WIDTH, COPIES = 512, 9
OFFSET, NOISE = 0.6, 0.25
"""Length of a class's offset, and of the noise, for embeddings of length 1."""
EMBEDDING = "features.embedding"


@dataclass(frozen=True)
class WithVectors(Enlarged):
    """An enlarged edition whose table of features has embeddings."""

    def _small(self, parts: list[ShardInfo]) -> pa.Table:
        table = super()._small(parts)
        paths = [self.store.path(info, ".parquet") for info in parts]
        if EMBEDDING not in pq.read_schema(paths[0]).names:
            return table
        column = pa.concat_tables([pq.read_table(path, columns=[EMBEDDING]) for path in paths]).combine_chunks()
        return table.append_column(EMBEDDING, column.column(0))

    def _drawn(self, small: pa.Table, drawn: Ints, group: Ints, keys: Any, names: list[str]) -> pa.Table:
        if EMBEDDING not in small.column_names:
            return super()._drawn(small, drawn, group, keys, names)
        place = small.column_names.index(EMBEDDING)
        table = super()._drawn(small.remove_column(place), drawn, group, keys, names)
        chunk = small.column(place).combine_chunks()
        own = chunk.flatten().to_numpy().astype(np.float32).reshape(len(small), -1)[:, :WIDTH]
        own = np.pad(own / np.linalg.norm(own, axis=1, keepdims=True), ((0, 0), (0, WIDTH - own.shape[1])))
        rng = np.random.default_rng(int(drawn[0]))
        offsets = np.random.default_rng(1).standard_normal((self.copies, WIDTH), np.float32) * OFFSET / WIDTH**0.5
        found = np.empty((len(drawn), WIDTH), np.float16)
        for start in range(0, len(drawn), 4096):
            rows = slice(start, start + 4096)
            noise = rng.standard_normal((len(drawn[rows]), WIDTH), np.float32) * np.float32(NOISE / WIDTH**0.5)
            found[rows] = own[drawn[rows]] + offsets[group[rows]] + noise
        return table.append_column(EMBEDDING, pa.chunked_array([arrow_column(found)]))


def opened(folder: Path, settings: list[str]) -> tuple[Job, Manifest, Ledger]:
    """Read what other processes left in the folder."""
    job = Job(load_recipe("curate_folder", settings), str(folder / "store"), trust=True)
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    return job, manifest, Ledger.model_validate_json((folder / "columns.json").read_text())


def make(rows: int, folder: Path) -> None:
    """Make an edition with this number of rows in a folder."""
    source = ["source.name=image_folder", f"source.path={tiles(folder / 'photos')}"]
    job = Job(load_recipe("curate_folder", [*source, "curate.features.encoder=encoder"]), str(folder / "store"))
    small = pipeline.build(job)
    _, ledger = pipeline.curate(job, small)
    kept = {step: ledger.scored[step] for step in ("quality", "duplicates")}
    ledger = ledger.model_copy(update={"scored": kept})
    large, columns = WithVectors(small, ledger, job.store, rows, COPIES).tables()
    (folder / "manifest.json").write_text(large.model_dump_json())
    ledger = ledger.model_copy(update={"measured": columns.measured, "scored": columns.scored})
    (folder / "columns.json").write_text(ledger.model_dump_json())


def scoring(folder: Path, detector: str, settings: list[str]) -> dict[str, Any]:
    """Score with one detector in this process, keep its columns for the next ones, and say what it cost."""
    job, manifest, ledger = opened(folder, settings)
    columns = Columns(ledger.measured, ledger.scored)
    stage = Score(
        job, manifest, detector, replace(columns, scored={n: i for n, i in ledger.scored.items() if n != detector})
    )
    made: list[Any] = []
    with anonymous_peak() as peak:
        took = measure(lambda: made.append(stage.make(Scoring(detector, f"benchmark {detector}"), lambda _: None)))
    scored = {**ledger.scored, **made[0].tables}
    (folder / "columns.json").write_text(ledger.model_copy(update={"scored": scored}).model_dump_json())
    path = job.store.path(made[0].tables[detector], ".parquet")
    names = pq.read_schema(path).names
    more = {}
    for name in ("flag", "recall"):
        if f"{detector}.{name}" in names:
            more[name] = round(float(np.nanmean(pq.read_table(path, columns=[f"{detector}.{name}"])[0].to_numpy())), 4)
    rows = sum(info.samples for info in manifest.rows)
    return {
        "cpu_s": round(took.cpu, 1),
        "cpu_ms_a_picture": round(1000 * took.cpu / rows, 3),
        "wall_s": round(took.wall, 1),
        "others_used_cores": round(took.others, 2),
        "peak_gib": round(peak[0] / 2**30, 2),
        "within_8_gib": peak[0] <= MOST_GIB * 2**30,
        **more,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--only", nargs="+", default=DETECTORS, help="detectors to run, in this order")
    parser.add_argument("--set", action="append", default=[], help="another setting of the recipe")
    parser.add_argument("--folder", type=Path, help="keep the edition here and go on with what is there")
    parser.add_argument("--score", help="score with this detector, on what is in the folder")
    options = parser.parse_args()
    if options.score:
        print(json.dumps(scoring(options.folder, options.score, options.set)))
        return
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as place:
            folder = options.folder / str(rows) if options.folder else Path(place)
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "columns.json").exists():
                make(rows, folder)
            settings = [word for setting in options.set for word in ("--set", setting)]
            for detector in options.only:
                command = [sys.executable, __file__, "--folder", str(folder), "--score", detector, *settings]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                print(json.dumps({"rows": rows, "detector": detector, **found}), flush=True)


if __name__ == "__main__":
    main()
