"""Time left: what is promised holds where work is steady, and is not promised where it can't be known."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from variorum.machine.progress import Costs, Pace, counted

BATCH = 32


class Clock:
    """Seconds that pass when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    costs=st.dictionaries(st.sampled_from("abcde"), st.floats(0.001, 5), min_size=1),
    pictures=st.integers(320, 1000),
    kept=st.integers(0, 100_000),
    loading=st.floats(0, 20),
)
def test_the_time_left_is_right_from_a_fifth_on_whatever_was_kept_and_however_unlike_the_kinds(
    costs, pictures, kept, loading
):
    """Kinds of work take turns on batches, as detectors do. Their costs are steady; the first batch loads models."""
    clock, known = Clock(), Costs()
    totals, done, told = dict.fromkeys(costs, pictures), dict.fromkeys(costs, 0), 0
    pace = Pace(pictures + kept, kept, clock)
    work = pictures * sum(costs.values())
    assume(work > max(20 * loading, 20))
    end = clock.now + loading + work
    began, clock.now, seen = clock.now, clock.now + loading, 0
    for start in range(0, pictures, BATCH):
        for kind, cost in costs.items():
            steps = min(BATCH, pictures - start)
            clock.now += cost * steps
            known.spent(kind, cost * steps, steps)
            done[kind] += steps
            if (more := int(known.done(done, totals) * pictures) - told) > 0:
                told += more
                pace.advance(more)
            if clock.now - began > (end - began) / 5 and end - clock.now > 0.05 * work:
                seen += 1
                assert pace.left() == pytest.approx(end - clock.now, rel=0.1, abs=1)
    assert seen
    assert pace.ended


@given(workers=st.integers(1, 16), lag=st.floats(0, 0.2))
def test_workers_that_begin_together_are_no_burst(workers, lag):
    clock = Clock()
    pace = Pace(20 * workers, clock=clock)
    for wave in range(1, 11):
        for worker in range(workers):
            clock.now = 100 + 60 * (wave + lag * worker / workers)
            pace.advance(1)
            left = pace.left()
            assert left is None if wave == 1 else 0.5 < left / (60 * (20 - wave)) < 2


def test_between_reports_time_passes_and_a_report_that_is_late_lowers_the_rate():
    clock = Clock()
    pace, said = Pace(100, clock=clock), []
    for _ in range(10):
        clock.now += 10
        pace.advance(1)
    for _ in range(10):
        said.append(pace.left())
        clock.now += 1
    assert said == pytest.approx([900 - second for second in range(10)])
    clock.now += 90
    assert pace.left() > 900
    assert pace.rate() < 0.06


def test_what_cannot_be_known_is_not_said():
    clock = Clock()
    pace, unlike = Pace(1000, 900, clock), Pace(10, clock=clock, alike=False)
    clock.now += 3
    assert pace.time() == "3 s so far"
    for _ in range(5):
        pace.advance(10)
        unlike.advance(1)
        clock.now += 0.1
    assert pace.left() is unlike.left() is None  # half a second is a burst
    clock.now += 200
    unlike.advance(5)
    assert unlike.time() == "in 3 min 24 s"


def test_a_kind_that_is_unknown_holds_the_share_back():
    costs, totals = Costs(), {"quick": 4, "slow": 4, "unused": 0}
    costs.spent("quick", 0.1, 4)
    assert costs.done({"quick": 4, "slow": 0, "unused": 0}, totals) == 0
    shares = []
    for steps in range(1, 5):
        costs.spent("slow", 2.0 * steps, steps, ended=steps == 4)
        shares.append(costs.done({"quick": 4, "slow": steps, "unused": 0}, totals))
    assert all(before < after for before, after in pairwise(shares))
    assert shares[-1] == 1


def test_a_part_that_fails_takes_its_steps_back_and_the_last_step_is_its_end():
    told = []
    with suppress(ZeroDivisionError), counted(10, told.append) as reached:
        reached(4)
        reached(3)  # nothing new
        raise ZeroDivisionError
    assert told == [4, -4]
    with counted(10, told.append) as reached:
        reached(10)
        assert told[2:] == [9]
    assert sum(told) == 10
    clock = Clock()
    pace = Pace(100, clock=clock)
    for steps in (5, 5, -9):
        clock.now += 10
        pace.advance(steps)
    assert pace.left() > 1000
