"""The cost of `import variorum`, and of an edition's whole table in Python.

Importing is compared with `python -c pass`: the shortest of several processes each, with at most 0.2 s for the whole
process. The table is that of a million pictures in a hundred units, written by this project from the rows of a small
edition of photographs and edits with gates, with ids and hashes of their own. The peer is `pyarrow.dataset`, which
reads the same files without a check; the limit is a read of their bytes. A store hashes a file before it relies on it
for the first time in a process, and memory that is touched for the first time is slow, so `first` times opening and
reading in new processes, ours and the peer's in turn, after their imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rules_decide import hexes, tiles
from timing import measure, median, peak_mb, ratio, rounds

import variorum as va
from variorum.edition.editions import beside
from variorum.edition.records import to_json
from variorum.edition.store import Store
from variorum.edition.tables import keep_file
from variorum.schemas.manifest import Manifest, ShardInfo

MOST_IMPORT, MOST_TABLE = 0.2, 2.0
"""Seconds."""
UNIT = 10_000
"""Pictures per unit."""
GENERATOR = """
from variorum.schemas.component import Generator

class Darker(Generator):
    def edit(self, sample, of):
        yield sample
        for k in (1, 2, 3):
            pixels = sample.image // (k + 1)
            mean = float(pixels.mean())
            gates = {"bright": {"value": mean, "limit": ">= 20", "passed": mean >= 20}}
            yield of.made(pixels, variant=f"darker_{k}", requested={"k": k}, achieved={"mean": mean}, gates=gates)
"""


def seconds(code: str, processes: int = 5) -> float:
    """The shortest time of this many processes that run the code."""
    found = []
    for _ in range(processes):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        found.append(time.perf_counter() - began)
    return min(found)


def importing() -> dict[str, Any]:
    """Time of a process that imports the package, and of one that does nothing."""
    plain, ours, opens = (seconds(code) for code in ("pass", "import variorum", "import variorum; variorum.open"))
    return {
        "process_s": round(ours, 3),
        "process_with_first_name_s": round(opens, 3),
        "to_python_pass": round(ours / plain, 2),
        "goal": f"process_s <= {MOST_IMPORT}",
        "met": ours <= MOST_IMPORT,
    }


def enlarged(small: va.Edition, rows: int) -> Manifest:
    """An edition with this number of rows drawn from a small one, whose tables are in the same store."""
    table, units = small.table().combine_chunks(), []
    for start in range(0, rows, UNIT):
        rng, size = np.random.default_rng(start), min(UNIT, rows - start)
        drawn = table.take(np.sort(rng.integers(len(table), size=size)))
        ids = hexes(rng.bytes(16 * size), 32)
        new = {"id": ids, "source": ids, "photograph": ids, "sha256": hexes(rng.bytes(32 * size), 64)}
        for name, column in new.items():
            drawn = drawn.set_column(drawn.column_names.index(name), name, column)
        write = lambda file, unit=drawn: pq.write_table(unit, file, compression="zstd")  # noqa: E731
        units.append(keep_file(Store(small.store.url), size, write))
    return with_units(small.manifest, units)


def with_units(small: Manifest, units: list[ShardInfo]) -> Manifest:
    """A manifest with other tables; it names no shards, as no picture is read."""
    keys = [f"{number:064x}" for number in range(len(units))]
    recipe = {**small.recipe, "dataset": "large"}
    new = {"dataset": "large", "rows": units, "units": keys, "shards": {}, "recipe": recipe}
    return small.model_copy(update=new)


def reading(folder: Path, turns: int) -> dict[str, Any]:
    """Read the table in this process; the cost, and that of the peer and the limit."""
    import pyarrow.dataset as ds

    found: list[int] = []
    edition, files = opened(folder)
    table = edition.table()
    some = ["id", "variant", "status", "label"]
    work = {
        "ours": lambda: edition.table(),
        "ours_four_columns": lambda: edition.table(some),
        "pyarrow_dataset": lambda: ds.dataset(files).to_table(),
        "pyarrow_dataset_four_columns": lambda: ds.dataset(files).to_table(some),
        "bytes": lambda: [found.append(len(Path(file).read_bytes())) for file in files],
    }
    assert work["pyarrow_dataset"]().equals(table)
    timed = rounds(work, turns)
    return {
        "rows": len(table),
        "columns": len(table.column_names),
        "files": len(files),
        "file_mb": round(sum(Path(file).stat().st_size for file in files) / 1e6, 1),
        "memory_mb": round(table.nbytes / 1e6, 1),
        "wall_s": {name: round(median(timed, name, "wall"), 3) for name in work},
        "cpu_s": {name: round(median(timed, name), 3) for name in work},
        "to_pyarrow_dataset_wall": ratio(timed, "ours", "pyarrow_dataset", "wall"),
        "to_pyarrow_dataset_cpu": ratio(timed, "ours", "pyarrow_dataset"),
        "four_columns_to_pyarrow_dataset_cpu": ratio(timed, "ours_four_columns", "pyarrow_dataset_four_columns"),
        "to_the_limit_wall": ratio(timed, "ours", "bytes", "wall"),
        "others_used_cores": round(max(one.others for turn in timed for one in turn.values()), 2),
    }


def opened(folder: Path) -> tuple[va.Edition, list[str]]:
    """The large edition, and the files of its table."""
    edition = va.open("large", str(folder / "store"))
    return edition, [str(edition.store.path(info, ".parquet", check=False)) for info in edition.manifest.rows]


def once(folder: Path, who: str) -> dict[str, float]:
    """The first reading in this process."""
    import pyarrow.dataset as ds

    files = opened(folder)[1] if who == "pyarrow_dataset" else []
    work = {
        "ours": lambda: va.open("large", str(folder / "store")).table(),
        "pyarrow_dataset": lambda: ds.dataset(files).to_table(),
    }
    took = measure(work[who])
    return {
        "wall_s": took.wall,
        "cpu_s": took.cpu,
        "others_used_cores": took.others,
        "peak_gib": peak_mb() / 1024,
    }


def first(folder: Path, turns: int) -> dict[str, Any]:
    """First readings in new processes: medians."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "pyarrow_dataset": []}
    for _ in range(turns):
        for who, timed in found.items():
            timed.append(child("--first", str(folder), "--who", who))
    report: dict[str, Any] = {
        who: {name: round(statistics.median(one[name] for one in timed), 2) for name in timed[0]}
        for who, timed in found.items()
    }
    for what in ("wall_s", "cpu_s"):
        pairs = zip(*found.values(), strict=True)
        report[f"to_pyarrow_dataset_{what}"] = round(statistics.median(a[what] / b[what] for a, b in pairs), 2)
    shortest = round(min(one["wall_s"] for one in found["ours"]), 2)
    goal = f"shortest_wall_s <= {MOST_TABLE}"
    return {**report, "shortest_wall_s": shortest, "goal": goal, "met": shortest <= MOST_TABLE}


def child(*words: str) -> Any:
    """Return what this program prints with these options in a new process."""
    command = [sys.executable, __file__, *words]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--read", type=Path, help="read what another process left in this folder")
    parser.add_argument("--first", type=Path, help="read it once")
    parser.add_argument("--who", default="ours")
    options = parser.parse_args()
    if options.first:
        print(json.dumps(once(options.first, options.who)))
        return
    if options.read:
        print(json.dumps(reading(options.read, options.rounds)))
        return
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "darker.py").write_text(GENERATOR)
        source = {"name": "image_folder", "path": tiles(place / "photos")}
        generate = [{"name": str(place / "darker.py")}]
        fields = {"dataset": "small", "version": "1.0.0", "source": source, "generate": generate}
        small = va.run(fields, store=str(place / "store"), progress=False)
        large, store = enlarged(small, options.rows), Store(str(place / "store"))
        store.put(beside(large, "manifest.json"), to_json(large))
        report = {
            "import": importing(),
            "first": first(place, options.rounds),
            "again": child("--read", name, "--rounds", str(options.rounds)),
        }
    print(json.dumps({**report, "met": report["import"]["met"] and report["first"]["met"]}, indent=1))


if __name__ == "__main__":
    main()
