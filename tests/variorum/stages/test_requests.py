"""The table of requests: written before any model is loaded, always the same bytes, and every row has an outcome."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.pipeline import Job, build
from variorum.schemas.component import Context, Source
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure
from variorum.stages.requests import COLUMNS, first_rows, keep_requests


class NoModels:
    """Whoever asks for a model fails."""

    def get(self, alias):
        raise AssertionError(f"{alias} was loaded")

    pin = get


def recipe(**fields):
    return Recipe.parse(
        {
            "dataset": "clothes",
            "version": "1.0.0",
            "samples_per_shard": 7,
            "source": {"name": "class_names", "table": "fashion_mnist", "per_class": 2, "licence": "MIT"},
            "generate": [{"name": "class_conditional", "guidance": [1.5, 3.0], "steps": 1}],
            **fields,
        }
    )


def bare(made, tmp_path):
    return Context(made.seed, NoModels(), DiskMemo(tmp_path / "memo"), made.source)


def rows(info, store):
    return pq.read_table(store.path(info, ".parquet")).to_pylist()


@pytest.mark.parametrize("route", ["text_to_image", "image_to_image", "image_variation", "class_conditional"])
def test_every_route_lists_its_requests_without_a_model_and_with_the_same_bytes(route, tmp_path):
    made = recipe(generate=[{"name": route}])
    infos = [keep_requests(made, bare(made, tmp_path), Store(str(tmp_path / place))) for place in ("one", "two")]
    assert infos[0] == infos[1]
    assert infos[0].samples == 20
    table = rows(infos[0], Store(str(tmp_path / "one")))
    assert list(table[0]) == list(COLUMNS)
    assert len({row["id"] for row in table}) == len({row["seed"] for row in table}) == 20
    assert {row["route"] for row in table} == {route}
    assert first_rows(infos[0], Store(str(tmp_path / "one")), 3) == table[:3]


def test_another_seed_or_setting_is_another_table_and_another_model_is_not(tmp_path):
    store = Store(str(tmp_path / "store"))

    def kept(made):
        return keep_requests(made, bare(made, tmp_path), store)

    first = kept(recipe())
    assert kept(recipe(seed=1)) != first
    assert kept(recipe(limit=3)).samples == 6
    assert kept(recipe(version="2.0.0", samples_per_shard=3)) == first
    assert keep_requests(recipe(generate=[{"name": "probe"}]), bare(recipe(), tmp_path), store) is None


def test_row_groups_bound_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("variorum.stages.requests.GROUP", 16)
    store, made = Store(str(tmp_path / "store")), recipe()
    info = keep_requests(made, bare(made, tmp_path), store)
    assert pq.ParquetFile(store.path(info, ".parquet")).metadata.num_row_groups == 3
    assert info.samples == 40


def test_the_edition_has_its_requests_and_every_row_its_fate(tmp_path):
    store, made = Store(str(tmp_path / "store")), recipe()
    manifest = build(Job(made, store))
    asked = rows(manifest.plan, store)
    assert pq.read_table(tmp_path / "store" / "editions" / "clothes" / "1.0.0" / "plan.parquet").to_pylist() == asked
    fate = {row["id"]: row["status"] for row in read_table(store, manifest.rows).to_pylist()}
    assert [fate[row["id"]] for row in asked] == ["accepted"] * 40
    assert verify(manifest, store) == []
    assert build(Job(made, store)) == manifest


def test_a_table_that_was_changed_or_lost_is_found(tmp_path):
    store, made = Store(str(tmp_path / "store")), recipe()
    manifest = build(Job(made, store))
    readable = tmp_path / "store" / "editions" / "clothes" / "1.0.0" / "plan.parquet"
    readable.unlink()
    assert any("plan.parquet: missing" in line for line in verify(manifest, store))
    store.path(manifest.plan, ".parquet").unlink()
    assert any(manifest.plan.sha256 in line for line in verify(manifest, store))
    again = build(Job(made, store))
    assert again == manifest
    assert verify(manifest, store) == []


def test_a_source_picture_that_cannot_be_read_is_asked_for_and_fails(tmp_path, photos, tiny, monkeypatch):
    from shutil import copytree

    from tiny_pipelines import models_table

    folder = tmp_path / "photos"
    copytree(photos, folder)
    (folder / "coffee" / "0.jpg").write_bytes(b"nothing")
    (tmp_path / "models.toml").write_text(models_table(tiny))
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "models.toml"))
    made = recipe(
        source={"name": "image_folder", "path": str(folder)},
        generate=[{"name": "image_variation", "steps": 1, "size": 64, "safety": {"checker": None}}],
    )
    store = Store(str(tmp_path / "store"))
    ctx = Context(made.seed, ModelTable("embedded"), DiskMemo(tmp_path / "memo"), made.source)
    manifest = build(Job(made, store, ctx=ctx))
    asked, table = rows(manifest.plan, store), read_table(store, manifest.rows).to_pylist()
    fate = {row["id"]: row for row in table}
    (lost,) = [row for row in asked if row["id"] not in fate]
    assert lost["origin"] == "coffee/0.jpg"
    assert fate[lost["source"]]["status"] == "failed"  # its source's own row says why


SOURCES = [
    {"name": "class_names", "table": "fashion_mnist", "per_class": 2},
    {"name": "samples"},
    {"name": "sample_scenes", "composites": 2, "captions": True},
    {"name": "image_folder"},
    {"name": "image_folder", "labels": "none"},
    {"name": "huggingface", "dataset": "imagefolder", "label": "label"},
    {"name": "huggingface", "dataset": "imagefolder"},
]


@pytest.mark.parametrize("fields", SOURCES, ids=lambda fields: " ".join(map(str, fields.values())))
def test_an_outline_is_what_is_read_but_for_the_pictures(fields, photos, tmp_path, monkeypatch):
    if fields["name"] == "image_folder":
        fields = {**fields, "path": str(photos)}
    if fields["name"] == "huggingface":
        fields = {**fields, "data_files": f"{photos}/**/*.jpg"}
    made = recipe(source=fields)
    ctx = bare(made, tmp_path)
    size = made.source.size(ctx)
    read = [item for item in made.source.read(1, size, ctx) if not isinstance(item, Failure)]
    outlined = list(made.source.outline(1, size, ctx))
    facts = ("id", "labels", "origin", "licence")
    assert [[getattr(item, name) for name in facts] for item in outlined] == [
        [getattr(item, name) for name in facts] for item in read
    ]
    assert all(item.image == b"" for item in outlined)
    if type(made.source).outline is not Source.outline:
        read_bytes = Path.read_bytes

        def no_picture(path: Path) -> bytes:
            return pytest.fail(f"{path} was opened") if path.suffix == ".jpg" else read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", no_picture)
        monkeypatch.setattr(type(made.source), "read", lambda *_: pytest.fail("pictures are made again"))
        assert list(made.source.outline(1, size, ctx)) == outlined
