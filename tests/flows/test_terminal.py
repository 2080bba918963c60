"""What the command line shows: tables that fit, whole words, and progress with and without a terminal."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from variorum.flows import terminal, terminal_editions
from variorum.flows.terminal import Lines, amount, parts_that_fit, shortened, widths_of
from variorum.machine.progress import duration
from variorum.reports.figures import Shown

WIDE = Shown(
    "The generated set against real pictures",
    ("set", "n", "recognised, %", "FID", "KID × 1000", "precision", "recall", "density", "coverage", "Vendi", "spread"),
    [
        ("real", "500", "93.8 [91.3, 95.6]", "27.98*", "-0.03 ± 0.38", "0.88", "0.90", "0.94", "0.88", "6.25", "0.362"),
        ("g_1.5", "499", "93.2 [90.6, 95.1]", "68.33*", "48.99 ± 2.21", "0.80", "0.27", "0.67", "0.38", "4.36", "0.27"),
    ],
)
NARROW = Shown(
    "Accuracy drop: classifier, a [b]",
    ("variant", "drop"),
    [("a|b[red]c", "-1.5 [-3.2, 0.1]"), ("average over edits", "2.0 [1.0, 3.0]")],
)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_wide_table_comes_in_parts_that_fit_with_whole_words(width):
    rows = [WIDE.head, *WIDE.rows]
    parts = list(parts_that_fit(rows, width))
    assert len(parts) == {40: 4, 80: 2, 200: 1}[width]
    assert all(sum(widths_of(part)) <= width for part in parts)
    assert all([row[0] for row in part] == ["set", "real", "g_1.5"] for part in parts)
    assert tuple(name for part in parts for name in part[0][1:]) == WIDE.head[1:]
    assert parts[0][1][2] == ("93.8 [91.3, 95.6]" if width == 200 else "93.8")


def test_a_narrow_table_keeps_its_intervals_and_a_column_that_cannot_fit_stands_alone():
    rows = [NARROW.head, *NARROW.rows]
    assert list(parts_that_fit(rows, 60)) == [[list(row) for row in rows]]
    assert [row[1] for row in next(parts_that_fit(rows, 10))] == ["drop", "-1.5", "2.0"]


def test_long_names_are_shortened_before_intervals_go():
    long = "torchvision:mobilenet_v3_small@mobilenet_random.safetensors"
    rows = [("model", "drop", "behind"), (f"1. {long}", "1.2 [0.1, 2.3]", ""), (f"2. {long}", "1.2", "3.4 [1.2, 5.6]")]
    assert list(parts_that_fit(rows, 120)) == [[list(row) for row in rows]]  # there is room
    (part,) = parts_that_fit(rows, 80)
    assert [row[1:] for row in part] == [list(row[1:]) for row in rows]
    assert part[1][0] == "1. torchvision:m…dom.safetensors"
    assert shortened([f"{long} − {long}x", "short"]) == [
        "torchvision:mobi…dom.safetensors − torchvision:mobi…om.safetensorsx",
        "short",
    ]


def test_a_table_that_must_keep_its_intervals_is_split_instead():
    rows = [("model", "drop", "behind"), ("a" * 40, "100.0 [100.0, 100.0]", "≈ 100.0 [100.0, 100.0]")]
    for width in (70, 50):
        parts = list(parts_that_fit(rows, width, intervals=True))
        assert all(sum(widths_of(part)) <= width for part in parts)
        assert [cell for part in parts for cell in part[1][1:]] == list(rows[1][1:])


@given(st.lists(st.text("ab −", max_size=60), unique=True))
def test_shortened_names_stay_distinguishable(names):
    found = shortened(names)
    assert len(set(found)) == len(names)
    assert all(one == name or "…" in one for one, name in zip(found, names, strict=True))


def test_figures_are_short_and_say_where_the_rest_is(monkeypatch, capsys):
    monkeypatch.setattr("variorum.reports.card.evaluation_tables", lambda *_: [WIDE, NARROW])
    monkeypatch.setattr("variorum.reports.card.evaluations", lambda *_: {})
    monkeypatch.setattr("variorum.edition.editions.folder_of", lambda *_: "x")
    monkeypatch.setattr("variorum.edition.editions.read_beside", lambda *_: b"a card")
    monkeypatch.setattr(terminal, "console", lambda: Console(width=80))
    terminal_editions.print_evaluations(None, None, None)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "g_1.5  499           93.2" in shown
    assert "a|b[red]c" in shown
    assert "figures in x/README.md" in shown


class Clock:
    """Seconds that pass when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def told(total: int, steps, seconds: float, unit: str = "") -> list[str]:
    """The lines of a phase in which each step takes so long."""
    said, clock = [], Clock()
    progress = Lines(unit, said.append, clock)
    progress.start("making pictures", total)
    for number in steps:
        clock.now += seconds
        progress.advance(number)
    return said


def test_a_long_phase_tells_every_five_percent():
    said = told(1000, [1] * 1000, 0.5)
    assert len(said) == 20
    assert said[0] == "making pictures: 50 of 1000, 5 %, 2.0/s, 7 min 55 s left"
    assert said[-1] == "making pictures: 1000 of 1000, 100 %, in 8 min 20 s"


def test_a_slow_phase_tells_every_thirty_seconds():
    said = told(100_000, [1] * 120, 1.0)
    assert len(said) == 4
    assert said[1].startswith("making pictures: 60 of 100000, 0 %, 1.0/s, 27 h 45 min left")


def test_a_short_phase_tells_its_end_alone():
    assert told(50, [1] * 50, 0.001) == ["making pictures: 50 of 50, 100 %, in 0 s"]


def test_a_phase_without_a_step_says_that_it_goes_on():
    said, clock = [], Clock()
    progress = Lines("", said.append, clock)
    progress.remind()  # before any phase
    progress.start("making pictures", 4)
    for _ in range(5):
        clock.now += 15
        progress.remind()
    progress.advance(4)
    clock.now += 60
    progress.remind()  # between two phases
    assert said == [
        "making pictures: 0 of 4, 0 %, 30 s so far",
        "making pictures: 0 of 4, 0 %, 1 min 00 s so far",
        "making pictures: 4 of 4, 100 %, in 1 min 15 s",
    ]


def test_nothing_to_do_says_nothing():
    said, clock = [], Clock()
    progress = Lines("", said.append, clock)
    progress.start("making pictures", 20, 20)  # all of it kept from before
    progress.start("scoring", 0)
    progress.advance(0)
    assert said == []


def test_the_rate_is_that_of_this_run():
    said, clock = [], Clock()
    progress = Lines("", said.append, clock)
    progress.start("making pictures", 100, 80)
    for _ in range(10):
        clock.now += 1
        progress.advance(1)
    assert said[0] == "making pictures: 85 of 100, 85 %, 1.0/s, 15 s left"


def test_bars_fit_with_whole_words_and_stand_nowhere_at_their_end(monkeypatch):
    written = io.StringIO()
    shown = Console(file=written, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(terminal, "console", lambda **_: shown)
    with terminal.bars() as progress:
        progress.start("measuring leakage.trained_on", 12_000, 2_000)
        progress.advance(9_000)
        progress.start_unlike("sealing the edition", 1)  # meanwhile the other isn't over
        progress.start("kept from before", 5, 5)
    first, second = drawn(written)[-2:]
    assert first.startswith("measuring leakage.trained_on ━")
    assert first.endswith(" 11000 of 12000 0 s so far")
    assert second.startswith("sealing the edition  ")
    assert second.endswith(" 0 of 1 0 s so far")
    assert len(first) == len(second) == 80
    written.truncate(0)
    with terminal.bars() as progress:
        progress.start("measuring", 120)
        progress.advance(120)
        progress.start_unlike("sealing the edition", 1)
        progress.advance(1)  # in no time
    assert drawn(written)[-1].split() == ["measuring", "120", "of", "120", "in", "0", "s"]


def drawn(written: io.StringIO) -> list[str]:
    """The lines that were drawn one after the other, without what moves the cursor."""
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue()).splitlines()
    return [line for line in lines if line.strip("\r\0")]


def test_amounts_and_durations_in_words():
    assert amount(2_500_000, "bytes") == "2.5 MB"
    assert [duration(seconds) for seconds in (5, 65, 3725)] == ["5 s", "1 min 05 s", "1 h 02 min"]
