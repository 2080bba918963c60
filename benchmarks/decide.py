"""The stage `decide` on a million pictures: from the side tables in a store to a ledger and people's queue.

The steps, rules and columns are those of the recipe `curate_folder`, from a curation of a few hundred tiles of packaged
photographs, some with another's label: its rows are drawn again and again, into a hundred times as many classes. The
stage runs in a process of its own. Peer: the recipe's rules in a plain loop over a hundredth of the rows. Limit:
reading the same columns.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from timing import measure, peak_mb

from curation.policy import Condition, Policy
from schemas.manifest import Ledger, Manifest, ShardInfo
from schemas.recipe import Recipe
from variorum.columns import scalar_columns
from variorum.context import open_context
from variorum.curate import Columns, add_columns, curate, decide, picture_table
from variorum.engine import build
from variorum.ledgers import read_verdicts
from variorum.recipes import load_recipe
from variorum.store import Store

MOST_SECONDS, MOST_GIB = 30.0, 4.0
TILES, SIDE = 25, 96
WRONG = 5
"""Every so manyth tile has the next class's label."""
COPIES = 100
"""How often the classes of the tiles are there."""
UNIT = 1000
"""Pictures a unit of the edition."""


def photographs() -> dict[str, NDArray[np.uint8]]:
    """Photographs that scikit-learn and scikit-image ship, by name."""
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
    """A folder a photograph, of tiles of it."""
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


def enlarged(manifest: Manifest, ledger: Ledger, rows: int, store: Store) -> tuple[Manifest, Columns]:
    """An edition of so many rows, and its side tables; there are no pictures behind them."""
    rng = np.random.default_rng(0)
    drawn, group = rng.integers(picture_table(manifest, store).num_rows, size=rows), rng.integers(COPIES, size=rows)
    names = np.array([f"{class_id}_{number}" for number in range(COPIES) for class_id, _ in manifest.classes])
    keys = {"id": [f"{number:032x}" for number in range(rows)], "sha256": [f"{number:064x}" for number in range(rows)]}

    def draw(parts: list[ShardInfo]) -> pa.Table:
        paths = [store.path(info, ".parquet") for info in parts]
        table = pa.concat_tables([pq.read_table(path, columns=scalar_columns(pq.read_schema(path))) for path in paths])
        table = table.take(drawn)
        for place, name in enumerate(table.column_names):
            column = table.column(name)
            if name in keys:
                column = pa.array(keys[name])
            elif name == "label" or name.endswith((".proposed", ".predicted")):
                index = column.to_numpy()
                column = pa.array(np.where(index >= 0, index + group * len(manifest.classes), index))
            elif name == "labels":
                column = pa.array(names[table.column("label").to_numpy()][:, None].tolist())
            table = table.set_column(place, name, column)
        return table

    table = draw(manifest.rows)
    units = [keep(table.slice(start, UNIT), store) for start in range(0, rows, UNIT)]
    large = manifest.model_copy(update={"dataset": "large", "classes": [(name, name) for name in names], "rows": units})
    measured = {step: [keep(draw(parts), store)] for step, parts in ledger.measured.items()}
    return large, Columns(measured, {step: keep(draw([part]), store) for step, part in ledger.scored.items()})


def keep(table: pa.Table, store: Store) -> ShardInfo:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return store.keep_bytes(sink.getvalue(), ".parquet", samples=table.num_rows)


def columns_of(recipe: Recipe, manifest: Manifest, columns: Columns, store: Store) -> pa.Table:
    """The table that the steps decide by."""
    table = picture_table(manifest, store)
    for step in recipe.curate:
        table = add_columns(table, columns, step.component_name(), store, vectors=False)
    return table


def plain_loop(policy: Policy, table: pa.Table) -> list[str]:
    """The reason of the first rule that matches each row, by Python values; empty where none does."""

    def passes(test: Condition, row: Mapping[str, Any]) -> bool:
        value = row[test.column]
        bounds = (
            (test.above, lambda limit: value > limit),
            (test.at_least, lambda limit: value >= limit),
            (test.below, lambda limit: value < limit),
            (test.at_most, lambda limit: value <= limit),
            (test.equals, lambda limit: value == limit),
        )
        tests: list[tuple[Any, Callable[[Any], bool]]] = list(bounds)
        return all(limit is None or holds(limit) for limit, holds in tests)

    names = sorted({name for rule in policy.rules for name in rule.columns()})
    return [
        next((rule.reason for rule in policy.rules if all(passes(test, row) for test in rule.when)), "")
        for row in table.select(names).to_pylist()
    ]


def stage(folder: Path) -> None:
    """Decide in this process; print what it took."""
    recipe = load_recipe("curate_folder")
    store, ctx = Store(str(folder / "store")), open_context(recipe, "embedded")
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    ledger = Ledger.model_validate_json((folder / "columns.json").read_text())
    columns = Columns(ledger.measured, ledger.scored)
    made: list[tuple[int, Ledger]] = []
    took = measure(lambda: made.append(decide(recipe, manifest, columns, ctx, store)))
    peak = peak_mb() / 1024
    (number, ledger), verdicts = made[0], read_verdicts(made[0][1], store)
    table = columns_of(recipe, manifest, columns, store)
    part = table.slice(0, table.num_rows // 100)
    policy = next(step for step in recipe.curate if isinstance(step, Policy))
    looped: list[str] = []
    loop = measure(lambda: looped.extend(plain_loop(policy, part)))
    known = set(part.column("id").to_pylist())
    assert sum(map(bool, looped)) == sum(one.by == "policy" and one.id in known for one in verdicts)
    limit = measure(lambda: columns_of(recipe, manifest, columns, store))
    queue = store.read_beside(manifest, f"ledgers/{number:04d}.review.csv") or b""
    report = {
        "what": f"{table.num_rows} pictures of {len(manifest.classes)} classes by {table.num_columns} columns",
        "verdicts": len(verdicts),
        "settled": {action: sum(reasons.values()) for action, reasons in ledger.counts.items()},
        "queue_lines": queue.count(b"\n"),
        "goal": f"cpu_s <= {MOST_SECONDS}, peak_gib <= {MOST_GIB}",
        "cpu_s": {"stage": round(took.cpu, 2), "reading_the_columns": round(limit.cpu, 2)},
        "wall_s": round(took.wall, 2),
        "others_used_cores": round(took.others, 2),
        "rules_in_a_plain_loop_to_stage_cpu": round(loop.cpu * 100 / took.cpu, 2),
        "peak_gib": round(peak, 2),
        "met": took.cpu <= MOST_SECONDS and peak <= MOST_GIB,
    }
    print(json.dumps(report, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stage", type=Path, help="decide on what another process left in this folder")
    options = parser.parse_args()
    if options.stage:
        stage(options.stage)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = ["source.name=image_folder", f"source.path={tiles(folder / 'photos')}"]
        recipe = load_recipe("curate_folder", settings)
        store, ctx = Store(str(folder / "store")), open_context(recipe, "embedded")
        small = build(recipe, ctx, store, profile="embedded")
        _, ledger = curate(recipe, small, ctx, store)
        large, columns = enlarged(small, ledger, options.rows, store)
        (folder / "manifest.json").write_text(large.model_dump_json())
        kept = ledger.model_copy(update={"measured": columns.measured, "scored": columns.scored})
        (folder / "columns.json").write_text(kept.model_dump_json())
        subprocess.run([sys.executable, __file__, "--stage", str(folder)], check=True)


if __name__ == "__main__":
    main()
