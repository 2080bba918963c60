"""Shards that others wrote, read, curated and released: every picture that stays keeps its bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import webdataset
from datasets import load_dataset
from PIL import Image

from variorum.edition.editions import folder_of
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.pipeline import Job, run
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    """Twelve small photographs."""
    whole, found = Image.fromarray(skimage.data.astronaut()), []
    for number in range(12):
        out = io.BytesIO()
        part = whole.crop((30 * number, 20 * number, 30 * number + 80, 20 * number + 64))
        part.save(out, "JPEG", quality=80 + number)
        found.append(out.getvalue())
    return found


def released(tmp_path: Path, shards: str, **source):
    """The release of the shards' pictures without the brightest one."""
    rules = {"name": "bright_rules", "drop": 1}
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 5,
            "masters": "original",
            "source": {"name": "webdataset", "shards": shards, **source},
            "curate": [{"name": "bright"}, rules],
        }
    )
    store = Store(str(tmp_path / "store"))
    made = run(Job(recipe, store))
    assert verify(made, store) == []
    return made, store


def samples(manifest, store) -> list[dict[str, bytes]]:
    return [
        members for shards in manifest.shards.values() for info in shards for _, members in read_shard(store.path(info))
    ]


def test_shards_of_a_shard_writer(jpegs, tmp_path):
    pattern = str(tmp_path / "train-%03d.tar")
    with webdataset.ShardWriter(pattern, maxcount=7, verbose=0) as writer:
        for number, data in enumerate(jpegs):
            boxes = [{"bbox": [1, 2, 10, 12], "category": number % 2}] * (number % 3)
            record = {"objects": boxes, "camera": f"no {number}"}
            writer.write({"__key__": f"s{number:04d}", "jpg": data, "cls": number % 2, "json": record})
    made, store = released(
        tmp_path,
        str(tmp_path / "train-{000..001}.tar"),
        class_names=["cat", "dog"],
        objects="json.objects",
        metadata=["json.camera"],
    )
    found = samples(made, store)
    assert made.splits() == {"train": 11}
    assert {members["jpg"] for members in found} < set(jpegs)
    for members in found:
        number = jpegs.index(members["jpg"])
        record, said = json.loads(members["json"]), json.loads(members["annotations.json"])["objects"]
        assert members["cls"] == b"%d" % (number % 2)
        assert json.loads(record["metadata"]) == {"camera": f"no {number}"}
        assert said["bbox"] == [[1, 2, 10, 12]] * (number % 3)
        assert said["label"] == [["cat", "dog"][number % 2]] * (number % 3)
    rows = load_dataset(folder_of(made, store), split="train")
    assert rows.features["cls"].names == ["cat", "dog"]


def test_shards_of_img2dataset(jpegs, tmp_path):
    """Its tars have a picture, a caption and a record for each success, and a record alone for a failure."""
    tars = tmp_path / "laion"
    tars.mkdir()
    for shard in range(2):
        with tarfile.open(tars / f"{shard:05d}.tar", "w") as tar:
            for number, data in enumerate(jpegs[shard::2]):
                key = f"{shard:05d}{number:04d}"
                caption = f"picture {number} of {shard}"
                record = {
                    "caption": caption,
                    "url": f"https://example.org/{key}.jpg",
                    "key": key,
                    "status": "success",
                    "error_message": None,
                    "width": 80,
                    "height": 64,
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
                for ending, content in (
                    ("jpg", data),
                    ("txt", caption.encode()),
                    ("json", json.dumps(record).encode()),
                ):
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
            info = tarfile.TarInfo(f"{shard:05d}9999.json")
            tar.addfile(info)
    made, store = released(tmp_path, str(tars / "*.tar"), metadata=["json.url"])
    found = samples(made, store)
    assert len(found) == 11
    for members in found:
        place = jpegs.index(members["jpg"])
        assert members["txt"].decode() == f"picture {place // 2} of {place % 2}"
        assert json.loads(json.loads(members["json"])["metadata"])["url"].startswith("https://example.org/")
    failed = [row for row in read_table(store, made.rows).to_pylist() if row["status"] == "failed"]
    assert [row["reason"] for row in failed] == ["no_picture"] * 2
    rows = load_dataset(folder_of(made, store), split="test", streaming=True)
    assert all(isinstance(row["txt"], str) and np.asarray(row["jpg"]).shape == (64, 80, 3) for row in rows)


def test_our_own_shards(jpegs, tmp_path):
    """An edition's tars are a source like any others; `edition` also keeps ids, splits and provenance."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, data in enumerate(jpegs):
        (photos / f"{number:02d}.jpg").write_bytes(data)
    first = {"dataset": "e", "version": "1.0.0", "masters": "original"}
    recipe = Recipe.parse({**first, "source": {"name": "image_folder", "path": str(photos)}})
    store = Store(str(tmp_path / "first"))
    made = run(Job(recipe, store))
    again, other = released(tmp_path, f"{folder_of(made, store)}/data/*.tar", label=None, licence_field="json.licence")
    assert again.splits() == {"test": 11}
    assert {members["jpg"] for members in samples(again, other)} < set(jpegs)
