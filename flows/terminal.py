"""Print on the terminal: lines, JSON, tables that fit, progress. Text from data can't command the terminal."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import typer

from variorum.machine.prefetch import begun_in_thread
from variorum.machine.progress import Pace, Progress, duration
from variorum.schemas.errors import UNSAFE
from variorum.schemas.secrets import without_secrets

if TYPE_CHECKING:
    from variorum.reports.figures import Shown

EVERY_SECONDS = 30.0
EVERY_SHARE = 0.05
"""Without a terminal, a line is printed after this many seconds or this share of a phase, whichever comes first."""
LEAST_SECONDS = 2.0
"""Minimum time between two lines, so that a short phase doesn't fill the log."""
LONG, SHORT = 32, 20
"""Characters of a name in a table that is too wide."""


def plain(text: object) -> str:
    """Text from data as the terminal may get it: without secrets, and with � for `UNSAFE` characters."""
    return UNSAFE.sub("\ufffd", without_secrets(str(text)))


def say(text: object, *, err: bool = False) -> None:
    """A line on stdout or stderr, without `UNSAFE` characters."""
    typer.echo(plain(text), err=err)


def print_markdown(text: str) -> None:
    """Markdown laid out for people on a terminal; as it is for a file or a pipe."""
    if sys.stdout.isatty():
        from rich.markdown import Markdown

        console().print(Markdown(plain(text)))
    else:
        say(text.rstrip())


def cell(value: object) -> str:
    """Text from data as a cell or title of a Rich table: no control characters, no markup."""
    from rich.markup import escape

    return escape(plain(value))


class DebugRecord(logging.LogRecord):
    """A log record without `UNSAFE` characters and secrets in its message, which may name files and URLs."""

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """The message."""
        return plain(super().getMessage())


class PlainRecord(DebugRecord):
    """The same without a traceback, and on one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exc_info = self.exc_text = self.stack_info = None

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """The message on one line."""
        return " ".join(super().getMessage().splitlines())


@contextmanager
def progress(unit: str = "") -> Iterator[Progress]:
    """Progress on stderr: one bar per phase on a terminal, otherwise plain lines.

    Args:
        unit: `bytes` for amounts of data.
    """
    if sys.stderr.isatty():
        with bars(unit) as shown:
            yield shown
        return
    lines, ended = Lines(unit), Event()

    def remind(every: float) -> None:
        while not ended.wait(every):
            lines.remind()

    begun_in_thread(remind, EVERY_SECONDS)
    try:
        yield lines
    finally:
        ended.set()


@contextmanager
def bars(unit: str = "") -> Iterator[Progress]:
    """A line per phase: its bar, steps and time left while it lasts, then the time that it took."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Rich
    from rich.table import Column

    class Bar(BarColumn):
        def render(self, task: Any) -> Any:  # a bar at its end would look like work that stands still
            return "" if task.fields["pace"].ended else super().render(task)

    class Said(TextColumn):
        def __init__(self, say: Callable[[Pace], str]) -> None:
            super().__init__("", justify="right", table_column=Column(no_wrap=True))
            self.say = say

        def render(self, task: Any) -> Any:
            return super().render(task).append(self.say(task.fields["pace"]))

    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        Bar(bar_width=None, table_column=Column(ratio=1)),
        Said(lambda pace: ", ".join(filter(None, (steps_of(pace, unit), rate_of(pace, unit))))),
        Said(Pace.time),
    )
    with Rich(*columns, console=console(stderr=True), expand=True) as rich:

        class Bars(Progress):
            task: Any = None

            def start(self, what: str, total: int, done: int = 0) -> None:
                self.begin(what, Pace(total, done))

            def start_unlike(self, what: str, total: int) -> None:
                self.begin(what, Pace(total, alike=False))

            def begin(self, what: str, pace: Pace) -> None:
                self.task, self.pace = None, pace
                if not pace.ended:
                    self.task = rich.add_task(cell(what), total=pace.total, completed=pace.done, pace=pace)

            def advance(self, steps: int) -> None:
                if self.task is None:
                    return
                self.pace.advance(steps)
                rich.advance(self.task, steps)
                if self.pace.fleeting:
                    rich.remove_task(self.task)
                    self.task = None

        yield Bars()


class Lines(Progress):
    """Progress for log files: a line every 30 seconds or 5 % with steps done, total, rate and time left.

    Args:
        unit: `bytes` for amounts of data.
        write: takes a line; stderr by default.
        clock: seconds.
    """

    def __init__(
        self, unit: str = "", write: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._unit, self._clock = unit, clock
        self._put = write or (lambda line: say(line, err=True))
        self._lock = Lock()
        self._pace = Pace(0)

    def start(self, what: str, total: int, done: int = 0) -> None:
        """See `Progress.start`."""
        self._begin(what, Pace(total, done, self._clock))

    def start_unlike(self, what: str, total: int) -> None:
        """See `Progress.start_unlike`."""
        self._begin(what, Pace(total, 0, self._clock, alike=False))

    def advance(self, steps: int) -> None:
        """See `Progress.advance`."""
        with self._lock:
            pace = self._pace
            pace.advance(steps)
            waited = self._clock() - self._said_at
            due = pace.done - self._said >= EVERY_SHARE * pace.total and waited >= LEAST_SECONDS
            due = (due or waited >= EVERY_SECONDS or pace.ended) and not pace.fleeting
            if steps and pace.total and due and pace.done != self._said:
                self._tell()

    def remind(self) -> None:
        """Write the line again if nothing was written for 30 seconds and the phase isn't over."""
        with self._lock:
            if not self._pace.ended and self._clock() - self._said_at >= EVERY_SECONDS:
                self._tell()

    def _begin(self, what: str, pace: Pace) -> None:
        with self._lock:
            self._what, self._pace = what, pace
            self._said, self._said_at = pace.done, self._clock()
            if pace.total == 1 and not pace.ended:
                self._put(f"{what} …")

    def _tell(self) -> None:
        pace = self._pace
        self._said, self._said_at = pace.done, self._clock()
        share = f"{int(100 * pace.done / pace.total)} %"
        said = f"{self._what}: {steps_of(pace, self._unit)}", share, rate_of(pace, self._unit), pace.time()
        self._put(", ".join(filter(None, said)))


def steps_of(pace: Pace, unit: str) -> str:
    """Steps done and their total: `41 of 120`."""
    return f"{amount(pace.done, unit)} of {amount(pace.total, unit)}"


def rate_of(pace: Pace, unit: str) -> str:
    """Steps a second, or seconds for each if it takes longer; nothing if that isn't known, or isn't needed any more."""
    rate = None if pace.ended else pace.rate()
    if rate is None:
        return ""
    if unit or rate >= 1:
        return f"{amount(rate, unit)}/s"
    return f"{1 / rate:.1f} s each" if rate > 0.1 else f"{duration(1 / rate)} each"


def amount(number: float, unit: str) -> str:
    """A number of things, or of bytes in MB."""
    if unit == "bytes":
        return f"{number / 1e6:.1f} MB"
    return f"{number:.1f}" if isinstance(number, float) and number < 100 else f"{number:.0f}"


def console(stderr: bool = False) -> Any:
    """A Rich console on one of the two outputs."""
    from rich.console import Console

    return Console(stderr=stderr)


def print_json(value: Any) -> None:
    """One JSON value on one line of stdout, for scripts; `UNSAFE` characters are escaped."""
    text = without_secrets(json.dumps(value, ensure_ascii=False, default=str))
    typer.echo(UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table of text, the first column to the left."""
    from rich.table import Table

    table = Table(title=cell(title) or None, title_justify="left")
    for name in head:
        table.add_column(cell(name), overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    console().print(table)


def print_lines(lines: Sequence[tuple[str, str]], title: str, *, err: bool = False) -> None:
    """Pairs of what and a text, such as a plan, without a frame."""
    from rich.table import Table

    table = Table("", "", show_header=False, box=None, title=cell(title), title_justify="left")
    for what, text in lines:
        table.add_row(cell(what), cell(text))
    console(stderr=err).print(table)


def print_shown(shown: Shown, *, intervals: bool = False) -> None:
    """A table of figures, split to fit the terminal; with `intervals` it keeps them in any case."""
    from rich.table import Table

    out = console()
    for number, part in enumerate(parts_that_fit([shown.head, *shown.rows], out.width, intervals=intervals)):
        table = Table(box=None, padding=(0, 2, 0, 0), title=None if number else cell(shown.title), title_justify="left")
        for position, name in enumerate(part[0]):
            table.add_column(cell(name), justify="right" if position else "left", no_wrap=True)
        for row in part[1:]:
            table.add_row(*map(cell, row))
        out.print(table, "")


def parts_that_fit(rows: Sequence[Sequence[str]], width: int, *, intervals: bool = False) -> Iterator[list[list[str]]]:
    """A table split into parts no wider than `width`, with two spaces between columns.

    If a table is too wide, the names in its first column are shortened first. If that isn't enough, it loses its
    intervals and errors, unless it must keep its `intervals`; then names become shorter still. Then it is split, and
    each part has the first column.
    """
    for most in (LONG, SHORT) if intervals else (LONG,):
        if sum(widths_of(rows)) > width:
            rows = [(name, *row[1:]) for name, row in zip(shortened([row[0] for row in rows], most), rows, strict=True)]
    if sum(widths_of(rows)) > width and not intervals:
        rows = [[re.sub(r" (\[-?[\d.]+, -?[\d.]+\]|± [\d.]+)$", "", text) for text in row] for row in rows]
    widths, start = widths_of(rows), 1
    while start < len(widths):
        stop, room = start + 1, width - widths[0] - widths[start]
        while stop < len(widths) and widths[stop] <= room:
            room -= widths[stop]
            stop += 1
        yield [[row[0], *row[start:stop]] for row in rows]
        start = stop


def shortened(names: Sequence[str], most: int = LONG) -> list[str]:
    """Names with … in the middle of those that are longer than `most`, or more if they would become the same.

    Of a difference, `one − other`, both names are shortened.
    """
    for size in range(most, max(map(len, names), default=0)):
        found = [" − ".join(middle_out(part, size) for part in name.split(" − ")) for name in names]
        if len(set(found)) == len(set(names)):
            return found
    return list(names)


def middle_out(text: str, most: int) -> str:
    """A text with … for its middle, if it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """Width of each column in characters, with two spaces."""
    return [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
