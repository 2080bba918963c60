"""The source `unsafebench` on synthetic pictures: three layouts, and what is not as it should be."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from variorum.machine.memo import DiskMemo
from variorum.pipeline import Job, build
from variorum.pixels import encode_png
from variorum.schemas.annotations import LabelState, Text
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import GENERATED, Failure
from variorum.sources.unsafebench import WARNING, Unsafebench, slug
from variorum.stages.job import models

ROWS = [
    {"image_fname": "0.png", "label": "Unsafe", "source": "Laion5B", "category": "Self-harm"},
    {"image_fname": "1.png", "label": "Safe", "source": "Lexica", "category": "Public and personal health"},
    {"image_fname": "2.png", "label": "SAFE", "source": "Lexica", "category": "spam"},
]


def png(value: int) -> bytes:
    return encode_png(np.full((12, 16, 3), value, np.uint8))


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def authors_folder(root, rows=ROWS, split="train", beside="images"):
    """The layout that the authors' loader writes; `beside` is where the table lies."""
    images = root / split / "images"
    images.mkdir(parents=True)
    for number, row in enumerate(rows):
        (images / row["image_fname"]).write_bytes(png(40 * number))
    table = root / split / beside / "metadata.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def read(source, ctx):
    """All items, which must agree with their outline."""
    source.pin(ctx)
    items = list(source.read(0, source.size(ctx), ctx))
    bare = list(source.outline(0, source.size(ctx), ctx))
    assert [(one.id, one.labels, one.split) for one in items] == [(one.id, one.labels, one.split) for one in bare]
    assert len({one.id for one in items}) == len(items)
    return items


@pytest.mark.parametrize("beside", ["images", "."])
def test_the_layout_of_the_authors_loader(tmp_path, ctx, beside):
    source = Unsafebench(path=authors_folder(tmp_path / "set", beside=beside))
    first, second, third = read(source, ctx)
    assert [info.id for info in source.classes(ctx)][:4] == ["hate", "harassment", "violence", "self_harm"]
    assert (first.labels, second.labels, third.labels) == (("self_harm",), (), ())
    assert first.annotations.labels == (LabelState("self_harm", "correct"),)
    assert second.annotations.labels == (LabelState("health", "wrong"),)
    assert (first.digital_source_type, second.digital_source_type) == ("", GENERATED)
    assert first.metadata["restricted"] is True
    assert (first.metadata["source"], third.metadata["safety_label"]) == ("Laion5B", "Safe")
    assert {one.split for one in (first, second, third)} == {"train"}
    assert first.image == png(0)


def test_parquet_files_as_on_the_hub(tmp_path, ctx):
    columns = {
        "image": [{"bytes": png(n), "path": None} for n in range(3)],
        "safety_label": ["Unsafe", "Safe", "Safe"],
        "category": ["Violence", "Violence", "Hate"],
        "source": ["Lexica", "Laion5B", "Laion5B"],
        "text": ["a red square", "a blue disc", None],
    }
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "data" / "test-00000-of-00001.parquet")
    for path in (tmp_path / "data", tmp_path / "data" / "test-00000-of-00001.parquet"):
        source = Unsafebench(path=path, restricted=False)
        items = read(source, ctx)
        assert [one.labels for one in items] == [("violence",), (), ()]
        assert items[0].annotations.texts == (Text("a red square", "prompt"),)
        assert items[1].annotations.texts == (Text("a blue disc", "caption"),)
        assert "restricted" not in items[0].metadata
        assert {one.split for one in items} == {"test"}
        assert source.captioned(ctx)


def test_a_table_beside_pictures_that_names_one_picture_twice(tmp_path, ctx):
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    table = tmp_path / "judged.csv"
    table.write_text(
        "file_name,safety_label,category,split\n0.png,Safe,hate,test\n0.png,Unsafe,spam,test\nmissing.png,Safe,hate,\n"
    )
    first, second, third = read(Unsafebench(path=table), ctx)
    assert (first.image, second.image) == (png(0), png(0))
    assert [one.annotations.labels[0].label for one in (first, second)] == ["hate", "spam"]
    assert first.split == "test"
    assert isinstance(third, Failure)
    assert (third.reason, third.detail) == ("unreadable", "judged.csv, row 4 names missing.png, which isn't there")


def test_rows_whose_label_says_nothing_are_quarantined(tmp_path, ctx):
    rows = [{**ROWS[0], "label": "N/A"}, {**ROWS[1], "category": ""}, {**ROWS[2], "label": None}]
    items = read(Unsafebench(path=authors_folder(tmp_path / "set", rows)), ctx)
    assert [one.reason for one in items] == ["unknown_label", "no_category", "unknown_label"]
    assert items[0].detail == "the label is 'N/A'; it must be Safe or Unsafe"
    assert not any(one.annotations.labels or one.labels for one in items)
    assert all(one.metadata["restricted"] for one in items)


def test_unknown_categories_are_named_or_kept(tmp_path, ctx):
    path = authors_folder(tmp_path / "set", [{**ROWS[0], "category": "Gambling ads"}])
    with pytest.raises(SourceError, match=r"'Gambling ads', which isn't known; there are: hate, .*source.other"):
        Unsafebench(path=path).classes(ctx)
    listed = authors_folder(tmp_path / "listed", [{**ROWS[0], "category": ["Hate", "Spam"]}])
    with pytest.raises(SourceError, match=r"category \"\['Hate', 'Spam'\]\", which isn't known"):
        Unsafebench(path=listed).classes(ctx)
    kept = Unsafebench(path=path, other="keep")
    assert kept.classes(ctx)[-1].id == "gambling_ads"
    assert kept.classes(ctx)[-1].name == "Gambling ads"
    assert read(kept, ctx)[0].labels == ("gambling_ads",)


def test_it_becomes_an_edition(tmp_path, own_cache):
    rows = [*ROWS, {**ROWS[0], "image_fname": "3.png"}]
    root = authors_folder(tmp_path / "set", rows)
    (root / "train" / "images" / "3.png").write_bytes(b"no picture")
    recipe = Recipe.parse(
        {
            "dataset": "judged",
            "version": "1.0.0",
            "max_failure_rate": 0.5,
            "warning": WARNING,
            "source": {"name": "unsafebench", "path": str(root)},
        }
    )
    manifest = build(Job(recipe, str(tmp_path / "store")))
    assert manifest.counts["original"] == {"accepted": 3, "failed:not_an_image": 1}
    assert str(root) not in json.dumps(manifest.recipe)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"image_fname": "../x.png", "label": "Safe", "category": "hate"}', "leads out of the folder"),
        ('{"image_fname": "x.png", "category": "hate"}', "no column safety_label or label; there are: category"),
        ('{"picture": "x.png"}', "image_fname is None"),
        ("", "has no rows"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, ctx, text, said):
    (tmp_path / "x.png").write_bytes(png(1))
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(SourceError, match=said):
        Unsafebench(path=tmp_path).pin(ctx)


def test_a_gated_dataset_says_what_to_do_and_shows_no_token(ctx, monkeypatch):
    import datasets

    def gated(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError(
            "Dataset 'yiting/UnsafeBench' is a gated dataset on the Hub. You must be authenticated to access it."
        )

    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    monkeypatch.setattr(datasets, "load_dataset_builder", gated)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        SourceError, match=r"ask for access at https://huggingface.co/datasets/yiting/UnsafeBench"
    ) as error:
        Unsafebench().pin(ctx)
    assert "hf auth login" in str(error.value)
    assert "hf_secret" not in str(error.value)


def test_a_path_stands_in_no_identity(tmp_path):
    one, other = Unsafebench(path=tmp_path / "a"), Unsafebench(path=tmp_path / "b")
    assert one.fingerprint() == other.fingerprint() != Unsafebench().fingerprint()
    assert Unsafebench(dataset="org/other").fingerprint() != Unsafebench().fingerprint()
    assert Unsafebench(commit="main").fingerprint() != Unsafebench().fingerprint()
    assert slug("Self-harm") == "self_harm"


def test_all_splits_of_a_dataset_of_the_hub(tmp_path, ctx):
    """Read by the Hub's own library, here from a folder that it takes for a dataset."""
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for split, label in (("train", "Safe"), ("test", "Unsafe")):
        columns = {
            "image": [{"bytes": png(n), "path": None} for n in range(3)],
            "safety_label": [label] * 3,
            "category": ["Deception"] * 3,
            "source": ["Laion5B"] * 3,
        }
        pq.write_table(pa.table(columns), tmp_path / "hub" / "data" / f"{split}-00000-of-00001.parquet")
    source = Unsafebench(dataset=str(tmp_path / "hub"))
    items = read(source, ctx)
    assert [one.split for one in items] == ["train"] * 3 + ["test"] * 3
    assert [one.labels for one in items] == [()] * 3 + [("deception",)] * 3
    assert [one.image for one in items] == [png(n) for n in range(3)] * 2
    assert str(tmp_path) not in json.dumps(source.identity())
    assert [one.id for one in source.read(2, 5, ctx)] == [one.id for one in items[2:5]]


def test_pictures_that_no_row_names_are_counted(tmp_path, ctx, caplog):
    root = authors_folder(tmp_path / "set")
    (root / "train" / "images" / "extra.png").write_bytes(png(7))
    assert len(read(Unsafebench(path=root), ctx)) == 3
    assert "pictures that no row names, which aren't read: 1" in caplog.text
