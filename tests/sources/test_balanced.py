"""A balanced draw of another source."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from variorum.schemas.component import Context
from variorum.schemas.sample import Sample
from variorum.sources.balanced import Balanced


class Kept:
    """A memo in memory, which counts what was computed."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}

    def __call__(self, key, compute):
        if key not in self.kept:
            self.kept[key] = compute()
        return self.kept[key]


@pytest.fixture
def ctx() -> Context:
    return Context(0, None, Kept())


def drawn(folder, ctx, most=500, seed=1) -> list[Sample]:
    source = Balanced(of={"name": "image_folder", "path": str(folder)}, most=most, seed=seed)
    return list(source.read(0, source.size(ctx), ctx))


def test_classes_take_turns_and_the_seed_decides_which_pictures(photos, ctx):
    found = drawn(photos, ctx, 7)
    assert sorted(Counter(sample.labels[0] for sample in found).values()) == [2, 2, 3]
    assert found == drawn(photos, ctx, 7) != drawn(photos, ctx, 7, seed=2)
    assert {sample.id for sample in drawn(photos, ctx, 6)} < {sample.id for sample in found}
    assert len({tuple(sample.id for sample in drawn(photos, ctx, 3, seed)) for seed in range(8)}) > 4


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (2, 5), (5, 9)])
def test_any_range_is_a_part_of_the_whole(photos, ctx, start, stop):
    source = Balanced(of={"name": "image_folder", "path": str(photos)}, most=7)
    whole = drawn(photos, ctx, 7)
    assert list(source.read(start, stop, ctx)) == whole[start:stop]
    assert [one.id for one in source.outline(start, stop, ctx)] == [one.id for one in whole[start:stop]]


def test_copies_count_once_and_unreadable_files_not_at_all(photos, tmp_path, ctx):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "coffee" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    shutil.copy(folder / "coffee" / "0.jpg", folder / "chelsea" / "same_file.jpg")
    with Image.open(folder / "astronaut" / "1.jpg") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((192, 128)).save(folder / "coffee" / "turned.png")
    source = Balanced(of={"name": "image_folder", "path": str(folder)})
    found = source.drawn(ctx)
    assert (len(found.positions), found.unreadable, found.copies, found.size) == (12, 1, 2, 15)
    assert np.all(np.diff(found.positions) > 0)


def test_another_picture_is_another_pin_and_a_moved_folder_is_not(photos, tmp_path, ctx):
    folder = tmp_path / "moved"
    shutil.copytree(photos, folder)

    def identity(path):
        source = Balanced(of={"name": "image_folder", "path": str(path)}, most=5)
        return source.fingerprint(), source.pin(ctx)

    before = identity(folder)
    assert before == identity(photos)
    shutil.copy(folder / "coffee" / "0.jpg", folder / "coffee" / "4.jpg")
    assert identity(folder)[1] != before[1]
