"""`variorum votes`: the votes of a panel, shown, exported and imported."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from variorum.edition.opening import existing
from variorum.flows import terminal
from variorum.flows.options import AsJson, Edition, StoreUrl, examples
from variorum.machine.progress import duration
from variorum.schemas.secrets import remember

if TYPE_CHECKING:
    from variorum.people.panel.panel import Panel

PANEL = "Ask people"
commands = typer.Typer()


@commands.command(
    epilog=examples(
        "variorum votes street",
        "variorum votes street --to votes.parquet",
        "variorum votes street --to tasks.json --images 'https://pictures.example.org/{id}.png'",
        "variorum votes street --from export.json",
    )
)
def votes(
    edition: Edition,
    store: StoreUrl = "store",
    name: Annotated[str, typer.Option("--name", help="Name of the panel.")] = "main",
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            envvar="VARIORUM_DATABASE",
            help="Where votes are: a SQLite file, or postgresql://user@host/name; by default a file in the store.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Export to .parquet, .csv, or .json for Label Studio."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Import from .parquet, .csv, or a .json export of Label Studio."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="URL",
            help="With --to FILE.json: address of a picture, with {id} and optionally {sha256} in it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a panel is and how its reviewers do, or export or import its votes.

    An export has the votes that count. An import adds votes; those that are there already change nothing.
    """
    from variorum.edition.editions import resolve
    from variorum.people.panel.panel import open_panel

    if to and source:
        raise typer.BadParameter("takes --to or --from, not both")
    if images and not (to and to.suffix == ".json"):
        raise typer.BadParameter("--images goes with --to FILE.json")
    remember(database)
    where = existing(store, writable=bool(source))
    with terminal.progress() as progress:
        panel = open_panel(
            resolve(edition, where), where, name=name, database=database, writable=bool(source), progress=progress
        )
    if to:
        _write(panel, to, images, as_json)
    elif source:
        _read(panel, source, as_json)
    else:
        _show(panel, as_json)


def _write(panel: Panel, to: Path, images: str | None, as_json: bool) -> None:
    from variorum.people.panel.collected import votes_of
    from variorum.people.votes.files import write_votes
    from variorum.people.votes.label_studio import write_export

    if to.suffix == ".json":
        if not images:
            raise typer.BadParameter("Label Studio has to find the pictures: give --images 'https://host/{id}.png'")
        number = write_export(panel.engine, panel.key, to, images=images, names=dict(panel.manifest.classes))
        said = f"{to}: {number} tasks; set up the project with {to.with_suffix('.xml')}"
    else:
        table = votes_of(panel)
        write_votes(table, to)
        number, said = len(table), f"{to}: {len(table)} votes"
    if as_json:
        terminal.print_json({"file": str(to), "tasks" if to.suffix == ".json" else "votes": number})
    else:
        terminal.say(said)


def _read(panel: Panel, source: Path, as_json: bool) -> None:
    from variorum.people.votes.files import by_origin, import_votes, read_votes
    from variorum.people.votes.label_studio import candidates

    classes = dict(panel.manifest.classes)
    ids = {name: one for one, name in reversed(classes.items())}
    pictures = by_origin(lambda: _ids_by_origin(panel))
    table = read_votes(source, candidates(panel.engine, panel.key), ids, pictures)
    done = import_votes(panel.engine, panel.key, table, time.time(), classes=classes)
    refused = done.refused.total()
    if as_json:
        rows = [{"row": row, "why": why} for row, why in done.examples]
        terminal.print_json({"kept": done.kept, "known": done.known, "refused": dict(done.refused), "examples": rows})
    else:
        terminal.say(f"{source}: {done.kept} votes are new, {done.known} were there already, {refused} are refused")
        for reason, number in done.refused.most_common():
            terminal.say(f"  {number} refused: {reason.replace('_', ' ')}")
        for row, why in done.examples:
            terminal.say(f"  vote {row}: {why}")
    if refused and not done.kept + done.known:
        raise typer.Exit(1)


def _ids_by_origin(panel: Panel) -> dict[str, str]:
    """The picture that was made of each file of the source; of several, the one that nobody has edited."""
    from variorum.edition.tables import read_table

    table = read_table(panel.store, panel.manifest.rows, ["id", "origin", "variant"])
    found = dict[str, str]()
    for row in table.sort_by("variant").to_pylist():
        if row["origin"] and (row["variant"] == "original" or row["origin"] not in found):
            found[row["origin"]] = row["id"]
    return found


def _show(panel: Panel, as_json: bool) -> None:
    from dataclasses import asdict

    from variorum.people.panel.raters import agreement, coverage, raters

    engine, key = panel.engine, panel.key
    done, people, alike = coverage(engine, key), raters(engine, key), agreement(engine, key)
    if as_json:
        found = {"coverage": asdict(done), "raters": [asdict(one) for one in people], "agreement": asdict(alike)}
        terminal.print_json({"panel": panel.key, **found})
        return
    left = "" if not done.seconds else f", about {duration(done.seconds)}"
    terminal.say(
        f"panel {panel.key}: {done.complete} of {done.questions} questions are complete, {done.answers} answers are "
        f"missing{left}"
    )
    if alike.alpha is not None and alike.ac1 is not None:
        terminal.say(f"agreement on {alike.questions} questions: alpha {alike.alpha:.2f}, AC1 {alike.ac1:.2f}")
    head = ("reviewer", "answers", "seconds", "agreement", "gold", "bits", "state")
    rows = [
        (
            one.reviewer,
            one.answers,
            _figure(one.seconds_per_answer, 1),
            _figure(one.agreement, 2),
            f"{one.gold.right}/{one.gold.of}" if one.gold.of else "",
            _figure(one.bits, 2),
            ", ".join(name for name in ("waiting", "paused", "suspect") if getattr(one, name)),
        )
        for one in people
    ]
    if rows:
        terminal.print_table(head, rows)
    for one in people:
        if one.suspect:
            terminal.say(f"{one.reviewer}: {one.why}")
        if one.beside:
            terminal.say(f"{one.reviewer}: joined from the same address as {', '.join(one.beside)}")


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
