"""Tars, annotation files and parquet files of others, damaged at random: one clear line, or samples and rows.

`VARIORUM_FUZZ=20` tries twenty times as many.
"""

import copy
import io
import json
import math
import os
import struct
import sys
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from variorum.edition.shards import ShardWriter
from variorum.machine.memo import DiskMemo
from variorum.schemas.canonical import digest
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import VariorumError
from variorum.schemas.sample import Failure, Sample
from variorum.sources.coco import Coco
from variorum.sources.parquet import Parquet
from variorum.sources.web import hosts
from variorum.sources.webdataset import Webdataset
from variorum.stages.job import models

TIMES = int(os.environ.get("VARIORUM_FUZZ", "1"))
MOST = 60
"""Samples that are looked at."""


def many(examples: int):
    return settings(
        max_examples=examples * TIMES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    )


@pytest.fixture
def ctx(tmp_path, own_cache, monkeypatch) -> Context:
    monkeypatch.setattr(hosts, "WAITS", ())
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


SECRET = png(201)
"""A picture outside of the folder that is read."""


def tried(make, data: bytes, name: str, tmp_path: Path, ctx: Context) -> None:
    """Read a source over a file with these bytes, and look at all that it gives.

    Args:
        make: makes the source, from the folder.
        data: of the file.
        name: of the file.
    """
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    (tmp_path / "secret.png").write_bytes(SECRET)
    (folder / name).write_bytes(data)
    before = listing(tmp_path)
    try:
        as_in_a_run(lambda: looked_at(make(folder), ctx))
    except VariorumError as error:
        said = str(error)
        assert said.encode()
        assert len(said.splitlines()) == 1
        assert len(said) < 20_000
    assert listing(tmp_path) == before
    assert (tmp_path / "secret.png").read_bytes() == SECRET


def as_in_a_run(work) -> None:
    """Work with the depth of calls that a thread of a run has; Hypothesis allows more."""
    limit = sys.getrecursionlimit()
    with ThreadPoolExecutor(1) as pool:
        sys.setrecursionlimit(1000)
        try:
            pool.submit(work).result()
        finally:
            sys.setrecursionlimit(limit)


def listing(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "cache" not in path.relative_to(folder).parts[:1]}


def looked_at(source: Source, ctx: Context) -> None:
    assert len(source.pin(ctx)) == 64
    size = source.size(ctx)
    assert 0 < size < 10_000
    names = [info.id for info in source.classes(ctx)]
    assert len({*names}) == len(names)
    outline = list(source.outline(0, min(size, MOST), ctx))
    items = list(source.read(0, min(size, MOST), ctx))
    assert len(items) == len(outline) == min(size, MOST)
    assert [item.id for item in items] == [one.id for one in outline]
    for item in items:
        assert isinstance(item, Sample | Failure)
        assert item.reason or isinstance(item, Sample)
        for text in (item.id, item.origin, item.detail, item.licence, *item.labels, *names):
            text.encode()
        if isinstance(item, Sample):
            assert item.image
            assert item.image != SECRET
            digest(item.metadata)
            digest([one.text for one in item.annotations.texts])
            assert all(np.isfinite(one.box).all() for one in item.annotations.objects)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────────

ODD = st.sampled_from(
    [b"", b"\0", b"\xff" * 9, b"\x80", b"../", b"/etc/passwd", b"\xed\xa0\x80", b"9" * 30, b"-1", b"1e999", b"\0" * 512]
)
EDIT = st.tuples(st.sampled_from(["over", "in", "cut", "copy"]), st.integers(0, 1 << 16), st.integers(0, 1 << 16), ODD)
EDITS = st.lists(
    st.one_of(EDIT, EDIT.flatmap(lambda one: st.binary(max_size=12).map(lambda data: (*one[:3], data)))), max_size=4
)


def damaged(data: bytes, edits) -> bytes:
    """Bytes that were written over, put in, cut off, or copied from another place."""
    for kind, first, second, new in edits:
        place = first % (len(data) + 1)
        if kind == "over":
            data = data[:place] + new + data[place + len(new) :]
        elif kind == "in":
            data = data[:place] + new + data[place:]
        elif kind == "cut":
            data = data[: max(place, 1)]
        else:
            start = second % (len(data) + 1)
            data = data[:place] + data[start : start + 700] + data[place:]
    return data


# ── tars ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

RECORD = {
    "labels": ["a"],
    "caption": "words",
    "licence": "MIT",
    "objects": [{"bbox": [1, 2, 3, 4], "category": "a", "segmentation": [[1, 1, 5, 1, 5, 5]]}],
    "x": {"y": [1, 2.5, None]},
}


def foreign_tar(form: int, record: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for number in range(3):
            name = f"{'folder/' * 20 if number == 2 else ''}{number}"
            members = {"png": png(number), "json": record or json.dumps(RECORD).encode(), "mask.png": png(255)}
            for ending, data in members.items():
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size, info.mtime = len(data), 1.5 if form == tarfile.PAX_FORMAT else 1
                archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../secret.png"
        archive.addfile(link)
    return stream.getvalue()


@pytest.fixture(scope="module")
def tars(tmp_path_factory) -> list[bytes]:
    path = tmp_path_factory.mktemp("own") / "a.tar"
    with ShardWriter(path) as shard:
        for number in range(3):
            shard.write(f"{number:032x}", {"png": png(number), "json": json.dumps(RECORD).encode(), "cls": b"0"})
    forms = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    return [path.read_bytes(), *map(foreign_tar, forms)]


def webdataset(folder: Path) -> Webdataset:
    return Webdataset(
        shards=str(folder / "a.tar"),
        label="json.labels",
        caption="json.caption",
        objects="json.objects",
        licence_field="json.licence",
        metadata=("json.x",),
    )


FIELD = st.tuples(
    st.integers(0, 30),
    st.sampled_from([0, 100, 124, 156, 257, 345, 482]),  # name, mode, size, type, magic, prefix, sparse
    st.sampled_from(
        [
            *(b"77777777777\0", b"00000000000\0", b"\x80" + bytes(7) + b"\2\0\0\0", b"\x80\0\0\0\x3f" + b"\xff" * 7),
            *(b"\xff" * 12, b"\x80" * 12, b"-0000000001\0", b"x", b"g", b"L", b"K", b"S", b"1", b"2", b"3", b"5", b"6"),
            *(b"/etc/passwd\0", b"../../x.png\0", b"a\xffb.png\0", b"ustar  \0", b"ustar\x0000", b"0.png\0"),
        ]
    ),
)


def with_fields(data: bytes, fields) -> bytes:
    """A tar with values in its headers that lie, and right checksums."""
    found = bytearray(data)
    heads = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    for number, place, value in fields:
        at = heads[number % len(heads)]
        found[at + place : at + place + len(value)] = value
        found[at + 148 : at + 156] = b" " * 8
        found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + 512])
    return bytes(found)


@many(80)
@given(which=st.integers(0, 3), fields=st.lists(FIELD, max_size=3), edits=EDITS)
def test_damaged_tars(which, fields, edits, tars, tmp_path, ctx):
    tried(webdataset, damaged(with_fields(tars[which], fields), edits), "a.tar", tmp_path, ctx)


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    raw = bytearray(512)
    raw[: len(name)], raw[124:136], raw[156:157], raw[257:265] = name, size.ljust(12, b"\0"), kind, b"ustar\x0000"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def pax(key: bytes, value: bytes, kind: bytes = b"x") -> bytes:
    record = b" %s=%s\n" % (key, value)
    size = next(size for size in range(len(record), len(record) + 20) if size == len(record) + len(str(size)))
    body = b"%d%s" % (size, record)
    return header(b"pax", b"%011o" % len(body), kind) + body.ljust(-(-len(body) // 512) * 512, b"\0")


HUGE = (8 << 30, 1 << 40, (1 << 62) - 1, (1 << 62) + 1, 1 << 80)


@pytest.mark.parametrize("size", [b"-1", b"77777777777", b"\xff" * 12, b"\xff" + bytes(11), *HUGE])
@pytest.mark.parametrize("way", ["header", "pax", "pax of all"])
@pytest.mark.parametrize("ending", ["cls", "jpg"])
def test_sizes_that_lie_cost_the_sample_and_no_memory(size, way, ending, tmp_path, ctx):
    name = f"b.{ending}".encode()
    if way == "header":
        lie = header(name, size if isinstance(size, bytes) else b"\x80" + size.to_bytes(11, "big"))
    else:
        said = size if isinstance(size, bytes) else b"%d" % size
        lie = pax(b"size", said, b"x" if way == "pax" else b"g") + header(name, b"00000000001")
    whole = foreign_tar(tarfile.USTAR_FORMAT)
    (tmp_path / "a.tar").write_bytes(whole[: whole.index(b"0.json")] + lie + bytes(5000))
    tracemalloc.start()
    try:
        first, *rest = Webdataset(shards=str(tmp_path / "a.tar"), image=("png", "jpg")).read(0, 9, ctx)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert first.image == png(0)
    assert [item.reason for item in rest] == ["truncated"]


def test_names_for_all_members_take_no_memory(tmp_path, ctx):
    members = b"".join(header(b"b.jpg", b"00000000000") for _ in range(500))
    whole = foreign_tar(tarfile.USTAR_FORMAT)
    long = pax(b"path", b"n" * 900_000 + b".jpg", b"g")
    (tmp_path / "a.tar").write_bytes(whole[: whole.index(b"0.json")] + long + members + bytes(1024))
    tracemalloc.start()
    try:
        first, rest = Webdataset(shards=str(tmp_path / "a.tar"), image=("png", "jpg")).read(0, 9, ctx)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert (first.image, rest.reason) == (png(0), "truncated")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"v": "\xed\xa0\x80"}', "bad_json"),
        ('{"v": "\\ud800"}'.encode("utf-16"), "bad_json"),
        ('{"v": "é"}'.encode("utf-16"), ""),
        (b'\xef\xbb\xbf{"v": "a"}', ""),
        (b'{"v": ' + b"9" * 4000 + b"}", "unknown_label"),
        (b'{"v": ' + b"9" * 9000 + b"}", "bad_json"),
        (b'{"v": ' + b"[" * 900 + b"]" * 900 + b"}", "unknown_label"),
        (b'{"v": ' + b"[" * 99999 + b"]" * 99999 + b"}", "bad_json"),
        (b'{"v": "' + b"n" * (1 << 24) + b'"}', "too_large"),
    ],
)
def test_json_that_is_no_json_to_all(data, reason, tmp_path, ctx):
    (tmp_path / "a.tar").write_bytes(foreign_tar(tarfile.PAX_FORMAT, data))
    as_in_a_run(lambda: _labels(tmp_path / "a.tar", reason, ctx))


def _labels(path: Path, reason: str, ctx: Context) -> None:
    source = Webdataset(shards=str(path), label="json.v", metadata=("json.v",), class_names=("é", "a"))
    items = list(source.read(0, 3, ctx))
    assert [item.reason for item in items] == [reason] * 3
    assert [one.id for one in source.outline(0, 3, ctx)] == [item.id for item in items]


@many(40)
@given(
    records=st.lists(
        st.tuples(
            st.sampled_from(["path", "size", "GNU.sparse.size", "GNU.sparse.name", "hdrcharset", "x"]),
            st.sampled_from(
                ["", "-1", "8589934592", "9" * 40, "4611686018427387904", "٣", "a/b.png", "../c.png", "/d.png"]
            )
            | st.text(max_size=20),
        ),
        max_size=4,
    ),
    common=st.booleans(),
    length=st.integers(-2, 2),
)
def test_pax_headers_that_lie(records, common, length, tmp_path, ctx):
    body = b""
    for key, value in records:
        record = f" {key}={value}\n".encode("utf-8", "surrogatepass")
        size = len(record) + len(str(len(record) + 3))
        body += b"%d" % max(0, size + length) + record
    header = tarfile.TarInfo("pax")
    header.size, header.type = len(body), b"g" if common else b"x"
    whole = foreign_tar(tarfile.USTAR_FORMAT)
    data = (
        whole[:1024] + header.tobuf(tarfile.USTAR_FORMAT) + body.ljust(-(-len(body) // 512) * 512, b"\0") + whole[1024:]
    )
    tried(webdataset, data, "a.tar", tmp_path, ctx)


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

DEEP, DEEPER = 900, 2000  # Python's decoder takes the one in a thread of a run, and not the other
HOSTILE = st.sampled_from(
    [
        *(None, True, -1, 0, 2**31, 2**63, 2**64, 10**400, -(10**4000), 1.5, 1e308, math.nan, math.inf, 7.0),
        *("", "..", "../secret.png", "/etc/passwd", "0.png/../../secret.png", "a\0b", "\ud800", "\x1b[31m", "n" * 5000),
        *([], {}, [[]], [{}], {"": ""}, [None] * 5, [1, 2, 3], [[1, 2, 3, 4]], {"counts": [1], "size": [8, 12]}),
        *(
            {"counts": "\ud800", "size": [8, 12]},
            {"counts": [2**70, -1], "size": [8, 12]},
            "deep list",
            "deeper mapping",
        ),
    ]
)


def with_values(document, changes, escaped: bool) -> bytes:
    """A JSON document with some of its values, at any depth, replaced; texts as escapes, or as they are."""
    found = json.loads(json.dumps(document))
    for number, value in changes:
        places = list(places_in(found))
        holder, key = places[number % len(places)]
        holder[key] = copy.deepcopy(value)
    text = json.dumps(found, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    text = text.replace(b'"deep list"', b"[" * DEEP + b"]" * DEEP)
    return text.replace(b'"deeper mapping"', b'{"a":' * DEEPER + b"1" + b"}" * DEEPER)


def places_in(value):
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places_in(value[key])


CHANGES = st.lists(st.tuples(st.integers(0, 200), HOSTILE), max_size=4)


@many(60)
@given(changes=CHANGES, edits=EDITS, escaped=st.booleans())
def test_hostile_json_in_tars(changes, edits, escaped, tmp_path, ctx):
    record = damaged(with_values(RECORD, changes, escaped), edits)
    tried(webdataset, foreign_tar(tarfile.PAX_FORMAT, record or b"{"), "a.tar", tmp_path, ctx)


COCO = {
    "licenses": [{"id": 1, "name": "l", "url": "https://creativecommons.org/licenses/by/4.0/"}],
    "images": [
        {"id": 7, "file_name": "0.png", "width": 12, "height": 8, "license": 1, "x": {"y": [1]}},
        {"id": "é", "file_name": "1.png"},
        {"id": 3, "file_name": "sub/link.png"},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}
        | {"segmentation": [[1, 1, 5, 1, 5, 5]]},
        {"id": 2, "image_id": "é", "category_id": 2, "bbox": [0, 0, 2, 2]}
        | {"segmentation": {"counts": [0, 96], "size": [8, 12]}},
        {"id": "x", "image_id": 3, "category_id": 2, "bbox": [0, 0, 2, 2], "caption": "words"},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}


def coco(folder: Path) -> Coco:
    return Coco(annotations=folder / "train.json", pictures=folder / "p", captions=folder / "captions.json")


def coco_alone(folder: Path) -> Coco:
    return Coco(annotations=folder / "train.json", pictures=folder / "p")


@pytest.fixture
def coco_folder(tmp_path) -> Path:
    (tmp_path / "data" / "p" / "sub").mkdir(parents=True)
    for number in range(2):
        (tmp_path / "data" / "p" / f"{number}.png").write_bytes(png(number))
    (tmp_path / "data" / "p" / "sub" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data" / "captions.json").write_text(json.dumps(COCO))
    return tmp_path


@many(60)
@given(changes=CHANGES, edits=EDITS, escaped=st.booleans())
def test_hostile_annotation_files(changes, edits, escaped, coco_folder, ctx):
    data = damaged(with_values(COCO, changes, escaped), edits)
    tried(coco_alone, data, "train.json", coco_folder, ctx)


@many(30)
@given(changes=CHANGES, edits=EDITS, escaped=st.booleans())
def test_hostile_caption_files(changes, edits, escaped, coco_folder, ctx):
    (coco_folder / "data" / "train.json").write_text(json.dumps(COCO))
    data = damaged(with_values(COCO, changes, escaped), edits)
    tried(coco, data, "captions.json", coco_folder, ctx)


# ── parquet ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def tables() -> list[bytes]:
    features = {"label": {"_type": "ClassLabel", "names": ["a", "b"]}, "image": {"_type": "Image"}}
    rows = {
        "image": [{"bytes": png(number), "path": f"{number}.png"} for number in range(6)],
        "label": [0, 1] * 3,
        "caption": ["words", None, "é"] * 2,
        "objects": [[{"bbox": [1.0, 2.0, 3.0, 4.0], "category": 1}]] * 6,
        "when": pa.array([1, 2, 3] * 2, pa.timestamp("s")),
    }
    table = pa.table(rows).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    found = []
    for options in ({}, {"compression": "none", "row_group_size": 2, "write_page_checksum": True}, {"version": "1.0"}):
        stream = io.BytesIO()
        pq.write_table(table, stream, **options)
        found.append(stream.getvalue())
    return found


def parquet(folder: Path) -> Parquet:
    return Parquet(files=str(folder), label="label", caption="caption", objects="objects", metadata=("when",))


@many(80)
@given(which=st.integers(0, 2), edits=EDITS)
def test_damaged_parquet_files(which, edits, tables, tmp_path, ctx):
    tried(parquet, damaged(tables[which], edits), "a.parquet", tmp_path, ctx)


@many(80)
@given(
    which=st.integers(0, 2),
    edits=st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_parquet_files_with_wrong_footers(which, edits, tables, tmp_path, ctx):
    data = bytearray(tables[which])
    (length,) = struct.unpack("<I", data[-8:-4])
    for place, value in edits:
        data[len(data) - 8 - length + place % length] = value
    tried(parquet, bytes(data), "a.parquet", tmp_path, ctx)


def written(folder: Path, **columns) -> Path:
    pq.write_table(pa.table({"image": [png(0)], **columns}), folder / "a.parquet")
    return folder / "a.parquet"


@pytest.mark.parametrize(
    "values",
    [
        pa.array([10**15], pa.timestamp("s")),
        pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([[{"a": 10**15}]], pa.list_(pa.struct([("a", pa.timestamp("s"))]))),
    ],
)
def test_values_that_python_has_no_form_for_cost_no_picture(values, tmp_path, ctx):
    (item,) = Parquet(files=str(written(tmp_path, when=values)), metadata=("when",)).read(0, 1, ctx)
    assert (item.image, item.reason) == (png(0), "bad_text")
    assert "can't be read" in item.detail


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        (json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", "names": ["\ud800", "b"]}}}}), "UTF-8"),
        ("[" * 100_000, ""),
        ('{"info": {"features": ' + "9" * 9000 + "}}", ""),
    ],
)
def test_descriptions_of_columns_that_are_hostile(described, problem, tmp_path, ctx):
    table = pa.table({"image": [png(0)], "label": [1]}).replace_schema_metadata({"huggingface": described})
    pq.write_table(table, tmp_path / "a.parquet")
    source = Parquet(files=str(tmp_path / "a.parquet"), label="label")
    if problem:
        with pytest.raises(VariorumError, match=problem):
            source.classes(ctx)
    else:
        assert [info.id for info in source.classes(ctx)] == ["1"]


def test_a_footer_that_says_too_many_rows(tmp_path, ctx):
    """Whatever single byte of the footer lies: rows that aren't there are rows with a reason, or an error says so."""
    data = written(tmp_path, label=["a"]).read_bytes()
    (length,) = struct.unpack("<I", data[-8:-4])
    lies = 0
    for place in range(len(data) - 8 - length, len(data) - 8):
        if data[place] != 2:  # 1, as Thrift writes it
            continue
        (tmp_path / "b.parquet").write_bytes(data[:place] + b"\x06" + data[place + 1 :])
        source = Parquet(files=str(tmp_path / "b.parquet"))
        try:
            items = list(source.read(0, source.size(ctx), ctx))
        except VariorumError:
            continue
        assert len(items) == source.size(ctx)
        lies += any("has only 1 of its 3 rows" in item.detail for item in items)
    assert lies
