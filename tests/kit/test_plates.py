"""Holes, pools, the memo for batches, and frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.kit.pictures import framing, plates
from variorum.machine.memo import DiskMemo

SIDE = 128


def test_a_hole_is_wider_than_the_mask_and_reaches_below_it() -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[30:90, 50:80] = 255
    hole = plates.hole(mask)
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    assert (columns[0], columns[-1]) == (45, 84)
    assert rows[0] == 25
    assert rows[-1] == 94 + 3
    assert not plates.hole(np.zeros_like(mask)).any()


def test_what_is_kept_isn_t_computed_again_and_the_rest_comes_in_one_batch() -> None:
    kept: dict[str, Mapping[str, Any]] = {}
    batches = []

    def memo(key: str, compute: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        if key not in kept:
            kept[key] = compute()
        return kept[key]

    def compute(places: list[int]) -> list[Mapping[str, Any]]:
        batches.append(places)
        return [{"value": np.array(10 * place)} for place in places]

    assert [int(item["value"]) for item in plates.recall(memo, ["a", "b", "c"], compute)] == [0, 10, 20]
    assert [int(item["value"]) for item in plates.recall(memo, ["c", "d", "a", "e"], compute)] == [20, 10, 0, 30]
    assert batches == [[0, 1, 2], [1, 3]]


def test_arrays_that_differ_in_shape_alone_have_another_fingerprint() -> None:
    values = np.arange(12, dtype=np.uint8)
    assert plates.fingerprint(values.reshape(3, 4)) != plates.fingerprint(values.reshape(4, 3))
    assert plates.fingerprint(values.reshape(3, 4).T) == plates.fingerprint(
        np.ascontiguousarray(values.reshape(3, 4).T)
    )


@given(st.integers(0, 299), st.integers(1, 100), st.booleans())
def test_the_window_holds_an_object_that_fits(start: int, length: int, upright: bool) -> None:
    mask = np.zeros((100, 300), np.uint8)
    mask[40:60, start : start + length] = 255
    mask = mask.T if upright else mask
    left, top, side = framing.window(*mask.shape, np.ascontiguousarray(mask))
    assert side == 100
    assert (left, top)[not upright] == 0
    inside = mask[top : top + side, left : left + side]
    assert inside.shape == (side, side)
    assert (inside > 127).sum() == (mask > 127).sum()


def test_without_a_mask_the_window_is_in_the_middle() -> None:
    assert framing.window(100, 300) == (100, 0, 100)
    assert framing.window(300, 100, np.zeros((300, 100), np.uint8)) == (0, 100, 100)


@pytest.mark.parametrize("frame", [64, 100, 160])
def test_crops_are_square_and_true_to_scale(frame: int) -> None:
    disc = cv2.circle(np.zeros((100, 300), np.uint8), (150, 50), 30, 255, -1)
    shape = cv2.boundingRect((framing.crop(disc, (100, 0, 100), frame) > 127).astype(np.uint8))
    assert shape[2] == pytest.approx(shape[3], abs=1)
    assert shape[2] == pytest.approx(61 * frame / 100, abs=1.5)


def test_what_another_thread_is_computing_is_waited_for_and_tried_again_if_it_fails(tmp_path):
    memo, asked, entered, go_on = DiskMemo(tmp_path), [], threading.Event(), threading.Event()

    def slow(places):
        asked.append("slow")
        entered.set()
        assert go_on.wait(30)
        if len(asked) > 2:
            raise ValueError("out of luck")
        return [{"value": np.array(place)} for place in places]

    def other(places):
        asked.append(f"other {places}")
        go_on.set()
        return [{"value": np.array(7)} for _ in places]

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(plates.recall, memo, ["a1", "b1"], slow)
        assert entered.wait(30)
        found = plates.recall(memo, ["b1", "c1"], other)  # its own before it waits, or both would wait forever
        assert [int(item["value"]) for item in (*first.result(), *found)] == [0, 1, 1, 7]
        entered.clear()
        go_on.clear()
        failing = thread.submit(plates.recall, memo, ["d1"], slow)
        assert entered.wait(30)
        found = plates.recall(memo, ["d1", "e1"], other)
        assert [int(item["value"]) for item in found] == [7, 7]
        assert str(failing.exception()) == "out of luck"
    assert asked == ["slow", "other [1]", "slow", "other [1]", "other [0]"]
