"""Several sources as one."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.pipeline import Job, build
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.sources.concatenated import Concatenated
from variorum.sources.image_folder import ImageFolder


@pytest.fixture
def ctx() -> Context:
    return Context(0, None, None)


@pytest.fixture
def folders(photos, tmp_path):
    """Two folders with pictures of the same names, one of them of another split and with captions."""
    shutil.copytree(photos, tmp_path / "a" / "train")
    shutil.copytree(photos, tmp_path / "b" / "val")
    (tmp_path / "b" / "val" / "chelsea").rename(tmp_path / "b" / "val" / "cat")
    (tmp_path / "b" / "val" / "captions.csv").write_text("file_name,caption\ncat/0.jpg,a cat\n")
    return [{"name": "image_folder", "path": str(tmp_path / name)} for name in "ab"]


def test_it_has_the_samples_of_all(folders, ctx):
    source = Concatenated.model_validate({"of": folders})
    assert source.size(ctx) == 24
    samples = list(source.read(0, 24, ctx))
    assert len({sample.id for sample in samples}) == 24
    assert [sample.split for sample in samples] == ["train"] * 12 + ["validation"] * 12
    inner = [item for part in source.of for item in part.read(0, 12, ctx)]
    assert [replace(item, id="") for item in samples] == [replace(item, id="") for item in inner]
    assert [sample.id for sample in source.outline(0, 24, ctx)] == [sample.id for sample in samples]
    assert [info.id for info in source.classes(ctx)] == ["astronaut", "chelsea", "coffee", "cat"]
    assert source.captioned(ctx)


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (10, 14), (11, 12), (12, 13), (20, 99), (5, 5)])
def test_any_range_is_a_part_of_the_whole(folders, ctx, start, stop):
    source = Concatenated.model_validate({"of": folders})
    whole = list(source.read(0, 24, ctx))
    assert list(source.read(start, stop, ctx)) == whole[start:stop]


def test_its_identity_holds_theirs(folders, ctx, monkeypatch):
    source = Concatenated.model_validate({"of": folders})
    assert "path" not in str(source.identity())
    before = source.fingerprint()
    assert Concatenated.model_validate({"of": folders[:1]}).fingerprint() != before
    assert build_component("source", source.config(), "here") == source
    monkeypatch.setattr(ImageFolder, "revision", ImageFolder.revision + 1)
    assert source.fingerprint() != before
    assert source.pin(ctx) != Concatenated.model_validate({"of": folders[::-1]}).pin(ctx)


def test_classes_that_are_only_half_the_same_are_refused(photos, tmp_path, ctx):
    for name, folder in (("a", "big cat"), ("b", "big_cat")):
        shutil.copytree(photos / "chelsea", tmp_path / name / folder)
    of = [{"name": "image_folder", "path": str(tmp_path / name)} for name in "ab"]
    with pytest.raises(SourceError, match="the class 'big_cat', named 'big cat', and the class 'big cat'"):
        Concatenated.model_validate({"of": of}).classes(ctx)


@pytest.mark.usefixtures("own_cache")
def test_copies_in_two_sources_stay_on_one_side(folders, tmp_path):
    basic = {"dataset": "d", "version": "1.0.0", "source": {"name": "concatenated", "of": folders}}
    made = build(Job(Recipe.parse(basic), str(tmp_path / "store")))
    assert made.splits() == {"train": 12, "validation": 12}
    drawn = build(Job(Recipe.parse({**basic, "dataset": "e", "splits": {"test": 0.5}}), str(tmp_path / "store")))
    sides: dict[str, set[str]] = {}
    for row in read_table(Store(str(tmp_path / "store")), drawn.rows).to_pylist():
        sides.setdefault(row["photograph"], set()).add(row["split"])
    assert len(sides) == 12
    assert [len(found) for found in sides.values()] == [1] * 12
    assert set(drawn.splits()) == {"train", "test"}
