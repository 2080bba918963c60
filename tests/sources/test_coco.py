import json
import logging
import math
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from variorum.annotations import decode_mask
from variorum.machine.memo import DiskMemo
from variorum.pixels import decode, encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceChanged, SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.coco import Coco
from variorum.sources.coco_files import entries as coco_entries
from variorum.sources.coco_files import index as coco_index
from variorum.sources.coco_files.file import CocoFile
from variorum.sources.exports.rle import encoded
from variorum.stages.job import models

SIZE = (30, 40)
"""Height and width of the pictures, unless something else is said."""
CATEGORIES = [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 17, "name": "bird"}]


@pytest.fixture
def ctx(tmp_path, own_cache, monkeypatch) -> Context:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def image(number: int, name: str, size=SIZE, **more) -> dict:
    return {"id": number, "file_name": name, "height": size[0], "width": size[1], **more}


def box(number: int, picture: int, category: int = 3, bbox=(1, 2, 3, 4), **more) -> dict:
    return {"id": number, "image_id": picture, "category_id": category, "bbox": list(bbox), **more}


def save(folder: Path, name: str, size=SIZE, orientation: int = 1) -> bytes:
    """A picture of noise, as PNG or JPEG by its name."""
    pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name, exif=exif)
    return (folder / name).read_bytes()


def coco(
    folder: Path, images, annotations=(), categories=CATEGORIES, name="instances.json", saved=True, **more
) -> Coco:
    """The source, of a file with these entries, and with pictures of the sizes that they say."""
    document = {key: value for key, value in more.items() if key not in Coco.model_fields}
    document |= {"images": list(images), "annotations": list(annotations), "categories": list(categories)}
    (folder / name).write_text(json.dumps(document))
    for entry in images if saved else ():
        save(folder / "pictures", entry["file_name"], (entry["height"], entry["width"]))
    (folder / "pictures").mkdir(exist_ok=True)
    fields = {key: value for key, value in more.items() if key in Coco.model_fields}
    return Coco(annotations=folder / name, pictures=folder / "pictures", **fields)


def other(source: Coco, **fields) -> Coco:
    return Coco(**{**source.model_dump(), **fields})


def read(source: Coco, ctx: Context) -> list[Sample | Failure]:
    return list(source.read(0, source.size(ctx), ctx))


# ── against pycocotools ──────────────────────────────────────────────────────────────────────────────────────────────


def test_boxes_and_masks_are_those_of_pycocotools(tmp_path, ctx):
    blob = np.zeros((50, 70), np.uint8, order="F")
    blob[10:30, 20:60] = 1
    compressed = rle.encode(blob)
    runs = {"counts": [20 * 50 + 10, 20, 50 * 50 - 1030], "size": [50, 50]}
    two = [[10.5, 5, 30, 5.25, 25, 20], [2, 2, 8, 2, 8, 9, 2, 9]]
    source = coco(
        tmp_path,
        [image(7, "b.png", (50, 70)), image(4, "deep/a.jpg", (33, 21)), image(9, "c.jpg", (50, 50)), image(1, "d.png")],
        [
            box(
                11, 7, 90, (20, 10, 40, 20), area=800, iscrowd=0, segmentation=compressed | {"counts": text(compressed)}
            ),
            box(5, 7, 3, (2, 2, 28, 18), area=123.5, iscrowd=0, segmentation=two),
            box(6, 4, 17, (0, 0, 21, 33), area=1, iscrowd=0, segmentation=[[0, 0, 21, 0, 21, 33]]),
            box(8, 9, 3, (20, 10, 1, 20), area=20, iscrowd=1, segmentation=runs),
        ],
    )
    samples = read(source, ctx)
    assert [sample.origin for sample in samples] == ["b.png", "c.jpg", "d.png", "deep/a.jpg"]
    peer = COCO(source.annotations)
    seen = 0
    for sample in samples:
        (entry,) = [entry for entry in peer.imgs.values() if entry["file_name"] == sample.origin]
        assert sample.id == source_id("coco", sample.origin)
        assert sample.image == (source.pictures / sample.origin).read_bytes()
        assert not sample.reason
        theirs = peer.loadAnns(peer.getAnnIds(imgIds=[entry["id"]]))
        for item, other in zip(sample.annotations.objects, theirs, strict=True):
            assert item.id == str(other["id"])
            assert item.box == tuple(other["bbox"])
            assert item.area == other["area"]
            assert item.crowd == bool(other["iscrowd"])
            assert item.label == peer.cats[other["category_id"]]["name"]
            assert (item.origin, item.score) == ("", None)
            mask = decode_mask(item, entry["height"], entry["width"])
            assert np.array_equal(mask, peer.annToMask(other))
            assert mask.any()
            seen += 1
    assert seen == 4


def text(compressed) -> str:
    return compressed["counts"].decode()


def test_without_masks_segmentations_are_not_looked_at(tmp_path, ctx):
    (sample,) = read(coco(tmp_path, [image(1, "a.png")], [box(1, 1, segmentation="nonsense")], masks=False), ctx)
    assert not sample.reason
    assert sample.annotations.objects[0].mask == ""


# ── classes, labels, splits, licences ────────────────────────────────────────────────────────────────────────────────


def test_classes_are_names_in_order_of_their_ids(tmp_path, ctx):
    source = coco(tmp_path, [image(1, "a.png")], [box(1, 1, 90)])
    assert [info.id for info in source.classes(ctx)] == ["cat", "bird", "dog"]


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 1, "name": "cat"}, {"id": 2, "name": " cat"}], "two categories with the name 'cat', 1 and 2"),
        ([{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}], "two categories with the id 1"),
        ([{"id": "1", "name": "cat"}], "needs an integer id and a name: "),
        ([{"id": 1, "name": " "}], "needs an integer id and a name: "),
        ([{"id": 1, "name": "\ud800"}], "needs an integer id and a name: "),
        ([1], "needs an integer id and a name: "),
    ],
)
def test_categories_that_cannot_be_classes(tmp_path, ctx, categories, message):
    with pytest.raises(SourceError, match=message):
        coco(tmp_path, [image(1, "a.png")], categories=categories).classes(ctx)


def test_labels_are_the_categories_present_by_their_area(tmp_path, ctx):
    images = [image(1, "a.png"), image(2, "b.png"), image(3, "c.png")]
    boxes = [
        box(1, 1, 3, area=10),
        box(2, 1, 90, (1, 1, 4, 5)),  # without an area that of the box counts
        box(3, 1, 3, area=9),
        box(4, 2, 17, area=5),
        box(5, 2, 99, area=500),  # no category
    ]
    source = coco(tmp_path, images, boxes)
    assert [sample.labels for sample in read(source, ctx)] == [("dog", "cat"), ("bird",), ()]
    assert [sample.labels for sample in source.outline(0, 3, ctx)] == [("dog", "cat"), ("bird",), ()]
    bare = other(source, labels="none")
    assert {sample.labels for sample in [*read(bare, ctx), *bare.outline(0, 3, ctx)]} == {()}


@pytest.mark.parametrize(
    ("name", "given", "split"),
    [
        ("instances_train2017.json", "", "train"),
        ("instances_val2017.json", "", "validation"),
        ("lvis_v1_val.json", "", "validation"),
        ("test.json", "", "test"),
        ("_annotations.coco.json", "", ""),
        ("instances_trainval.json", "", ""),
        ("train_and_val.json", "", ""),
        ("instances_train2017.json", "test", "test"),
        ("instances_train2017.json", "none", ""),
    ],
)
def test_split(tmp_path, ctx, name, given, split):
    source = coco(tmp_path, [image(1, "a.png")], name=name, split=given)
    assert [sample.split for sample in read(source, ctx)] == [split]
    assert [sample.split for sample in source.outline(0, 1, ctx)] == [split]


def test_licence_of_each_picture(tmp_path, ctx):
    licences = [
        {"id": 1, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by-nc-sa/2.0/"},
        {"id": 2, "name": "No known  restrictions", "url": "http://flickr.com/commons/usage/"},
        {"id": 3, "url": "http://example.org/terms"},
        {"id": 4, "name": "Public Domain", "url": "https://creativecommons.org/publicdomain/zero/1.0/"},
        {"id": 5, "name": "\ud800", "url": ""},
        "six",
    ]
    given = [1, 2, 3, 4, 5, 6, None]
    source = coco(
        tmp_path,
        [image(n, f"{n}.png", license=number) for n, number in enumerate(given)],
        licenses=licences,
        licence="ours",
    )
    expected = ["CC-BY-NC-SA-2.0", "No known restrictions", "http://example.org/terms", "CC0-1.0"] + ["ours"] * 3
    assert [sample.licence for sample in read(source, ctx)] == expected
    assert [sample.licence for sample in source.outline(0, 7, ctx)] == expected


def test_the_rest_of_an_entry_is_metadata(tmp_path, ctx):
    source = coco(tmp_path, [image(5, "a.png", flickr_url="http://x", tags=["a", {"b": 1.5}], depth=math.nan)])
    (sample,) = read(source, ctx)
    assert sample.metadata == {"image_id": 5, "flickr_url": "http://x", "tags": ["a", {"b": 1.5}], "depth": None}


def test_pictures_of_lvis_are_named_by_their_url(tmp_path, ctx):
    entry = image(5, "train2017/000000000005.jpg")
    source = coco(tmp_path, [entry])
    del entry["file_name"]
    entry["coco_url"] = "http://images.cocodataset.org/train2017/000000000005.jpg"
    source = coco(tmp_path, [entry], saved=False)
    (sample,) = read(source, ctx)
    assert (sample.origin, bool(sample.image)) == ("train2017/000000000005.jpg", True)


# ── captions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def captions(folder: Path, images, annotations, **more) -> Path:
    file = folder / "captions.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, **more}, ensure_ascii=False))
    return file


def caption(number: int, picture: int, words) -> dict:
    return {"id": number, "image_id": picture, "caption": words}


def test_captions_of_the_same_pictures(tmp_path, ctx):
    images = [image(2, "a.png"), image(1, "b.png"), image(3, "c.png")]
    said = [caption(7, 1, "une forêt"), caption(5, 2, "Two. "), caption(8, 1, "another")]
    file = captions(tmp_path, [{"id": 1, "file_name": "b.png"}, {"id": 2, "file_name": "a.png"}], said)
    source = coco(tmp_path, images, [box(1, 1)], captions=file)
    assert source.captioned(ctx)
    assert source.annotated(ctx)
    for samples in (read(source, ctx), list(source.outline(0, 3, ctx))):
        assert [[part.text for part in sample.annotations.texts] for sample in samples] == [
            ["Two."],
            ["une forêt", "another"],
            [],
        ]
    assert not coco(tmp_path, images).captioned(ctx)


def test_captions_that_are_no_text_quarantine_their_picture(tmp_path, ctx):
    images = [image(1, "a.png"), image(2, "b.png"), image(3, "c.png")]
    file = captions(tmp_path, images, [caption(1, 1, 5), caption(2, 2, "é"), caption(3, 3, "good")])
    file.write_bytes(file.read_bytes().replace("é".encode(), b"\xe9"))
    first, second, third = read(coco(tmp_path, images, [box(1, 2)], captions=file), ctx)
    assert (first.reason, second.reason, third.reason) == ("bad_text", "bad_text", "")
    assert "must be a string" in first.detail
    assert second.detail.startswith("a caption is not UTF-8")
    assert len(second.annotations.objects) == 1


def test_captions_of_other_pictures_are_refused(tmp_path, ctx):
    file = captions(tmp_path, [{"id": 1, "file_name": "x/other.png"}], [caption(1, 1, "a")])
    source = coco(tmp_path, [image(1, "a.png")], captions=file)
    with pytest.raises(SourceError, match=r"captions of other pictures: 1 is 'x/other.png' there, and 'a.png' in"):
        list(source.outline(0, 1, ctx))
    strangers = captions(tmp_path, [{"id": 5, "file_name": "a.png"}], [caption(1, 5, "a")])
    with pytest.raises(SourceError, match=r"captions of other pictures: no picture of .* has an id that is there"):
        list(other(source, captions=strangers).outline(0, 1, ctx))
    with pytest.raises(SourceError, match="has no annotation with a caption"):
        Coco(annotations=source.annotations, pictures=source.pictures, captions=source.annotations).pin(ctx)
    with pytest.raises(SourceError, match="no list 'categories'; a file of captions goes into captions"):
        Coco(annotations=file, pictures=source.pictures).size(ctx)


# ── what is wrong with a picture ─────────────────────────────────────────────────────────────────────────────────────


def test_pictures_that_are_not_there(tmp_path, ctx):
    source = coco(tmp_path, [image(1, "a.png"), image(2, "b.png"), image(3, "c.png")], [box(1, 2)])
    (source.pictures / "b.png").unlink()
    (source.pictures / "c.png").write_bytes(b"no picture")
    good, missing, broken = read(source, ctx)
    assert isinstance(good, Sample)
    assert (missing.reason, missing.detail) == ("unreadable", "b.png: there is no such file")
    assert (missing.status, missing.labels, missing.id) == ("failed", ("cat",), source_id("coco", "b.png"))
    assert broken.reason == "not_an_image"
    assert len(list(source.outline(0, 3, ctx))) == 3


def test_files_outside_of_the_folder_are_never_opened(tmp_path, ctx):
    save(tmp_path, "secret.png")
    names = ["../secret.png", str(tmp_path / "secret.png"), "x/../../secret.png", "link.png", "door/secret.png", "."]
    source = coco(
        tmp_path, [image(n, name) for n, name in enumerate([*names, "fine.png", "pipe.png", "n" * 300])], saved=False
    )
    save(source.pictures, "real.png")
    (source.pictures / "link.png").symlink_to(tmp_path / "secret.png")
    (source.pictures / "door").symlink_to(tmp_path)
    (source.pictures / "fine.png").symlink_to("real.png")
    os.mkfifo(source.pictures / "pipe.png")
    found = {item.origin: item for item in read(source, ctx)}
    reasons = {name: item.reason for name, item in found.items()}
    assert reasons.pop("fine.png") == ""
    assert reasons.pop("pipe.png") == reasons.pop("n" * 300) == reasons.pop(".") == "unreadable"
    assert set(reasons.values()) == {"unsafe_name"}
    assert all(isinstance(found[name], Failure) for name in reasons)
    before = source.pin(ctx)
    save(tmp_path, "secret.png", (9, 9))
    assert other(source).pin(ctx) == before  # it isn't even hashed


def test_the_folder_itself_may_be_a_link(tmp_path, ctx):
    source = coco(tmp_path, [image(1, "a.png")])
    (tmp_path / "link").symlink_to("pictures")
    (sample,) = read(other(source, pictures=tmp_path / "link"), ctx)
    assert sample.image


def test_entries_with_the_same_id_or_name(tmp_path, ctx):
    images = [image(1, "b.png"), image(2, "c.png"), image(1, "a.png"), image(3, "b.png"), image(4, "./c.png")]
    source = coco(tmp_path, images, [box(1, 1, 3), box(2, 3, 17)])
    found = read(source, ctx)
    # the later entry is the failure, in the order of the file
    assert [(item.origin, item.reason, item.labels) for item in found] == [
        ("a.png", "duplicate_id", ()),
        ("b.png", "", ("cat",)),
        ("b.png", "duplicate_id", ("bird",)),
        ("c.png", "", ()),
        ("c.png", "duplicate_id", ()),
    ]
    assert len({item.id for item in found}) == 5
    assert [item.detail for item in found if isinstance(item, Failure)] == [
        "an earlier picture in the file has the same id",
        "an earlier picture in the file has the same file name",
        "an earlier picture in the file has the same file name",
    ]
    assert [item.id for item in source.outline(0, 5, ctx)] == [item.id for item in found]


def test_entries_without_id_or_name(tmp_path, ctx):
    entries = [{"id": 1}, {"file_name": "a.png"}, None, {"id": 2, "file_name": "\ud800"}, {"id": 3, "file_name": "a\0"}]
    source = coco(tmp_path, entries, saved=False)
    found = read(source, ctx)
    assert {item.reason for item in found} == {"bad_entry"}
    assert sorted(item.origin for item in found) == ["a.png", "images[0]", "images[2]", "images[3]", "images[4]"]
    assert len({item.id for item in found}) == 5


def test_annotations_of_no_picture_are_counted_and_named(tmp_path, ctx, caplog):
    boxes = [box(1, 1), box(2, 77), box(3, 78), {"id": 4}, 5, None]
    with caplog.at_level(logging.WARNING):
        (sample,) = read(coco(tmp_path, [image(1, "a.png")], boxes), ctx)
    assert [item.id for item in sample.annotations.objects] == ["1"]
    (record,) = caplog.records
    assert "5 annotations are of no picture in the file and are left out; the first lies at byte" in record.getMessage()


def test_annotations_none_of_which_is_of_a_picture_are_refused(tmp_path, ctx):
    boxes = [box(1, 1) | {"image_id": "1"}, box(2, 2) | {"image_id": "2"}]
    with pytest.raises(SourceError, match=r"none of its 2 annotations is of a picture .* a number or a text in both"):
        coco(tmp_path, [image(1, "a.png"), image(2, "b.png")], boxes).size(ctx)


def test_ids_that_pandas_wrote_as_floats(tmp_path, ctx):
    boxes = [box(1.0, 7.0, 3.0), box(2, 7, 90.0), box(3.0, 8, 3), box(4, 8, 3.5)]
    categories = [{"id": 3.0, "name": "cat"}, {"id": 90, "name": "dog"}]
    images = [image(7, "a.png", license=2.0), image(8.0, "b.png", license=2)]
    file = captions(tmp_path, images, [caption(1, 8, "b"), caption(2, 7.0, "a")])
    licences = [{"id": 2, "name": "CC0-1.0"}]
    first, second = read(coco(tmp_path, images, boxes, categories, captions=file, licenses=licences), ctx)
    assert [(item.id, item.label) for item in first.annotations.objects] == [("1", "cat"), ("2", "dog")]
    assert (second.metadata["image_id"], type(second.metadata["image_id"])) == (8, int)
    assert [sample.annotations.caption() for sample in (first, second)] == ["a", "b"]
    assert {first.licence, second.licence} == {"CC0-1.0"}
    assert (first.reason, second.reason) == ("", "unknown_category")
    assert "3.5" in second.detail


def test_an_annotation_id_that_is_used_twice(tmp_path, ctx):
    boxes = [
        box(5, 1),
        box(5, 2),
        box(6, 2),
        box(7, 3),
        box(7, 3),
        box("x", 4),
        box("x", 5),
        box(None, 6),
        box(None, 6),
    ]
    first, second, third, fourth, fifth, sixth = read(
        coco(tmp_path, [image(n, f"{n}.png") for n in range(1, 7)], boxes), ctx
    )
    assert [item.reason for item in (first, second, third)] == ["", "duplicate_object", "duplicate_object"]
    assert [item.reason for item in (fourth, fifth, sixth)] == ["", "duplicate_object", ""]
    assert "has the id 5, which an earlier one has" in second.detail
    assert len(second.annotations.objects) == 2  # nothing is lost


@pytest.mark.parametrize(
    ("annotation", "reason", "detail"),
    [
        (box(2, 1, 99), "unknown_category", "category_id 99, which no category has"),
        (box(2, 1, None), "unknown_category", "category_id None"),
        (box(2, 1, bbox=(30, 2, 20, 4)), "box_outside", "leaves the picture of 40 x 30 pixels"),
        (box(2, 1, bbox=(3, 2, 0, 4)), "box_empty", "has no area"),
        (box(2, 1, bbox=(3, 2, math.nan, 4)), "box_empty", "has no area"),
        (box(2, 1, bbox=(3, 2, 4)), "bad_box", r"object 1 \(id 2\) is \[3, 2, 4\]"),
        ({"id": 2, "image_id": 1, "category_id": 3}, "bad_box", "is None"),
        (box(2, 1, area="large"), "bad_objects", "area of object 1"),
        (box(2, 1, segmentation=[[1, 2, 3]]), "bad_mask", r"object 1 \(id 2\): a polygon is \[1, 2, 3\]"),
        (box(2, 1, segmentation={"counts": "abc", "size": [30, 40]}), "bad_mask", "no compressed RLE"),
        (box(2, 1, segmentation={"counts": [1200], "size": [40, 30]}), "bad_mask", "size"),
    ],
)
def test_objects_that_are_not_sound(tmp_path, ctx, annotation, reason, detail):
    source = coco(tmp_path, [image(1, "a.png"), image(2, "b.png")], [box(1, 1), annotation, box(3, 1), box(4, 2)])
    bad, good = read(source, ctx)
    assert isinstance(bad, Sample)
    assert bad.reason == reason
    assert re.search(detail, bad.detail)
    assert {"1", "3"} <= {item.id for item in bad.annotations.objects}  # the others are kept
    assert all(math.isfinite(part) for item in bad.annotations.objects for part in item.box)
    assert not good.reason


def test_an_annotation_that_is_not_utf8(tmp_path, ctx):
    source = coco(tmp_path, [image(1, "a.png"), image(2, "b.png")], [box(1, 1, note="QQ"), box(2, 1), box(3, 2)])
    data = source.annotations.read_bytes()
    source.annotations.write_bytes(data.replace(b"QQ", b"\xff\xfe"))
    bad, good = read(source, ctx)
    assert bad.reason == "bad_objects"
    assert "is not UTF-8" in bad.detail
    assert [item.id for item in bad.annotations.objects] == ["2"]
    assert not good.reason


def test_clipping(tmp_path, ctx):
    boxes = [box(1, 1, bbox=(-0.5, 0, 40.75, 30)), box(2, 2, bbox=(30, 20, 20, 20))]
    source = coco(tmp_path, [image(1, "a.png"), image(2, "b.png")], boxes)
    near, far = read(source, ctx)
    assert near.annotations.objects[0].box == (0, 0, 40, 30)
    assert far.reason == "box_outside"
    _, far = read(other(source, clip=True), ctx)
    assert (far.reason, far.annotations.objects[0].box) == ("", (30, 20, 10, 10))


# ── turned pictures ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_boxes_and_masks_in_stored_pixels_are_turned_with_their_picture(tmp_path, ctx, turn, ending):
    left, top, wide, high = 24, 8, 8, 16  # aligned with JPEG's blocks, so that they stay sharp
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[top : top + high, left : left + wide] = 255
    region = [[left, top, left + wide, top, left + wide, top + high, left, top + high]]
    source = coco(
        tmp_path,
        [image(1, f"a.{ending}", (32, 48))],
        [box(1, 1, bbox=(left, top, wide, high), area=128, segmentation=region)],
        saved=False,
    )
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(stored).save(source.pictures / f"a.{ending}", exif=exif)
    (sample,) = read(source, ctx)
    assert not sample.reason
    upright = decode(sample.image)
    assert upright.shape == (48, 32, 3)
    (item,) = sample.annotations.objects
    rows, columns = np.nonzero(upright[..., 0] > 127)
    shown = (columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min())
    assert item.box == shown
    assert item.area == 128
    assert np.array_equal(decode_mask(item, 48, 32), upright[..., 0] > 127)


def test_boxes_in_upright_pixels_stay(tmp_path, ctx):
    source = coco(tmp_path, [image(1, "a.jpg", (40, 30))], [box(1, 1, bbox=(5, 20, 10, 15))], saved=False)
    save(source.pictures, "a.jpg", (30, 40), orientation=6)
    (sample,) = read(source, ctx)
    assert (sample.reason, sample.annotations.objects[0].box) == ("", (5, 20, 10, 15))


@pytest.mark.parametrize(("size", "orientation"), [((40, 30), 1), ((40, 30), 3), ((29, 40), 6)])
def test_a_picture_of_another_size_is_quarantined(tmp_path, ctx, size, orientation):
    region = encoded([[1, 1, 9, 1, 9, 9]], size)
    entry = box(1, 1, segmentation={"counts": region, "size": list(size)})
    source = coco(tmp_path, [image(1, "a.jpg", size)], [entry], saved=False)
    save(source.pictures, "a.jpg", (30, 40), orientation=orientation)
    (sample,) = read(source, ctx)
    assert sample.reason == "size_mismatch"
    assert sample.detail.startswith(f"the file says {size[1]} x {size[0]} pixels, but the picture has")
    assert [(item.box, item.mask) for item in sample.annotations.objects] == [((1, 2, 3, 4), "")]


def test_a_file_that_does_not_say_the_sizes(tmp_path, ctx):
    entry = image(1, "a.png")
    coco(tmp_path, [entry])
    del entry["height"]
    (sample,) = read(coco(tmp_path, [entry], [box(1, 1)], saved=False), ctx)
    assert not sample.reason


# ── files that are not COCO's ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "a COCO file starts with {"),
        ("{}", "is not in COCO's format: it has no list 'images'; it has no lists"),
        ('{"images": [], "categories": []}', "it has no list 'annotations'; it has categories, images"),
        ('{"images": {"1": {}}, "annotations": []}', "it has no list 'images'; it has annotations"),
        ('{"images": [], "annotations": [], "categories": []}', "has no pictures: its list 'images' is empty"),
        ('{"images": [{"id": 1, "file_name": "a.p', "is cut short: it ends at byte 39"),
    ],
)
def test_files_that_are_refused(tmp_path, ctx, own_cache, content, message):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(SourceError, match=message) as error:
        Coco(annotations=tmp_path / "a.json", pictures=tmp_path / "pictures").size(ctx)
    assert "\n" not in str(error.value)
    assert f"coco: annotations {tmp_path / 'a.json'}" in str(error.value)
    assert not list((own_cache / "coco").iterdir())


def test_places_that_are_missing(tmp_path, ctx):
    source = coco(tmp_path, [image(1, "a.png")])
    with pytest.raises(SourceError, match=r"annotations .*none.json does not exist"):
        other(source, annotations=tmp_path / "none.json").size(ctx)
    with pytest.raises(SourceError, match=r"pictures .*none doesn't exist; it must be the folder"):
        other(source, pictures=tmp_path / "none").size(ctx)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"none of the pictures of .*, such as 'a.png', is in .*empty; set pictures"):
        other(source, pictures=tmp_path / "empty").pin(ctx)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"annotations": "a.json"},
        {"pictures": "p"},
        {"annotations": "a.json", "pictures": "p", "dataset": "org/name"},
        {"dataset": "org/name", "captions": "c.json"},
        {"dataset": "org/name", "pictures": "p"},
    ],
)
def test_one_place_must_be_given(fields):
    with pytest.raises(ValueError, match="annotations"):
        Coco(**fields)


# ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_pin_is_of_the_content(tmp_path, ctx):
    images, boxes = [image(1, "a.png"), image(2, "b.png")], [box(1, 1)]
    (tmp_path / "one").mkdir()
    file = captions(tmp_path, images, [caption(1, 1, "a")])
    source = coco(tmp_path / "one", images, boxes, captions=file)
    shutil.copytree(tmp_path / "one", tmp_path / "two")

    def there(**fields) -> Coco:
        places = {"annotations": tmp_path / "two" / "instances.json", "pictures": tmp_path / "two" / "pictures"}
        return Coco(**{**places, "captions": file, **fields})

    pin = source.pin(ctx)
    assert there().fingerprint() == source.fingerprint()
    assert there().pin(ctx) == pin
    save(tmp_path / "two" / "pictures", "stranger.png")
    assert there().pin(ctx) == pin
    assert there(captions=None).pin(ctx) != pin
    (tmp_path / "two" / "instances.json").rename(tmp_path / "two" / "train.json")  # now it names a split
    assert there(annotations=tmp_path / "two" / "train.json").pin(ctx) != pin
    (tmp_path / "two" / "train.json").rename(tmp_path / "two" / "instances.json")
    save(tmp_path / "two" / "pictures", "b.png", (9, 9))
    assert there().pin(ctx) != pin
    save(tmp_path / "two" / "pictures", "b.png")
    assert there().pin(ctx) == pin
    assert coco(tmp_path / "two", images, [box(2, 1)], captions=file).pin(ctx) != pin
    assert str(tmp_path / "two") in there().place()


# ── the index ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_few_pictures_of_many_are_read_without_the_others(tmp_path, ctx):
    source = coco(tmp_path, [image(n, f"{n:02}.png") for n in range(20)], [box(n, n) for n in range(20)])
    everything = read(source, ctx)
    for entry in source.pictures.iterdir():
        if entry.name != "07.png":
            entry.unlink()
    again = Coco(annotations=source.annotations, pictures=source.pictures)
    assert list(again.read(7, 8, ctx)) == everything[7:8]
    assert [sample.labels for sample in again.outline(3, 20, ctx)] == [("cat",)] * 17


def test_the_index_is_made_once_and_again_if_it_is_damaged(tmp_path, ctx, own_cache):
    source = coco(tmp_path, [image(1, "a.png")], [box(1, 1)])
    first = read(source, ctx)
    (folder,) = (own_cache / "coco").iterdir()
    made = (folder / "boxes.npy").stat().st_mtime_ns
    again = Coco(annotations=source.annotations, pictures=source.pictures)
    assert read(again, ctx) == first
    assert (folder / "boxes.npy").stat().st_mtime_ns == made
    for name in ("boxes.npy", "pictures.arrow", "starts.npy", "about.json"):
        (folder / name).write_bytes((folder / name).read_bytes()[:40])
        assert read(Coco(annotations=source.annotations, pictures=source.pictures), ctx) == first
    assert [path.name for path in (own_cache / "coco").iterdir()] == [folder.name]


def test_a_cache_that_cannot_hold_it(tmp_path, ctx, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "file"))
    with pytest.raises(SourceError, match=r"its index can't be written: .*; set VARIORUM_CACHE to a folder"):
        coco(tmp_path, [image(1, "a.png")]).size(ctx)


def test_two_at_once(tmp_path, ctx):
    source = coco(tmp_path, [image(n, f"{n:02}.png") for n in range(9)], [box(n, n) for n in range(9)])
    copies = [Coco(annotations=source.annotations, pictures=source.pictures) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: read(one, ctx), copies))
    assert all(samples == found[0] for samples in found)


def test_a_file_that_changes_while_it_is_read(tmp_path, ctx):
    source = coco(tmp_path, [image(1, "a.png")], [box(1, 1)])
    source.size(ctx)
    source.annotations.write_bytes(b" " * source.annotations.stat().st_size)
    with pytest.raises(SourceChanged, match=r"instances\.json: it has changed since the run began \(another content"):
        read(source, ctx)


ids = st.integers(0, 6) | st.sampled_from(["a", "ü"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(ids, min_size=1, max_size=7, unique=True),
    st.lists(st.tuples(ids, st.integers(0, 4)), max_size=20),
    st.permutations(["images", "annotations", "categories"]),
)
def test_the_index_groups_annotations_as_a_loaded_file_does(tmp_path, own_cache, monkeypatch, numbers, pairs, order):
    for module in (coco_index, coco_entries):
        monkeypatch.setattr(module, "CHUNK", 3)
    document = {
        "images": [
            {"id": number, "file_name": f"{7 * place % 5}_{place}é.png"} for place, number in enumerate(numbers)
        ],
        "annotations": [
            {"id": place, "image_id": image_id, "category_id": category, "area": place}
            for place, (image_id, category) in enumerate(pairs)
        ],
        "categories": [{"id": number, "name": str(number)} for number in (3, 1)],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps({key: document[key] for key in order}, ensure_ascii=False))
    file = CocoFile(path, "annotations")
    entries = list(file.entries(0, len(file)))
    assert [entry.name for entry in entries] == sorted(entry["file_name"] for entry in document["images"])
    assert file.about["strays"] == sum(image_id not in numbers for image_id, _ in pairs)
    for entry in entries:
        said = file.value(entry.start, entry.length)
        assert said["file_name"] == entry.name
        expected = [one for one in document["annotations"] if one["image_id"] == said["id"]]
        boxes = file.boxes(entry.row)
        assert [file.value(one["start"], one["length"]) for one in boxes] == expected
        assert boxes["category"].tolist() == [{1: 0, 3: 1}.get(one["category_id"], -1) for one in expected]
        assert boxes["area"].tolist() == [one["area"] for one in expected]


# ── datasets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def parquet(folder: Path, objects, category) -> str:
    import datasets

    fields = {"bbox": datasets.List(datasets.Value("float32"), length=4), "category": category}
    features = datasets.Features({"image": datasets.Image(), "objects": datasets.List(fields)})
    if isinstance(objects[0], dict):
        features["objects"] = {name: datasets.List(kind) for name, kind in fields.items()}
    png = encode_png(np.zeros((*SIZE, 3), np.uint8))
    rows = {"image": [{"bytes": png, "path": None}] * len(objects), "objects": objects}
    rows["image"][-1] = None
    folder.mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(folder / "val-0.parquet"))
    return str(folder)


CELLS = [
    {"bbox": [[1, 2, 3, 4], [5, 6, 20, 20]], "category": [0, 2]},
    {"bbox": [], "category": []},
    {"bbox": [[1, 2, 3, 4], [30, 2, 30, 4]], "category": [2, -1]},
    {"bbox": [[0, 0, 1, 1]], "category": [1]},
]


@pytest.mark.parametrize("form", ["lists by name", "a list of mappings"])
def test_a_dataset_with_names_of_categories(tmp_path, ctx, form):
    import datasets

    cells = CELLS
    if form == "a list of mappings":
        cells = [[dict(zip(cell, row, strict=True)) for row in zip(*cell.values(), strict=True)] for cell in CELLS]
    folder = parquet(tmp_path / "set", cells, datasets.ClassLabel(names=["cat", "bird", "dog", "fox"]))
    source = Coco(dataset=folder, dataset_split="validation", licence="MIT")
    assert [info.id for info in source.classes(ctx)] == ["cat", "bird", "dog", "fox"]
    assert source.size(ctx) == 4
    first, second, third, fourth = read(source, ctx)
    assert [(item.box, item.label) for item in first.annotations.objects] == [
        ((1, 2, 3, 4), "cat"),
        ((5, 6, 20, 20), "dog"),
    ]
    assert first.image == encode_png(np.zeros((*SIZE, 3), np.uint8))
    assert (first.labels, first.split, first.licence) == (("dog", "cat"), "validation", "MIT")
    assert (second.labels, second.annotations.objects) == ((), ())
    assert (third.reason, third.labels) == ("box_outside", ("dog",))
    assert (fourth.reason, fourth.labels, fourth.split) == ("no_picture", ("bird",), "validation")
    outlined = list(source.outline(0, 4, ctx))
    assert [(item.id, item.labels) for item in outlined] == [
        (item.id, item.labels) for item in (first, second, third, fourth)
    ]
    assert list(source.read(2, 3, ctx)) == [third]
    clipped = other(source, clip=True, labels="none")
    assert [(item.reason, item.labels) for item in read(clipped, ctx)][2] == ("", ())
    assert [item.labels for item in clipped.outline(0, 4, ctx)] == [()] * 4


def test_a_dataset_with_sparse_numbers_of_categories(tmp_path, ctx):
    import datasets

    cells = [{**cell, "category": [100 * value + 7 for value in cell["category"]]} for cell in CELLS[:2]]
    folder = parquet(tmp_path / "set", [*cells, {"bbox": [[1, 1, 1, 1]], "category": [20]}], datasets.Value("int64"))
    source = Coco(dataset=folder, dataset_split="validation", split="none")
    assert [info.id for info in source.classes(ctx)] == ["7", "20", "207"]
    samples = list(source.read(0, 2, ctx))
    assert [item.label for item in samples[0].annotations.objects] == ["7", "207"]
    assert [(sample.labels, sample.split) for sample in samples] == [(("207", "7"), ""), ((), "")]


def test_a_local_dataset_is_known_by_its_content(tmp_path, ctx):
    import datasets

    folder = parquet(tmp_path / "set", CELLS, datasets.Value("int64"))
    here, there = (Coco(dataset=path, dataset_split="validation") for path in (folder, str(tmp_path / "moved")))
    shutil.copytree(folder, there.dataset)
    assert here.fingerprint() == there.fingerprint()
    assert here.pin(ctx) == there.pin(ctx)
    assert read(here, ctx) == read(there, ctx)
    assert here.fingerprint() != Coco(dataset=folder, dataset_split="validation", box_format="xyxy").fingerprint()
    assert here.place().startswith("coco dataset=")
    with pytest.raises(SourceError, match="coco: no column 'things'"):
        list(Coco(dataset=folder, dataset_split="validation", objects="things").outline(0, 1, ctx))


def test_a_dataset_of_the_hub_is_known_by_its_name():
    prints = [Coco(dataset=name, dataset_split=split).fingerprint() for name in ("a/b", "a/c") for split in ("x", "y")]
    assert len(set(prints)) == 4


def test_masks_of_a_dataset(tmp_path, ctx):
    import datasets

    polygon = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]
    rows = {
        "image": [{"bytes": encode_png(np.zeros((*SIZE, 3), np.uint8)), "path": None}],
        "objects": [{"bbox": [[0.025, 1 / 30, 0.2, 8 / 30]], "category": ["x"], "segmentation": [polygon]}],
    }
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).to_parquet(
        tmp_path / "set" / "train.parquet"
    )
    source = Coco(dataset=str(tmp_path / "set"), box_format="xywh_relative")
    (sample,) = read(source, ctx)
    (item,) = sample.annotations.objects
    assert item.mask == encoded(polygon, SIZE)
    assert item.box == pytest.approx((1, 1, 8, 8))
    assert (sample.labels, sample.split) == (("x",), "train")
    (bare,) = read(other(source, masks=False), ctx)
    assert (bare.annotations.objects[0].mask, bare.labels) == ("", ("x",))
