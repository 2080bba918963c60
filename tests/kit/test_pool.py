"""Whose plates a photograph may get: a pool for each split, the same for the whole edition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from variorum.generators.imagenet_e.attribute_edit import AttributeEdit
from variorum.kit.pictures.pool import Lenders
from variorum.pixels import encode_png
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.stages.lending import let_through

SIDE, SIZE = 64, 40
EDIT = AttributeEdit(
    frame=SIDE, attributes=("background",), backgrounds=("random",), classifier=None, plate_pool=6, batch=2
)


class Crowd(Source):
    """Discs on noise of many colours, with mask and plate; every tenth picture is for testing, and one is broken."""

    def pin(self, ctx: Context) -> str:
        return "crowd"

    def size(self, ctx: Context) -> int:
        return SIZE

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        for n in range(start, min(stop, SIZE)):
            READ.append(n)
            yield picture(n)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        return ()


READ: list[int] = []


def picture(n: int) -> Sample | Failure:
    rng = np.random.default_rng(n)
    noise = rng.integers(0, 60, (SIDE, SIDE, 3)) + rng.integers(0, 180, 3)
    plate = cv2.GaussianBlur(noise.astype(np.uint8), (0, 0), 1)
    mask = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (32, 32), 12, 255, -1)
    cut = np.where(mask[..., None] > 0, 255 - plate, plate)
    sample = Sample(
        source_id("crowd", str(n)),
        encode_png(cut),
        (f"class {n % 4}",),
        extras={"mask.png": encode_png(mask), "plate.png": encode_png(plate)},
        split="test" if n % 10 == 0 else "train",
    )
    return sample.failure("unreadable", "broken") if n == 7 else sample


class Models:
    """A table without models: masks and plates are given."""

    def get(self, alias: str) -> Any:
        raise LookupError(alias)

    def pin(self, alias: str) -> str:
        return alias


class Memo(dict[str, Mapping[str, Any]]):
    def __call__(self, key: str, compute: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        if key not in self:
            self[key] = compute()
        return self[key]


def context(**more: Any) -> Context:
    return Context(**{"seed": 3, "models": Models(), "memo": Memo(), "source": let_through(Crowd(), ()), **more})


def samples(*numbers: int) -> list[Sample]:
    return [found for n in numbers if isinstance(found := picture(n), Sample)]


def partners(ctx: Context, *numbers: int) -> dict[str, str]:
    """What each of these pictures gets as its background, by id."""
    found = {}
    for item in EDIT.generate(samples(*numbers), ctx):
        if item.variant == "background_random":
            drawn = item.ops[-1]["achieved"]["plate_sample"] if isinstance(item, Sample) else item.reason
            found[item.parent] = str(drawn)
    return found


def split_of_id(found: str) -> str:
    return next(item.split for n in range(SIZE) if (item := picture(n)).id == found)


def test_units_of_any_size_in_any_order_draw_the_same_partners() -> None:
    one = partners(context(), *range(SIZE))
    parts: dict[str, str] = {}
    for start in reversed(range(0, SIZE, 5)):
        parts |= partners(context(), *reversed(range(start, start + 5)))
    assert parts == one
    assert partners(context(seed=4), *range(SIZE)) != one


def test_an_edition_takes_few_pictures_apart_for_others_alone() -> None:
    found = partners(context(), *range(SIZE))
    for split in ("test", "train"):
        drawn = {partner for partner in found.values() if split_of_id(partner) == split}
        assert 1 < len(drawn) <= EDIT.plate_pool


def test_a_split_with_few_pictures_has_a_pool_of_its_own() -> None:
    found = partners(context(), 0, 10, 20, 30)
    assert len(found) == 4
    assert {split_of_id(partner) for partner in found.values()} == {"test"}
    assert all(split_of_id(partner) == "train" for partner in partners(context(), 1, 2, 3).values())


def test_the_recipe_s_splits_decide_and_make_other_pools() -> None:
    shares = {"test": 0.5, "train": 0.5}
    ctx = context(splits=shares)
    sides = {}
    for n in range(0, SIZE, 4):
        for split in shares:
            marked = [replace(item, split=split) for item in samples(n)]
            for item in EDIT.generate(marked, ctx):
                if isinstance(item, Sample) and item.variant == "background_random":
                    sides.setdefault(split, set()).add(item.ops[-1]["achieved"]["plate_sample"])
    assert len(sides["test"]) > 1
    assert not sides["test"] & sides["train"]


def test_the_positions_are_found_once_for_all_units() -> None:
    memo = Memo()
    partners(context(memo=memo), 1, 2)
    READ.clear()
    partners(context(memo=memo), 3)
    assert len(READ) <= 2 * EDIT.plate_pool
    for n in (1, 2, 3):
        assert READ.count(n) <= 2


def test_a_memo_keeps_pools_of_other_seeds_and_splits_apart() -> None:
    memo = Memo()
    pools = [
        tuple(Lenders(context(memo=memo, **more), 6).of("train"))
        for more in ({}, {"seed": 4}, {"splits": {"test": 0.5, "train": 0.5}}, {})
    ]
    assert len(set(pools)) == 3
    assert pools[0] == pools[3]
    assert {0, 10, 20, 30} <= {*Lenders(context(memo=memo), 6).of("test")}  # all, though they are few


@pytest.mark.parametrize("seed", range(4))
def test_pictures_of_the_same_class_come_last(seed: int) -> None:
    ctx = context(seed=seed)
    labels = {item.id: item.labels for item in samples(*range(SIZE))}
    assert all(labels[one] != labels[other] for one, other in partners(ctx, *range(1, 9)).items())
