"""Bytes as they came: a folder of JPEGs, PNGs and WebPs is curated and released without a changed byte."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import webdataset
from datasets import load_dataset
from PIL import Image

from variorum.edition.editions import folder_of
from variorum.edition.samples import picture_ending
from variorum.edition.shards import PICTURES, read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.pipeline import Job, build, run
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.usefixtures("own_cache")

TURNED = 6  # EXIF: the stored picture's left is the top


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Nine photographs: JPEG, PNG and WebP, one turned by EXIF, one with a profile, one with a wrong ending."""
    folder = tmp_path_factory.mktemp("mixed")
    whole = Image.fromarray(skimage.data.astronaut())
    for number in range(9):
        part = whole.crop((20 * number, 10 * number, 20 * number + 96, 10 * number + 64))
        ending = ("jpg", "png", "webp")[number % 3]
        (folder / ("chelsea", "coffee")[number % 2]).mkdir(exist_ok=True)
        options = {}
        if number == 0:
            exif = Image.Exif()
            exif[0x0112] = TURNED
            options["exif"] = exif
        if number == 3:
            from PIL import ImageCms

            options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        part.save(folder / ("chelsea", "coffee")[number % 2] / f"{number}.{ending}", **options)
    (folder / "chelsea" / "4.png").rename(folder / "chelsea" / "4.JPG")
    return folder


def recipe(folder: Path, **fields) -> Recipe:
    source = {"name": "image_folder", "path": str(folder), "licence": "CC0-1.0"}
    basic = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 4, "masters": "original"}
    return Recipe.parse({**basic, "source": source, **fields})


def members(manifest, store) -> dict[str, tuple[dict, dict[str, bytes]]]:
    """Record and members, by origin and variant."""
    found = {}
    for shards in manifest.shards.values():
        for info in shards:
            for _, parts in read_shard(store.path(info)):
                record = json.loads(parts["json"])
                found[f"{record['origin']} {record['variant']}"] = record, parts
    return found


def test_a_curated_release_has_the_files_to_the_byte(mixed, tmp_path):
    store = Store(str(tmp_path / "store"))
    steps = [{"name": "bright"}, {"name": "bright_rules", "drop": 1, "relabel": 1}]
    made = run(Job(recipe(mixed, curate=steps), store))
    assert made.version == "1.0.0-r1"
    assert made.members == ["cls", "jpg", "json", "png", "webp"]
    assert verify(made, store) == []
    found = members(made, store)
    assert len(found) == 8
    for record, parts in found.values():
        data = (mixed / record["origin"]).read_bytes()
        ending = picture_ending(parts)
        assert parts[ending] == data
        assert ending == Image.open(io.BytesIO(data)).format.lower().replace("jpeg", "jpg")
        assert record["sha256"] == record["photograph"] == hashlib.sha256(data).hexdigest()
    stored = sum(len(parts[picture_ending(parts)]) for _, parts in found.values())
    assert stored <= sum(file.stat().st_size for file in mixed.rglob("*.*"))


def test_the_record_says_how_the_bytes_must_be_read(mixed, tmp_path):
    store = Store(str(tmp_path / "store"))
    found = members(build(Job(recipe(mixed), store)), store)
    turned, _ = found["chelsea/0.jpg original"]
    assert (turned["orientation"], turned["height"], turned["width"]) == (TURNED, 96, 64)
    profiled, _ = found["coffee/3.jpg original"]
    assert profiled["profile"] != ""
    plain, _ = found["coffee/1.png original"]
    assert (plain["orientation"], plain["profile"], plain["height"], plain["width"]) == (1, "", 64, 96)


def test_detectors_see_upright_pixels(mixed, tmp_path, monkeypatch):
    from acme_components.bright import Bright

    seen = {}
    real = Bright.measure

    def measure(self, samples, ctx):
        seen.update({sample.origin: sample.image.shape for sample in samples})
        return real(self, samples, ctx)

    monkeypatch.setattr(Bright, "measure", measure)
    run(Job(recipe(mixed, curate=[{"name": "bright"}, {"name": "bright_rules"}]), str(tmp_path / "store")))
    assert seen["chelsea/0.jpg"] == (96, 64, 3)
    assert seen["coffee/1.png"] == (64, 96, 3)


def test_what_a_generator_touched_is_png_and_the_rest_stays(mixed, tmp_path):
    file = tmp_path / "both.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from variorum.schemas.component import Generator\n"
        "class Both(Generator):\n"
        "    def edit(self, sample, of):\n"
        "        yield sample\n"
        "        yield of.made(255 - sample.image, variant='negative', requested={})\n"
        "        yield replace(sample, id='f' * 24 + sample.id[:8], image=sample.image // 2, variant='sly')\n"
    )
    store = Store(str(tmp_path / "store"))
    made = build(Job(recipe(mixed, generate=[{"name": str(file)}]), store))
    found = members(made, store)
    assert len(found) == 27
    for record, parts in found.values():
        data = (mixed / record["origin"]).read_bytes()
        ending = picture_ending(parts)
        if record["variant"] == "original":
            assert parts[ending] == data
        else:
            assert ending == "png"
            assert parts[ending] != data
            assert record["sha256"] == hashlib.sha256(parts["png"]).hexdigest()
            assert record["photograph"] == hashlib.sha256(data).hexdigest()
            assert record["orientation"] == 1
    assert verify(made, store) == []


def test_png_masters_are_all_png(mixed, tmp_path):
    store = Store(str(tmp_path / "store"))
    made = build(Job(recipe(mixed, masters="png"), store))
    assert made.members == ["cls", "json", "png"]
    turned, parts = members(made, store)["chelsea/0.jpg original"]
    assert np.asarray(Image.open(io.BytesIO(parts["png"]))).shape == (96, 64, 3)
    assert (turned["orientation"], turned["profile"]) == (1, "")


def test_a_damaged_picture_is_a_row_with_a_reason(mixed, tmp_path):
    photos = tmp_path / "photos" / "x"
    photos.mkdir(parents=True)
    for file in mixed.rglob("*.jpg"):
        (photos / file.name).write_bytes(file.read_bytes())
    (photos / "cut.jpg").write_bytes((mixed / "chelsea" / "6.jpg").read_bytes()[:1500])
    store = Store(str(tmp_path / "store"))
    made = build(Job(recipe(tmp_path / "photos"), store))
    (row,) = [row for row in read_table(store, made.rows).to_pylist() if row["status"] == "failed"]
    assert (row["origin"], row["reason"], row["start"]) == ("x/cut.jpg", "truncated", -1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves a file open
def test_mixed_formats_load(mixed, tmp_path):
    """`datasets` gives a column per format, one of which isn't empty; `webdataset` takes the first that is there."""
    store = Store(str(tmp_path / "store"))
    made = run(Job(recipe(mixed, curate=[{"name": "bright"}, {"name": "bright_rules", "drop": 0}]), store))
    folder = folder_of(made, store)
    expected = {hashlib.sha256(file.read_bytes()).hexdigest() for file in mixed.rglob("*.*")}
    for streaming in (False, True):
        rows = list(load_dataset(folder, split="test", streaming=streaming))
        assert {row["json"]["sha256"] for row in rows} == expected
        for row in rows:
            (picture,) = [row[ending] for ending in PICTURES if row.get(ending) is not None]
            assert picture.size == (row["json"]["width"], row["json"]["height"])
    urls = [str(file) for file in sorted(Path(folder, "data").glob("*.tar"))]
    found = webdataset.WebDataset(urls, shardshuffle=False).to_tuple("jpg;png;webp", "json")
    assert {hashlib.sha256(data).hexdigest() for data, _ in found} == expected


ODD = """
from dataclasses import replace
from variorum.sources.image_folder import ImageFolder

class Odd(ImageFolder):
    def read(self, start, stop, ctx):
        for item in super().read(start, stop, ctx):
            yield replace(item, reason="odd" if item.origin.endswith("webp") else "")
"""


@pytest.mark.parametrize("drop", [1, 100])
def test_a_release_names_the_formats_of_its_quarantine_too(mixed, tmp_path, drop):
    """All WebP pictures are quarantined; without a column for them, `datasets` would give rows without a picture."""
    file = tmp_path / "odd.py"
    file.write_text(ODD)
    store = Store(str(tmp_path / "store"))
    curate = [{"name": "bright", "notes": True}, {"name": "bright_rules", "drop": drop}]
    what = recipe(mixed, source={"name": str(file), "path": str(mixed)}, curate=curate)
    made = run(Job(what, store), force=True)
    assert ("note.txt" in made.members) == (drop == 1)
    assert {"cls", "jpg", "json", "png", "webp"} <= set(made.members)
    rows = list(load_dataset(folder_of(made, store), "quarantine", split="quarantine"))
    assert len(rows) == 3
    assert all(row["webp"].size == (96, 64) for row in rows)
