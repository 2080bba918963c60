"""The best batch: found by doubling, kept for the next process, and none of a CPU's business."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from variorum.models import batch_search
from variorum.models.batch_search import Tried, best, best_batch, sweep


class Device:
    """Makes pictures on a clock of its own: a call has a fixed cost, and so has each picture beyond `parallel`."""

    def __init__(self, room: int = 1000, parallel: int = 8) -> None:
        self.now, self.room, self.parallel, self.asked = 0.0, room, parallel, []

    def __call__(self, batch: int) -> None:
        self.asked.append(batch)
        if batch > self.room:
            raise torch.OutOfMemoryError("as a GPU says it")
        self.now += 0.5 * (batch not in self.asked[:-1])  # the first call of a size compiles
        self.now += 1 + 0.01 * batch + max(0, batch - self.parallel)

    def clock(self) -> float:
        return self.now


def test_batches_are_doubled_until_they_gain_nothing():
    device = Device()
    tried = sweep(device, clock=device.clock)
    assert [one.batch for one in tried] == [1, 2, 4, 8, 16]
    assert tried[3].per_second == pytest.approx(8 / 1.08)  # of the second call
    assert best(tried) == 8


def test_a_gain_of_less_than_five_in_a_hundred_is_none():
    def steady(gain):
        now = [0.0]

        def make(batch):
            now[0] += batch / (1 if batch == 1 else gain)

        return best(sweep(make, clock=lambda: now[0]))

    assert (steady(1.04), steady(1.06)) == (1, 2)


def test_the_search_ends_with_the_memory_and_the_most():
    device = Device(room=5)
    assert best(sweep(device, clock=device.clock)) == 4
    assert device.asked == [1, 1, 2, 2, 4, 4, 8]
    assert [one.batch for one in sweep(Device(), most=6, rise=None, clock=device.clock)] == [1, 2, 4]
    with pytest.raises(torch.OutOfMemoryError):
        sweep(Device(room=0), clock=device.clock)


def test_a_batch_leaves_room_for_the_one_before_it():
    tried = [Tried(1, 1.0, 4.0), Tried(2, 1.9, 6.0), Tried(4, 3.0, 10.0)]
    assert [best(tried, room) for room in (None, 10.0, 9.0, 3.0)] == [4, 4, 2, 1]


def test_a_slow_model_is_not_asked_for_more():
    device = Device()
    device.now = 0.0
    assert [one.batch for one in sweep(lambda n: setattr(device, "now", device.now + 70), clock=device.clock)] == [1]


def test_other_errors_are_the_model_s():
    def broken(batch):
        raise RuntimeError("no memory's fault")

    with pytest.raises(RuntimeError, match="no memory's fault"):
        sweep(broken)


def test_an_answer_is_kept_by_model_setting_and_gpu(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path))
    monkeypatch.setattr(batch_search, "gpu_name", lambda: "a GPU")
    device = Device()

    def asked(side: int, most: int = 256) -> int:
        return best_batch("filler", "pin", [side], device, usual=4, most=most, clock=device.clock)

    with caplog.at_level(logging.WARNING):
        found = [asked(512) for _ in range(3)]
    assert (found, len(device.asked), len(caplog.records)) == ([8] * 3, 10, 2)
    assert asked(1024, most=4) == 4
    assert len(device.asked) == 16
    for path in (tmp_path / "batches").glob("*.json"):
        path.write_text(json.dumps({"batch": "8" if json.loads(path.read_text())["setting"] == [512] else -1}))
    assert asked(512) == 8  # a damaged answer is searched again
    assert len(device.asked) == 26


def test_nothing_is_tried_without_a_gpu_or_with_a_compiled_network(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path))
    monkeypatch.setattr(batch_search, "gpu_name", lambda: None)
    device = Device()
    assert best_batch("filler", "pin", [512], device, usual=4) == 4
    monkeypatch.setattr(batch_search, "gpu_name", lambda: "a GPU")
    compiled = 'x@1+diffusion.1;{"compile":true,"task":"inpaint"}'
    assert best_batch("filler", compiled, [512], device, usual=4) == 4
    assert (device.asked, list(tmp_path.iterdir())) == ([], [])
