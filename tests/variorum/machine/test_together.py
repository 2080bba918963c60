"""Requests at the same time."""

import threading
import time

import pytest

from variorum.machine.together import each


def test_results_come_in_order_and_the_requests_overlap():
    meeting = threading.Barrier(4, timeout=20)

    def square(number):
        meeting.wait()  # passes only when four are under way
        return number**2

    assert each(square, range(8), at_once=4) == [number**2 for number in range(8)]


def test_one_at_a_time_stays_in_this_thread():
    assert set(each(lambda _: threading.current_thread(), range(3), at_once=1)) == {threading.current_thread()}


@pytest.mark.parametrize("at_once", [1, 4])
def test_the_first_error_is_raised_and_the_rest_left_out(at_once):
    asked = []

    def ask(number):
        asked.append(number)
        if number in (2, 3):
            raise OSError(number)
        if number > 3:
            time.sleep(0.01)  # or threads may ask for all before the error is looked at

    with pytest.raises(OSError, match="2"):
        each(ask, range(10_000), at_once=at_once)
    assert len(asked) < 10_000
