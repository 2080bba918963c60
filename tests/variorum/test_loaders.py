"""What users load: an edition with configurations, splits, boxes and captions, typed, streaming and not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import webdataset
from datasets import ClassLabel, Image, List, Value, load_dataset
from PIL import Image as Picture

from variorum.edition.editions import folder_of
from variorum.edition.store import Store
from variorum.edition.verify import verify
from variorum.pipeline import Job, run
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

FLIP = '''
import numpy as np
from variorum.annotations import moved
from variorum.schemas.component import Generator

class Flip(Generator):
    """The picture as it is, darker, and upside down with its boxes."""

    keeps_objects = True

    def edit(self, sample, of):
        yield sample
        yield of.made(sample.image // 2, variant="dark", requested={"share": 0.5})
        size = sample.image.shape[:2]
        turned = moved(sample.annotations, np.array([[1, 0, 0], [0, -1, size[0]]], float), size, size)
        yield of.made(sample.image[::-1], variant="flipped", requested={}, annotations=turned)
'''
NAMES = ["cat", "dog", "unicorn"]
SIZE = 40, 60


@pytest.fixture(scope="module")
def edition(tmp_path_factory) -> tuple[Manifest, Store]:
    """Sixteen pictures of grey with red squares, some without objects, in three configurations and two splits."""
    folder = tmp_path_factory.mktemp("loaders")
    rng = np.random.default_rng(2)
    images, boxes, captions = [], [], []
    for number in range(16):
        pixels = np.full((*SIZE, 3), 60 + 8 * number, np.uint8)
        images.append({"id": number, "file_name": f"{number:02d}.png", "height": SIZE[0], "width": SIZE[1]})
        for _ in range(number % 3):
            left, top, width, height = (int(x) for x in (*rng.integers(0, 30, 2), *rng.integers(3, 9, 2)))
            pixels[top : top + height, left : left + width] = 255, 0, 0
            boxes.append(
                {
                    "id": len(boxes),
                    "image_id": number,
                    "category_id": 7 * (number % 2) + 1,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
        (folder / "photos").mkdir(exist_ok=True)
        Picture.fromarray(pixels).save(folder / "photos" / f"{number:02d}.png")
        captions += [{"id": 2 * number + k, "image_id": number, "caption": f"caption {k} of {number}"} for k in (0, 1)]
    categories = [{"id": number, "name": name} for number, name in zip((1, 8, 90), NAMES, strict=True)]
    instances = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    (folder / "flip.py").write_text(FLIP)
    source = {
        "name": "coco",
        "annotations": str(folder / "instances.json"),
        "captions": str(folder / "captions.json"),
        "pictures": str(folder / "photos"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        recipe = Recipe.parse(
            {
                "dataset": "d",
                "version": "1.0.0",
                "samples_per_shard": 5,
                "splits": {"test": 0.5},
                "configs": "variant",
                "source": source,
                "generate": [{"name": str(folder / "flip.py")}],
            }
        )
        store = Store(str(folder / "store"))
        return run(Job(recipe, store)), store


def test_the_edition_has_three_configurations_in_two_splits(edition):
    manifest, store = edition
    assert set(manifest.configs()) == {"original", "dark", "flipped"}
    assert set(manifest.splits()) == {"train", "test"}
    assert sum(manifest.splits().values()) == 48
    assert manifest.members == ["annotations.json", "cls", "json", "png", "txt"]
    assert verify(manifest, store) == []


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("config", [None, "all", "original", "dark", "flipped"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_it_loads_typed(edition, streaming, config, split):
    manifest, store = edition
    rows = load_dataset(folder_of(manifest, store), config, split=split, streaming=streaming)
    labels = ClassLabel(names=NAMES)
    assert isinstance(rows.features["png"], Image)
    assert rows.features["cls"] == labels
    assert rows.features["txt"] == Value("string")
    objects = rows.features["annotations.json"]["objects"]
    assert objects["bbox"] == List(List(Value("float32"), length=4))
    assert objects["category"] == List(labels)
    assert rows.features["annotations.json"]["texts"]["text"] == List(Value("string"))
    found = list(rows)
    expected = manifest.splits() if config in (None, "all") else manifest.configs()[config]
    assert len(found) == expected[split]
    for row in found:
        record, said = row["json"], row["annotations.json"]
        number = int(record["origin"][:2])
        assert record["split"] == split
        assert row["txt"] == f"caption 0 of {number}"
        assert said["texts"]["text"] == [f"caption {k} of {number}" for k in (0, 1)]
        assert len(said["objects"]["bbox"]) == number % 3
        assert said["objects"]["label"] == [NAMES[number % 2]] * (number % 3)
        assert said["objects"]["category"] == [number % 2] * (number % 3)
        assert row["cls"] == (number % 2 if number % 3 else -1)
        pixels = np.asarray(row["png"])
        red = np.zeros(SIZE, bool)
        for left, top, width, height in np.array(said["objects"]["bbox"], int).reshape(-1, 4):
            red[top : top + height, left : left + width] = True
        assert ((pixels[..., 0] > pixels[..., 1] + 20) == red).all()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves a file open
def test_webdataset_reads_it(edition):
    manifest, store = edition
    urls = sorted(str(file) for file in Path(folder_of(manifest, store), "data/flipped").glob("test-*.tar"))
    rows = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert len(rows) == manifest.configs()["flipped"]["test"]
    for row in rows:
        assert row["png"].size == SIZE[::-1]
        assert len(row["annotations.json"]["objects"]["bbox"]) == int(row["json"]["origin"][:2]) % 3
        assert row["txt"].startswith("caption 0 of ")
