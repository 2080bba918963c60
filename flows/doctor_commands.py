"""The command `doctor`: which models are ready on this machine, and how to get the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from variorum.flows import terminal
from variorum.flows.options import AsJson, Profile, ProfileName, examples
from variorum.schemas.errors import VariorumError
from variorum.schemas.extras import not_installed

if TYPE_CHECKING:
    from variorum.models.status import Status

commands = typer.Typer()
STAMPS = "stamps"
"""The photographs of source `samples`, which `doctor` lists and fetches beside the models."""


@commands.command(
    epilog=examples(
        "variorum doctor --fetch", "variorum doctor text_to_image safety_checker --profile hub --pin --fetch"
    )
)
def doctor(
    aliases: Annotated[
        list[str] | None,
        typer.Argument(metavar="ALIAS...", help="Only these models, optional ones too; stamps: sample photographs."),
    ] = None,
    profile: ProfileName = Profile.embedded,
    pin: Annotated[bool, typer.Option("--pin", help="Look up the commits that the table doesn't fix.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download the weights that are missing.")] = False,
    try_all: Annotated[
        bool,
        typer.Option(
            "--try",
            help="Load each model, compare its answers, sweep batch sizes, and run recipes: one record and one page.",
        ),
    ] = False,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="With --try: where record and page go.")] = Path(
        "trial"
    ),
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="FOLDER", help="With --try: your photographs in place of the samples."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="With --try: your copy of the picture of the known answers."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which models are ready, what is missing, and how to get it. Only --pin and --fetch need a network."""
    from dataclasses import asdict

    from variorum.models import doctor as doctor_report
    from variorum.sources.exports.stamps import fetch_stamps
    from variorum.stages.job import models

    if try_all:
        from variorum.api.trial import Asked
        from variorum.flows.doctor_trial import try_profile

        asked = Asked(profile.value, out, tuple(aliases or ()), source=source, picture=picture, fetch=fetch)
        if not try_profile(asked, as_json=as_json):
            raise typer.Exit(1)
        return
    table = models(profile.value)
    chosen = [alias for alias in aliases or table.aliases() if alias != STAMPS]
    wanted = {alias for alias in chosen if aliases or not table.entry(alias).optional}
    wanted |= {STAMPS} & set(aliases or ())
    failed = table.lock(chosen) if pin else {}
    if fetch:
        ready = ("ready", "unpinned")
        missing = [one for one in chosen if one in wanted and table.status(one, thorough=True).state not in ready]
        if STAMPS in (aliases or [STAMPS]) and _stamps().state != "ready":
            missing.append(STAMPS)
        for alias in missing:
            terminal.say(f"fetching {alias}", err=True)
            try:
                _ = fetch_stamps() if alias == STAMPS else table.fetch(alias)
            except VariorumError as error:
                failed[alias] = str(error)
    rows = doctor_report(table, chosen)
    rows += [_stamps()] if STAMPS in (aliases or [STAMPS]) else []
    if as_json:
        terminal.print_json([asdict(row) for row in rows])
    else:
        cells = [
            (
                row.alias,
                row.name if row.table == profile.value else f"{row.name} (from {row.table})",
                row.licence,
                f"{row.size / 1e6:.0f}",
                row.state,
            )
            for row in rows
        ]
        terminal.print_table(("alias", "model", "licence", "MB", "state"), cells, f"profile {profile.value}")
        for row in rows:
            if row.state != "ready":
                unless = "" if row.alias in wanted else "optional; "
                terminal.say(f"{row.alias}: {unless}{failed.get(row.alias, row.way_out)}")
        if not aliases and (extras := not_installed()):
            terminal.say("extras that aren't installed:")
            for extra in extras:
                terminal.say(f"  {extra.purpose}: pip install 'variorum[{extra.name}]'")
    if any(row.state != "ready" for row in rows if row.alias in wanted):
        raise typer.Exit(1)


def _stamps() -> Status:
    """The state of Tux Paint's stamps on this machine."""
    from variorum.models.status import Status
    from variorum.sources.exports import stamps

    folder = stamps.stamps_folder()
    state, way_out = ("ready", "") if folder else ("missing", f"fetch them with `{stamps.FETCH}`")
    where = str(folder or stamps.PACKAGE)
    return Status(STAMPS, "Tux Paint's stamps", "samples", where, stamps.LICENCE, stamps.SIZE, state, way_out)  # type: ignore[arg-type]
