"""The example that finds copies with Ray Data finds those that were planted, and its decider drops them."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from variorum import pipeline
from variorum.edition.verdicts import read_verdicts
from variorum.kit.copies.join import hamming_pairs
from variorum.schemas.recipe import Recipe
from variorum.stages.job import Job

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ray_copies.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("ray_copies", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_groups_find_the_pairs_that_a_join_of_all_finds(example):
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2, (60, 256), dtype=np.uint8)
    bits[30:] = bits[:30]
    for place, apart in enumerate(range(15, 0, -1)):  # 15 copies, 15 to 1 bits away; the others are equal
        bits[30 + place, rng.choice(256, apart, replace=False)] ^= 1
    batch = {
        "pdq": np.packbits(bits, axis=1),
        "id": np.array([f"{n:032x}" for n in range(60)]),
        "pixels": np.arange(60),
    }
    rows = example.bands(batch)
    found = set()
    for group in np.unique(rows["group"]):
        pairs = example.copies({name: values[rows["group"] == group] for name, values in rows.items()})
        found |= set(zip(*(pairs[name].tolist() for name in ("kept", "copy", "bits", "pixels")), strict=True))
    near = hamming_pairs(batch["pdq"][:, None])
    assert len(near) == 30
    every = zip(near.i, near.j, near.distance.tolist(), strict=True)
    assert found == {(batch["id"][j], batch["id"][i], distance, j) for i, j, distance in every}  # the larger stays


def edition(folder: Path, photos: Path) -> tuple[Job, pa.Table]:
    """An edition of the photographs with smaller copies of three, curated by the example's decider."""
    for place, path in enumerate(sorted(photos.glob("*/*.jpg"))):
        target = folder / "pictures" / path.parent.name
        target.mkdir(parents=True, exist_ok=True)
        image = Image.open(path)
        image.save(target / path.name, quality=95)
        if place % 4 == 0:
            image.resize((image.width // 2, image.height // 2)).save(target / f"small_{path.name}", quality=90)
    steps = [{"name": str(EXAMPLE), "pairs": str(folder / "found/pairs.parquet")}]
    source = {"name": "image_folder", "path": str(folder / "pictures")}
    named = {"dataset": "photos", "version": "1.0.0", "samples_per_shard": 6, "source": source, "curate": steps}
    job = Job(Recipe.parse(named), str(folder / "store"))
    return job, pipeline.build(job)


def test_the_decider_keeps_both_ends_of_a_chain(photos, tmp_path):
    job, manifest = edition(tmp_path, photos)
    names = read_ids(job, manifest)[:4]
    pairs = [(names[0], names[1], 9, 400), (names[1], names[2], 8, 300), (names[0], names[3], 2, 400)]
    (tmp_path / "found").mkdir()
    table = [dict(zip(("kept", "copy", "bits", "pixels"), pair, strict=True)) for pair in pairs[::-1]]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "found/pairs.parquet")
    assert dropped(job, manifest) == {names[1]: 9, names[3]: 2}


@pytest.mark.slow
def test_two_processes_find_the_planted_copies(photos, tmp_path):
    job, manifest = edition(tmp_path, photos)
    folder = tmp_path / "store/editions/photos/1.0.0"
    subprocess.run(
        [sys.executable, EXAMPLE, folder, tmp_path / "found"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        cwd=tmp_path,
        timeout=500,
    )
    measured = pq.read_table(tmp_path / "found/pictures").to_pydict()
    assert sorted(measured["id"]) == sorted(read_ids(job, manifest))
    assert {len(one) for one in measured["embedding"]} == {1280}
    small = {one["id"] for one in rows(job, manifest) if "small_" in one["origin"]}
    clear = {name for name, clear in zip(measured["id"], measured["clear"], strict=True) if clear}
    assert (len(small), len(small & clear)) == (3, 2)  # one crop shows too little for a hash
    assert set(dropped(job, manifest)) == small & clear


def rows(job, manifest):
    from variorum.api.edition import Edition

    return Edition(manifest, job.store).table(["id", "origin"]).to_pylist()


def read_ids(job, manifest):
    return [one["id"] for one in rows(job, manifest)]


def dropped(job, manifest):
    _, ledger = pipeline.curate(job, manifest)
    said = [one for one in read_verdicts(ledger.verdicts, job.store).to_pylist() if one["action"] == "drop"]
    return {one["id"]: one["value"] for one in said}
