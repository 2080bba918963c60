"""The runner of all engines, on an engine whose workers are threads of this process."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from variorum.machine.progress import Progress
from variorum.runners import lanes
from variorum.runners.lanes import OnWorkers
from variorum.runners.worker import Outcome, packed
from variorum.schemas.errors import RecipeError, StoreError, TemporaryError


@dataclass(frozen=True)
class Number:
    value: int
    samples: int = 10

    @property
    def key(self) -> str:
        return f"{self.value:064x}"


class Numbers:
    """A stage that only travels; `Here` makes its parts."""

    name, doing, uses_models, job = "number", "counting", True, None


class Here:
    """An engine: results are squares, and each lane's worker meets the end that a number has in `ends`."""

    setup, waiting = None, "they have no shoes"

    def __init__(self, **ends) -> None:
        self.lost, self.fails, self.starts = ends.get("lost", {}), ends.get("fails", {}), ends.get("starts", True)
        self.made: list[int] = []
        self.started: list[int] = []
        self.ended = 0
        self.lock = threading.Lock()

    def start(self, lanes):
        self.started += lanes
        return [One(self) for _ in lanes]

    def stop(self):
        self.stopped = True

    def attempt(self, part):
        if not self.starts:
            raise OSError("it has no legs")
        if not part:
            return pickle.dumps(Outcome(None, (), 0, ()))
        value = pickle.loads(part).value
        with self.lock:
            self.made.append(value)
            left = self.lost.get(value, 0)
            self.lost[value] = left - 1
        if left > 0:
            raise OSError("ended by signal 9")
        error = self.fails.get(value)
        said = ("other.place", logging.WARNING, f"at {value}")
        return pickle.dumps(Outcome(None if error else value**2, packed(error) if error else (), 10, (said,)))


class One(ThreadPoolExecutor):
    """A worker of `Here`."""

    def __init__(self, engine) -> None:
        super().__init__(1)
        self.engine = engine

    def submit(self, function, setup, stage, part):
        return super().submit(self.engine.attempt, part)

    def shutdown(self, wait=True, **more):
        self.engine.ended += 1
        super().shutdown(wait, **more)


class Counts(Progress):
    done = 0

    def advance(self, steps: int) -> None:
        self.done += steps


class Resuming(Numbers):
    """Keeps more of a part with each worker that is lost at it, up to a place that ends all of them."""

    def __init__(self, most: int) -> None:
        self.most, self.kept = most, 0

    def reached(self, part):
        self.kept = min(self.most, self.kept + 1)
        return self.kept


def mapped(engine, numbers, workers=1, stage=None):
    progress = Counts()
    with OnWorkers(engine, workers) as runner:
        try:
            return runner.map(stage or Numbers(), [Number(value) for value in numbers], progress), progress.done
        except Exception as error:
            error.done = progress.done
            raise


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_results_come_in_order_with_progress_and_log_lines(workers, caplog):
    engine = Here()
    assert mapped(engine, range(7), workers) == ([value**2 for value in range(7)], 70)
    assert sorted(engine.made) == list(range(7))
    assert sorted(caplog.messages) == [f"at {value}" for value in range(7)]
    assert {record.name for record in caplog.records} == {"other.place"}
    assert (engine.started, engine.stopped) == (list(range(min(workers, 7))), True)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_lost_worker_costs_its_part(workers, caplog):
    engine = Here(lost={2: 2})
    assert mapped(engine, range(5), workers) == ([0, 1, 4, 9, 16], 50)
    assert sorted(engine.made) == [0, 1, 2, 2, 2, 3, 4]
    lost = [message for message in caplog.messages if "number" in message]
    assert len(lost) == 2
    assert "its worker was lost (ended by signal 9); another makes it again" in lost[0]


def test_a_part_that_ends_every_worker_is_given_up():
    engine = Here(lost={1: 99})
    with pytest.raises(TemporaryError, match=r"signal 9\), for the 3rd time.*fewer --workers"):
        mapped(engine, range(4))
    assert engine.made == [0, 1, 1, 1]


def test_a_part_that_lost_workers_get_on_with_is_not_given_up():
    assert mapped(Here(lost={1: 9}), range(4), stage=Resuming(9))[0] == [0, 1, 4, 9]
    engine = Here(lost={1: 99})
    with pytest.raises(TemporaryError, match="for the 3rd time"):
        mapped(engine, range(4), stage=Resuming(5))
    assert engine.made.count(1) == 5 + 2


def test_a_store_that_cannot_be_read_does_not_end_a_run_that_lost_a_worker(monkeypatch):
    def unread(self, part):
        raise TemporaryError("the store is away")

    monkeypatch.setattr(Resuming, "reached", unread)
    assert mapped(Here(lost={1: 2}), range(4), stage=Resuming(9))[0] == [0, 1, 4, 9]


def test_workers_that_cannot_start_end_the_run():
    with pytest.raises(TemporaryError, match=r"^no worker can be started \(it has no legs\)"):
        mapped(Here(starts=False), range(4), 2)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_is_raised_when_all_parts_have_been_tried(workers, caplog):
    engine = Here(fails={1: RecipeError("wrong here"), 3: RecipeError("wrong there")})
    with pytest.raises(RecipeError, match="wrong"):
        mapped(engine, range(6), workers)
    assert sorted(engine.made) == list(range(6))
    assert len([message for message in caplog.messages if message.startswith("wrong")]) == 1


@pytest.mark.parametrize("error", [StoreError("disk full"), TemporaryError("disk full")])
def test_when_the_store_or_the_machine_fails_no_further_part_begins(error):
    engine = Here(fails={1: error})
    with pytest.raises(type(error), match="disk full"):
        mapped(engine, range(6))
    assert engine.made == [0, 1]


def test_it_is_said_once_why_workers_have_not_started(monkeypatch, caplog):
    class Late(Here):
        def attempt(self, part):
            while not part and not caplog.messages:
                time.sleep(0.01)
            return super().attempt(part)

    monkeypatch.setattr(lanes, "PATIENCE", 0.01)
    assert mapped(Late(), range(3), 2) == ([0, 1, 4], 30)
    assert caplog.messages[0] == "2 of 2 workers haven't started: they have no shoes"
    assert len([message for message in caplog.messages if "shoes" in message]) == 1


def test_workers_stay_for_the_next_stage():
    engine = Here()
    with OnWorkers(engine, 2) as runner:
        for _ in range(3):
            runner.map(Numbers(), [Number(1), Number(2)], Counts())
        assert (engine.started, engine.ended) == ([0, 1], 0)
    assert engine.ended == 2


def test_no_parts_need_no_worker():
    engine = Here()
    assert mapped(engine, []) == ([], 0)
    assert engine.started == []


def test_a_single_part_without_models_is_made_here():
    class Alone(Numbers):
        uses_models = False

        def make(self, part, advance):
            return part.value + 0.5

    engine = Here()
    with OnWorkers(engine, 2) as runner:
        assert runner.map(Alone(), [Number(1)], Counts()) == [1.5]
    assert engine.started == []
