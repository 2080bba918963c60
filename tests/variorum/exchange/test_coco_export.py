"""The export in COCO's format: what the files must be, other tools' rules for them, and the way back."""

import contextlib
import io
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from detecting import edition
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from variorum.annotations import decode_mask
from variorum.edition.samples import read_sample
from variorum.edition.shards import read_shard
from variorum.exchange.coco.export import IGNORED, export_coco
from variorum.exchange.coco.parts import ANNOTATIONS, PICTURES, licence_entry
from variorum.exchange.folders import NOTE, folder_names
from variorum.models.coco import CATEGORIES
from variorum.pipeline import Job, run
from variorum.pixels import decode
from variorum.reports.coco_objects import categories, inside, marked
from variorum.schemas.annotations import Object
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import StoreError
from variorum.schemas.recipe import Recipe
from variorum.sources.coco import Coco
from variorum.stages.job import open_context


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """An edition with three variants, and its export."""
    folder = tmp_path_factory.mktemp("shapes")
    job, manifest = edition(folder)
    return job.store, manifest, folder / "out", export_coco(manifest, job.store, folder / "out")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def loaded(folder: Path) -> dict:
    return json.loads((folder / ANNOTATIONS).read_bytes())


def samples_of(store, manifest, variant):
    found = []
    for _, shard in manifest.accepted():
        for key, members in read_shard(store.path(shard)):
            sample, _ = read_sample(key, members)
            if sample.variant == variant:
                found.append(sample)
    return found


# ── what the files must be ───────────────────────────────────────────────────────────────────────────────────────────


def test_each_variant_is_a_valid_set(shapes):
    _, manifest, out, exported = shapes
    assert sorted(one.name for one in out.iterdir()) == [
        "dark", NOTE, "lost_one_half", "original",
    ]  # fmt: skip
    for part in exported:
        folder = out / part.folder
        data = loaded(folder)
        check_set(data, folder / PICTURES)
        assert (len(data["images"]), len(data["annotations"])) == (part.pictures, part.boxes) == (12, 12)
        assert data["info"]["digest"] == manifest.digest()
        assert data["info"]["synthetic"] == (part.variant != "original")
        with contextlib.redirect_stdout(io.StringIO()):
            api = COCO(str(folder / ANNOTATIONS))
        assert len(api.getAnnIds()) == 12


def check_set(data: dict, pictures: Path) -> None:
    """Ids are unique, boxes lie inside and have a pixel at least, categories are listed, files are as they say."""
    images = {one["id"]: one for one in data["images"]}
    known = {one["id"] for one in data["categories"]}
    licences = {one["id"] for one in data["licenses"]}
    assert len(images) == len(data["images"]) == len({one["file_name"] for one in data["images"]})
    assert len({one["id"] for one in data["annotations"]}) == len(data["annotations"])
    assert sorted(os.listdir(pictures)) == sorted(one["file_name"] for one in data["images"])
    for image in images.values():
        assert image["license"] in licences
        with Image.open(pictures / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])
    for one in data["annotations"]:
        image, (left, top, wide, high) = images[one["image_id"]], one["bbox"]
        assert one["category_id"] in known
        assert left >= 0
        assert top >= 0
        assert wide >= 1
        assert high >= 1
        assert left + wide <= image["width"] + 1e-3
        assert top + high <= image["height"] + 1e-3
        assert 0 < one["area"] <= wide * high + 1e-9
        if one["segmentation"]:
            assert one["segmentation"]["size"] == [image["height"], image["width"]]


def test_missing_objects_can_be_counted(shapes, tmp_path):
    store, manifest, out, _ = shapes
    counting = export_coco(manifest, store, tmp_path / "all", ignore=())
    assert {one.variant: one.boxes for one in counting} == {one.variant: one.boxes for one in shapes[3]}
    lost = next(one.folder for one in counting if "lost" in one.variant)
    found = loaded(tmp_path / "all" / lost)["annotations"]
    assert Counter((one["iscrowd"], one.get("check")) for one in found) == {(0, "missing"): 8, (0, None): 4}
    with pytest.raises(StoreError, match="another export"):
        export_coco(manifest, store, out, ignore=())


def test_missing_objects_are_crowds_and_say_so(shapes):
    store, manifest, out, _ = shapes
    found = loaded(out / "lost_one_half")["annotations"]
    assert Counter((one["iscrowd"], one.get("check")) for one in found) == {(1, "missing"): 8, (0, None): 4}
    assert all(one["iscrowd"] == 0 for one in loaded(out / "original")["annotations"])
    lost = samples_of(store, manifest, "lost one/half")
    assert sum(item.check in IGNORED for sample in lost for item in sample.annotations.objects) == 8


# ── what other tools ask of them ─────────────────────────────────────────────────────────────────────────────────────


def test_detectron2_and_mmdetection_can_read_them(shapes):
    """The conditions of detectron2's `load_coco_json` and of MMDetection's `CocoDataset`, written down here."""
    _, _, out, exported = shapes
    for part in exported:
        data = loaded(out / part.folder)
        for one in data["annotations"]:
            assert one.get("ignore", 0) == 0  # detectron2 refuses such a file
            region = one["segmentation"]
            assert isinstance(region, dict) or region == []
            assert one["area"] > 0
            assert min(one["bbox"][2:]) >= 1
        assert data["images"] == sorted(data["images"], key=lambda one: one["id"])
        assert data["categories"] == sorted(data["categories"], key=lambda one: one["id"])
    assert (out / "dark" / "annotations" / "instances_val2017.json").is_file()  # linked as data/coco


def test_cocos_classes_keep_their_ids_and_all_eighty_are_listed():
    listed, ids = categories([ClassInfo("n1", "dog"), ClassInfo("person", "human"), ClassInfo("cup", "cup")])
    assert listed == CATEGORIES
    assert ids == (18, 1, 47)
    assert [one.id for one in listed] == sorted(one.id for one in listed)
    listed, ids = categories([ClassInfo("a", "unicorn"), ClassInfo("b", "dog"), ClassInfo("dog", "other dog")])
    assert ids == (91, 18, 92)
    assert [one.name for one in listed[80:]] == ["unicorn", "other dog"]
    listed, ids = categories([ClassInfo("z", "unicorn"), ClassInfo("a", "griffin")])
    assert ids == (1, 2)
    assert [one.id for one in listed] == [1, 2]
    assert categories([]) == ((), ())


# ── and back ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("variant", "place"), [("original", "original"), ("lost one/half", "lost_one_half")])
def test_the_source_coco_reads_the_same_back(shapes, variant, place, own_cache):
    store, manifest, out, _ = shapes
    source = Coco(annotations=out / place / ANNOTATIONS, pictures=out / place / PICTURES)
    ctx = open_context_for(source)
    assert [one.name for one in source.classes(ctx)] == [name for _, name in manifest.classes]
    name_of = dict(manifest.classes)
    before = sorted(samples_of(store, manifest, variant), key=lambda sample: sample.id)
    after = list(source.read(0, source.size(ctx), ctx))
    assert len(after) == len(before) == 12
    for old, new in zip(before, after, strict=True):
        assert new.origin == f"{old.id}.png"
        assert new.reason == ""
        assert np.array_equal(decode(new.image), decode(old.image))
        assert len(new.annotations.objects) == len(old.annotations.objects)
        for one, other in zip(old.annotations.objects, new.annotations.objects, strict=True):
            assert (other.box, other.label, other.area) == (
                one.box,
                name_of[one.label],
                one.area or one.box[2] * one.box[3],
            )
            assert other.crowd == (one.crowd or one.check == "missing")
            assert np.array_equal(decode_mask(other, 64, 96), decode_mask(one, 64, 96))
        assert new.metadata["photograph"] == old.photograph
        assert new.split == "validation"


def open_context_for(source):
    from variorum.schemas.recipe import Recipe

    return open_context(Recipe(dataset="back", version="1.0.0", source=source), "embedded")


@pytest.mark.parametrize(
    "licence", ["CC-BY-4.0", "CC-BY-NC-SA-2.0", "CC0-1.0", "CC-PDM-1.0", "MIT", "ask | us", "CC-BY-3.0-DE"]
)
def test_licences_come_back(licence):
    from variorum.sources.coco_files.entries import licence_in

    ((_, found),) = licence_in({"id": 1, **licence_entry(licence)})
    assert found == licence


# ── which objects count ──────────────────────────────────────────────────────────────────────────────────────────────


numbers = st.one_of(st.floats(-50, 150), st.sampled_from([0.0, 0.5, 1.0, 99.5, float("nan"), float("inf")]))


@given(st.tuples(numbers, numbers, numbers, numbers), st.one_of(st.none(), st.floats(0, 1e4)))
def test_a_box_that_counts_lies_inside(box, area):
    found, missed = marked([Object(box, "a", area=area)], {"a": 3}, 80, 100)
    assert len(found) + missed.total() == 1
    for item, category in found:
        left, top, wide, high = item.box
        assert category == 3
        assert min(wide, high) >= 1
        assert min(left, top) >= 0
        assert left + wide <= 100.001
        assert top + high <= 80.001
        assert item.area > 0
        assert item.box == box or inside(box, 80, 100) == item.box


def test_a_cut_box_keeps_its_share_of_the_area():
    found, missed = marked(
        [
            Object((-10, 0, 20, 10), "a", area=100.0),
            Object((0, 0, 0.9, 10), "a"),
            Object((0, 0, 9, 9), "b"),
            Object((2.25, 3.125, 9.5, 9), "a", area=0.0),
        ],
        {"a": 0},
        20,
        20,
    )
    assert [(one.item.box, one.item.area) for one in found] == [((0, 0, 10, 10), 50), ((2.25, 3.125, 9.5, 9), 85.5)]
    assert missed == {"smaller than a pixel": 1, "without a class": 1}


# ── the folder ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_export_is_found_and_anything_else_is_refused(shapes, tmp_path):
    store, manifest, out, exported = shapes
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert export_coco(manifest, store, out) == exported
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(StoreError, match="another export"):
        export_coco(manifest, store, out, ["dark"])
    full = tmp_path / "full"
    full.mkdir()
    assert export_coco(manifest, store, full, ["dark"])[0].pictures == 12  # it was empty
    (full / "dark" / ANNOTATIONS).write_text("{}")
    with pytest.raises(StoreError, match=r"has changed.*new folder"):
        export_coco(manifest, store, full, ["dark"])
    (full / NOTE).unlink()
    with pytest.raises(StoreError, match="other files"):
        export_coco(manifest, store, full)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="is a file"):
        export_coco(manifest, store, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_export_goes_where_a_link_leads(shapes, tmp_path):
    store, manifest, _, _ = shapes
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place")
    export_coco(manifest, store, tmp_path / "link", ["dark"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "place" / "dark" / ANNOTATIONS).is_file()


def test_an_export_that_fails_leaves_nothing(shapes, tmp_path, monkeypatch):
    store, manifest, _, _ = shapes

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("variorum.exchange.coco.parts.Part.close", full)
    with pytest.raises(OSError, match="No space"):
        export_coco(manifest, store, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_it_is_the_same_to_the_byte_each_time(shapes, tmp_path):
    store, manifest, out, _ = shapes
    export_coco(manifest, store, tmp_path / "again")
    assert files(tmp_path / "again") == files(out)


def test_chosen_variants_and_splits(shapes, tmp_path):
    store, manifest, _, _ = shapes
    (one,) = export_coco(manifest, store, tmp_path / "test", ["dark"], "test")
    assert (one.variant, one.pictures) == ("dark", 3)
    assert "split test" in loaded(tmp_path / "test" / "dark")["info"]["description"]
    with pytest.raises(StoreError, match=r"no accepted pictures of variant 'night'; it has: original"):
        export_coco(manifest, store, tmp_path / "no", ["night"])
    with pytest.raises(StoreError, match="no split 'val'; it has: train"):
        export_coco(manifest, store, tmp_path / "no", split="val")
    assert not (tmp_path / "no").exists()


def test_an_edition_without_objects_is_refused(tmp_path):
    job, manifest = edition(tmp_path, boxes=False, pictures=2)
    with pytest.raises(StoreError, match="no pictures with objects"):
        export_coco(manifest, job.store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@given(st.lists(st.text(max_size=120), unique=True, max_size=8))
def test_names_of_folders_are_safe_and_differ(variants):
    names = folder_names(variants)
    assert list(names) == variants
    assert len({name.casefold() for name in names.values()}) == len(variants)
    for name in names.values():
        assert name
        assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
        assert not name.startswith(".")
        assert name != NOTE


def test_names_of_devices_and_of_files_beside_are_no_folders():
    names = ["CON", "con.txt", "com1", "LPT9.tar.gz", "console", "Metadata.JSONL", "export.json"]
    found = ["_CON", "_con.txt", "_com1", "_LPT9.tar.gz", "console", "Metadata.JSONL_2", "export.json_2"]
    assert list(folder_names(names, "metadata.jsonl").values()) == found


def test_pictures_of_other_formats_become_png(tmp_path):
    """Original masters may be WebP, or turned by EXIF; boxes are those of the upright picture."""
    job, manifest = edition(tmp_path, formats=["webp", "jpg", "bmp"], masters="original", pictures=6)
    export_coco(manifest, job.store, tmp_path / "out", ["original"])
    folder = tmp_path / "out" / "original"
    data = loaded(folder)
    check_set(data, folder / PICTURES)
    assert Counter(Path(one["file_name"]).suffix for one in data["images"]) == {".png": 4, ".jpg": 2}
    held = {sample.id: sample for sample in samples_of(job.store, manifest, "original")}
    for one in data["images"]:
        path = folder / PICTURES / one["file_name"]
        assert np.array_equal(decode(path.read_bytes()), decode(held[path.stem].image))


def test_pictures_with_a_mask_and_a_class_have_its_box_region_and_area(tmp_path):
    shapes = {"cat": [(3, 4, 20, 9)], "dog": [(0, 0, 5, 5), (30, 20, 8, 6)]}
    folder, masks = tmp_path / "photos", tmp_path / "masks"
    for name, boxes in {**shapes, "nothing": []}.items():
        (folder / name).mkdir(parents=True)
        (masks / name).mkdir(parents=True)
        pixels, mask = np.full((32, 48, 3), 90, np.uint8), np.zeros((32, 48), np.uint8)
        for x, y, wide, high in boxes:
            mask[y : y + high, x : x + wide] = 255
        Image.fromarray(pixels).save(folder / name / "one.png")
        Image.fromarray(mask).save(masks / name / "one.png")
    source = {"name": "image_folder", "path": str(folder), "masks": str(masks)}
    recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source})
    job = Job(recipe, str(tmp_path / "store"))
    exported = export_coco(run(job), job.store, tmp_path / "out")
    assert [(one.pictures, one.boxes, one.left_out) for one in exported] == [(3, 2, {})]
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO(str(tmp_path / "out" / exported[0].folder / ANNOTATIONS))
    found = {api.cats[one["category_id"]]["name"]: one for one in api.dataset["annotations"]}
    assert {name: one["bbox"] for name, one in found.items()} == {"cat": [3, 4, 20, 9], "dog": [0, 0, 38, 26]}
    for name, one in found.items():
        assert api.annToMask(one).sum() == one["area"] == sum(wide * high for _, _, wide, high in shapes[name])
