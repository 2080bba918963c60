"""Deciding and scoring a million and ten million pictures, from the tables in a store to a ledger and a review queue.

The steps, rules and columns are those of the recipe `curate_folder`. They come from a curation of a few hundred tiles
of packaged photographs, some with a wrong label. Its rows are resampled into a hundred times as many classes, with ids
and hashes of their own, and written block by block. Each stage runs in its own process: deciding, and scoring by
detectors that read numbers only. Peer: the recipe's rules in a plain Python loop over a hundredth of the rows. Limit:
reading every column once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from timing import Timing, measure, peak_mb

from variorum import pipeline
from variorum.arrays import Ints, Pixels, scalar_columns
from variorum.curation.rules.policy import Policy
from variorum.curation.rules.rule import Condition
from variorum.edition.editions import read_beside
from variorum.edition.lazy_columns import WideTable
from variorum.edition.store import Store
from variorum.edition.tables import keep_file
from variorum.edition.verdicts import read_verdicts
from variorum.schemas.manifest import Ledger, Manifest, ShardInfo
from variorum.stages.decide import decide
from variorum.stages.job import Job
from variorum.stages.recipe_files import load_recipe
from variorum.stages.score import Columns, Score, Scoring, add_columns, picture_table

MOST_GIB = 8.0
TILES, SIDE = 25, 96
WRONG = 5
"""One tile in this many has the label of the next class."""
COPIES = 100
"""Number of copies of each class of the tiles."""
UNIT = 10_000
"""Pictures per unit of the edition."""
BLOCK = 1 << 20
"""Rows that are made at a time: a row group of a table of the whole edition."""
SHARE = 100
"""The plain loop takes one row in so many."""
SCORED = ("quality", "small_loss")
"""Detectors that are timed too. `labels_scale.py` times those that read vectors."""
OWN = ("source", "photograph")
"""Columns that are the id: every picture is a photograph of its own."""


def photographs() -> dict[str, Pixels]:
    """The photographs inside scikit-learn and scikit-image, by name."""
    import skimage.data
    from sklearn.datasets import load_sample_image

    found = {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    for name in (
        "brick",
        "chelsea",
        "coffee",
        "grass",
        "gravel",
        "hubble_deep_field",
        "immunohistochemistry",
        "retina",
        "rocket",
    ):
        picture = getattr(skimage.data, name)()
        found[name] = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return found


def tiles(folder: Path) -> Path:
    """Tiles of the photographs, in one folder per label."""
    rng = np.random.default_rng(0)
    pictures = photographs()
    names = list(pictures)
    for place, name in enumerate(names):
        for number in range(TILES):
            top, left = (int(rng.integers(size - SIDE + 1)) for size in pictures[name].shape[:2])
            label = names[(place + (number % WRONG == 0)) % len(names)]
            (folder / label).mkdir(parents=True, exist_ok=True)
            tile = pictures[name][top : top + SIDE, left : left + SIDE, ::-1]
            cv2.imwrite(str(folder / label / f"{name}_{number}.png"), tile)
    return folder


@dataclass(frozen=True)
class Enlarged:
    """A small edition and its detectors' tables, drawn from again and again."""

    manifest: Manifest
    ledger: Ledger
    store: Store
    rows: int
    copies: int = COPIES

    def tables(self) -> tuple[Manifest, Columns]:
        """An edition with this number of rows and its detectors' tables, without any pictures."""
        names = [f"{class_id}_{number}" for number in range(self.copies) for class_id, _ in self.manifest.classes]
        units = self._units(self._small(self.manifest.rows), names)
        classes = [(name, name) for name in names]
        keys = [f"{number:064x}" for number in range(len(units))]
        large = self.manifest.model_copy(update={"classes": classes, "rows": units, "units": keys, "shards": {}})
        measured = {step: self._units(self._small(parts), names) for step, parts in self.ledger.measured.items()}
        scored = {step: self._whole(self._small([part]), names) for step, part in self.ledger.scored.items()}
        return large, Columns(measured, scored)

    def _small(self, parts: list[ShardInfo]) -> pa.Table:
        paths = [self.store.path(info, ".parquet") for info in parts]
        tables = [pq.read_table(path, columns=scalar_columns(pq.read_schema(path))) for path in paths]
        return pa.concat_tables(tables, promote_options="default").combine_chunks()

    def _units(self, small: pa.Table, names: list[str]) -> list[ShardInfo]:
        found = []
        for table in self._blocks(small, names):
            for start in range(0, len(table), UNIT):
                unit = table.slice(start, UNIT)
                found.append(self._keep(lambda writer, unit=unit: writer.write_table(unit), unit.schema, len(unit)))
        return found

    def _whole(self, small: pa.Table, names: list[str]) -> ShardInfo:
        def write(writer: pq.ParquetWriter) -> None:
            for table in self._blocks(small, names):
                writer.write_table(table, BLOCK)

        return self._keep(write, small.schema, self.rows)

    def _blocks(self, small: pa.Table, names: list[str]) -> Iterator[pa.Table]:
        """The rows of a table, the same draw for each table."""
        for start in range(0, self.rows, BLOCK):
            rng = np.random.default_rng(start)
            size = min(BLOCK, self.rows - start)
            drawn, group = rng.integers(len(small), size=size), rng.integers(self.copies, size=size)
            keys = {"id": hexes(rng.bytes(16 * size), 32), "sha256": hexes(rng.bytes(32 * size), 64)}
            yield self._drawn(small, drawn, group, keys, names)

    def _drawn(self, small: pa.Table, drawn: Ints, group: Ints, keys: Mapping[str, Any], names: list[str]) -> pa.Table:
        table, classes = small.take(drawn), len(self.manifest.classes)
        for place, field in enumerate(table.schema):
            column = table.column(place)
            if field.name in keys or field.name in OWN:
                column = keys.get(field.name, keys["id"])
            elif field.name == "label" or field.name.endswith((".proposed", ".predicted")):
                index = column.to_numpy()
                column = pa.array(np.where(index >= 0, index + group * classes, index))
            elif field.name == "labels":
                texts = pa.array(names).take(table.column("label").combine_chunks())
                ends = pa.array(np.arange(len(drawn) + 1, dtype=np.int32))
                column = pa.ListArray.from_arrays(ends, texts, type=field.type)
            elif field.name == "duplicates.keeper":  # of a copy, the picture before it
                row = np.arange(len(drawn))
                column = keys["id"].take(np.where(table.column("duplicates.keep").to_numpy(), row, row - 1) % len(row))
            table = table.set_column(place, field, column)
        return table

    def _keep(self, write: Callable[[pq.ParquetWriter], object], schema: pa.Schema, rows: int) -> ShardInfo:
        def written(file: Any) -> None:
            with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
                write(writer)

        return keep_file(self.store, rows, written)


def hexes(data: bytes, width: int) -> pa.Array:
    """Texts of `width` hexadecimal digits."""
    digits = data.hex().encode()
    ends = np.arange(0, len(digits) + 1, width, dtype=np.int32)
    return pa.StringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(digits))


def columns_of(job: Job, manifest: Manifest, columns: Columns) -> WideTable:
    """The table that the deciders read."""
    table = picture_table(manifest, job.store)
    for step in job.recipe.curate:
        table = add_columns(table, columns, step.component_name(), job.store, vectors=False)
    return table


def plain_loop(policy: Policy, table: pa.Table) -> list[str]:
    """For each row the reason of the first rule that matches, evaluated on Python values; `""` if none matches."""

    def passes(test: Condition, row: Mapping[str, Any]) -> bool:
        value = row[test.column]
        bounds = (
            (test.above, lambda limit: value > limit),
            (test.at_least, lambda limit: value >= limit),
            (test.below, lambda limit: value < limit),
            (test.at_most, lambda limit: value <= limit),
            (test.equals, lambda limit: value == limit),
            (test.same_as or None, lambda other: value == row[other]),
        )
        tests: list[tuple[Any, Callable[[Any], bool]]] = list(bounds)
        return all(limit is None or holds(limit) for limit, holds in tests)

    return [
        next((rule.reason for rule in policy.rules if all(passes(test, row) for test in rule.when)), "")
        for row in table.to_pylist()
    ]


def opened(folder: Path) -> tuple[Job, Manifest, Columns]:
    """Read what another process left in the folder."""
    job = Job(load_recipe("curate_folder"), str(folder / "store"), trust=True)
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    ledger = Ledger.model_validate_json((folder / "columns.json").read_text())
    return job, manifest, Columns(ledger.measured, ledger.scored)


def deciding(folder: Path) -> dict[str, Any]:
    """Decide in this process; the cost, and what came of it."""
    job, manifest, columns = opened(folder)
    made: list[tuple[int, Ledger]] = []
    took = measure(lambda: made.append(decide(job, manifest, columns)))
    peak = peak_mb() / 1024
    number, ledger = made[0]
    said = read_verdicts(ledger.verdicts, job.store)
    table = columns_of(job, manifest, columns)
    loop = checked_loop(job, table, said)
    limit = measure(lambda: sum(len(table.column(name)) for name in table.column_names))
    queue = read_beside(manifest, f"ledgers/{number:04d}.review.csv", job.store) or b""
    return {
        "what": f"{table.num_rows} pictures of {len(manifest.classes)} classes by {len(table.column_names)} columns",
        "verdicts": len(said),
        "settled": {action: sum(reasons.values()) for action, reasons in ledger.counts.items()},
        "queue_lines": queue.count(b"\n"),
        **cost(took, peak),
        "reading_every_column_cpu_s": round(limit.cpu, 2),
        "rules_in_a_plain_loop_to_stage_cpu": round(loop.cpu * SHARE / took.cpu, 2),
    }


def checked_loop(job: Job, table: WideTable, said: pa.Table) -> Timing:
    """The time of the plain loop over the first rows, whose reasons must be those of the verdicts."""
    policy = next(step for step in job.recipe.curate if isinstance(step, Policy))
    names = sorted({name for rule in policy.rules for name in rule.columns()})
    some = slice(0, len(table) // SHARE)
    part = pa.table({name: table.column(name)[some] for name in names})
    looped: list[str] = []
    took = measure(lambda: looped.extend(plain_loop(policy, part)))
    ids = table.column("id")[some]
    mine = said.filter(pc.and_(pc.equal(said["by"], "policy"), pc.not_equal(said["action"], "note")))
    mine = mine.filter(pc.is_in(mine["id"], ids.combine_chunks()))
    reasons = dict(zip(mine["id"].to_pylist(), mine["reason"].to_pylist(), strict=True))
    for name, reason in zip(ids.to_pylist(), looped, strict=True):
        if reason != "copy":  # it may have to stay in place of another
            assert reasons.get(name, "").startswith(reason)
            assert reason or name not in reasons
    return took


def scoring(folder: Path, detector: str) -> dict[str, Any]:
    """Score with one detector in this process; the cost."""
    job, manifest, columns = opened(folder)
    scored = {name: info for name, info in columns.scored.items() if name != detector}
    stage = Score(job, manifest, detector, replace(columns, scored=scored))
    took = measure(lambda: stage.make(Scoring(detector, "benchmark"), lambda _: None))
    return cost(took, peak_mb() / 1024)


def cost(took: Timing, peak: float) -> dict[str, Any]:
    """A stage's cost as the report has it."""
    return {
        "cpu_s": round(took.cpu, 2),
        "wall_s": round(took.wall, 2),
        "others_used_cores": round(took.others, 2),
        "peak_gib": round(peak, 2),
        "within_8_gib": peak <= MOST_GIB,
    }


def make(rows: int, folder: Path) -> None:
    """Make an edition with this number of rows in a folder; `opened` opens it."""
    source = ["source.name=image_folder", f"source.path={tiles(folder / 'photos')}"]
    settings = [*source, "curate.features.encoder=encoder"]
    job = Job(load_recipe("curate_folder", settings), str(folder / "store"))
    small = pipeline.build(job)
    _, ledger = pipeline.curate(job, small)
    large, columns = Enlarged(small, ledger, job.store, rows).tables()
    (folder / "manifest.json").write_text(large.model_dump_json())
    kept = ledger.model_copy(update={"measured": columns.measured, "scored": columns.scored})
    (folder / "columns.json").write_text(kept.model_dump_json())


def sized(rows: int, folder: Path) -> dict[str, Any]:
    """Make an edition with this number of rows, and run each stage in a process of its own."""
    make(rows, folder)
    stages = {"decide": [], **{f"score {detector}": ["--score", detector] for detector in SCORED}}
    found = {}
    for name, more in stages.items():
        command = [sys.executable, __file__, "--stage", str(folder), *more]
        found[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--stage", type=Path, help="work on the data that another process left in this folder")
    parser.add_argument("--score", help="the detector that scores; decide without it")
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(scoring(options.stage, options.score) if options.score else deciding(options.stage)))
        return
    report: dict[str, Any] = {"goal": f"peak_gib <= {MOST_GIB:g}", "sizes": {}}
    for rows in sorted(options.rows):
        with tempfile.TemporaryDirectory() as place:
            report["sizes"][str(rows)] = sized(rows, Path(place))
    first, *_, last = [*report["sizes"].values(), *report["sizes"].values()]
    report["met"] = all(stage["within_8_gib"] for size in report["sizes"].values() for stage in size.values())
    report["growth"] = {
        name: {what: round(last[name][what] / first[name][what], 2) for what in ("cpu_s", "peak_gib")} for name in first
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
