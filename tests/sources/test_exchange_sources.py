"""Annotation files of other tools, as people and attackers write them: no path leads out, and nothing fills memory."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exchanging import come_back
from PIL import Image

from variorum.annotations import decode_mask
from variorum.edition.samples import encode_sample, read_record
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure
from variorum.sources.exports import cvat_xml, regions
from variorum.sources.exports.cvat_xml import read_cvat, with_region
from variorum.sources.waves import place_of_path

HEIGHT, WIDTH = 40, 70
HOSTILE = ("../secret.png", "/etc/passwd", "images/../../secret.png", "link.png", "out/secret.png", "", "a\0b.png")


@pytest.fixture
def folder(tmp_path, own_cache) -> Path:
    """A folder with a picture, beside another one that isn't in it, and links to that."""
    Image.new("RGB", (WIDTH, HEIGHT), (200, 30, 30)).save(tmp_path / "secret.png")
    inside = tmp_path / "data"
    (inside / "images").mkdir(parents=True)
    rng = np.random.default_rng(3)
    Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(inside / "images" / "a.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "out").symlink_to(tmp_path)
    return inside


def tasks(*data: dict, **more: object) -> str:
    return json.dumps([{"data": one, "annotations": [], "predictions": [], **more} for one in data])


def samples(*found: dict) -> str:
    return json.dumps({"samples": list(found)})


def images(*lines: str) -> str:
    return "<annotations><version>1.1</version>" + "".join(lines) + "</annotations>"


# ── paths ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", HOSTILE)
def test_no_path_leads_out_of_the_folder(folder, path):
    if path:
        (folder / "samples.json").write_text(samples({"filepath": "images/a.png"}, {"filepath": path}))
        check_refused("fiftyone", folder, path)
    (folder / "tasks.json").write_text(tasks({"image": "images/a.png"}, {"image": path}))
    check_refused("label_studio", folder, path)
    if "\0" not in path:
        (folder / "annotations.xml").write_text(images('<image name="a.png"/>', f'<image name="{path}"/>'))
        check_refused("cvat", folder, path)
        (folder / "metadata.csv").write_text(f"file_name,label\nimages/a.png,x\n{path},x\n")
        check_refused("cleanlab", folder, path, issues="")


def check_refused(name: str, folder: Path, path: str, **more: object) -> None:
    _, (good, bad) = come_back(name, path=folder, **more)
    assert not isinstance(good, Failure)
    assert isinstance(bad, Failure), f"{name} read {path!r}"
    assert bad.reason == "unreadable"


def test_a_link_to_another_label_file_is_not_trusted_with_more_than_its_bytes(folder, tmp_path):
    """The file itself may be a link, as the user names it; what it says is still only about the folder."""
    (tmp_path / "elsewhere.csv").write_text("file_name,label\nimages/a.png,cat\n../secret.png,dog\n")
    (folder / "metadata.csv").symlink_to(tmp_path / "elsewhere.csv")
    _, (good, bad) = come_back("cleanlab", path=folder, issues="")
    assert good.labels == ("cat",)
    assert isinstance(bad, Failure)


# ── XML ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

BOMB = '<!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "iso-8859-1"])
@pytest.mark.parametrize("doctype", [BOMB, '<!DOCTYPE a SYSTEM "file:///etc/passwd">', "<!DOCTYPE annotations>"])
def test_a_document_type_is_refused(encoding, doctype):
    text = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}<annotations><image name="&b;"/></annotations>'
    with pytest.raises(SourceError, match=r"document type|as XML"):
        read_cvat(text.encode(encoding), "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotations><image name='a'>", "can't be read as XML"),
        ("<html></html>", "begins with <html>"),
        ("<annotations><track id='0'/></annotations>", "tracks of a video"),
        ("", "can't be read as XML"),
    ],
)
def test_what_is_no_file_of_cvat(text, said):
    with pytest.raises(SourceError, match=said):
        read_cvat(text.encode(), "x")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "long", ['<image name="a.png" id="{}"/>', "<image name='a.png'><tag label='{}'/></image>", "<!--{}-->"]
)
def test_a_tag_of_megabytes_is_refused_before_it_is_read_over_and_over(encoding, long):
    """Parsers before expat 2.6 take the square of its length in time."""
    for size, ends in ((cvat_xml.LONGEST // 4, True), (cvat_xml.LONGEST + 3 * cvat_xml.PIECE, False)):
        text = images('<image name="b.png"/>', long.format("x" * size))
        data = text.encode(encoding)
        if ends:
            assert read_cvat(data, "x")[1]
        else:
            with pytest.raises(SourceError, match="x has a tag or a comment of more than 16777216 bytes"):
                read_cvat(data, "x")


def test_a_long_file_of_short_tags_is_read():
    found = read_cvat(images(*('<image name="a.png"/>' + " " * 99 for _ in range(200_000))).encode(), "x")[1]
    assert len(found) == 200_000


def test_shapes_of_cvat(folder):
    (folder / "annotations.xml").write_text(
        images(
            "<meta><task><labels><label><name>dog</name></label><label><name>cat</name></label></labels></task></meta>",
            f'<image id="5" name="images/a.png" subset="Train" width="{WIDTH}" height="{HEIGHT}">',
            '<tag label="cat"/><tag label="cat"/>',
            '<box label="dog" xtl="1" ytl="2" xbr="11.5" ybr="22" group_id="3"/>',
            '<mask label="dog" rle="2, 3, 1" left="3" top="4" width="3" height="2" group_id="3"/>',
            '<polygon label="cat" points="10,10;20,10;20,30"/>',
            '<box label="cat" xtl="-9" ytl="-9" xbr="5" ybr="5"/>',
            '<box label="cat" xtl="1" ytl="2" xbr="3" ybr="4" rotation="45"/>',
            '<points label="cat" points="1,2"/></image>',
        )
    )
    classes, (one,) = come_back("cvat", path=folder)
    assert [item.id for item in classes] == ["dog", "cat"]
    assert (one.labels, one.split, one.reason) == (("cat",), "train", "")
    dog, polygon, cut = one.annotations.objects
    assert (dog.label, dog.box) == ("dog", (1, 2, 10.5, 20))
    region = decode_mask(dog, HEIGHT, WIDTH)
    assert sorted(zip(*np.nonzero(region), strict=True)) == [(4, 5), (5, 3), (5, 4)]
    assert polygon.box == (10, 10, 10, 20)
    assert 80 <= decode_mask(polygon, HEIGHT, WIDTH).sum() <= 120
    assert cut.box == (0, 0, 5, 5)  # people draw beyond the edge


@pytest.mark.parametrize(
    "mask",
    [
        'rle="1,2" left="0" top="0" width="3" height="2"',
        'rle="999999999,999999999" left="0" top="0" width="999999999" height="999999999"',
        'rle="x" left="0" top="0" width="3" height="2"',
        'rle="6" left="69" top="0" width="3" height="2"',
    ],
)
def test_a_mask_that_does_not_fit_costs_its_picture(folder, mask):
    (folder / "annotations.xml").write_text(
        images(f'<image name="a.png" width="{WIDTH}" height="{HEIGHT}"><mask label="x" {mask}/></image>')
    )
    _, (one,) = come_back("cvat", path=folder)
    assert one.reason in ("bad_mask", "box_empty", "box_outside")


# ── FiftyOne ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def packed(array: np.ndarray) -> str:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return base64.b64encode(zlib.compress(out.getvalue())).decode()


def detection(mask: object) -> dict:
    return {
        "filepath": "images/a.png",
        "metadata": {"width": WIDTH, "height": HEIGHT},
        "objects": {
            "_cls": "Detections",
            "detections": [{"label": "cat", "bounding_box": [0.1, 0.25, 0.2, 0.5], "mask": mask}],
        },
    }


def test_masks_of_fiftyone(folder):
    """A mask covers its box, whatever its own size."""
    array = np.zeros((10, 7), bool)
    array[:5] = True
    (folder / "samples.json").write_text(samples(detection({"$binary": {"base64": packed(array), "subType": "00"}})))
    _, (one,) = come_back("fiftyone", path=folder)
    region = decode_mask(one.annotations.objects[0], HEIGHT, WIDTH) > 0
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[10:20, 7:21] = True
    assert np.array_equal(region, wanted)


@pytest.mark.parametrize("metadata", [None, {}, {"width": WIDTH}, {"width": "x", "height": 0}, [1]])
def test_masks_of_samples_that_do_not_say_their_size(folder, metadata):
    """They refer to the picture as it is shown."""
    with Image.open(folder / "images" / "a.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(folder / "images" / "a.png", exif=exif)
    given = detection(packed(np.ones((3, 3), bool)))
    given["metadata"] = metadata
    (folder / "samples.json").write_text(samples(given))
    _, (one,) = come_back("fiftyone", path=folder)
    (item,) = one.annotations.objects
    assert item.box == pytest.approx((0.1 * HEIGHT, 0.25 * WIDTH, 0.2 * HEIGHT, 0.5 * WIDTH))
    assert decode_mask(item, WIDTH, HEIGHT).sum() == 8 * (round(0.75 * WIDTH) - round(0.25 * WIDTH))


def bomb() -> str:
    header = (
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|b1', 'fortran_order': False, 'shape': (4000000000, 4000000000), }"
    )
    return base64.b64encode(zlib.compress(header.ljust(128) + b"\n")).decode()


@pytest.mark.parametrize(
    "mask",
    [
        "not base 64!",
        base64.b64encode(b"no zlib").decode(),
        base64.b64encode(zlib.compress(b"no array")).decode(),
        packed(np.array([[{"a": 1}]], object)),
        packed(np.zeros((2, 2, 2), bool)),
        packed(np.zeros((0, 2), bool)),
        packed(np.zeros((2, 2), bool))[:-9] + "=",
        packed(np.zeros((2, 2))),
        packed(np.zeros((2, 2), "m8[s]")),
        {"$binary": "x"},
        {"$binary": {"base64": 7}},
        [1, 0],
        7,
        "",
        bomb(),
    ],
)
def test_masks_that_are_none_cost_their_picture(folder, mask):
    (folder / "samples.json").write_text(samples(detection(mask)))
    _, (one,) = come_back("fiftyone", path=folder)
    assert one.reason == "bad_mask"


def region_of(array: np.ndarray, side: int) -> object:
    """The region of a mask that covers a whole picture."""
    mask = regions.packed(packed(array), {"height": side, "width": side})
    return regions.with_region({"bbox": [0, 0, 1, 1], "segmentation": mask}, b"")["segmentation"]


def test_a_mask_is_unpacked_only_so_far(monkeypatch):
    monkeypatch.setattr(regions, "LARGEST", 1000)
    assert region_of(np.ones((50, 50), bool), 50) == regions.UNREADABLE


def test_a_long_mask_of_one_row_takes_no_more_than_its_picture():
    tracemalloc.start()
    found = region_of(np.ones((1, 1 << 20), bool), 2000)  # 2000 rows of a million would be 2 GB
    assert found == {"size": [2000, 2000], "counts": [0, 4_000_000]}
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_masks_in_other_orders_and_types_are_the_same():
    array = np.arange(12).reshape(3, 4) % 3
    wanted = region_of(array > 0, 12)
    for kind in ("u1", ">u8", "?"):
        for order in ("C", "F"):
            assert region_of(np.asarray(array, kind, order=order), 12) == wanted


# ── Label Studio ─────────────────────────────────────────────────────────────────────────────────────────────────────


def box(label: str, **more: object) -> dict:
    value = {"x": 10, "y": 25, "width": 20, "height": 50, "rotation": 0, "rectanglelabels": [label]}
    return {"type": "rectanglelabels", "value": {**value, **more}}


def test_the_latest_annotation_counts(folder):
    """Addresses as Label Studio writes them: of an upload, of a served file, of a URL."""
    said = [
        {"result": [box("cat")], "updated_at": "2026-01-02T00:00:00Z"},
        {"result": [box("dog"), {"type": "choices", "value": {"choices": ["wet", "dog"]}}], "updated_at": "2026-01-03"},
        {"result": [box("owl")], "updated_at": "2026-01-04", "was_cancelled": True},
    ]
    addresses = ("/data/upload/3/a.png", "/data/local-files/?d=some/images/a.png", "https://host/x/images/a.png?k=v")
    (folder / "tasks.json").write_text(
        json.dumps([{"data": {"image": address}, "annotations": said} for address in addresses])
    )
    _, found = come_back("label_studio", path=folder)
    assert len({one.id for one in found}) == 3
    for one in found:
        assert one.labels == ("wet", "dog")
        (item,) = one.annotations.objects
        assert (item.label, item.box) == ("dog", (7, 10, 14, 20))


def test_predictions_are_for_tasks_that_nobody_annotated(folder):
    (folder / "tasks.json").write_text(tasks({"image": "a.png"}, predictions=[{"result": [box("cat", rotation=0)]}]))
    assert [item.label for item in come_back("label_studio", path=folder)[1][0].annotations.objects] == ["cat"]
    assert come_back("label_studio", path=folder, predictions="never")[1][0].annotations.objects == ()


@pytest.mark.parametrize("odd", [1, True, "x", {"a": 1}, [1], [None], [{"result": 1}], [{"result": [1, {"value": 2}]}]])
def test_a_task_with_odd_values_is_unlabelled(folder, odd):
    (folder / "tasks.json").write_text(tasks({"image": "a.png"}, annotations=odd, predictions=odd))
    assert come_back("label_studio", path=folder)[1][0].labels == ()


@pytest.mark.parametrize("where", ["x", "score", "meta"])
def test_a_number_that_is_no_float_costs_its_picture(folder, where):
    value = {"x": 1, "y": 1, "width": 10, "height": 10, "rectanglelabels": ["a"]}
    kept = {"id": "", "box": {**value, "x": 10**400}}
    region = {"type": "rectanglelabels", "value": value, "meta": {"variorum": kept} if where == "meta" else {}}
    if where == "x":
        value["x"] = 10**400
    elif where == "score":
        region["score"] = 10**400
    (folder / "tasks.json").write_text(tasks({"image": "images/a.png"}, predictions=[{"result": [region]}]))
    _, (found,) = come_back("label_studio", path=folder)
    assert found.reason == {"x": "box_empty", "score": "bad_objects", "meta": ""}[where]


@pytest.mark.parametrize(
    ("sides", "reason"),
    [
        ((-1e308, 1, 1e308, 50), "bad_box"),  # finite, but not its area
        ((1e308, 1e308, 1e308, 1e308), "bad_box"),
        ((-1e200, 1, 1e200, 50), "box_outside"),
        ((-1e400, 1, 1e400, 50), "box_empty"),
        ((1, float("nan"), 1, 50), "box_empty"),
    ],
)
@pytest.mark.parametrize("name", ["label_studio", "fiftyone", "cvat", "coco"])
def test_one_bad_box_costs_its_picture_alone(folder, name, sides, reason):
    left, top, wide, high = sides
    if name == "label_studio":
        values = dict(zip(("x", "y", "width", "height"), sides, strict=True))
        regions_of = [[box("cat", **values)], [box("cat")]]
        text = json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": one}]} for one in regions_of])
        (folder / "tasks.json").write_text(text)
    elif name == "fiftyone":
        bad, good = detection(None), detection(None)
        bad["objects"]["detections"][0]["bounding_box"] = sides
        (folder / "samples.json").write_text(samples(bad, good))
    elif name == "cvat":
        shape = '<image name="a.png"><box label="cat" xtl="{}" ytl="{}" xbr="{}" ybr="{}"/></image>'
        bad = shape.format(left, top, left + wide, top + high)
        (folder / "annotations.xml").write_text(images(bad, shape.format(1, 2, 3, 4)))
    else:
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / "b.png")
        (folder / "b.json").write_text(
            json.dumps(
                {
                    "images": [
                        {"id": number, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
                        for number, name in ((1, "a"), (2, "b"))
                    ],
                    "annotations": [
                        {"id": 1, "image_id": 1, "category_id": 1, "bbox": sides},
                        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]},
                    ],
                    "categories": [{"id": 1, "name": "cat"}],
                }
            )
        )
    places = {"annotations": folder / "b.json", "pictures": folder / "images"} if name == "coco" else {"path": folder}
    _, (one, other) = come_back(name, **places)
    assert other.reason == ""
    assert one.reason in (reason, "box_empty", "box_outside")  # a box of two corners loses its size
    for item in (one, other):
        encode_sample(replace(item, labels=()), {}, annotated=True)


def test_metadata_that_no_record_can_hold_costs_its_picture(folder):
    number, licence = {"filepath": "images/a.png", "n": 10**299}, {"filepath": "images/a.png", "license": "x" * 65_537}
    fine = {"filepath": "images/a.png", "n": 10**299 - 1, "license": "x" * 65_536}
    (folder / "samples.json").write_text(samples(number, licence, fine))
    _, found = come_back("fiftyone", path=folder)
    assert [one.reason for one in found] == ["bad_text", "bad_text", ""]
    assert read_record(encode_sample(found[2], {})[0])["licence"] == fine["license"]


def test_a_moved_box_loses_its_region(folder):
    value = {"x": 10, "y": 25, "width": 20, "height": 50}
    for moved in (False, True):
        ours = {"segmentation": "0P^1", "id": "7", "box": {**value, "x": 11} if moved else value}
        result = {**box("cat"), "meta": {"variorum": ours}}
        (folder / "tasks.json").write_text(tasks({"image": "a.png"}, annotations=[{"result": [result]}]))
        _, (one,) = come_back("label_studio", path=folder)
        assert one.reason or [bool(item.id) for item in one.annotations.objects] == [not moved]


# ── files as a whole ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "file", "text", "said"),
    [
        ("fiftyone", "other.json", "{}", "has no samples.json"),
        ("fiftyone", "samples.json", "[1]", "no list of samples"),
        ("fiftyone", "samples.json", '{"samples": [{"tags": []}]}', "sample 0 .* has no filepath"),
        ("fiftyone", "samples.json", "[" * 100_000, "can't be read as JSON"),
        ("label_studio", "tasks.json", '{"a": 1}', "no list of tasks"),
        ("label_studio", "tasks.json", '[{"data": {"picture": "x"}}]', "task 1 .* has no data.image"),
        ("label_studio", "tasks.json", '[{"data": {"image": "b.png"}}]', "none of the 1 pictures .* 'b.png'"),
        ("cvat", "annotations.xml", "<annotations/>", "has no image"),
        ("cleanlab", "metadata.csv", "file_name,label\n", "no rows"),
        ("cleanlab", "metadata.csv", "name,label\na.png,x\n", "file_name or path"),
        ("cleanlab", "metadata.csv", "file_name,label\na.png,\xff\n", "as CSV in UTF-8"),
        ("imagenet_e", "labels.txt", "a.JPEG\t0\n", "no pictures in ori"),
        ("imagenet_e", "labels.txt", "a.JPEG\tcat\n", "line 1: .* isn't a name, a tab and an index"),
        ("imagenet_e", "labels.txt", "a.JPEG\t1000\n", "an index below 1000"),
        ("waves", "notes.txt", "", "set path to WAVES' DATA_DIR"),
    ],
)
def test_what_cannot_be_read_is_said(folder, name, file, text, said):
    (folder / file).write_text(text, encoding="latin-1")
    more = {"issues": ""} if name == "cleanlab" else {}
    with pytest.raises(SourceError, match=said):
        come_back(name, path=folder, **more)


def test_a_file_that_is_too_large_is_not_read(folder, monkeypatch):
    from variorum.sources.exports import annotated_folder as told

    monkeypatch.setattr(told.read_file_of, "__defaults__", (10,))
    (folder / "tasks.json").write_text(tasks({"image": "a.png"}))
    with pytest.raises(SourceError, match="more than the 10 that are read; export in parts"):
        come_back("label_studio", path=folder)


def test_issues_of_another_table_are_refused(folder):
    (folder / "metadata.csv").write_text("file_name,label\nimages/a.png,x\n")
    (folder / "issues.csv").write_text("is_label_issue\nTrue\nFalse\n")
    with pytest.raises(SourceError, match=r"has 2 rows and metadata.csv has 1"):
        come_back("cleanlab", path=folder)


def test_the_authors_imagenet_e(folder):
    """Without a file of ours: edits belong to their photographs, and a picture without a label is quarantined."""
    rng = np.random.default_rng(0)
    for place in ("ori/ILSVRC2012_val_00000001.JPEG", "rd/ILSVRC2012_val_00000001.png", "rd/x.png"):
        (folder / place).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / place)
    (folder / "labels.txt").write_text("ILSVRC2012_val_00000001.JPEG\t65\n")
    classes, found = come_back("imagenet_e", path=folder, folders=["ori", "rd"])
    assert len(classes) == 1000
    original, edit, stray = found
    assert (original.variant, original.labels, original.parent) == ("original", (classes[65].id,), "")
    assert (edit.variant, edit.labels, edit.parent) == ("rd", original.labels, original.id)
    assert edit.photograph == original.photograph == "ILSVRC2012_val_00000001"
    assert (stray.reason, stray.parent) == ("no_label", "")


def test_paths_of_waves():
    one = place_of_path("attacked/mscoco/distortion_single_jpeg-50-tree_ring/17.png")
    assert one is not None
    assert (one.mark, one.attack, one.strength, one.number) == ("tree_ring", "distortion_single_jpeg", "50", 17)
    assert one.variant == "tree_ring_distortion_single_jpeg_50"
    assert place_of_path("main/dalle3/real/3.png") == ("dalle3", "real", 3, "", "")
    for other in (
        "main/real/3.png",
        "attacked/mscoco/jpeg-real/3.png",
        "main/mscoco/real/prompt.png",
    ):
        assert place_of_path(other) is None


def test_runs_of_a_region_are_those_of_pycocotools():
    from pycocotools import mask

    rng = np.random.default_rng(1)
    for share in (0.0, 0.3, 1.0):
        region = rng.random((9, 13)) < share
        found = regions.runs_of(region)
        back = mask.decode(mask.frPyObjects(found, 9, 13))
        assert np.array_equal(back > 0, region)
    image = read_cvat(images('<image name="a" width="13" height="9"><mask label="x" rle="117" left="0" top="0" '
                             'width="13" height="9"/></image>').encode(), "x")[1][0]  # fmt: skip
    assert with_region(image.objects[0])["segmentation"]["counts"] == [117]
