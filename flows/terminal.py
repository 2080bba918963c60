"""What the command line shows: bars, tables and paths. Only this module and `cli` print."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from schemas.manifest import Ledger, Manifest, ShardInfo
    from schemas.recipe import Recipe
    from variorum.diff import Change
    from variorum.progress import Progress
    from variorum.store import Store

SHOWN = ("class", "k", "variant", "prompt", "negative", "guidance", "strength", "steps", "seed", "reason")
"""Columns of a plan's first rows."""


@contextmanager
def bars(unit: str = "") -> Iterator[Progress]:
    """A bar a phase, with rate and remaining time."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Rich

    from variorum.progress import Progress

    amounts = (
        (DownloadColumn(), TransferSpeedColumn())
        if unit == "bytes"
        else (
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
    )
    with Rich(
        TextColumn("{task.description}"), BarColumn(), *amounts, TimeRemainingColumn(), console=console(stderr=True)
    ) as rich:

        class Bars(Progress):
            def start(self, what: str, total: int) -> None:
                self.task = rich.add_task(what, total=total, rate="")

            def advance(self, steps: int) -> None:
                rich.advance(self.task, steps)
                speed = rich.tasks[self.task].speed
                rich.update(self.task, rate=f"{speed:.1f}/s" if speed else "")

        yield Bars()


def print_plan(asked: ShardInfo, store: Store) -> None:
    """How many pictures a plan asks for, its first rows, and where the whole table is."""
    from rich.table import Table

    from variorum.plans import first_rows

    rows = first_rows(asked, store, 5)
    shown = [name for name in SHOWN if any(row[name] not in (None, "") for row in rows)]
    table = Table(*shown, title=f"{asked.samples} pictures; the first:", title_justify="left")
    for row in rows:
        table.add_row(*(f"{row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in shown))
    console().print(table)
    typer.echo(f"all rows: {store.object(asked, '.parquet')}")


def console(stderr: bool = False) -> Any:
    """A Rich console on one of the two outputs."""
    from rich.console import Console

    return Console(stderr=stderr)


def print_summary(manifest: Manifest, store: Store) -> None:
    """Counts and paths of an edition."""
    print_counts(manifest)
    print_paths(manifest, store)


def print_counts(manifest: Manifest) -> None:
    """A row a variant: accepted, the other statuses, and why."""
    from rich.table import Table

    from variorum.tables import summary_rows

    table = Table(title=f"{manifest.dataset}@{manifest.version}  {manifest.digest()[:16]}", title_justify="left")
    rows = summary_rows(manifest)
    for name in rows[0] if rows else ():
        text = name in ("variant", "reasons")
        short = name if text else {"accepted": "ok", "quarantined": "quar.", "ineligible": "inel."}.get(name, name)
        table.add_column(short, justify="left" if text else "right", no_wrap=name == "variant", overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    if manifest.sources_edited:
        table.caption = f"{manifest.sources_edited} of {manifest.sources} sources have an accepted variant"
        table.caption_justify = "left"
    console().print(table)


def print_paths(manifest: Manifest, store: Store) -> None:
    """What was judged and who is asked, where the card and the contact sheet lie, and how to load the edition."""
    folder = store.edition_path(manifest)
    if manifest.ledger:
        said = ", ".join(f"{action} {sum(reasons.values())}" for action, reasons in manifest.ledger.counts.items())
        typer.echo(f"judged: {said or 'nothing to object to'}")
        edition, _, number = folder.rpartition("-r")
        print_queue(int(number), manifest.ledger, edition)
    for what, name in (("card", "README.md"), ("contact sheet", "contact_sheet.png")):
        if store.read_beside(manifest, name) is not None:
            typer.echo(f"{what}: {folder}/{name}")
    typer.echo(f'load it: datasets.load_dataset("{folder}")')


def print_evaluations(recipe: Recipe, manifest: Manifest, store: Store) -> None:
    """The first table of each evaluation of the recipe, in as many parts as fit, and where the rest is."""
    from rich.markup import escape
    from rich.table import Table

    from variorum.card import render_evaluations

    text, out = render_evaluations(recipe, manifest, store), console()
    for title, rows in first_tables(text):
        for number, part in enumerate(parts_that_fit(rows, out.width)):
            table = Table(box=None, padding=(0, 2, 0, 0), title=None if number else escape(title), title_justify="left")
            for position, name in enumerate(part[0]):
                table.add_column(escape(name), justify="right" if position else "left", no_wrap=True)
            for row in part[1:]:
                table.add_row(*map(escape, row))
            out.print(table, "")
    if text:
        card = store.read_beside(manifest, "README.md") or b""
        where = f"in {store.edition_path(manifest)}/README.md" if text.encode() in card else "come with `variorum card`"
        typer.echo(f"notes (*), intervals and all other figures {where}")


def first_tables(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Title and first table, head first, of each section of a Markdown text that has one; cells without markup."""
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        if found := re.search(r"(?:^\|.*\n?){2,}", body, re.MULTILINE):
            head, _, *lines = found[0].splitlines()
            rows = [line.strip().removeprefix("|").removesuffix("|").split("|") for line in (head, *lines)]
            yield title, [[html.unescape(re.sub(r"(?<!\\)\*|\\", "", cell)).strip() for cell in row] for row in rows]


def parts_that_fit(rows: list[list[str]], width: int) -> Iterator[list[list[str]]]:
    """A table no wider than `width` with two blanks between columns.

    If need be without intervals and errors, and then in parts that each have the first column.
    """
    if sum(widths_of(rows)) > width:
        rows = [[re.sub(r" (\[-?[\d.]+, -?[\d.]+\]|± [\d.]+)$", "", cell) for cell in row] for row in rows]
    widths, start = widths_of(rows), 1
    while start < len(widths):
        stop, room = start + 1, width - widths[0] - widths[start]
        while stop < len(widths) and widths[stop] <= room:
            room -= widths[stop]
            stop += 1
        yield [[row[0], *row[start:stop]] for row in rows]
        start = stop


def widths_of(rows: list[list[str]]) -> list[int]:
    """Characters that each column takes, with two blanks."""
    return [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]


def print_ledger(number: int, ledger: Ledger, manifest: Manifest, store: Store) -> None:
    """What a ledger says: action, reason, number of pictures; and where people's queue lies."""
    from rich.table import Table

    table = Table(
        "action", "reason", title=f"{manifest.dataset}@{manifest.version} ledger {number}", title_justify="left"
    )
    table.add_column("pictures", justify="right")
    for action, reasons in ledger.counts.items():
        for reason, pictures in sorted(reasons.items(), key=lambda pair: -pair[1]):
            table.add_row(action, reason, str(pictures))
    console().print(table)
    print_queue(number, ledger, store.edition_path(manifest))


def print_queue(number: int, ledger: Ledger, edition: str) -> None:
    """Where people's queue lies, if they are asked anything."""
    if ledger.counts.keys() & {"review", "audit"}:
        typer.echo(f"for people to look at: {edition}/ledgers/{number:04d}.review.csv")


def print_diff(changes: list[Change], most: int) -> None:
    """Counts of changes with their reasons, then up to `most` of the changes themselves."""
    from rich.table import Table

    from variorum.diff import change_counts

    if not changes:
        typer.echo("the same pictures with the same labels")
        return
    totals = Table("change", "why", title="changes", title_justify="left")
    totals.add_column("pictures", justify="right")
    for kind, why, number in change_counts(changes):
        totals.add_row(kind, why, str(number))
    console().print(totals)
    if most:
        listed = Table("change", "why", "variant", "labels", "origin", title="pictures", title_justify="left")
        for change in changes[:most]:
            before, after = " ".join(change.before), " ".join(change.after)
            labels = f"{before} → {after}" if change.kind == "relabelled" else before or after
            listed.add_row(change.kind, change.why, change.variant, labels, change.origin)
        if len(changes) > most:
            listed.caption = f"{len(changes) - most} more; --list 0 for none, --json for all"
        console().print(listed)
