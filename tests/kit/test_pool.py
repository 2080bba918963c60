"""Whose plates a photograph may get: the next ones of its split in a ring, whatever is made of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from variorum.edition.samples import decoded
from variorum.generators.imagenet_e.attribute_edit import AttributeEdit
from variorum.kit.pictures.pool import Lenders, free_window
from variorum.kit.pictures.scenes import Scene, Setup, scenes
from variorum.pixels import encode_png
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.stages.lending import let_through
from variorum.stages.splits import in_splits

SIDE, SIZE, BROKEN = 64, 40, 7
EDIT = AttributeEdit(
    frame=SIDE, attributes=("background",), backgrounds=("random",), classifier=None, lenders=6, batch=2
)


RNG = np.random.default_rng(0)


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
        return tuple(ClassInfo(f"class {n}", f"class {n}") for n in range(4))


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
    return sample.failure("unreadable", "broken") if n == BROKEN else sample


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


def all_of(split: str) -> list[Sample]:
    return [one for one in samples(*range(SIZE)) if one.split == split]


def test_units_of_any_size_in_any_order_draw_the_same_partners() -> None:
    one = partners(context(), *range(SIZE))
    parts: dict[str, str] = {}
    for start in reversed(range(0, SIZE, 5)):
        parts |= partners(context(), *reversed(range(start, start + 5)))
    assert parts == one
    assert partners(context(seed=4), *range(SIZE)) != one


def test_a_picture_s_plate_is_made_once_for_all_units() -> None:
    memo = Memo()
    partners(context(memo=memo), *range(SIZE))
    READ.clear()
    partners(context(memo=memo), *range(SIZE))
    assert not READ


@pytest.mark.parametrize("shares", [{}, {"test": 0.5, "train": 0.5}])
def test_lenders_are_the_next_ones_of_the_split_in_the_ring(shares: dict[Any, float]) -> None:
    ctx = context(splits=shares)
    drawn = [one for one in in_splits(decoded(Crowd().read(0, SIZE, ctx)), shares) if isinstance(one, Sample)]
    for split in ("test", "train"):
        side = {one.id: one for one in drawn if one.split == split}
        lent: dict[str, set[str]] = {name: set() for name in side}
        for borrower in side.values():
            for position, labels in Lenders(ctx, 3).to(borrower, np.random.default_rng(0)):
                lender = picture(position).id
                if position != BROKEN:
                    assert labels == side[lender].labels != borrower.labels
                    lent[lender].add(borrower.id)
        assert max(map(len, lent.values())) <= 3
        assert sum(map(len, lent.values())) > len(side)


def test_labels_of_a_source_with_one_class_rule_nobody_out() -> None:
    class One(Crowd):
        def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
            return (ClassInfo("class 1", "class 1"),)

    borrower = samples(1)[0]
    found = {labels for _, labels in Lenders(context(source=let_through(One(), ())), 39).to(borrower, RNG)}
    assert borrower.labels in found


def test_a_picture_that_is_not_of_the_source_borrows_too() -> None:
    stranger = replace(samples(1)[0], id="0" * 32)
    assert len([*Lenders(context(), SIZE).to(stranger, RNG)]) > SIZE // 2


def test_a_window_is_the_largest_square_without_an_object() -> None:
    salience = np.zeros((300, 400), np.uint8)
    salience[:, 300:] = 255

    def found(frame: int, *boxes: tuple[float, float, float, float]) -> tuple[int, int, int, int] | None:
        mask = encode_png(salience)
        objects = tuple(Object(box) for box in boxes)
        sample = Sample("a", RNG.integers(0, 255, (300, 400, 3)).astype(np.uint8), annotations=Annotations(objects))
        sample = replace(sample, extras={"mask.png": mask})
        setup = Setup(frame, "object", "", "", None, EDIT.gates)
        (scene,) = scenes([sample], setup, context(), plated=False)
        assert isinstance(scene, Scene)
        return free_window(scene, sample)

    left, top, width, height = found(256) or (0, 0, 0, 0)
    assert (left + width <= 300, width == height, 280 > height > 260) == (True, True, True)
    left, top, width, height = found(200, (0, 0, 400, 140)) or (0, 0, 0, 0)
    assert (left + width <= 300, width == height, height > 130, top >= 140) == (True, True, True, True)
    assert found(512, (0, 0, 400, 140)) is None  # it would be blurred
    salience[:, 100:] = 255
    assert found(128) is None
