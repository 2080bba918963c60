import shutil

import numpy as np
import pytest

from variorum.machine.memo import DiskMemo
from variorum.pixels import decode, encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError, TemporaryError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.huggingface import HuggingFace
from variorum.stages.job import models


@pytest.fixture
def ctx(tmp_path, own_cache, monkeypatch) -> Context:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def png(value: int, size=(12, 16)) -> bytes:
    return encode_png(np.full((*size, 3), value, np.uint8))


@pytest.fixture
def parquet(tmp_path) -> str:
    import datasets

    grey = encode_png(np.full((12, 16), 255, np.uint8))
    rows = {
        "photo": [{"bytes": png(n), "path": None} for n in range(5)] + [None, {"bytes": None, "path": "/etc/hostname"}],
        "mask": [{"bytes": grey, "path": None}] * 3 + [{"bytes": png(1, (9, 9)), "path": None}] + [None] * 3,
        "kind": [0, 1, 0, 1, -1, 0, 0],
        "word": ["pear", "fig", "pear", None, "fig", "fig", "fig"],
        "score": [0.5] * 7,
    }
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "mask": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "word": datasets.Value("string"),
            "score": datasets.Value("float64"),
        }
    )
    file = tmp_path / "rows.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(file))
    return str(file)


def test_parquet_rows_arrive_as_stored(parquet, ctx):
    source = HuggingFace(dataset="parquet", data_files=parquet, image="photo", label="kind", licence="MIT")
    assert source.size(ctx) == 7
    assert [info.name for info in source.classes(ctx)] == ["cat", "dog"]
    samples = list(source.read(0, 5, ctx))
    assert [sample.image for sample in samples] == [png(n) for n in range(5)]
    assert [sample.labels for sample in samples] == [("cat",), ("dog",), ("cat",), ("dog",), ()]
    assert list(source.read(2, 4, ctx)) == samples[2:4]
    assert {sample.licence for sample in samples} == {"MIT"}


def test_rows_without_a_picture_fail_and_no_foreign_file_is_read(parquet, ctx):
    source = HuggingFace(dataset="parquet", data_files=parquet, image="photo")
    empty, foreign = source.read(5, 7, ctx)
    assert isinstance(empty, Failure)
    assert empty.reason == "no_picture"
    assert isinstance(foreign, Failure)
    assert foreign.reason == "unreadable"


def test_mask_column(parquet, ctx):
    source = HuggingFace(dataset="parquet", data_files=parquet, image="photo", mask="mask")
    good, small, lost = source.read(2, 5, ctx)
    assert isinstance(good, Sample)
    assert decode(good.extras["mask.png"]).shape == (12, 16, 3)
    assert [small.reason, lost.reason] == ["mask_size", "no_mask"]


def test_values_become_classes_where_there_are_no_names(parquet, ctx):
    source = HuggingFace(dataset="parquet", data_files=parquet, image="photo", label="word")
    assert [info.id for info in source.classes(ctx)] == ["fig", "pear"]
    assert [sample.labels for sample in source.read(0, 4, ctx)] == [("pear",), ("fig",), ("pear",), ()]
    with pytest.raises(SourceError, match="holds float"):
        HuggingFace(dataset="parquet", data_files=parquet, image="photo", label="score").classes(ctx)


def test_a_folder_of_pictures_and_its_identity(photos, tmp_path, ctx):
    here, there = (HuggingFace(dataset=str(folder), label="label") for folder in (photos, tmp_path / "moved"))
    shutil.copytree(photos, there.dataset)
    assert here.size(ctx) == 12
    assert [info.id for info in here.classes(ctx)] == ["astronaut", "chelsea", "coffee"]
    assert here.fingerprint() == there.fingerprint()
    assert here.pin(ctx) == there.pin(ctx)
    samples = list(here.read(3, 6, ctx))
    assert samples == list(there.read(3, 6, ctx))
    assert [sample.labels for sample in samples] == [("astronaut",), ("chelsea",), ("chelsea",)]
    assert samples[1].image == (photos / "chelsea" / "0.jpg").read_bytes()
    (tmp_path / "moved" / "coffee" / "0.jpg").write_bytes(png(0))
    assert HuggingFace(dataset=there.dataset, label="label").pin(ctx) != here.pin(ctx)


def test_a_hub_without_a_network_is_told_without_waiting(ctx, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "https://hub.invalid")
    for name in ("all_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with pytest.raises(TemporaryError, match=r"'lab/birds': no address is known for hub\.invalid .*is there a network"):
        HuggingFace(dataset="lab/birds").size(ctx)


def test_what_is_wrong_is_named(parquet, photos, ctx):
    for source, problem in (
        (HuggingFace(dataset="parquet", data_files=parquet), "no column 'image' .* there are: photo, mask"),
        (HuggingFace(dataset=str(photos), split="val"), "no split 'val' .* there are: train"),
        (HuggingFace(dataset="parquet", data_files=parquet + ".gone"), "can't be opened: FileNotFoundError"),
        (HuggingFace(dataset="nobody/nothing"), "can't be opened"),
    ):
        with pytest.raises(SourceError, match=problem):
            list(source.read(0, 1, ctx))


# ── splits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def splits(tmp_path) -> dict[str, str]:
    """Files of three splits, as `data_files`; their labels have the same names."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    files = {}
    for number, (split, rows) in enumerate({"train": 3, "val": 2, "minival": 1}.items()):
        cells = [{"bytes": png(10 * number + row), "path": None} for row in range(rows)]
        files[split] = str(tmp_path / "data" / f"{number}.parquet")
        (tmp_path / "data").mkdir(exist_ok=True)
        table = datasets.Dataset.from_dict(
            {"image": cells, "label": [row % 2 for row in range(rows)]}, features=features
        )
        table.to_parquet(files[split])
    return files


def of(splits, **fields) -> HuggingFace:
    return HuggingFace(dataset="parquet", data_files=splits, label="label", **fields)


@pytest.mark.parametrize(
    ("split", "found"),
    [
        ("train", ["train"] * 3),
        ("val", ["validation"] * 2),
        ("minival", [""]),
        (["minival", "train"], ["", "train", "train", "train"]),
        ("all", ["train"] * 3 + ["validation"] * 2 + [""]),
        (["all"], ["train"] * 3 + ["validation"] * 2 + [""]),
    ],
)
def test_one_split_several_or_all(splits, ctx, split, found):
    source = of(splits, split=split)
    samples = list(source.read(0, source.size(ctx), ctx))
    assert [sample.split for sample in samples] == found
    outline = list(source.outline(0, source.size(ctx), ctx))
    assert [(s.id, s.split, s.labels) for s in outline] == [(s.id, s.split, s.labels) for s in samples]
    assert [info.id for info in source.classes(ctx)] == ["cat", "dog"]
    for start in range(len(found) + 1):
        for stop in range(start, len(found) + 1):
            assert list(source.read(start, stop, ctx)) == samples[start:stop]


def test_ids_and_pins_are_those_of_single_splits(splits, ctx):
    every = of(splits, split="all")
    single = [of(splits, split=split) for split in ("train", "val", "minival")]
    ids = [sample.id for source in single for sample in source.read(0, source.size(ctx), ctx)]
    assert [sample.id for sample in every.read(0, 6, ctx)] == ids
    assert ids[0] == source_id("huggingface", "/train/0")
    pins = [source.pin(ctx) for source in (every, of(splits, split=["train", "val"]), *single)]
    assert len(set(pins)) == 5


@pytest.mark.parametrize("split", [[], "", ["train", "train"], ["all", "train"], ["train", ""]])
def test_splits_that_make_no_sense(split):
    with pytest.raises(RecipeError, match=r"source\.split"):
        build_component("source", {"name": "huggingface", "dataset": "x/y", "split": split}, "source")


def test_a_split_that_is_not_there(splits, ctx):
    with pytest.raises(SourceError, match="no split 'test' in 'parquet'; there are: train, val, minival"):
        of(splits, split=["train", "test"]).size(ctx)


# ── captions, objects, metadata ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("as_list", [True, False])
def test_captions_objects_and_metadata(tmp_path, ctx, as_list):
    import datasets

    box = datasets.List(datasets.Value("float32"), length=4)
    kind = datasets.ClassLabel(names=["ant", "leg"])
    objects = datasets.List({"bbox": box, "category": kind})
    if not as_list:
        objects = {"bbox": datasets.List(box), "category": datasets.List(kind)}
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "caption": datasets.List(datasets.Value("string")),
            "objects": objects,
            "place": datasets.ClassLabel(names=["inside", "outside"]),
            "grid": datasets.Array2D((2, 2), "int32"),
            "when": datasets.Value("timestamp[s]"),
        }
    )
    boxes = [([[1, 2, 4, 6]], [1]), ([], []), ([[15, 0, 40, 5]], [0])]
    cells = [{"bbox": b, "category": c} for b, c in boxes]
    if as_list:
        cells = [[{"bbox": b, "category": c} for b, c in zip(*row, strict=True)] for row in boxes]
    rows = {
        "image": [{"bytes": png(n), "path": None} for n in range(3)],
        "caption": [["one", "two"], [], ["three"]],
        "objects": cells,
        "place": [1, 0, None],
        "grid": [[[1, 2], [3, 4]]] * 3,
        "when": [0, 1, None],
    }
    path = str(tmp_path / "rows.parquet")
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    source = HuggingFace(
        dataset="parquet",
        data_files=path,
        caption="caption",
        objects="objects",
        box_format="xyxy",
        metadata=("place", "grid", "when"),
    )
    first, second, third = source.read(0, 3, ctx)
    assert [[text.text for text in s.annotations.texts] for s in (first, second, third)] == [
        ["one", "two"],
        [],
        ["three"],
    ]
    assert [(one.box, one.label) for one in first.annotations.objects] == [((1, 2, 3, 4), "leg")]
    assert second.annotations.objects == ()
    assert third.reason == "box_outside"
    assert first.metadata == {"place": "outside", "grid": [[1, 2], [3, 4]], "when": "1970-01-01T00:00:00"}
    assert third.metadata == {"place": None, "grid": [[1, 2], [3, 4]], "when": None}
    assert [info.id for info in source.classes(ctx)] == ["ant", "leg"]
    assert source.captioned(ctx)
    assert source.annotated(ctx)
    assert [(s.annotations.texts, s.metadata) for s in source.outline(0, 3, ctx)] == [
        (s.annotations.texts, s.metadata) for s in (first, second, third)
    ]
    with pytest.raises(SourceError, match="column 'image' holds Image, which can't be metadata"):
        HuggingFace(dataset="parquet", data_files=path, metadata=("image",)).classes(ctx)


def test_categories_without_names(tmp_path, ctx):
    import datasets

    rows = {
        "image": [{"bytes": png(n), "path": None} for n in range(2)],
        "objects": [{"bbox": [[0.0, 0.0, 1.0, 1.0]] * 2, "category": ["b", "a"]}, {"bbox": [], "category": []}],
    }
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    table.to_parquet(str(tmp_path / "rows.parquet"))
    source = HuggingFace(dataset="parquet", data_files=str(tmp_path / "rows.parquet"), objects="objects")
    assert [info.id for info in source.classes(ctx)] == ["a", "b"]
    assert source.annotated(ctx)
    assert not source.captioned(ctx)
    assert [one.label for one in next(source.read(0, 1, ctx)).annotations.objects] == ["b", "a"]


def test_an_imagefolder_with_metadata(tmp_path, ctx):
    from PIL import Image

    for split in ("train", "test"):
        (tmp_path / "a" / split).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a" / split / "x.png")
        (tmp_path / "a" / split / "metadata.jsonl").write_text(f'{{"file_name": "x.png", "text": "for {split}"}}\n')
    source = HuggingFace(dataset=str(tmp_path / "a"), split="all", caption="text")
    found = {sample.split: sample.annotations.caption() for sample in source.read(0, source.size(ctx), ctx)}
    assert found == {"train": "for train", "test": "for test"}


def test_texts_that_are_not_utf8_cost_no_row(tmp_path, ctx):
    import pyarrow as pa
    import pyarrow.parquet as pq

    bad = pa.array([b"fine", b"caf\xe9", "süß".encode()]).view(pa.string())
    table = pa.table({"image": [png(n) for n in range(3)], "caption": bad, "note": bad.take(pa.array([0, 0, 1]))})
    pq.write_table(table, tmp_path / "rows.parquet")
    source = HuggingFace(
        dataset="parquet", data_files=str(tmp_path / "rows.parquet"), caption="caption", metadata=("note",)
    )
    samples = list(source.read(0, 3, ctx))
    assert [sample.reason for sample in samples] == ["", "bad_text", "bad_text"]
    assert [[text.text for text in sample.annotations.texts] for sample in samples] == [["fine"], [], ["süß"]]
    assert samples[0].metadata == {"note": "fine"}
    assert [sample.reason for sample in source.outline(0, 3, ctx)] == ["", "bad_text", "bad_text"]
