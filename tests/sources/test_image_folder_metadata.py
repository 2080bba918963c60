import gc
import json
import logging
import unicodedata

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from variorum.machine.memo import DiskMemo
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample
from variorum.sources.image_folder import ImageFolder
from variorum.stages.job import models


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def picture(path, value: int = 0, size=(16, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def text(path, content: str | bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def lines(path, *rows):
    text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read(root, ctx, **fields):
    source = ImageFolder(path=root, **fields)
    items = list(source.read(0, source.size(ctx), ctx))
    outline = list(source.outline(0, source.size(ctx), ctx))
    assert [item.id for item in items] == [item.id for item in outline]
    for item, bare in zip(items, outline, strict=True):
        assert (item.labels, item.split, item.licence) == (bare.labels, bare.split, bare.licence)
        if isinstance(item, Sample):
            assert (item.annotations.texts, item.metadata) == (bare.annotations.texts, bare.metadata)
    return {item.origin: item for item in items}


def classes(root, ctx, **fields):
    return [info.id for info in ImageFolder(path=root, **fields).classes(ctx)]


def captions(sample):
    return [part.text for part in sample.annotations.texts]


@pytest.fixture
def pets(tmp_path):
    root = tmp_path / "pets"
    for name in ("train/a.png", "train/deep/b.png", "test/c.png"):
        picture(root / name)
    return root


# ── as `datasets` reads them ─────────────────────────────────────────────────────────────────────────────────────────

ROWS = {
    "train": [
        {"file_name": "a.png", "text": "a cat, asleep", "label": "cat", "year": 1999, "share": 0.5, "outside": True},
        {"file_name": "deep/b.png", "text": "a dog", "label": "dog", "year": 2001, "share": 1.0, "outside": False},
    ],
    "test": [
        {"file_name": "c.png", "text": "süß\nund klein", "label": "cat", "year": 7, "share": 3.5, "outside": True}
    ],
}


def write_csv(path, rows):
    pyarrow.csv.write_csv(pa.Table.from_pylist(rows), path)


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("metadata.csv", write_csv),
        ("metadata.jsonl", lambda path, rows: lines(path, *rows)),
        ("metadata.parquet", write_parquet),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # `datasets` doesn't close CSV files
def test_metadata_files_are_read_as_datasets_reads_them(pets, ctx, tmp_path, name, write):
    for split, rows in ROWS.items():
        write(pets / split / name, rows)
    ours = read(pets, ctx)
    theirs = datasets.load_dataset("imagefolder", data_dir=str(pets), cache_dir=str(tmp_path / "hf"))
    theirs = theirs.cast_column("image", datasets.Image(decode=False))
    assert sum(split.num_rows for split in theirs.values()) == len(ours)
    for split, rows in theirs.items():
        for row in rows:
            origin = row["image"]["path"].removeprefix(f"{pets}/")
            sample = ours[origin]
            assert sample.split == split
            assert sample.labels == (row["label"],)
            assert captions(sample) == [row["text"]]
            assert sample.metadata == {key: row[key] for key in ("year", "share", "outside")}
            assert {key: type(value) for key, value in sample.metadata.items()} == {
                "year": int,
                "share": float,
                "outside": bool,
            }
    assert classes(pets, ctx) == ["cat", "dog"]
    assert ImageFolder(path=pets).captioned(ctx)
    gc.collect()


def test_objects_are_read_as_datasets_reads_them(tmp_path, ctx):
    root = tmp_path / "a"
    objects = {
        "a.png": {"bbox": [[1.0, 2.0, 3.0, 4.5], [0.0, 0.0, 24.0, 16.0]], "categories": [1, 0], "id": [7, 8]},
        "b.png": {"bbox": [], "categories": [], "id": []},
    }
    for name in objects:
        picture(root / name)
    lines(root / "metadata.jsonl", *({"file_name": name, "objects": value} for name, value in objects.items()))
    ours = read(root, ctx)
    theirs = datasets.load_dataset("imagefolder", data_dir=str(root), split="train", cache_dir=str(tmp_path / "hf"))
    for sample, row in zip(ours.values(), theirs, strict=True):
        assert [list(one.box) for one in sample.annotations.objects] == row["objects"]["bbox"]
        assert [one.label for one in sample.annotations.objects] == [str(n) for n in row["objects"]["categories"]]
        assert [one.id for one in sample.annotations.objects] == [str(n) for n in row["objects"]["id"]]
    assert classes(root, ctx) == ["0", "1"]
    assert ImageFolder(path=root).annotated(ctx)
    assert not ImageFolder(path=root).captioned(ctx)
    assert not ImageFolder(path=root, metadata="none").annotated(ctx)


def test_class_names_that_datasets_writes_into_parquet(tmp_path, ctx):
    root = tmp_path / "a"
    for name in ("a.png", "b.png", "c.png"):
        picture(root / name)
    names = datasets.ClassLabel(names=["zebra", "ant"])
    box = datasets.List(datasets.List(datasets.Value("float32"), length=4))
    features = datasets.Features(
        {
            "file_name": datasets.Value("string"),
            "label": names,
            "objects": {"bbox": box, "category": datasets.List(datasets.ClassLabel(names=["ant", "tail"]))},
        }
    )
    rows = {
        "file_name": ["a.png", "b.png", "c.png"],
        "label": [1, -1, 0],
        "objects": [{"bbox": [[0, 0, 2, 2]], "category": [1]}, {"bbox": [], "category": []}, None],
    }
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(root / "metadata.parquet"))
    found = read(root, ctx)
    assert [sample.labels for sample in found.values()] == [("ant",), (), ("zebra",)]
    assert [one.label for one in found["a.png"].annotations.objects] == ["tail"]
    assert classes(root, ctx) == ["zebra", "ant", "tail"]


# ── what the columns become ──────────────────────────────────────────────────────────────────────────────────────────


def test_each_column_has_its_place(tmp_path, ctx):
    root = tmp_path / "a"
    for name in ("a.png", "b.png"):
        picture(root / name)
    lines(
        root / "metadata.jsonl",
        {
            "file_name": "a.png",
            "caption": "one",
            "captions": ["two", "three"],
            "license": "CC0-1.0",
            "where": {"x": [1]},
        },
        {"file_name": "./b.png", "text": None, "licence": "", "label": 3, "score": 1.5, "n": None},
    )
    found = read(root, ctx, licence="MIT")
    assert captions(found["a.png"]) == ["one", "two", "three"]
    assert found["a.png"].licence == "CC0-1.0"
    assert found["a.png"].metadata == {"where": {"x": [1]}}
    assert found["a.png"].labels == ()
    assert captions(found["b.png"]) == []
    assert found["b.png"].licence == "MIT"
    assert found["b.png"].labels == ("3",)
    assert found["b.png"].metadata == {"score": 1.5, "n": None}
    assert [s.id for s in found.values()] == [s.id for s in read(root, ctx, metadata="none").values()]


def test_integers_sort_by_size_and_wnids_are_imagenet(tmp_path, ctx):
    for number, folder in enumerate((tmp_path / "a", tmp_path / "b")):
        for name in ("a.png", "b.png"):
            picture(folder / name, number)
    text(tmp_path / "a" / "labels.csv", "file_name,label\na.png,10\nb.png,9\n")
    text(tmp_path / "b" / "labels.csv", "file_name,label\na.png,n02123045\nb.png,n01440764\n")
    assert classes(tmp_path / "a", ctx) == ["9", "10"]
    assert len(classes(tmp_path / "b", ctx)) == 1000
    assert read(tmp_path / "b", ctx)["a.png"].labels == ("n02123045",)


def test_simple_files_of_labels_and_captions(tmp_path, ctx):
    root = tmp_path / "a"
    for name in ("a.png", "b.png"):
        picture(root / name)
    text(root / "labels.csv", "file_name,label,by\na.png,007,me\nb.png,,you\n")
    text(root / "captions.csv", 'file_name,caption\na.png,"one, or so"\nb.png,\na.png,12\n')
    found = read(root, ctx)
    assert found["a.png"].labels == ("007",)
    assert captions(found["a.png"]) == ["one, or so", "12"]
    assert found["a.png"].metadata == {"by": "me"}
    assert found["b.png"].labels == ()
    assert captions(found["b.png"]) == []
    assert not found["b.png"].reason


def test_values_of_csv_keep_what_they_say(tmp_path, ctx):
    root = tmp_path / "a"
    for name in ("a.png", "b.png"):
        picture(root / name)
    text(
        root / "metadata.csv",
        "\ufeff,file_name,label,zip,n,x,ok,note,text\n"
        "0,a.png,NA,0123,1,1.5,True,null,12\n"
        "1,b.png,true,4567,,nan,False,,\n",
    )
    found = read(root, ctx)
    assert found["a.png"].metadata == {"zip": "0123", "n": 1, "x": 1.5, "ok": True, "note": "null"}
    assert found["b.png"].metadata == {"zip": "4567", "n": None, "x": None, "ok": False, "note": None}
    assert [sample.labels for sample in found.values()] == [("NA",), ("true",)]
    assert captions(found["a.png"]) == ["12"]


def test_values_that_json_has_no_type_for_become_texts(tmp_path, ctx):
    import datetime
    import decimal

    root = tmp_path / "a"
    picture(root / "a.png")
    row = {"file_name": "a.png", "day": datetime.date(2020, 1, 2), "price": decimal.Decimal("1.50")}
    kind = pa.dictionary(pa.int32(), pa.string())
    table = pa.Table.from_pylist([row]).append_column("kind", pa.array(["x"]).dictionary_encode().cast(kind))
    pq.write_table(table, root / "metadata.parquet")
    assert read(root, ctx)["a.png"].metadata == {"day": "2020-01-02", "price": "1.50", "kind": "x"}


def test_a_column_of_labels_that_are_not_used_becomes_metadata(tmp_path, ctx):
    root = tmp_path / "a"
    picture(root / "bird" / "a.png")
    text(root / "metadata.csv", "file_name,label\nbird/a.png,cat\n")
    assert read(root, ctx)["bird/a.png"].labels == ("cat",)
    by_folder = read(root, ctx, labels="folder")["bird/a.png"]
    assert (by_folder.labels, by_folder.metadata) == (("bird",), {"label": "cat"})
    assert classes(root, ctx, labels="folder") == ["bird"]
    assert read(root, ctx, labels="none")["bird/a.png"].metadata == {"label": "cat"}
    assert read(root, ctx, metadata="none")["bird/a.png"].labels == ("bird",)


def test_without_a_column_of_labels_there_are_none(tmp_path, ctx, caplog):
    for name in ("cat/a.png", "dog/b.png"):
        picture(tmp_path / "a" / name)
    text(tmp_path / "a" / "captions.csv", "file_name,caption\ncat/a.png,x\ndog/b.png,y\n")
    assert classes(tmp_path / "a", ctx) == ["cat", "dog"]
    (tmp_path / "a" / "captions.csv").rename(tmp_path / "a" / "metadata.csv")
    with caplog.at_level(logging.WARNING):
        assert classes(tmp_path / "a", ctx) == []
    assert "set labels to folder" in caplog.text
    assert classes(tmp_path / "a", ctx, labels="folder") == ["cat", "dog"]


@pytest.mark.parametrize(
    ("box_format", "box"),
    [("xywh", [6, 4, 12, 8]), ("xyxy", [6, 4, 18, 12]), ("cxcywh_relative", [0.5, 0.5, 0.5, 0.5])],
)
def test_box_formats(tmp_path, ctx, box_format, box):
    root = tmp_path / "a"
    picture(root / "a.png")
    lines(root / "metadata.jsonl", {"file_name": "a.png", "objects": [{"bbox": box, "category": "cat"}]})
    sample = read(root, ctx, box_format=box_format)["a.png"]
    assert [(one.box, one.label) for one in sample.annotations.objects] == [((6, 4, 12, 8), "cat")]


def test_boxes_outside_are_quarantined_or_clipped(tmp_path, ctx):
    root = tmp_path / "a"
    picture(root / "a.png")
    picture(root / "b.png")
    lines(
        root / "metadata.jsonl",
        {"file_name": "a.png", "objects": {"bbox": [[20, 0, 20, 5]], "category": ["cat"]}},
        {"file_name": "b.png", "objects": {"bbox": [[1, 2, 3]], "category": ["cat"]}},
    )
    found = read(root, ctx)
    assert [sample.reason for sample in found.values()] == ["box_outside", "bad_box"]
    assert found["a.png"].image
    clipped = read(root, ctx, clip=True)["a.png"]
    assert clipped.annotations.objects[0].box == (20, 0, 4, 5)


# ── which picture a row belongs to ───────────────────────────────────────────────────────────────────────────────────


def test_files_in_folders_name_what_lies_below_them(tmp_path, ctx):
    root = tmp_path / "a"
    for name in ("x/1.png", "x/y/2.png", "z/3.png"):
        picture(root / name)
    text(root / "x" / "metadata.csv", "file_name,text\n1.png,one\ny/2.png,two\n")
    lines(root / "metadata.jsonl", {"file_name": "z/3.png", "text": "three"})
    assert {name: captions(sample) for name, sample in read(root, ctx).items()} == {
        "x/1.png": ["one"],
        "x/y/2.png": ["two"],
        "z/3.png": ["three"],
    }


def test_a_row_without_a_picture_is_a_failure(pets, ctx):
    text(
        pets / "train" / "metadata.csv", "file_name,label\na.png,cat\ngone.png,dog\n.hidden.png,dog\ndeep\\b.png,cat\n"
    )
    picture(pets / "train" / ".hidden.png")
    found = read(pets, ctx)
    assert list(found) == ["test/c.png", "train/.hidden.png", "train/a.png", "train/deep/b.png", "train/gone.png"]
    gone = found["train/gone.png"]
    assert isinstance(gone, Failure)
    assert (gone.reason, gone.status, gone.labels, gone.split) == ("unreadable", "failed", ("dog",), "train")
    assert gone.detail == "train/metadata.csv, row 3 names train/gone.png, but there is no such picture"
    assert isinstance(found["train/.hidden.png"], Failure)
    assert classes(pets, ctx) == ["cat", "dog"]


def test_a_picture_without_a_row_is_quarantined(pets, ctx):
    text(pets / "train" / "metadata.csv", "file_name,label\na.png,cat\n")
    found = read(pets, ctx)
    assert {name: sample.reason for name, sample in found.items()} == {
        "train/a.png": "",
        "train/deep/b.png": "no_metadata",
        "test/c.png": "",  # no metadata file at all lies there
    }
    assert found["train/deep/b.png"].image


def test_links_out_of_the_folder_are_not_read(tmp_path, ctx, caplog):
    picture(tmp_path / "a" / "x.png")
    text(tmp_path / "b" / "metadata.csv", "file_name,text\nx.png,secret\n")
    (tmp_path / "a" / "metadata.csv").symlink_to(tmp_path / "b" / "metadata.csv")
    assert captions(read(tmp_path / "a", ctx)["x.png"]) == []
    assert "1 link" in caplog.text
    assert "(the first: metadata.csv)" in caplog.text


def test_the_pin_covers_metadata_files(tmp_path, ctx):
    root = tmp_path / "a"
    picture(root / "x.png")
    pins = [ImageFolder(path=root).pin(ctx)]
    for content in ("file_name,text\nx.png,one\n", "file_name,text\nx.png,two\n"):
        text(root / "captions.csv", content)
        pins.append(ImageFolder(path=root).pin(ctx))
    (root / "captions.csv").rename(root / "metadata.csv")
    pins.append(ImageFolder(path=root).pin(ctx))
    assert len(set(pins)) == len(pins)
    assert ImageFolder(path=root, metadata="none").pin(ctx) == pins[0]


def test_texts_that_are_no_texts_cost_no_picture(tmp_path, ctx):
    root = tmp_path / "a"
    for name in ("a.png", "b.png"):
        picture(root / name)
    lines(root / "metadata.jsonl", {"file_name": "a.png", "text": 12}, {"file_name": "b.png", "text": ["ok"]})
    found = read(root, ctx)
    assert [sample.reason for sample in found.values()] == ["bad_text", ""]
    assert found["a.png"].image


# ── what is wrong is named ───────────────────────────────────────────────────────────────────────────────────────────

WRONG = [
    ("metadata.csv", "image,text\na.png,x\n", "metadata.csv: no column file_name; there are: image, text"),
    ("metadata.csv", "", "metadata.csv: no column file_name; there are: none"),
    ("metadata.csv", "file_name,x,x\na.png,1,2\n", "two columns have the name 'x'"),
    ("metadata.csv", "file_name,text\na.png,one, two\n", "Expected 2 columns, got 3.* quotes"),
    ("metadata.csv", "file_name,text\n,x\n", "metadata.csv, row 2: no file_name"),
    ("metadata.csv", "file_name,text\na.png,x\n/etc/passwd,x\n", "row 3: file_name '/etc/passwd' leads out"),
    ("metadata.csv", "file_name,text\nb/../../a.png,x\n", r"file_name 'b/\.\./\.\./a\.png' leads out"),
    ("metadata.csv", "file_name,text\n..\\a.png,x\n", "leads out"),
    ("metadata.csv", "file_name,text\na.png,x\n./a.png,y\n", "a.png has more than one row: metadata.csv, row 2 and"),
    ("metadata.csv", "file_name,text\na.png,x\n".encode("utf-16"), "not UTF-8 at byte 0"),
    ("metadata.csv", b"file_name,text\na.png,caf\xe9\n", "not UTF-8 at byte 24"),
    ("metadata.csv", "file_name,objects\na.png,[]\n", "column objects holds string.*metadata.jsonl"),
    ("labels.csv", "file_name,klass\na.png,x\n", "labels.csv: no column label; there are: klass"),
    ("captions.csv", "file_name,words\na.png,x\n", "captions.csv: no column caption; there are: words"),
    ("metadata.jsonl", '{"file_name": "a.png"}\n\n{"file_name": \n', "metadata.jsonl, line 3: no JSON"),
    ("metadata.jsonl", '["a.png"]\n', "line 1: it must be a mapping"),
    ("metadata.jsonl", '{"file_name": 7}\n', "line 1: file_name is 7"),
    ("metadata.jsonl", '{"image": "a.png"}\n', "file_name"),
    ("metadata.jsonl", '{"file_name": "a.png", "label": [1]}\n', r"line 1: the label is \[1\]"),
    ("metadata.jsonl", b'{"file_name": "a.png"}\n{"file_name": "\xff"}\n', "line 2: not UTF-8 at byte 15 of the line"),
    ("metadata.jsonl", '{"file_name": "a.png", "x": "\\ud83d"}\n', "line 1: half a surrogate pair"),
    ("metadata.jsonl", "[" * 100_000, "line 1: no JSON"),
    ("metadata.parquet", b"PAR1 or not", "metadata.parquet: "),
]


@pytest.mark.parametrize(("name", "content", "problem"), WRONG)
def test_files_that_cannot_be_used(tmp_path, ctx, name, content, problem):
    root = tmp_path / "a"
    picture(root / "a.png")
    text(root / name, content)
    with pytest.raises(SourceError, match=problem) as caught:
        ImageFolder(path=root).size(ctx)
    assert str(caught.value).startswith("image_folder: ")
    assert "\n" not in str(caught.value)
    assert ImageFolder(path=root, metadata="none").size(ctx) == 1


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"file_name": [7]}, "column file_name holds int64"),
        ({"file_name": ["a.png"], "label": [1.5]}, "column label holds double"),
        ({"file_name": ["a.png"], "thumbnail": [b"x"]}, "column thumbnail holds binary"),
        ({"file_name": ["a.png"], "objects": [[1, 2]]}, "column objects holds list"),
    ],
)
def test_parquet_columns_of_wrong_types(tmp_path, ctx, columns, problem):
    picture(tmp_path / "a" / "a.png")
    pq.write_table(pa.table(columns), tmp_path / "a" / "metadata.parquet")
    with pytest.raises(SourceError, match=problem):
        ImageFolder(path=tmp_path / "a").size(ctx)


def test_parquet_texts_that_are_not_utf8(tmp_path, ctx):
    picture(tmp_path / "a" / "a.png")
    bad = pa.array([b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"file_name": ["a.png"], "text": bad}), tmp_path / "a" / "metadata.parquet")
    with pytest.raises(SourceError, match=r"metadata\.parquet: .*UTF8"):
        ImageFolder(path=tmp_path / "a").size(ctx)


def test_files_that_contradict_each_other(pets, ctx):
    text(pets / "train" / "metadata.csv", "file_name,label\na.png,cat\ndeep/b.png,dog\n")
    text(pets / "metadata.csv", "file_name,text\ntrain/a.png,x\n")
    with pytest.raises(SourceError, match=r"train/a\.png has more than one row: metadata\.csv, row 2 and train/meta"):
        ImageFolder(path=pets).size(ctx)
    text(pets / "metadata.csv", "file_name,text\ntest/c.png,x\n")
    text(pets / "labels.csv", "file_name,label\ntrain/a.png,dog\n")
    with pytest.raises(SourceError, match=r"labels\.csv and train/metadata\.csv both have the column label"):
        ImageFolder(path=pets).size(ctx)


def test_classes_that_differ_in_nothing_but_spaces(tmp_path, ctx):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "a" / name)
    text(tmp_path / "a" / "labels.csv", "file_name,label\na.png,big cat\nb.png,Big_cat\n")
    with pytest.raises(SourceError, match="two classes with the same name, 'Big_cat' and 'big cat'"):
        ImageFolder(path=tmp_path / "a").classes(ctx)


def test_names_of_classes_must_agree(pets, ctx):
    for split, names in (("train", ["cat", "dog"]), ("test", ["dog", "cat"])):
        features = datasets.Features({"file_name": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
        rows = {"file_name": ["a.png", "deep/b.png"] if split == "train" else ["c.png"]}
        rows["label"] = [0] * len(rows["file_name"])
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(pets / split / "metadata.parquet"))
    with pytest.raises(SourceError, match="other class names for column label"):
        ImageFolder(path=pets).classes(ctx)


def test_labels_without_the_spaces_around_them(tmp_path, ctx):
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    text(tmp_path / "labels.csv", "\ufefffile_name, label\r\na.png, big cat \r\nb.png,big cat\r\nc.png, \r\n")
    found = read(tmp_path, ctx)
    assert [found[name].labels for name in ("a.png", "b.png", "c.png")] == [("big cat",), ("big cat",), ()]
    assert classes(tmp_path, ctx) == ["big cat"]
    text(tmp_path / "labels.csv", "file_name,label\na.png, 10\nb.png, \nc.png,9 \n")
    assert classes(tmp_path, ctx) == ["9", "10"]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_columns_that_are_not_separated_by_commas(tmp_path, ctx, mark):
    picture(tmp_path / "a.png")
    text(tmp_path / "labels.csv", f"file_name{mark}label\na.png{mark}cat\n")
    with pytest.raises(SourceError, match=r"its columns are separated by .*; write commas: file_name,label"):
        read(tmp_path, ctx)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_names_with_accents_written_as_one_character_or_as_two(tmp_path, ctx, forms):
    name, written = (unicodedata.normalize(form, "Grüße/é.png") for form in forms)
    picture(tmp_path / name)
    lines(tmp_path / "metadata.jsonl", {"file_name": written, "text": "salut"})
    found = read(tmp_path, ctx)
    assert (list(found), captions(found[name]), found[name].reason) == ([name], ["salut"], "")


def test_a_file_that_is_named_but_no_picture(tmp_path, ctx):
    picture(tmp_path / "a.png")
    text(tmp_path / "b.heic", "")
    lines(tmp_path / "metadata.jsonl", {"file_name": "a.png"}, {"file_name": "b.heic"}, {"file_name": "c.heic"})
    found = read(tmp_path, ctx)
    for name in ("b.heic", "c.heic"):
        assert found[name].detail.endswith(f"names {name}, which is hidden or has no ending of a picture")


@pytest.mark.parametrize("rest", ["", "b.png,two\n", 'b.png,"two"\nc.png,three', "b.png,two\n" * 20_000])
def test_a_quote_that_is_not_closed_takes_no_rows_away(tmp_path, ctx, rest):
    picture(tmp_path / "a.png")
    text(tmp_path / "captions.csv", f'file_name,caption\nx.png,"fine"\na.png,"one\n{rest}')
    with pytest.raises(SourceError, match=r"captions\.csv, row 3: .*; close each quote, and write a quote in a text"):
        read(tmp_path, ctx)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", "\r"])
def test_every_row_of_a_csv_file_is_read(tmp_path, ctx, end):
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    text(tmp_path / "captions.csv", f'file_name,caption\na.png,5" wide\nb.png,"two ""words"""{end}')
    found = read(tmp_path, ctx)
    assert [captions(found[name]) for name in ("a.png", "b.png")] == [['5" wide'], ['two "words"']]
