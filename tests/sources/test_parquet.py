import io
import json
import shutil

import datasets
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.machine.memo import DiskMemo
from variorum.pixels import decode_mask, encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Failure, Sample
from variorum.sources.parquet import Parquet
from variorum.stages.job import models


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def png(value: int, size=(12, 16)) -> bytes:
    return encode_png(np.full((*size, 3), value, np.uint8))


def write(path, columns, rows_per_group=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, row_group_size=rows_per_group)
    return str(path)


def read(source, ctx):
    items = list(source.read(0, source.size(ctx), ctx))
    outline = list(source.outline(0, source.size(ctx), ctx))
    assert [item.id for item in items] == [item.id for item in outline]
    assert len({item.id for item in items}) == len(items)
    for item, bare in zip(items, outline, strict=True):
        assert (item.labels, item.split, item.licence) == (bare.labels, bare.split, bare.licence)
        if isinstance(item, Sample):
            assert (item.annotations.texts, item.metadata) == (bare.annotations.texts, bare.metadata)
    return items


def classes(source, ctx):
    return [info.id for info in source.classes(ctx)]


# ── as `datasets` writes them ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hub_file(tmp_path):
    """A file as on the Hub, with all kinds of columns."""
    mask = encode_png(np.full((12, 16), 255, np.uint8))
    box = datasets.List(datasets.List(datasets.Value("float32"), length=4))
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "mask": datasets.Image(),
            "label": datasets.ClassLabel(names=["zebra", "ant"]),
            "caption": datasets.List(datasets.Value("string")),
            "objects": {"bbox": box, "category": datasets.List(datasets.ClassLabel(names=["ant", "leg"]))},
            "place": datasets.ClassLabel(names=["inside", "outside"]),
            "when": datasets.Value("timestamp[s]"),
            "terms": datasets.Value("string"),
        }
    )
    rows = {
        "image": [{"bytes": png(n), "path": f"{n}.png"} for n in range(3)],
        "mask": [{"bytes": mask, "path": None}] * 3,
        "label": [1, -1, 0],
        "caption": [["one", "two"], [], None],
        "objects": [{"bbox": [[1, 2, 3, 4]], "category": [1]}, {"bbox": [], "category": []}, None],
        "place": [1, None, 0],
        "when": [0, None, 86400],
        "terms": ["CC0-1.0", None, ""],
    }
    path = tmp_path / "train-00000-of-00001.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))
    return str(path)


def test_a_file_as_on_the_hub(hub_file, ctx):
    source = Parquet(
        files=hub_file,
        label="label",
        caption="caption",
        objects="objects",
        mask="mask",
        licence="MIT",
        licence_field="terms",
        metadata=["place", "when"],
    )
    first, second, third = read(source, ctx)
    assert [sample.image for sample in (first, second, third)] == [png(n) for n in range(3)]
    assert [sample.labels for sample in (first, second, third)] == [("ant",), (), ("zebra",)]
    assert [[text.text for text in sample.annotations.texts] for sample in (first, second, third)] == [
        ["one", "two"],
        [],
        [],
    ]
    (one,) = first.annotations.objects
    assert (one.box, one.label) == ((1, 2, 3, 4), "leg")
    assert first.metadata == {"place": "outside", "when": "1970-01-01T00:00:00"}
    assert second.metadata == {"place": None, "when": None}
    assert [sample.licence for sample in (first, second, third)] == ["CC0-1.0", "MIT", "MIT"]
    assert decode_mask(first.extras["mask.png"]).all()
    assert {sample.split for sample in (first, second, third)} == {"train"}
    assert classes(source, ctx) == ["zebra", "ant", "leg"]
    assert source.captioned(ctx)
    assert not Parquet(files=hub_file, objects="objects").captioned(ctx)
    assert Parquet(files=hub_file, objects="objects").annotated(ctx)
    assert not Parquet(files=hub_file).annotated(ctx)
    assert first.origin == "train-00000-of-00001.parquet/0"


def test_rows_equal_those_of_datasets(hub_file, ctx):
    theirs = datasets.Dataset.from_parquet(hub_file).cast_column("image", datasets.Image(decode=False))
    ours = read(Parquet(files=hub_file, label="label"), ctx)
    assert [sample.image for sample in ours] == [row["image"]["bytes"] for row in theirs]
    names = theirs.features["label"].names
    assert [sample.labels for sample in ours] == [(names[n],) if n >= 0 else () for n in theirs["label"]]


# ── rows by position ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Three files of 23 rows in row groups of several sizes, one of them without rows."""
    folder = tmp_path_factory.mktemp("shards")
    rows = [png(n, (1, 1)) for n in range(23)]
    for name, low, high, size in (("a", 0, 10, 3), ("b", 10, 10, 4), ("c", 10, 23, 5)):
        table = pa.table({"image": pa.array(rows[low:high], pa.binary()), "n": pa.array(range(low, high), pa.int64())})
        write(folder / f"{name}.parquet", table, size)
    return folder, rows


@given(st.integers(0, 23), st.integers(0, 26))
def test_any_range_is_that_part_of_all_rows(shards, start, stop):
    folder, rows = shards
    source, none = Parquet(files=str(folder), metadata=("n",)), None
    found = list(source.read(start, min(stop, 23), none))
    assert [sample.image for sample in found] == rows[start:stop]
    assert [sample.metadata["n"] for sample in found] == list(range(start, max(start, min(stop, 23))))
    assert [s.id for s in source.outline(start, min(stop, 23), none)] == [s.id for s in found]


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(1, 6)), max_size=12), st.integers(0, 3))
def test_reads_one_after_another_do_not_disturb_each_other(shards, ranges, early):
    """Each read may go on where one before it ended, or was given up."""
    folder, rows = shards
    source = Parquet(files=str(folder))
    for start, length in ranges:
        found = [sample.image for sample in source.read(start, min(start + length, 23), None)]
        assert found == rows[start : start + length]
        given_up = source.read(start, 23, None)
        assert [sample.image for sample, _ in zip(given_up, range(early), strict=False)] == rows[start:23][:early]


def test_parts_in_order_read_each_row_once(tmp_path, ctx, monkeypatch):
    from variorum.sources.tables import arrow

    path = write(tmp_path / "a.parquet", {"image": [png(n, (1, 1)) for n in range(200)]})
    source, decoded = Parquet(files=path), []
    rows = arrow.rows
    monkeypatch.setattr(arrow, "rows", lambda batch: decoded.append(len(batch)) or rows(batch))
    for start in range(0, 200, 20):
        assert len(list(source.read(start, start + 20, ctx))) == 20
    assert sum(decoded) == 200


def test_ids_are_of_the_file_and_its_row(shards, tmp_path, ctx):
    folder, _ = shards
    shutil.copytree(folder, tmp_path / "moved")
    here, there = (Parquet(files=str(place)) for place in (folder, tmp_path / "moved"))
    assert [s.id for s in read(here, ctx)] == [s.id for s in read(there, ctx)]
    assert here.pin(ctx) == there.pin(ctx)
    assert here.fingerprint() == there.fingerprint()
    last = Parquet(files=[str(folder / "c.parquet")])
    assert [s.id for s in read(last, ctx)] == [s.id for s in read(here, ctx)][10:]


def test_files_patterns_and_folders(shards, ctx):
    folder, _ = shards
    for files in (f"{folder}/*.parquet", str(folder), f"file://{folder}", [f"{folder}/c.parquet", f"{folder}/*"]):
        assert Parquet(files=files).size(ctx) == 23
    first = next(Parquet(files=[f"{folder}/c.parquet", f"{folder}/*"]).read(0, 1, ctx))
    assert first.origin == "c.parquet/0"


def test_the_pin_moves_with_content(shards, tmp_path, ctx):
    folder = tmp_path / "moved"
    shutil.copytree(shards[0], folder)
    before = Parquet(files=str(folder)).pin(ctx)
    write(folder / "b.parquet", {"image": [png(1)], "n": [1]})
    after = Parquet(files=str(folder)).pin(ctx)
    (folder / "b.parquet").rename(folder / "d.parquet")
    assert len({before, after, Parquet(files=str(folder)).pin(ctx)}) == 3


def test_files_behind_a_url(shards, ctx):
    folder, rows = shards
    remote = fsspec.filesystem("memory")
    for path in folder.iterdir():
        remote.pipe(f"/far/{path.name}", path.read_bytes())
    source = Parquet(files="memory://far/*.parquet", metadata=("n",))
    assert [sample.image for sample in read(source, ctx)] == rows
    assert [s.id for s in read(source, ctx)] == [s.id for s in read(Parquet(files=str(folder)), ctx)]
    pin = source.pin(ctx)
    assert Parquet(files="memory://far/*.parquet").pin(ctx) == pin
    remote.pipe("/far/b.parquet", remote.cat("/far/a.parquet"))
    assert Parquet(files="memory://far/*.parquet").pin(ctx) != pin


def test_only_needed_columns_are_read(tmp_path, ctx):
    """Every other column is damaged, and nobody notices."""
    path = write(
        tmp_path / "a.parquet",
        pa.table({"image": [png(1)], "label": ["cat"], "other": ["needle" * 50]}),
    )
    data = (tmp_path / "a.parquet").read_bytes()
    column = pq.read_metadata(path).row_group(0).column(2)
    start = column.dictionary_page_offset or column.data_page_offset
    (tmp_path / "a.parquet").write_bytes(
        data[:start] + b"\xff" * column.total_compressed_size + data[start + column.total_compressed_size :]
    )
    (sample,) = read(Parquet(files=path, label="label"), ctx)
    assert sample.labels == ("cat",)
    with pytest.raises(SourceError, match=r"column 'other' of a\.parquet can't be read"):
        Parquet(files=path, label="other").classes(ctx)


# ── labels, splits and other columns ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("labels", "known", "found"),
    [
        (["b", "a", None, ""], ["a", "b"], [("b",), ("a",), (), ()]),
        ([10, 9, None, -1], ["-1", "9", "10"], [("10",), ("9",), (), ("-1",)]),
        (pa.array(["b", "a", None, "b"]).dictionary_encode(), ["a", "b"], [("b",), ("a",), (), ("b",)]),
        ([None] * 4, [], [()] * 4),
    ],
)
def test_values_become_classes(tmp_path, ctx, labels, known, found):
    path = write(tmp_path / "a.parquet", {"image": [png(n) for n in range(4)], "label": labels}, 2)
    source = Parquet(files=path, label="label")
    assert classes(source, ctx) == known
    assert [sample.labels for sample in read(source, ctx)] == found


@pytest.mark.parametrize("labels", [[1, 0, -1, 2], ["cat", "dog", None, "cow"]])
def test_class_names_and_labels_that_are_none_of_them(tmp_path, ctx, labels):
    path = write(tmp_path / "a.parquet", {"image": [png(n) for n in range(4)], "label": labels})
    source = Parquet(files=path, label="label", class_names=("dog", "cat"))
    assert classes(source, ctx) == ["dog", "cat"]
    samples = read(source, ctx)
    assert [sample.labels for sample in samples] == [("cat",), ("dog",), (), ()]
    assert [sample.reason for sample in samples] == ["", "", "", "unknown_label"]
    assert samples[3].image == png(3)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00001.parquet", "train"),
        ("my_val.2.parquet", "validation"),
        ("test.parquet", "test"),
        ("contest.parquet", ""),
        ("train_test.parquet", ""),
        ("0000.parquet", ""),
    ],
)
def test_the_split_in_a_files_name(tmp_path, ctx, name, split):
    path = write(tmp_path / "test" / name, {"image": [png(1)]})
    assert [sample.split for sample in read(Parquet(files=path), ctx)] == [split]
    assert [sample.split for sample in read(Parquet(files=path, split="validation"), ctx)] == ["validation"]
    assert [sample.split for sample in read(Parquet(files=path, split="none"), ctx)] == [""]


def test_the_split_in_a_folders_name(tmp_path, ctx):
    for split in ("train", "test", "other"):
        write(tmp_path / "data" / split / "0000.parquet", {"image": [png(1)]})
    found = {sample.origin: sample.split for sample in read(Parquet(files=str(tmp_path / "data")), ctx)}
    assert found == {"train/0000.parquet/0": "train", "test/0000.parquet/0": "test", "other/0000.parquet/0": ""}


@pytest.mark.parametrize("as_list", [True, False])
def test_objects_without_names(tmp_path, ctx, as_list):
    """Categories are texts, boxes have two corners; one box leaves its picture."""
    objects = [
        [{"bbox": [1, 2, 4, 6], "category": "cat", "iscrowd": 1}, {"bbox": [0, 0, 1, 1], "category": "ant"}],
        [{"bbox": [10, 2, 40, 6], "category": "cat", "iscrowd": 0}],
    ]
    if not as_list:
        objects = [{key: [one[key] for one in row if key in one] for key in ("bbox", "category")} for row in objects]
    path = write(tmp_path / "a.parquet", {"image": [png(1), png(2)], "things": objects})
    source = Parquet(files=path, objects="things", box_format="xyxy")
    good, outside = read(source, ctx)
    assert [(one.box, one.label, one.crowd) for one in good.annotations.objects] == [
        ((1, 2, 3, 4), "cat", as_list),
        ((0, 0, 1, 1), "ant", False),
    ]
    assert outside.reason == "box_outside"
    assert outside.image == png(2)
    assert classes(source, ctx) == ["ant", "cat"]
    clipped = list(Parquet(files=path, objects="things", box_format="xyxy", clip=True).read(1, 2, ctx))
    assert clipped[0].annotations.objects[0].box == (10, 2, 6, 4)


def test_relative_boxes_are_of_the_upright_picture(tmp_path, ctx):
    from PIL import Image

    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(data, "jpeg", exif=exif)
    objects = [{"bbox": [[0.5, 0.5, 0.5, 0.5]], "category": [0]}]
    path = write(tmp_path / "a.parquet", {"image": [data.getvalue()], "objects": objects})
    (sample,) = read(Parquet(files=path, objects="objects", box_format="xywh_relative"), ctx)
    assert sample.annotations.objects[0].box == (5, 10, 5, 10)  # 10 wide, 20 high


# ── what can't be read ───────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_without_a_picture_are_failures(tmp_path, ctx):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(7))
    cells = [
        {"bytes": None, "path": str(secret)},
        None,
        {"bytes": b"", "path": None},
        {"bytes": png(1), "path": "../x"},
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    path = write(tmp_path / "a.parquet", {"image": pa.array(cells, kind), "label": ["a", "b", "c", "d"]})
    *lost, good = read(Parquet(files=path, label="label", split="test"), ctx)
    assert good.image == png(1)
    for failure, label in zip(lost, "abc", strict=True):
        assert isinstance(failure, Failure)
        assert (failure.reason, failure.labels, failure.split) == ("no_picture", (label,), "test")
    assert lost[0].detail == f"column image names the file '{secret}' and has no bytes"


def test_masks_that_do_not_fit(tmp_path, ctx):
    masks = [png(255, (12, 16)), png(255, (9, 9)), None, b"no mask"]
    path = write(tmp_path / "a.parquet", {"image": [png(1)] * 4, "mask": masks})
    good, *bad = read(Parquet(files=path, mask="mask"), ctx)
    assert good.extras["mask.png"] == masks[0]
    assert [failure.reason for failure in bad] == ["mask_size", "no_mask", "bad_mask"]


def test_texts_that_are_not_utf8_cost_no_row(tmp_path, ctx):
    bad = pa.array([b"fine", b"caf\xe9", "süß".encode()]).view(pa.string())
    table = {"image": [png(n) for n in range(3)], "caption": bad, "note": bad.take(pa.array([0, 0, 1]))}
    path = write(tmp_path / "a.parquet", table)
    samples = read(Parquet(files=path, caption="caption", metadata=("note",)), ctx)
    assert [sample.reason for sample in samples] == ["", "bad_text", "bad_text"]
    assert [[text.text for text in sample.annotations.texts] for sample in samples] == [["fine"], [], ["süß"]]
    assert samples[0].metadata == {"note": "fine"}
    assert [sample.image for sample in samples] == [png(n) for n in range(3)]


def test_a_damaged_row_group_costs_its_rows_alone(tmp_path, ctx):
    rng = np.random.default_rng(0)
    rows = [png(n) + rng.bytes(3000) for n in range(12)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": rows}), path, row_group_size=4, write_page_checksum=True, use_dictionary=False)
    column = pq.read_metadata(path).row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 255
    path.write_bytes(data)
    items = list(Parquet(files=str(path)).read(0, 12, ctx))
    assert [isinstance(item, Failure) for item in items] == [False] * 4 + [True] * 4 + [False] * 4
    assert {item.reason for item in items[4:8]} == {"unreadable"}
    assert "row group 1 of a.parquet can't be read" in items[4].detail
    assert [item.id for item in items] == [item.id for item in Parquet(files=str(path)).outline(0, 12, ctx)]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"image": "picture"}, r"no column 'picture' in a\.parquet; there are: image, label, path, score, things, raw"),
        ({"label": "klass"}, "no column 'klass' in a.parquet; there are: image"),
        ({"image": "path"}, "column 'path' of a.parquet holds string; .* image_folder"),
        ({"image": "label"}, "column 'label' of a.parquet holds int64; it must hold pictures as bytes"),
        ({"label": "score"}, "column 'score' of a.parquet holds double; it must hold texts or integers"),
        ({"caption": "score"}, "column 'score' .* must hold texts or lists of texts"),
        ({"objects": "path"}, "column 'path' .* must hold lists by name"),
        ({"metadata": ["raw"]}, "column 'raw' .*struct.* must hold values that JSON can hold"),
        ({"label": "label", "class_names": ["a", "a "]}, "two classes have the name 'a'"),
    ],
)
def test_wrong_columns_are_named(tmp_path, ctx, fields, problem):
    table = {
        "image": [png(1)],
        "label": [1],
        "path": ["/etc/hostname"],
        "score": [0.5],
        "things": [[1]],
        "raw": [{"x": b"y"}],
    }
    path = write(tmp_path / "a.parquet", table)
    source = Parquet(files=path, **fields)
    with pytest.raises(SourceError, match=problem) as caught:
        source.classes(ctx)
    assert "\n" not in str(caught.value)
    if "class_names" not in fields:
        with pytest.raises(SourceError, match=problem):
            list(source.read(0, 1, ctx))


def test_files_that_differ(tmp_path, ctx):
    write(tmp_path / "a.parquet", {"image": [png(1)], "label": [1], "text": pa.array([None], pa.null())})
    write(tmp_path / "b.parquet", {"label": ["cat"], "image": [png(2)], "text": ["ok"], "more": [1]})
    both = str(tmp_path)
    assert [[text.text for text in s.annotations.texts] for s in read(Parquet(files=both, caption="text"), ctx)] == [
        [],
        ["ok"],
    ]
    with pytest.raises(SourceError, match=r"holds integers in a\.parquet, but text in b\.parquet"):
        Parquet(files=both, label="label").classes(ctx)
    with pytest.raises(SourceError, match=r"no column 'more' in a\.parquet"):
        Parquet(files=both, metadata=("more",)).classes(ctx)


def test_class_names_that_differ(tmp_path, ctx):
    for name, names in (("a", ["cat", "dog"]), ("b", ["dog", "cat"])):
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        rows = {"image": [{"bytes": png(1), "path": None}], "label": [0]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / f"{name}.parquet"))
    with pytest.raises(SourceError, match=r"b\.parquet has other class names for column 'label' than a\.parquet"):
        Parquet(files=str(tmp_path / "*.parquet"), label="label").classes(ctx)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "can't be read as parquet"),
        (b"PAR1" + b"x" * 100 + b"PAR1", "can't be read as parquet"),
        (None, "no parquet"),
    ],
)
def test_files_that_are_no_parquet(tmp_path, ctx, content, problem):
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=problem) as caught:
        Parquet(files=str(path)).size(ctx)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ("nosuch://x/y.parquet", "nosuch://x/y.parquet: can't be read: ValueError"),
        ("memory://nowhere/*.parquet", "no parquet file at memory://nowhere"),
    ],
)
def test_urls_that_lead_nowhere(ctx, files, problem):
    with pytest.raises(SourceError, match=problem):
        Parquet(files=files).size(ctx)


@pytest.mark.parametrize("files", ["", [], [""]])
def test_files_must_be_given(files):
    with pytest.raises(RecipeError, match="files"):
        build_component("source", {"name": "parquet", "files": files}, "source")


def test_descriptions_that_are_no_descriptions(tmp_path, ctx):
    for number, text in enumerate(
        ("{", "[]", json.dumps({"info": {"features": {"label": {"names": 7, "_type": "ClassLabel"}}}}))
    ):
        table = pa.table({"image": [png(1)], "label": [1]}).replace_schema_metadata({"huggingface": text})
        path = write(tmp_path / f"{number}.parquet", table)
        assert classes(Parquet(files=path, label="label"), ctx) == ["1"]


# ── files that are small only as long as they are packed ─────────────────────────────────────────────────────────────


def bomb(path, column, value):
    """A row that takes 140 MB once it is unpacked, among others."""
    table = pa.table({"image": [png(number) for number in range(3)], column: ["a", value, "b"]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, row_group_size=2)
    assert path.stat().st_size < 40_000
    return str(path)


def test_a_huge_text_that_is_packed_well_is_never_unpacked(tmp_path, ctx):
    file = bomb(tmp_path / "a.parquet", "caption", "x" * 140_000_000)
    before = pa.total_allocated_bytes()
    source = Parquet(files=file, caption="caption")
    first, second, third = source.read(0, 3, ctx)
    assert [first.reason, second.reason, third.reason] == ["too_large", "too_large", ""]
    assert "column caption has a page of" in second.detail
    assert pa.total_allocated_bytes() - before < 10**7
    with pytest.raises(
        SourceError, match=r"column 'caption' of a\.parquet can't be read: TooLarge: column caption has a"
    ):
        Parquet(files=file, label="caption").classes(ctx)


@pytest.mark.parametrize("kind", ["text", "list", "dictionary"])
def test_a_row_with_a_longer_text_than_other_sources_take_is_too_large(tmp_path, ctx, kind):
    long = "x" * (17 << 20)
    column = {
        "text": pa.array(["a", long, "b"]),
        "list": pa.array([["a"], ["b"] * 5 + [long], []]),
        "dictionary": pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array(["a", long])),
    }[kind]
    file = write(tmp_path / "a.parquet", {"image": [png(number) for number in range(3)], "caption": column})
    found = read(Parquet(files=file, caption="caption"), ctx)
    assert [item.reason for item in found] == ["", "too_large", ""]
    assert [isinstance(item, Sample) for item in found] == [True, False, True]
