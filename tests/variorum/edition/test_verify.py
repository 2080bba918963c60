"""`verify` notices what the hashes of files can't: tables and manifests that were changed and hashed again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from variorum.edition.shards import read_shard, stored_size
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.pipeline import Job, build
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

SOURCE = """
from dataclasses import replace
from variorum.sources.image_folder import ImageFolder
from variorum.schemas.annotations import Annotations, Object

class Marked(ImageFolder):
    def annotated(self, ctx): return True
    def read(self, start, stop, ctx):
        for item in super().read(start, stop, ctx):
            number = int(item.origin[2:4])
            marked = Annotations((Object((1, 2, 3, 4)),)) if number % 2 else Annotations()
            yield replace(item, annotations=marked, reason="odd" if number == 5 else "", metadata={"third": number % 3})
"""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory) -> tuple[Manifest, Store]:
    """Sixteen pictures in two units, two splits, three configurations and the quarantine; half of them annotated."""
    folder = tmp_path_factory.mktemp("marked")
    rng = np.random.default_rng(7)
    (folder / "photos" / "a").mkdir(parents=True)
    for number in range(16):
        pixels = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / "a" / f"{number:02d}.png")
    (folder / "marked.py").write_text(SOURCE)
    fields: dict[str, Any] = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 8, "configs": "third"}
    fields["source"] = {"name": str(folder / "marked.py"), "path": str(folder / "photos")}
    store = Store(str(folder / "store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        return build(Job(Recipe.parse({**fields, "splits": {"test": 0.5}}), store)), store


def with_rows(sealed: tuple[Manifest, Store], change: Callable[[list[dict[str, Any]]], object]) -> list[str]:
    """The problems after a change to the first unit's rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    manifest, store = sealed
    table = read_table(store, manifest.rows[:1])
    rows = table.to_pylist()
    change(rows)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), sink)
    info = store.keep_bytes(sink.getvalue(), ".parquet", samples=len(rows))
    return verify(manifest.model_copy(update={"rows": [info, *manifest.rows[1:]]}), store)


def first(rows: list[dict[str, Any]], *, annotated: bool) -> dict[str, Any]:
    """The first accepted row with or without annotations."""
    return next(row for row in rows if row["status"] == "accepted" and bool(row["annotated"]) == annotated)


def test_it_has_no_problems(sealed):
    manifest, store = sealed
    assert verify(manifest, store) == []
    assert len(manifest.shards) > 5


@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("split", "validation", "no row of the unit says so"),
        ("config", "other", "no row of the unit says so"),
        ("start", 512, "its row says 512"),
        ("start", -1, "no row of the unit says so"),
        ("sha256", "0" * 64, "isn't the one its record and row name"),
        ("annotated", "0" * 16, "the annotations of"),
        ("status", "dropped", "no row of the unit says so"),
        ("licence", "CC0-1.0", "numbers of pictures"),
    ],
)
def test_a_changed_row_is_noticed(sealed, annotated, column, value, says):
    problems = with_rows(sealed, lambda rows: first(rows, annotated=annotated).update({column: value}))
    assert any(says in problem for problem in problems)


def test_annotations_that_a_row_denies_are_noticed(sealed):
    problems = with_rows(sealed, lambda rows: first(rows, annotated=True).update(annotated=""))
    assert ["the annotations of" in problem for problem in problems] == [True]


def test_rows_in_another_order_are_noticed(sealed):
    """Tables of detectors are joined by position."""
    assert any("order of the unit's shards" in line for line in with_rows(sealed, lambda rows: rows.reverse()))


@pytest.mark.parametrize("change", ["moved", "other unit", "number", "lost", "twice", "counts"])
def test_a_changed_manifest_is_noticed(sealed, change):
    manifest, store = sealed
    shards = {group: list(infos) for group, infos in manifest.shards.items()}
    one, other = [group for group, infos in shards.items() if len(infos) == 2][:2]
    if change == "moved":
        shards[one], shards[other] = shards[other], shards[one]
    elif change == "other unit":
        shards[one] = [info.model_copy(update={"unit": 1 - info.unit}) for info in shards[one]]
    elif change == "number":
        shards[one][0] = shards[one][0].model_copy(update={"samples": 99})
    elif change == "lost":
        del shards[one][1]
    elif change == "twice":
        shards[one].append(shards[one][0])
    counts = {"original": {"accepted": 16}} if change == "counts" else manifest.counts
    assert verify(manifest.model_copy(update={"shards": shards, "counts": counts}), store) != []


def test_the_size_of_a_sample_leads_to_the_next(sealed):
    manifest, store = sealed
    starts = {row["id"]: row["start"] for row in read_table(store, manifest.rows).to_pylist()}
    for infos in manifest.shards.values():
        for info in infos:
            start = 0
            for key, members in read_shard(Path(store.path(info))):
                assert starts[key] == start
                assert json.loads(members["json"])["id"] == key
                start += stored_size(members)
