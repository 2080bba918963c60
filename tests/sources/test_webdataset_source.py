import hashlib
import io
import json
import shutil
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
import webdataset as wds
from PIL import Image

from variorum.edition.shards import ShardWriter
from variorum.machine.memo import DiskMemo
from variorum.pixels import encode_png
from variorum.schemas.annotations import Object
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceChanged, SourceError, TemporaryError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure, Sample
from variorum.sources.tars import ranges as tar_remote
from variorum.sources.tars import set as tar_set
from variorum.sources.web import hosts
from variorum.sources.webdataset import Webdataset
from variorum.stages.job import models


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def jpg(value: int = 0, size=(16, 24)) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def write(path: Path, samples, **options) -> Path:
    """A tar as `webdataset` writes it: (key, {ending: content}) pairs; JSON values are encoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wds.TarWriter(str(path), encoder=False, **options) as writer:
        for key, members in samples:
            writer.write(
                {"__key__": key}
                | {
                    name: data if isinstance(data, bytes) else json.dumps(data).encode()
                    for name, data in members.items()
                }
            )
    return path


def pack(path: Path, members) -> Path:
    """A tar of (name, content) pairs in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def read(source: Webdataset, ctx: Context) -> list[Sample | Failure]:
    """All samples; the outline must say the same of them."""
    items = list(source.read(0, source.size(ctx), ctx))
    outline = list(source.outline(0, source.size(ctx), ctx))
    assert [one.id for one in outline] == [one.id for one in items]
    assert [one.labels for one in outline] == [one.labels for one in items]
    assert [one.origin for one in outline] == [one.origin for one in items]
    texts = [one.annotations.texts for one in outline]
    assert all(
        isinstance(one, Failure) or one.annotations.texts == text for one, text in zip(items, texts, strict=True)
    )
    assert all(one.image == b"" for one in outline)
    assert len({one.id for one in items}) == len(items)
    return items


def reasons(items) -> list[str]:
    return [item.reason for item in items]


# ── layouts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_shard_writer_writes_needs_no_fields(tmp_path, ctx):
    (tmp_path / "set").mkdir()
    with wds.ShardWriter(str(tmp_path / "set" / "train-%03d.tar"), maxcount=3, verbose=0) as writer:
        for number in range(8):
            writer.write({"__key__": f"{number:05d}", "jpg": jpg(number), "cls": number % 4, "txt": f"number {number}"})
    source = Webdataset(shards=str(tmp_path / "set" / "train-{000..002}.tar"))
    items = read(source, ctx)
    assert [item.image for item in items] == [jpg(number) for number in range(8)]
    assert [item.labels for item in items] == [(str(number % 4),) for number in range(8)]
    assert [info.id for info in source.classes(ctx)] == ["0", "1", "2", "3"]
    assert [item.annotations.caption() for item in items] == [f"number {number}" for number in range(8)]
    assert source.captioned(ctx)
    assert {item.split for item in items} == {"train"}
    assert items[4].origin == "train-001.tar/00004"


def test_what_img2dataset_writes(tmp_path, ctx):
    def record(number: int) -> dict:
        url = f"https://example.org/{number}.jpg"
        return {"caption": f"a cat {number}", "url": url, "key": f"{number:09d}", "status": "success"} | {
            "error_message": None,
            "width": 24,
            "height": 16,
            "exif": "{}",
            "license": "CC0-1.0" if number else None,
            "similarity": float("nan"),
        }

    samples = [
        (f"{number:09d}", {"jpg": jpg(number), "txt": f"a cat {number}".encode(), "json": record(number)})
        for number in range(3)
    ]
    write(tmp_path / "00000.tar", samples)
    (tmp_path / "00000.parquet").write_bytes(b"img2dataset writes a table too")
    source = Webdataset(
        shards=str(tmp_path / "*.tar"),
        licence="various",
        licence_field="json.license",
        metadata=("json.url", "json.similarity", "json.width"),
    )
    items = read(source, ctx)
    assert source.classes(ctx) == ()
    assert [item.annotations.caption() for item in items] == ["a cat 0", "a cat 1", "a cat 2"]
    assert [item.licence for item in items] == ["various", "CC0-1.0", "CC0-1.0"]
    assert items[1].metadata == {"url": "https://example.org/1.jpg", "similarity": None, "width": 24}
    assert reasons(items) == ["", "", ""]
    captions = Webdataset(shards=str(tmp_path / "*.tar"), caption="json.caption")
    assert [item.annotations for item in read(captions, ctx)] == [item.annotations for item in items]


def test_what_variorum_writes(tmp_path, ctx):
    mask = encode_png(np.eye(16, dtype=np.uint8) * 255)
    objects = {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [1], "label": ["goldfish"], "area": [12.0], "crowd": [False]}
    objects |= {"id": ["7"], "score": [None], "origin": ["x"], "mask": [""]}
    with ShardWriter(tmp_path / "test.tar") as writer:
        for number in range(2):
            record = json.dumps({"labels": ["tench", "goldfish"][: number + 1], "licence": "MIT"}).encode()
            members = {"annotations.json": json.dumps({"objects": objects}).encode(), "cls": b"%d" % (number - 1)}
            picture = encode_png(np.full((16, 16, 3), number, np.uint8))
            writer.write(f"{number:032x}", {"png": picture, "mask.png": mask, "json": record, **members})
    source = Webdataset(
        shards=str(tmp_path / "test.tar"),
        label="json.labels",
        mask="mask.png",
        licence_field="json.licence",
        objects="annotations.json.objects",
        class_names=("tench", "goldfish"),
    )
    one, two = read(source, ctx)
    assert one.labels == ("tench",)
    assert two.labels == ("tench", "goldfish")
    assert two.extras == {"mask.png": mask}
    assert (two.licence, two.split) == ("MIT", "test")
    assert two.annotations.objects == (Object((1, 2, 3, 4), "goldfish", area=12, id="7"),)
    labels = Webdataset(shards=str(tmp_path / "test.tar"), label="json.labels")
    assert [info.id for info in labels.classes(ctx)] == ["goldfish", "tench"]
    numbers = Webdataset(shards=str(tmp_path / "test.tar"), class_names=("tench", "goldfish"))
    assert [item.labels for item in read(numbers, ctx)] == [(), ("tench",)]  # -1 is "no label"


def test_any_range_comes_from_the_tars_that_hold_it(tmp_path, ctx):
    for shard in range(4):
        write(
            tmp_path / f"{shard}.tar", [(f"{n}", {"jpg": jpg(10 * shard + n), "cls": b"%d" % n}) for n in range(shard)]
        )
    source = Webdataset(shards=str(tmp_path / "*.tar"))
    items = read(source, ctx)
    assert len(items) == 6
    for start in range(8):
        for stop in range(8):
            assert list(source.read(start, stop, ctx)) == items[start:stop]
            assert [one.id for one in source.outline(start, stop, ctx)] == [one.id for one in items[start:stop]]
    (tmp_path / "1.tar").unlink()
    (tmp_path / "2.tar").unlink()
    assert list(source.read(3, 6, ctx)) == items[3:]
    with pytest.raises(SourceChanged, match=r"2\.tar: it has changed since the run began \(No such file"):
        list(source.read(2, 6, ctx))
    write(tmp_path / "3.tar", [("0", {"jpg": b"other"})])
    with pytest.raises(SourceChanged, match=r"3\.tar: it has changed since the run began \(another content"):
        list(source.read(3, 6, ctx))


def test_threads_may_share_a_source(tmp_path, ctx):
    for shard in range(3):
        samples = [(f"{n}", {"jpg": jpg(n), "cls": b"%d" % n}) for n in range(20)]
        write(tmp_path / f"{shard}.tar", samples)
    expected = read(Webdataset(shards=str(tmp_path / "*.tar")), ctx)
    shutil.rmtree(tmp_path / "cache")
    source = Webdataset(shards=str(tmp_path / "*.tar"))
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: list(source.read(start, start + 4, ctx)), range(0, 60, 4)))
    assert [item for part in parts for item in part] == expected


# ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_identity_is_content_not_place_or_order(tmp_path, ctx):
    for split in ("train", "val"):
        write(tmp_path / "a" / split / "0.tar", [("x", {"jpg": jpg(), "cls": b"1"})])
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c")
    here = Webdataset(shards=str(tmp_path / "a" / "*" / "*.tar"))
    there = Webdataset(shards=tuple(str(tmp_path / "b" / "c" / name / "0.tar") for name in ("val", "train", "val")))
    assert here.fingerprint() == there.fingerprint()
    assert here.pin(ctx) == there.pin(ctx)
    assert read(here, ctx) == read(there, ctx)
    assert [item.origin for item in read(here, ctx)] == ["train/0.tar/x", "val/0.tar/x"]
    assert here.place() != there.place()
    assert Webdataset(shards="x", label="json.a").fingerprint() != here.fingerprint()


def test_the_pin_moves_with_content_names_splits_and_classes(tmp_path, ctx):
    def pin(path: Path, **fields) -> str:
        return Webdataset(shards=str(path), **fields).pin(ctx)

    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    path = write(tmp_path / "train.tar", [("x", {"jpg": jpg()})], mtime=0)
    pins = [pin(path), pin(path, split="test"), pin(path, class_names=("cat", "dog"))]
    assert pin(path, class_names=names) == pins[-1]
    names.write_text("dog\ncat\n")
    pins.append(pin(path, class_names=names))
    pins.append(pin(path.rename(tmp_path / "val.tar")))
    pins.append(pin(write(tmp_path / "val.tar", [("x", {"jpg": jpg(9)})], mtime=0)))
    assert len(set(pins)) == len(pins)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-000.tar", "train"),
        ("imagenet1k-validation-00.tar", "validation"),
        ("x/val2017/000.tar", "validation"),
        ("my-test-data/000.tar", "test"),
        ("train/dev-0.tar", "validation"),
        ("train-test/0.tar", ""),
        ("trainer/000.tar", ""),
    ],
)
def test_splits_come_from_names_of_tars_and_folders(tmp_path, ctx, name, split):
    write(tmp_path / "other.tar", [("x", {"jpg": jpg()})])
    write(tmp_path / name, [("x", {"jpg": jpg()})])
    source = Webdataset(shards=str(tmp_path / "**" / "*.tar"))
    assert {item.origin: item.split for item in read(source, ctx)} == {"other.tar/x": "", f"{name}/x": split}
    assert {item.split for item in read(source.model_copy(update={"split": "none"}), ctx)} == {""}
    assert {item.split for item in read(source.model_copy(update={"split": "test"}), ctx)} == {"test"}


def test_the_common_folder_counts_if_it_is_called_after_a_split(tmp_path, ctx):
    for folder, split in (("val", "validation"), ("train2017", "train"), ("test_data", "")):
        path = write(tmp_path / folder / "0.tar", [("x", {"jpg": jpg()})])
        assert [item.split for item in read(Webdataset(shards=str(path)), ctx)] == [split]


def test_indices_hashes_and_labels_are_kept(tmp_path, ctx, own_cache, monkeypatch):
    import os

    path = write(tmp_path / "a.tar", [(f"{n}", {"jpg": jpg(n), "cls": b"%d" % n}) for n in range(5)])
    os.utime(path, ns=(10**18, 10**18))
    source = Webdataset(shards=str(path))
    items, pin = read(source, ctx), source.pin(ctx)
    # what is in it is known, so nobody looks at it again
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        patch.setattr(tar_set, "LocalTar", None)
        again = Webdataset(shards=str(path))
        assert (again.size(ctx), again.pin(ctx)) == (5, pin)
        assert [one.id for one in again.outline(0, 5, ctx)] == [item.id for item in items]
        assert len(again.classes(ctx)) == 5
    # what is damaged, or was kept by another version, is made again
    write(path, [(f"{n}", {"jpg": jpg(n), "cls": b"%d" % n}) for n in range(5)])
    for file in (own_cache / "webdataset").rglob("*.npz"):
        file.write_bytes(b"damaged")
    items = read(Webdataset(shards=str(path)), ctx)
    for file in (own_cache / "webdataset").rglob("*.npz"):
        file.write_bytes(b"damaged")
    assert read(Webdataset(shards=str(path)), ctx) == items


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path, ctx, own_cache, caplog):
    own_cache.write_text("a file where the folder should be")
    path = write(tmp_path / "a.tar", [("x", {"jpg": jpg(), "cls": b"3"})])
    (item,) = read(Webdataset(shards=str(path)), ctx)
    assert item.labels == ("3",)
    assert "can't be written" in caplog.text


# ── labels, captions, objects ────────────────────────────────────────────────────────────────────────────────────────


def labelled(tmp_path, ctx, values, **fields):
    samples = [(f"{n}", {"jpg": jpg(), "json": {"meta": {"class": value}}}) for n, value in enumerate(values)]
    source = Webdataset(shards=str(write(tmp_path / "a.tar", samples)), label="json.meta.class", **fields)
    return [(item.labels, item.reason) for item in read(source, ctx)], [info.id for info in source.classes(ctx)]


def test_labels_are_classes_in_order(tmp_path, ctx):
    assert labelled(tmp_path, ctx, [10, 9, None, -1]) == (
        [(("10",), ""), (("9",), ""), ((), ""), ((), "")],
        ["9", "10"],
    )
    assert labelled(tmp_path, ctx, [" big cat", ["dog", "big cat", "dog"], [], True]) == (
        [(("big cat",), ""), (("dog", "big cat"), ""), ((), ""), (("true",), "")],
        ["big cat", "dog", "true"],
    )
    assert labelled(tmp_path, ctx, [3, "3", "a"])[1] == ["3", "a"]


def test_labels_that_are_none(tmp_path, ctx):
    found, classes = labelled(tmp_path, ctx, [{"a": 1}, 1.5, [[1]], "ok"])
    assert found == [((), "unknown_label")] * 3 + [(("ok",), "")]
    assert classes == ["ok"]
    with pytest.raises(SourceError, match=r"no sample has a value at json\.meta\.class"):
        labelled(tmp_path, ctx, [None, None])


def test_given_classes_take_numbers_names_and_ids(tmp_path, ctx):
    table = tmp_path / "classes.csv"
    table.write_text("id,name\nn01,cat\nn02,dog\n")
    values = [0, 1, "dog", "n01", 2, "cow", -1]
    found, classes = labelled(tmp_path, ctx, values, class_names=table)
    assert [labels for labels, _ in found] == [("n01",), ("n02",), ("n02",), ("n01",), (), (), ()]
    assert [reason for _, reason in found] == ["", "", "", "", "unknown_label", "unknown_label", ""]
    assert classes == ["n01", "n02"]
    assert labelled(tmp_path, ctx, ["1"], class_names=("1", "2"))[0] == [(("1",), "")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cat\n cat\n", "two classes have the name 'cat'"),
        ("\n\n", "has no names"),
        (b"\xff\xfe\x00", "can't be read"),
        (None, r"names\.txt can't be read"),
    ],
)
def test_class_files_that_cannot_be_used(tmp_path, ctx, text, problem):
    if text is not None:
        (tmp_path / "names.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    write(tmp_path / "a.tar", [("x", {"jpg": jpg(), "cls": b"0"})])
    with pytest.raises(SourceError, match=f"webdataset: .*{problem}"):
        Webdataset(shards=str(tmp_path / "a.tar"), class_names=tmp_path / "names.txt").classes(ctx)


def test_captions_in_json_may_be_several(tmp_path, ctx):
    values = ["one", ["a", "b"], None, 5]
    samples = [(f"{n}", {"jpg": jpg(), "json": {"caption": value}}) for n, value in enumerate(values)]
    source = Webdataset(shards=str(write(tmp_path / "a.tar", samples)), caption="json.caption")
    items = read(source, ctx)
    assert [[text.text for text in item.annotations.texts] for item in items] == [["one"], ["a", "b"], [], []]
    assert reasons(items) == ["", "", "", "bad_text"]
    assert source.captioned(ctx)
    assert not Webdataset(shards=str(tmp_path / "a.tar")).captioned(ctx)
    assert not Webdataset(shards=str(tmp_path / "a.tar"), caption=None).captioned(ctx)


def test_objects_are_read_checked_and_named(tmp_path, ctx):
    good = {"bbox": [[1, 2, 5, 6]], "category": [1], "id": [7]}
    objects = [good, {"bbox": [[20, 2, 30, 6]], "category": [0]}, [{"bbox": [0, 0], "category": 1}], None]
    samples = [(f"{n}", {"jpg": jpg(), "json": {"objects": value}}) for n, value in enumerate(objects)]
    path = str(write(tmp_path / "a.tar", samples))
    items = read(Webdataset(shards=path, objects="json.objects", class_names=("cat", "dog"), box_format="xyxy"), ctx)
    assert reasons(items) == ["", "box_outside", "bad_box", ""]
    assert items[0].annotations.objects == (Object((1, 2, 4, 4), "dog", id="7"),)
    assert items[3].annotations.objects == ()
    clipped = Webdataset(shards=path, objects="json.objects", box_format="xyxy", clip=True)
    assert reasons(read(clipped, ctx)) == ["", "", "bad_box", ""]
    assert [info.id for info in clipped.classes(ctx)] == ["0", "1"]


def test_masks_fit_their_pictures_or_are_failures(tmp_path, ctx):
    good, small = (encode_png(np.zeros(size, np.uint8)) for size in ((16, 24), (8, 8)))
    members = [{"mask.png": good}, {"mask.png": small}, {"mask.png": b"no mask"}, {}]
    write(tmp_path / "a.tar", [(f"{n}", {"jpg": jpg(), "cls": b"0"} | more) for n, more in enumerate(members)])
    items = read(Webdataset(shards=str(tmp_path / "a.tar"), mask="Mask.PNG"), ctx)
    assert items[0].extras == {"mask.png": good}
    assert reasons(items) == ["", "mask_size", "bad_mask", "no_mask"]
    assert all(item.labels == ("0",) for item in items)


def test_metadata_is_named_after_its_path(tmp_path, ctx):
    record = {"url": "u", "meta": {"source": {"x": [1, 1e999]}}, "list": ["a", "b"]}
    write(tmp_path / "a.tar", [("0", {"jpg": jpg(), "json": record, "url": b"member"}), ("1", {"jpg": jpg()})])
    fields = ("json.meta.source", "json.list.1", "url", "json.list.9")
    one, two = read(Webdataset(shards=str(tmp_path / "a.tar"), metadata=fields), ctx)
    assert one.metadata == {"meta_source": {"x": [1, None]}, "list_1": "b", "url": "member", "list_9": None}
    assert two.metadata == dict.fromkeys(one.metadata)
    with pytest.raises(RecipeError, match="two of these have the name 'url'"):
        recipe(metadata=["url", "json.url"])


def test_one_ending_or_value_needs_no_list(tmp_path):
    source = Webdataset(shards="a.tar", image="jpg", metadata="json.url")
    assert source == Webdataset(shards="a.tar", image=("jpg",), metadata=("json.url",))


def recipe(**fields) -> Recipe:
    source = {"name": "webdataset", "shards": "a.tar", **fields}
    return Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source})


@pytest.mark.parametrize(
    "fields",
    [{"shards": ""}, {"shards": []}, {"image": []}, {"image": [".jpg"]}, {"label": "json."}, {"caption": "a..b"}],
)
def test_fields_that_lead_nowhere(fields):
    with pytest.raises(RecipeError, match=rf"source\.{next(iter(fields))}"):
        recipe(**fields)


def test_fields_that_name_no_member_list_those_there_are(tmp_path, ctx, caplog):
    write(tmp_path / "a.tar", [(f"{n}", {"jpg": jpg(), "json": {"a": 1}}) for n in range(3)])

    def source(**fields) -> Webdataset:
        return Webdataset(shards=str(tmp_path / "a.tar"), **fields)

    for fields, problem in (
        ({"image": ("png",)}, "image: no sample has a member png; there are: jpg, json"),
        ({"label": "class"}, "label class: no sample has a member class; there are: jpg, json"),
        ({"mask": "mask.png"}, r"mask mask\.png: no sample has a member mask\.png"),
        ({"metadata": ("meta.json.a",)}, r"metadata meta\.json\.a: no sample has a member meta\.json"),
    ):
        with pytest.raises(SourceError, match=problem):
            source(**fields).size(ctx)
    assert source(metadata=("json.a",)).size(ctx) == 3
    assert "mistyped" not in caplog.text
    assert source(metadata=("json.a", "json.b")).size(ctx) == 3
    assert "metadata json.b: none of the first 20 samples has this value; is it mistyped?" in caplog.text
    assert "json.a" not in caplog.text


# ── bad shards ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_in_a_bad_tar_is_lost(tmp_path, ctx):
    good = jpg(1)
    path = pack(
        tmp_path / "a.tar",
        [
            *(("ok.jpg", good), ("ok.cls", b"5")),
            *(("none.cls", b"6"), ("none.json", b"{}")),
            *(("ok.jpg", good), ("ok.cls", b"7")),
            *(("img.0.jpg", good), ("img.1.jpg", good)),
            ("/abs/x.jpg", good),
            ("../up.jpg", good),
            ("empty.jpg", b""),
            *(("text.jpg", good), ("text.txt", b"caf\xe9")),
            *(("label.jpg", good), ("label.cls", b"\xff")),
            *(("json.jpg", good), ("json.json", b'{"a": ')),
            *(("half.jpg", good), ("half.json", rb'{"a": "\ud800"}')),
        ],
    )
    items = read(Webdataset(shards=str(path), metadata=("json.a",)), ctx)
    assert {item.origin.removeprefix("a.tar/"): (type(item), item.reason) for item in items[:2]} == {
        "ok": (Sample, ""),
        "none": (Failure, "no_picture"),
    }
    assert reasons(items[2:]) == [
        "duplicate_key",
        "no_picture",
        "unsafe_name",
        "unsafe_name",
        "empty",
        "bad_text",
        "unknown_label",
        "bad_json",
        "bad_json",
    ]
    assert all(isinstance(item, Failure) for item in items[2:7])
    assert all(isinstance(item, Sample) and item.image == good for item in items[7:])
    assert items[1].labels == ("6",)
    assert "cls, json" in items[1].detail
    assert "split at its first dot" in items[3].detail
    assert "split at its first dot" not in items[1].detail


def test_links_are_no_pictures(tmp_path, ctx):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, target in (("x.jpg", ""), ("y.jpg", "x.jpg"), ("z.jpg", "/etc/passwd")):
            info = tarfile.TarInfo(name)
            if target:
                info.type, info.linkname = tarfile.SYMTYPE, target
                archive.addfile(info)
            else:
                info.size = len(jpg())
                archive.addfile(info, io.BytesIO(jpg()))
    items = read(Webdataset(shards=str(tmp_path / "a.tar")), ctx)
    assert reasons(items) == ["", "no_picture", "no_picture"]
    assert "jpg (a link)" in items[1].detail


def test_a_tar_that_breaks_off_keeps_what_lies_before(tmp_path, ctx):
    path = write(tmp_path / "a.tar", [(f"{n}", {"jpg": jpg(n), "cls": b"%d" % n}) for n in range(4)])
    whole = read(Webdataset(shards=str(path)), ctx)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(jpg(2)) + 50])
    items = read(Webdataset(shards=str(path)), ctx)
    assert items[:2] == whole[:2]
    assert [(type(item), item.id, item.reason) for item in items[2:]] == [(Failure, whole[2].id, "truncated")]


def test_tars_without_samples(tmp_path, ctx, caplog):
    empty = pack(tmp_path / "empty.tar", [])
    with pytest.raises(SourceError, match=r"there is no sample in .*empty\.tar"):
        Webdataset(shards=str(empty)).size(ctx)
    write(tmp_path / "full.tar", [("x", {"jpg": jpg()})])
    assert Webdataset(shards=str(tmp_path / "*.tar")).size(ctx) == 1
    assert "empty.tar has no samples" in caplog.text


@pytest.mark.parametrize(
    ("shards", "problem"),
    [
        ("gone.tar", r"gone\.tar doesn't exist"),
        ("*.tgz", r"\*\.tgz matches no file"),
        ("a-{0..2}.tar", r"a-1\.tar \(of .*a-\{0\.\.2\}\.tar\) doesn't exist"),
        ("a-{0..2.tar", "has no partner"),
        (".", r"is a folder; write .*/\*\.tar"),
        ("text.tar", r"text\.tar is no tar"),
        ("zero.tar", r"zero\.tar is empty: 0 bytes"),
        ("packed.tar", r"packed\.tar is compressed \(gzip\).*gunzip"),
        ("strange://x/a.tar", r"strange://x/a\.tar: can't be read: .*strange"),
        ("memory://gone/a.tar", r"memory://gone/a\.tar: there is no such file"),
        ("memory://gone/*.tar", r"memory://gone/\*\.tar matches no file"),
    ],
)
def test_shards_that_cannot_be_read_are_named(tmp_path, ctx, monkeypatch, shards, problem):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a-0.tar", [("x", {"jpg": jpg()})])
    (tmp_path / "text.tar").write_text("no tar" * 200)
    (tmp_path / "zero.tar").write_bytes(b"")
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(tmp_path / "text.tar", "x.jpg")
    with pytest.raises(SourceError, match=rf"^(webdataset: )?.*{problem}"):
        Webdataset(shards=shards).size(ctx)


def test_two_tars_of_one_name_are_refused(tmp_path, ctx):
    fs = fsspec.filesystem("memory")
    path = write(tmp_path / "a.tar", [("x", {"jpg": jpg()})])
    fs.pipe("/one/a.tar", path.read_bytes())
    with pytest.raises(SourceError, match=r"two shards have the name a\.tar: /.*a\.tar and memory://one/a\.tar"):
        Webdataset(shards=(str(path), "memory://one/a.tar")).size(ctx)
    fs.rm("/one", recursive=True)


# ── URLs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Plain(SimpleHTTPRequestHandler):
    """A server that knows no ranges, like `python -m http.server`. It notes what it is asked for."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.headers.get("Range", ""))
        super().do_GET()


class Ranged(Plain):
    """A server that knows ranges."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        if not wanted:
            super().do_GET()
            return
        self.server.asked.append(wanted)
        start, stop = map(int, wanted.removeprefix("bytes=").split("-"))
        part = Path(self.translate_path(self.path)).read_bytes()[start : stop + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that hangs up, as fsspec does on a host without ranges, is no error."""


@contextmanager
def serving(folder: Path, handler):
    with Server(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", server.asked
        server.shutdown()


def remote_set(folder: Path) -> list[bytes]:
    pictures = [jpg(number) + bytes(3000) for number in range(40)]
    for shard in range(2):
        write(
            folder / f"train-{shard}.tar",
            [
                (f"{n:03d}", {"jpg": pictures[n], "cls": b"%d" % (n % 3), "txt": b"text"})
                for n in range(20 * shard, 20 * shard + 20)
            ],
        )
    return pictures


@pytest.mark.parametrize("handler", [Plain, Ranged])
def test_tars_behind_http(tmp_path, ctx, handler, monkeypatch):
    monkeypatch.setattr(tar_remote, "AHEAD", 20_000)
    pictures = remote_set(tmp_path / "set")
    local = read(Webdataset(shards=str(tmp_path / "set" / "*.tar")), ctx)
    with serving(tmp_path / "set", handler) as (url, asked):
        shutil.rmtree(ctx.memo.folder.parent / "cache")
        source = Webdataset(shards=f"{url}/train-{{0..1}}.tar")
        assert source.size(ctx) == 40
        assert source.pin(ctx) == Webdataset(shards=str(tmp_path / "set" / "*.tar")).pin(ctx)
        assert len(source.classes(ctx)) == 3
        assert [one.annotations.caption() for one in source.outline(0, 40, ctx)] == ["text"] * 40
        assert asked == ["", ""]  # each was sent once, as a whole
        asked.clear()
        items = list(source.read(0, 40, ctx))
        assert items == local
        assert [item.image for item in items] == pictures
        whole, parts = asked.count(""), [one for one in asked if one]
        if handler is Ranged:
            assert whole == 0
            assert 6 < len(parts) < 25
        else:
            assert whole == 2
            assert len(parts) == 2  # each was asked for a range once
        asked.clear()
        again = Webdataset(shards=f"{url}/train-{{0..1}}.tar")
        assert again.pin(ctx) == source.pin(ctx)
        assert not asked  # only the headers were asked for


class Unsteady(Ranged):
    """A server that refuses every second range, and breaks off what it sends whole after half of it if told to."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        if wanted and len(self.server.asked) % 2 == 0:
            self.server.asked.append("refused")
            self.send_error(503)
        elif not wanted and "half" in self.path:
            data = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        else:
            super().do_GET()


def test_hosts_may_fail_now_and_then_but_not_for_good(tmp_path, ctx, monkeypatch):
    monkeypatch.setattr(hosts, "WAITS", (0.0, 0.0))
    pictures = remote_set(tmp_path / "set")
    with serving(tmp_path / "set", Unsteady) as (url, asked):
        source = Webdataset(shards=f"{url}/train-0.tar")
        assert source.size(ctx) == 20
        asked[:] = [""] * 2
        assert [item.image for item in source.read(0, 20, ctx)] == pictures[:20]
        assert "refused" in asked
        (tmp_path / "set" / "train-0.tar").unlink()
        with pytest.raises(SourceChanged, match=r"train-0\.tar: it has changed since .* \(there is no such file"):
            list(source.read(0, 20, ctx))
        (tmp_path / "set" / "train-1.tar").rename(tmp_path / "set" / "half.tar")
        with pytest.raises(TemporaryError, match=r"half\.tar: can't be read now \(ClientPayloadError"):
            Webdataset(shards=f"{url}/half.tar").size(ctx)


def test_a_tar_behind_a_url_that_changes_is_read_again(tmp_path, ctx):
    import os

    remote_set(tmp_path / "set")
    with serving(tmp_path / "set", Ranged) as (url, _):
        pin = Webdataset(shards=f"{url}/train-0.tar").pin(ctx)
        write(tmp_path / "set" / "train-0.tar", [("x", {"jpg": jpg()})])
        os.utime(tmp_path / "set" / "train-0.tar", (1, 1))
        changed = Webdataset(shards=f"{url}/train-0.tar")
        assert changed.size(ctx) == 1
        assert changed.pin(ctx) != pin
        with pytest.raises(SourceError, match=r"gone\.tar: there is no such file"):
            Webdataset(shards=f"{url}/gone.tar").size(ctx)


def test_tars_in_an_object_store(tmp_path, ctx):
    pictures = remote_set(tmp_path / "set")
    fs = fsspec.filesystem("memory")
    for path in (tmp_path / "set").iterdir():
        fs.pipe(f"/bucket/data/{path.name}", path.read_bytes())
    source = Webdataset(shards="memory://bucket/data/*.tar")
    items = read(source, ctx)
    assert [item.image for item in items] == pictures
    assert items == read(Webdataset(shards=str(tmp_path / "set" / "*.tar")), ctx)
    assert list(source.read(19, 21, ctx)) == items[19:21]
    fs.pipe("/bucket/data/train-0.tar", b"something shorter")
    with pytest.raises(SourceChanged, match=r"train-0\.tar: .*17 bytes instead of"):
        list(source.read(0, 1, ctx))
    fs.rm("/bucket", recursive=True)


def test_places_hold_no_secrets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Webdataset(shards=("https://me:word@example.org/a.tar?token=abc", "data/*.tar"))
    assert source.place() == f"webdataset shards=https://example.org/a.tar,{tmp_path}/data/*.tar"
