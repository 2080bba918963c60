import shutil

import numpy as np
import pytest

from variorum.generators.sources.huggingface import HuggingFace
from variorum.machine.memo import DiskMemo
from variorum.pixels import decode, encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample
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


def test_what_is_wrong_is_named(parquet, photos, ctx):
    for source, problem in (
        (HuggingFace(dataset="parquet", data_files=parquet), "no column 'image' .* there are: photo, mask"),
        (HuggingFace(dataset=str(photos), split="val"), "no split 'val' .* there are: train"),
        (HuggingFace(dataset="parquet", data_files=parquet + ".gone"), "can't be opened: FileNotFoundError"),
        (HuggingFace(dataset="nobody/nothing"), "can't be opened"),
    ):
        with pytest.raises(SourceError, match=problem):
            list(source.read(0, 1, ctx))
